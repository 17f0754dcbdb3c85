package traces

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// Options say where traces go, and how much of them. Without an endpoint there are none.
type Options struct {
	Endpoint    string // URL of the collector, as spans are posted to it
	Headers     map[string]string
	Timeout     time.Duration // of a POST. Default 10 s
	Gzip        bool
	CA          string // PEM files: the collector's authorities, our certificate and its key
	Cert, Key   string
	Sample      float64 // the share of runs, of those whose event does not say itself whether its trace is kept
	Spans       int     // of a run at most; the rest are counted in its span. Default 1,000
	Queue       int     // what waits for the collector at most, in spans. Default 32,768
	Environment []string
	Version     string // of the service
	Log         *slog.Logger
	Metrics     prometheus.Registerer // nil registers nothing
}

// The bounds of what waits, beside Options.Queue, and of one POST.
const (
	waitingBytes = 32 << 20
	batchSpans   = 512
	linger       = 500 * time.Millisecond
	lastWords    = 5 * time.Second // of the flush at the end
	// What the owner before may not have told any more is told again, by the same names: what this long before a claim was folded.
	tellAgain     = 5 * time.Second
	tellAgainMost = 8192
)

// Traces are made of what the folds tell, and exported. Its methods may be called concurrently.
type Traces struct {
	log      *slog.Logger
	sampler  sampler
	exporter *exporter // nil: there are none
	maker    maker
	queue    int
	metrics  *metrics
	wake     chan struct{}

	mu      sync.Mutex
	waiting []entry
	bytes   int

	lost bool // people were told that spans are lost; Run's own
}

type metrics struct {
	spans   *prometheus.CounterVec
	waiting prometheus.Gauge
}

// The fates of spans, as they are counted.
const (
	fateSent    = "sent"
	fateFull    = "full"    // there was no room for what waits
	fateRefused = "refused" // the collector did not take them, or did not answer
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_trace_spans_total",
			Help: "Spans, by fate: sent to the collector, refused (it did not take them, or did not answer), or full (too many waited for it). No run is lost by it.",
		}, []string{"fate"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_trace_waiting", Help: "What waits to be made spans of and sent to the collector."}),
	}
	for _, fate := range []string{fateSent, fateFull, fateRefused} {
		m.spans.WithLabelValues(fate)
	}
	if reg != nil {
		reg.MustRegister(m.spans, m.waiting)
	}
	return m
}

// New makes the traces; nothing is exported before Run. Without an endpoint it is nil, and only its metrics are there.
func New(o Options) (*Traces, error) {
	m := newMetrics(o.Metrics)
	if o.Endpoint == "" {
		return nil, nil
	}
	x, err := newExporter(&o)
	if err != nil {
		return nil, err
	}
	if o.Spans == 0 {
		o.Spans = 1000
	}
	if o.Queue == 0 {
		o.Queue = 32_768
	}
	return &Traces{
		log: o.Log, sampler: sampler(o.Sample), exporter: x, maker: newMaker(o.Spans), queue: o.Queue, metrics: m, wake: make(chan struct{}, 1),
	}, nil
}

// A Tenure takes what the folds of one tenure of a partition tell. It is its fold's own.
type Tenure struct {
	t      *Traces
	recent []entry // while the partition is not claimed
}

// Tenure begins one.
func (t *Traces) Tenure() *Tenure { return &Tenure{t: t} }

// Take takes what a record did; owned says that the partition is claimed. It does not wait, and keeps nothing of the lists.
func (x *Tenure) Take(rec *journal.Record, owned bool, list []engine.Trace, ended []engine.Ended) {
	at := rec.Time.UnixNano()
	var room [16]entry
	all := room[:0]
	for i := range list {
		if t := &list[i]; t.Signal == "" && x.t.sampler.samples(t.Run, t.Traced) {
			all = append(all, entryOf(t, at))
		}
	}
	for i := range ended {
		if x.t.sampler.samples(ended[i].Run, ended[i].Traced) {
			all = append(all, entryOfEnd(&ended[i], at))
		}
	}
	switch {
	case len(all) == 0:
	case owned:
		x.t.add(all)
	default:
		x.keep(all, at)
	}
}

