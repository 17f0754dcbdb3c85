package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// What the history lacks is folded again beside the folds, one partition at a time, and for no more than a part of the time: after a turn of fillTurn the
// filler rests fillRest times as long, and fillBusy times while the folds have work.
const (
	fillLook = 250 * time.Millisecond
	fillTurn = time.Millisecond
	fillRest = 4
	fillBusy = 9
	fillSkip = 16 // records that are passed over, for what they do to the fold, before a part is given up
	fillFail = 10 * time.Second
)

// Filling says of how many partitions that are here the history lacks a part that the journal may have.
func (set *Set) Filling() (partitions int) {
	for p := range set.shards {
		if s := set.servingAt(p); s != nil {
			if _, _, lacks := set.Ends.Lacks(p); lacks {
				partitions++
			}
		}
	}
	return partitions
}

func (set *Set) servingAt(p int) *Shard {
	set.mu.Lock()
	defer set.mu.Unlock()
	if s := set.shards[p]; s != nil && s.serving {
		return s
	}
	return nil
}

// Fill brings the history what it lacks, as far as the journal reaches, until ctx ends. Nobody waits for it.
func (set *Set) Fill(ctx context.Context) {
	tick := time.NewTicker(fillLook)
	defer tick.Stop()
	rests := make([]time.Time, len(set.shards)) // of partitions that failed
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began, records, parts := time.Now(), set.refolded, 0
		for p := range set.shards {
			for ctx.Err() == nil && time.Now().After(rests[p]) {
				did, err := set.fillOne(ctx, p)
				if err != nil && ctx.Err() == nil {
					rests[p] = time.Now().Add(fillFail)
					set.Log.Warn("a part of the history cannot be filled again from the journal now; it is tried later", "partition", p, "error", err)
				}
				if !did || err != nil {
					break
				}
				parts++
			}
		}
		if parts > 0 {
			set.Log.Info("the history was filled again from the journal, as far as that reaches", "parts", parts, "records", set.refolded-records, "took", time.Since(began).Round(time.Millisecond))
		}
	}
}

// A refold is a second fold of a part of a partition, for the history's sake: what it decides is known.
type refold struct {
	s           *Shard
	ctx         context.Context
	after, upto int64
	skip        map[int64]bool // records that were passed over
	state       *engine.State
	effects     engine.Effects
	n           int
	turn        time.Time
	folded      int64 // how far the folds were
}

// folded grows with what the folds have read.
func (set *Set) folded() (sum int64) {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, s := range set.shards {
		if s != nil {
			sum += s.next.Load()
		}
	}
	return sum
}

// errPassed says that the fold is to begin again, without a record.
var errPassed = errors.New("a record is passed over")

// fillOne fills the first part that is lacking of a partition. False: there is none, or nobody to bring it.
func (set *Set) fillOne(ctx context.Context, p int) (did bool, err error) {
	s := set.servingAt(p)
	after, upto, lacks := set.Ends.Lacks(p)
	if s == nil || !lacks {
		return false, nil
	}
	t, ok := s.t.(journal.Historian)
	if !ok {
		set.Ends.Filled(p, upto, true)
		return true, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	r := &refold{s: s, ctx: ctx, after: after, upto: upto, skip: make(map[int64]bool)}
	for err = errPassed; errors.Is(err, errPassed) && len(r.skip) <= fillSkip; {
		err = r.fold(t)
	}
	if errors.Is(err, errPassed) || errors.Is(err, journal.ErrLost) {
		s.log.Error("a part of the history cannot be filled again", "behind", after, "up to", upto, "error", err)
		set.Ends.Filled(p, upto, true)
		return true, nil
	}
	return true, err
}

// fold folds the part, from where the journal begins it.
func (r *refold) fold(t journal.Historian) error {
	past, err := t.Past(r.ctx, r.after)
	if err != nil {
		return err
	}
	defer past.Close()
	set, p := r.s.set, r.s.t.Partition()
	r.state = engine.New(set.Registry, nil)
	from := int64(-1)
	err = past.Load(r.ctx, func(offset int64, b io.Reader) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("reading it died: %v", p)
			}
		}()
		r.state, from = engine.New(set.Registry, nil), offset
		return r.state.Load(b)
	})
	if err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
		return err
	}
	if from > r.after {
		r.s.log.Info("the journal does not reach to where the history lacks something", "behind", r.after, "reaches", from)
		set.Ends.Filled(p, min(from, r.upto), true)
	}
	r.turn = time.Now()
	for from < r.upto {
		b, err := past.Read(r.ctx)
		if err != nil {
			return err
		}
		for i := range b.Records {
			if b.Records[i].Offset > r.upto {
				break
			}
			if err := r.take(&b.Records[i]); err != nil {
				return err
			}
		}
		if from = b.Next - 1; b.End {
			break
		}
	}
	set.Ends.Filled(p, r.upto, false)
	return nil
}

