package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ticking is a clock that goes on by two seconds whenever it is looked at, so that the disk is measured with every group.
func ticking() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.Unix(2*n.Add(1), 0) }
}

func (w *world) size(name string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.disk.names[name]; n != nil {
		return int64(len(n.data))
	}
	return 0
}

// stocked waits until the keeper has nothing left to do.
func stocked(t *testing.T, j *Journal, w *world) {
	t.Helper()
	eventually(t, "there are a spare segment and a reserve", func() bool {
		j.segments.mu.Lock()
		spares := len(j.segments.spares)
		j.segments.mu.Unlock()
		return spares >= sparesAhead && j.segments.reserve.owed() == 0 && w.size(reserveName) > 0
	})
}

// TestFullDiskTrimsItsWay has a disk that others filled to the last byte: starts are refused, and all else goes on for as long as the folds save when
// they are asked, since snapshots go into the reserve and let segments go.
func TestFullDiskTrimsItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	o := small(w, Options{LowWater: 8 << 10, HoldBytes: 4 << 10, Now: ticking()})
	j := open(t, o)
	l := new(ledger)
	l.folds = sync.NewCond(&l.mu)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- busy(ctx, j, l, 1<<30) }() // It saves when it is asked to only.
	if err := l.append(j, w, 60); err != nil {
		t.Fatal(err)
	}
	stocked(t, j, w)
	w.setBudget(w.used())
	if err := l.append(j, w, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "starts are refused", func() bool {
		start := record(0, "start")
		start.Kind, start.Payload = journal.Start, []byte(fmt.Sprint(l.tried[0]))
		err := j.Append(context.Background(), []journal.Record{start})
		if err == nil {
			l.tried[0]++
		} else if !errors.Is(err, journal.ErrFull) {
			t.Fatal(err)
		}
		return err != nil
	})
	for range 400 {
		if err := l.append(j, w, 1); err != nil {
			t.Fatalf("a completion on a full disk: %v", err)
		}
		// Here segments fill up in microseconds; elsewhere snapshots are quicker.
		eventually(t, "snapshots have let a segment go", func() bool {
			j.segments.mu.Lock()
			defer j.segments.mu.Unlock()
			return len(j.segments.spares) > 0
		})
	}
	cancel()
	if err := errors.Join(<-done, j.Close()); err != nil {
		t.Fatal(err)
	}
	// The disk is still full when the router comes back.
	j = open(t, o)
	got, err := tally(j)
	if err != nil || got != l.tried {
		t.Errorf("after a restart: %d records of %d, %v", got, l.tried, err)
	}
}

// TestFullDiskWithoutSnapshots fills the disk under a journal that nobody folds: a segment's worth of records is still taken, then all are refused, and
// taken again once there is space, without a restart. What was held is there once and in its place.
func TestFullDiskWithoutSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	o := small(w, Options{LowWater: 8 << 10, Now: ticking()})
	j := open(t, o)
	ctx := context.Background()
	put := func(i int) error {
		return j.Append(ctx, []journal.Record{record(0, fmt.Sprintf("%04d %090d", i, 0))})
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	stocked(t, j, w)
	w.setBudget(w.used())
	taken := 1
	var err error
	for ; err == nil; taken++ {
		err = put(taken)
	}
	taken-- // This one is held.
	if n := int(o.SegmentBytes) / 200; taken < n {
		t.Errorf("%d records were taken on a full disk; a spare segment has place for %d", taken, n)
	}
	if !errors.Is(err, errNoSpace) || errors.Is(err, journal.ErrFull) {
		t.Errorf("the record for which there was no space: %v", err)
	}
	var appenders sync.WaitGroup
	for range 8 {
		appenders.Go(func() {
			for range 20 {
				if err := put(9999); !errors.Is(err, journal.ErrFull) {
					t.Errorf("a record behind it: %v", err)
				}
			}
		})
	}
	appenders.Wait()
	w.setBudget(w.used() + 1<<20)
	next := taken + 1
	eventually(t, "records are taken again", func() bool { return put(next) == nil })
	eventually(t, "starts are taken again", func() bool {
		start := record(1, "start")
		start.Kind = journal.Start
		return j.Append(ctx, []journal.Record{start}) == nil
	})
	stocked(t, j, w)
	check := func(j *Journal) {
		t.Helper()
		got, err := replay(t, j)
		if err != nil || len(got[0]) != next+1 {
			t.Fatalf("%d records, want %d, %v", len(got[0]), next+1, err)
		}
		for i, s := range got[0] {
			if !strings.HasPrefix(s, fmt.Sprintf("%04d ", i)) {
				t.Fatalf("record %d reads %.10q", i, s)
			}
		}
	}
	check(j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, o))
}

