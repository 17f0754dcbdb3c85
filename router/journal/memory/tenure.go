package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// An owner is one router while its Own runs. The log's lock guards all but folds.
type owner struct {
	log    *log
	ctx    context.Context
	cancel context.CancelCauseFunc
	fold   func(context.Context, journal.Tenure) error
	folds  sync.WaitGroup
}

// Own takes the partitions that nobody has; those of another router come by Move, or when that one's Own ends.
func (j *Journal) Own(ctx context.Context, fold func(context.Context, journal.Tenure) error) error {
	l := j.log
	o := &owner{log: l, fold: fold}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	defer o.cancel(nil)
	l.mu.Lock()
	if j.closed || j.owner != nil {
		defer l.mu.Unlock()
		if j.closed {
			return journal.ErrClosed
		}
		return errors.New("journal: Own runs already; another router needs a journal of its own")
	}
	j.owner = o
	l.owners = append(l.owners, o)
	for _, p := range l.partitions {
		if p.tenure == nil {
			l.give(p, o)
		}
	}
	l.mu.Unlock()
	<-o.ctx.Done()
	o.leave()
	o.folds.Wait()
	l.mu.Lock()
	j.owner = nil
	l.mu.Unlock()
	if ctx.Err() == nil {
		return context.Cause(o.ctx)
	}
	return nil
}

// leave keeps partitions from an owner whose context has ended. Its own go to another owner as its folds return: until then they may save.
func (o *owner) leave() {
	l := o.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners = slices.DeleteFunc(l.owners, func(other *owner) bool { return other == o })
}

// Move ends the tenure of whoever owns a partition, and begins one of the router to; nil leaves the partition to nobody. Untold, the former owner
// goes on as before, a zombie, until a Save or Trim is refused. Its records are written in any case. A partition that to owns already stays as it is.
func (j *Journal) Move(partition int, to *Journal, told bool) error {
	l := j.log
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partitions[partition]
	if to != nil && (to.log != l || !slices.Contains(l.owners, to.owner)) {
		return fmt.Errorf("journal: partition %d moves to a router whose Own does not run", partition)
	}
	if former := p.tenure; former != nil {
		if to != nil && former.owner == to.owner {
			return nil
		}
		p.tenure = nil
		if told {
			former.cancel(journal.ErrFenced)
		}
	}
	if to != nil {
		l.give(p, to.owner)
	}
	return nil
}

// give begins a tenure. The partition is nobody's.
func (l *log) give(p *partition, o *owner) {
	t := &tenure{log: l, owner: o, p: p, position: p.trim, end: l.next, asked: p.saved() + 1, below: math.MaxInt64}
	t.ctx, t.cancel = context.WithCancelCause(o.ctx)
	p.tenure = t
	o.folds.Go(func() { o.serve(t) })
}

// serve runs a tenure, and begins the next one of a partition whose fold failed.
func (o *owner) serve(t *tenure) {
	err := o.fold(t.ctx, t)
	t.scribble()
	t.cancel(journal.ErrFenced)
	l := o.log
	if errors.Is(err, journal.ErrDamaged) || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) || errors.Is(err, journal.ErrLost) {
		o.cancel(fmt.Errorf("partition %d: %w", t.p.number, err))
	}
	l.mu.Lock()
	mine := t.p.tenure == t
	if mine {
		t.p.tenure = nil
	}
	if mine && o.ctx.Err() != nil {
		l.inherit(t.p)
	}
	l.mu.Unlock()
	if !mine || err == nil || o.ctx.Err() != nil {
		return
	}
	select {
	case <-time.After(l.o.Pause):
	case <-o.ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case t.p.tenure != nil:
	case o.ctx.Err() == nil && slices.Contains(l.owners, o):
		l.give(t.p, o)
	default:
		l.inherit(t.p)
	}
}

// inherit gives a partition that is nobody's to the owner who came first of those who stay.
func (l *log) inherit(p *partition) {
	for _, o := range l.owners {
		if o.ctx.Err() == nil {
			l.give(p, o)
			return
		}
	}
}

// A tenure is one period of owning a partition.
type tenure struct {
	log      *log
	owner    *owner
	p        *partition
	ctx      context.Context
	cancel   context.CancelCauseFunc
	position int64 // the offset of the last record read
	end      int64 // what was durable when the tenure began is before it
	ended    bool
	asked    int64 // how long the log was when a snapshot was asked for
	given    [][]byte
	below    int64 // snapshots from this offset on cannot be used
}

func (t *tenure) Partition() int { return t.p.number }

// saved is the newest snapshot's offset.
func (p *partition) saved() int64 {
	if len(p.snapshots) == 0 {
		return -1
	}
	return p.snapshots[0].offset
}

// after is the index of the first record behind an offset.
func (p *partition) after(offset int64) int {
	return sort.Search(len(p.records), func(i int) bool { return p.records[i].Offset > offset })
}

func (t *tenure) Load(ctx context.Context, read func(int64, io.Reader) error) error {
	for {
		s, err := t.choose()
		if err != nil {
			return err
		}
		t.position = s.offset
		err = read(s.offset, bytes.NewReader(s.bytes))
		if err == nil || ctx.Err() != nil || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) {
			return err
		}
		t.passOver(s.offset)
	}
}

