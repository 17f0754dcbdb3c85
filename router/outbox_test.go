package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/sinks"
	"github.com/prometheus/client_golang/prometheus"
)

// The outbox is tested in bubbles (testing/synctest): a whole router over a journal on disk, with a sink that keeps each delivery until the test lets
// it go, and a clock that moves only when everybody waits. settle returns once the router has done all that it can do without that.

// A far is the sink and its far end.
type far struct {
	behave func(s *sent) // called for each delivery as it comes, outside the lock; nil keeps it

	mu     sync.Mutex
	sends  []*sent
	flying int
	most   int
	closed int
	late   int // deliveries that were not done when a sink was closed
}

// A sent is one delivery.
type sent struct {
	*sinks.Delivery
	far   *far
	at    time.Time
	id    string
	run   string
	bytes string
	over  bool
}

type farSettings struct {
	Name string `doc:"name,value" help:"nothing"`
}

// Batches is a plugin.Batching's: what comes together is told together, and each has a result of its own.
func (*farSettings) Batches(string) string { return "" }

// laterSettings are those of a sink whose functions answer by events: they have no timeout.
type laterSettings struct {
	Name string `doc:"name,value" help:"nothing"`
}

func (*laterSettings) AnswersLater() bool { return true }

func (f *far) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		s := &sent{Delivery: d, far: f, at: time.Now(), id: d.ID(), bytes: d.Event().String()}
		s.run, _ = d.Event().Extensions()["correlationid"].(string)
		f.mu.Lock()
		f.sends = append(f.sends, s)
		f.flying++
		f.most = max(f.most, f.flying)
		behave := f.behave
		f.mu.Unlock()
		go func() { // As a sink must: when the context ends, the delivery does.
			<-d.Context.Done()
			s.end(sinks.Ended(d.Context, "given up"))
		}()
		if behave != nil {
			behave(s)
		}
	}
}

// change has the far end do something else from now on.
func (f *far) change(behave func(*sent)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behave = behave
}

func (f *far) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	f.late += f.flying
	return nil
}

// end ends a delivery, unless it has ended.
func (s *sent) end(r sinks.Result) {
	s.far.mu.Lock()
	if s.over {
		s.far.mu.Unlock()
		return
	}
	s.over = true
	s.far.flying--
	s.far.mu.Unlock()
	s.Done(r)
}

func (s *sent) succeed() { s.end(sinks.Complete(s.Event().Data())) }

// sent returns the deliveries so far, of one function or, with "", of all.
func (f *far) sent(function string) []*sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.sends)
	return slices.DeleteFunc(out, func(s *sent) bool { return function != "" && s.Function != function })
}

// open returns those that have not ended.
func (f *far) open(function string) []*sent {
	return slices.DeleteFunc(f.sent(function), func(s *sent) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return s.over
	})
}

// A bubble is a router inside one.
type bubble struct {
	*router.Router
	t       *testing.T
	far     *far
	metrics *prometheus.Registry
	reg     *plugin.Registry
	stop    func()
}

func inBubble(t *testing.T, doc string, f func(t *testing.T, b *bubble)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := enter(t, dir, doc, new(far))
		f(t, b)
		b.stop()
	})
}

func farRegistry(f *far) *plugin.Registry {
	reg := registry()
	sinks.Register(reg, "far", 1, "Keeps deliveries for a test.", func(string, *farSettings, sinks.Host) (sinks.Sink, error) { return f, nil })
	sinks.Register(reg, "later", 1, "Keeps deliveries, and has no timeout.", func(string, *laterSettings, sinks.Host) (sinks.Sink, error) { return f, nil })
	return reg
}

