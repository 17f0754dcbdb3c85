package api

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A RunLine is one line of the list of runs.
type RunLine struct {
	Run     string     `json:"run"`
	Tenant  string     `json:"tenant"`
	Trigger string     `json:"trigger"`
	State   string     `json:"state"`
	Error   string     `json:"error,omitempty"` // its type
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Calls   int        `json:"calls"`             // that were sent
	Queued  int        `json:"queued,omitempty"`  // that are to be sent yet
	Open    int        `json:"open"`              // those without an outcome
	Signals int        `json:"signals,omitempty"` // that it waits for

	Paused *engine.Pause `json:"paused,omitempty"`
	Parent string        `json:"parent,omitempty"` // the run that started it, by a step

	Redrives uint32 `json:"redrives,omitempty"`
}

// A RunList is a part of the list of runs.
type RunList struct {
	Runs  []RunLine `json:"runs"`
	Total int       `json:"total"`          // of all that were asked for, whatever the part
	Next  string    `json:"next,omitempty"` // cursor of the next part; empty: there is no more

	// What routers tell one another: which of Total have ended, and the runs that are open after a redrive, whether they were asked for or not. A partition
	// that has moved is folded again by another router, so that two may know of an end.
	Ended    []byte `json:"endedRuns,omitempty"`
	Reopened []byte `json:"reopenedRuns,omitempty"`
}

// A runSet tells runs apart by half of their ids.
type runSet map[uint64]bool

func half(id journal.RunID) uint64 { return binary.BigEndian.Uint64(id[8:]) }

func (s runSet) bytes() []byte {
	var b []byte
	for x := range s {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return b
}

func (s runSet) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s[binary.BigEndian.Uint64(b)] = true
	}
}

// The orders of the list of runs. The key of what sorts first is the lowest.
const (
	byStarted  = "started"
	byEnded    = "ended"
	byDuration = "duration"
)

// A runQuery says which runs are asked for; what is empty asks for nothing.
type runQuery struct {
	tenant, trigger, state, failure, event, parent, text string
	since, until                                         time.Time
	sort                                                 string
	up                                                   bool
	limit                                                int
	after                                                *engine.Place
}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %w", errRequest, fmt.Errorf(format, a...))
}

func checkKeys(v url.Values, known []string) error {
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if !slices.Contains(known, key) {
			return invalid("unknown parameter %.40q; %s", key, lang.Nearest(key, known))
		}
	}
	return nil
}

