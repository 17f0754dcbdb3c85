package router_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/prometheus/client_golang/prometheus"
	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector takes traces by OTLP over HTTP.
type collector struct {
	url string

	mu       sync.Mutex
	spans    []*tracepb.Span
	service  string
	requests []*http.Request
	answer   func(w http.ResponseWriter) bool // nil, or whether it has answered
}

func newCollector(t *testing.T) *collector {
	c := new(collector)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, e := gzip.NewReader(bytes.NewReader(body))
			if e != nil {
				t.Error(e)
				return
			}
			body, err = io.ReadAll(z)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, r)
		if c.answer != nil && c.answer(w) {
			return
		}
		var q collectorpb.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &q) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("no request of OTLP: %s %s, %d bytes, %v", r.Method, r.URL, len(body), err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, rs := range q.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.name" {
					c.service = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	c.url = s.URL + "/v1/traces"
	return c
}

// named returns the spans of a name, in the order of their beginnings.
func (c *collector) named(name string) (out []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *tracepb.Span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return out
}

// await waits until there are so many spans of a name.
func (c *collector) await(t *testing.T, name string, n int) []*tracepb.Span {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if got := c.named(name); len(got) >= n {
			return got
		}
		if time.Since(begin) > 30*time.Second {
			c.mu.Lock()
			defer c.mu.Unlock()
			var names []string
			for _, s := range c.spans {
				names = append(names, s.Name)
			}
			t.Fatalf("no %d spans %q; there are %q", n, name, names)
		}
	}
}

func value(s *tracepb.Span, key string) any {
	for _, a := range s.Attributes {
		if a.Key != key {
			continue
		}
		switch v := a.Value; {
		case v.GetStringValue() != "":
			return v.GetStringValue()
		case v.GetIntValue() != 0:
			return v.GetIntValue()
		default:
			return v.GetDoubleValue()
		}
	}
	return nil
}

// says reports whether a span's last event is an exception of a type.
func says(s *tracepb.Span, kind, message string) bool {
	if len(s.Events) == 0 {
		return false
	}
	last := s.Events[len(s.Events)-1]
	of := &tracepb.Span{Attributes: last.Attributes}
	return last.Name == "exception" && value(of, "exception.type") == kind && value(of, "exception.message") == message
}