// keep keeps the latest.
func (x *Tenure) keep(all []entry, at int64) {
	x.recent = append(x.recent, all...)
	if n := len(x.recent); n > 2*tellAgainMost || n > 0 && x.recent[0].at < at-2*int64(tellAgain) {
		old := max(n-tellAgainMost, 0)
		for old < n && x.recent[old].at < at-int64(tellAgain) {
			old++
		}
		x.recent = slices.Delete(x.recent, 0, old)
	}
}

// Claimed tells what the owner before may not have told any more: what was folded last.
func (x *Tenure) Claimed() {
	if n := len(x.recent); n > 0 {
		last := x.recent[n-1].at
		x.t.add(slices.DeleteFunc(x.recent, func(e entry) bool { return e.at < last-int64(tellAgain) }))
	}
	x.recent = nil
}

// add lets entries wait, as far as there is room.
func (t *Traces) add(all []entry) {
	t.mu.Lock()
	taken := 0
	for i := range all {
		size := all[i].size()
		if len(t.waiting) >= t.queue || t.bytes+size > waitingBytes {
			break
		}
		t.waiting, t.bytes, taken = append(t.waiting, all[i]), t.bytes+size, taken+1
	}
	n := len(t.waiting)
	t.mu.Unlock()
	lost := 0
	for i := taken; i < len(all); i++ {
		lost += all[i].spans()
	}
	if lost > 0 {
		t.metrics.spans.WithLabelValues(fateFull).Add(float64(lost))
	}
	if n >= batchSpans {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// take takes up to a batch of what waits, and reports whether there is more than that.
func (t *Traces) take(batch []entry) ([]entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), batchSpans)
	batch = append(batch[:0], t.waiting[:n]...)
	for i := range batch {
		t.bytes -= batch[i].size()
	}
	rest := copy(t.waiting, t.waiting[n:])
	clear(t.waiting[rest:])
	t.waiting = t.waiting[:rest]
	t.metrics.waiting.Set(float64(rest))
	return batch, rest > 0
}

// Run exports until ctx ends, and then what is left, for a short while at most.
func (t *Traces) Run(ctx context.Context) {
	defer t.exporter.close()
	tick := time.NewTicker(linger)
	defer tick.Stop()
	var batch []entry
	for {
		select {
		case <-t.wake:
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			t.flush(last, &batch)
			cancel()
			return
		}
		t.flush(ctx, &batch)
	}
}

// flush exports all that waits. What there is no time for is lost.
func (t *Traces) flush(ctx context.Context, batch *[]entry) {
	for more := true; more; {
		*batch, more = t.take(*batch)
		var spans []*tracepb.Span
		for i := range *batch {
			spans = t.maker.make(spans, &(*batch)[i])
		}
		clear(*batch)
		if len(spans) > 0 {
			t.export(ctx, spans)
		}
	}
}

// export sends spans, and tells people once when they get lost, and once when they do not any more.
func (t *Traces) export(ctx context.Context, spans []*tracepb.Span) {
	refused, err := t.exporter.send(ctx, spans)
	if err != nil {
		refused = len(spans)
	}
	t.metrics.spans.WithLabelValues(fateSent).Add(float64(len(spans) - refused))
	if refused > 0 {
		t.metrics.spans.WithLabelValues(fateRefused).Add(float64(refused))
	}
	switch {
	case err != nil && !t.lost:
		t.lost = true
		t.log.Warn("the collector takes no traces; runs go on, and spans are lost until it does", "endpoint", t.exporter.shown, "error", err)
	case err == nil && t.lost:
		t.lost = false
		t.log.Info("the collector takes traces again", "endpoint", t.exporter.shown)
	}
}
