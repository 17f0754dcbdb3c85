package admission

import (
	"github.com/onward-router/onward/config/meter"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	admit          prometheus.Histogram
	taken          [triggers.Heartbeat + 1]prometheus.Counter // events, by what they were taken for
	refused        prometheus.Counter
	overRate       *prometheus.CounterVec
	unmatchedTypes *prometheus.CounterVec
	drops          *prometheus.CounterVec
	triggers       *meter.Labels
	types          *meter.Labels
}

func newMetrics(reg prometheus.Registerer) *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_events_total", Help: "Events admitted, by what they were taken for."}, []string{"kind"})
	m := &metrics{
		refused: events.WithLabelValues("refused"),
		admit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_admit_seconds", Help: "Time from an event's arrival to its being durable.", Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 16),
		}),
		unmatchedTypes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_unmatched_events_total", Help: "Events that no trigger took, by type (the first 100 types)."}, []string{"type"}),
		types:          meter.NewLabels(100),
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_trigger_dropped_events_total",
			Help: "Events that a trigger's filters let through and its when did not (when), or on which its when or its sql failed (when_error, sql_error), by trigger (the first 1,000).",
		}, []string{"trigger", "why"}),
		triggers: meter.NewLabels(1000),
		overRate: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_over_rate_events_total", Help: "Events that were refused because a rate was used up, by whose it is (source, tenant)."}, []string{"by"}),
	}
	for _, by := range []string{"source", "tenant"} {
		m.overRate.WithLabelValues(by) // A rate has to have something to begin from.
	}
	for _, kind := range []triggers.Kind{triggers.Matched, triggers.Completion, triggers.Signal, triggers.Heartbeat} {
		m.taken[kind] = events.WithLabelValues(kind.String())
	}
	if reg != nil {
		reg.MustRegister(m.admit, events, m.unmatchedTypes, m.drops, m.overRate)
	}
	return m
}

// unmatched counts an event that nothing took. Types come from outside: only so many get a label of their own.
func (m *metrics) unmatched(kind string) {
	m.unmatchedTypes.WithLabelValues(m.types.Of(kind)).Inc()
}

// dropped counts an event that a trigger does not take by its content, or for an expression that failed.
func (m *metrics) dropped(trigger, why string) {
	m.drops.WithLabelValues(m.triggers.Of(trigger), why).Inc()
}
