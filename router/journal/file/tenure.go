package file

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// live takes durable records over and returns how many bytes wait for it.
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
	if len(q.present) == 0 {
		q.present = records
	} else {
		q.present = append(q.present, records...)
	}
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

// A past is what a tenure reads of the log as it was when it began, behind the snapshot that it loads.
type past struct {
	q         *queue
	life      int // of the queue
	partition int
	after     int64 // it begins after this offset; -1 is the log's begin
	end       int64 // and ends before this one
}

// A tenure is a period of owning a partition: from Own's call of fold to its return.
type tenure struct {
	j *Journal
	past
	snapshot *snapshotFile  // to load; nil is none
	reached  int64          // the last batch's Next
	err      error          // that Load returns
	rescan   func(p []past) // reads a past beside the fold

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
	scan := func(p []past) { wait.Go(func() { j.scan(ctx, p) }) }
	first := j.begin(scan, j.queues...)
	var folds sync.WaitGroup
	for p := range j.queues {
		folds.Go(func() { j.serve(ctx, cancel, first[p], fold) })
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

// serve runs the tenures of one partition.
func (j *Journal) serve(ctx context.Context, cancel context.CancelCauseFunc, t *tenure, fold func(context.Context, journal.Tenure) error) {
	for {
		err := fold(ctx, t)
		t.close()
		j.readBack(t.q.detach())
		if ctx.Err() != nil || err == nil {
			return
		}
		if errors.Is(err, journal.ErrDamaged) || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) || errors.Is(err, journal.ErrLost) {
			cancel(fmt.Errorf("partition %d: %w", t.partition, err))
			return
		}
		j.o.Log.Error("journal: a shard gave its partition up; it starts again", "partition", t.partition, "error", err)
		select {
		case <-time.After(j.o.Pause):
		case <-ctx.Done():
			return
		}
		t = j.begin(t.rescan, t.q)[0]
	}
}

// begin attaches queues at one point of the log, which parts their past from their present, chooses the snapshots to begin with, and has the past read.
func (j *Journal) begin(rescan func([]past), queues ...*queue) []*tenure {
	out, pasts := make([]*tenure, 0, len(queues)), make([]past, 0, len(queues))
	for _, q := range queues {
		t := &tenure{j: j, past: past{q: q, partition: slices.Index(j.queues, q), after: -1}, rescan: rescan}
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
		pasts = append(pasts, t.past)
	}
	rescan(pasts)
	return out
}

// choose takes the newest snapshot of which nothing bad is known.
func (t *tenure) choose() {
	t.j.manifestLock.Lock()
	defer t.j.manifestLock.Unlock()
	for _, s := range t.j.manifest.Snapshots[t.partition] {
		if !t.j.unreadable[s.Name] && t.from(&s) {
			return
		}
	}
	if !t.from(nil) {
		t.err = fmt.Errorf("%w: partition %d was trimmed at a snapshot that cannot be read; bring the folder back from a copy", journal.ErrLost, t.partition)
	}
}

// from places the tenure behind a snapshot, or at the log's start; false when records from there on are gone. The mark goes back with it, so that they
// stay. The manifest's lock is held.
func (t *tenure) from(s *snapshotFile) bool {
	m := t.j.manifest
	mark, after := int64(0), int64(-1)
	if s != nil {
		mark, after = s.Offset, s.Offset
	}
	if first, _ := placeOf(mark); max(first, firstSegment) < m.First {
		return false
	}
	m.Trims[t.partition] = min(m.Trims[t.partition], mark)
	t.snapshot, t.after = s, after
	return true
}

func (t *tenure) Partition() int { return t.partition }

func (t *tenure) Load(ctx context.Context, read func(int64, io.Reader) error) error {
	for {
		if t.err != nil {
			return t.err
		}
		if t.snapshot == nil {
			return journal.ErrNoSnapshot
		}
		err := t.j.loadSnapshot(t.snapshot, read)
		if err == nil || ctx.Err() != nil || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) {
			return err
		}
		t.j.o.Log.Error("journal: a snapshot cannot be used; what is before it is taken, and the records after that",
			"partition", t.partition, "offset", t.snapshot.Offset, "error", err)
		t.passOver()
	}
}