func parse(t *testing.T, reg *plugin.Registry, doc string) *config.Set {
	t.Helper()
	set, findings := config.Parse("test.yaml", []byte(doc), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	return set
}

func enter(t *testing.T, dir, doc string, f *far) *bubble {
	t.Helper()
	return enterDraining(t, dir, doc, f, -1)
}

// enterDraining lets invocations under way end for a while when the router stops.
func enterDraining(t *testing.T, dir, doc string, f *far, drain time.Duration) *bubble {
	t.Helper()
	b := &bubble{t: t, far: f, metrics: prometheus.NewRegistry(), reg: farRegistry(f)}
	set := parse(t, b.reg, doc)
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	b.Router, err = router.Open(router.Options{Set: set, Registry: b.reg, Journal: j, Metrics: b.metrics, Drain: drain})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(b.stop)
	<-b.Ready()
	return b
}

func (b *bubble) start(trigger, id, data string) journal.RunID {
	b.t.Helper()
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType("test")
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data)); err != nil {
		b.t.Fatal(err)
	}
	run, err := b.Start(context.Background(), trigger, &e)
	if err != nil {
		b.t.Fatal(err)
	}
	settle()
	return run
}

func settle() { synctest.Wait() }

// rest waits until what was accepted is journaled, too: that waits a little for company.
func rest() {
	time.Sleep(20 * time.Millisecond)
	synctest.Wait()
}

// wait returns how a run ended; in a bubble that is a matter of moments, or never.
func (b *bubble) wait(run journal.RunID) *router.Finished {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Hour)
	defer cancel()
	f, err := b.Wait(ctx, run)
	if err != nil {
		lines, _ := b.Explain(context.Background(), run)
		b.t.Fatalf("%v; %q", err, lines)
	}
	return f
}

// event admits a completion.
func (b *bubble) event(kind, cause, data string) {
	b.t.Helper()
	e := event.New()
	e.SetID("completion-of-" + cause)
	e.SetSource("/functions")
	e.SetType("dev.onward.function." + kind)
	e.SetExtension("causationid", cause)
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data)); err != nil {
		b.t.Fatal(err)
	}
	receipts, err := b.Admit(context.Background(), []event.Event{e})
	if err != nil || receipts[0].Err != nil {
		b.t.Fatal(receipts, err)
	}
	settle()
}

// metric reads a counter, a gauge, or a histogram's count and sum; labels are given as name=value.
func (b *bubble) metric(name string, labels ...string) (value, sum float64) {
	b.t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
				continue
			}
			switch {
			case m.Counter != nil:
				value += m.Counter.GetValue()
			case m.Gauge != nil:
				value += m.Gauge.GetValue()
			case m.Histogram != nil:
				value += float64(m.Histogram.GetSampleCount())
				sum += m.Histogram.GetSampleSum()
			}
		}
	}
	return value, sum
}

func (b *bubble) counted(want float64, name string, labels ...string) {
	b.t.Helper()
	if got, _ := b.metric(name, labels...); got != want {
		b.t.Errorf("%s%q is %v; want %v", name, labels, got, want)
	}
}

const outboxDocument = `
version: 1
functions:
  work: { far: x, concurrency: 8, timeout: 10s }
  one: { far: x, concurrency: 1, timeout: 10s }
  slow: { later: x }
  retried: { far: x, timeout: 10s, retry: { attempts: 3, backoff: 1s } }
  alert: { far: x, timeout: 20s }
triggers:
  wide: { filters: [{ exact: { type: wide } }], flow: { map: { items: "${ data }", do: { function: work } } } }
  range: { filters: [{ exact: { type: range } }], flow: { map: { items: 100000, do: { function: work } } } }
  narrow: { filters: [{ exact: { type: narrow } }], flow: { map: { items: "${ data }", do: { function: one } } } }
  single: { filters: [{ exact: { type: single } }], flow: { function: work } }
  endless: { filters: [{ exact: { type: endless } }], flow: { function: slow } }
  retrying: { filters: [{ exact: { type: retrying } }], flow: { function: retried }, onFailure: { function: alert } }
  first: { filters: [{ exact: { type: first } }], flow: { forkjoin: { branches: [{ function: work }, { function: one }] } } }
  straight: { filters: [{ exact: { type: straight } }], onSuccess: { function: alert } }
`