// take folds a record, and tells what it did.
func (r *refold) take(rec *journal.Record) error {
	s, p := r.s, r.s.t.Partition()
	if r.skip[rec.Offset] || s.set.marks.skips(p, rec.Offset) || s.set.marks.kills(p, rec.Offset) {
		return nil
	}
	reason, err := r.one(rec)
	if err != nil {
		return err
	}
	if f, bad := engine.DecodeSkip(rec.Payload); rec.Kind == journal.Skip && bad == nil && reason != engine.Stale && !r.skip[f.Offset] && !s.set.marks.skips(p, f.Offset) {
		r.skip[f.Offset] = true // Its owner could not fold it, or would not.
		return errPassed
	}
	if rec.Offset > r.after {
		if err := r.tell(rec, reason); err != nil {
			return err
		}
		r.after = rec.Offset
		s.set.refolded++
		s.set.metrics.filled.Inc()
	}
	return r.rest()
}

// one folds a record. One on which it dies is passed over.
func (r *refold) one(rec *journal.Record) (reason engine.Reason, err error) {
	marks, p := r.s.set.marks, r.s.t.Partition()
	defer func() {
		if died := recover(); died != nil {
			r.s.log.Error("the fold that fills the history died on a record, which it passes over", "offset", rec.Offset, "kind", rec.Kind, "run", rec.Run, "panic", died, "stack", string(debug.Stack()))
			r.skip[rec.Offset] = true
			err = errPassed
		}
		marks.refolded()
	}()
	marks.refold(p, rec.Offset)
	return r.state.Fold(rec, &r.effects)
}

// tell hands on what a record did.
func (r *refold) tell(rec *journal.Record, reason engine.Reason) error {
	ends, e, p := r.s.set.Ends, &r.effects, r.s.t.Partition()
	for i := range e.Dead {
		ends.Dead(engine.LetterOf(&e.Dead[i]))
	}
	for i := range e.Missed {
		if m := &e.Missed[i]; m.Full {
			ends.Dead(m.Letter(r.state.Now()))
		}
	}
	began := rec.Kind == journal.Start && (reason == engine.Applied || reason == engine.Waiting)
	if len(e.Traces)+len(e.Ended) == 0 && !began {
		return nil
	}
	var endings []*engine.Ending
	for i := range e.Ended {
		endings = append(endings, engine.EndingOf(&e.Ended[i]))
		if def, known := r.state.Definition(e.Ended[i].Digest); known {
			ends.Defined(e.Ended[i].Digest, e.Ended[i].Ended, func() []byte { return engine.DefinePayload(def) })
		}
	}
	for !ends.Again(p, rec, began, e.Traces, e.Ended, endings) {
		if err := r.sleep(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// rest lets others work.
func (r *refold) rest() error {
	if r.n++; r.n%16 != 0 {
		return nil
	}
	took := time.Since(r.turn)
	if took < fillTurn {
		return nil
	}
	rest := time.Duration(fillRest)
	if now := r.s.set.folded(); now != r.folded {
		rest, r.folded = fillBusy, now
	}
	err := r.sleep(rest * min(took, 100*time.Millisecond))
	r.turn = time.Now()
	return err
}

func (r *refold) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// hold keeps the journal from forgetting what the history lacks.
func (s *Shard) hold() {
	if t, ok := s.t.(journal.Historian); ok {
		if after, _, lacks := s.set.Ends.Lacks(s.t.Partition()); lacks {
			t.Hold(after)
		} else {
			t.Hold(journal.Nothing)
		}
	}
}