func parseRunQuery(r *http.Request) (*runQuery, error) {
	v := r.URL.Query()
	q := &runQuery{
		tenant: v.Get("tenant"), trigger: v.Get("trigger"), state: v.Get("state"), failure: v.Get("error"), event: v.Get("event"),
		parent: strings.ToLower(v.Get("parent")), text: strings.ToLower(v.Get("text")), sort: cmp.Or(v.Get("sort"), byStarted),
	}
	var err error
	if q.tenant, err = tenantAsked(r, q.tenant); err != nil {
		return nil, err
	}
	if q.limit, err = limitOf(r); err != nil {
		return nil, err
	}
	now := time.Now()
	if q.since, err = whenOf("since", v.Get("since"), now); err != nil {
		return nil, err
	}
	if q.until, err = whenOf("until", v.Get("until"), now); err != nil {
		return nil, err
	}
	q.up = v.Get("order") == "up"
	if text := v.Get("after"); text != "" {
		if q.after, err = parseRunPlace(text); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func runCursor(p engine.Place) string { return engine.Cursor{N: p.Rank, ID: p.Run.String()}.String() }

func parseRunPlace(text string) (*engine.Place, error) {
	c, err := engine.ParseCursor(text)
	id, err2 := journal.ParseRunID(c.ID)
	if err != nil || err2 != nil {
		return nil, invalid("after: %.60q is %w", text, engine.ErrCursor)
	}
	return &engine.Place{Rank: c.N, Run: id}, nil
}

// place is where a line stands in the order that is asked for; an open run has not ended, and comes with the latest.
func (q *runQuery) place(l *RunLine, id journal.RunID) engine.Place {
	key := int64(math.MaxInt64)
	switch {
	case q.sort == byStarted:
		key = l.Started.UnixNano()
	case l.Ended == nil:
	case q.sort == byEnded:
		key = l.Ended.UnixNano()
	default:
		key = int64(l.Ended.Sub(l.Started))
	}
	if !q.up {
		key = -key
	}
	return engine.Place{Rank: key, Run: id}
}

// wants reports whether a line is asked for; f is what is known of the run. What is dear to find out comes last.
func (q *runQuery) wants(l *RunLine, f *engine.Ending) bool {
	differs := func(want, has string) bool { return want != "" && want != has }
	switch {
	case differs(q.tenant, l.Tenant), differs(q.trigger, l.Trigger), differs(q.state, l.State), differs(q.failure, l.Error), differs(q.parent, l.Parent),
		!q.since.IsZero() && l.Ended != nil && l.Ended.Before(q.since), // It was at work in that time, or is.
		!q.until.IsZero() && l.Started.After(q.until):
		return false
	}
	if q.event != "" && engine.EventID(f.Event) != q.event {
		return false
	}
	return q.text == "" || q.says(f)
}

// says reports whether the text that is asked for is in the event that started a run, its data where they are kept, its result or its error.
func (q *runQuery) says(f *engine.Ending) bool {
	parts := []lang.Value{f.Event, f.Result}
	if f.Error != nil {
		parts = append(parts, lang.Text(f.Error.Error()), f.Error.Data)
	}
	if data, known := inputOf(f); known {
		parts = append(parts, data)
	}
	return slices.ContainsFunc(parts, func(v lang.Value) bool { return strings.Contains(strings.ToLower(v.JSON()), q.text) })
}

func openLine(x *engine.Summary) *RunLine {
	return &RunLine{
		Run: x.Run.String(), Tenant: x.Tenant, Trigger: x.Trigger, State: x.State, Error: typeOf(x.Error), Started: x.Started, Calls: x.Calls, Open: x.Open,
		Signals: x.Signals, Paused: x.Paused, Parent: x.Parent, Redrives: x.Redrives,
	}
}

func endedLine(f *engine.Ending) *RunLine {
	return &RunLine{
		Run: f.ID, Tenant: f.Tenant, Trigger: f.Trigger, State: f.State, Error: typeOf(f.Error), Started: f.Started, Ended: &f.Ended, Calls: f.Calls,
		Parent: engine.ParentOf(f.Event), Redrives: f.Redrives,
	}
}

func typeOf(e *lang.Error) string {
	if e == nil {
		return ""
	}
	return e.Type
}

// A ranked line is one with its place.
type ranked struct {
	place engine.Place
	line  RunLine
}

// A runsFound is what a router has of what is asked for.
type runsFound struct {
	lines    []ranked // one more than is asked for
	open     int      // that have not ended
	ended    runSet
	reopened runSet // all that are open after a redrive, here or elsewhere
}

// total counts each run once.
func (f *runsFound) total() int {
	n := f.open + len(f.ended)
	for x := range f.reopened {
		if f.ended[x] {
			n--
		}
	}
	return n
}

// drop leaves out the ended runs that are open again.
func (f *runsFound) drop() {
	f.lines = slices.DeleteFunc(f.lines, func(x ranked) bool { return x.line.Ended != nil && f.reopened[half(x.place.Run)] })
}

// listRuns gives what this router has: each run once, as it ended where it has.
func (a *API) listRuns(ctx context.Context, q *runQuery) (*runsFound, error) {
	found := &runsFound{ended: make(runSet), reopened: make(runSet)}
	open, err := a.listOpen(ctx, q, found)
	if err != nil {
		return nil, err
	}
	// After those that are open, so that one that ends meanwhile is found: then it has ended.
	var bad error
	err = a.Endings.Each(func(f *engine.Ending) bool {
		var id journal.RunID
		if id, bad = journal.ParseRunID(f.ID); bad == nil {
			bad = ctx.Err()
		}
		if bad != nil {
			return false
		}
		l := endedLine(f)
		if !q.wants(l, f) {
			return true
		}
		if i, is := slices.BinarySearchFunc(open, id, engine.Seen.Compare); is {
			if f.Redrives < open[i].Redrives {
				return true // It is open again.
			}
			delete(found.reopened, half(id))
			if open[i].Want {
				found.open--
				found.lines = slices.DeleteFunc(found.lines, func(x ranked) bool { return x.place.Run == id })
			}
		}
		found.ended[half(id)] = true
		if place := q.place(l, id); q.after == nil || place.Compare(*q.after) > 0 {
			if found.lines = append(found.lines, ranked{place, *l}); len(found.lines) >= 2*q.limit+1000 {
				found.lines = cut(found.lines, q.limit+1)
			}
		}
		return true
	})
	if err == nil {
		err = bad
	}
	found.lines = cut(found.lines, q.limit+1)
	for i := range found.lines {
		if l := &found.lines[i].line; l.Ended == nil && l.Open > 0 {
			l.Queued = min(a.Outbox.Unsent(l.Tenant, l.Trigger, found.lines[i].place.Run), l.Calls)
			l.Calls -= l.Queued
		}
	}
	return found, err
}

// listOpen looks at the open runs that are here, and returns those that are wanted or open after a redrive, in order.
func (a *API) listOpen(ctx context.Context, q *runQuery, found *runsFound) ([]engine.Seen, error) {
	var lines []ranked
	var open []engine.Seen
	err := a.Shards.List(ctx, engine.Listing{After: q.after, Limit: q.limit + 1, Want: func(x *engine.Summary) (int64, bool) {
		l := openLine(x)
		if !q.wants(l, &engine.Ending{Event: x.Event, Input: &x.Input, Error: x.Error}) {
			return 0, false
		}
		return q.place(l, x.Run).Rank, true
	}}, func(part *engine.Listing) {
		for _, x := range part.Runs() {
			l := openLine(&x)
			lines = append(lines, ranked{q.place(l, x.Run), *l})
		}
		open = append(open, part.All()...)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(open, func(x, y engine.Seen) int { return cmp.Or(x.Compare(y.Run), cmp.Compare(y.Redrives, x.Redrives)) })
	open = slices.CompactFunc(open, func(x, y engine.Seen) bool { return x.Run == y.Run })
	for _, x := range open {
		if x.Want {
			found.open++
		}
		if x.Redrives > 0 {
			found.reopened[half(x.Run)] = true
		}
	}
	found.lines = lines
	return open, nil
}

// cut keeps the first.
func cut(lines []ranked, most int) []ranked {
	slices.SortFunc(lines, func(a, b ranked) int { return a.place.Compare(b.place) })
	return lines[:min(len(lines), most)]
}

func (a *API) getRuns(w http.ResponseWriter, r *http.Request) error {
	q, err := parseRunQuery(r)
	if err != nil {
		return err
	}
	if !a.Cluster.IsPeer(r.Context()) {
		said, err := a.runsOf(w, r, q)
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, said)
	}
	found, err := a.listRuns(r.Context(), q)
	if err != nil {
		return err
	}
	said := found.part(q, false)
	said.Ended, said.Reopened = found.ended.bytes(), found.reopened.bytes()
	return reply(w, http.StatusOK, said)
}

// runsOf lists the runs of all routers; w is told which do not answer.
func (a *API) runsOf(w http.ResponseWriter, r *http.Request, q *runQuery) (*RunList, error) {
	found, err := a.listRuns(r.Context(), q)
	if err != nil {
		return nil, err
	}
	more := false
	unanswered := a.Cluster.Gather(r, func() (any, func()) {
		theirs := new(RunList)
		return theirs, func() {
			more = more || theirs.Next != ""
			found.join(q, theirs)
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	found.drop()
	return found.part(q, more), nil
}

// join adds what another router has.
func (f *runsFound) join(q *runQuery, theirs *RunList) {
	f.open += theirs.Total - len(theirs.Ended)/8
	f.ended.add(theirs.Ended)
	f.reopened.add(theirs.Reopened)
	at := make(map[journal.RunID]int, len(f.lines))
	for i := range f.lines {
		at[f.lines[i].place.Run] = i
	}
	for _, l := range theirs.Runs {
		id, err := journal.ParseRunID(l.Run)
		if err != nil {
			continue // It is none of ours, whatever it is.
		}
		x := ranked{q.place(&l, id), l}
		switch i, known := at[id]; {
		case !known:
			f.lines = append(f.lines, x)
		case later(&l, &f.lines[i].line):
			f.lines[i] = x
		}
	}
}

// later reports whether x is what became of a run after y: an end is, of the same life.
func later(x, y *RunLine) bool {
	return x.Redrives > y.Redrives || x.Redrives == y.Redrives && x.Ended != nil && y.Ended == nil
}

// part is what is answered.
func (f *runsFound) part(q *runQuery, more bool) *RunList {
	more = more || len(f.lines) > q.limit
	said := &RunList{Runs: []RunLine{}, Total: f.total()}
	f.lines = cut(f.lines, q.limit)
	for _, x := range f.lines {
		said.Runs = append(said.Runs, x.line)
	}
	if n := len(said.Runs); more && n > 0 {
		said.Next = runCursor(f.lines[n-1].place)
	}
	return said
}