// TestConcurrencyIsNeverExceeded lets deliveries end in every way, in an order of chance, and watches how many are in flight.
func TestConcurrencyIsNeverExceeded(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		const n = 400
		items := make([]int, n)
		for i := range items {
			items[i] = i
		}
		text, _ := json.Marshal(items) // Numbers marshal.
		run := b.start("wide", "1", string(text))
		if got := len(b.far.open("work")); got != 8 {
			t.Errorf("%d in flight at first", got)
		}
		tries := make(map[string]int)
		accepted := 0
		for step := 0; ; step++ {
			open := b.far.open("work")
			if len(open) == 0 {
				before := len(b.far.sent(""))
				time.Sleep(10 * time.Second) // Those that were put off come again.
				settle()
				if len(b.far.sent("")) == before {
					break
				}
				continue
			}
			s := open[(step*7)%len(open)]
			tries[s.id]++
			switch {
			case step%5 == 0 && tries[s.id] == 1:
				s.end(sinks.Again(0, &sinks.Error{Type: "away", Message: "away", Class: "platform"}))
			case step%7 == 0:
				accepted++
				s.end(sinks.Accept())
				settle()
				b.event("succeeded", s.id, string(s.Event().Data()))
			default:
				s.succeed()
			}
			settle()
		}
		if f := b.wait(run); f.State != "succeeded" || f.Result.JSON() != string(text) || accepted < n/10 {
			t.Errorf("%s, %.100s, %d accepted", f.State, f.Result, accepted)
		}
		if b.far.most != 8 {
			t.Errorf("%d in flight at a time", b.far.most)
		}
	})
}

// TestSmallRunIsNotDelayedByABigOne counts sends, not seconds.
func TestSmallRunIsNotDelayedByABigOne(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		const concurrency = 8
		big := b.start("range", "big", "null")
		for range 20 {
			b.far.open("work")[0].succeed()
			settle()
		}
		small := b.start("wide", "small", "[1,2,3]")
		before := len(b.far.sent("work"))
		ofSmall := func() (n, last int) {
			for i, s := range b.far.sent("work") {
				if s.run == small.String() {
					n, last = n+1, i
				}
			}
			return n, last
		}
		for range 100 {
			if n, _ := ofSmall(); n == 3 {
				break
			}
			b.far.open("work")[0].succeed()
			settle()
		}
		n, last := ofSmall()
		if ofBig := last + 1 - n - before; n != 3 || ofBig > concurrency+3 {
			t.Errorf("%d of 3 were sent, and %d of the big run since it was ready", n, ofBig)
		}
		for _, s := range b.far.sent("work") {
			if s.run == small.String() {
				s.succeed()
			}
		}
		if f := b.wait(small); f.Result.JSON() != "[1,2,3]" {
			t.Errorf("%s", f.Result)
		}
		if _, err := b.Cancel(t.Context(), big, ""); err != nil {
			t.Fatal(err)
		}
		settle()
	})
}

