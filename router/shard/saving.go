package shard

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// sliceTime is for how long the fold stands still at a time for a snapshot that is being taken, and sliceBytes about what it looks at the clock after.
const (
	sliceTime  = 2 * time.Millisecond
	sliceBytes = 16 << 10
)

// pipeMost bounds what is encoded and not yet written, beside the runs that had to be encoded since a record changed them.
const pipeMost = 2 << 20

// A saving is a snapshot on its way: encoded here, a slice at a time between batches, and written beside the fold.
type saving struct {
	snapshot *engine.Snapshot
	pipe     *pipe
	took     time.Duration // of the fold
}

// saves are the snapshots of a shard: the offset of the last, -1 before any, and the one that is being written.
type saves struct {
	atomic.Int64
	work sync.WaitGroup
	// since is how many records were folded after the last, and at when it counted, in nanoseconds; 0 before any of this tenure. They are for people.
	since, at atomic.Int64
}

// spread is how many records of the first interval a partition leaves out, so that not all want their snapshots at once.
func spread(every, partition, of int) int { return every / max(of, 1) * partition }

// always is ready.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// ready says when the next slice may be encoded; never without a snapshot.
func (v *saving) ready() <-chan struct{} {
	switch {
	case v == nil:
		return nil
	case v.pipe.full():
		return v.pipe.room
	}
	return always
}

// wants says that a snapshot is due. One of this process is taken at a time: the shard waits for its turn.
func (s *Shard) wants() bool {
	return s.owned && s.saving == nil && (s.pressed || s.since >= s.set.SnapshotEvery)
}

// turn is the channel to send to for the turn to take a snapshot; nil while none is due.
func (s *Shard) turn() chan<- struct{} {
	if s.wants() {
		return s.set.saves
	}
	return nil
}

// beginSave takes the turn: the snapshot is of the state as it is now.
func (s *Shard) beginSave() {
	offset, before := s.last, s.saved.Load()
	s.since, s.pressed = 0, false
	s.saved.since.Store(0)
	if offset < 0 || offset == before {
		<-s.set.saves
		return
	}
	begin := time.Now()
	v := &saving{snapshot: s.state.Begin(), pipe: newPipe()}
	s.saving = v
	v.took = time.Since(begin)
	s.saved.work.Go(func() {
		defer func() { <-s.set.saves }()
		defer v.pipe.die()
		if err := s.save(s.ctx, offset, before, v.pipe.drain); err != nil && !errors.Is(err, journal.ErrFenced) && s.ctx.Err() == nil {
			s.log.Error("a snapshot failed; the next one is tried later", "error", err)
		}
	})
}

// saveOn encodes the next slice.
func (s *Shard) saveOn() {
	v := s.saving
	if v.pipe.died() {
		v.snapshot.Abandon()
		s.saving = nil
		return
	}
	begin, more := time.Now(), true
	var err error
	for more && err == nil && time.Since(begin) < sliceTime {
		more, err = v.snapshot.Next(sliceBytes)
		v.pipe.put(v.snapshot.Take(v.pipe.spare()))
		if v.pipe.full() {
			break
		}
	}
	v.took += time.Since(begin)
	if !more || err != nil {
		v.pipe.end(err)
		s.saving = nil
		s.set.metrics.snapshot.Observe(v.took.Seconds())
	}
}

// giveUpSave drops a snapshot that is being taken, and waits until nothing of it is under way.
func (s *Shard) giveUpSave() {
	if v := s.saving; v != nil {
		v.snapshot.Abandon()
		v.pipe.end(context.Canceled)
		s.saving = nil
	}
	s.saved.work.Wait()
}

// save writes a snapshot and, once it counts, lets the journal go what the one before covers.
func (s *Shard) save(ctx context.Context, offset, before int64, write func(io.Writer) error) error {
	if err := s.set.Ends.Flush(s.t.Partition(), offset); err != nil {
		return err
	}
	s.hold()
	if err := s.t.Save(ctx, offset, write, s.verify); err != nil {
		return err
	}
	s.saved.Store(offset)
	s.saved.at.Store(time.Now().UnixNano())
	if before < 0 {
		return nil
	}
	err := s.t.Trim(ctx, before)
	if err == nil {
		s.set.marks.covered(s.t.Partition(), before)
	}
	return err
}

// lastSave is the snapshot at the end of a tenure: nothing folds any more.
func (s *Shard) lastSave(ctx context.Context) error {
	offset, before := s.last, s.saved.Load()
	if offset < 0 || offset == before {
		return nil
	}
	s.set.saves <- struct{}{}
	defer func() { <-s.set.saves }()
	return s.save(ctx, offset, before, s.state.Save)
}

// A pipe has what was encoded until it is written.
type pipe struct {
	mu    sync.Mutex
	parts [][]byte
	size  int
	free  [][]byte // room of what was written
	ended bool     // nothing more will be put in
	dead  bool     // nothing more is taken out
	err   error
	some  chan struct{} // there is something to write, or it has ended
	room  chan struct{} // something was written
}

func newPipe() *pipe { return &pipe{some: make(chan struct{}, 1), room: make(chan struct{}, 1)} }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (p *pipe) put(b []byte) {
	if len(b) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.parts = append(p.parts, b)
	p.size += len(b)
	poke(p.some)
}

// spare is room that is free again; nil is none.
func (p *pipe) spare() (room []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		room, p.free = p.free[last], p.free[:last]
	}
	return room
}

func (p *pipe) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size >= pipeMost && !p.dead
}

func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.err = true, err
	poke(p.some)
}

// drain writes what is put in, until the end.
func (p *pipe) drain(w io.Writer) error {
	for {
		<-p.some
		p.mu.Lock()
		parts, ended, err := p.parts, p.ended, p.err
		p.parts, p.size = nil, 0
		p.mu.Unlock()
		poke(p.room)
		if err != nil {
			return err
		}
		for _, b := range parts {
			if _, err := w.Write(b); err != nil {
				return err
			}
			p.mu.Lock()
			p.free = append(p.free, b)
			p.mu.Unlock()
		}
		if ended {
			return nil
		}
	}
}

// die drops what is in and what comes: nobody writes it any more.
func (p *pipe) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead, p.parts, p.size = true, nil, 0
	poke(p.room)
}

func (p *pipe) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}
