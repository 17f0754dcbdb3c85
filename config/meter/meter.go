// Package meter is what metrics have in common: label sets that outsiders cannot make large, and exemplars that name runs.
package meter

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Other is the label of all that has none of its own.
const Other = "other"

// Labels gives the first so many names a label of their own. It may be used concurrently.
type Labels struct {
	most  int
	names sync.Map
	count atomic.Int64
}

// NewLabels returns labels for so many names.
func NewLabels(most int) *Labels { return &Labels{most: most} }

// Of returns a name's label.
func (l *Labels) Of(name string) string {
	if _, known := l.names.Load(name); known {
		return name
	}
	if l.count.Load() >= int64(l.most) {
		return Other
	}
	const longest = 128
	if len(name) > longest {
		name = name[:longest]
	}
	name = strings.ToValidUTF8(name, "?") // A label that is not UTF-8 panics.
	if _, known := l.names.LoadOrStore(name, true); !known && l.count.Add(1) > int64(l.most) {
		l.count.Add(-1)
		l.names.Delete(name)
		return Other
	}
	return name
}

// Every is how often a series gets another exemplar: who looks at one wants a run of the last minutes, and each costs an allocation or two.
const Every = time.Second

// A Histogram takes down seconds, or other amounts, and now and then whose they were.
type Histogram struct {
	prometheus.Observer
	next atomic.Int64
}

// Observe takes an observation down; run names whose it was, when that is to be kept.
func (h *Histogram) Observe(seconds float64, now time.Time, run func() string) {
	next := h.next.Load()
	if now.UnixNano() < next || !h.next.CompareAndSwap(next, now.Add(Every).UnixNano()) {
		h.Observer.Observe(seconds)
		return
	}
	h.Observer.(prometheus.ExemplarObserver).ObserveWithExemplar(seconds, prometheus.Labels{"run": run()})
}

// Histograms are those of a vector with one label, each with exemplars of its own.
type Histograms struct {
	*prometheus.HistogramVec
	labels *Labels
	by     sync.Map
}

// NewHistograms returns a vector of histograms by one label.
func NewHistograms(o prometheus.HistogramOpts, label string, labels *Labels) *Histograms {
	return &Histograms{HistogramVec: prometheus.NewHistogramVec(o, []string{label}), labels: labels}
}

// Of returns the histogram of a name.
func (v *Histograms) Of(name string) *Histogram {
	name = v.labels.Of(name)
	if h, ok := v.by.Load(name); ok {
		return h.(*Histogram)
	}
	h, _ := v.by.LoadOrStore(name, &Histogram{Observer: v.WithLabelValues(name)})
	return h.(*Histogram)
}
