package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

const crashPartitions = 3

// small are options with which a few hundred records seal, recycle and trim many segments.
func small(w *world, o Options) Options {
	o.FS, o.Partitions, o.SegmentBytes, o.Pause = w, crashPartitions, 2<<10, time.Millisecond
	if o.LowWater == 0 {
		o.LowWater = -1
	}
	return o
}

// A ledger is what the appender knows: record n of a partition says so, and the world's changes when it was acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked [crashPartitions][]int // how many changes the world had seen
	tried [crashPartitions]int

	folds  *sync.Cond // nil: nobody folds
	folded int
	over   bool // nobody folds any more
}

// fold books that a record was folded, or that no more are.
func (l *ledger) fold(n int, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folded += n
	l.over = l.over || over
	l.folds.Broadcast()
}

// follow waits until few records are unfolded, so that snapshots and trims come between appends.
func (l *ledger) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.folds != nil && !l.over && l.tried[0]+l.tried[1]+l.tried[2]-l.folded > 8 {
		l.folds.Wait()
	}
}

// at is how many records were acknowledged after so many changes.
func (l *ledger) at(p, changes int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, _ := slices.BinarySearch(l.acked[p], changes+1)
	return n
}

// append appends calls of a few records until n calls are made or one fails.
func (l *ledger) append(j *Journal, w *world, n int) error {
	for i := range n {
		var records []journal.Record
		var counts [crashPartitions]int
		for k := range 1 + i%4 {
			p := (i*i + k) % crashPartitions
			records = append(records, record(p, fmt.Sprintf("%d %0*d", l.tried[p], i%90, 0)))
			l.tried[p]++
			counts[p]++
		}
		if err := j.Append(context.Background(), records); err != nil {
			return err
		}
		seen := w.count()
		l.mu.Lock()
		for p, c := range counts {
			l.acked[p] = append(l.acked[p], slices.Repeat([]int{seen}, c)...)
		}
		l.mu.Unlock()
		l.follow()
	}
	return nil
}

// A counter folds records: each is the next of its partition, or the journal has lost, repeated or moved one.
type counter struct {
	n     int
	saved int64 // offset of the last snapshot
}

func (c *counter) load(ctx context.Context, tn journal.Tenure) error {
	c.n, c.saved = 0, -1
	err := tn.Load(ctx, func(offset int64, r io.Reader) error {
		c.saved = offset
		_, err := fmt.Fscan(r, &c.n)
		return err
	})
	if errors.Is(err, journal.ErrNoSnapshot) {
		return nil
	}
	return err
}

func (c *counter) fold(r *journal.Record) error {
	var n int
	if _, err := fmt.Sscan(string(r.Payload), &n); err != nil || n != c.n {
		return fmt.Errorf("partition %d, offset %d: record %d where %d is due, %w", r.Partition, r.Offset, n, c.n, errOrder)
	}
	c.n++
	return nil
}

var errOrder = errors.New("which is out of order")

// save saves and trims one snapshot behind, as a shard does.
func (c *counter) save(tn journal.Tenure, offset int64) error {
	err := tn.Save(context.Background(), offset, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d %0*d", c.n, 200, 0)
		return err
	}, nil)
	if err == nil && c.saved >= 0 {
		err = tn.Trim(context.Background(), c.saved)
	}
	if err == nil {
		c.saved = offset
	}
	return err
}

// busy folds all partitions, and saves each after so many records, until ctx ends.
func busy(ctx context.Context, j *Journal, l *ledger, every int) error {
	defer l.fold(0, true)
	return j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		var c counter
		if err := c.load(ctx, tn); err != nil {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			for i := range b.Records {
				err := c.fold(&b.Records[i])
				if err == nil && c.n%every == 0 {
					err = c.save(tn, b.Records[i].Offset)
				}
				if err != nil {
					return errors.Join(journal.ErrDamaged, err) // No second tenure.
				}
				l.fold(1, false)
			}
			if b.Save {
				if err := c.save(tn, b.Next-1); err != nil {
					return err
				}
			}
		}
	})
}

// tally reads all partitions to their end and returns how many records each has had.
func tally(j *Journal) ([crashPartitions]int, error) {
	var out [crashPartitions]int
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var failed error
	left := crashPartitions
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		var c counter
		err := c.load(ctx, tn)
		for end := false; err == nil && !end; {
			var b journal.Batch
			b, err = tn.Read(ctx)
			for i := range b.Records {
				err = errors.Join(err, c.fold(&b.Records[i]))
			}
			end = b.End
		}
		mu.Lock()
		defer mu.Unlock()
		out[tn.Partition()] = c.n
		failed = errors.Join(failed, err)
		if left--; left == 0 || failed != nil {
			cancel()
		}
		return nil
	})
	return out, errors.Join(err, failed)
}

// scenario runs appends and folds on a world and returns what was acknowledged. With a limit the world stops on the way.
func scenario(t *testing.T, w *world, o Options, calls int) *ledger {
	t.Helper()
	l := new(ledger)
	l.folds = sync.NewCond(&l.mu)
	j, err := Open(small(w, o))
	if err != nil {
		if w.limit < 0 {
			t.Fatal(err)
		}
		return l
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- busy(ctx, j, l, 12) }()
	appended := l.append(j, w, calls)
	cancel()
	owned := <-done
	closed := j.Close()
	if err := errors.Join(appended, owned, closed); w.limit < 0 && err != nil || errors.Is(err, errOrder) {
		t.Fatal(err)
	}
	return l
}