func TestResendKeepsTheIDAndUsesUpNoAttempt(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		const times = 12
		b.far.behave = func(s *sent) {
			if len(b.far.sent("")) <= times {
				s.end(sinks.Again(0, &sinks.Error{Type: "away", Message: "nobody listens", Class: "platform"}))
				return
			}
			s.succeed()
		}
		f := b.wait(b.start("retrying", "1", `{"a":"b"}`))
		if f.State != "succeeded" || f.Calls != 1 {
			t.Errorf("%s %v after %d calls", f.State, f.Error, f.Calls)
		}
		sends := b.far.sent("retried")
		if len(sends) != times+1 {
			t.Fatalf("%d sends", len(sends))
		}
		for i, s := range sends {
			if s.id != sends[0].id || s.bytes != sends[0].bytes || s.Attempt != 1 {
				t.Errorf("send %d: attempt %d\n%s\nwas\n%s", i, s.Attempt, s.bytes, sends[0].bytes)
			}
			if i == 0 {
				continue
			}
			pause, most := s.at.Sub(sends[i-1].at), min(200*time.Millisecond<<(i-1), 30*time.Second)
			if pause < most/2 || pause > most {
				t.Errorf("pause %d is %s; want between %s and %s", i, pause, most/2, most)
			}
		}
		b.counted(times, "onward_resent_total")
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		afters := []time.Duration{7 * time.Second, time.Hour, 90 * time.Second}
		b.far.behave = func(s *sent) {
			if n := len(b.far.sent("")); n <= len(afters) {
				s.end(sinks.Again(afters[n-1], &sinks.Error{Type: "http_429", Message: "too much", Class: "throttle"}))
				return
			}
			s.succeed()
		}
		if f := b.wait(b.start("single", "1", "1")); f.State != "succeeded" {
			t.Error(f.Error)
		}
		sends := b.far.sent("work")
		for i, after := range afters {
			if pause := sends[i+1].at.Sub(sends[i].at); pause != after {
				t.Errorf("sent again after %s; want %s", pause, after)
			}
		}
	})
}

// TestClockOfATryStartsWhenItIsSent: what waits in the queue has all of its time yet.
func TestClockOfATryStartsWhenItIsSent(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		run := b.start("narrow", "1", "[1,2,3]")
		for i := range 3 {
			open := b.far.open("one")
			if len(open) != 1 {
				t.Fatalf("%d in flight", len(open))
			}
			if deadline, _ := open[0].Context.Deadline(); !deadline.Equal(open[0].at.Add(10 * time.Second)) {
				t.Errorf("try %d: sent %s, its time is over %s", i, open[0].at, deadline)
			}
			time.Sleep(9 * time.Second)
			open[0].succeed()
			settle()
		}
		if f := b.wait(run); f.State != "succeeded" || f.Calls != 3 {
			t.Errorf("%s %v after %d calls", f.State, f.Error, f.Calls)
		}
		// 0 + 9 + 18 seconds in the queue; the first is sent in the same moment.
		if n, sum := b.metric("onward_queue_seconds"); n != 3 || sum < 27 || sum > 27.1 {
			t.Errorf("queue: %v, %v s", n, sum)
		}
	})
}

// TestTimeOutIsARecordAndANewAttempt follows a try that gets no answer, its successor, and the answers that come late.
func TestTimeOutIsARecordAndANewAttempt(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		run := b.start("retrying", "1", "1")
		time.Sleep(10*time.Second - time.Millisecond)
		settle()
		if n := len(b.far.open("retried")); n != 1 {
			t.Fatalf("%d in flight shortly before its time is over", n)
		}
		time.Sleep(3 * time.Second) // A millisecond until the time is over, then the backoff of 1 s with its jitter.
		settle()
		b.counted(1, "onward_records_total", "kind=timed-out", "reason=applied")
		sends := b.far.sent("retried")
		if len(sends) != 2 {
			t.Fatalf("%d sends", len(sends))
		}
		key := func(s *sent) any { return s.Event().Extensions()["idempotencykey"] }
		if sends[0].id == sends[1].id || key(sends[0]) != key(sends[1]) || sends[0].Attempt != 1 || sends[1].Attempt != 2 {
			t.Errorf("attempt %d: %s, %v; attempt %d: %s, %v", sends[0].Attempt, sends[0].id, key(sends[0]), sends[1].Attempt, sends[1].id, key(sends[1]))
		}
		b.event("succeeded", sends[0].id, `"late"`)
		b.counted(1, "onward_records_total", "kind=completion", "reason=superseded")
		sends[1].end(sinks.Complete([]byte(`"in time"`)))
		if f := b.wait(run); f.Result.JSON() != `"in time"` || f.Calls != 2 {
			t.Errorf("%s %v after %d calls", f.Result, f.Error, f.Calls)
		}
		rest()
		b.event("succeeded", sends[1].id, `"again"`)
		b.event("failed", sends[0].id, `"later still"`)
		b.counted(2, "onward_records_total", "kind=completion", "reason=ended")
	})
}

