package triggers

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A Lot is where a source parks: it has the latest of what is no event, and hands each on to whoever keeps it. It makes a source Parking and Keeping. Its methods
// may be called concurrently.
type Lot struct {
	count prometheus.Counter
	keep  func(Parked) // nil: nobody does

	mu    sync.Mutex
	list  []Parked
	bytes int
}

// The bounds of what is parked, in memory: the oldest go first.
const (
	parkedMost  = 1000
	parkedBytes = 16 << 20 // of all
	parkedEach  = 1 << 20  // of one; what is larger is cut
)

// NewLot makes the lot of a source.
func NewLot(source string) *Lot {
	return &Lot{count: prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_parked_total", Help: ParkedHelp, ConstLabels: prometheus.Labels{"source": source}})}
}

// Count is the metric, which the source registers.
func (l *Lot) Count() prometheus.Collector { return l.count }

// KeepParked has what is parked kept by somebody.
func (l *Lot) KeepParked(keep func(Parked)) { l.keep = keep }

// Parked returns what was parked, the latest last.
func (l *Lot) Parked() []Parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// Park parks x, with a copy of its bytes; it is kept when Park returns.
func (l *Lot) Park(x Parked) {
	l.count.Inc()
	x.Bytes = slices.Clone(x.Bytes[:min(len(x.Bytes), parkedEach)])
	l.mu.Lock()
	l.list = append(l.list, x)
	l.bytes += len(x.Bytes)
	for len(l.list) > parkedMost || l.bytes > parkedBytes {
		l.bytes -= len(l.list[0].Bytes)
		l.list = l.list[1:]
	}
	l.mu.Unlock()
	if l.keep != nil {
		l.keep(x)
	}
}
