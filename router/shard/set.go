package shard

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// An Outbox takes the invocations of one tenure. Its methods return at once.
type Outbox interface {
	Add(inv *engine.Invocation) // it is to be sent
	// Stop is for those that are no longer wanted, all of a record together; that of the run and the number, if there is one, because its outcome has come: of that
	// it returns since when it was there, and when it was sent, as far as that is known.
	Stop(list []*engine.Invocation, run journal.RunID, answered engine.Answer) engine.Sending
	Halt(h engine.Halt) // a run's calls are to be kept back, or sent again
	Pump()              // all of a batch was added
	Leave()             // the tenure is over
}

// Ends take what is over.
type Ends interface {
	// Take takes over what a record of a partition did: the invocations and steps that are over, and the runs that have ended. A restart brings it again.
	Take(partition int, rec *journal.Record, traces []engine.Trace, ended []engine.Ended, endings []*engine.Ending)
	// Defined is told by which definition a run has ended; payload gives its bytes, if it is asked at once.
	Defined(d lang.Digest, ended time.Time, payload func() []byte)
	// Dead takes what was given up.
	Dead(x *engine.Letter)
	// Began is told of a start that is folded again, before the shard claims its partition: who brought it may not have lived to tell.
	Began(partition int, rec *journal.Record)
	// Flush returns once what was added is kept, of a partition up to an offset: after that a snapshot may forget it.
	Flush(partition int, offset int64) error
	// Begins is told behind which offset a fold begins: it brings what comes then. What lies before and was not told is what Lacks says, the first part of it
	// first: behind an offset, up to another. Again gives that, record by record as it is folded once more beside; began says that the record started a run. It
	// returns false when it is to be asked again later. Filled says that no more comes up to an offset; lost, that the journal has it no more.
	Begins(partition int, offset int64)
	Lacks(partition int) (after, upto int64, is bool)
	Again(partition int, rec *journal.Record, began bool, traces []engine.Trace, ended []engine.Ended, endings []*engine.Ending) bool
	Filled(partition int, upto int64, lost bool)
}

// Spans take what the folds of a tenure tell, to make traces of it. They do not block, and keep nothing of the lists.
type Spans interface {
	Take(rec *journal.Record, owned bool, traces []engine.Trace, ended []engine.Ended)
	Claimed() // the partition is
}

// Options are what the shards of a process are made of.
type Options struct {
	Journal    journal.Journal
	Layout     journal.Layout
	Shared     Shared // nil when all partitions are this process's
	Registry   *plugin.Registry
	Outbox     func(*Shard) Outbox
	Ends       Ends
	Spans      func() Spans             // of a tenure; nil: nobody asks for traces
	Definition func(lang.Digest) []byte // the payload that brings a definition; nil when this process does not have it
	// SnapshotEvery is the number of records between snapshots of a partition.
	SnapshotEvery int
	// Stuck is how long the fold of one record may take.
	Stuck time.Duration
	// Hop, which may be nil, is told for every answer how long it took from its arrival until it was durable and folded. It must not block.
	Hop func(time.Duration)
	// Held, which may be nil, is told how long each who asked what a fold knows has held it. It must not block.
	Held func(time.Duration)
	// Now is the clock on the wall, and Elapsed one that nobody sets. Defaults: the machine's.
	Now     func() time.Time
	Elapsed func() time.Duration
	Dir     string // of the crash marks; empty keeps them for this process only
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil registers nothing
}

// Shared says which partitions are this process's, where several share a journal.
type Shared interface {
	Assigned() (partitions []int, ok bool)
}

// A Set is the shards of a process. Its methods may be called concurrently.
type Set struct {
	Options
	metrics  *metrics
	marks    *marks
	parked   parkedPlaces
	refolded int64 // records, of who fills the history
	watch    watchers
	behind   atomic.Bool // it was said that this machine's clock is
	load     struct{ runs, children, bytes atomic.Int64 }
	awaits   awaits

	mu     sync.Mutex
	shards []*Shard
	stats  []engine.Stats

	saves     chan struct{} // the turn to take a snapshot
	ready     chan struct{} // closed once all partitions that are this process's are claimed
	readyOnce sync.Once
}

