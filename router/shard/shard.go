package shard

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
)

// A Shard folds one partition for one tenure, and acts on what follows once it has claimed it.
type Shard struct {
	set     *Set
	out     Outbox
	spans   Spans // may be nil
	ctx     context.Context
	t       journal.Tenure
	log     *slog.Logger
	state   *engine.State
	effects engine.Effects
	nonce   []byte
	owned   bool
	epoch   atomic.Uint64
	serving bool    // claimed; the router's lock guards it
	last    int64   // offset of the last folded record
	since   int     // records since the last snapshot
	pressed bool    // the journal asks for one
	saving  *saving // one that is being encoded
	saved   saves
	next    atomic.Int64 // behind the last folded record
	lag     atomic.Int64 // of what is behind it
	asks    chan func(*engine.State)
	facts   facts
	passed  []passed      // records that were passed over, until the journal says so
	refused []lang.Digest // definitions on which the fold dies: not to be appended again
	clock   clock
	busy    progress
	counts  map[counted]prometheus.Counter
	// arrived has when the answers came that have been folded since the last batch's end, in nanoseconds.
	arrived []int64
}

// fold is the life of a tenure: load, catch up, claim, act; at the end a snapshot.
func (set *Set) fold(tenure context.Context, t journal.Tenure) error {
	ctx, cancel := context.WithCancel(tenure)
	defer cancel()
	s := &Shard{
		set: set, ctx: ctx, t: t, log: set.Log.With("partition", t.Partition()), nonce: make([]byte, 16), last: -1,
		since: spread(set.SnapshotEvery, t.Partition(), set.Layout.Partitions), asks: make(chan func(*engine.State)),
		clock: newClock(set.Now, set.Elapsed), counts: make(map[counted]prometheus.Counter),
	}
	if s.out = set.Outbox(s); set.Spans != nil {
		s.spans = set.Spans()
	}
	if _, err := rand.Read(s.nonce); err != nil {
		return err
	}
	err := s.load()
	if err != nil {
		return fmt.Errorf("loading the snapshot: %w", err)
	}
	var writing sync.WaitGroup
	s.facts.wake = make(chan struct{}, 1)
	writing.Go(func() { s.append(cancel) })
	set.enter(s)
	err = s.loop(ctx)
	set.leave(s)
	cancel()
	writing.Wait()
	s.giveUpSave()
	// A state that died, or whose records could not be appended, is not worth keeping.
	if tenure.Err() != nil && errors.Is(err, context.Cause(tenure)) && s.owned {
		if e := s.lastSave(context.WithoutCancel(ctx)); e != nil && !errors.Is(e, journal.ErrFenced) {
			s.log.Warn("no snapshot at the end; the next start folds more records", "error", e)
		}
	}
	return err
}

// load makes the state what the newest snapshot says that can be used; without one it is empty.
func (s *Shard) load() error {
	begin := func(offset int64) {
		s.last = offset
		s.saved.Store(offset)
		s.next.Store(offset + 1)
		s.state = engine.New(s.set.Registry, s.set.watch.observe)
	}
	err := s.t.Load(s.ctx, func(offset int64, from io.Reader) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("reading it died: %v", p)
			}
		}()
		begin(offset)
		return s.state.Load(from)
	})
	if errors.Is(err, journal.ErrNoSnapshot) {
		begin(-1)
		err = nil
	}
	if err == nil {
		s.set.Ends.Begins(s.t.Partition(), s.last)
	}
	return err
}