func TestCancelAbortsWhatIsInFlight(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		items := strings.Repeat("1,", 49) + "1"
		run := b.start("wide", "1", "["+items+"]")
		flying := b.far.open("work")
		if len(flying) != 8 {
			t.Fatalf("%d in flight", len(flying))
		}
		if _, err := b.Cancel(t.Context(), run, "no longer wanted"); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, s := range flying {
			if s.Context.Err() != context.Canceled {
				t.Errorf("%s: %v", s.id, s.Context.Err())
			}
		}
		if f := b.wait(run); f.State != "cancelled" {
			t.Errorf("%s", f.State)
		}
		if n := len(b.far.sent("")); n != 8 {
			t.Errorf("%d sends: the queue went on", n)
		}
		// Nothing of it is left in the way, and what was aborted is no failure of anybody's.
		next := b.start("wide", "2", "["+items+"]")
		if n := len(b.far.open("work")); n != 8 {
			t.Errorf("%d in flight of the next run", n)
		}
		b.far.behave = (*sent).succeed
		for _, s := range b.far.open("work") {
			s.succeed()
		}
		if f := b.wait(next); f.State != "succeeded" {
			t.Errorf("%s", f.State)
		}
		b.counted(50, "onward_records_total", "kind=completion")
	})
}

// TestSupersededBranchIsAborted: one branch has failed, and the other is not wanted any more.
func TestSupersededBranchIsAborted(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		run := b.start("first", "1", "5")
		b.far.open("work")[0].end(sinks.Accept())
		settle()
		b.event("failed", b.far.sent("work")[0].id, `{"type":"boom"}`)
		if f := b.wait(run); f.State != "failed" || f.Error.Type != "boom" {
			t.Errorf("%s %v", f.State, f.Error)
		}
		settle()
		if s := b.far.sent("one")[0]; s.Context.Err() != context.Canceled {
			t.Errorf("the other branch: %v", s.Context.Err())
		}
		// Only the branch with an outcome is timed.
		b.counted(1, "onward_function_seconds", "function=work")
		b.counted(0, "onward_function_seconds", "function=one")
	})
}

func TestOnFailureGetsErrorAttemptsAndInput(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			if s.Function == "alert" {
				s.end(sinks.Accept())
				return
			}
			s.end(sinks.CompleteError(&sinks.Error{
				Type: "boom", Message: fmt.Sprintf("broken %d times", s.Attempt), Class: "function", Data: []byte(`{"x":1}`),
			}))
		}
		run := b.start("retrying", "1", `{"order":42}`)
		if f := b.wait(run); f.State != "failed" || f.Calls != 3 {
			t.Errorf("%s after %d calls", f.State, f.Calls)
		}
		rest()
		alerts := b.far.sent("alert")
		if len(alerts) != 1 {
			t.Fatalf("%d alerts", len(alerts))
		}
		a := alerts[0]
		calls := b.far.sent("retried")
		want := fmt.Sprintf(`{"error":{"type":"boom","message":"broken 3 times","class":"function","data":{"x":1},"path":"retried","attempt":3,"invocation":%q},"attempts":3,"input":{"order":42}}`,
			untagged(calls[len(calls)-1].ID()))
		var got, expected any
		if json.Unmarshal(a.Event().Data(), &got) != nil || json.Unmarshal([]byte(want), &expected) != nil || fmt.Sprint(got) != fmt.Sprint(expected) {
			t.Errorf("%s; want %s", a.Event().Data(), want)
		}
		if a.Invoke || a.Event().Type() != "dev.onward.run.failed" || a.run != run.String() {
			t.Errorf("%+v\n%s", a.Delivery, a.Event())
		}
		b.counted(0, "onward_runs")
	})
}