// recover opens what a crash left, and says what is wrong with it. It goes on from there, and opens it once more.
func recoverFrom(d *disk, o Options, l *ledger, changes int) error {
	w := newWorld(d)
	j, err := Open(small(w, o))
	if err != nil {
		return err
	}
	got, err := tally(j)
	for p := range got {
		if least := l.at(p, changes); !o.NoSync && got[p] < least || got[p] > l.tried[p] {
			err = errors.Join(err, fmt.Errorf("partition %d has %d records; %d were acknowledged, and %d tried", p, got[p], least, l.tried[p]))
		}
	}
	next := &ledger{tried: got}
	if err := errors.Join(err, next.append(j, w, 5), j.Close()); err != nil {
		return err
	}
	if j, err = Open(small(newWorld(w.disk.after(cuts[1])), o)); err != nil {
		return fmt.Errorf("the second life: %w", err)
	}
	got, err = tally(j)
	if !o.NoSync && got != next.tried {
		err = errors.Join(err, fmt.Errorf("the second life has %d records, want %d", got, next.tried))
	}
	return errors.Join(err, j.Close())
}

// TestCrashBetweenAnyTwoSteps stops the world after each change that a run of appends, snapshots, trims and recycled segments made, and lets the crash
// leave what was not synced in several ways.
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	w.keep = true
	l := scenario(t, w, Options{}, 150)
	steps, seen := map[string]int{}, newDisk()
	points := 0
	for k := range len(w.log) + 1 {
		for _, c := range seen.cuts() {
			points++
			left := seen.after(c)
			if err := recoverFrom(left, Options{}, l, k); err != nil {
				t.Fatalf("after change %d of %d, %s; before: %s; next: %s: %v", k, len(w.log), c.name, before(w.log, k), before(w.log, k+1), err)
			}
		}
		if k < len(w.log) {
			steps[word(w.log[k].what)]++
			w.log[k].apply(seen)
		}
	}
	for _, what := range []string{"create snapshot", "rename snapshot", "rename segment", "rename spare", "remove snapshot", "rename MANIFEST", "sync segment", "create RESERVE"} {
		if steps[what] == 0 {
			t.Errorf("the run had no step %q; it had %v", what, slices.Sorted(maps.Keys(steps)))
		}
	}
	t.Logf("%d crash points of %d changes: %v", points, len(w.log), steps)
}

// word is the kind of a change: the verb, and the file's name up to its number.
func word(what string) string {
	var verb, name string
	_, _ = fmt.Sscan(what, &verb, &name)
	for i, r := range name {
		if r == '-' || r == '.' {
			name = name[:i]
			break
		}
	}
	return verb + " " + name
}

func before(log []change, k int) string {
	if k < 1 || k > len(log) {
		return "nothing"
	}
	return log[k-1].what
}

// TestStoppedWorld stops the world under a running journal: it closes in good order, and what it acknowledged is there. The next open may be cut as well.
func TestStoppedWorld(t *testing.T) {
	t.Parallel()
	whole := newWorld(newDisk())
	scenario(t, whole, Options{}, 150)
	for limit := 0; limit < whole.count(); limit += 1 + rand.IntN(40) {
		w := newWorld(newDisk())
		w.limit = limit
		l := scenario(t, w, Options{}, 150)
		c := cuts[rand.IntN(len(cuts))]
		left := w.disk.after(c)
		// The next life's open is stopped too.
		again := newWorld(left)
		again.limit = rand.IntN(12)
		if j, err := Open(small(again, Options{})); err == nil {
			_ = j.Close()
		}
		left = again.disk.after(cuts[rand.IntN(len(cuts))])
		if err := recoverFrom(left, Options{}, l, limit); err != nil {
			t.Fatalf("stopped after %d changes, %s: %v", limit, c.name, err)
		}
	}
}

// TestPowerCutWithoutSync loses what was acknowledged without a sync: the journal may refuse what is left as damaged, but never folds a state that its
// records do not make, and never lets a new record disappear behind an old snapshot.
func TestPowerCutWithoutSync(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	w.keep = true
	o := Options{NoSync: true}
	l := scenario(t, w, o, 100)
	seen := newDisk()
	points, refused := 0, 0
	for k := range len(w.log) + 1 {
		for i, c := range seen.cuts() {
			points++
			strict := o
			strict.NoSync = i > 0 // A killed process loses nothing.
			err := recoverFrom(seen.after(c), strict, l, k)
			if errors.Is(err, journal.ErrDamaged) && i > 0 && !errors.Is(err, errOrder) {
				refused++
				err = nil
			}
			if err != nil {
				t.Fatalf("after change %d, %s; before: %s; next: %s: %v", k, c.name, before(w.log, k), before(w.log, k+1), err)
			}
		}
		if k < len(w.log) {
			w.log[k].apply(seen)
		}
	}
	if refused > points/4 {
		t.Errorf("%d of %d crashes were refused", refused, points)
	}
	t.Logf("%d crash points, %d refused as damaged", points, refused)
}