// loop reads, folds and acts until the tenure ends.
func (s *Shard) loop(ctx context.Context) error {
	type read struct {
		batch journal.Batch
		err   error
	}
	reads, next := make(chan read), make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader.Go(func() {
		for {
			b, err := s.t.Read(ctx)
			select {
			case reads <- read{b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	claimed := false
	for {
		s.arm(timer)
		select {
		case rd := <-reads:
			if rd.err != nil {
				return rd.err
			}
			if err := s.batch(&rd.batch); err != nil {
				return err
			}
			if rd.batch.End && !claimed {
				claimed = true
				s.claim()
			}
			select {
			case next <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case ask := <-s.asks:
			begin := time.Now()
			ask(s.state)
			s.set.held(time.Since(begin))
		case s.turn() <- struct{}{}:
			s.beginSave()
		case <-s.saving.ready():
			s.saveOn()
		case <-timer.C:
			s.fire()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Shard) claim() {
	s.epoch.Store(s.state.Epoch() + 1)
	f := engine.ClaimFact{Level: journal.Level, Nonce: s.nonce}
	rec := engine.Record(journal.Claim, journal.RunID{}, &f)
	rec.Epoch = s.epoch.Load()
	s.Write(rec)
}

// batch folds records and acts on each.
func (s *Shard) batch(b *journal.Batch) error {
	begin := time.Now()
	for _, p := range b.Parked {
		if !s.park(placeOf(s.t.Partition(), p)) {
			continue
		}
		s.set.metrics.parked.Inc()
		s.log.Error("a place in the journal holds no record; it is passed over", "offset", p.Offset, "error", p.Reason)
	}
	for i := range b.Records {
		rec := &b.Records[i]
		if s.set.marks.skips(s.t.Partition(), rec.Offset) {
			s.pass(rec)
			continue
		}
		reason, err := s.foldOne(rec)
		if err != nil {
			return err
		}
		s.last = rec.Offset
		s.since++
		s.count(rec.Kind, reason)
		if err := s.act(rec, reason); err != nil {
			return err
		}
	}
	if len(b.Records) > 0 {
		s.hops()
		s.set.metrics.fold.Observe(time.Since(begin).Seconds() / float64(len(b.Records)))
		s.out.Pump()
		if s.owned {
			s.clock.see(s.state.Now())
			s.set.compare(s.clock.behind())
		}
		s.pay()
	}
	st := s.state.Stats()
	s.set.count(s, st)
	s.next.Store(b.Next)
	s.saved.since.Store(int64(s.since))
	s.lag.Store(b.Lag)
	if m, ok := s.t.(journal.Marker); ok && s.owned {
		m.Mark(b.Next, st.Runs > 0 || st.Waiting > 0)
	}
	if b.Save {
		s.last = max(s.last, b.Next-1)
	}
	s.pressed = s.pressed || b.Save
	return nil
}

// count counts a folded record. Its counter is looked up once.
func (s *Shard) count(kind journal.Kind, reason engine.Reason) {
	key := counted{kind, reason}
	c := s.counts[key]
	if c == nil {
		c = s.set.metrics.records.WithLabelValues(kind.String(), reason.String())
		s.counts[key] = c
	}
	c.Inc()
}

// A counted says what the metrics count of a record.
type counted struct {
	kind   journal.Kind
	reason engine.Reason
}

// foldOne folds a record. A fold that dies loses only its own memory: the tenure starts again from the snapshot, and passes the record over after the
// second death.
func (s *Shard) foldOne(rec *journal.Record) (reason engine.Reason, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.set.marks.died(s.t.Partition(), rec.Offset)
			s.set.metrics.deaths.Inc()
			s.log.Error("the fold died on a record", "offset", rec.Offset, "kind", rec.Kind, "run", rec.Run, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the fold died on the record at offset %d: %v", rec.Offset, p)
		}
	}()
	s.set.marks.begin(s.t.Partition(), rec.Offset)
	s.busy.begin(rec)
	reason, err = s.state.Fold(rec, &s.effects)
	s.busy.end()
	s.set.marks.end(s.t.Partition(), rec.Offset)
	return reason, err
}

// A passed is a record that was passed over.
type passed struct {
	offset int64
	run    journal.RunID
	tenant string
	start  []byte
}

// pass passes a record over, loudly. Its run cannot go on without it: the owner journals that it was skipped, which ends the run.
func (s *Shard) pass(rec *journal.Record) {
	s.log.Error("a record on which the fold died twice is passed over; its run fails", "offset", rec.Offset, "kind", rec.Kind, "run", rec.Run)
	s.set.metrics.skipped.Inc()
	s.last = rec.Offset
	if rec.Kind == journal.Define {
		s.refused = append(s.refused, sha256.Sum256(rec.Payload))
	}
	s.passed = append(s.passed, passed{rec.Offset, rec.Run, rec.Tenant, engine.SkippedStart(rec)})
	if s.owned {
		s.journalPassed()
	}
}

// agree looks at what another owner has passed over. A fold that could take that record would go on otherwise than the owner's did - and tell of the same
// run's end as something else, under the same id - so the tenure begins again, and passes it over as well.
func (s *Shard) agree(rec *journal.Record, reason engine.Reason) error {
	f, err := engine.DecodeSkip(rec.Payload)
	if err != nil || reason == engine.Stale {
		return nil
	}
	if slices.ContainsFunc(s.passed, func(p passed) bool { return p.offset == f.Offset }) {
		s.passed = slices.DeleteFunc(s.passed, func(p passed) bool { return p.offset == f.Offset }) // It is said.
		return nil
	}
	if s.owned || f.Offset <= s.saved.Load() {
		return nil // It is our own, or lies before the snapshot, which its owner has made.
	}
	for range DeathsToSkip {
		s.set.marks.died(s.t.Partition(), f.Offset)
	}
	return fmt.Errorf("the record at offset %d was passed over by the partition's owner; the records are folded again without it", f.Offset)
}

func (s *Shard) journalPassed() {
	for _, p := range s.passed {
		rec := engine.Record(journal.Skip, p.run, &engine.SkipFact{Offset: p.offset, Reason: fmt.Sprintf("the fold died %d times on it", DeathsToSkip), Start: p.start})
		rec.Tenant = p.tenant
		s.Write(rec)
	}
	s.passed = nil
}

// progress says what a fold is at, to the watchdog.
type progress struct {
	mu    sync.Mutex
	since time.Time // zero between records
	rec   journal.Record
}

func (p *progress) begin(rec *journal.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.rec = time.Now(), journal.Record{Kind: rec.Kind, Offset: rec.Offset, Run: rec.Run}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Time{}
}

// stuck returns the record that the fold has been at for longer than limit.
func (p *progress) stuck(limit time.Duration) (journal.Record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec, !p.since.IsZero() && time.Since(p.since) > limit
}

// act does what a folded record obliges to, once the partition is claimed.
func (s *Shard) act(rec *journal.Record, reason engine.Reason) error {
	if rec.Kind == journal.Skip {
		if err := s.agree(rec, reason); err != nil {
			return err
		}
	}
	if s.owned && rec.Kind != journal.Claim {
		s.stop(rec)
	}
	s.record(rec)
	for i := range s.effects.Dead {
		s.died(&s.effects.Dead[i])
	}
	for i := range s.effects.Missed {
		s.missed(&s.effects.Missed[i])
	}
	for _, d := range s.effects.Need {
		s.define(d)
	}
	if rec.Kind == journal.Claim {
		return s.claimed(rec, reason)
	}
	if !s.owned {
		if rec.Kind == journal.Start && (reason == engine.Applied || reason == engine.Waiting) {
			s.set.Ends.Began(s.t.Partition(), rec)
		}
		return nil
	}
	s.set.metrics.twinned(s.effects.Twins)
	s.set.awaits.tell(rec, reason, s.effects.Met)
	if reason == engine.Early {
		s.clock.trust(s.state.Now())
		s.log.Debug("a timer fired early; it is fired later", "run", rec.Run)
	}
	s.halt(false) // A run that ends goes on with that; what was kept of it and is stopped is not sent.
	for _, inv := range s.effects.Send {
		if inv.Purpose != engine.Cancel {
			s.out.Add(inv)
		}
	}
	return nil
}

// stop stops what is not wanted any more, and adds to what is told what is known only where that was: when a call was sent whose answer came as an event.
func (s *Shard) stop(rec *journal.Record) {
	s.halt(true)
	for _, inv := range s.effects.Send {
		if inv.Purpose == engine.Cancel {
			s.out.Add(inv) // While it is known whether the call was sent.
		}
	}
	if len(s.effects.Stop) == 0 {
		return
	}
	answer := engine.AnswerOf(rec)
	when := s.out.Stop(s.effects.Stop, rec.Run, answer)
	if when.Sent.IsZero() {
		return
	}
	for i := range s.effects.Traces {
		if t := &s.effects.Traces[i]; t.Inv != nil && t.Inv.N == answer.N && t.Run == rec.Run && t.Made == 0 {
			t.Made, t.Sent = when.Made.UnixNano(), when.Sent.UnixNano()
			return
		}
	}
}

// halt tells of the runs that are paused from now on, or of those that go on.
func (s *Shard) halt(paused bool) {
	for _, h := range s.effects.Halts {
		if h.Paused == paused {
			s.out.Halt(h)
		}
	}
}

// record hands on what is over.
func (s *Shard) record(rec *journal.Record) {
	ended := s.effects.Ended
	if len(ended)+len(s.effects.Traces) == 0 {
		return
	}
	for i := range s.effects.Traces {
		if at := s.effects.Traces[i].Arrived; at != 0 && s.owned {
			s.arrived = append(s.arrived, at)
		}
	}
	var endings []*engine.Ending
	for i := range ended {
		endings = append(endings, s.ended(&ended[i]))
		if def, known := s.state.Definition(ended[i].Digest); known {
			s.set.Ends.Defined(ended[i].Digest, ended[i].Ended, func() []byte { return engine.DefinePayload(def) })
		}
	}
	s.set.Ends.Take(s.t.Partition(), rec, s.effects.Traces, ended, endings)
	if s.spans != nil {
		s.spans.Take(rec, s.owned, s.effects.Traces, ended)
	}
}

func (s *Shard) claimed(rec *journal.Record, reason engine.Reason) error {
	f, err := engine.DecodeClaim(rec.Payload)
	if err != nil {
		return nil
	}
	own := bytes.Equal(f.Nonce, s.nonce)
	switch {
	case own && reason == engine.Applied:
		if s.owned = true; s.spans != nil {
			s.spans.Claimed()
		}
		s.clock.trust(s.state.Now())
		s.journalPassed()
		s.state.Paused(s.out.Halt)
		s.state.Outstanding(func(inv *engine.Invocation) { s.out.Add(inv) })
		for _, d := range s.state.Needed() {
			s.define(d)
		}
		s.set.claimed(s)
	case own:
		s.claim()
	case s.owned && reason == engine.Applied:
		return errors.New("another router has claimed the partition")
	}
	return nil
}

// define appends a definition that a start waits for, when this process has it.
func (s *Shard) define(d lang.Digest) {
	if slices.Contains(s.refused, d) {
		s.log.Error("runs wait for a definition on which the fold dies", "digest", fmt.Sprintf("%x", d[:6]))
		return
	}
	if payload := s.set.Definition(d); payload != nil {
		s.Write(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: payload})
		return
	}
	s.log.Warn("a run waits for a definition that this router does not have; load the documents that it started with", "digest", fmt.Sprintf("%x", d[:6]))
}

// arm sets the timer to the next one that is due.
func (s *Shard) arm(timer *time.Timer) {
	wait := time.Hour
	if at, ok := s.state.NextDue(); ok && s.owned {
		wait = min(max(at.Sub(s.clock.time()), 0), lookAgain)
	}
	timer.Reset(wait)
}

// lookAgain is how long a timer is waited for at once: a machine that was asleep has another time when it wakes.
const lookAgain = 15 * time.Second

// fire writes down the timers that are due.
func (s *Shard) fire() {
	if !s.owned {
		return
	}
	for _, d := range s.state.Due(s.clock.time(), 1000) {
		f := engine.FiredFact{Timer: d.Timer}
		rec := engine.Record(journal.Fired, d.Run, &f)
		rec.Tenant = d.Tenant
		s.Write(rec)
	}
}

// pay writes down that runs may do more of what they owe. Each comes back as a record, and then there may be more.
func (s *Shard) pay() {
	if !s.owned {
		return
	}
	for _, o := range s.state.Owing(64) {
		rec := engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part})
		rec.Tenant = o.Tenant
		s.Write(rec)
	}
}

// verify reads a snapshot back as the next tenure would.
func (s *Shard) verify(from io.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading it died: %v", p)
		}
	}()
	return engine.Verify(s.set.Registry, from)
}

// ask runs f with the state on the fold's goroutine.
func (s *Shard) ask(ctx context.Context, f func(*engine.State)) error {
	done := make(chan struct{})
	select {
	case s.asks <- func(st *engine.State) { defer close(done); f(st) }:
		<-done
		return nil
	case <-s.ctx.Done():
		return journal.ErrMoving
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hops tells how long answers took until what follows from them was handed on.
func (s *Shard) hops() {
	if len(s.arrived) == 0 {
		return
	}
	now := time.Now().UnixNano()
	for _, at := range s.arrived {
		took := time.Duration(max(now-at, 0))
		s.set.metrics.hop.Observe(took.Seconds())
		if s.set.Hop != nil {
			s.set.Hop(took)
		}
	}
	s.arrived = s.arrived[:0]
}
