// Package memory is a journal in memory, with faults by predicate, for tests and for the simulator.
//
// Several routers share one log: Peer gives another one's Journal, and Move takes a partition from its owner, who need not learn of it at once. What a
// Read returned is overwritten by the next one, so that a reader who keeps a payload too long is found out.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// Options of a log. The zero value is fit to use.
type Options struct {
	Partitions int              // default 16
	Key        [32]byte         // of the layout; run ids follow from it
	Now        func() time.Time // record time, as it is: it may go back; default time.Now
	// MaxPayload is the size in bytes up to which payloads are taken. Default 64 MiB.
	MaxPayload int
	// MaxBatch is how many records a Read returns at most. Default 1024.
	MaxBatch int
	// SaveEvery is how many records the log, all partitions together, grows beyond a partition's snapshot before the partition is asked for the next
	// one. 0 is never.
	SaveEvery int64
	// Pause is how long a partition whose fold failed rests before its next tenure. Default 1 ms.
	Pause time.Duration
}

// An Act is what a fault is injected into.
type Act uint8

// The acts.
const (
	Append Act = iota + 1 // a record is written
	Read                  // a batch is read
	Load                  // a snapshot is loaded
	Save                  // a snapshot is saved
	Trim                  // a partition's records are forgotten
)

// An Op is one act that is about to happen. Offset is a Save's or Trim's; Record is an Append's, and is not to be changed or kept.
type Op struct {
	Act       Act
	Partition int
	Offset    int64
	Record    *journal.Record
}

// A Fault decides whether an act fails: nil lets it pass. It is called under the log's lock, so it must be quick and call nothing of the log.
type Fault func(Op) error

// A fault that is (errors.Is) one of these does not prevent the act.
var (
	// ErrAckLost lets the act happen and loses the answer.
	ErrAckLost = errors.New("memory: the act happened, and its answer was lost")
	// ErrLate lets an Append happen later: with the partition's next one, before it. Other acts it prevents.
	ErrLate = errors.New("memory: the record is written later than its answer")
)

// log is what the routers share.
type log struct {
	o      Options
	layout journal.Layout

	mu         sync.Mutex
	partitions []*partition
	next       int64    // the next record's offset: one sequence for all partitions, so that a partition's own has gaps
	owners     []*owner // in the order in which they came
	fault      Fault
	full       bool
}

// A partition is one ordered part of the log. The log's lock guards it.
type partition struct {
	number    int
	records   []stored
	late      []journal.Record
	trim      int64      // all up to here is forgotten; -1 is nothing
	snapshots []snapshot // newest first, two at most
	tenure    *tenure    // the current owner's; nil is nobody's
	changed   chan struct{}
	hold      int64 // what a past behind this offset reads is kept
}

// A stored record is the log's own copy. A damaged one is read as parked.
type stored struct {
	journal.Record
	damage string
}

type snapshot struct {
	offset  int64
	bytes   []byte
	damaged bool
	passed  bool // a reader could not use it: it is none to fall back to
}

// A Journal is one router's door to the log.
type Journal struct {
	log    *log
	owner  *owner // while Own runs
	closed bool
}

var (
	_ journal.Journal = (*Journal)(nil)
	_ journal.Sized   = (*Journal)(nil)
)

// New makes an empty log, and the first router's journal.
func New(o Options) *Journal {
	if o.Partitions == 0 {
		o.Partitions = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 64 << 20
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 1024
	}
	if o.Pause == 0 {
		o.Pause = time.Millisecond
	}
	l := &log{o: o, layout: journal.Layout{Version: 1, Partitions: o.Partitions, Hash: "hmac-sha256", Key: o.Key}}
	for p := range o.Partitions {
		l.partitions = append(l.partitions, &partition{number: p, trim: -1, hold: journal.Nothing, changed: make(chan struct{})})
	}
	return &Journal{log: l}
}

// Peer returns another router's journal on the same log, also after Close: that is the router's next life.
func (j *Journal) Peer() *Journal { return &Journal{log: j.log} }

// Layout returns the log's layout.
func (j *Journal) Layout() journal.Layout { return j.log.layout }