// TestFullDiskClosesAndOpens ends a router that is held up by a full disk, and starts it there: it can be read, and goes on once there is space.
func TestFullDiskClosesAndOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	o := small(w, Options{Now: ticking()})
	j := open(t, o)
	l := new(ledger)
	if err := l.append(j, w, 3); err != nil {
		t.Fatal(err)
	}
	stocked(t, j, w)
	w.setBudget(w.used())
	for i := 0; l.append(j, w, 1) == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk is never full")
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, o)
	got, err := tally(j)
	for p := range got {
		if err != nil || got[p] < len(l.acked[p]) || got[p] > l.tried[p] {
			t.Fatalf("partition %d: %d records of %d, %v", p, got[p], len(l.acked[p]), err)
		}
	}
	l.tried = got
	w.setBudget(w.used() + 1<<20)
	tried := l.tried
	eventually(t, "records are taken again", func() bool {
		l.tried = tried
		return l.append(j, w, 1) == nil
	})
	if got, err = tally(j); err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

// TestReserveIsForSnapshots has snapshots much larger than the spare space: one of each partition fits on a full disk, and the reserve comes back.
func TestReserveIsForSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	j := open(t, small(w, Options{LowWater: 8 << 10, Now: ticking()}))
	ctx, cancel := context.WithCancel(context.Background())
	tenures, done := make(chan journal.Tenure, crashPartitions), make(chan error, 1)
	go func() {
		done <- j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			tenures <- tn
			<-ctx.Done()
			return nil
		})
	}()
	state := strings.Repeat("state", 8<<10)
	save := func(tn journal.Tenure, offset int64) error {
		calls := 0
		err := tn.Save(ctx, offset, func(w io.Writer) error {
			calls++
			_, err := io.WriteString(w, state)
			return err
		}, nil)
		if calls != 1 {
			t.Errorf("the state was asked for %d times", calls)
		}
		return err
	}
	var all []journal.Tenure
	for range crashPartitions {
		tn := <-tenures
		all = append(all, tn)
		if err := save(tn, offsetOf(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	stocked(t, j, w)
	w.setBudget(w.used())
	for _, tn := range all {
		if err := save(tn, offsetOf(1, 2)); err != nil {
			t.Errorf("partition %d, on a full disk: %v", tn.Partition(), err)
		}
	}
	if n := w.size(reserveName); n != 0 {
		t.Errorf("the reserve has %d bytes, and its room was used", n)
	}
	w.setBudget(w.used())
	if err := save(all[0], offsetOf(1, 3)); err == nil {
		t.Error("a snapshot was saved where there was no room")
	}
	w.setBudget(w.used() + 1<<20)
	if err := save(all[0], offsetOf(1, 3)); err != nil {
		t.Errorf("after there is space again: %v", err)
	}
	stocked(t, j, w)
	for p, saved := range j.manifest.Snapshots {
		if want := []int64{3, 2, 2}[indexOf(all, p)]; saved[0].Offset != offsetOf(1, want) {
			t.Errorf("partition %d: the newest snapshot is at %d", p, saved[0].Offset&0xff)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func indexOf(tenures []journal.Tenure, partition int) int {
	for i, tn := range tenures {
		if tn.Partition() == partition {
			return i
		}
	}
	return -1
}