// passOver takes a snapshot that cannot be used out of the choice.
func (t *tenure) passOver(offset int64) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.position, t.below = t.p.trim, offset
	for i := range t.p.snapshots {
		if t.p.snapshots[i].offset == offset {
			t.p.snapshots[i].passed = true
		}
	}
}

// choose takes the newest snapshot that can be read and behind which no record is forgotten.
func (t *tenure) choose() (snapshot, error) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if err := t.log.ask(Op{Act: Load, Partition: t.p.number}); err != nil {
		return snapshot{}, err
	}
	for _, s := range t.p.snapshots {
		if !s.damaged && s.offset >= t.p.trim && s.offset < t.below {
			return s, nil
		}
	}
	if t.p.trim >= 0 {
		return snapshot{}, fmt.Errorf("%w: partition %d", journal.ErrLost, t.p.number)
	}
	return snapshot{}, journal.ErrNoSnapshot
}

func (t *tenure) Read(ctx context.Context) (journal.Batch, error) {
	t.scribble()
	for {
		b, changed, err := t.batch()
		if err != nil || changed == nil {
			return b, err
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
			return b, context.Cause(t.ctx)
		case <-ctx.Done():
			return b, context.Cause(ctx)
		}
	}
}

// batch takes what there is to read; with nothing, it returns the channel that closes when there is.
func (t *tenure) batch() (b journal.Batch, changed <-chan struct{}, err error) {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := t.ctx.Err(); err != nil {
		return b, nil, context.Cause(t.ctx)
	}
	if t.position < t.p.trim {
		return b, nil, fmt.Errorf("%w: partition %d was trimmed beyond what this tenure has read", journal.ErrLost, t.p.number)
	}
	from := t.p.after(t.position)
	to := min(len(t.p.records), from+l.o.MaxBatch)
	if from < to {
		if err := l.ask(Op{Act: Read, Partition: t.p.number, Offset: t.p.records[from].Offset}); err != nil {
			return b, nil, err
		}
	}
	for _, r := range t.p.records[from:to] {
		c := own(&r.Record)
		t.given = append(t.given, c.Payload)
		t.position = r.Offset
		if r.damage != "" {
			b.Parked = append(b.Parked, journal.Parked{Offset: r.Offset, Reason: r.damage, Bytes: c.Payload[:min(len(c.Payload), 1024)]})
			continue
		}
		b.Records = append(b.Records, c)
	}
	b.Next = t.position + 1
	b.End = to == len(t.p.records) || t.p.records[to].Offset >= t.end
	quiet := from == to && t.ended
	if from == to {
		b.Next = l.next
	}
	t.ended = t.ended || b.End
	if !quiet {
		return b, nil, nil
	}
	if l.o.SaveEvery > 0 && l.next-t.p.saved()-1 >= l.o.SaveEvery && l.next-t.asked >= l.o.SaveEvery {
		t.asked = l.next
		return journal.Batch{Save: true, Next: l.next}, nil, nil
	}
	return journal.Batch{}, t.p.changed, nil
}

// scribble makes what the last Read returned unusable, as the contract allows.
func (t *tenure) scribble() {
	for _, b := range t.given {
		for i := range b {
			b[i] = 0xDB
		}
	}
	t.given = t.given[:0]
}

func (t *tenure) Save(_ context.Context, offset int64, write func(io.Writer) error, verify func(io.Reader) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if err := journal.Verify(bytes.NewReader(b.Bytes()), verify); err != nil {
		return fmt.Errorf("journal: the snapshot cannot be read back: %w", err)
	}
	return t.act(Op{Act: Save, Partition: t.p.number, Offset: offset}, func() error {
		kept := []snapshot{{offset: offset, bytes: b.Bytes()}}
		i := slices.IndexFunc(t.p.snapshots, func(s snapshot) bool { return !s.damaged && !s.passed })
		if held, is := t.p.held(); is {
			if of := slices.IndexFunc(t.p.snapshots, func(s snapshot) bool { return s.offset == held && !s.damaged && !s.passed }); of >= 0 {
				i = of
			}
		}
		if i >= 0 {
			kept = append(kept, t.p.snapshots[i])
		}
		t.p.snapshots = kept
		return nil
	})
}

func (t *tenure) Trim(_ context.Context, offset int64) error {
	return t.act(Op{Act: Trim, Partition: t.p.number, Offset: offset}, func() error {
		if offset > t.p.saved() {
			return fmt.Errorf("journal: trim at %d is beyond the newest snapshot", offset)
		}
		if held, is := t.p.held(); is {
			offset = min(offset, held)
		}
		t.p.trim = max(t.p.trim, offset)
		t.p.records = slices.Delete(t.p.records, 0, t.p.after(t.p.trim))
		return nil
	})
}

// act does what only the partition's owner may. A former one learns that it is.
func (t *tenure) act(op Op, do func() error) error {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.p.tenure != t {
		t.cancel(journal.ErrFenced)
		return journal.ErrFenced
	}
	err := t.log.ask(op)
	if err == nil || errors.Is(err, ErrAckLost) {
		err = errors.Join(do(), err)
	}
	return err
}
