package api

import (
	"bytes"
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

	// Looked says how far a text was looked for, where that was not to the end: Next goes on behind that, and Total is of what was looked at.
	Looked *Looked `json:"looked,omitempty"`

	// What routers tell one another: which of Total have ended, and the runs that are open after a redrive, whether they were asked for or not. A partition
	// that has moved is folded again by another router, so that two may know of an end.
	Ended    []byte `json:"endedRuns,omitempty"`
	Reopened []byte `json:"reopenedRuns,omitempty"`
}

// A runSet tells runs apart by half of their ids.
type runSet map[uint64]bool

func half(id journal.RunID) uint64 { return binary.BigEndian.Uint64(id[8:]) }

func (s runSet) bytes() []byte { return halves(slices.Collect(maps.Keys(s))) }

func halves(all []uint64) (b []byte) {
	for _, x := range all {
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
	if q.until, err = whenOf("until", v.Get("until"), now); err == nil && !q.until.IsZero() && q.until.Before(q.since) {
		err = invalid("until lies before since; turn them round")
	}
	if err != nil {
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

// unended is the end of a run that has none: it comes with the latest.
const unended = math.MaxInt64

// rank is where a run stands in the order that is asked for.
func (q *runQuery) rank(started, ended int64) int64 {
	key := ended
	switch {
	case q.sort == byStarted:
		key = started
	case q.sort == byDuration && ended != unended:
		key = ended - started
	}
	if !q.up {
		key = -key
	}
	return key
}

// place is where a line stands.
func (q *runQuery) place(l *RunLine, id journal.RunID) engine.Place {
	ended := int64(unended)
	if l.Ended != nil {
		ended = l.Ended.UnixNano()
	}
	return engine.Place{Rank: q.rank(l.Started.UnixNano(), ended), Run: id}
}

// chooses reports whether ended runs of a kind may be asked for.
func (q *runQuery) chooses(tenant, trigger, state, failure string) bool {
	differs := func(want, has string) bool { return want != "" && want != has }
	return !differs(q.tenant, tenant) && !differs(q.trigger, trigger) && !differs(q.state, state) && !differs(q.failure, failure)
}

// wantsHead reports whether an ended run that is of a kind, and of an event, that it chooses is asked for, but for a text.
func (q *runQuery) wantsHead(x *engine.EndHead) bool {
	return (q.parent == "" || q.parent == x.Parent) && (q.since.IsZero() || x.Ended >= q.since.UnixNano()) && (q.until.IsZero() || x.Started <= q.until.UnixNano())
}

// hasText reports whether an end has the text that is asked for.
func (q *runQuery) hasText(x *engine.EndHead, read endReader) (bool, error) {
	f, err := read(x, func(kept []byte) bool {
		return x.Error != "" || bytes.Contains(bytes.ToLower(kept), []byte(q.text)) // Of an error other words are looked through than are kept.
	})
	return err == nil && f != nil && q.says(f), err
}

// An endReader is what Endings.Reader returns.
type endReader = func(x *engine.EndHead, may func(kept []byte) bool) (*engine.Ending, error)

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

func endedLine(x *engine.EndHead) *RunLine {
	ended := time.Unix(0, x.Ended).UTC()
	return &RunLine{
		Run: x.Run.String(), Tenant: x.Tenant, Trigger: x.Trigger, State: x.State, Error: x.Error, Started: time.Unix(0, x.Started).UTC(), Ended: &ended, Calls: x.Calls,
		Parent: x.Parent, Redrives: x.Redrives,
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
	lines    []ranked      // one more than is asked for
	open     int           // that have not ended
	ended    []uint64      // halves of their ids, each once
	reopened runSet        // all that are open after a redrive, here or elsewhere
	last     *engine.Place // of the lines that may be given: what lies behind only counts
	looked   *Looked       // how far a text was looked for; nil: to the end
	until    engine.Place  // then it was up to here
}

// total counts each run once.
func (f *runsFound) total() int {
	n := f.open + len(f.ended)
	if len(f.reopened) == 0 {
		return n
	}
	for _, x := range f.ended {
		if f.reopened[x] {
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
	found := &runsFound{reopened: make(runSet)}
	open, err := a.listOpen(ctx, q, found)
	if err != nil {
		return nil, err
	}
	// After those that are open, so that one that ends meanwhile is found: then it has ended.
	var bad error
	searched := search{q: q, most: a.searchMost}
	err = a.Endings.Heads(q.event, q.chooses, func(x *engine.EndHead) bool {
		if bad = ctx.Err(); bad != nil || !q.wantsHead(x) {
			return bad == nil
		}
		if q.text != "" {
			searched.keep(x)
			return true
		}
		found.ends(q, x, open)
		return true
	})
	if err = cmp.Or(err, bad); err == nil && q.text != "" {
		err = searched.look(ctx, a.Endings.Reader(), found, open)
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

// ends adds an ended run that is asked for.
func (f *runsFound) ends(q *runQuery, x *engine.EndHead, open []engine.Seen) {
	if i, is := slices.BinarySearchFunc(open, x.Run, engine.Seen.Compare); is {
		if x.Redrives < open[i].Redrives {
			return // It is open again.
		}
		delete(f.reopened, half(x.Run))
		if open[i].Want {
			f.open--
			f.lines = slices.DeleteFunc(f.lines, func(y ranked) bool { return y.place.Run == x.Run })
		}
	}
	f.ended = append(f.ended, half(x.Run))
	place := q.placeOf(x)
	if q.after != nil && place.Compare(*q.after) <= 0 || f.last != nil && place.Compare(*f.last) > 0 {
		return
	}
	if f.lines = append(f.lines, ranked{place, *endedLine(x)}); len(f.lines) >= 2*q.limit+1000 {
		f.lines = cut(f.lines, q.limit+1)
		worst := f.lines[q.limit].place
		f.last = &worst
	}
}

func (q *runQuery) placeOf(x *engine.EndHead) engine.Place {
	return engine.Place{Rank: q.rank(x.Started, x.Ended), Run: x.Run}
}

// endedOf gives the latest ended runs that an event started, whole.
func (a *API) endedOf(q *runQuery) (all []*engine.Ending, err error) {
	var bad error
	read := a.Endings.Reader()
	err = a.Endings.Heads(q.event, q.chooses, func(x *engine.EndHead) bool {
		var f *engine.Ending
		if f, bad = read(x, nil); f != nil {
			all = append(all, f)
		}
		return bad == nil && len(all) < q.limit
	})
	return all, cmp.Or(err, bad)
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
	said.Ended, said.Reopened = halves(found.ended), found.reopened.bytes()
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
	f.lookedToo(theirs.Looked)
	for b := theirs.Ended; len(b) >= 8; b = b[8:] {
		f.ended = append(f.ended, binary.BigEndian.Uint64(b))
	}
	slices.Sort(f.ended)
	f.ended = slices.Compact(f.ended)
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
	said := &RunList{Runs: []RunLine{}, Total: f.total(), Looked: f.looked}
	if f.looked != nil {
		f.lines = slices.DeleteFunc(f.lines, func(x ranked) bool { return x.place.Compare(f.until) > 0 }) // They come with the next part.
		if more = len(f.lines) >= q.limit; !more {
			said.Next = f.looked.Until
		}
	}
	f.lines = cut(f.lines, q.limit)
	for _, x := range f.lines {
		said.Runs = append(said.Runs, x.line)
	}
	if n := len(said.Runs); more && n > 0 {
		said.Next = runCursor(f.lines[n-1].place)
	}
	return said
}
