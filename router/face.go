package router

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/admission"
	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/cluster"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/door"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/traces"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// The limits at the door.
const (
	MaxEventBytes = admission.MaxEventBytes // of an event that starts something
	MaxValueBytes = admission.MaxValueBytes // of a value inside a run
)

// HistoryLimits bound the history of ended runs, DeadLimits the dead letters that are kept.
type (
	HistoryLimits = history.Limits
	DeadLimits    = history.LetterLimits
	TraceOptions  = traces.Options // where traces go, and how much of them
)

// What a listener is made of.
type (
	TLS    = door.TLS
	Limits = door.Limits
)

// What is shown of runs.
type (
	Finished   = engine.Ending   // a run that has ended
	RunLine    = api.RunLine     // a line of the list of runs
	RunList    = api.RunList     // a part of that list
	WaitList   = api.WaitList    // who waits for signals
	WatchLine  = api.WatchLine   // a change of a run that is watched
	Difference = api.Difference  // what other documents would change
	Touched    = api.Touched     // one change of those, with the runs that it touches
	Letter     = engine.Letter   // a dead letter
	RunSteps   = api.RunSteps    // what became of a run's steps
	Times      = engine.Times    // where the time of a call, or of several, went
	Duration   = plugin.Duration // a time span, in JSON a text such as 1.5s
	PastStep   = engine.PastStep
	PastEvent  = engine.PastEvent // an event that came
	Events     = api.FoundEvents
	Cause      = api.Cause  // what dead letters have in common
	Causes     = api.Causes // dead letters by their cause
	// What is shown of functions and triggers.
	FunctionLine = control.FunctionStatus
	FunctionList = api.FunctionList
	SourceList   = api.SourceList
	TriggerList  = api.TriggerList
	TestedEvent  = api.TestedEvent
	Started      = api.Started
	TriggerLine  = api.TriggerLine
	Tried        = api.Tried
	Steered      = api.Steered
	Became       = api.Became
	LetterList   = api.LetterList
	LetterBecame = api.LetterBecame
	ParkedList   = api.ParkedList
	Rerun        = api.Rerun
	Pause        = engine.Pause // since when, by whom and why something is paused
	Explanation  = api.Explanation
	Redriven     = api.Redriven     // what a redrive of a run does
	BulkRun      = api.BulkRun      // what became of one run of a query
	BulkDone     = api.BulkDone     // of all of them
	Refused      = triggers.Refused // why something was refused
)

// The kinds of dead letters that are not sent again as others are.
const (
	LetterEvent  = engine.LetterEvent
	LetterParked = engine.LetterParked
)

// LetterKinds are all kinds of dead letters.
func LetterKinds() []string { return slices.Clone(engine.LetterKinds) }

// ExplainStatus says in plain words why an open run is not further; now is the time by which waits are counted.
func ExplainStatus(st *engine.Status, now time.Time) []string { return api.ExplainStatus(st, now) }

// NewID returns a random id for an event that its sender gave none.
func NewID() string { return rand.Text() }

// Admit takes events in: completions, signals, and what triggers' filters let through. It returns when all of it is durable.
func (r *Router) Admit(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
	return r.gate.Admit(ctx, events)
}

// Start starts a run of a trigger by name, whatever its filters, and returns its id. The same source and id give the same run.
func (r *Router) Start(ctx context.Context, trigger string, e *event.Event) (journal.RunID, error) {
	return r.gate.Start(ctx, trigger, e)
}

// RunIDOf returns the id of the run that Start makes of an event.
func (r *Router) RunIDOf(trigger string, e *event.Event) journal.RunID {
	return r.gate.RunIDOf(trigger, e)
}

// Wait returns how a run ended, once it has, also when another router folds it. The error is the context's.
func (r *Router) Wait(ctx context.Context, id journal.RunID) (*Finished, error) {
	return r.api.Wait(ctx, id)
}

// Status tells what an open run is doing, with what the outbox knows of its invocations; of an ended one, how it ended.
func (r *Router) Status(ctx context.Context, id journal.RunID, waiting int) (*engine.Status, *Finished, error) {
	return r.api.Status(ctx, id, waiting)
}

