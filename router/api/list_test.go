package api

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
)

// line is one of a run; of no time it has not ended.
func line(run byte, state string, redrives uint32, ended int64) (journal.RunID, RunLine) {
	id := journal.RunID{15: run}
	l := RunLine{Run: id.String(), State: state, Started: time.Unix(1, 0), Redrives: redrives}
	if at := time.Unix(ended, 0); ended > 0 {
		l.Ended = &at
	}
	return id, l
}

// TestRunsOfTwoRouters: a run that both know of counts once, one that is open again is not listed as it had ended, whatever is asked for.
func TestRunsOfTwoRouters(t *testing.T) {
	t.Parallel()
	q := &runQuery{sort: byStarted, limit: 10, state: "failed"}
	ours := &runsFound{reopened: make(runSet)}
	for _, run := range []byte{1, 2, 3} { // All failed here; since then 2 and 3 have moved.
		id, l := line(run, "failed", 0, 5)
		ours.lines = append(ours.lines, ranked{q.place(&l, id), l})
		ours.ended = append(ours.ended, half(id))
	}
	third, l3 := line(3, "failed", 0, 5) // It is folded again there.
	fourth, l4 := line(4, "failed", 0, 6)
	second, _ := line(2, "running", 1, 0) // It was redriven there, and is no failed run.
	theirs := &runsFound{ended: []uint64{half(third), half(fourth)}, reopened: runSet{half(second): true}}
	said := &RunList{Runs: []RunLine{l3, l4}, Total: 2, Ended: halves(theirs.ended), Reopened: theirs.reopened.bytes()}
	ours.join(q, said)
	ours.drop()
	got := ours.part(q, false)
	if got.Total != 3 || len(got.Runs) != 3 || got.Next != "" {
		t.Fatalf("%+v", got)
	}
	for _, l := range got.Runs {
		if l.Run == second.String() {
			t.Errorf("a run that is open again is listed as %s", l.State)
		}
	}
}

// TestLaterLifeCounts: of two lines of a run that of the later life counts, and of one life its end.
func TestLaterLifeCounts(t *testing.T) {
	t.Parallel()
	q := &runQuery{sort: byStarted, limit: 10}
	_, first := line(1, "failed", 0, 5)
	_, second := line(1, "running", 1, 0)
	_, end := line(1, "succeeded", 1, 9)
	for _, x := range []struct {
		a, b RunLine
		want string
	}{{first, second, "running"}, {second, first, "running"}, {second, end, "succeeded"}, {end, second, "succeeded"}, {first, end, "succeeded"}} {
		id := journal.RunID{15: 1}
		f := &runsFound{lines: []ranked{{q.place(&x.a, id), x.a}}, reopened: make(runSet)}
		f.join(q, &RunList{Runs: []RunLine{x.b}})
		if got := f.part(q, false); len(got.Runs) != 1 || got.Runs[0].State != x.want {
			t.Errorf("%+v", got)
		}
	}
}

// TestTextOfInput: what came with an event is found, of runs that failed too.
func TestTextOfInput(t *testing.T) {
	t.Parallel()
	input := value(t, `{"colour": "Mauve"}`)
	q := &runQuery{text: "mauve"}
	failed := &engine.Ending{Error: failure, Data: value(t, `{"error": {}, "input": {"colour": "Mauve"}}`)}
	if !q.says(&engine.Ending{Input: &input}) || !q.says(failed) || q.says(&engine.Ending{}) {
		t.Error("an input is not found, or what is none is")
	}
}

var failure = lang.Failf(lang.ClassFunction, "boom", "it broke")

