package journaltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// endIsSaid appends while tenures begin: what was acknowledged before Own is read when End is said, at once and live what comes later.
func endIsSaid(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	want := make([][]string, partitions-1) // The last partition has nothing, and its end is said all the same.
	for round := range 5 {
		fill(t, h.Journal, want, 50, fmt.Sprint("round ", round))
		stop, stopped := make(chan struct{}), make(chan int, 1)
		go func() {
			n := 0
			for ; n < 2000; n++ {
				select {
				case <-stop:
					stopped <- n
					return
				default:
				}
				if err := h.Journal.Append(context.Background(), []journal.Record{record(0, fmt.Sprintf("beside %d %d", round, n))}); err != nil {
					t.Errorf("append: %v", err)
				}
			}
			stopped <- n
		}()
		got := past(t, h.Journal)
		close(stop)
		beside := wait(t, stopped, "the appender")
		if n := len(got[0].records); n < len(want[0]) {
			t.Fatalf("round %d: End was said after %d records of %d", round, n, len(want[0]))
		}
		expect(t, got[1:partitions-1], want[1:])
		for n := range beside {
			want[0] = append(want[0], fmt.Sprintf("beside %d %d", round, n))
		}
	}
	expect(t, past(t, h.Journal)[:partitions-1], want)
	liveAfterEnd(t, h.Journal)
}

// liveAfterEnd reads on after End.
func liveAfterEnd(t *testing.T, j journal.Journal) {
	t.Helper()
	partitions := j.Layout().Partitions
	ended, live := make(chan int, partitions), make(chan string, 100)
	o := own(t, j, func(ctx context.Context, tn journal.Tenure) error {
		r, err := upToEnd(ctx, tn)
		if err != nil {
			return err
		}
		ended <- tn.Partition()
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			r.records = nil
			if err := r.add(tn, &b); err != nil {
				return err
			}
			for _, s := range r.payloads() {
				live <- s
			}
		}
	})
	for range partitions {
		wait(t, ended, "an end")
	}
	for i := range 100 {
		s := fmt.Sprint("live ", i)
		put(t, j, record(i%partitions, s))
		if got := wait(t, live, "a live record"); got != s {
			t.Fatalf("read %q, want %q", got, s)
		}
	}
	if err := o.end(); err != nil {
		t.Error(err)
	}
}