// traced starts a router that tells a collector.
func traced(t *testing.T, dir, doc string, o router.TraceOptions, more func(*router.Options)) *running {
	t.Helper()
	set, findings := config.Parse("test.yaml", []byte(doc), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	all := router.Options{Set: set, Registry: registry(), Journal: j, Listen: "127.0.0.1:0", Dir: dir, Traces: o}
	if more != nil {
		more(&all)
	}
	return runIt(t, all)
}

// flaky is a function that fails once for the input 2, and keeps which header came with which try.
type flaky struct {
	url   string
	mu    sync.Mutex
	came  map[string]http.Header // by input and try
	tries map[string]int
}

func newFlaky(t *testing.T) *flaky {
	f := &flaky{came: make(map[string]http.Header), tries: make(map[string]int)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		f.tries[string(b)]++
		n := f.tries[string(b)]
		f.came[fmt.Sprintf("%s.%d", b, n)] = r.Header.Clone()
		f.mu.Unlock()
		if string(b) == "2" && n == 1 {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"type":"boom","message":"it broke"}`)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

const threeByThree = `version: 1
functions: { f: { http: { url: "%s/" } } }
sources: { in: { webhook: { path: /in } } }
triggers: { three: { filters: [{ exact: { type: t } }], flow: { map: { items: [1, 2, 3], do: { function: f, retry: { attempts: 2, backoff: 1ms } } } } } }`

// TestTraceOfARun goes the whole path: an event with a traceparent, a map of three of which one is tried twice, the function sees the span of its try, and
// the collector gets the run under the event's span, the map under it with links to its branches, those with their tries, times and error.
func TestTraceOfARun(t *testing.T) {
	t.Parallel()
	c, f := newCollector(t), newFlaky(t)
	r := traced(t, t.TempDir(), fmt.Sprintf(threeByThree, f.url), router.TraceOptions{
		Endpoint: c.url, Sample: 0, Gzip: true, Headers: map[string]string{"api-key": "secret"}, Environment: []string{"OTEL_SERVICE_NAME=shop"},
	}, nil)
	r.event("1", map[string]string{"Traceparent": parentOfAll, "Tracestate": "a=1"})

	run := c.await(t, "three", 1)[0]
	if hex.EncodeToString(run.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(run.ParentSpanId) != "b7ad6b7169203331" || run.TraceState != "a=1" ||
		run.Kind != tracepb.Span_SPAN_KIND_CONSUMER || value(run, "cloudevents.event_id") != "1" || value(run, "cloudevents.event_type") != "t" || value(run, "onward.run.calls") != int64(4) || run.Status != nil {
		t.Errorf("the run: %v", run)
	}
	whole, steps, tries := c.await(t, "map", 1), c.await(t, "f[*]", 3), c.await(t, "call f", 4)
	if len(whole) != 1 || len(steps) != 3 || len(tries) != 4 || len(c.spans) != 9 || c.service != "shop" || c.requests[0].Header.Get("Api-Key") != "secret" {
		t.Fatalf("%d, %d, %d of %d spans of %q", len(whole), len(steps), len(tries), len(c.spans), c.service)
	}
	join := whole[0]
	if !bytes.Equal(join.ParentSpanId, run.SpanId) || len(join.Links) != 3 || value(join, "onward.step.policy") != "map" || value(join, "onward.step.branches") != int64(3) {
		t.Errorf("the map: %v", join)
	}
	ids := make(map[string]*tracepb.Span)
	for _, s := range c.spans {
		if ids[string(s.SpanId)] != nil || !bytes.Equal(s.TraceId, run.TraceId) || s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano < run.StartTimeUnixNano || s.EndTimeUnixNano > run.EndTimeUnixNano || s.Flags&1 == 0 {
			t.Errorf("of another trace, told twice, or not within its run: %v", s)
		}
		ids[string(s.SpanId)] = s
	}
	for i, s := range steps {
		if !bytes.Equal(s.ParentSpanId, join.SpanId) || !slices.ContainsFunc(join.Links, func(l *tracepb.Span_Link) bool { return bytes.Equal(l.SpanId, s.SpanId) }) || s.Status != nil || len(s.Events) > 0 {
			t.Errorf("branch %d: %v", i, s)
		}
	}
	failed, byStep := 0, make(map[string]int)
	for _, s := range tries {
		byStep[string(s.ParentSpanId)]++
		step := ids[string(s.ParentSpanId)]
		if step == nil || step.Name != "f[*]" || value(step, "onward.step.path") != value(s, "onward.step.path") || s.Kind != tracepb.Span_SPAN_KIND_CLIENT || value(s, "faas.invoked_name") != "f" {
			t.Fatalf("a try: %v", s)
		}
		sum := value(s, "onward.queue").(float64) + value(s, "onward.function").(float64) + value(s, "onward.router").(float64)
		events := 1
		if s.Status != nil {
			events++ // Its exception.
		}
		if took := time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano); (time.Duration(sum*1e9)-took).Abs() > time.Microsecond || len(s.Events) != events || s.Events[0].Name != "sent" {
			t.Errorf("a try of %s says %v: %v", took, sum, s)
		}
		if s.Status == nil {
			continue
		}
		if failed++; s.Status.Code != tracepb.Status_STATUS_CODE_ERROR || s.Status.Message != "boom: it broke" || value(s, "error.type") != "boom" || !says(s, "boom", "it broke") || byStep[string(s.ParentSpanId)] != 1 {
			t.Errorf("a failed try: %v", s)
		}
	}
	if failed != 1 || len(byStep) != 3 {
		t.Errorf("%d tries failed, of %d steps", failed, len(byStep))
	}
	// What a function was told is the span of its try.
	for try, header := range f.came {
		parent := strings.Split(header.Get("Traceparent"), "-")
		id, _ := hex.DecodeString(parent[2])
		span := ids[string(id)]
		if parent[1] != "0af7651916cd43dd8448eb211c80319c" || parent[3] != "01" || header.Get("Tracestate") != "a=1" || header.Get("Ce-Traceparent") != header.Get("Traceparent") ||
			span == nil || span.Name != "call f" || fmt.Sprint(value(span, "onward.attempt")) != try[2:] {
			t.Errorf("try %s was sent %v, of %v", try, header.Get("Traceparent"), span)
		}
	}
}

// TestTriesOfPolicies: a policy's step that may be tried again has a span a try, with the links of a join; what it does is under its try, and what handles its
// failure under the step. A step whose time is over, and the try that it cuts short, say so. One that has no second try has no span of its first.
func TestTriesOfPolicies(t *testing.T) {
	t.Parallel()
	c, f := newCollector(t), newFlaky(t)
	r := traced(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { f: { http: { url: "%s/" } }, late: { exec: { command: [sleep, "30"] } } }
triggers:
  again:
    flow:
      dag:
        steps:
          - name: join
            map: { items: [1, 2, 3], do: { function: f, input: "${ item }", retry: { attempts: 1 } } }
            retry: { attempts: 2, backoff: 1ms }
          - name: slow
            needs: [join]
            sequence: [{ function: late }]
            timeout: 50ms
            retry: { attempts: 2, backoff: 1ms }
            catch: [{ do: { function: f, input: 7 } }]`, f.url), router.TraceOptions{Endpoint: c.url, Sample: 1}, nil)
	r.run("again", "1", "1")
	run, whole := c.await(t, "again", 1)[0], c.await(t, "dag", 1)[0]
	join, slow := c.await(t, "join", 1)[0], c.await(t, "slow", 1)[0]
	joins, slows := c.await(t, "try join", 2), c.await(t, "try slow", 2)
	c.mu.Lock()
	ids := make(map[string]*tracepb.Span)
	for _, s := range c.spans {
		ids[string(s.SpanId)] = s
	}
	c.mu.Unlock()
	if len(ids) != len(c.spans) || !bytes.Equal(whole.ParentSpanId, run.SpanId) || !bytes.Equal(join.ParentSpanId, whole.SpanId) || len(whole.Links) != 2 || len(join.Links) != 0 ||
		len(c.named("try dag")) != 0 || value(join, "onward.step.attempts") != int64(2) || join.Status != nil || slow.Status != nil {
		t.Errorf("%d of %d spans\n%v\n%v\n%v", len(ids), len(c.spans), whole, join, slow)
	}
	for i, s := range joins {
		if !bytes.Equal(s.ParentSpanId, join.SpanId) || value(s, "onward.attempt") != int64(i+1) || value(s, "onward.step.path") != "join" || value(s, "onward.step.policy") != "map" || (s.Status != nil) != (i == 0) ||
			s.StartTimeUnixNano < join.StartTimeUnixNano || s.EndTimeUnixNano > join.EndTimeUnixNano || i > 0 && s.StartTimeUnixNano < joins[0].EndTimeUnixNano {
			t.Errorf("try %d: %v", i+1, s)
		}
	}
	if joins[0].Status.GetMessage() != "boom: it broke" || len(joins[1].Links) != 3 {
		t.Errorf("%v\n%v", joins[0], joins[1])
	}
	for _, l := range joins[1].Links {
		if s := ids[string(l.SpanId)]; s == nil || s.Name != "join/f[*]" || !bytes.Equal(s.ParentSpanId, joins[1].SpanId) {
			t.Errorf("linked to %v", s)
		}
	}
	for i, s := range slows {
		if !bytes.Equal(s.ParentSpanId, slow.SpanId) || value(s, "error.type") != "timeout" || value(s, "onward.attempt") != int64(i+1) {
			t.Errorf("try %d: %v", i+1, s)
		}
	}
	for _, s := range c.named("slow/late") {
		if !bytes.Equal(s.ParentSpanId, slows[0].SpanId) && !bytes.Equal(s.ParentSpanId, slows[1].SpanId) || value(s, "onward.outcome") != "cancelled" {
			t.Errorf("what was cut short: %v", s)
		}
	}
	handler := c.named("slow/catch")
	if len(c.named("slow/late")) != 2 || len(handler) != 1 || !bytes.Equal(handler[0].ParentSpanId, slow.SpanId) {
		t.Errorf("%v", handler)
	}
}

