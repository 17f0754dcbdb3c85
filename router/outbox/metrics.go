package outbox

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	queue             prometheus.Histogram
	deliver, function *prometheus.HistogramVec
	resent, beats     prometheus.Counter
	rateWait, cancels *prometheus.CounterVec
	state             *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		queue: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_queue_seconds", Help: "Time that an invocation waited for room in its function's concurrency.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 16),
		}),
		deliver: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_deliver_seconds", Help: "Time of one delivery, from sending to the answer or its being given up, by type of sink.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 3, 14),
		}, []string{"sink"}),
		function: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_function_seconds", Help: "Time from the first sending of an invocation to its outcome, later sendings under its id included, by function.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 3, 14),
		}, []string{"function"}),
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
	if reg != nil {
		reg.MustRegister(m.queue, m.deliver, m.function, m.resent, m.rateWait, m.cancels, m.beats, m.state)
	}
	return m
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
