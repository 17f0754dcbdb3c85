package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// A RunLive is how a run goes, for those who look on.
type RunLive struct {
	Run     any          `json:"run"`     // a Status without its steps, or an Ending
	Reasons []Reason     `json:"reasons"` // why it is not further, or how it ended
	Steps   []*StepCount `json:"steps"`
}

// How often those who look on are told: of one step's activations ten times a second, of all else twice; of what no record says (that a call has been sent)
// within idle. What takes long is told less often: looking on takes a tenth of a processor at most.
const (
	liveField = 100 * time.Millisecond
	liveRun   = 500 * time.Millisecond
	liveIdle  = 2 * time.Second
	livePing  = 15 * time.Second
	liveShare = 10
)

// A viewer is somebody who looks on.
type viewer struct {
	a        *API
	w        http.ResponseWriter
	id       journal.RunID
	step     string // whose activations are wanted; empty: of none
	cursor   string
	said     []byte // the last run event
	newField bool   // there may be something to tell
	newRun   bool
	fieldAt  time.Time // when it may be told
	runAt    time.Time
	wrote    time.Time
	nextIdle time.Time
}

// getLive streams how a run goes as server-sent events until it has ended: run has its status, why it is not further and the counts of its steps; field,
// where a step is named, has what has changed of its activations since the cursor that is the event's id. A client that was cut off and says the last id
// (browsers do) goes on there.
func (a *API) getLive(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ask := q.URL.Query()
	v := &viewer{a: a, w: w, id: id, step: strings.TrimSuffix(ask.Get("step"), "[*]"), cursor: ask.Get("after")}
	if v.step == "" && v.cursor != "" {
		return invalid("after is a cursor of one step's field; say which with step, or leave after out")
	}
	if last := q.Header.Get("Last-Event-ID"); last != "" {
		v.cursor = last
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	changes := a.Shards.Watch(ctx, id)
	if _, _, err := a.Status(ctx, id, 0); err != nil {
		return err
	}
	if v.step != "" {
		if _, err := a.survey(ctx, id, v.step, v.cursor); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	v.wrote = time.Now()
	fmt.Fprint(w, "retry: 1000\n\n")
	tick := time.NewTicker(liveField)
	defer tick.Stop()
	for dirty := true; ; {
		more, err := v.tell(ctx, dirty)
		if err != nil || !more {
			return nil // It has ended, or its partition has moved: who asks again is answered by its owner.
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for dirty = false; len(changes) > 0; dirty = true {
			<-changes
		}
	}
}

// tell says what is due, and reports whether the run goes on.
func (v *viewer) tell(ctx context.Context, dirty bool) (more bool, err error) {
	now := time.Now()
	if now.After(v.nextIdle) {
		dirty, v.nextIdle = true, now.Add(liveIdle)
	}
	v.newField, v.newRun = v.newField || dirty && v.step != "", v.newRun || dirty
	if v.newField && now.After(v.fieldAt) {
		if err := v.field(ctx); err != nil {
			return false, err
		}
		v.newField, v.fieldAt = false, after(now, liveField)
	}
	if begin := time.Now(); v.newRun && begin.After(v.runAt) {
		if more, err = v.run(ctx); err != nil || !more {
			return false, err
		}
		v.newRun, v.runAt = false, after(begin, liveRun)
	}
	if now.Sub(v.wrote) > livePing {
		v.wrote = now
		fmt.Fprint(v.w, ": still here\n\n")
	}
	return true, http.NewResponseController(v.w).Flush()
}

// after is when what began then and is over now may be done again.
func after(begin time.Time, pause time.Duration) time.Time {
	return begin.Add(max(pause, liveShare*time.Since(begin)))
}

func (v *viewer) field(ctx context.Context) error {
	s, err := v.a.survey(ctx, v.id, v.step, v.cursor)
	if err != nil {
		return err
	}
	f := fieldOf(v.id, v.step, s)
	if v.cursor = f.Cursor; f.States == nil && len(f.Changed) == 0 {
		return nil
	}
	return v.send("field", f.Cursor, f)
}

// run tells of the run, if there is anything new to tell; false is of one that has ended.
func (v *viewer) run(ctx context.Context) (more bool, err error) {
	st, f, err := v.a.Status(ctx, v.id, explained)
	if err != nil {
		return false, err
	}
	said := RunLive{Run: f}
	if f == nil {
		said.Reasons = explain(st, time.Now())
		st.Root, st.Deliveries = nil, nil
		said.Run = st
	} else {
		x, err := v.a.Explain(ctx, v.id)
		if err != nil {
			return false, err
		}
		said.Reasons = x.Reasons
	}
	s, err := v.a.survey(ctx, v.id, "", "")
	if err != nil {
		return false, err
	}
	if said.Steps = s.counts(); said.Steps == nil {
		said.Steps = []*StepCount{}
	}
	if f != nil && v.step != "" {
		if err := v.field(ctx); err != nil {
			return false, err
		}
	}
	return f == nil, v.send("run", "", said)
}

// send writes an event; a run event only if it says something new.
func (v *viewer) send(name, id string, x any) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if name == "run" {
		if bytes.Equal(text, v.said) {
			return nil
		}
		v.said = text
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	v.wrote = time.Now()
	_, err = fmt.Fprintf(v.w, "event: %s\n%sdata: %s\n\n", name, id, text)
	return err
}