// OpenRuns gives runs that are open here, at most so many, the first first.
func (r *Router) OpenRuns(ctx context.Context, most int) (runs []engine.Summary, err error) {
	err = r.shards.List(ctx, engine.Listing{Limit: most, Want: func(x *engine.Summary) (int64, bool) { return x.Started.UnixNano(), true }}, func(part *engine.Listing) {
		runs = append(runs, part.Runs()...)
	})
	slices.SortFunc(runs, func(x, y engine.Summary) int {
		return cmp.Or(x.Started.Compare(y.Started), bytes.Compare(x.Run[:], y.Run[:]))
	})
	return runs[:min(len(runs), most)], err
}

// Explain says in plain words why a run is not further.
func (r *Router) Explain(ctx context.Context, id journal.RunID) ([]string, error) {
	x, err := r.api.Explain(ctx, id)
	if err != nil {
		return nil, err
	}
	return x.Lines(), nil
}

// Watch gives the changes of a run until ctx ends. A watcher that falls more than 1,024 behind misses changes.
func (r *Router) Watch(ctx context.Context, id journal.RunID) <-chan engine.Change {
	return r.shards.Watch(ctx, id)
}

// Signal sends a signal to a run, and says what became of it. The same source and id count once.
func (r *Router) Signal(ctx context.Context, run journal.RunID, f engine.SignalFact) (triggers.Fate, error) {
	return r.gate.Signal(ctx, run, f)
}

// Cancel cancels a run, and says what became of it.
func (r *Router) Cancel(ctx context.Context, run journal.RunID, reason string) (triggers.Fate, error) {
	return r.gate.Cancel(ctx, run, reason)
}

// Pause keeps a run from calling anything more, and Resume lets it go on; both say what became of it. The same id counts once.
func (r *Router) Pause(ctx context.Context, run journal.RunID, f engine.PauseFact) (triggers.Fate, error) {
	return r.turn(ctx, journal.Pause, run, &f)
}

// Resume lets a run go on that was paused.
func (r *Router) Resume(ctx context.Context, run journal.RunID, f engine.PauseFact) (triggers.Fate, error) {
	return r.turn(ctx, journal.Resume, run, &f)
}

// Resize changes how many children a step of a run may have open at a time, and says what became of it. The same id counts once.
func (r *Router) Resize(ctx context.Context, run journal.RunID, f engine.WindowFact) (triggers.Fate, error) {
	return r.fact(ctx, engine.Record(journal.Resize, run, &f))
}

func (r *Router) turn(ctx context.Context, kind journal.Kind, run journal.RunID, f *engine.PauseFact) (triggers.Fate, error) {
	return r.fact(ctx, engine.Record(kind, run, f))
}

func (r *Router) fact(ctx context.Context, rec journal.Record) (triggers.Fate, error) {
	fates, err := r.gate.Facts(ctx, []journal.Record{rec})
	if err != nil {
		return 0, err
	}
	return fates[0], nil
}

// Heartbeat says that a function is at work on a call, by the id under which that was sent; data is for people to look at.
func (r *Router) Heartbeat(ctx context.Context, id string, data lang.Value) (triggers.Fate, error) {
	return r.gate.Beat(ctx, id, data)
}

// runs are what the gate knows of the runs.
type runs struct{ *Router }

func (r runs) Load() (l admission.Load) {
	l.Runs, l.Children, l.Bytes = r.shards.Load()
	return l
}

func (r runs) Ended(id journal.RunID) bool {
	return r.endings.Find(id) != nil
}

func (r runs) Hand(ctx context.Context, facts []journal.Record) []*triggers.Fate {
	became, err := r.cluster.Hand(ctx, facts)
	if err != nil {
		r.o.Log.Debug("facts about runs of other routers are journaled here", "error", err)
	}
	fates := make([]*triggers.Fate, len(facts))
	for i, word := range became {
		if fate, ok := triggers.FateOf(word); ok {
			fates[i] = &fate
		}
	}
	return fates
}

func (r runs) Full(id journal.RunID) string { return r.cluster.Full(id) }

