package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
)

// DefaultCacheBytes bounds the decoded values that a State remembers beside its state proper.
const DefaultCacheBytes = 32 << 20

// A State is what a partition's records have folded to. It is for one goroutine.
type State struct {
	registry *plugin.Registry
	observe  func(Change)
	limits   Limits
	limitsOf func(level uint8) Limits
	cache    *lang.Cache

	level uint8
	epoch uint64
	now   int64 // fold time, Unix nanoseconds
	seen  int64 // the latest record's own time

	definitions map[lang.Digest]*definition
	runs        map[journal.RunID]*run
	order       []*run // all of them, each where its own at says
	arrivals    uint64 // starts that have waited for a definition
	saving      *Snapshot
	snapshots   uint32
	waiting     map[lang.Digest][]*waitingRun // in the order of their starts
	waitingRuns map[journal.RunID]*waitingRun
	tombstones  tombstones
	timers      timerHeap

	// Scratch of one Fold.
	folds  uint64 // how many there were
	out    *Effects
	queue  []work
	cause  cause
	why    because // what is dropped is, until the further consequences of a record are drawn
	live   int     // invocations without an outcome, over all runs
	paused int     // runs that are
	force  bool    // nothing cleans up
	fired  *frame  // whose timer the record is of
	cut    cut     // what the step that is being stopped ends its try with; people are told

	budget   int    // children that this record may still open
	children int    // open ones, over all runs
	surplus  int    // of these, those beyond their run's share
	bytes    int    // kept values, over all runs
	owing    []*run // runs that owe, in the order in which they are to be asked to pay

	owingStarts []*waitingRun // whose definition has come
	keys        map[keyName]*keyRoom
	rounds      map[keyName]*run // the runs whose rounds take the events of a key; the runs say it
	reopened    []reopening      // keys whose next round is to be opened by this record
	decoding    []*round         // whose until has decoded what has arrived; not state
	ready       []*keyRoom       // of which the next run may begin, by this record
	owingKeys   []*keyRoom       // the same, by a record of its own
	idle        int              // definitions that no run needs

	// Scratch of weigh.
	isValue func(lang.Value) error
	weighed *frame
	given   lang.Value
	known   int // of the frame's known values, how many have been met
}

// work is one thing that a Fold has still to do: a step that has ended, an event for a frame, or a run that one of its steps ends.
type work struct {
	run     *run  // to be ended with outcome
	task    *task // ended with outcome; nil when frame and event are set
	outcome lang.Outcome
	frame   *frame
	event   frameEvent
}

// New returns the state of a partition without records. registry has the policies that definitions name. observe, which may be nil, is called with
// every decision, inside Fold.
func New(registry *plugin.Registry, observe func(Change)) *State {
	s := &State{
		registry: registry, observe: observe, limits: LimitsOf(journal.Level), limitsOf: LimitsOf, level: journal.Level,
		cache:       lang.NewCache(DefaultCacheBytes),
		definitions: make(map[lang.Digest]*definition),
		runs:        make(map[journal.RunID]*run),
		waiting:     make(map[lang.Digest][]*waitingRun),
		waitingRuns: make(map[journal.RunID]*waitingRun),
		keys:        make(map[keyName]*keyRoom),
		rounds:      make(map[keyName]*run),
	}
	s.isValue = s.checkValue
	return s
}

// Bound gives the state other limits than those of its level: for the tests of limits. It is called before anything is folded or loaded.
func (s *State) Bound(limits func(level uint8) Limits) {
	s.limitsOf, s.limits = limits, limits(s.level)
}

// Epoch returns the epoch of the last claim that counted; 0 before any.
func (s *State) Epoch() uint64 { return s.epoch }

// Now returns the fold's time: the latest record time so far, or a little more when the journal's clock was set back.
func (s *State) Now() time.Time { return time.Unix(0, s.now).UTC() }

// DefinitionOf returns the definition by which an open run runs; nil when it is not here, or waits for it.
func (s *State) DefinitionOf(id journal.RunID) *lang.Definition {
	if r := s.runs[id]; r != nil {
		return r.def.Definition
	}
	return nil
}

// Definition returns a definition that has been folded.
func (s *State) Definition(d lang.Digest) (*lang.Definition, bool) {
	def, ok := s.definitions[d]
	if !ok {
		return nil, false
	}
	return def.Definition, true
}

// TenantOf says whose an open run is.
func (s *State) TenantOf(id journal.RunID) (tenant string, open bool) {
	if r := s.runs[id]; r != nil {
		return r.tenant, true
	}
	return "", false
}

// Ended reports whether the run is remembered as ended and gone.
func (s *State) Ended(id journal.RunID) bool { return s.tombstones.has(id) }

