package history

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/prometheus/client_golang/prometheus"
)

// LetterLimits bound the dead letters that are kept; the zero value of a field is its default.
type LetterLimits struct {
	Letters int           // Default 100,000
	Bytes   int64         // Default 256 MiB
	Age     time.Duration // Default 30 days
}

// Letters are the dead letters: what was given up, kept with its reason until somebody sends it again or removes it, or it is too old or too much.
// The methods may be called concurrently.
type Letters struct {
	log     *slog.Logger
	drawer  *drawer
	kept    *prometheus.GaugeVec
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
		log:  log,
		kept: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "onward_dead_letters_kept", Help: "Dead letters that are kept here, by kind: given up, and neither sent again nor removed."}, []string{"kind"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onward_dead_letters_dropped_total", Help: "Dead letters that were let go of because they were too many, too large or too old.",
		}),
	}
	var damaged, err error
	if l.drawer, damaged, err = openDrawer(dir, limits); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	if damaged != nil {
		log.Error("the dead letters begin anew", "error", damaged)
	}
	if err := l.takeFormer(dir); err != nil {
		log.Error("the dead letters of a former version are not taken over", "error", err)
	}
	if err := l.count(); err != nil {
		return nil, errors.Join(err, l.drawer.db.Close())
	}
	if metrics != nil {
		metrics.MustRegister(l.kept, l.dropped)
	}
	return l, nil
}

// count tells how many there are.
func (l *Letters) count() error {
	have, err := l.drawer.stock()
	if err != nil {
		return err
	}
	for _, kind := range engine.LetterKinds {
		l.kept.WithLabelValues(kind).Set(float64(have[kind]))
	}
	return nil
}

// letGo says that letters were let go of.
func (l *Letters) letGo(n int) {
	if n > 0 {
		l.log.Error("dead letters were let go of: they are too many, too large or too old; see onward dead list, and dead.bytes and dead.age of the settings", "letters", n)
		l.dropped.Add(float64(n))
	}
}

// sweepEvery is how often letters that are too old are looked for, where none comes.
const sweepEvery = time.Minute

// sweep lets go of what has become too old.
func (l *Letters) sweep() error {
	l.putting.Lock()
	defer l.putting.Unlock()
	dropped, err := l.drawer.sweep(time.Now())
	if err != nil || dropped == 0 {
		return err
	}
	l.letGo(dropped)
	return l.count()
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
		dropped, err = l.drawer.put(news, time.Now())
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
	l.letGo(dropped)
	l.failing, l.pending = false, append(l.pending[:0:0], l.pending[len(batch):]...)
	return l.count()
}

// news leaves out what came in and is here already: it comes again after a restart, or from a sender that repeats it, and what became of it since is to stay.
func (l *Letters) news(batch []*engine.Letter) ([]*engine.Letter, error) {
	out := make([]*engine.Letter, 0, len(batch))
	for _, x := range batch {
		if x.What == engine.LetterEvent || x.What == engine.LetterParked {
			if had, err := l.drawer.get(x.ID); err != nil {
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
	return l.drawer.get(id)
}

// Page gives a part of the dead letters that are chosen, the latest first, without their data.
func (l *Letters) Page(q *engine.LetterQuery) (*engine.FoundLetters, error) {
	if err := l.flush(); err != nil {
		return nil, err
	}
	return l.drawer.find(q)
}

// Causes counts the dead letters that are chosen by what they have in common: the most frequent first.
func (l *Letters) Causes(q *engine.LetterQuery) ([]*engine.LetterCause, error) {
	if err := l.flush(); err != nil {
		return nil, err
	}
	return l.drawer.causes(q)
}

// Remove takes a dead letter away, for ever, if it is here.
func (l *Letters) Remove(id string) (was bool, err error) {
	if err := l.flush(); err != nil {
		return false, err
	}
	was, err = l.drawer.remove(id, time.Now())
	return was, errors.Join(err, l.count())
}

// Gone reports that a dead letter was here, and was sent again or removed not long ago.
func (l *Letters) Gone(id string) (bool, error) { return l.drawer.gone(id) }

// Replace books what became of a dead letter that was sent again.
func (l *Letters) Replace(x *engine.Letter) error {
	if had, err := l.Get(x.ID); err != nil || had == nil {
		return err // It was removed meanwhile.
	}
	_, err := l.drawer.put([]*engine.Letter{x}, time.Now())
	return err
}

// Close releases the file.
func (l *Letters) Close() error { return errors.Join(l.flush(), l.drawer.db.Close()) }