// TestRestartSendsAgainOnlyWhatWasNotAccepted stops a router in good order, with invocations in flight, and starts another one on its journal.
func TestRestartSendsAgainOnlyWhatWasNotAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := enter(t, dir, outboxDocument, new(far))
		run := b.start("wide", "1", "[10,11,12,13]")
		first := b.far.open("work")
		if len(first) != 4 {
			t.Fatalf("%d in flight", len(first))
		}
		first[0].end(sinks.Accept())
		first[2].end(sinks.Accept())
		settle()
		b.stop()
		if b.far.late != 0 || b.far.closed == 0 {
			t.Errorf("%d deliveries were under way when the sinks were closed, %d times", b.far.late, b.far.closed)
		}
		b.counted(0, "onward_records_total", "kind=completion")

		b = enter(t, dir, outboxDocument, new(far))
		settle()
		again := b.far.sent("work")
		if len(again) != 2 {
			t.Fatalf("%d were sent again", len(again))
		}
		for i, s := range again {
			if was := first[2*i+1]; s.id != was.id || s.bytes != was.bytes || s.Attempt != 1 {
				t.Errorf("sent again:\n%s\nwas\n%s", s.bytes, was.bytes)
			}
			s.succeed()
		}
		b.event("succeeded", first[0].id, "20")
		b.event("succeeded", first[2].id, "22")
		if f := b.wait(run); f.Result.JSON() != "[20,11,22,13]" {
			t.Errorf("%s %v", f.Result, f.Error)
		}
		b.stop()
	})
}

// TestStopLetsInvocationsEnd: what is under way ends and counts, nothing more is sent, and what does not end in time is sent again by the next owner.
func TestStopLetsInvocationsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := enterDraining(t, dir, outboxDocument, new(far), 5*time.Second)
		run := b.start("wide", "1", "[10,11,12,13,14,15,16,17,18,19]")
		first := b.far.open("work")
		if len(first) != 8 {
			t.Fatalf("%d in flight", len(first))
		}
		stopped := make(chan struct{})
		begin := time.Now()
		go func() {
			defer close(stopped)
			b.stop()
		}()
		time.Sleep(time.Second)
		for _, s := range first[:7] {
			s.succeed()
		}
		<-stopped
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it took %s; one invocation did not end within 5s", took)
		}
		if n := len(b.far.sent("work")); n != 8 {
			t.Errorf("%d were sent; nothing more is sent on the way out", n)
		}
		b = enter(t, dir, outboxDocument, new(far))
		settle()
		again := b.far.sent("work")
		if len(again) != 3 || again[0].id != first[7].id {
			t.Fatalf("%d were sent by the next owner", len(again))
		}
		for _, s := range again {
			s.succeed()
		}
		if f := b.wait(run); f.State != "succeeded" {
			t.Errorf("%s %v", f.State, f.Error)
		}
		b.stop()
	})
}

// TestAcceptedTimesOutAfterARestartToo: the clock of an accepted try runs on in the next tenure.
func TestAcceptedTimesOutAfterARestartToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := enter(t, dir, outboxDocument, new(far))
		run := b.start("single", "1", "1")
		b.far.open("work")[0].end(sinks.Accept())
		settle()
		b.stop()
		time.Sleep(4 * time.Second)
		b = enter(t, dir, outboxDocument, new(far))
		begin := time.Now()
		f := b.wait(run)
		if took := time.Since(begin); f.State != "failed" || f.Error.Type != "timeout" || took < 5*time.Second || took > 7*time.Second {
			t.Errorf("%s %v after %s", f.State, f.Error, took)
		}
		if n := len(b.far.sent("")); n != 0 {
			t.Errorf("%d sends", n)
		}
		b.stop()
	})
}

// TestRunWaitsForDeliveriesThatAreSlowToEnd: a sink has its grace, as exec does, before it is closed.
func TestRunWaitsForDeliveriesThatAreSlowToEnd(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			done := s.Done
			s.far.mu.Lock()
			s.over = true // The sink that ends at once is not to.
			s.far.mu.Unlock()
			go func() {
				<-s.Context.Done()
				time.Sleep(2 * time.Second)
				s.far.mu.Lock()
				s.far.flying--
				s.far.mu.Unlock()
				done(sinks.Ended(s.Context, "given up"))
			}()
		}
		b.start("single", "1", "1")
		b.stop()
		if b.far.late != 0 || b.far.closed == 0 {
			t.Errorf("%d deliveries were under way when the sinks were closed, %d times", b.far.late, b.far.closed)
		}
	})
}

