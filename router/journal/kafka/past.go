package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/onward-router/onward/router/journal"
)

// Hold keeps both topics from being trimmed.
func (t *tenure) Hold(after int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = after != journal.Nothing
}

// A rereading is a past of a partition: a tenure that only reads.
type rereading struct {
	tenure
	from int64
}

// Past begins one.
func (t *tenure) Past(_ context.Context, after int64) (journal.Past, error) {
	return &rereading{tenure: tenure{j: t.j, h: t.h, mark: -1, past: true}, from: after}, nil
}

// Load gives a snapshot of the cluster's; one that cannot be used is passed over. Those on this machine are of the newest only.
func (r *rereading) Load(ctx context.Context, read func(int64, io.Reader) error) error {
	p := r.Partition()
	first, last, err := r.j.o.Client.Range(ctx, r.j.topics.Snapshots, p)
	if err != nil {
		return err
	}
	all, err := r.j.scanSnapshots(ctx, p, first, last)
	if err != nil {
		return err
	}
	for {
		begin, end, err := r.j.o.Client.Range(ctx, r.j.topics.Journal, p)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(s place) bool { return s.Offset+1 < begin || s.Offset >= end })
		offsets := make([]int64, len(all))
		for i := range all {
			offsets[i] = all[i].Offset
		}
		i, ok := journal.Beginning(offsets, begin == 0, r.from)
		if !ok {
			return fmt.Errorf("%w: the log of partition %d begins at %d, and topic %q has no snapshot there", journal.ErrLost, p, begin, r.j.topics.Snapshots)
		}
		if i < 0 {
			r.at = 0
			return journal.ErrNoSnapshot
		}
		r.at = all[i].Offset + 1
		err = r.j.readSnapshot(ctx, p, all[i], read)
		if err == nil || ctx.Err() != nil || r.h.ctx.Err() != nil || errors.Is(err, errFetch) || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) {
			return err
		}
		r.j.o.Log.Error("journal: a snapshot cannot be used", "partition", p, "offset", all[i].Offset, "error", err)
		all = slices.Delete(all, i, i+1)
	}
}

// Close ends it.
func (r *rereading) Close() { r.end() }
