package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"

	"github.com/onward-router/onward/router/journal"
)

// Hold keeps what a past reads.
func (t *tenure) Hold(after int64) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.p.hold = after
}

// beginning is the snapshot that a past behind an offset begins with; nil is the log's start. The log's lock is held.
func (p *partition) beginning(after int64) (s *snapshot, ok bool) {
	var usable []*snapshot
	var offsets []int64
	for i := range p.snapshots {
		if s := &p.snapshots[i]; !s.damaged && !s.passed {
			usable, offsets = append(usable, s), append(offsets, s.offset)
		}
	}
	i, ok := journal.Beginning(offsets, p.trim < 0, after)
	if i < 0 {
		return nil, ok
	}
	return usable[i], true
}

// held is the offset up to which the partition may be trimmed, where somebody holds its past. The log's lock is held.
func (p *partition) held() (offset int64, is bool) {
	if p.hold == journal.Nothing {
		return 0, false
	}
	s, ok := p.beginning(p.hold)
	if s != nil {
		return s.offset, true
	}
	return -1, ok
}

// A rereading is a past of a partition.
type rereading struct {
	tenure
	from int64
}

// Past begins one.
func (t *tenure) Past(ctx context.Context, after int64) (journal.Past, error) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	r := &rereading{tenure: tenure{log: t.log, owner: t.owner, p: t.p, end: t.log.next, asked: math.MaxInt64, below: math.MaxInt64}, from: after}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	return r, nil
}

// Load gives its snapshot.
func (r *rereading) Load(_ context.Context, read func(int64, io.Reader) error) error {
	r.log.mu.Lock()
	s, ok := r.p.beginning(r.from)
	r.log.mu.Unlock()
	switch {
	case !ok:
		return fmt.Errorf("%w: partition %d", journal.ErrLost, r.p.number)
	case s == nil:
		r.position = -1
		return journal.ErrNoSnapshot
	}
	r.position = s.offset
	return read(s.offset, bytes.NewReader(s.bytes))
}

// Close ends it.
func (r *rereading) Close() { r.cancel(nil) }
