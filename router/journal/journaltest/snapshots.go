package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// twoSnapshots saves all partitions twice, with records before, between and behind, and lets go what the first snapshot covers.
func twoSnapshots(t *testing.T, j journal.Journal, each int) (saved [2][]reading) {
	t.Helper()
	partitions := j.Layout().Partitions
	for round := range saved {
		want := make([][]string, partitions)
		fill(t, j, want, each*partitions, fmt.Sprint("round ", round))
		saved[round] = saveAll(t, j)
	}
	_, err := read(j, func(tn journal.Tenure, _ *reading) error {
		return tn.Trim(context.Background(), lastOffset(&saved[0][tn.Partition()]))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := make([][]string, partitions)
	fill(t, j, want, each*partitions, "behind")
	return saved
}

// undecodableFallsBack has a newest snapshot that is whole, and that its reader cannot use: the one before is given, with all records behind it, now and
// after a restart. A reader that takes none gets the log from its begin, or learns that there is none any more.
func undecodableFallsBack(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	const each = 10
	saved := twoSnapshots(t, h.Journal, each)
	refuse := func(j journal.Journal, most int) (got []reading, err error) {
		var mu sync.Mutex
		got = make([]reading, j.Layout().Partitions)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := 0
		err = j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			r, calls := reading{at: -1}, 0
			err := tn.Load(ctx, func(offset int64, from io.Reader) error {
				if calls++; calls <= most {
					_, _ = io.CopyN(io.Discard, from, 1)
					return errors.New("this state makes no sense")
				}
				b, err := io.ReadAll(from)
				r.snapshot, r.at = string(b), offset
				return err
			})
			for end := false; err == nil && !end; {
				var b journal.Batch
				if b, err = tn.Read(ctx); err == nil {
					err = r.add(tn, &b)
				}
				end = b.End
			}
			mu.Lock()
			defer mu.Unlock()
			got[tn.Partition()] = r
			if ended++; ended == len(got) || err != nil {
				cancel()
			}
			return err
		})
		return got, err
	}
	j := h.Journal
	for life := range 2 {
		got, err := refuse(j, 1)
		if err != nil {
			t.Fatal(err)
		}
		for p := range got {
			if got[p].at != lastOffset(&saved[0][p]) || count(&got[p]) != 3*each || len(got[p].records) != 2*each {
				t.Errorf("life %d, partition %d: a snapshot at %d and %d records make %d", life, p, got[p].at, len(got[p].records), count(&got[p]))
			}
		}
		if h.Reopen == nil {
			return
		}
		j = h.Reopen(t, j)
	}
}