func TestOversizeCompletionFailsTheStep(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		huge := `"` + strings.Repeat("x", router.MaxValueBytes) + `"`
		b.far.behave = func(s *sent) { s.end(sinks.Complete([]byte(huge))) }
		if f := b.wait(b.start("single", "answer", "1")); f.State != "failed" || f.Error.Type != "too_large" || !strings.Contains(f.Error.Message, "dataref") {
			t.Errorf("%s %v", f.State, f.Error)
		}
		b.far.behave = func(s *sent) { s.end(sinks.Accept()) }
		run := b.start("single", "event", "1")
		sends := b.far.sent("work")
		b.event("succeeded", sends[len(sends)-1].id, huge)
		if f := b.wait(run); f.State != "failed" || f.Error.Type != "too_large" {
			t.Errorf("%s %v", f.State, f.Error)
		}
	})
}

// TestUndeliverableDestinationIsGivenUpAtItsDeadline whether it is away, refuses for now, is silent, or has gone from the documents.
func TestUndeliverableDestinationIsGivenUpAtItsDeadline(t *testing.T) {
	const deadline = 6 * time.Hour // maxAge when the function says none
	for name, behave := range map[string]func(*sent){
		"away": func(s *sent) {
			s.end(sinks.Again(0, &sinks.Error{Type: "unreachable", Message: "nobody listens", Class: "platform"}))
		},
		"put off beyond it": func(s *sent) {
			s.end(sinks.Again(100*time.Hour, &sinks.Error{Type: "http_503", Message: "later", Class: "platform"}))
		},
		"silent": func(*sent) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
				b.far.behave = behave
				run := b.start("straight", "1", "1")
				begin := time.Now()
				if f := b.wait(run); f.State != "succeeded" {
					t.Errorf("the run itself: %s", f.State)
				}
				time.Sleep(deadline - time.Second)
				settle()
				b.counted(1, "onward_runs")
				b.counted(0, "onward_records_total", "kind=gave-up")
				time.Sleep(21 * time.Second) // A try that is at work then has its time.
				settle()
				b.counted(0, "onward_runs")
				b.counted(1, "onward_records_total", "kind=gave-up", "reason=applied")
				sends := b.far.sent("alert")
				if last := sends[len(sends)-1].at; last.Sub(begin) >= deadline {
					t.Errorf("sent %s after the run's end", last.Sub(begin))
				}
				for _, s := range sends {
					if s.id != sends[0].id {
						t.Errorf("sent as %s and as %s", sends[0].id, s.id)
					}
				}
				if name == "silent" && len(sends) < 100 {
					t.Errorf("a silent destination held its place for %s", sends[len(sends)-1].at.Sub(begin))
				}
			})
		})
	}
}

// TestFunctionThatIsGoneAndComesBack: a reload takes a function away while it has a queue.
func TestFunctionThatIsGoneAndComesBack(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		set, without := parse(t, b.reg, outboxDocument), parse(t, b.reg, "version: 1\nfunctions: { other: { far: x } }\ntriggers: {}\n")
		run := b.start("narrow", "1", "[1,2,3]")
		if err := b.Reload(without); err != nil {
			t.Fatal(err)
		}
		b.far.open("one")[0].succeed()
		settle()
		if n := len(b.far.sent("one")); n != 1 {
			t.Errorf("%d were sent to a function that has gone", n)
		}
		if lines, err := b.Explain(t.Context(), run); err != nil || !strings.Contains(strings.Join(lines, "\n"), "not in the documents") {
			t.Errorf("%q, %v", lines, err)
		}
		b.far.behave = (*sent).succeed
		if err := b.Reload(set); err != nil {
			t.Fatal(err)
		}
		if f := b.wait(run); f.State != "succeeded" || f.Result.JSON() != "[1,2,3]" {
			t.Errorf("%s %s", f.State, f.Result)
		}
		// When it does not come back, the deadline of what waits for it is kept.
		b.far.behave = nil
		run = b.start("narrow", "2", "[1,2]")
		if err := b.Reload(without); err != nil {
			t.Fatal(err)
		}
		b.far.open("one")[0].succeed()
		if f := b.wait(run); f.State != "failed" || f.Error.Type != "undelivered" {
			t.Errorf("%s %v", f.State, f.Error)
		}
	})
}

