package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// A queue has the records of one partition that its fold has not read: first those of the log as it was when the tenure began, then what came since.
type queue struct {
	mu       sync.Mutex
	attached bool
	life     int // which tenure it is attached for; what a former one's scan finds is not for this one
	past     []journal.Batch
	pastSize int64
	pastDone bool // no more of the past comes
	ended    bool // End was said
	present  []journal.Record
	size     int64
	pressed  int64 // the end of the log when a snapshot was wanted; 0 is none
	err      error
	wake     chan struct{}
	drained  chan struct{} // the past has room again
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// live adds durable records and returns how many bytes wait for it.
func (q *queue) live(records []journal.Record) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.attached {
		return 0
	}
	var n int64
	for i := range records {
		n += recordBytes(&records[i])
	}
	q.present = append(q.present, records...)
	q.size += n
	poke(q.wake)
	return n
}

// attach begins a tenure: from now on all that becomes durable is kept for it.
func (q *queue) attach() (life int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.life++
	q.attached, q.past, q.pastSize, q.pastDone, q.ended, q.pressed, q.err = true, nil, 0, false, false, 0, nil
	return q.life
}

// detach ends it, drops what was not read, and returns its size.
func (q *queue) detach() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := q.size
	q.attached, q.past, q.present, q.size = false, nil, nil, 0
	poke(q.drained)
	return size
}

const pastLimit = 4 << 20

// offer adds a piece of a tenure's past, and waits while much of it is unread; nothing when the tenure or its past is over.
func (q *queue) offer(ctx context.Context, life int, b journal.Batch, size int64) {
	for {
		q.mu.Lock()
		if !q.attached || q.life != life || q.pastDone {
			q.mu.Unlock()
			return
		}
		if q.pastSize < pastLimit {
			q.past = append(q.past, b)
			q.pastSize += size
			poke(q.wake)
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		select {
		case <-q.drained:
		case <-ctx.Done():
			return
		}
	}
}

// finish says that a tenure's past is over, by an error or at its end.
func (q *queue) finish(life int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.life != life {
		return
	}
	q.pastDone = true
	if q.err == nil {
		q.err = err
	}
	poke(q.wake)
}

// press asks the tenure for a snapshot at the end of the log, which is where live was called for last.
func (q *queue) press(end int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.attached {
		q.pressed = end
		poke(q.wake)
	}
}

// take returns what there is to read, and the bytes of the present that were taken; ok is false when there is nothing yet.
func (q *queue) take() (b journal.Batch, size int64, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.past) > 0 {
		b, q.past = q.past[0], q.past[1:]
		if len(q.past) == 0 {
			q.pastSize = 0
			poke(q.drained)
		}
		if len(q.past) == 0 && q.pastDone && q.err == nil {
			b.End, q.ended = true, true
		}
		return b, 0, true, nil
	}
	switch {
	case !q.pastDone:
		return b, 0, false, nil
	case q.err != nil:
		return b, 0, false, q.err
	case len(q.present) == 0 && q.ended && q.pressed > 0:
		b.Save, b.Next = true, q.pressed
		q.pressed = 0
		return b, 0, true, nil
	case len(q.present) == 0 && q.ended:
		return b, 0, false, nil
	}
	b.Records, b.End, size = q.present, true, q.size
	q.ended = true
	q.present, q.size = nil, 0
	return b, size, true, nil
}

// A tenure is a period of owning a partition: from Own's call of fold to its return.
type tenure struct {
	j         *Journal
	q         *queue
	life      int // of the queue
	partition int
	snapshot  *snapshotFile // to load; nil is none
	after     int64         // the past begins after this offset; -1 is the log's begin
	end       int64         // and ends before this one
	reached   int64         // the last batch's Next
	err       error         // that Load returns

	mu   sync.Mutex // held while it saves or trims
	over bool
}

// close ends the tenure once what it saves is saved.
func (t *tenure) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// Own folds all partitions. A fold that returns an error gets a new tenure after a pause; Own ends with the context, or with the log.
func (j *Journal) Own(ctx context.Context, fold func(context.Context, journal.Tenure) error) error {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return journal.ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-j.stopped:
			j.mu.Lock()
			defer j.mu.Unlock()
			cancel(j.fault)
		case <-ctx.Done():
		}
	})
	first := j.begin(j.queues)
	wait.Go(func() { j.scan(ctx, first) })
	var folds sync.WaitGroup
	for p := range j.queues {
		folds.Go(func() { j.serve(ctx, cancel, &wait, first[p], fold) })
	}
	folds.Wait()
	cause := context.Cause(ctx)
	cancel(nil)
	wait.Wait()
	if cause == nil || errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return nil
	}
	return cause
}

