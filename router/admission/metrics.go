package admission

import (
	"strings"
	"sync"

	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	admit          prometheus.Histogram
	taken          [triggers.Heartbeat + 1]prometheus.Counter // events, by what they were taken for
	refused        prometheus.Counter
	unmatchedTypes *prometheus.CounterVec

	mu    sync.Mutex
	types map[string]bool
}

func newMetrics(reg prometheus.Registerer) *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_events_total", Help: "Events admitted, by what they were taken for."}, []string{"kind"})
	m := &metrics{
		refused: events.WithLabelValues("refused"),
		admit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_admit_seconds", Help: "Time from an event's arrival to its being durable.", Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 16),
		}),
		unmatchedTypes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_unmatched_events_total", Help: "Events that no trigger took, by type (the first 100 types)."}, []string{"type"}),
		types:          make(map[string]bool),
	}
	for _, kind := range []triggers.Kind{triggers.Matched, triggers.Completion, triggers.Signal, triggers.Heartbeat} {
		m.taken[kind] = events.WithLabelValues(kind.String())
	}
	if reg != nil {
		reg.MustRegister(m.admit, events, m.unmatchedTypes)
	}
	return m
}

// unmatched counts an event that nothing took. Types come from outside: only so many get a label of their own.
func (m *metrics) unmatched(kind string) {
	if len(kind) > 128 {
		kind = kind[:128]
	}
	kind = strings.ToValidUTF8(kind, "?") // A label that is not UTF-8 panics.
	m.mu.Lock()
	if !m.types[kind] && len(m.types) >= 100 {
		kind = "other"
	}
	m.types[kind] = true
	m.mu.Unlock()
	m.unmatchedTypes.WithLabelValues(kind).Inc()
}
