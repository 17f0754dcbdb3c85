package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	Calls   int        `json:"calls"`
	Open    int        `json:"open"`
	Signals int        `json:"signals,omitempty"` // that it waits for

	Paused *engine.Pause `json:"paused,omitempty"`
	Parent string        `json:"parent,omitempty"` // the run that started it, by a step
}

// A RunList is a part of the list of runs.
type RunList struct {
	Runs []RunLine `json:"runs"`
	// Total counts all that were asked for, whatever the part. One that two routers have and that is not in this part counts for each of them.
	Total int    `json:"total"`
	Next  string `json:"next,omitempty"` // cursor of the next part; empty: there is no more
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

// queryKeys are what one may ask for; anything else would be passed over without a word.
var queryKeys = []string{"tenant", "trigger", "state", "error", "event", "parent", "text", "since", "until", "sort", "order", "limit", "after"}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errRequest, fmt.Sprintf(format, a...))
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
	if err := checkKeys(v, queryKeys); err != nil {
		return nil, err
	}
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
	for _, x := range []struct {
		key  string
		into *time.Time
	}{{"since", &q.since}, {"until", &q.until}} {
		if text := v.Get(x.key); text != "" {
			if *x.into, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, invalid("%s %.40q is no time; write one as RFC 3339 has it: 2026-01-31T15:04:05Z", x.key, text)
			}
		}
	}
	if !slices.Contains([]string{byStarted, byEnded, byDuration}, q.sort) {
		return nil, invalid("runs are not sorted by %.40q; write started, ended or duration", q.sort)
	}
	switch v.Get("order") {
	case "", "down":
	case "up":
		q.up = true
	default:
		return nil, invalid("order %.40q; write up or down", v.Get("order"))
	}
	if text := v.Get("after"); text != "" {
		if q.after, err = parseRunPlace(text); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func runPlaceText(p engine.Place) string { return fmt.Sprintf("%d.%s", p.Rank, p.Run) }

func parseRunPlace(text string) (*engine.Place, error) {
	rank, run, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(rank, 10, 64)
	id, err2 := journal.ParseRunID(run)
	if err != nil || err2 != nil {
		return nil, invalid("after %.60q is no cursor; take next from the answer before, as it stands there", text)
	}
	return &engine.Place{Rank: n, Run: id}, nil
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

// wants reports whether a line is asked for. What is dear to find out comes last.
func (q *runQuery) wants(l *RunLine, event lang.Value, said func() string) bool {
	differs := func(want, has string) bool { return want != "" && want != has }
	switch {
	case differs(q.tenant, l.Tenant), differs(q.trigger, l.Trigger), differs(q.state, l.State), differs(q.failure, l.Error), differs(q.parent, l.Parent),
		!q.since.IsZero() && l.Ended != nil && l.Ended.Before(q.since), // It was at work in that time, or is.
		!q.until.IsZero() && l.Started.After(q.until):
		return false
	}
	if q.event != "" && engine.EventID(event) != q.event {
		return false
	}
	return q.text == "" || strings.Contains(strings.ToLower(event.JSON()), q.text) || strings.Contains(strings.ToLower(said()), q.text)
}

func openLine(x *engine.Summary) *RunLine {
	return &RunLine{
		Run: x.Run.String(), Tenant: x.Tenant, Trigger: x.Trigger, State: x.State, Error: typeOf(x.Error), Started: x.Started, Calls: x.Calls, Open: x.Open,
		Signals: x.Signals, Paused: x.Paused, Parent: x.Parent,
	}
}

func endedLine(f *engine.Ending) *RunLine {
	return &RunLine{
		Run: f.ID, Tenant: f.Tenant, Trigger: f.Trigger, State: f.State, Error: typeOf(f.Error), Started: f.Started, Ended: &f.Ended, Calls: f.Calls,
		Parent: engine.ParentOf(f.Event),
	}
}

func typeOf(e *lang.Error) string {
	if e == nil {
		return ""
	}
	return e.Type
}

func errorText(e *lang.Error) string {
	if e == nil {
		return ""
	}
	return e.Error()
}

// A ranked line is one with its place.
type ranked struct {
	place engine.Place
	line  RunLine
}

// listRuns gives what this router has, one more than is asked for: each run once, as it ended where it has.
func (a *API) listRuns(ctx context.Context, q *runQuery) (lines []ranked, total int, err error) {
	var open []engine.Seen
	err = a.Shards.List(ctx, engine.Listing{After: q.after, Limit: q.limit + 1, Want: func(x *engine.Summary) (int64, bool) {
		l := openLine(x)
		if !q.wants(l, x.Event, func() string { return errorText(x.Error) }) {
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
		return nil, 0, err
	}
	slices.SortStableFunc(open, func(x, y engine.Seen) int { return x.Compare(y.Run) })
	open = slices.CompactFunc(open, func(x, y engine.Seen) bool { return x.Run == y.Run })
	for _, x := range open {
		if x.Want {
			total++
		}
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
		if !q.wants(l, f.Event, func() string { return errorText(f.Error) + f.Result.JSON() }) {
			return true
		}
		if i, is := slices.BinarySearchFunc(open, id, engine.Seen.Compare); is {
			if f.Ended.UnixNano() < open[i].At {
				return true
			}
			if open[i].Want {
				total--
				lines = slices.DeleteFunc(lines, func(x ranked) bool { return x.place.Run == id })
			}
		}
		total++
		if place := q.place(l, id); q.after == nil || place.Compare(*q.after) > 0 {
			if lines = append(lines, ranked{place, *l}); len(lines) >= 2*q.limit+1000 {
				lines = cut(lines, q.limit+1)
			}
		}
		return true
	})
	if err == nil {
		err = bad
	}
	return cut(lines, q.limit+1), total, err
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
	lines, total, err := a.listRuns(r.Context(), q)
	if err != nil {
		return err
	}
	more := false
	known := make(map[string]int, len(lines))
	for i := range lines {
		known[lines[i].line.Run] = i
	}
	unanswered := a.Cluster.Gather(r, func() (any, func()) {
		theirs := new(RunList)
		return theirs, func() {
			total += theirs.Total
			more = more || theirs.Next != ""
			for _, l := range theirs.Runs {
				id, err := journal.ParseRunID(l.Run)
				if err != nil {
					continue // It is none of ours, whatever it is.
				}
				i, double := known[l.Run]
				if !double {
					known[l.Run] = len(lines)
					lines = append(lines, ranked{q.place(&l, id), l})
					continue
				}
				total--
				if lines[i].line.Ended == nil && l.Ended != nil { // Who folded it last knows best.
					lines[i] = ranked{q.place(&l, id), l}
				}
			}
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	more = more || len(lines) > q.limit
	said := RunList{Runs: []RunLine{}, Total: total}
	for _, x := range cut(lines, q.limit) {
		said.Runs = append(said.Runs, x.line)
	}
	if n := len(said.Runs); more && n > 0 {
		said.Next = runPlaceText(lines[n-1].place)
	}
	return reply(w, http.StatusOK, said)
}
