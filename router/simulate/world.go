// Package simulate plays partitions in virtual time: their logs, the routers that own them, the functions that they call, and everything between them.
//
// It runs in one goroutine and takes all chance from one seed: the same seed gives the same play, to the record. Without faults it is how a flow is
// run with mocked functions; with faults it is how the fold is shown to keep its promises.
package simulate

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Options are what a World is made of.
type Options struct {
	Registry *plugin.Registry
	Seed     uint64
	// Partitions is how many there are. Default 1.
	Partitions int
	// Start is the logs' clock at the begin. Default 2030-01-01, UTC.
	Start time.Time
	// Function answers an invocation; call counts how often this invocation has arrived, from 1. It is called in the order of virtual time.
	Function func(inv *engine.Invocation, call int) Answer
	// Deliver is how a destination takes the event of a run's end: an error refuses it. Nil, or without it, it is taken.
	Deliver func(inv *engine.Invocation) *lang.Error
	// Starts gives the definitions whose runs an end starts: those that the filters let it start, or that a destination names. It may be nil.
	Starts func(inv *engine.Invocation) []*lang.Definition
	// Key is the key by which the trigger of a definition counts its runs, of the event that starts one; an error says that the event has none. Nil is no key.
	Key func(def *lang.Definition, event, data lang.Value) (string, error)
	// Concurrency bounds how many invocations of a function are in flight; nil or 0 is no bound.
	Concurrency func(function string) int
	// Rate is how often a function may be sent to, every so long, and how often at once after a pause; nil or 0 is no bound. Each owner has its own count.
	Rate func(function string) (every time.Duration, burst int)
	// Observe is told of the decisions of every owner's fold, in virtual time. It may be nil.
	Observe func(at time.Duration, c engine.Change)
	// Durable is told of each record that a log has taken, before anybody reads it; it may Strike. It may be nil.
	Durable func(rec *journal.Record)
	Faults  Faults
	// Limits, which may be nil, are the fold's in place of its level's.
	Limits func(level uint8) engine.Limits
}

// A World is all partitions with all that touches them. It is for one goroutine.
type World struct {
	o          Options
	rng        *rand.Rand
	now        time.Duration
	events     queue
	asked      int
	steps      int
	counts     map[Fault]int
	tenures    []*tenure
	partitions []*partition
	calls      map[key]int
	beating    map[key]bool // calls that are listened to
	tickets    map[string]result
	fate       error

	// Sent and Ended are what the owners did, for checkers.
	Sent  []Send
	Ended []End
	// GoneOn counts calls that an owner has taken over with a ticket.
	GoneOn int
}

// A Send is one sending of an invocation by an owner.
type Send struct {
	At      time.Duration
	Tenure  int
	Durable int64 // records of the owner's partition that were durable then
	Inv     *engine.Invocation
}

// An End is the end of a run as one owner's fold saw it.
type End struct {
	Tenure int
	engine.Ended
}

type key struct {
	run journal.RunID
	n   uint32
}

// New makes a world whose first owners begin at once.
func New(o Options) *World {
	if o.Start.IsZero() {
		o.Start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	w := &World{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6f6e7761)), counts: make(map[Fault]int), calls: make(map[key]int), beating: make(map[key]bool), tickets: make(map[string]result)}
	for n := range max(o.Partitions, 1) {
		p := &partition{w: w, n: n}
		if o.Partitions > 1 && w.chance(Skew) {
			p.skew = w.rand(2 * time.Second)
		}
		w.partitions = append(w.partitions, p)
	}
	for _, p := range w.partitions {
		p.begin()
	}
	return w
}

// Now is how much virtual time has passed.
func (w *World) Now() time.Duration { return w.now }

// Logs returns the records of each partition; they are the world's own.
func (w *World) Logs() [][]journal.Record {
	logs := make([][]journal.Record, len(w.partitions))
	for n, p := range w.partitions {
		logs[n] = p.log
	}
	return logs
}

// Steps is the number of events that have happened.
func (w *World) Steps() int { return w.steps }

// Faults returns how often each fault was done.
func (w *World) Faults() map[Fault]int { return w.counts }

// States gives the states of the owners that are at work.
func (w *World) States(yield func(partition, tenure int, s *engine.State)) {
	for _, t := range w.tenures {
		if !t.over {
			yield(t.p.n, t.id, t.state)
		}
	}
}

// After does f after a while of virtual time; f may be the client's part: appending starts and signals.
func (w *World) After(d time.Duration, f func()) {
	w.asked++
	heap.Push(&w.events, happening{at: w.now + max(d, 0), seq: w.asked, f: f})
}

// Append makes records durable, as a client or an admission does, and wakes the owners: each in the partition of its run, what has no run in all of them.
func (w *World) Append(records ...journal.Record) {
	for _, p := range w.partitions {
		var own []journal.Record
		for _, r := range records {
			if r.Run.IsZero() || w.of(r.Run) == p {
				own = append(own, r)
			}
		}
		p.append(own...)
	}
}

// Run lets happen what there is to happen until nothing is left, limit events at most. It fails when an owner met what must not be.
func (w *World) Run(limit int) error {
	for w.events.Len() > 0 && w.fate == nil {
		if w.steps >= limit {
			return fmt.Errorf("it does not end: %d events", w.steps)
		}
		next := heap.Pop(&w.events).(happening)
		w.now = max(w.now, next.at)
		w.steps++
		next.f()
		w.mischief()
	}
	return w.fate
}

func (w *World) fail(format string, a ...any) {
	if w.fate == nil {
		w.fate = fmt.Errorf(format, a...)
	}
}

// A happening is something that will be done at a virtual time.
type happening struct {
	at  time.Duration
	seq int // of two at one time, the one that was asked for first comes first
	f   func()
}

type queue []happening

func (q queue) Len() int { return len(q) }
func (q queue) Less(a, b int) bool {
	return q[a].at < q[b].at || q[a].at == q[b].at && q[a].seq < q[b].seq
}
func (q queue) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *queue) Push(x any)   { *q = append(*q, x.(happening)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = happening{}
	*q = (*q)[:len(*q)-1]
	return last
}
