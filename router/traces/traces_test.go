package traces

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) *Traces {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	x, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// counted is how many spans have a fate.
func counted(t *testing.T, x *Traces, fate string) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(x.metrics.spans)
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all[0].Metric {
		if m.Label[0].GetValue() == fate {
			return m.Counter.GetValue()
		}
	}
	return 0
}

var begin = time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)

// call is the end of call n of a run, which is a branch of its map.
func call(run journal.RunID, n int) engine.Trace {
	i := &engine.Invocation{Run: run, N: uint32(n), Purpose: engine.Call, Function: "f", Path: fmt.Sprintf("map/f[%d]", n), Attempt: 1}
	at := begin.UnixNano() + int64(n)
	return engine.Trace{Run: run, Inv: i, Path: i.Path, Attempt: 1, Outcome: lang.Success(lang.Null), Queued: at, Sent: at, Ended: at + 1, Ends: true, Spot: engine.Spot{Frame: 1, Opened: at, Is: engine.Inside}}
}

// TestCollectorsAnswers: what a collector says is done, and no more tries than make sense are made; a redirect is not followed, since headers are secrets.
func TestCollectorsAnswers(t *testing.T) {
	t.Parallel()
	partial, err := proto.Marshal(&collectorpb.ExportTraceServiceResponse{PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "one is too old"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answers []int // one a try; the last for all that follow
		body    []byte
		tries   int64
		sent    float64
	}{
		"taken":          {answers: []int{200}, tries: 1, sent: 2},
		"taken in part":  {answers: []int{200}, body: partial, tries: 1, sent: 1},
		"said strangely": {answers: []int{202}, body: []byte("<html>"), tries: 1, sent: 2},
		"busy":           {answers: []int{503, 429, 200}, tries: 3, sent: 2},
		"away":           {answers: []int{502}, tries: sendTries},
		"no":             {answers: []int{400}, tries: 1},
		"elsewhere":      {answers: []int{307}, tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := int(tries.Add(1))
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(c.answers[min(n, len(c.answers))-1])
				_, _ = w.Write(c.body)
			}))
			defer s.Close()
			x := open(t, Options{Endpoint: s.URL, Sample: 1})
			defer x.exporter.close()
			x.export(t.Context(), []*tracepb.Span{{Name: "a"}, {Name: "b"}})
			if got := counted(t, x, fateSent); tries.Load() != c.tries || got != c.sent {
				t.Errorf("%d tries, %v sent", tries.Load(), got)
			}
			if got := counted(t, x, fateRefused); got != 2-c.sent || x.lost != (c.sent == 0) {
				t.Errorf("%v refused, lost %t", got, x.lost)
			}
		})
	}
}

// TestCollectorBehindTLS by an authority of ours; without it nothing is told.
func TestCollectorBehindTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	x := open(t, Options{Endpoint: s.URL, CA: file})
	defer x.exporter.close()
	if _, err := x.exporter.send(t.Context(), nil); err != nil {
		t.Error(err)
	}
	other := open(t, Options{Endpoint: s.URL})
	defer other.exporter.close()
	if _, _, err := other.exporter.post(t.Context(), nil); err == nil || !strings.Contains(err.Error(), new(x509.UnknownAuthorityError).Error()[:20]) {
		t.Errorf("%v", err)
	}
	for name, o := range map[string]Options{
		"no address": {Endpoint: "host:4317"}, "no file": {Endpoint: s.URL, CA: file + "x"}, "no certificate": {Endpoint: s.URL, CA: "traces_test.go"}, "no pair": {Endpoint: s.URL, Cert: file, Key: file},
	} {
		o.Log = slog.New(slog.DiscardHandler)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "traces.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEndIsBounded: a collector that hangs holds the end up no longer than its last words may take.
func TestEndIsBounded(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 10), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	x := open(t, Options{Endpoint: s.URL, Sample: 1, Timeout: time.Hour})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		x.Run(ctx)
		close(ended)
	}()
	x.Tenure().Take(&journal.Record{Time: begin}, true, []engine.Trace{call(journal.RunID{1}, 1)}, nil)
	<-asked
	stop()
	select {
	case <-ended:
	case <-time.After(2 * lastWords):
		t.Error("it does not end")
	}
}

// TestTenureTellsTheLatestAgain: of what is folded before the claim only what the owner before may not have told, and that is bounded.
func TestTenureTellsTheLatestAgain(t *testing.T) {
	t.Parallel()
	x := open(t, Options{Endpoint: "http://127.0.0.1:1", Sample: 1})
	y := x.Tenure()
	take := func(at time.Duration, n int) {
		y.Take(&journal.Record{Time: begin.Add(at)}, false, []engine.Trace{call(journal.RunID{1}, n)}, nil)
	}
	for i := range 100 {
		take(time.Duration(i)*time.Second, i)
	}
	if len(x.waiting) > 0 || len(y.recent) > 12 {
		t.Fatalf("%d wait, %d are kept", len(x.waiting), len(y.recent))
	}
	y.Claimed()
	if n := len(x.waiting); n != 6 || x.waiting[0].try.n != 94 || y.recent != nil {
		t.Errorf("%d are told", n)
	}
	x.waiting = nil
	for i := range 10 * tellAgainMost {
		take(0, i)
	}
	if y.Claimed(); len(x.waiting) < tellAgainMost || len(x.waiting) > 2*tellAgainMost {
		t.Errorf("%d are told", len(x.waiting))
	}
}

