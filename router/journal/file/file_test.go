package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 10
	}
	if o.LowWater == 0 {
		o.LowWater = -1
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func record(partition int, payload string) journal.Record {
	return journal.Record{Kind: journal.Completion, Level: 1, Partition: partition, Tenant: "t", Payload: []byte(payload)}
}

// replay reads the whole past of all partitions.
func replay(t testing.TB, j *Journal) (map[int][]string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	got := make(map[int][]string)
	left := j.Layout().Partitions
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if err := tn.Load(ctx, func(int64, io.Reader) error { return nil }); err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			mu.Lock()
			for _, r := range b.Records {
				got[tn.Partition()] = append(got[tn.Partition()], string(r.Payload))
			}
			if b.End {
				if left--; left == 0 {
					cancel()
				}
				mu.Unlock()
				return nil
			}
			mu.Unlock()
		}
	})
	return got, err
}

// TestTornGroupStaysAway loses the first record of a group and not the second: it must not come back behind a new record of the first one's size.
func TestTornGroupStaysAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 1, SegmentBytes: 4 << 10})
	if err := j.Append(context.Background(), []journal.Record{record(0, "old 1"), record(0, "old 2")}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	zero(t, filepath.Join(dir, segmentName(1)), frameHead, 4)
	j = open(t, Options{Dir: dir, SegmentBytes: 4 << 10})
	if err := j.Append(context.Background(), []journal.Record{record(0, "new 1")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := replay(t, j); err != nil || fmt.Sprint(got[0]) != "[new 1]" {
			t.Errorf("read %v, %v", got[0], err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, Options{Dir: dir, SegmentBytes: 4 << 10})
	}
}

func TestSnapshotTrimRecycle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 1, SegmentBytes: 4 << 10})
	ctx, cancel := context.WithCancel(context.Background())
	folded := make(chan int64)
	done := make(chan error, 1)
	go func() {
		done <- j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			_ = tn.Load(ctx, nil)
			n := 0
			for {
				b, err := tn.Read(ctx)
				if err != nil {
					return err
				}
				for _, r := range b.Records {
					if n++; n%100 == 0 {
						if err := tn.Save(ctx, r.Offset, func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }, nil); err != nil {
							return err
						}
						if err := tn.Trim(ctx, r.Offset); err != nil {
							return err
						}
					}
					folded <- r.Offset
				}
			}
		})
	}()
	for i := range 1000 {
		if err := j.Append(context.Background(), []journal.Record{record(0, fmt.Sprintf("record %03d with some text", i))}); err != nil {
			t.Fatal(err)
		}
		<-folded
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) > 10 {
		t.Errorf("%d files are left", len(entries))
	}
	j = open(t, Options{Dir: dir, SegmentBytes: 4 << 10})
	var n int
	ctx, cancel = context.WithCancel(context.Background())
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if err := tn.Load(ctx, func(_ int64, r io.Reader) error { _, err := fmt.Fscan(r, &n); return err }); err != nil {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			n += len(b.Records)
			if b.End {
				cancel()
				return nil
			}
		}
	})
	if err != nil || n != 1000 {
		t.Fatalf("snapshot and records make %d, %v", n, err)
	}
}