// serve runs the tenures of one partition; scans is waited for after all of them.
func (j *Journal) serve(
	ctx context.Context, cancel context.CancelCauseFunc, scans *sync.WaitGroup, t *tenure, fold func(context.Context, journal.Tenure) error,
) {
	for {
		err := fold(ctx, t)
		t.close()
		j.readBack(t.q.detach())
		if ctx.Err() != nil || err == nil {
			return
		}
		if errors.Is(err, journal.ErrDamaged) || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrLost) {
			cancel(fmt.Errorf("partition %d: %w", t.partition, err))
			return
		}
		j.o.Log.Error("journal: a shard gave its partition up; it starts again", "partition", t.partition, "error", err)
		select {
		case <-time.After(j.o.Pause):
		case <-ctx.Done():
			return
		}
		again := j.begin([]*queue{t.q})
		t = again[0]
		scans.Go(func() { j.scan(ctx, again) })
	}
}

// begin attaches queues at one point of the log, which parts their past from their present, and chooses the snapshots to begin with.
func (j *Journal) begin(queues []*queue) []*tenure {
	out := make([]*tenure, 0, len(queues))
	for _, q := range queues {
		t := &tenure{j: j, q: q, partition: slices.Index(j.queues, q), after: -1}
		t.choose()
		out = append(out, t)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range out {
		t.life = t.q.attach()
		t.end = j.durable
		if j.full {
			t.q.press(t.end)
		}
	}
	return out
}

// choose takes the newest snapshot that is whole.
func (t *tenure) choose() {
	t.j.manifestLock.Lock()
	saved := slices.Clone(t.j.manifest.Snapshots[t.partition])
	t.j.manifestLock.Unlock()
	for i := range saved {
		err := t.j.checkSnapshot(saved[i])
		if err == nil && t.begin(&saved[i]) {
			return
		}
		t.j.o.Log.Error("journal: a snapshot cannot be used; taking the one before", "partition", t.partition, "error", err)
	}
	if !t.begin(nil) {
		t.err = fmt.Errorf("%w: partition %d was trimmed at a snapshot that cannot be read; bring the folder back from a copy", journal.ErrLost, t.partition)
	}
}

// begin places the tenure behind a snapshot, or at the log's start; false when records from there on are gone. The mark goes back with it, so that
// they stay, and snapshots that were passed over are not kept as a fallback.
func (t *tenure) begin(s *snapshotFile) bool {
	m := t.j.manifest
	t.j.manifestLock.Lock()
	defer t.j.manifestLock.Unlock()
	mark, after := int64(0), int64(-1)
	if s != nil {
		mark, after = s.Offset, s.Offset
	}
	if first, _ := placeOf(mark); max(first, firstSegment) < m.First {
		return false
	}
	m.Trims[t.partition] = min(m.Trims[t.partition], mark)
	t.snapshot, t.after = s, after
	for _, newer := range m.Snapshots[t.partition] {
		if s != nil && newer == *s {
			break
		}
		t.j.unreadable[newer.Name] = true
	}
	return true
}

func (t *tenure) Partition() int { return t.partition }

func (t *tenure) Load(_ context.Context, read func(int64, io.Reader) error) error {
	if t.err != nil {
		return t.err
	}
	if t.snapshot == nil {
		return journal.ErrNoSnapshot
	}
	f, err := t.j.fs.Open(t.snapshot.Name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(t.snapshot.Offset, io.NewSectionReader(f, 0, t.snapshot.Size))
}

func (t *tenure) Read(ctx context.Context) (journal.Batch, error) {
	for {
		b, size, ok, err := t.q.take()
		if err != nil {
			return journal.Batch{}, err
		}
		if ok {
			if size > 0 {
				t.j.readBack(size)
			}
			if !b.Save {
				b.Next = t.next(&b)
			}
			// What came since a snapshot was wanted may have been read before it is asked for.
			t.reached = max(t.reached, b.Next)
			b.Next = t.reached
			return b, nil
		}
		select {
		case <-t.q.wake:
		case <-ctx.Done():
			return journal.Batch{}, context.Cause(ctx)
		}
	}
}

// next is the offset after the last place of a batch.
func (t *tenure) next(b *journal.Batch) int64 {
	next := int64(-1)
	if n := len(b.Records); n > 0 {
		next = b.Records[n-1].Offset + 1
	}
	if n := len(b.Parked); n > 0 {
		next = max(next, b.Parked[n-1].Offset+1)
	}
	if next < 0 {
		return t.end
	}
	return next
}

func (t *tenure) Save(_ context.Context, offset int64, write func(io.Writer) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return journal.ErrFenced
	}
	return t.j.saveSnapshot(t.partition, offset, write)
}

// Trim raises the partition's mark; the files go when all partitions' marks are beyond them.
func (t *tenure) Trim(_ context.Context, offset int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return journal.ErrFenced
	}
	j := t.j
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	m := j.manifest
	saved := m.Snapshots[t.partition]
	if len(saved) == 0 || offset > saved[0].Offset {
		return fmt.Errorf("journal: trim at %d is beyond the newest snapshot", offset)
	}
	if offset <= m.Trims[t.partition] {
		return nil
	}
	before, first := m.Trims[t.partition], m.First
	m.Trims[t.partition] = offset
	keep, _ := placeOf(slices.Min(m.Trims))
	m.First = max(m.First, keep)
	if m.First == first {
		// No file goes; the next manifest that is written has the mark.
		return nil
	}
	if err := j.writeManifest(); err != nil {
		m.Trims[t.partition], m.First = before, first
		return err
	}
	defer poke(j.segments.wanted)
	return j.segments.trim(m.First)
}