// TestReloadHoldsForWhatWaits: a function's new concurrency holds for what is queued.
func TestReloadHoldsForWhatWaits(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		run := b.start("narrow", "1", "[1,2,3,4,5]")
		if n := len(b.far.open("one")); n != 1 {
			t.Errorf("%d in flight", n)
		}
		for _, at := range []int{3, 2} {
			if err := b.Reload(parse(t, b.reg, strings.Replace(outboxDocument, "one: { far: x, concurrency: 1", fmt.Sprintf("one: { far: x, concurrency: %d", at), 1))); err != nil {
				t.Fatal(err)
			}
			settle()
			if n := len(b.far.open("one")); n != 3 { // What is in flight stays.
				t.Errorf("%d in flight with a concurrency of %d", n, at)
			}
		}
		b.far.open("one")[0].succeed()
		settle()
		if n := len(b.far.open("one")); n != 2 {
			t.Errorf("%d in flight after one has ended", n)
		}
		b.far.change((*sent).succeed)
		for _, s := range b.far.open("one") {
			s.succeed()
		}
		if f := b.wait(run); f.State != "succeeded" {
			t.Errorf("%s %v", f.State, f.Error)
		}
	})
}

// TestDeliveryWithoutTimeoutEndsAtItsDeadline: it is not said to have timed out, for it has no timeout.
func TestDeliveryWithoutTimeoutEndsAtItsDeadline(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		if f := b.wait(b.start("endless", "1", "1")); f.State != "failed" || f.Error.Type != "undelivered" {
			t.Errorf("%s %v", f.State, f.Error)
		}
		b.counted(0, "onward_records_total", "kind=timed-out")
	})
}

// TestTimesOfDeliveriesAndFunctions: one counts each delivery by its sink, the other each invocation with all its sendings.
func TestTimesOfDeliveriesAndFunctions(t *testing.T) {
	inBubble(t, outboxDocument, func(t *testing.T, b *bubble) {
		run := b.start("single", "1", "1")
		time.Sleep(time.Second)
		b.far.open("work")[0].end(sinks.Again(10*time.Second, &sinks.Error{Type: "away", Message: "away", Class: "platform"}))
		time.Sleep(10 * time.Second)
		settle()
		time.Sleep(2 * time.Second)
		b.far.open("work")[0].end(sinks.Accept())
		time.Sleep(4 * time.Second)
		b.event("succeeded", b.far.sent("work")[0].id, "1")
		b.wait(run)
		settle()
		for _, c := range []struct {
			name, label string
			n, sum      float64
		}{
			{"onward_deliver_seconds", "sink=far", 2, 1 + 2}, {"onward_function_seconds", "function=work", 1, 1 + 10 + 2 + 4},
		} {
			if n, sum := b.metric(c.name, c.label); n != c.n || sum < c.sum-0.01 || sum > c.sum+0.01 {
				t.Errorf("%s: %v in %v s; want %v in %v s", c.name, n, sum, c.n, c.sum)
			}
		}
		if n, _ := b.metric("onward_append_seconds"); n < 3 {
			t.Errorf("%v appends: those of the fold's owner are left out", n)
		}
	})
}

// untagged is the id of a call without the tag that it is sent with.
func untagged(id string) string { return id[:strings.LastIndexByte(id, '.')] }