// TestTracesAreSampled: the event decides where it says; else a share of runs, the same ones whenever they are asked for; and the functions of others are told
// that there is no trace.
func TestTracesAreSampled(t *testing.T) {
	t.Parallel()
	c, f := newCollector(t), newFlaky(t)
	r := traced(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { f: { http: { url: "%s/" } } }
sources: { in: { webhook: { path: /in } } }
triggers: { t: { filters: [{ exact: { type: t } }], flow: { function: f } } }`, f.url), router.TraceOptions{Endpoint: c.url, Sample: 0.5}, nil)
	const n = 60
	sampled := make(map[string]bool)
	for i := range n {
		header := map[string]string{}
		switch i {
		case 0:
			header["Traceparent"] = strings.TrimSuffix(parentOfAll, "1") + "0"
		case 1:
			header["Traceparent"] = parentOfAll
		case 2:
			header["Traceparent"] = garbage
		}
		r.event(fmt.Sprint(i), header)
		f.mu.Lock()
		got := strings.Split(f.came[fmt.Sprintf("1.%d", i+1)].Get("Traceparent"), "-")
		f.mu.Unlock()
		if len(got) != 4 || i == 0 && got[3] != "00" || i == 1 && got[3] != "01" || i == 2 && got[1] == garbage[3:35] {
			t.Fatalf("event %d: %v", i, got)
		}
		if got[3] == "01" {
			sampled[got[1]] = true
		}
	}
	if len(sampled) < n/6 || len(sampled) > n*5/6 {
		t.Errorf("%d of %d are sampled", len(sampled), n)
	}
	for _, s := range c.await(t, "t", len(sampled)) {
		if !sampled[hex.EncodeToString(s.TraceId)] {
			t.Errorf("not sampled: %v", s)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := len(c.named("t")); got != len(sampled) {
		t.Errorf("%d runs are told, and %d sampled", got, len(sampled))
	}
}

// TestTracesOfRunsThatRunsStart: a subrun, and what the end of a run starts, are of the same trace: the one under the call that started it, the other under
// the run. What is over with a failure is an error all the way up.
func TestTracesOfRunsThatRunsStart(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }))
	t.Cleanup(s.Close)
	r := traced(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { f: { http: { url: "%s/" } } }
triggers:
  parent: { flow: { subrun: { trigger: child } }, onFailure: [{ trigger: mourner }] }
  child: { flow: { function: f, retry: { attempts: 1 } } }
  mourner: { flow: { pass: {} } }
  watcher: { filters: [{ exact: { type: dev.onward.run.failed, source: /onward/child } }], flow: { pass: {} } }`, s.URL), router.TraceOptions{Endpoint: c.url, Sample: 1}, nil)
	done := r.run("parent", "1", "1")
	parent, child := c.await(t, "parent", 1)[0], c.await(t, "child", 1)[0]
	call, mourner, watcher := c.await(t, "start child", 1)[0], c.await(t, "mourner", 1)[0], c.await(t, "watcher", 1)[0]
	delivery := c.await(t, "start mourner", 1)[0]
	for _, x := range []struct{ span, above *tracepb.Span }{{child, call}, {mourner, delivery}, {watcher, child}, {delivery, parent}} {
		if !bytes.Equal(x.span.TraceId, parent.TraceId) || !bytes.Equal(x.span.ParentSpanId, x.above.SpanId) {
			t.Errorf("%s is not under %s: %v", x.span.Name, x.above.Name, x.span)
		}
	}
	for s, want := range map[*tracepb.Span][3]string{call: {"start", "send", "child"}, delivery: {"start", "send", "mourner"}, parent: {"run", "process", "parent"}} {
		if got := [3]string{fmt.Sprint(value(s, "messaging.operation.name")), fmt.Sprint(value(s, "messaging.operation.type")), fmt.Sprint(value(s, "messaging.destination.name"))}; got != want || value(s, "messaging.system") != "onward" {
			t.Errorf("%s says %q: %v", s.Name, got, s)
		}
	}
	if failed := c.await(t, "call f", 1)[0]; !says(failed, "http_400", "status 400 Bad Request") || len(c.await(t, "f", 1)[0].Events) > 0 || len(parent.Events) != 1 {
		t.Errorf("%v", failed)
	}
	if len(parent.ParentSpanId) > 0 || value(parent, "onward.run.id") != done.ID || parent.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || child.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || watcher.Status != nil {
		t.Errorf("%v\n%v\n%v", parent, child, watcher)
	}
}

