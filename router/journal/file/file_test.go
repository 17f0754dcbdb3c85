package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

func TestAppendThenReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 4})
	want := make(map[int][]string)
	for i := range 2000 {
		s := fmt.Sprintf("%d-%0*d", i, i%300, i)
		want[i%4] = append(want[i%4], s)
		if err := j.Append(context.Background(), []journal.Record{record(i%4, s)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, Options{Dir: dir})
	got, err := replay(t, j)
	if err != nil {
		t.Fatal(err)
	}
	for p := range want {
		if fmt.Sprint(got[p]) != fmt.Sprint(want[p]) {
			t.Errorf("partition %d: %d records, want %d", p, len(got[p]), len(want[p]))
		}
	}
}

func TestTornTailAtEveryByte(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 1, SegmentBytes: 4 << 10})
	for i := range 3 {
		if err := j.Append(context.Background(), []journal.Record{record(0, fmt.Sprint("record ", i))}); err != nil {
			t.Fatal(err)
		}
	}
	end := j.pos
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	start := end / 3 * 2 // of the last frame: all three have one size
	for cut := start; cut < end; cut++ {
		b := append([]byte{}, whole...)
		clear(b[cut:end])
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		j := open(t, Options{Dir: dir, SegmentBytes: 4 << 10})
		if err := j.Append(context.Background(), []journal.Record{record(0, "new")}); err != nil {
			t.Fatal(err)
		}
		got, err := replay(t, j)
		if err != nil || fmt.Sprint(got[0]) != "[record 0 record 1 new]" {
			t.Fatalf("cut at %d of %d: %v, %v", cut, end, got, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamageInTheMiddleIsRefused(t *testing.T) {
	t.Parallel()
	for _, last := range []bool{true, false} {
		dir := t.TempDir()
		j := open(t, Options{Dir: dir, Partitions: 1, SegmentBytes: 4 << 10})
		n := 10
		if !last {
			n = 200
		}
		for i := range n {
			if err := j.Append(context.Background(), []journal.Record{record(0, fmt.Sprintf("record %03d with some text", i))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, segmentName(1))
		b, _ := os.ReadFile(name)
		b[200] ^= 0x40
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := Open(Options{Dir: dir, SegmentBytes: 4 << 10, LowWater: -1})
		if err == nil {
			_, err = replay(t, j)
			_ = j.Close()
		}
		if !errors.Is(err, journal.ErrDamaged) {
			t.Fatalf("last %v: %v", last, err)
		}
		j = open(t, Options{Dir: dir, SegmentBytes: 4 << 10, Repair: true})
		if last {
			continue // Repair cut what was behind.
		}
		got, err := replay(t, j)
		if err != nil || len(got[0]) != n-1 {
			t.Fatalf("after repair: %d records, %v", len(got[0]), err)
		}
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
						if err := tn.Save(ctx, r.Offset, func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }); err != nil {
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
					if err := tn.Save(ctx, b.Next-1, func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }); err != nil {
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
		if op == "sync" && once {
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

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fs := &faults{FS: dir, free: 10}
	j := open(t, Options{FS: fs, Partitions: 1, LowWater: 1000})
	start := record(0, "start")
	start.Kind = journal.Start
	if err := j.Append(context.Background(), []journal.Record{start}); !errors.Is(err, journal.ErrFull) {
		t.Errorf("a start on a full disk: %v", err)
	}
	if err := j.Append(context.Background(), []journal.Record{record(0, "completion")}); err != nil {
		t.Errorf("a completion on a full disk: %v", err)
	}
	fs.mu.Lock()
	fs.free = 1 << 20
	fs.mu.Unlock()
	// The disk is looked at with every group while it is full.
	if err := j.Append(context.Background(), []journal.Record{record(0, "completion")}); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if err = j.Append(context.Background(), []journal.Record{start}); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("a start after the disk was freed: %v", err)
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

func TestLayoutIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Partitions: 2})
	was := j.Layout()
	_ = j.Close()
	if _, err := Open(Options{Dir: dir, Partitions: 3}); !errors.Is(err, journal.ErrLayout) {
		t.Errorf("another number of partitions: %v", err)
	}
	if got := open(t, Options{Dir: dir}).Layout(); got != was {
		t.Error("the layout changed")
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