// New opens the crash marks; nothing is owned before Run.
func New(o Options) (*Set, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		begin := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(begin) }
	}
	n := o.Layout.Partitions
	marks, err := openMarks(o.Dir, n, o.Log)
	if err != nil {
		return nil, err
	}
	return &Set{
		Options: o, metrics: newMetrics(o.Metrics), marks: marks, shards: make([]*Shard, n), stats: make([]engine.Stats, n), ready: make(chan struct{}), saves: make(chan struct{}, 1),
	}, nil
}

// Run folds what is this process's until ctx ends, or with the first fatal error.
func (set *Set) Run(ctx context.Context) error { return set.Journal.Own(ctx, set.fold) }

// Close releases the crash marks. Run must have returned.
func (set *Set) Close() error { return set.marks.close() }

// Ready is closed once all partitions that are this process's are claimed.
func (set *Set) Ready() <-chan struct{} { return set.ready }

// Load returns how many runs are open here, how many steps are open in them, and how many bytes they keep.
func (set *Set) Load() (runs, children, bytes int) {
	return int(set.load.runs.Load()), int(set.load.children.Load()), int(set.load.bytes.Load())
}

// Parked returns the latest places in the journal that held no record.
func (set *Set) Parked() []triggers.Parked { return set.parked.all() }

// Has reports whether a run's partition is here.
func (set *Set) Has(id journal.RunID) bool { return set.shardOf(id) != nil }

// Ask runs f with the state that has a run, on its fold's goroutine. Without it, or while it has not been folded to its end, the error is journal.ErrMoving: what
// is acknowledged and not folded yet is neither unknown nor what it was.
func (set *Set) Ask(ctx context.Context, id journal.RunID, f func(*engine.State)) error {
	s := set.servingShardOf(id)
	if s == nil {
		return fmt.Errorf("run %s: %w", id, journal.ErrMoving)
	}
	return s.ask(ctx, f)
}

// held notes how long somebody who asked has held a fold.
func (set *Set) held(d time.Duration) {
	set.metrics.asked.Observe(d.Seconds())
	if set.Held != nil {
		set.Held(d)
	}
}

// listMost is how many runs are looked at in one go: the fold stands still meanwhile.
const listMost = 250

// List looks through the runs that are here, with a copy of l for each partition, which done takes.
func (set *Set) List(ctx context.Context, l engine.Listing, done func(*engine.Listing)) error {
	for p := range set.shards {
		set.mu.Lock()
		s := set.shards[p]
		set.mu.Unlock()
		if s == nil {
			continue
		}
		part := l
		for more := true; more; {
			if err := s.ask(ctx, func(st *engine.State) { more = st.List(&part, listMost) }); err != nil {
				return err
			}
			part.Look()
		}
		done(&part)
	}
	return nil
}