func value(t *testing.T, text string) lang.Value {
	t.Helper()
	v, err := lang.ParseValue([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// many are ended runs, the latest first.
type many struct {
	ends
	n   byte // of the router
	all []*engine.Ending
}

func (m many) Heads(event string, choose func(tenant, trigger, state, failure string) bool, yield func(*engine.EndHead) bool) error {
	for i, f := range slices.Backward(m.all) {
		if !choose(f.Tenant, f.Trigger, f.State, typeOf(f.Error)) {
			continue
		}
		if event != "" && engine.EventID(f.Event) != event {
			continue
		}
		x := engine.EndHead{
			Run: journal.RunID{0: m.n, 8: byte(i >> 8), 15: byte(i)}, Tenant: f.Tenant, Trigger: f.Trigger, State: f.State, Error: typeOf(f.Error), Started: f.Started.UnixNano(), Ended: f.Ended.UnixNano(),
		}
		if !yield(&x) {
			break
		}
	}
	return nil
}

func (m many) Reader() func(*engine.EndHead, func([]byte) bool) (*engine.Ending, error) {
	return func(x *engine.EndHead, may func([]byte) bool) (*engine.Ending, error) {
		if f := m.whole(x.Run); may == nil || may([]byte(f.Event.JSON()+f.Result.JSON())) {
			return f, nil
		}
		return nil, nil
	}
}

func (m many) whole(id journal.RunID) *engine.Ending { return m.all[int(id[8])<<8|int(id[15])] }

// TestEndedRunsAreFound by all that is asked for, sorted, in parts, with how many there are.
func TestEndedRunsAreFound(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)
	h := &house{}
	m := many{ends: ends{h}}
	for i := range 1000 {
		e := &engine.Ending{
			Tenant: fmt.Sprint("tenant-", i%2), Trigger: fmt.Sprint("t", i%5), State: "succeeded", Started: began.Add(time.Duration(i) * time.Second), Result: lang.Of(i),
			Event: lang.Of(map[string]string{"id": fmt.Sprint("e-", i), "source": "/s", "type": "x"}),
		}
		e.Ended = e.Started.Add(time.Duration(i*7%1000) * time.Millisecond)
		if i%100 == 3 {
			e.State, e.Error = "failed", lang.Failf(lang.ClassFunction, "boom", "Broke at %d", i)
		}
		if i == 77 {
			e.Event = lang.Of(map[string]string{"id": `e <"77">`})
		}
		m.all = append(m.all, e)
	}
	a := New(Options{Intake: h, Shards: h, Endings: m, Past: past{}, Cluster: h, Outbox: h, Metrics: prometheus.NewRegistry()})
	for name, c := range map[string]struct {
		query string
		total int
		first string
	}{
		"all":       {"", 1000, "e-999"},
		"oldest":    {"order=up&sort=started", 1000, "e-0"},
		"longest":   {"sort=duration", 1000, "e-857"},
		"ended":     {"sort=ended", 1000, "e-999"},
		"tenant":    {"tenant=tenant-0", 500, "e-998"},
		"trigger":   {"trigger=t3&tenant=tenant-0", 100, "e-998"},
		"failed":    {"state=failed", 10, "e-903"},
		"boom":      {"error=boom&until=" + began.Add(500*time.Second).Format(time.RFC3339), 5, "e-403"},
		"none":      {"error=bang", 0, ""},
		"since":     {"since=" + began.Add(990*time.Second).Format(time.RFC3339), 10, "e-999"},
		"event":     {"event=e-76", 1, "e-76"},
		"odd event": {"event=" + url.QueryEscape(`e <"77">`), 1, `e <"77">`},
		"not whole": {"event=e-", 0, ""},
		"text":      {"text=" + url.QueryEscape("bROKE at 203"), 1, "e-203"},
	} {
		for _, limit := range []int{1, 70, 1000} {
			seen, cursor, first := make(map[string]bool), "", ""
			for more := true; more && (limit > 1 || len(seen) < 20); more = cursor != "" {
				q, err := parseRunQuery(httptest.NewRequest("GET", "/v1/runs?"+c.query+"&limit="+fmt.Sprint(limit)+"&after="+cursor, nil))
				if err != nil {
					t.Fatal(err)
				}
				found, err := a.listRuns(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				said := found.part(q, false)
				if said.Total != c.total {
					t.Fatalf("%s: %d in all", name, said.Total)
				}
				for _, l := range said.Runs {
					if seen[l.Run] {
						t.Errorf("%s: run %s twice", name, l.Run)
					}
					id, _ := journal.ParseRunID(l.Run)
					if seen[l.Run] = true; first == "" {
						first = engine.EventID(m.whole(id).Event)
					}
				}
				cursor = said.Next
			}
			if limit > 1 && len(seen) != c.total || first != c.first {
				t.Errorf("%s, %d at a time: %d of %d, first %s", name, limit, len(seen), c.total, first)
			}
		}
	}
}

// TestTextIsLookedForInParts: who looks for a text in more ended runs than are looked through at a time is told how far that was, and goes on from there: each
// run that has it comes once, in order, whatever else is listed, also of two routers that have got to different places.
func TestTextIsLookedForInParts(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)
	h := &house{}
	var routers [2]*API
	for r := range routers {
		m := many{ends: ends{h}, n: byte(r)}
		for i := range 1000 {
			e := &engine.Ending{
				Trigger: "t", State: "succeeded", Started: began.Add(time.Duration(i*(r+1)) * time.Second), Result: lang.Of(fmt.Sprint("even ", i%2 == 0)),
				Event: lang.Of(map[string]string{"id": fmt.Sprint("e-", r, "-", i)}),
			}
			e.Ended = e.Started
			m.all = append(m.all, e)
		}
		routers[r] = New(Options{Intake: h, Shards: h, Endings: m, Past: past{}, Cluster: h, Outbox: h, Metrics: prometheus.NewRegistry()})
		routers[r].searchMost = 90 + 40*r
	}
	for _, limit := range []int{7, 100, 1000} {
		seen, cursor, parts, last := 0, "", 0, time.Now()
		for more := true; more; more = cursor != "" {
			var found *runsFound
			q, err := parseRunQuery(httptest.NewRequest("GET", "/v1/runs?text="+url.QueryEscape("EVEN TRUE")+"&limit="+fmt.Sprint(limit)+"&after="+cursor, nil))
			if err != nil {
				t.Fatal(err)
			}
			for r, a := range routers {
				some, err := a.listRuns(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if r == 0 {
					found = some
					continue
				}
				found.join(q, some.part(q, false))
			}
			said := found.part(q, false)
			if said.Looked != nil {
				parts++
				if said.Looked.Runs > 90+130 || said.Next == "" || said.Looked.Left == 0 {
					t.Fatalf("%+v", said.Looked)
				}
			}
			for _, l := range said.Runs {
				if seen++; l.Started.After(last) {
					t.Fatalf("%s comes after %s", l.Started, last)
				}
				last = l.Started
			}
			cursor = said.Next
		}
		if seen != 1000 || parts < 5 {
			t.Errorf("%d at a time: %d runs in %d parts", limit, seen, parts)
		}
	}
}
