package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/prometheus/client_golang/prometheus"
)

// LetterLimits bound the dead letters that are kept; the zero value of a field is its default.
type LetterLimits struct {
	Letters int           // Default 100,000
	Bytes   int64         // Default 256 MiB
	Age     time.Duration // Default 30 days
}

// A shelf keeps dead letters in the order in which they came. One that was taken off does not come back: a restart folds the same records again.
type shelf interface {
	// put adds letters, or replaces them in their place, and returns how many the limits have pushed off.
	put(l []*engine.Letter, now time.Time) (dropped int, err error)
	get(id string) (*engine.Letter, error) // nil when it is not there
	each(yield func(*engine.Letter) bool) error
	remove(id string, now time.Time) (was bool, err error)
	gone(id string) (bool, error) // it was removed, not long ago
	len() int
	Close() error
}

// Letters are the dead letters: what was given up, kept with its reason until somebody sends it again or removes it, or it is too old or too much.
// The methods may be called concurrently.
type Letters struct {
	log     *slog.Logger
	shelf   shelf
	kept    prometheus.Gauge
	dropped prometheus.Counter

	mu      sync.Mutex
	pending []*engine.Letter // given up, and not on the shelf yet
	failing bool
	putting sync.Mutex
}

// keepLetters opens the dead letters in a folder, or makes a place for them; without a folder they are kept for this process only.
func keepLetters(dir string, limits LetterLimits, log *slog.Logger, metrics prometheus.Registerer) (*Letters, error) {
	if limits.Letters == 0 {
		limits.Letters = 100_000
	}
	if limits.Bytes == 0 {
		limits.Bytes = 256 << 20
	}
	if limits.Age == 0 {
		limits.Age = 30 * 24 * time.Hour
	}
	l := &Letters{
		log: log, shelf: &board{limits: limits, by: make(map[string]*engine.Letter), off: make(map[string]bool)},
		kept: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_dead_letters_kept", Help: "Dead letters that are kept here: given up, and neither sent again nor removed."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onward_dead_letters_dropped_total", Help: "Dead letters that were let go of because they were too many, too large or too old.",
		}),
	}
	if dir != "" {
		drawer, damaged, err := openDrawer(dir, limits)
		if err != nil {
			return nil, err
		}
		if damaged != nil {
			log.Error("the dead letters begin anew", "error", damaged)
		}
		l.shelf = drawer
	}
	l.kept.Set(float64(l.shelf.len()))
	if metrics != nil {
		metrics.MustRegister(l.kept, l.dropped)
	}
	return l, nil
}

// Add takes a dead letter over; it does not wait for the disk.
func (l *Letters) Add(x *engine.Letter) {
	l.mu.Lock()
	l.pending = append(l.pending, x)
	l.mu.Unlock()
}

// flush puts on the shelf what was added before. What it does not take is tried again with the next flush.
func (l *Letters) flush() error {
	l.putting.Lock()
	defer l.putting.Unlock()
	l.mu.Lock()
	batch := l.pending
	l.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	news, err := l.news(batch)
	dropped := 0
	if err == nil {
		dropped, err = l.shelf.put(news, time.Now())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if !l.failing {
			l.log.Error("dead letters cannot be written; they are tried again", "error", err)
		}
		l.failing = true
		return fmt.Errorf("dead letters: %w", err)
	}
	if dropped > 0 {
		l.log.Error("dead letters were let go of: they are too many, too large or too old; see onward dead list, and dead.bytes and dead.age of the settings", "letters", dropped)
		l.dropped.Add(float64(dropped))
	}
	l.failing, l.pending = false, append(l.pending[:0:0], l.pending[len(batch):]...)
	l.kept.Set(float64(l.shelf.len()))
	return nil
}