// Fold folds one record and says what it did. out is filled with what follows from it; it is the caller's, and what is in it stays valid until
// the caller's next Fold with it. The record may be reused after Fold. An error means that this binary must not go on with the partition: the
// record is of a newer level, or names a policy that is not built in.
func (s *State) Fold(rec *journal.Record, out *Effects) (Reason, error) {
	out.reset()
	if err := journal.CheckLevel(rec.Level); err != nil {
		return 0, err
	}
	row, ok := journal.Of(rec.Kind)
	if !ok {
		return 0, fmt.Errorf("record kind %d: %w", rec.Kind, journal.ErrNewer)
	}
	s.out = out
	s.cause, s.why, s.fired = cause{}, because{}, nil
	s.tick(rec.Time.UnixNano())
	s.budget = s.limits.Openings
	s.folds++
	s.cache.Budget(lang.RecordCost)
	if row.Fenced && rec.Epoch != s.epoch {
		return s.refuse(rec, Stale), nil
	}
	reason, err := s.dispatch(rec)
	if err != nil {
		return 0, err
	}
	s.drain()
	s.openKept()
	s.beginReady()
	if reason != Applied && reason != Joined && reason != Held {
		s.refuse(rec, reason)
	}
	return reason, nil
}

func (s *State) dispatch(rec *journal.Record) (Reason, error) {
	switch rec.Kind {
	case journal.Claim:
		return s.foldClaim(rec)
	case journal.Define:
		return s.foldDefine(rec)
	case journal.Start:
		return s.foldStart(rec)
	case journal.Skip:
		return s.foldSkip(rec), nil
	case journal.Release:
		return Applied, nil
	case journal.Redrive:
		return s.foldRedrive(rec), nil
	}
	r := s.runs[rec.Run]
	s.saving.before(r)
	if r == nil {
		if w := s.waitingRuns[rec.Run]; w != nil {
			return s.foldWaiting(w, rec), nil
		}
		if s.tombstones.has(rec.Run) {
			return Finished, nil
		}
		return s.foldAhead(rec), nil
	}
	switch rec.Kind {
	case journal.Completion:
		return s.foldCompletion(r, rec.Payload), nil
	case journal.Accepted:
		return s.foldAccepted(r, rec.Payload), nil
	case journal.TimedOut:
		return s.foldTimedOut(r, rec.Payload), nil
	case journal.GaveUp:
		return s.foldGaveUp(r, rec.Payload), nil
	case journal.Signal:
		return s.foldSignal(r, rec.Payload), nil
	case journal.Cancel:
		return s.foldCancel(r, rec.Payload), nil
	case journal.Pause, journal.Resume:
		return s.foldTurn(r, rec), nil
	case journal.Resize:
		return s.foldWindow(r, rec.Payload), nil
	case journal.Fired:
		return s.foldFired(r, rec.Payload), nil
	case journal.Matched:
		return s.foldMatched(r, rec.Payload), nil
	case journal.More:
		return s.foldMore(r, rec.Payload), nil
	case journal.Tried:
		return r.foldTried(rec.Payload, s.now), nil
	}
	return 0, fmt.Errorf("record kind %d: %w", rec.Kind, journal.ErrNewer)
}

// drain does the queued work until there is none: ended steps are told to their parents, events to their frames, in the order they arose.
func (s *State) drain() {
	s.why = because{}
	for i := 0; i < len(s.queue); i++ {
		w := s.queue[i]
		s.queue[i] = work{}
		if w.run != nil {
			s.endEarly(w.run, w.outcome)
		} else if w.task != nil {
			s.settle(w.task, w.outcome)
		} else if w.frame == nil {
			continue
		} else if !w.frame.closed() {
			s.step(w.frame, w.event)
		} else if w.event.kind == evSignalled {
			s.returnSignal(w.frame.owner.run, w.event)
		}
		if i >= 1024 && i*2 > len(s.queue) {
			s.queue = s.queue[:copy(s.queue, s.queue[i+1:])]
			i = -1
		}
	}
	s.queue = s.queue[:0]
}

func (s *State) refuse(rec *journal.Record, why Reason) Reason {
	if s.observe != nil {
		s.observe(Change{Kind: Refused, Run: rec.Run, Time: s.Now(), Text: rec.Kind.String(), Reason: why})
	}
	return why
}

