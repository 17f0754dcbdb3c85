package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/onward-router/onward/router/journal"
)

// Hold keeps what a past reads.
func (t *tenure) Hold(after int64) {
	t.j.manifestLock.Lock()
	defer t.j.manifestLock.Unlock()
	if t.j.holds[t.partition] = after; after == journal.Nothing {
		delete(t.j.holds, t.partition)
	}
}

// beginning is where a past of a partition behind an offset begins: a snapshot, or nil for the log's start. The manifest's lock is held.
func (j *Journal) beginning(partition int, after int64) (s *snapshotFile, ok bool) {
	all := slices.DeleteFunc(slices.Clone(j.manifest.Snapshots[partition]), func(s snapshotFile) bool { return j.unreadable[s.Name] })
	offsets := make([]int64, len(all))
	for i := range all {
		offsets[i] = all[i].Offset
	}
	i, ok := journal.Beginning(offsets, j.manifest.Trims[partition] == 0 && j.manifest.First == firstSegment, after)
	if i < 0 {
		return nil, ok
	}
	return &all[i], true
}

// held is the offset up to which a partition may be trimmed, where somebody holds its past; on a disk that is nearly full nobody does. The manifest's lock
// is held.
func (j *Journal) held(partition int) (offset int64, is bool) {
	after, is := j.holds[partition]
	j.mu.Lock()
	full := j.full || j.short
	j.mu.Unlock()
	if !is || full {
		return 0, false
	}
	s, ok := j.beginning(partition, after)
	if s != nil {
		return s.Offset, true
	}
	return 0, ok
}

// spare is which of a partition's former snapshots stays beside a new one, to fall back to: the newest, or the one that a past begins with. The manifest's
// lock is held.
func (j *Journal) spare(partition int) (s snapshotFile, is bool) {
	had := j.manifest.Snapshots[partition]
	if at, held := j.held(partition); held && at > 0 {
		if i := slices.IndexFunc(had, func(f snapshotFile) bool { return f.Offset == at && !j.unreadable[f.Name] }); i >= 0 {
			return had[i], true
		}
	}
	if i := slices.IndexFunc(had, func(f snapshotFile) bool { return !j.unreadable[f.Name] }); i >= 0 {
		return had[i], true
	}
	return s, false
}

// A rereading is a past of a partition: a queue that only a scan fills.
type rereading struct {
	tenure
	from    int64 // what is wanted lies behind
	stop    context.CancelFunc
	scanned sync.WaitGroup
}

// Past begins one. The log is read once its snapshot is.
func (t *tenure) Past(_ context.Context, after int64) (journal.Past, error) {
	return &rereading{tenure: tenure{j: t.j, past: past{q: newQueue(), partition: t.partition}}, from: after, stop: func() {}}, nil
}

// Load gives the snapshot; one that cannot be used is passed over.
func (r *rereading) Load(ctx context.Context, read func(int64, io.Reader) error) error {
	for {
		r.j.manifestLock.Lock()
		s, ok := r.j.beginning(r.partition, r.from)
		r.j.manifestLock.Unlock()
		if !ok {
			return fmt.Errorf("%w: partition %d has neither a snapshot that can be read nor its log's start", journal.ErrLost, r.partition)
		}
		if s == nil {
			r.scanFrom(ctx, -1)
			return journal.ErrNoSnapshot
		}
		err := r.j.loadSnapshot(s, read)
		if err == nil {
			r.scanFrom(ctx, s.Offset)
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) {
			return err
		}
		r.j.o.Log.Error("journal: a snapshot cannot be used", "partition", r.partition, "offset", s.Offset, "error", err)
		r.j.manifestLock.Lock()
		r.j.unreadable[s.Name] = true
		r.j.manifestLock.Unlock()
	}
}

func (r *rereading) scanFrom(ctx context.Context, after int64) {
	ctx, r.stop = context.WithCancel(ctx)
	r.after, r.life = after, r.q.attach()
	r.j.mu.Lock()
	r.end = r.j.durable
	r.j.mu.Unlock()
	r.scanned.Go(func() { r.j.scan(ctx, []past{r.past}) })
}

// Close ends it.
func (r *rereading) Close() {
	r.stop()
	r.q.detach()
	r.scanned.Wait()
}