// passOver begins anew behind an older snapshot. The one that was chosen is none to fall back to any more.
func (t *tenure) passOver() {
	t.j.manifestLock.Lock()
	t.j.unreadable[t.snapshot.Name] = true
	t.j.manifestLock.Unlock()
	t.again()
}

// again chooses where to begin once more.
func (t *tenure) again() {
	t.j.readBack(t.q.detach())
	again := t.j.begin(t.rescan, t.q)[0]
	t.past, t.snapshot, t.err = again.past, again.snapshot, again.err
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

func (t *tenure) Save(ctx context.Context, offset int64, write func(io.Writer) error, verify func(io.Reader) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return journal.ErrFenced
	}
	return t.j.saveSnapshot(ctx, save{t.partition, offset, write, verify})
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
	if held, is := j.held(t.partition); is {
		offset = min(offset, held)
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
	return j.trimFiles()
}

// scan reads the log once for all the given pasts.
func (j *Journal) scan(ctx context.Context, pasts []past) {
	from, end := pasts[0].after, pasts[0].end
	by := make([]*past, j.layout.Partitions)
	for i := range pasts {
		p := &pasts[i]
		from = min(from, p.after)
		by[p.partition] = p
	}
	err := j.scanLog(ctx, by, from, end)
	for _, p := range pasts {
		p.q.finish(p.life, err)
	}
}

func (j *Journal) scanLog(ctx context.Context, by []*past, from, end int64) error {
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
func (j *Journal) scanSegment(ctx context.Context, by []*past, b []byte, segment uint64, isLast bool) error {
	batches := make([]journal.Batch, len(by))
	sizes := make([]int64, len(by))
	flush := func(p int) {
		if by[p] != nil && len(batches[p].Records)+len(batches[p].Parked) > 0 {
			by[p].q.offer(ctx, by[p].life, batches[p], sizes[p])
		}
		batches[p], sizes[p] = journal.Batch{}, 0
	}
	end, _, sealed := walk(b, segment, 0, func(pos int64, body []byte) {
		p := sort(by, batches, segment, pos, body)
		if sizes[p] += int64(len(body)); sizes[p] > pastLimit/8 {
			flush(p)
		}
	})
	for p := range batches {
		flush(p)
	}
	if sealed || isLast && end == int64(len(b)) {
		return ctx.Err()
	}
	d := Damage{segmentName(segment), end, int64(len(b)) - end, "no valid record, nor the segment's end", segment, noEnd}
	if next, ok := nextFrame(b, segment, end); ok {
		d = hole(segment, end, next)
	}
	return fmt.Errorf("%w; %s", d.err(), j.o.cure())
}

// sort puts a frame's record into its partition's batch, and returns the partition.
func sort(by []*past, batches []journal.Batch, segment uint64, pos int64, body []byte) int {
	offset := offsetOf(segment, pos)
	r, err := journal.DecodeRecord(body)
	p := r.Partition
	if p >= len(by) {
		p, err = 0, journal.ErrGarbage
	}
	switch {
	case by[p] == nil || offset <= by[p].after:
	case err == nil:
		r.Offset = offset
		batches[p].Records = append(batches[p].Records, r)
	case errors.Is(err, journal.ErrNewer), errors.Is(err, journal.ErrOlder):
		by[p].q.finish(by[p].life, newer(err))
	default:
		reason := "no record"
		if bytes, ok := lost(body); ok {
			reason = fmt.Sprintf("%d bytes of damage, passed over by onward journal repair", bytes)
		}
		batches[p].Parked = append(batches[p].Parked, journal.Parked{Offset: offset, Reason: reason, Bytes: body[:min(len(body), 1024)]})
	}
	return p
}