func noSnapshot(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	_, err := read(h.Journal, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var once sync.Once
	err = h.Journal.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		once.Do(func() {
			err := tn.Load(ctx, func(int64, io.Reader) error { t.Error("a snapshot is there before one was saved"); return nil })
			if !errors.Is(err, journal.ErrNoSnapshot) {
				t.Errorf("load without a snapshot: %v", err)
			}
			cancel()
		})
		<-ctx.Done()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// saveAll saves what each partition counts to, and returns the offsets.
func saveAll(t *testing.T, j journal.Journal) []reading {
	t.Helper()
	got, err := read(j, func(tn journal.Tenure, r *reading) error {
		if len(r.records) == 0 {
			return nil
		}
		return save(tn, r.records[len(r.records)-1].Offset, fmt.Sprint(count(r)))
	})
	if err != nil {
		t.Fatalf("saving: %v", err)
	}
	return got
}

func lastOffset(r *reading) int64 {
	if n := len(r.records); n > 0 {
		return r.records[n-1].Offset
	}
	return r.at
}

func snapshotAndAfter(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions, each := h.Journal.Layout().Partitions, 20
	j := h.Journal
	var before []reading
	for round := range 4 {
		if round == 2 && h.Reopen != nil {
			j = h.Reopen(t, j)
		}
		want := make([][]string, partitions)
		fill(t, j, want, partitions*each, fmt.Sprint("round ", round))
		got := saveAll(t, j)
		for p := range got {
			if round == 0 {
				break
			}
			if got[p].at != lastOffset(&before[p]) || got[p].snapshot != fmt.Sprint(round*each) {
				t.Errorf("partition %d: loaded %q at %d, saved %d at %d", p, got[p].snapshot, got[p].at, round*each, lastOffset(&before[p]))
			}
		}
		expect(t, got, want)
		before = got
	}
}

func snapshotIsAtomic(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	fill(t, h.Journal, want, 40, "a")
	first := saveAll(t, h.Journal)
	want = make([][]string, len(want))
	fill(t, h.Journal, want, 40, "b")
	broken := errors.New("the state cannot be written")
	_, err := read(h.Journal, func(tn journal.Tenure, r *reading) error {
		err := tn.Save(context.Background(), lastOffset(r), func(w io.Writer) error {
			_, err := io.WriteString(w, "half a sta")
			return errors.Join(err, broken)
		}, nil)
		if !errors.Is(err, broken) {
			return fmt.Errorf("a save whose state cannot be written: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	j := h.Journal
	for range 2 {
		got := past(t, j)
		expect(t, got, want)
		for p := range got {
			if got[p].at != lastOffset(&first[p]) || got[p].snapshot != fmt.Sprint(count(&first[p])) {
				t.Errorf("partition %d: loaded %q at %d", p, got[p].snapshot, got[p].at)
			}
		}
		if h.Reopen == nil {
			return
		}
		j = h.Reopen(t, j)
	}
}

func trimBeyond(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	fill(t, h.Journal, want, 60, "a")
	refused := func(tn journal.Tenure, offset int64) error {
		if err := tn.Trim(context.Background(), offset); err == nil {
			return fmt.Errorf("partition %d: trim at %d was taken", tn.Partition(), offset)
		}
		return nil
	}
	_, err := read(h.Journal, func(tn journal.Tenure, r *reading) error {
		if err := refused(tn, r.records[0].Offset); err != nil {
			return fmt.Errorf("without a snapshot: %w", err)
		}
		if err := save(tn, r.records[3].Offset, "4"); err != nil {
			return err
		}
		if err := refused(tn, r.records[4].Offset); err != nil {
			return fmt.Errorf("beyond the snapshot: %w", err)
		}
		return tn.Trim(context.Background(), r.records[3].Offset)
	})
	if err != nil {
		t.Fatal(err)
	}
	for p, r := range past(t, h.Journal) {
		if r.snapshot != "4" || count(&r) != len(want[p]) {
			t.Errorf("partition %d: %q and %d records of %d", p, r.snapshot, len(r.records), len(want[p]))
		}
	}
}

// trimAndReopen saves and trims, one snapshot behind and at the newest in turn, over several lives.
func trimAndReopen(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	j, partitions := h.Journal, h.Journal.Layout().Partitions
	const each = 60
	for round := range 6 {
		for i := range each * partitions {
			put(t, j, record(i%partitions, fmt.Sprintf("%d %d with some text that fills the log a little", round, i)))
		}
		got, err := read(j, func(tn journal.Tenure, r *reading) error {
			if err := save(tn, lastOffset(r), fmt.Sprint(count(r))); err != nil {
				return err
			}
			trim := lastOffset(r)
			if round%2 == 0 {
				trim = r.at
			}
			if trim < 0 {
				return nil
			}
			return tn.Trim(context.Background(), trim)
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for p := range got {
			if n := count(&got[p]); n != each*(round+1) || len(got[p].records) != each {
				t.Errorf("round %d, partition %d: %d records in all, %d of them after the snapshot", round, p, n, len(got[p].records))
			}
		}
		j = h.Reopen(t, j)
	}
}

func snapshotFallsBack(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	const each = 10
	j, partitions := h.Journal, h.Journal.Layout().Partitions
	var saved [][]reading
	for round := range 2 {
		want := make([][]string, partitions)
		fill(t, j, want, each*partitions, fmt.Sprint("round ", round))
		saved = append(saved, saveAll(t, j))
	}
	_, err := read(j, func(tn journal.Tenure, r *reading) error {
		return tn.Trim(context.Background(), lastOffset(&saved[0][tn.Partition()]))
	})
	if err != nil {
		t.Fatal(err)
	}
	h.DamageSnapshot(t, 1)
	got := past(t, j)
	for p := range got {
		at := saved[1][p]
		if p == 1 {
			at = saved[0][p]
		}
		if got[p].at != lastOffset(&at) || count(&got[p]) != 2*each {
			t.Errorf("partition %d: a snapshot at %d and %d records make %d", p, got[p].at, len(got[p].records), count(&got[p]))
		}
	}
	// The next snapshot takes the damaged one's place, not the place of the one that was good to fall back to.
	for range 2 {
		saveAll(t, j)
		if got := past(t, j); got[1].at != lastOffset(&saved[1][1]) || count(&got[1]) != 2*each {
			t.Errorf("after the next snapshot: one at %d and %d records make %d", got[1].at, len(got[1].records), count(&got[1]))
		}
		h.DamageSnapshot(t, 1)
		if got := past(t, j); got[1].at != lastOffset(&saved[0][1]) || count(&got[1]) != 2*each {
			t.Errorf("after the next damage: one at %d and %d records make %d", got[1].at, len(got[1].records), count(&got[1]))
		}
	}
}

// failedFoldStartsAgain lets each fold fail once in the middle: the next tenure begins at the snapshot, and reads all that is after it.
func failedFoldStartsAgain(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	want := make([][]string, partitions)
	fill(t, h.Journal, want, 30*partitions, "a")
	saveAll(t, h.Journal)
	fill(t, h.Journal, want, 30*partitions, "b")
	var mu sync.Mutex
	tenures, got := make([]int, partitions), make([]reading, partitions)
	done := make(chan struct{}, partitions)
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		mu.Lock()
		tenures[tn.Partition()]++
		n := tenures[tn.Partition()]
		mu.Unlock()
		r := reading{at: -1}
		if err := load(ctx, tn, &r); err != nil {
			return err
		}
		for end := false; !end; {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			if err := r.add(tn, &b); err != nil {
				return err
			}
			if len(r.records) > 0 && n <= 2 {
				return errors.New("the fold fails")
			}
			end = b.End
		}
		mu.Lock()
		got[tn.Partition()] = r
		mu.Unlock()
		done <- struct{}{}
		<-ctx.Done()
		return nil
	})
	for range partitions {
		wait(t, done, "the third tenure's end")
	}
	if err := o.end(); err != nil {
		t.Error(err)
	}
	for p := range got {
		if got[p].snapshot != "30" || len(got[p].records) != 30 || tenures[p] != 3 {
			t.Errorf("partition %d: tenure %d read %d records after %q", p, tenures[p], len(got[p].records), got[p].snapshot)
		}
	}
}

// slowAndFailing lets partition 0 read nothing of a long past while partition 1 fails: what was under way for its first tenure is not for its next one.
func slowAndFailing(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	body := strings.Repeat("z", 128<<10)
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprint(i))
		put(t, h.Journal, record(1, want[i]), record(0, body))
	}
	release := make(chan struct{})
	once := sync.OnceFunc(func() { close(release) })
	defer once()
	tenures := 0
	got, slow := make(chan reading, 1), make(chan reading, 1)
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		switch tn.Partition() {
		case 0:
			<-release
			r, err := upToEnd(ctx, tn)
			slow <- r
			return err
		case 1:
			tenures++ // Tenures of one partition follow each other.
			if tenures == 1 {
				if _, err := tn.Read(ctx); err != nil {
					return err
				}
				return errors.New("the fold fails")
			}
			time.AfterFunc(20*time.Millisecond, once) // Some of the first tenure's past comes while this one reads its own.
			r, err := upToEnd(ctx, tn)
			if err != nil {
				t.Errorf("the second tenure: %v", err)
			}
			got <- r
		}
		<-ctx.Done()
		return nil
	})
	first, second := wait(t, got, "the second tenure's end"), wait(t, slow, "the slow fold's end")
	if !slices.Equal(first.payloads(), want) || len(second.records) != len(want) {
		t.Errorf("read %s, and %d records slowly", short(first.payloads()), len(second.records))
	}
	if err := o.end(); err != nil {
		t.Error(err)
	}
}

// deadlyRecord has a record in partition 0 on which the fold dies: the others go on, and so does its own once the fold passes the record over.
func deadlyRecord(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	want := make([][]string, partitions)
	fill(t, h.Journal, want, 10*partitions, "before")
	deadly := record(0, "deadly")
	pass, folded := make(chan struct{}), make(chan journal.Record, 1000)
	died := make(chan int64, 1000)
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		r := reading{at: -1}
		if err := load(ctx, tn, &r); err != nil {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			from := len(r.records)
			if err := r.add(tn, &b); err != nil {
				return err
			}
			for _, rec := range r.records[from:] {
				if string(rec.Payload) == "deadly" {
					select {
					case <-pass:
						continue
					default:
						died <- rec.Offset
						return errors.New("the fold died")
					}
				}
				if rec.Partition > 0 || string(rec.Payload) == "after" {
					folded <- rec
				}
			}
		}
	})
	put(t, h.Journal, deadly, record(0, "after"))
	at := wait(t, died, "the first death")
	if again := wait(t, died, "the second death"); again != at {
		t.Errorf("the record was at %d and is at %d", at, again)
	}
	put(t, h.Journal, record(1, "live"))
	others := 10*(partitions-1) + 1
	for range others {
		if rec := wait(t, folded, "records of other partitions"); rec.Partition == 0 {
			t.Fatal("what is behind the deadly record was folded")
		}
	}
	close(pass)
	if rec := wait(t, folded, "the record behind it"); rec.Partition != 0 || rec.Offset <= at {
		t.Errorf("partition %d, offset %d was folded after the deadly record at %d", rec.Partition, rec.Offset, at)
	}
	if err := o.end(); err != nil {
		t.Error(err)
	}
}