// ownLoad is what the other routers are told.
func (r *Router) ownLoad() any {
	var l cluster.Load
	if err := r.gate.Full(); err != nil {
		l.Full = err.Error()
		l.Partitions, _ = r.o.Journal.(journal.Shared).Assigned() // Others ask where there are others.
	}
	return l
}

// Beat hands heartbeats on: those of invocations of ours to the outbox, the others to their routers.
func (r runs) Beat(ctx context.Context, beats []engine.Beat) []triggers.Fate {
	fates := make([]triggers.Fate, len(beats))
	var away []engine.Beat
	var whose []int
	for i := range beats {
		if r.shards.Has(beats[i].Run) {
			fates[i] = r.beat(ctx, &beats[i])
		} else {
			away, whose = append(away, beats[i]), append(whose, i)
		}
	}
	if len(away) == 0 {
		return fates
	}
	became, err := r.cluster.Beat(ctx, away)
	if err != nil {
		r.o.Log.Debug("heartbeats of other routers' invocations are lost", "error", err)
	}
	for k, word := range became {
		fates[whose[k]], _ = triggers.FateOf(word)
	}
	return fates
}

// beat takes a heartbeat of an invocation of ours. One that the outbox has not sent may be with a function all the same: a former owner has sent it.
func (r *Router) beat(ctx context.Context, b *engine.Beat) triggers.Fate {
	if r.outbox.Beat(b) {
		return triggers.Applied
	}
	fate := triggers.Accepted
	_ = r.shards.Ask(ctx, b.Run, func(s *engine.State) { fate = r.gate.FateOf(b.Run, s.Awaits(b.Run, b.N)) }) // Without an answer it is not known.
	return fate
}

func (r runs) Has(id journal.RunID) bool { return r.shards.Has(id) }

func (r runs) Gathers(ctx context.Context, keys []engine.RoundKey) []bool {
	is := r.shards.Gathers(ctx, keys)
	var away []engine.RoundKey
	var at []int
	for i := range keys {
		if !r.shards.Has(keys[i].Run) {
			away, at = append(away, keys[i]), append(at, i)
		}
	}
	if len(away) == 0 {
		return is
	}
	others, err := r.cluster.Gathers(ctx, away)
	if err != nil {
		r.o.Log.Debug("whether rounds of other routers wait for events is not known", "error", err)
	}
	for k, i := range at {
		is[i] = others[k]
	}
	return is
}

// Fetch asks the others for what is not here.
func (r runs) Fetch(ctx context.Context, tickets []string) []journal.RunID {
	found := r.fetch(ctx, tickets)
	var away []string
	var at []int
	for i := range tickets {
		if found[i].IsZero() {
			away, at = append(away, tickets[i]), append(at, i)
		}
	}
	if len(away) == 0 {
		return found
	}
	others, err := r.cluster.Fetch(ctx, away)
	if err != nil {
		r.o.Log.Debug("whether other routers have calls that are said to be done is not known", "error", err)
	}
	for k, i := range at {
		found[i] = others[k]
	}
	return found
}

// fetch has the results of calls of ours asked for that are said to be done, as far as they are those of whom the context asks for.
func (r *Router) fetch(ctx context.Context, tickets []string) []journal.RunID {
	return r.outbox.Fetch(tickets, access.Asking(ctx).Owns)
}

func (r runs) Await(rec *journal.Record) (said <-chan engine.Said, stop func()) {
	if !r.shards.Has(rec.Run) {
		return nil, func() {}
	}
	return r.shards.Await(rec)
}

// A timedJournal tells how long appends take.
type timedJournal struct {
	journal.Journal
	append prometheus.Histogram
}

func timed(j journal.Journal, reg prometheus.Registerer) journal.Journal {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "onward_append_seconds", Help: "Time of one append to the journal, sync included, for events admitted and for what the folds' owners write.",
		Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 16),
	})
	reg.MustRegister(h)
	return timedJournal{j, h}
}

func (j timedJournal) Append(ctx context.Context, records []journal.Record) error {
	begin := time.Now()
	err := j.Journal.Append(ctx, records)
	j.append.Observe(time.Since(begin).Seconds())
	return err
}