func (s *State) foldClaim(rec *journal.Record) (Reason, error) {
	f, err := DecodeClaim(rec.Payload)
	if err != nil {
		return Malformed, nil
	}
	if rec.Epoch != s.epoch+1 {
		return Stale, nil
	}
	if err := journal.CheckLevel(f.Level); err != nil {
		return 0, fmt.Errorf("claim: %w", err)
	}
	s.epoch, s.level, s.limits = rec.Epoch, f.Level, s.limitsOf(f.Level)
	s.out.Claimed = append([]byte{}, f.Nonce...)
	s.timers.rebuild(s)
	s.askAgain()
	return Applied, nil
}

func (s *State) foldDefine(rec *journal.Record) (Reason, error) {
	def, err := s.compile(rec.Payload)
	if errors.Is(err, lang.ErrNoDefinition) {
		return Malformed, nil
	}
	if err != nil {
		return 0, err
	}
	if s.definitions[def.digest] != nil {
		return Duplicate, nil
	}
	s.definitions[def.digest] = def
	s.rest(def)
	s.beginWaiting(def)
	return Applied, nil
}

func (s *State) foldStart(rec *journal.Record) (Reason, error) {
	f, err := DecodeStart(rec.Payload)
	if err != nil {
		return Malformed, nil
	}
	if s.runs[rec.Run] != nil || s.waitingRuns[rec.Run] != nil {
		return Duplicate, nil
	}
	if s.tombstones.has(rec.Run) {
		return Finished, nil
	}
	if def := s.definitions[f.Digest]; def != nil {
		return s.begin(rec.Run, rec.Tenant, def, &f, nil), nil
	}
	s.arrive(&waitingRun{run: rec.Run, tenant: rec.Tenant, fact: f})
	s.out.Need = append(s.out.Need, f.Digest)
	return Waiting, nil
}

// foldSkip ends the run of a record that was passed over: without it the run would hang, or go on as if nothing had been.
func (s *State) foldSkip(rec *journal.Record) Reason {
	f, err := DecodeSkip(rec.Payload)
	if err != nil {
		return Malformed
	}
	if rec.Run.IsZero() {
		return Applied
	}
	if s.tombstones.has(rec.Run) {
		return Finished
	}
	why := lang.Failure(lang.Failf(lang.ClassPlatform, "skipped", "the record at offset %d was passed over: %s", f.Offset, f.Reason))
	if w := s.waitingRuns[rec.Run]; w != nil {
		return s.endWaiting(w, why, false)
	}
	r := s.runs[rec.Run]
	s.saving.before(r)
	if start, err := DecodeStart(f.Start); r == nil && len(f.Start) > 0 && err == nil {
		s.skipStart(rec, start, f)
		return Applied
	}
	if r == nil {
		// It was its start that was passed over. Nothing is known of it but that it is not to begin again.
		s.tombstones.add(rec.Run, s.now, s.limits)
		s.out.Ended = append(s.out.Ended, Ended{
			Run: rec.Run, Tenant: rec.Tenant, Outcome: why, Started: s.Now(), Ended: s.Now(), EventID: rec.Run.String() + "~end", EventType: TypeFailed,
			Data: lang.Object(lang.Member{Key: "error", Value: why.Err.Value()}),
		})
		return Applied
	}
	if r.outcome != nil {
		return Finished
	}
	s.force = true // What this run has decided so far may be what cannot be folded.
	s.cancelRun(r, why)
	s.force = false
	return Applied
}

// Outstanding gives every invocation that has no outcome, by run id and number: what a new owner has to send, or to wait for.
func (s *State) Outstanding(yield func(*Invocation)) {
	for _, r := range s.sorted() {
		for _, n := range r.live.numbers() {
			l := r.live.get(n)
			inv := l.inv
			if l.accepted != 0 || l.tried() != 0 {
				copied := *inv
				copied.Before = &Before{Accepted: timeOf(max(l.accepted, 0)), Tried: timeOf(l.tried()), Ticket: l.ticketed()}
				inv = &copied
			}
			yield(inv)
		}
	}
}

// timeOf is a fold time; zero is none.
func timeOf(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at).UTC()
}

// Needed lists the definitions that starts wait for, sorted.
func (s *State) Needed() []lang.Digest {
	return slices.DeleteFunc(s.waitingDigests(), func(d lang.Digest) bool { return s.definitions[d] != nil })
}

// Stats returns the partition's gauges.
func (s *State) Stats() Stats {
	st := Stats{
		Runs: len(s.runs), Invocations: s.live, Definitions: len(s.definitions), Tombstones: len(s.tombstones.index),
		Timers: s.timers.live, Waiting: len(s.waitingRuns), Open: s.children, Bytes: s.bytes, Paused: s.paused,
	}
	if at, evicted := s.tombstones.since(); evicted {
		st.DedupeSince = time.Unix(0, at).UTC()
	}
	return st
}