// scan reads the log once for all the given tenures.
func (j *Journal) scan(ctx context.Context, tenures []*tenure) {
	from, end := tenures[0].after, tenures[0].end
	by := make([]*tenure, j.layout.Partitions)
	for _, t := range tenures {
		from = min(from, t.after)
		by[t.partition] = t
	}
	err := j.scanLog(ctx, by, from, end)
	for _, t := range tenures {
		t.q.finish(t.life, err)
	}
}

func (j *Journal) scanLog(ctx context.Context, by []*tenure, from, end int64) error {
	j.manifestLock.Lock()
	segment := j.manifest.First
	j.manifestLock.Unlock()
	if from >= 0 {
		s, _ := placeOf(from)
		segment = max(segment, s)
	}
	last, limit := placeOf(end)
	for ; segment <= last; segment++ {
		size := int64(wholeSegment)
		if segment == last {
			if size = limit; size == 0 {
				break
			}
		}
		b, err := j.segments.read(segment, size)
		if err != nil {
			return err
		}
		if err := j.scanSegment(ctx, by, b, segment, segment == last); err != nil {
			return err
		}
	}
	return nil
}

// scanSegment hands a segment's records to the tenures they belong to.
func (j *Journal) scanSegment(ctx context.Context, by []*tenure, b []byte, segment uint64, isLast bool) error {
	batches := make([]journal.Batch, len(by))
	sizes := make([]int64, len(by))
	flush := func(p int) {
		if by[p] != nil && len(batches[p].Records)+len(batches[p].Parked) > 0 {
			by[p].q.offer(ctx, by[p].life, batches[p], sizes[p])
		}
		batches[p], sizes[p] = journal.Batch{}, 0
	}
	for pos := int64(0); ; {
		end, _, sealed := walk(b, segment, pos, func(pos int64, body []byte) {
			p := j.sort(by, batches, segment, pos, body)
			if sizes[p] += int64(len(body)); sizes[p] > pastLimit/8 {
				flush(p)
			}
		})
		if sealed || isLast && end == int64(len(b)) {
			break
		}
		next, ok := nextFrame(b, segment, end)
		if !j.o.Repair {
			return damage(segment, end, next)
		}
		reason := fmt.Sprintf("%s: no valid record at byte %d", segmentName(segment), end)
		batches[0].Parked = append(batches[0].Parked, journal.Parked{Offset: offsetOf(segment, end), Reason: reason})
		if !ok {
			break
		}
		pos = next
	}
	for p := range batches {
		flush(p)
	}
	return ctx.Err()
}

// sort puts a frame's record into its partition's batch, and returns the partition.
func (j *Journal) sort(by []*tenure, batches []journal.Batch, segment uint64, pos int64, body []byte) int {
	offset := offsetOf(segment, pos)
	r, err := journal.DecodeRecord(body)
	p := r.Partition
	if err != nil || p >= len(by) {
		if p >= len(by) {
			p = 0
		}
		if by[p] == nil || offset <= by[p].after {
			return p
		}
		if errors.Is(err, journal.ErrNewer) {
			by[p].q.finish(by[p].life, fmt.Errorf("%w: upgrade this router, or take the newer one back into service", err))
			return p
		}
		batches[p].Parked = append(batches[p].Parked, journal.Parked{Offset: offset, Reason: "no record", Bytes: body[:min(len(body), 1024)]})
		return p
	}
	if by[p] != nil && offset > by[p].after {
		r.Offset = offset
		batches[p].Records = append(batches[p].Records, r)
	}
	return p
}