// news leaves out what came in and is here already: it comes again after a restart, or from a sender that repeats it, and what became of it since is to stay.
func (l *Letters) news(batch []*engine.Letter) ([]*engine.Letter, error) {
	out := make([]*engine.Letter, 0, len(batch))
	for _, x := range batch {
		if x.What == engine.LetterEvent || x.What == engine.LetterParked {
			if had, err := l.shelf.get(x.ID); err != nil {
				return nil, err
			} else if had != nil {
				continue
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// Keep takes dead letters over and returns once they are on disk: after that who brought them may forget them.
func (l *Letters) Keep(list ...*engine.Letter) error {
	l.mu.Lock()
	l.pending = append(l.pending, list...)
	l.mu.Unlock()
	return l.flush()
}

// Get returns a dead letter; nil when it is not here.
func (l *Letters) Get(id string) (*engine.Letter, error) {
	if err := l.flush(); err != nil {
		return nil, err
	}
	return l.shelf.get(id)
}

// Each gives the dead letters, the latest first, until yield returns false.
func (l *Letters) Each(yield func(*engine.Letter) bool) error {
	if err := l.flush(); err != nil {
		return err
	}
	return l.shelf.each(yield)
}

// Remove takes a dead letter away, for ever, if it is here.
func (l *Letters) Remove(id string) (was bool, err error) {
	if err := l.flush(); err != nil {
		return false, err
	}
	was, err = l.shelf.remove(id, time.Now())
	l.kept.Set(float64(l.shelf.len()))
	return was, err
}

// Gone reports that a dead letter was here, and was sent again or removed not long ago.
func (l *Letters) Gone(id string) (bool, error) { return l.shelf.gone(id) }

// Replace books what became of a dead letter that was sent again.
func (l *Letters) Replace(x *engine.Letter) error {
	if had, err := l.Get(x.ID); err != nil || had == nil {
		return err // It was removed meanwhile.
	}
	_, err := l.shelf.put([]*engine.Letter{x}, time.Now())
	return err
}

// Close releases the file.
func (l *Letters) Close() error { return errors.Join(l.flush(), l.shelf.Close()) }

func encodeLetter(x *engine.Letter) []byte { return []byte(lang.Of(x).JSON()) }

func decodeLetter(text []byte) (*engine.Letter, error) {
	x := new(engine.Letter)
	if err := json.Unmarshal(text, x); err != nil {
		return nil, fmt.Errorf("a dead letter cannot be read: %w", err)
	}
	return x, nil
}

// A board is a shelf in memory.
type board struct {
	limits LetterLimits
	mu     sync.Mutex
	order  []string
	by     map[string]*engine.Letter
	bytes  int64
	off    map[string]bool // those that were removed
}

func weigh(x *engine.Letter) int64 { return int64(x.Data.Size() + 512) }

func (b *board) put(letters []*engine.Letter, now time.Time) (dropped int, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range letters {
		switch had := b.by[x.ID]; {
		case b.off[x.ID]:
			continue
		case had == nil:
			b.order = append(b.order, x.ID)
		default:
			b.bytes -= weigh(had)
		}
		b.by[x.ID] = x
		b.bytes += weigh(x)
	}
	for len(b.order) > 1 && (len(b.order) > b.limits.Letters || b.bytes > b.limits.Bytes || now.Sub(b.by[b.order[0]].Time) > b.limits.Age) {
		b.drop(0)
		dropped++
	}
	return dropped, nil
}

func (b *board) drop(i int) {
	id := b.order[i]
	b.bytes -= weigh(b.by[id])
	delete(b.by, id)
	b.order = append(b.order[:i:i], b.order[i+1:]...)
}

func (b *board) get(id string) (*engine.Letter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.by[id], nil
}

func (b *board) each(yield func(*engine.Letter) bool) error {
	b.mu.Lock()
	letters := make([]*engine.Letter, 0, len(b.order))
	for i := len(b.order) - 1; i >= 0; i-- {
		letters = append(letters, b.by[b.order[i]])
	}
	b.mu.Unlock()
	for _, x := range letters {
		if !yield(x) {
			break
		}
	}
	return nil
}

func (b *board) remove(id string, _ time.Time) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.order {
		if b.order[i] == id {
			b.drop(i)
			b.off[id] = true
			return true, nil
		}
	}
	return false, nil
}

func (b *board) gone(id string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.off[id], nil
}

func (b *board) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.order)
}

func (b *board) Close() error { return nil }
