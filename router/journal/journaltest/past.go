package journaltest

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// pastIsRead has the past of partitions read beside their folds: from where it is asked for, as far as it reaches; what is held stays, over snapshots and
// trims, and goes when it is held no more.
func pastIsRead(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	const each = pastEach
	r := &rereader{t, h.Journal, make([][]string, h.Journal.Layout().Partitions)}
	r.add()
	r.life(journal.Nothing, func(tn journal.Tenure, _ *reading) { r.begins(tn, -1, -1, each) })
	first := make([]int64, len(r.want))
	r.add()
	r.life(-1, func(tn journal.Tenure, all *reading) {
		first[tn.Partition()] = all.at
		r.begins(tn, -1, -1, 2*each)
		r.begins(tn, all.at, all.at, each)
		r.begins(tn, math.MaxInt64-1, all.at, each)
	})
	r.add()
	r.life(-1, func(tn journal.Tenure, all *reading) { r.begins(tn, -1, -1, 3*each) }) // The log's start was held.
	r.add()
	r.life(journal.Nothing, func(tn journal.Tenure, all *reading) { r.begins(tn, -1, -1, 4*each) })
	r.add()
	held := make([]int64, len(r.want))
	r.life(-1, func(tn journal.Tenure, all *reading) { // Its start is gone: the oldest snapshot is what there is.
		p := tn.Partition()
		if one, err := reread(tn, -1); err != nil || one.at < first[p] || one.at > all.at {
			t.Errorf("partition %d: the past begins at %d: %v", p, one.at, err)
		} else {
			held[p] = one.at
			r.begins(tn, -1, one.at, len(one.records))
		}
	})
	for range 2 {
		r.add()
		r.life(-1, func(tn journal.Tenure, all *reading) {
			if one, err := reread(tn, -1); err != nil || one.at != held[tn.Partition()] {
				t.Errorf("partition %d: what was held at %d begins at %d: %v", tn.Partition(), held[tn.Partition()], one.at, err)
			}
		})
	}
	for range 3 {
		r.add()
		r.life(journal.Nothing, func(journal.Tenure, *reading) {})
	}
	r.add()
	r.life(journal.Nothing, func(tn journal.Tenure, all *reading) {
		if one, err := reread(tn, -1); err != nil || one.at <= held[tn.Partition()] {
			t.Errorf("partition %d: what is held no more begins at %d: %v", tn.Partition(), one.at, err)
		}
	})
}

// pastEach is how many records each partition gets at a time.
const pastEach = 10

// A rereader reads pasts of a journal.
type rereader struct {
	t    *testing.T
	j    journal.Journal
	want [][]string
}

func (x *rereader) add() { fill(x.t, x.j, x.want, pastEach*len(x.want), "round") }

// reread gives what a past behind an offset has: where it begins, and what it reads.
func reread(tn journal.Tenure, after int64) (r reading, err error) {
	p, err := tn.(journal.Historian).Past(context.Background(), after)
	if err != nil {
		return r, err
	}
	defer p.Close()
	r.at = -1
	err = p.Load(context.Background(), func(offset int64, from io.Reader) error {
		b, err := io.ReadAll(from)
		r.snapshot, r.at = string(b), offset
		return err
	})
	if errors.Is(err, journal.ErrNoSnapshot) {
		err = nil
	}
	for end := false; err == nil && !end; {
		var b journal.Batch
		if b, err = p.Read(context.Background()); err == nil {
			err = r.add(tn, &b)
		}
		end = b.End
	}
	return r, err
}

// life folds all, looks, and saves and trims as a shard does.
func (x *rereader) life(hold int64, look func(tn journal.Tenure, all *reading)) {
	x.t.Helper()
	_, err := read(x.j, func(tn journal.Tenure, r *reading) error {
		past, is := tn.(journal.Historian)
		if !is {
			return errors.New("no Historian")
		}
		past.Hold(hold)
		look(tn, r)
		before := r.at
		if err := save(tn, lastOffset(r), "state"); err != nil || before < 0 {
			return err
		}
		return tn.Trim(context.Background(), before)
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// begins checks what a past behind an offset is.
func (x *rereader) begins(tn journal.Tenure, after, at int64, records int) {
	x.t.Helper()
	r, err := reread(tn, after)
	if err != nil || r.at != at || len(r.records) != records || at >= 0 && r.snapshot != "state" {
		x.t.Errorf("partition %d: the past behind %d is a snapshot at %d and %d records, not at %d and %d: %v", tn.Partition(), after, r.at, len(r.records), at, records, err)
	}
	if p := tn.Partition(); !slices.Equal(r.payloads(), x.want[p][len(x.want[p])-records:]) {
		x.t.Errorf("partition %d: %s", p, short(r.payloads()))
	}
}
