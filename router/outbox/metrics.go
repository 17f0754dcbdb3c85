package outbox

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/meter"
	"github.com/prometheus/client_golang/prometheus"
)

// functionsMost is how many functions have labels of their own.
const functionsMost = 1000

type metrics struct {
	queue             *meter.Histogram
	waited            prometheus.Histogram
	deliver, function *meter.Histograms
	batches           *meter.Histograms
	calls             *prometheus.CounterVec
	names             *meter.Labels
	resent, beats     prometheus.Counter
	rateWait, cancels *prometheus.CounterVec
	state             *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	names := meter.NewLabels(functionsMost)
	m := &metrics{
		names: names,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_calls_total",
			Help: "Invocations of functions that have their outcome, by function and outcome: succeeded, failed, continue, timed_out, or given_up (no answer).",
		}, []string{"function", "outcome"}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_queue_seconds", Help: "Time that an invocation waited for room in its function's concurrency.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 16),
		}),
		deliver: meter.NewHistograms(prometheus.HistogramOpts{
			Name: "onward_deliver_seconds", Help: "Time of one delivery, from sending to the answer or its being given up, by type of sink.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 3, 14),
		}, "sink", meter.NewLabels(functionsMost)),
		function: meter.NewHistograms(prometheus.HistogramOpts{
			Name: "onward_function_seconds", Help: "Time from the first sending of an invocation to its outcome, later sendings under its id included, by function.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 3, 14),
		}, "function", names),
		batches: meter.NewHistograms(prometheus.HistogramOpts{
			Name: "onward_batch_calls", Help: "Calls of one request, by function that takes batches.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000},
		}, "function", names),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onward_function_state", Help: "1 for the state that a function is in: up, throttled (it asks for less) or down (it does not answer).",
		}, []string{"function", "state"}),
		rateWait: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_rate_wait_seconds_total", Help: "Time that a function had room and something waited for its rate, by function.",
		}, []string{"function"}),
		cancels: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_function_cancels_total",
			Help: "Calls that were dropped of functions that are told of it, by function and by what became of it: told, not needed (the call was never sent) or given up.",
		}, []string{"function", "outcome"}),
		beats:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_heartbeats_total", Help: "Heartbeats of calls that are under way here."}),
		resent: prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_resent_total", Help: "Deliveries sent again under the same id."}),
	}
	m.queue = &meter.Histogram{Observer: m.waited}
	if reg != nil {
		reg.MustRegister(m.waited, m.calls, m.deliver, m.function, m.batches, m.resent, m.rateWait, m.cancels, m.beats, m.state)
	}
	return m
}

// The outcomes that no function has told.
const (
	wasTimedOut = "timed_out"
	wasGivenUp  = "given_up"
)

func outcomeWord(v lang.Verdict) string {
	if v == lang.Succeeded || v == lang.Continue {
		return v.String()
	}
	return lang.Failed.String()
}

// laneDesc is of a collector that asks the lanes: nothing is counted on the way of a call.
var laneDesc = prometheus.NewDesc("onward_function_calls",
	"Calls of a function that are here, by what they do: waiting (for room, its rate, or for it to be up), working (sent, without an answer) or paused (their run is).",
	[]string{"function", "state"}, nil)

// Describe is a prometheus.Collector's.
func (o *Outbox) Describe(to chan<- *prometheus.Desc) { to <- laneDesc }

// Collect is a prometheus.Collector's.
func (o *Outbox) Collect(to chan<- prometheus.Metric) {
	type counts struct{ waiting, working, paused int }
	o.mu.Lock()
	by := make(map[string]counts)
	for name := range o.bound.functions.Load().byName {
		by[o.metrics.names.Of(name)] = counts{}
	}
	for _, l := range o.lanes {
		if l.cancels {
			continue
		}
		name := o.metrics.names.Of(l.name)
		c := by[name]
		by[name] = counts{c.waiting + l.queue, c.working + l.flying, c.paused + l.held}
	}
	o.mu.Unlock()
	for name, c := range by {
		for state, n := range map[string]int{"waiting": c.waiting, "working": c.working, "paused": c.paused} {
			to <- prometheus.MustNewConstMetric(laneDesc, prometheus.GaugeValue, float64(n), name, state)
		}
	}
}

// show shows a function's state.
func (m *metrics) show(function string, is condition) {
	for c := up; c <= down; c++ {
		value := 0.0
		if c == is {
			value = 1
		}
		m.state.WithLabelValues(function, c.String()).Set(value)
	}
}
