package shard

import (
	"github.com/onward-router/onward/config/meter"
	"github.com/onward-router/onward/router/engine"
	doors "github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// triggersMost is how many triggers have labels of their own.
const triggersMost = 1000

type metrics struct {
	fold, asked, snapshot, hop                     prometheus.Histogram
	records, ended                                 *prometheus.CounterVec
	dead, twins                                    *prometheus.CounterVec
	took                                           *meter.Histograms
	triggers                                       *meter.Labels
	parked, deaths                                 prometheus.Counter
	skipped, tooLarge, filled                      prometheus.Counter
	runs, invocations, steps, bytes, timers, tombs prometheus.Gauge
	paused                                         prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	seconds := prometheus.ExponentialBuckets(10e-6, 2.5, 16)
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "onward_" + name + "_seconds", Help: help, Buckets: seconds})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_" + name + "_total", Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_" + name, Help: help})
	}
	triggers := meter.NewLabels(triggersMost)
	m := &metrics{
		triggers: triggers,
		took: meter.NewHistograms(prometheus.HistogramOpts{
			Name: "onward_run_seconds", Help: "Time of a run from its start to its end, by trigger.", Buckets: prometheus.ExponentialBuckets(1e-3, 4, 14),
		}, "trigger", triggers),
		fold:     histogram("fold", "Time to fold one record."),
		asked:    histogram("ask", "Time that the fold stood still for somebody who asked what it knows, by the API."),
		hop:      histogram("router", "Time from an answer's arrival until it was durable and folded, and what follows from it was handed on: what the router adds to each step."),
		snapshot: histogram("snapshot", "Time that the fold stood still for a snapshot."),
		records:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_records_total", Help: "Records folded, by kind and by what they did."}, []string{"kind", "reason"}),
		ended:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_runs_ended_total", Help: "Runs that have ended, by trigger and by how; chain_limit are those that their chain had no fuel left for."}, []string{"trigger", "state"}),
		parked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onward_parked_total", Help: doors.ParkedHelp, ConstLabels: prometheus.Labels{"source": "the journal"},
		}),
		deaths:   counter("fold_deaths", "Records on which the fold died."),
		skipped:  counter("skipped_records", "Records on which the fold died twice and that were passed over."),
		tooLarge: counter("too_large_records", "Records that the journal did not take: a failure stands in for each, or it was left out."),
		filled:   counter("history_filled_records", "Records that were folded once more, beside, since the history lacked what they did."),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_dead_letters_total", Help: "What was given up, by the trigger of the run and by what it was: call (an invocation), notify (an event for a destination), route, or event (one that a trigger could not take).",
		}, []string{"trigger", "what"}),
		twins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_twins_total", Help: "Second tries beside steps that took long (speculate): started, won (the second try decided) and lost.",
		}, []string{"what"}),
		runs:        gauge("runs", "Open runs."),
		paused:      gauge("paused_runs", "Open runs that are paused: what they call is not sent."),
		invocations: gauge("invocations", "Invocations without an outcome."),
		steps:       gauge("steps", "Steps that are open in the flows of runs."),
		bytes:       gauge("kept_bytes", "Bytes of the values that open runs keep."),
		timers:      gauge("timers", "Timers that are set."),
		tombs:       gauge("tombstones", "Ended runs that are remembered, to refuse repeats."),
	}
	for _, what := range []string{"started", "won", "lost"} {
		m.twins.WithLabelValues(what)
	}
	if reg != nil {
		reg.MustRegister(m.fold, m.asked, m.hop, m.snapshot, m.records, m.ended, m.took, m.parked,
			m.deaths, m.skipped, m.tooLarge, m.filled, m.dead, m.twins, m.runs, m.paused, m.invocations, m.steps, m.bytes, m.timers, m.tombs)
	}
	return m
}

// twinned counts second tries.
func (m *metrics) twinned(t engine.Twins) {
	if t == (engine.Twins{}) {
		return
	}
	m.twins.WithLabelValues("started").Add(float64(t.Started))
	m.twins.WithLabelValues("won").Add(float64(t.Won))
	m.twins.WithLabelValues("lost").Add(float64(t.Lost))
}