// TestQuietPartitionLetsTheLogGo fills the log by one partition: the others hold nothing of it, and are asked to say so.
func TestQuietPartitionLetsTheLogGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 4, SegmentBytes: 4 << 10, HoldBytes: 8 << 10})
	ctx, cancel := context.WithCancel(context.Background())
	folded, done := make(chan struct{}, 10_000), make(chan error, 1)
	var asked sync.Map
	go func() {
		done <- j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			_ = tn.Load(ctx, nil)
			before, n := int64(-1), 0
			for {
				b, err := tn.Read(ctx)
				if err != nil {
					return err
				}
				n += len(b.Records)
				if b.Save {
					asked.Store(tn.Partition(), true)
					if err := tn.Save(ctx, b.Next-1, func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }, nil); err != nil {
						return err
					}
					if before >= 0 {
						if err := tn.Trim(ctx, before); err != nil {
							return err
						}
					}
					before = b.Next - 1
				}
				for range b.Records {
					folded <- struct{}{}
				}
			}
		})
	}()
	most := 0
	for i := range 2000 {
		if err := j.Append(context.Background(), []journal.Record{record(2, fmt.Sprintf("record %03d with some text", i))}); err != nil {
			t.Fatal(err)
		}
		<-folded
		if i%50 == 0 {
			entries, _ := os.ReadDir(dir)
			most = max(most, len(entries))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for p := range 4 {
		if _, ok := asked.Load(p); !ok {
			t.Errorf("partition %d was never asked", p)
		}
	}
	if most > 40 { // 2,000 records fill some 45 segments; two snapshots of each partition and the spares stay.
		t.Errorf("%d files at most", most)
	}
	_ = j.Close()
	j = open(t, Options{Dir: dir, SegmentBytes: 4 << 10})
	ctx, cancel = context.WithCancel(context.Background())
	var total, left int
	var mu sync.Mutex
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		n := 0
		if err := tn.Load(ctx, func(_ int64, r io.Reader) error { _, err := fmt.Fscan(r, &n); return err }); err != nil {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			n += len(b.Records)
			if b.End {
				mu.Lock()
				defer mu.Unlock()
				total, left = total+n, left+1
				if left == 4 {
					cancel()
				}
				return nil
			}
		}
	})
	if err != nil || total != 2000 {
		t.Errorf("snapshots and records make %d, %v", total, err)
	}
}

// faults is an FS that fails by predicate.
type faults struct {
	FS
	mu   sync.Mutex
	fail func(op, name string) error
	free int64
}

func (f *faults) ask(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(op, name)
}

func (f *faults) set(fail func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faults) Free() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free, nil
}

func (f *faults) Open(name string, flag int) (File, error) {
	if err := f.ask("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, flag)
	return faultFile{file, f, name}, err
}

func (f *faults) Rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

type faultFile struct {
	File
	f    *faults
	name string
}

func (f faultFile) Sync() error {
	if err := f.f.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f faultFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.f.ask("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func TestFailedSyncStopsTheLog(t *testing.T) {
	t.Parallel()
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fs := &faults{FS: dir, free: 1 << 40}
	j := open(t, Options{FS: fs, Partitions: 1})
	owned := make(chan error, 1)
	go func() {
		owned <- j.Own(context.Background(), func(ctx context.Context, tn journal.Tenure) error {
			_ = tn.Load(ctx, nil)
			for {
				if _, err := tn.Read(ctx); err != nil {
					return err
				}
			}
		})
	}()
	broken := errors.New("broken disk")
	once := true
	fs.set(func(op, name string) error {
		if op == "sync" && strings.HasPrefix(name, "segment-") && once {
			once = false
			return broken
		}
		return nil
	})
	if err := j.Append(context.Background(), []journal.Record{record(0, "a")}); !errors.Is(err, broken) {
		t.Errorf("the append that met it: %v", err)
	}
	if err := j.Append(context.Background(), []journal.Record{record(0, "b")}); !errors.Is(err, broken) {
		t.Errorf("an append after it: %v", err)
	}
	if err := <-owned; !errors.Is(err, broken) {
		t.Errorf("Own: %v", err)
	}
}

func TestSecondRouterIsKeptOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, Options{Dir: dir, Partitions: 2})
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("the folder was opened twice")
	}
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_ = open(t, Options{Dir: dir, Partitions: 2}).Close()
	if _, err := Open(Options{Dir: dir, Partitions: 3}); !errors.Is(err, journal.ErrLayout) {
		t.Errorf("another number of partitions: %v", err)
	}
}

// TestCloseAfterAFailedSync has appenders queue up behind a sync that fails: each is told, and Close has nothing left to answer.
func TestCloseAfterAFailedSync(t *testing.T) {
	t.Parallel()
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fs := &faults{FS: dir, free: 1 << 40}
	j := open(t, Options{FS: fs, Partitions: 1})
	syncing, behind := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.set(func(op, name string) error {
		if op == "sync" && name == segmentName(1) {
			once.Do(func() { close(syncing) })
			<-behind
			return errors.New("broken disk")
		}
		return nil
	})
	var appenders sync.WaitGroup
	put := func() {
		if err := j.Append(context.Background(), []journal.Record{record(0, "a")}); err == nil {
			t.Error("a record was acknowledged")
		}
	}
	appenders.Go(put)
	<-syncing
	appenders.Go(put)
	eventually(t, "the second waits", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.current.count > 0
	})
	close(behind)
	appenders.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestLogBehindASnapshot has a log that lost records which a snapshot covers. New ones must not get offsets that the snapshot seems to cover.
func TestLogBehindASnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	o := small(w, Options{})
	l := scenario(t, w, Options{}, 30)
	last := uint64(0)
	for name := range w.disk.names {
		var n uint64
		if k, _ := fmt.Sscanf(name, "segment-%016x", &n); k == 1 {
			last = max(last, n)
		}
	}
	j := open(t, o)
	if _, err := saveEnd(j); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	clear(w.disk.names[segmentName(last)].data)
	if _, err := Open(o); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("a log that ends before a snapshot: %v", err)
	}
	if found, err := repair(t.Context(), w, o.withDefaults()); err != nil || len(found) == 0 {
		t.Fatalf("repaired %v, %v", found, err)
	}
	j = open(t, o)
	next := &ledger{tried: l.tried}
	if err := errors.Join(next.append(j, w, 5), j.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := tally(open(t, o)); err != nil || got != next.tried {
		t.Errorf("after the repair: %d records, want %d, %v", got, next.tried, err)
	}
}

// saveEnd saves all partitions at their ends.
func saveEnd(j *Journal) (saved int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	err = j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		var c counter
		err := c.load(ctx, tn)
		last := c.saved
		for end := false; err == nil && !end; {
			var b journal.Batch
			b, err = tn.Read(ctx)
			for i := range b.Records {
				err = errors.Join(err, c.fold(&b.Records[i]))
				last = b.Records[i].Offset
			}
			end = b.End
		}
		if err == nil && last > c.saved {
			err = tn.Save(ctx, last, func(w io.Writer) error { _, err := fmt.Fprint(w, c.n); return err }, nil)
		}
		mu.Lock()
		defer mu.Unlock()
		if saved++; saved == crashPartitions {
			cancel()
		}
		if err != nil {
			return errors.Join(journal.ErrDamaged, err)
		}
		return nil
	})
	return saved, err
}

// TestSnapshotBelowTheMark has the newest snapshot unreadable after a trim at it that let no file go: nothing is lost, so nothing is refused.
func TestSnapshotBelowTheMark(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	o := small(w, Options{})
	j := open(t, o)
	l := new(ledger)
	for range 2 {
		if err := l.append(j, w, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := saveEnd(j); err != nil {
			t.Fatal(err)
		}
	}
	j.manifestLock.Lock()
	for p, saved := range j.manifest.Snapshots {
		j.manifest.Trims[p] = saved[0].Offset
		w.disk.names[saved[0].Name].data[0] ^= 1
	}
	j.manifestLock.Unlock()
	if got, err := tally(j); err != nil || got != l.tried {
		t.Errorf("%d records, want %d, %v", got, l.tried, err)
	}
	for p, trim := range j.manifest.Trims {
		if saved := j.manifest.Snapshots[p]; trim > saved[len(saved)-1].Offset {
			t.Errorf("partition %d: the mark %d is beyond the snapshot in use", p, trim)
		}
	}
}

// TestTimeOverAnEmptySegment sets the clock back over a restart that finds the newest segment empty.
func TestTimeOverAnEmptySegment(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	now := time.Unix(1000, 0)
	o := small(w, Options{Now: func() time.Time { return now }})
	j := open(t, o)
	if err := j.Append(context.Background(), []journal.Record{record(0, "a")}); err != nil {
		t.Fatal(err)
	}
	g := newGroup(offsetOf(j.segment, j.pos))
	g.seal(j.segment, j.pos)
	if err := errors.Join(j.segments.write(&g.parts[0]), j.Close()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	now = time.Unix(10, 0)
	j = open(t, o)
	if err := j.Append(context.Background(), []journal.Record{record(0, "b")}); err != nil {
		t.Fatal(err)
	}
	if at := time.Unix(0, j.clock.last); at.Before(time.Unix(1000, 0)) {
		t.Errorf("a record's time is %s after one of 1000 s", at)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := open(b, Options{Dir: b.TempDir(), SegmentBytes: 32 << 20})
			batch := make([]journal.Record, n)
			for i := range batch {
				batch[i] = record(i%16, string(make([]byte, 250)))
			}
			for b.Loop() {
				if err := j.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