// readBack has snapshots that their writer cannot read again: they do not count, and the former stays in force with what is behind it. What is read back is
// what was written, byte for byte.
func readBack(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	const each = 10
	saved := twoSnapshots(t, h.Journal, each)
	state := bytes.Repeat([]byte("a state of some size, "), 1<<15)
	broken := errors.New("this state makes no sense")
	_, err := read(h.Journal, func(tn journal.Tenure, r *reading) error {
		for _, verify := range []func(io.Reader) error{
			func(io.Reader) error { return broken },
			func(from io.Reader) error {
				b, err := io.ReadAll(from)
				if !bytes.Equal(b, state) {
					t.Errorf("partition %d: %d bytes were read back of %d that were written, or others", tn.Partition(), len(b), len(state))
				}
				return errors.Join(err, broken)
			},
		} {
			err := tn.Save(context.Background(), lastOffset(r), func(w io.Writer) error { _, err := w.Write(state); return err }, verify)
			if !errors.Is(err, broken) {
				return fmt.Errorf("a save that cannot be read back: %w", err)
			}
		}
		if err := tn.Trim(context.Background(), lastOffset(r)); err == nil {
			return errors.New("the journal was trimmed at a snapshot that does not count")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	j := h.Journal
	for life := range 2 {
		for p, r := range past(t, j) {
			if r.at != lastOffset(&saved[1][p]) || count(&r) != 3*each {
				t.Errorf("life %d, partition %d: a snapshot at %d and %d records make %d", life, p, r.at, len(r.records), count(&r))
			}
		}
		if h.Reopen == nil {
			return
		}
		j = h.Reopen(t, j)
	}
	_, err = read(j, func(tn journal.Tenure, r *reading) error {
		return tn.Save(context.Background(), lastOffset(r), func(w io.Writer) error { _, err := w.Write(state); return err }, func(from io.Reader) error {
			_, err := io.CopyN(io.Discard, from, 10) // It need not read to the end.
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for p, r := range past(t, j) {
		if r.snapshot != string(state) || len(r.records) != 0 {
			t.Errorf("partition %d: a snapshot of %d bytes and %d records", p, len(r.snapshot), len(r.records))
		}
	}
}

// longSave takes a snapshot of partition 0 in pieces, and does not go on before all partitions have read what was appended after each piece.
func longSave(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	put(t, h.Journal, record(0, "covered"))
	const pieces = 40
	piece := strings.Repeat("s", 64<<10)
	live, saving, saved := make(chan journal.Record, pieces*partitions+1), make(chan journal.Tenure, 1), make(chan error, 1)
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		r, err := upToEnd(ctx, tn)
		if err != nil {
			return err
		}
		for _, rec := range r.records[min(len(r.records), max(0, 1-tn.Partition())):] {
			live <- rec // It was appended before this partition's end was said.
		}
		if tn.Partition() == 0 {
			at := r.records[0].Offset
			saving <- tn
			go func() {
				saved <- tn.Save(ctx, at, func(w io.Writer) error {
					for range pieces {
						for p := range partitions {
							if err := h.Journal.Append(ctx, []journal.Record{record(p, "meanwhile")}); err != nil {
								return err
							}
							wait(t, live, "a record that was appended meanwhile")
						}
						if _, err := io.WriteString(w, piece); err != nil {
							return err
						}
					}
					return nil
				}, nil)
			}()
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			r.records = nil
			if err := r.add(tn, &b); err != nil {
				return err
			}
			for _, rec := range r.records {
				live <- rec
			}
		}
	})
	wait(t, saving, "a tenure")
	if err := wait(t, saved, "the save"); err != nil {
		t.Fatal(err)
	}
	if err := o.end(); err != nil {
		t.Fatal(err)
	}
	for p, r := range past(t, h.Journal) {
		if len(r.records) != pieces || p == 0 && r.snapshot != strings.Repeat(piece, pieces) {
			t.Errorf("partition %d: a snapshot of %d bytes and %d records", p, len(r.snapshot), len(r.records))
		}
	}
}

// tooLargeAlone appends records with some among them that the journal does not take: those are replaced or left out, and all others are there in order.
func tooLargeAlone(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	large := strings.Repeat("x", h.Journal.(journal.Sized).MaxPayload()+1)
	if err := h.Journal.Append(context.Background(), []journal.Record{record(0, "beside"), record(0, large)}); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
	var records []journal.Record
	var want []string
	for i := range 21 {
		s := fmt.Sprint(i)
		switch i % 10 {
		case 0:
			records = append(records, record(0, large), record(1, fmt.Sprint("other ", i)))
			want = append(want, "too large")
		case 5:
			left := record(0, large)
			left.Kind = journal.Signal
			records = append(records, left)
		default:
			records = append(records, record(0, s))
			want = append(want, s)
		}
	}
	told := 0
	err := journal.AppendEach(context.Background(), h.Journal, records, func(i int, reason error) (journal.Record, bool) {
		told++
		if !errors.Is(reason, journal.ErrTooLarge) || len(records[i].Payload) != len(large) {
			t.Errorf("told of %d bytes: %v", len(records[i].Payload), reason)
		}
		return record(0, "too large"), records[i].Kind == journal.Completion
	})
	if err != nil || told != 5 {
		t.Fatalf("told of %d records, %v", told, err)
	}
	got := past(t, h.Journal)
	if !slices.Equal(got[0].payloads(), want) {
		t.Errorf("read %s, want %s", short(got[0].payloads()), short(want))
	}
	if !slices.Equal(got[1].payloads(), []string{"other 0", "other 10", "other 20"}) {
		t.Errorf("beside them: %s", short(got[1].payloads()))
	}
}
