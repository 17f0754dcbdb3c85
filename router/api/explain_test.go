package api

import (
	"encoding/json"
	"fmt"
	"github.com/prometheus/client_golang/prometheus"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestExplainDeliveries says where the event of a run's end is on its way to each destination.
func TestExplainDeliveries(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	st := &engine.Status{State: "ending", Outcome: "succeeded", Deliveries: []engine.InvocationStatus{
		{Path: "end:alert", Function: "t.onSuccess.alert", Attempt: 2, RetryAt: now.Add(4 * time.Second), LastError: lang.Failf(lang.ClassPlatform, "status", "500")},
		{Path: "end:next", Function: "trigger next", Attempt: 1, Outbox: "it is being started"},
	}}
	want := "succeeded; the event of its end is being delivered\nt.onSuccess.alert: try 2 failed (status: 500); the next is due in 4s\ntrigger next: it is being started"
	if got := strings.Join(ExplainStatus(st, now), "\n"); got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestExplain says in one line which of many children are missing, and why.
func TestExplain(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	since := now.Add(-12 * time.Second)
	call := func(index int, why string) *engine.StepStatus {
		return &engine.StepStatus{Path: "map/count[" + string(rune('0'+index)) + "]", Does: "function count", Since: since, Invocation: &engine.InvocationStatus{Outbox: why, Since: since}}
	}
	limit, work := "function count at its concurrency limit of 64", "function count is at work"
	retrying := call(4, work)
	retrying.Invocation, retrying.RetryAt, retrying.Attempt = nil, now.Add(30*time.Second), 2
	retrying.LastError = lang.Failf(lang.ClassFunction, "boom", "it broke")
	ruled := call(5, work)
	ruled.Invocation, ruled.RetryAt, ruled.Attempt, ruled.LastError = nil, now.Add(time.Second), 4, retrying.LastError
	ruled.Retry = &engine.RetryStatus{Try: 2, Of: 3, Rule: 1}
	for _, c := range []struct {
		slot engine.SlotStatus
		want []string
	}{
		{
			engine.SlotStatus{Spawned: 1000, Succeeded: 997, Open: 3, Indexes: []int{17, 204, 993}, Waiting: []*engine.StepStatus{call(1, limit), call(2, limit), call(3, limit)}},
			[]string{"map: waiting for 3 of 1,000: 17, 204, 993; since 12s; function count at its concurrency limit of 64"},
		},
		{
			engine.SlotStatus{Spawned: 50_000, Succeeded: 37_000, Open: 4, Indexes: []int{1, 2, 3, 4}, Waiting: []*engine.StepStatus{call(1, work), call(2, limit), call(3, limit), retrying}},
			[]string{
				"map: waiting for 13,000 of 50,000: 1, 2, 3, 4, and 12,996 more; since 12s; function count is at work (1); function count at its concurrency limit of 64 (2); between two tries (1); not begun (12,996)",
				"map/count[4]: try 2 failed (boom: it broke); the next is due in 30s",
			},
		},
		{
			engine.SlotStatus{Spawned: 500, Succeeded: 150, Skipped: 6, Open: 64, Window: 64, Name: "count", When: "${ item > 3 }", Indexes: []int{1, 2}, Waiting: []*engine.StepStatus{call(1, work), call(2, work)}},
			[]string{
				"map: 6 of count skipped by its when: ${ item > 3 }",
				"map: waiting for 344 of 500: 1, 2, and 342 more; since 12s; function count is at work (2); open, and not among the 2 that were looked at: those with a failed try first, then the oldest (62); not begun: at most 64 are open at a time (280)",
			},
		},
		{
			engine.SlotStatus{Spawned: 1, Open: 1, Indexes: []int{5}, Waiting: []*engine.StepStatus{ruled}},
			[]string{"map/count[5]: try 4 failed (boom: it broke); the next, try 2 of 3 by rule 1, is due in 1s"},
		},
		{
			engine.SlotStatus{Spawned: 1, Open: 1, Indexes: []int{0}, Waiting: []*engine.StepStatus{call(0, work)}},
			[]string{"map/count[0]: function count is at work; since 12s"},
		},
	} {
		st := &engine.Status{State: "running", Root: &engine.StepStatus{Path: "map", Since: since, Slots: []engine.SlotStatus{c.slot}}}
		if got := ExplainStatus(st, now); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}

// TestExplainTellsWhatIsKeptAndWhenItIsGivenUp: signals that came early, and the deadline of whatever has one.
func TestExplainTellsWhatIsKeptAndWhenItIsGivenUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	call := func(gives, deadline time.Time) *engine.StepStatus {
		return &engine.StepStatus{Path: "f", Since: now, Deadline: deadline, Invocation: &engine.InvocationStatus{Outbox: "function f is at work", Since: now, GivesUp: gives}}
	}
	for _, c := range []struct {
		root *engine.StepStatus
		want string
	}{
		{call(time.Time{}, in(time.Hour)), "f: function f is at work; since 0s; gives up at 2030-01-01T13:00:00Z"},
		{call(in(time.Minute), in(time.Hour)), "f: function f is at work; since 0s; gives up at 2030-01-01T12:01:00Z"},
		{call(in(time.Hour), in(time.Minute)), "f: function f is at work; since 0s; gives up at 2030-01-01T12:01:00Z"},
		{&engine.StepStatus{Path: "ok", Since: now, Awaits: []string{"go"}, Deadline: in(time.Hour)}, `ok: waiting for the signal "go" since 0s; gives up at 2030-01-01T13:00:00Z`},
		{&engine.StepStatus{Path: "s", Since: now, Deadline: in(time.Hour), Twin: call(time.Time{}, time.Time{})}, "s: its deadline is 2030-01-01T13:00:00Z (in 1h0m0s)\nf: function f is at work; since 0s"},
		{&engine.StepStatus{Path: "s", Since: now, Stopping: true}, "s: it is being stopped; what is in it cleans up first"},
	} {
		if got := strings.Join(ExplainStatus(&engine.Status{State: "running", Root: c.root}, now), "\n"); got != c.want {
			t.Errorf("%s; want %s", got, c.want)
		}
	}
	st := &engine.Status{State: "running", Root: &engine.StepStatus{Path: "s"}, Signals: []string{"b", "a", "b"}}
	want := "the signal \"a\" came, and is kept until a step waits for it\nthe signal \"b\" came, and is kept until a step waits for it (2 of them)"
	if got := strings.Join(ExplainStatus(st, now), "\n"); got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestExplainOfWhatHasEnded: which calls failed, with what input, at which try; why nothing was done; and that not all is told.
func TestExplainOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	boom := lang.Failf(lang.ClassFunction, "boom", "it broke")
	call := func(n int) *engine.PastStep {
		return &engine.PastStep{Path: "map/f[" + strconv.Itoa(n) + "]", N: uint32(n), Function: "f", Attempt: 3, Outcome: "failed", Sent: at, Ended: at.Add(2 * time.Second), Error: boom, Input: lang.Of(map[string]int{"n": n})}
	}
	many := &engine.Timeline{Missing: 4}
	for n := range 12 {
		many.Steps = append(many.Steps, call(n+1))
	}
	first := "map/f[1]: function f failed at try 3 (boom: it broke); sent at 2030-01-01T12:00:00Z, it took 2s; its input was {\"n\":1}"
	for _, c := range []struct {
		f      engine.Ending
		failed *engine.Timeline
		lines  int
		want   []string
	}{
		{engine.Ending{State: "failed", Error: boom}, &engine.Timeline{Steps: []*engine.PastStep{call(1), {Path: "map", Error: boom}, {Path: "end:x", N: 7, Delivery: true}}}, 2, []string{first}},
		{engine.Ending{State: "failed", Error: boom}, many, 13, []string{first, "2 more failed; onward runs get", "the history lacks 4"}},
		{engine.Ending{State: "failed", Error: boom}, &engine.Timeline{Steps: []*engine.PastStep{call(1)}, Next: "1.1"}, 3, []string{first, "more than 200 failed; onward runs get"}},
		{engine.Ending{State: "failed", Error: boom}, &engine.Timeline{Steps: []*engine.PastStep{{Path: "s", N: 1, Trigger: "other", Input: lang.Text(strings.Repeat("x", 500))}}}, 2, []string{"s: trigger other failed at try 1; its input was \"xxx", "x..."}},
		{engine.Ending{State: "failed", Error: boom}, nil, 1, []string{"boom: it broke"}},
		{engine.Ending{State: "succeeded"}, many, 1, []string{"succeeded at "}},
		{engine.Ending{State: "skipped"}, nil, 1, []string{"the condition of its flow (when) was not true"}},
		{engine.Ending{State: "skipped", Result: lang.Of(map[string]string{"dropped": "run 7 is at work"})}, nil, 1, []string{"dropped, run 7 is at work"}},
	} {
		h := &house{ended: &c.f}
		got, err := New(Options{Shards: h, Endings: ends{h}, Past: past{failed: c.failed}, Cluster: h, Outbox: h}).Explain(t.Context(), journal.RunID{1})
		if err != nil || len(got.Reasons) != c.lines || got.State != c.f.State || got.Reasons[0].Kind != "ended" {
			t.Fatalf("%+v: %+v, %v", c.f, got, err)
		}
		for _, want := range c.want {
			if lines := strings.Join(got.Lines(), "\n"); !strings.Contains(lines, want) {
				t.Errorf("%q; want %q", lines, want)
			}
		}
	}
}

// TestExplainQueue says for whom a run of a key waits, and how many come before it.
func TestExplainQueue(t *testing.T) {
	t.Parallel()
	work := []journal.RunID{{1}, {2}}
	for before, want := range map[int]string{0: "", 1: "; 1 waits that came before it", 7: "; 7 wait that came before it"} {
		st := &engine.Status{State: "queued", Queue: &engine.Queue{Key: "o-7", Limit: 2, Before: before, Work: work}}
		want = fmt.Sprintf("waits for run %s, %s of key %q (concurrency: limit 2)", work[0], work[1], "o-7") + want
		if got := strings.Join(ExplainStatus(st, time.Now()), "\n"); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
}

// TestExplainBesideAClockThatIsAhead: what began by the log's time is as old as it is by that; what the outbox knows goes by this machine's clock.
func TestExplainBesideAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	log := now.Add(time.Hour)
	st := &engine.Status{State: "running", Now: log, Root: &engine.StepStatus{Path: "s", Since: log.Add(-2 * time.Minute), Awaits: []string{"go"}, Timers: []engine.TimerStatus{{Due: log.Add(time.Minute)}},
		Invocation: &engine.InvocationStatus{Outbox: "function f is at work", Since: now.Add(-time.Second)}}}
	want := []string{"s: function f is at work; since 1s", "s: waiting until 2030-01-01T13:01:00Z (1m0s)", `s: waiting for the signal "go" since 2m0s`}
	if got := ExplainStatus(st, now); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q; want %q", got, want)
	}
	st.Now = time.Time{}
	if got := strings.Join(ExplainStatus(st, now), "; "); strings.Contains(got, "since -") {
		t.Errorf("%q", got)
	}
}

// elsewhere is a cluster in which another router has the steps of a run.
type elsewhere struct {
	*house
	said string
}

func (e elsewhere) Gather(q *http.Request, decode func() (any, func())) []string {
	if into, done := decode(); strings.HasPrefix(q.URL.Path, "/v1/runs/"+myRun+"/steps") && q.URL.Query().Get("failed") == "true" && json.Unmarshal([]byte(e.said), into) == nil {
		done()
	}
	return nil
}

// TestExplainOfWhatAnotherSaw: of a failed run whose steps this router's history lacks, another one's is asked; of an input that is not kept whole is said how much there was.
func TestExplainOfWhatAnotherSaw(t *testing.T) {
	t.Parallel()
	h := &house{ended: &engine.Ending{ID: myRun, Trigger: "t", State: "failed", Error: failure}}
	steps := lang.Of(RunSteps{Timeline: engine.Timeline{Steps: []*engine.PastStep{
		{Path: "a", N: 3, Function: "check", Attempt: 2, Outcome: "failed", Error: failure, Input: lang.Text(`"` + strings.Repeat("order-7 ", 60)), InputSize: 32002},
	}}})
	a := New(Options{Intake: h, Shards: h, Endings: ends{h}, Past: past{}, Cluster: elsewhere{h, steps.JSON()}, Outbox: h, Metrics: prometheus.NewRegistry()})
	id, _ := journal.ParseRunID(myRun)
	said, err := a.Explain(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(said.Lines(), "\n")
	for _, part := range []string{"function check failed at try 2", `its input was "order-7 order-7`, "... (32002 bytes; the history keeps the begin of it, up to history.value"} {
		if !strings.Contains(text, part) || strings.Count(text, "order-7") > 30 {
			t.Errorf("%q is not in %s", part, text)
		}
	}
}

// TestExplainALostStart: a call that waits for a run which nobody knows says what may have become of its start, and what helps; not at once, and not of one that
// has ended.
func TestExplainALostStart(t *testing.T) {
	t.Parallel()
	now, h := time.Now(), &house{}
	run := journal.RunID{7}
	reasons := func(since time.Duration) []Reason {
		return []Reason{{Kind: whyCall, Run: run.String(), Since: now.Add(-since), Text: "waits"}, {Kind: whyCall, Since: now.Add(-since), Text: "waits"}}
	}
	for name, c := range map[string]struct {
		since time.Duration
		ended *engine.Ending
		want  string
	}{
		"lost":  {time.Minute, nil, "waits; no run of that id is known"},
		"young": {time.Second, nil, "waits"},
		"ended": {time.Minute, &engine.Ending{ID: run.String()}, "waits"},
	} {
		a := New(Options{Intake: h, Shards: h, Endings: endedOne{ends{h}, c.ended}, Past: past{}, Cluster: h, Outbox: h, Metrics: prometheus.NewRegistry()})
		said := reasons(c.since)
		a.doubt(t.Context(), said, now)
		if got := said[0].Text; !strings.HasPrefix(got, c.want) || c.want == "waits" && got != c.want || said[1].Text != "waits" {
			t.Errorf("%s: %s, %s", name, got, said[1].Text)
		}
	}
}

type endedOne struct {
	ends
	one *engine.Ending
}

func (e endedOne) Find(journal.RunID) *engine.Ending { return e.one }