func ownEndsAfterFolds(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	put(t, h.Journal, record(0, "a"))
	var mu sync.Mutex
	running := 0
	in, leaving, hold := make(chan struct{}, partitions), make(chan struct{}, partitions), make(chan struct{})
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		mu.Lock()
		running++
		mu.Unlock()
		in <- struct{}{}
		<-ctx.Done()
		for err := error(nil); err == nil; { // What is there may still be read.
			_, err = tn.Read(ctx)
		}
		leaving <- struct{}{}
		<-hold
		mu.Lock()
		running--
		mu.Unlock()
		return ctx.Err()
	})
	for range partitions {
		wait(t, in, "a fold")
	}
	o.cancel()
	for range partitions {
		wait(t, leaving, "a fold that learns of the end")
	}
	select {
	case err := <-o.done:
		t.Errorf("Own returned %v before its folds had", err)
	default:
	}
	close(hold)
	if err := wait(t, o.done, "Own's return"); err != nil {
		t.Errorf("Own whose context ended: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if running != 0 {
		t.Errorf("Own returned while %d folds ran", running)
	}
}

// overIsFenced keeps tenures beyond their fold: what they save would be another owner's state.
func overIsFenced(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	fill(t, h.Journal, want, 40, "a")
	var mu sync.Mutex
	var former []journal.Tenure
	got, err := read(h.Journal, func(tn journal.Tenure, r *reading) error {
		mu.Lock()
		defer mu.Unlock()
		former = append(former, tn)
		return save(tn, r.records[0].Offset, "1")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tn := range former {
		offset := lastOffset(&got[tn.Partition()])
		if err := save(tn, offset, "wrong"); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("partition %d: a save after the tenure: %v", tn.Partition(), err)
		}
		if err := tn.Trim(context.Background(), got[tn.Partition()].records[0].Offset); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("partition %d: a trim after the tenure: %v", tn.Partition(), err)
		}
	}
	for p, r := range past(t, h.Journal) {
		if r.snapshot != "1" || count(&r) != len(want[p]) {
			t.Errorf("partition %d: %q and %d records", p, r.snapshot, len(r.records))
		}
	}
}

func closed(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	put(t, h.Journal, record(0, "a"))
	if err := h.Journal.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := h.Journal.Append(context.Background(), []journal.Record{record(0, "b")}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.Journal.Own(ctx, func(context.Context, journal.Tenure) error { t.Error("a fold after close"); return nil })
	if !errors.Is(err, journal.ErrClosed) {
		t.Errorf("own after close: %v", err)
	}
	if err := h.Journal.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}