// TestWaitingIsBounded in numbers and in bytes, and what finds no room is counted.
func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	x := open(t, Options{Endpoint: "http://127.0.0.1:1", Sample: 1, Queue: 10})
	y := x.Tenure()
	for i := range 20 {
		y.Take(&journal.Record{Time: begin}, true, []engine.Trace{call(journal.RunID{1}, i)}, nil)
	}
	if full := counted(t, x, fateFull); len(x.waiting) != 10 || full != 20 {
		t.Errorf("%d wait, %v spans are lost", len(x.waiting), full)
	}
	x = open(t, Options{Endpoint: "http://127.0.0.1:1", Sample: 1})
	event := lang.Of(map[string]string{"id": strings.Repeat("x", 60<<10)})
	for i := range 1000 {
		x.Tenure().Take(&journal.Record{Time: begin}, true, nil, []engine.Ended{{Run: journal.RunID{byte(i), byte(i >> 8)}, Event: event, Started: begin, Ended: begin}})
	}
	if n := len(x.waiting); n < 400 || n > 600 || x.bytes > waitingBytes {
		t.Errorf("%d wait, %d bytes", n, x.bytes)
	}
	var batch []entry
	for more := true; more; {
		batch, more = x.take(batch)
	}
	if x.bytes != 0 || len(x.waiting) != 0 {
		t.Errorf("%d bytes, %d entries are left", x.bytes, len(x.waiting))
	}
}

// TestRunsAreForgotten: what is remembered of runs is bounded, whether they end or not.
func TestRunsAreForgotten(t *testing.T) {
	t.Parallel()
	m := newMaker(100)
	for i := range 2 * runsMost {
		e := entryOf(new(trace(i)), 0)
		m.make(nil, &e)
	}
	if m.used.Len() != runsMost || len(m.runs) != runsMost {
		t.Errorf("%d, %d", m.used.Len(), len(m.runs))
	}
	end := entryOfEnd(&engine.Ended{Run: trace(2*runsMost - 1).Run}, 0)
	if m.make(nil, &end); m.used.Len() != runsMost-1 {
		t.Errorf("%d", m.used.Len())
	}
}

func trace(i int) engine.Trace { return call(journal.RunID{byte(i), byte(i >> 8), byte(i >> 16)}, i) }

// TestResource says what the environment says.
func TestResource(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"": "service.name=onward service.version=v1 telemetry", "OTEL_SERVICE_NAME=shop": "service.name=shop ",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=a%20b,service.name=x,bad,=": "deployment.environment.name=a b service.name=x ",
	} {
		got := ""
		for _, a := range resourceOf(&Options{Environment: []string{env}, Version: "v1"}).Attributes {
			got += a.Key + "=" + a.Value.GetStringValue() + " "
		}
		if !strings.HasPrefix(strings.TrimPrefix(got, "= "), want) {
			t.Errorf("%q: %s", env, got)
		}
	}
}

// TestContextIsTheSpans: what is sent names the span that is told later; of each purpose another.
func TestContextIsTheSpans(t *testing.T) {
	t.Parallel()
	x := open(t, Options{Endpoint: "http://127.0.0.1:1", Sample: 1})
	run := journal.RunID{1}
	outer, _ := traceparent.Of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1")
	c := call(run, 7)
	e := entryOf(&c, 0)
	for _, traced := range []*traceparent.Context{nil, &outer} {
		e.traced = traced
		span := e.trySpan()
		inv := *c.Inv
		inv.Traced = traced
		got := x.Context(&inv)
		trace, id := got.Trace(), got.Span()
		if !bytes.Equal(trace[:], span.TraceId) || !bytes.Equal(id[:], span.SpanId) || !got.Sampled() || !traceparent.Valid(got.Parent) || traced != nil && got.State != "a=1" {
			t.Errorf("%+v; %v", got, span)
		}
		cancel := engine.Invocation{Run: run, N: 9, Purpose: engine.Cancel, Cause: inv.ID(), Traced: traced}
		if x.Context(&cancel).Parent != got.Parent {
			t.Error("a cancel is not about its call")
		}
		end := engine.Invocation{Run: run, N: 9, Purpose: engine.Route, Traced: traced}
		if r := x.Context(&end); r.Span() != runSpan(run, 0) || r.Trace() != trace {
			t.Error("what the end starts is not under the run")
		}
	}
}

// TestTextsThatAreNone: a path or an error that is no UTF-8 makes no request that a collector refuses whole.
func TestTextsThatAreNone(t *testing.T) {
	t.Parallel()
	c := call(journal.RunID{1}, 1)
	c.Path, c.Inv.Path, c.Inv.Function = "a\xff[3]/b", "a\xff", "f\xff"
	c.Outcome = lang.Failure(&lang.Error{Type: "x\xff", Message: "y\xff"})
	e := entryOf(&c, 0)
	m := newMaker(10)
	for _, s := range m.make(nil, &e) {
		if _, err := proto.Marshal(s); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkTake is what the fold pays for a call that is traced, and for one that is not.
func BenchmarkTake(b *testing.B) {
	for name, sample := range map[string]float64{"traced": 1, "not": 0} {
		b.Run(name, func(b *testing.B) {
			x, err := New(Options{Endpoint: "http://127.0.0.1:1", Sample: sample, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
			if err != nil {
				b.Fatal(err)
			}
			y, rec, list := x.Tenure(), &journal.Record{Time: begin}, []engine.Trace{call(journal.RunID{1}, 1)}
			var batch []entry
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				y.Take(rec, true, list, nil)
				if i%batchSpans == 0 {
					batch, _ = x.take(batch)
				}
			}
		})
	}
}