// MaxPayload returns the size in bytes up to which payloads are taken.
func (j *Journal) MaxPayload() int { return j.log.o.MaxPayload }

// Inject puts a fault into all that the log's routers do from now on; nil takes it out.
func (j *Journal) Inject(f Fault) {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	j.log.fault = f
}

// Fill makes the log refuse records that may be refused, or take them again.
func (j *Journal) Fill(full bool) {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	j.log.full = full
}

// Full says that records are refused that may be.
func (j *Journal) Full() error {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	if j.log.full {
		return journal.ErrFull
	}
	return nil
}

// Damage makes a record unreadable: it is read as parked. False: there is no such record.
func (j *Journal) Damage(partition int, offset int64, reason string) bool {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	p := j.log.partitions[partition]
	if i := p.after(offset - 1); i < len(p.records) && p.records[i].Offset == offset {
		p.records[i].damage = reason
		return true
	}
	return false
}

// DamageSnapshot makes the newest snapshot of a partition unreadable. False: there is none.
func (j *Journal) DamageSnapshot(partition int) bool {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	saved := j.log.partitions[partition].snapshots
	if len(saved) == 0 {
		return false
	}
	saved[0].damaged = true
	return true
}

// Append writes the records. A fault at a record keeps it and those of its partition behind it out; other partitions are written all the same.
func (j *Journal) Append(ctx context.Context, records []journal.Record) error {
	l := j.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.closed {
		return journal.ErrClosed
	}
	for i := range records {
		if err := l.check(&records[i]); err != nil {
			return err
		}
	}
	var first error
	broken := make(map[int]error)
	for i := range records {
		r := &records[i]
		err := broken[r.Partition]
		if err == nil {
			err = l.ask(Op{Act: Append, Partition: r.Partition, Record: r})
		}
		if first == nil {
			first = err
		}
		switch {
		case errors.Is(err, ErrLate):
			broken[r.Partition] = err
			l.partitions[r.Partition].late = append(l.partitions[r.Partition].late, own(r))
		case err == nil || errors.Is(err, ErrAckLost):
			l.write(r)
		default:
			broken[r.Partition] = err
		}
	}
	return first
}

// check refuses what cannot be written, before anything is.
func (l *log) check(r *journal.Record) error {
	switch _, known := journal.Of(r.Kind); {
	case r.Partition < 0 || r.Partition >= len(l.partitions):
		return fmt.Errorf("journal: partition %d of %d", r.Partition, len(l.partitions))
	case !known:
		return fmt.Errorf("journal: record of unknown kind %d", r.Kind)
	case len(r.Payload) > l.o.MaxPayload:
		return fmt.Errorf("%w: a payload of %d bytes; at most %d are taken", journal.ErrTooLarge, len(r.Payload), l.o.MaxPayload)
	case l.full && r.Refusable():
		return journal.ErrFull
	}
	return nil
}

func (l *log) ask(op Op) error {
	if l.fault == nil {
		return nil
	}
	return l.fault(op)
}

func own(r *journal.Record) journal.Record {
	c := *r
	c.Payload = append([]byte{}, r.Payload...)
	return c
}

// write appends a record, behind those that were late.
func (l *log) write(r *journal.Record) {
	p := l.partitions[r.Partition]
	for _, c := range append(p.late, own(r)) {
		c.Offset, c.Time = l.next, l.o.Now().Round(0).UTC()
		l.next++
		p.records = append(p.records, stored{Record: c})
	}
	p.late = nil
	close(p.changed)
	p.changed = make(chan struct{})
	if l.o.SaveEvery > 0 {
		l.press()
	}
}

// press wakes the readers that are to be asked for a snapshot.
func (l *log) press() {
	for _, p := range l.partitions {
		if t := p.tenure; t != nil && l.next-p.saved()-1 >= l.o.SaveEvery && l.next-t.asked >= l.o.SaveEvery {
			close(p.changed)
			p.changed = make(chan struct{})
		}
	}
}

// Close ends this router's use of the log.
func (j *Journal) Close() error {
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	if j.owner != nil {
		return errors.New("journal: closed while Own runs; end its context first")
	}
	j.closed = true
	return nil
}