// TestTracesAreBounded: of a wide run there are so many spans, with the failures and the map among them, and the run says how many were left out.
func TestTracesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) == "290" {
			w.WriteHeader(400)
		}
	}))
	t.Cleanup(s.Close)
	r := traced(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { f: { http: { url: "%s/" } } }
triggers: { wide: { flow: { map: { items: 300, join: settled, do: { function: f, input: "${ item }", retry: { attempts: 1 } } } } } }`, s.URL), router.TraceOptions{Endpoint: c.url, Sample: 1, Spans: 100}, nil)
	r.run("wide", "1", "1")
	run := c.await(t, "wide", 1)[0]
	steps, whole := c.named("f[*]"), c.named("map")
	left, _ := value(run, "onward.spans.left_out").(int64)
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := slices.ContainsFunc(steps, func(s *tracepb.Span) bool { return s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR })
	if n := len(c.spans); n > 101 || n < 70 || left != 602-int64(n) || len(whole) != 1 || !failed || len(whole[0].Links) != len(steps) {
		t.Errorf("%d spans, %d left out, %d maps with %d links to %d steps, the failure is there: %t", n, left, len(whole), len(whole[0].GetLinks()), len(steps), failed)
	}
}

// TestARestartNamesTheSameSpans: a router that is killed and begins again tells of what it folded last once more, by the same names.
func TestARestartNamesTheSameSpans(t *testing.T) {
	t.Parallel()
	c, f := newCollector(t), newFlaky(t)
	dir := t.TempDir()
	options := router.TraceOptions{Endpoint: c.url, Sample: 1}
	r := traced(t, dir, fmt.Sprintf(threeByThree, f.url), options, nil)
	done := r.run("three", "1", "1")
	c.await(t, "three", 1)
	killed := t.TempDir() // What a kill leaves.
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]string)
	for _, s := range c.spans {
		ids[string(s.SpanId)] = s.Name
	}
	traced(t, killed, fmt.Sprintf(threeByThree, f.url), options, nil)
	again := c.await(t, "three", 2)
	if value(again[1], "onward.run.id") != done.ID || !bytes.Equal(again[0].SpanId, again[1].SpanId) || !bytes.Equal(again[0].TraceId, again[1].TraceId) {
		t.Errorf("%v\n%v", again[0], again[1])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if ids[string(s.SpanId)] != s.Name {
			t.Errorf("a span that was not there before: %v", s)
		}
	}
}

// TestCollectorThatTakesNothing slows no run and loses none: what waits is bounded, what is lost is counted, people are told once that it is, and once that
// it is over.
func TestCollectorThatTakesNothing(t *testing.T) {
	t.Parallel()
	c, f := newCollector(t), newFlaky(t)
	var down atomic.Bool
	down.Store(true)
	hung, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.answer = func(w http.ResponseWriter) bool {
		if !down.Load() {
			return false
		}
		c.mu.Unlock()
		once.Do(func() { close(hung) })
		<-release // It hangs.
		c.mu.Lock()
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	metrics := prometheus.NewRegistry()
	log := new(logtest.Log)
	r := traced(t, t.TempDir(), fmt.Sprintf(threeByThree, f.url), router.TraceOptions{Endpoint: c.url, Sample: 1, Queue: 20}, func(o *router.Options) {
		o.Metrics = metrics
		o.Log = slog.New(slog.NewJSONHandler(log, nil))
	})
	r.event("0", nil)
	<-hung
	for i := range 20 {
		r.event(fmt.Sprint(i+1), nil) // Each has its end in good time.
	}
	if full := count(t, metrics, "full"); full == 0 {
		t.Error("nothing is counted as lost")
	}
	close(release)
	for begin := time.Now(); count(t, metrics, "refused") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("nothing is refused")
		}
	}
	down.Store(false)
	for i := 100; len(c.named("three")) == 0; i++ {
		r.event(fmt.Sprint(i), nil)
		time.Sleep(5 * time.Millisecond)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if count(t, metrics, "sent") == 0 {
		t.Error("nothing is counted as sent")
	}
	if lost, back := lines(t, log, "the collector takes no traces; runs go on, and spans are lost until it does"), lines(t, log, "the collector takes traces again"); len(lost) != 1 || len(back) != 1 {
		t.Errorf("people are told %v, and %v", lost, back)
	}
}

// count is how many spans have a fate.
func count(t *testing.T, metrics *prometheus.Registry, fate string) (n float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "onward_trace_spans_total" && m.Label[0].GetValue() == fate {
				n = m.Counter.GetValue()
			}
		}
	}
	return n
}