// Watchdog tells of a fold that has been at one record for too long.
func (set *Set) Watchdog(ctx context.Context, stuck chan<- error) {
	tick := time.NewTicker(max(set.Stuck/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		set.mu.Lock()
		shards := slices.Clone(set.shards)
		set.mu.Unlock()
		for p, s := range shards {
			if s == nil {
				continue
			}
			if rec, is := s.busy.stuck(set.Stuck); is {
				s.log.Error("the fold makes no progress; the router gives up", "offset", rec.Offset, "kind", rec.Kind, "run", rec.Run, "for", set.Stuck)
				stuck <- fmt.Errorf("partition %d: the fold has been at the %s record at offset %d (run %s) for more than %s; start the router again: the record is passed over once it has done this %d times",
					p, rec.Kind, rec.Offset, rec.Run, set.Stuck, DeathsToSkip)
				return
			}
		}
	}
}

// isWhole reports whether all that is this process's part is claimed.
func (set *Set) isWhole() bool {
	mine, known := make([]int, set.Layout.Partitions), true
	for p := range mine {
		mine[p] = p
	}
	if set.Shared != nil {
		mine, known = set.Shared.Assigned()
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	return known && !slices.ContainsFunc(mine, func(p int) bool { return set.shards[p] == nil || !set.shards[p].serving })
}

// BecomeReady closes Ready once the set is whole. A process that shares its journal may have no part at all: nothing tells it that this will stay so.
func (set *Set) BecomeReady(ctx context.Context) {
	if set.Shared == nil {
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !set.isWhole() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	set.sayReady()
}

func (set *Set) sayReady() { set.readyOnce.Do(func() { close(set.ready) }) }

func (set *Set) enter(s *Shard) {
	set.mu.Lock()
	defer set.mu.Unlock()
	set.shards[s.t.Partition()] = s
}

func (set *Set) leave(s *Shard) {
	s.out.Leave()
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.shards[s.t.Partition()] == s {
		set.shards[s.t.Partition()] = nil
	}
}

func (set *Set) claimed(s *Shard) {
	s.log.Debug("partition claimed", "epoch", s.epoch.Load())
	set.count(s, s.state.Stats())
	s.out.Pump()
	set.mu.Lock()
	s.serving = true
	set.mu.Unlock()
	if set.Shared == nil && set.isWhole() {
		set.sayReady()
	}
}

// count takes over the gauges of a shard.
func (set *Set) count(s *Shard, st engine.Stats) {
	set.mu.Lock()
	was := set.stats[s.t.Partition()]
	set.stats[s.t.Partition()] = st
	set.mu.Unlock()
	set.load.runs.Add(int64(st.Runs - was.Runs))
	set.load.children.Add(int64(st.Open - was.Open))
	set.load.bytes.Add(int64(st.Bytes - was.Bytes))
	set.metrics.runs.Add(float64(st.Runs - was.Runs))
	set.metrics.paused.Add(float64(st.Paused - was.Paused))
	set.metrics.invocations.Add(float64(st.Invocations - was.Invocations))
	set.metrics.steps.Add(float64(st.Open - was.Open))
	set.metrics.bytes.Add(float64(st.Bytes - was.Bytes))
	set.metrics.timers.Add(float64(st.Timers - was.Timers))
	set.metrics.tombs.Add(float64(st.Tombstones - was.Tombstones))
}

// behindSaid is how far this machine's clock is behind the journal's before that is said.
const behindSaid = 2 * time.Second

// compare says when this machine's clock and the journal's part, and when they meet again.
func (set *Set) compare(behind time.Duration) {
	switch {
	case behind > behindSaid && set.behind.CompareAndSwap(false, true):
		set.Log.Warn("this machine's clock is behind the journal's; timers go by the journal's, which a wrong clock has set ahead; see onward doctor", "behind", behind.Round(time.Millisecond))
	case behind < behindSaid/2 && set.behind.CompareAndSwap(true, false):
		set.Log.Info("this machine's clock is no longer behind the journal's")
	}
}

// park keeps a place in the journal that holds no record, for people. False: it is known.
func (s *Shard) park(x triggers.Parked) bool {
	if !s.set.parked.keep(x) {
		return false
	}
	s.set.Ends.Dead(engine.LetterOfParked(x.Source, x.Place, x.Reason, x.Bytes, x.Time.UTC()))
	return true
}

// Died counts and says that events could not be taken, and were kept.
func (set *Set) Died(list ...*engine.Letter) {
	for _, x := range list {
		set.metrics.dead.WithLabelValues(set.metrics.triggers.Of(x.Trigger), x.What).Inc()
		set.Log.Warn("a trigger could not take an event, and it is kept as a dead letter; see onward dead show", "letter", x.ID, "trigger", x.Trigger, "error", x.Error)
	}
}

// died hands on that something was given up, and says it.
func (s *Shard) died(d *engine.Dead) {
	x := engine.LetterOf(d)
	s.set.Ends.Dead(x)
	if s.owned {
		s.set.metrics.dead.WithLabelValues(s.set.metrics.triggers.Of(x.Trigger), x.What).Inc()
		s.set.Log.Warn("given up, and kept as a dead letter; see onward dead show", "letter", x.ID, "trigger", x.Trigger, "function", x.To+x.Starts, "path", x.Path, "error", x.Error)
	}
}

// missed says which event no round takes, and keeps it where it is lost for want of room.
func (s *Shard) missed(m *engine.Missed) {
	if m.Full {
		s.set.Ends.Dead(m.Letter(s.state.Now()))
	}
	if !s.owned {
		return
	}
	if m.Full {
		s.set.metrics.dead.WithLabelValues(s.set.metrics.triggers.Of(m.Trigger), engine.LetterEvent).Inc()
		s.set.Log.Warn("an event finds no room in its round, and is kept as a dead letter; see onward dead list", "trigger", m.Trigger, "key", m.Key, "why", m.Why)
		return
	}
	s.set.Log.Info("no round takes an event", "trigger", m.Trigger, "key", m.Key, "id", engine.EventID(m.Event), "why", m.Why)
}

// Gathers reports of each key whether a run that is folded here waits for its events. Who cannot be asked takes nothing.
func (set *Set) Gathers(ctx context.Context, keys []engine.RoundKey) []bool {
	is, of := make([]bool, len(keys)), make(map[*Shard][]int)
	for i := range keys {
		if s := set.shardOf(keys[i].Run); s != nil {
			of[s] = append(of[s], i)
		}
	}
	for s, list := range of {
		for some := range slices.Chunk(list, gathersAsked) {
			_ = s.ask(ctx, func(st *engine.State) {
				for _, i := range some {
					is[i] = st.Gathers(&keys[i])
				}
			})
		}
	}
	return is
}

// gathersAsked bounds what one question holds a fold for.
const gathersAsked = 256

// servingShardOf is shardOf, where the shard is claimed.
func (set *Set) servingShardOf(id journal.RunID) *Shard {
	s := set.shardOf(id)
	set.mu.Lock()
	defer set.mu.Unlock()
	if s == nil || !s.serving {
		return nil
	}
	return s
}

// shardOf returns the shard that has a run.
func (set *Set) shardOf(id journal.RunID) *Shard {
	set.mu.Lock()
	defer set.mu.Unlock()
	return set.shards[set.Layout.Partition(id.Route())]
}

// ended counts that a run has ended. What its chain had no fuel left for is said: somebody is to look at what starts what.
func (s *Shard) ended(e *engine.Ended) *engine.Ending {
	ending := engine.EndingOf(e)
	if !s.owned {
		return ending
	}
	state := ending.State
	if e.Outcome.Err != nil && e.Outcome.Err.Type == engine.ChainLimit {
		state = engine.ChainLimit
		s.set.Log.Warn("a chain of runs has used up its fuel; this one ends without a step, and nothing goes on from it", "run", e.Run, "trigger", e.Trigger, "error", e.Outcome.Err)
	}
	m := s.set.metrics
	m.ended.WithLabelValues(m.triggers.Of(ending.Trigger), state).Inc()
	m.took.Of(ending.Trigger).Observe(ending.Ended.Sub(ending.Started).Seconds(), time.Now(), func() string { return ending.ID })
	s.set.logEnd(ending)
	return ending
}

// legible leaves of a duration what a person reads: to the millisecond from a second on.
func legible(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

// logEnd says that a run has ended, and of one that went wrong which step and why.
func (set *Set) logEnd(f *engine.Ending) {
	ctx := context.Background()
	if !set.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs, slog.String("trigger", f.Trigger), slog.String("state", f.State), slog.String("run", f.ID), slog.Duration("duration", legible(f.Ended.Sub(f.Started))), slog.Int("calls", f.Calls))
	if e := f.Error; e != nil {
		if e.Path != "" { // The cancel of a whole run is of no step.
			attrs = append(attrs, slog.String("step", e.Path))
		}
		attrs = append(attrs, slog.String("errorType", e.Type), slog.String("error", clip(e.Message)))
		if e.Attempt > 1 {
			attrs = append(attrs, slog.Int("attempt", e.Attempt))
		}
	}
	set.Log.LogAttrs(ctx, slog.LevelInfo, "a run has ended", attrs...)
}

// clip cuts a text from outside to what fits into a line of the log.
func clip(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
