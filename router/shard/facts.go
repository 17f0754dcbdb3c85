package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// facts are the records that a shard has to append: all that gather while one append is under way go with the next. What was accepted of one run
// meanwhile is one record: it stands where the first of it does, which is earlier than it need.
type facts struct {
	mu        sync.Mutex
	pending   []journal.Record
	accepted  map[journal.RunID]*acceptance
	lingering bool // what was accepted waits for company
	wake      chan struct{}
}

// acceptedLinger is how long what was accepted waits for company: nobody waits for it, and only what a successor finds unsaid is sent again.
const acceptedLinger = 5 * time.Millisecond

// lastWords bounds the append of what is left at the end of a tenure.
const lastWords = 2 * time.Second

// An acceptance is a record to be whose payload is written when the pending records are taken.
type acceptance struct {
	at      int // in pending
	numbers []uint32
	tickets []string // of them; nil: none has one
}

// acceptedMost bounds the numbers of one record.
const acceptedMost = 4096

// take returns the pending records, and keeps spare for the next.
func (f *facts) take(spare []journal.Record) []journal.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	records := f.pending
	for _, a := range f.accepted {
		a.write(records)
	}
	clear(f.accepted)
	f.pending, f.lingering = spare[:0], false
	return records
}

func (a *acceptance) add(n uint32, ticket string) {
	if ticket != "" {
		a.tickets = append(append(a.tickets, make([]string, len(a.numbers)-len(a.tickets))...), ticket)
	}
	a.numbers = append(a.numbers, n)
}

func (a *acceptance) write(records []journal.Record) {
	fact := engine.AcceptedFact{Numbers: a.numbers}
	if a.tickets != nil {
		fact.Tickets = append(a.tickets, make([]string, len(a.numbers)-len(a.tickets))...)
	}
	records[a.at].Payload = fact.Append(nil)
}

// Context ends with the tenure.
func (s *Shard) Context() context.Context { return s.ctx }

// Write appends a record soon. Owner's records get the epoch.
func (s *Shard) Write(rec journal.Record) {
	rec = s.stamped(rec)
	s.facts.mu.Lock()
	s.facts.pending = append(s.facts.pending, rec)
	s.facts.mu.Unlock()
	s.awake()
}

// stamped gives a record its partition, and an owner's record the epoch.
func (s *Shard) stamped(rec journal.Record) journal.Record {
	rec.Partition = s.t.Partition()
	if row, ok := journal.Of(rec.Kind); ok && row.Fenced && rec.Epoch == 0 {
		rec.Epoch = s.epoch.Load()
	}
	return rec
}

// awake lets the appender look.
func (s *Shard) awake() {
	select {
	case s.facts.wake <- struct{}{}:
	default:
	}
}

// append is the shard's one appender. An error ends the tenure: what was not appended is made again by the next one.
func (s *Shard) append(cancel context.CancelFunc) {
	var spare []journal.Record
	ctx := context.WithoutCancel(s.ctx)
	for last := false; !last; {
		select {
		case <-s.facts.wake:
		case <-s.ctx.Done():
			last = true
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, lastWords)
			defer stop()
		}
		records := s.facts.take(spare)
		if len(records) == 0 {
			spare = records
			continue
		}
		err := journal.AppendEach(ctx, s.set.Journal, records, func(i int, reason error) (journal.Record, bool) { return s.smaller(&records[i], reason) })
		if err != nil {
			if s.ctx.Err() == nil && !errors.Is(err, journal.ErrClosed) {
				s.log.Error("what happened cannot be journaled; the partition is given up", "error", err)
			}
			cancel()
			return
		}
		clear(records)
		spare = records
	}
}

// smaller stands in for a record that the journal does not take: its run hears a small failure. What nothing can stand in for is left out, and kept for people.
func (s *Shard) smaller(rec *journal.Record, reason error) (journal.Record, bool) {
	s.set.metrics.tooLarge.Inc()
	small, ok := engine.Smaller(rec)
	if ok {
		s.log.Error("the journal does not take a record; a failure stands in for it", "kind", rec.Kind, "run", rec.Run, "bytes", len(rec.Payload), "error", reason)
		return small, true
	}
	s.log.Error("the journal does not take a record, and nothing can stand in for it: it is left out", "kind", rec.Kind, "run", rec.Run, "bytes", len(rec.Payload), "error", reason)
	s.park(triggers.Parked{
		Source: "the journal", Place: fmt.Sprintf("%d/%s of run %s", s.t.Partition(), rec.Kind, rec.Run), Reason: reason.Error(), Time: s.set.Now(),
		Bytes: bytes.Clone(rec.Payload[:min(len(rec.Payload), 1024)]),
	})
	return small, false
}

// Now is the fold's time, as far as this machine can tell. Only the shard's own loop may ask.
func (s *Shard) Now() time.Time { return s.clock.time() }

// Accepted writes down that an invocation or event has arrived, with what else of its run arrives before the next append, and with its ticket. That is not kept
// waiting: until it is durable, a successor would start the call again.
func (s *Shard) Accepted(inv *engine.Invocation, ticket string) {
	f := &s.facts
	f.mu.Lock()
	defer f.mu.Unlock()
	if ticket != "" {
		defer s.awake()
	}
	if a := f.accepted[inv.Run]; a != nil && len(a.numbers) < acceptedMost {
		a.add(inv.N, ticket)
		return
	} else if a != nil {
		a.write(f.pending)
	}
	if f.accepted == nil {
		f.accepted = make(map[journal.RunID]*acceptance)
	}
	a := &acceptance{at: len(f.pending)}
	a.add(inv.N, ticket)
	f.accepted[inv.Run] = a
	f.pending = append(f.pending, s.stamped(engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{})))
	if !f.lingering && ticket == "" {
		f.lingering = true
		time.AfterFunc(acceptedLinger, s.awake)
	}
}
