package simulate

import "time"

// A Fault is a kind of what can go wrong.
type Fault uint8

// The kinds of faults.
const (
	Crash      Fault = iota + 1 // an owner dies; another begins from the snapshot
	Restart                     // an owner saves a snapshot and leaves; another begins
	TakeOver                    // another owner begins while the former still works, and does not hear of it for a while
	Duplicate                   // a record of a client or a function comes again
	Reorder                     // a message is overtaken by later ones
	Delay                       // a message takes long
	LostAck                     // records are durable, and their writer is told that they are not
	LostAnswer                  // a function was called, and its answer does not arrive
	Skew                        // an owner's clock is off
	OldSave                     // the newest snapshot cannot be read: the one before counts
	Outage                      // an owner dies, and for minutes nobody has its partition; the others go on
	faultEnd
)

var faults = [...]string{
	Crash: "crash", Restart: "restart", TakeOver: "take-over", Duplicate: "duplicate", Reorder: "reorder", Delay: "delay", LostAck: "lost-ack",
	LostAnswer: "lost-answer", Skew: "skew", OldSave: "old-save", Outage: "outage",
}

// String returns the fault's word.
func (f Fault) String() string { return faults[f] }

// AllFaults lists the kinds.
func AllFaults() []Fault {
	var all []Fault
	for f := Crash; f < faultEnd; f++ {
		all = append(all, f)
	}
	return all
}

// Faults say how likely each kind is, from 0 to 1: of an event for crashes, restarts, take-overs and outages, else of a message, an append or a tenure.
type Faults struct {
	Rate map[Fault]float64
	// Most bounds the crashes, restarts, take-overs and outages of one play, so that it ends. Default 12.
	Most int
}

// chance decides whether a fault is done now, and counts it.
func (w *World) chance(f Fault) bool {
	p := w.o.Faults.Rate[f]
	if p == 0 || w.rng.Float64() >= p {
		return false
	}
	w.counts[f]++
	return true
}

// mischief strikes an owner between two events.
func (w *World) mischief() {
	most := w.o.Faults.Most
	if most == 0 {
		most = 12
	}
	if len(w.o.Faults.Rate) == 0 || w.counts[Crash]+w.counts[Restart]+w.counts[TakeOver]+w.counts[Outage] >= most {
		return
	}
	p := w.partitions[w.rng.IntN(len(w.partitions))]
	for _, f := range []Fault{Crash, Restart, TakeOver, Outage} {
		if p.owner != nil && w.chance(f) {
			p.strike(f)
			return
		}
	}
}

// Strike does a Crash, Restart, TakeOver or Outage to whoever owns a partition now, if there is one.
func (w *World) Strike(partition int, f Fault) {
	if p := w.partitions[partition]; p.owner != nil {
		w.counts[f]++
		p.strike(f)
	}
}

func (p *partition) strike(f Fault) {
	t := p.owner
	switch f {
	case Crash, Outage:
		t.end()
		within := time.Second
		if f == Outage {
			within = 10 * time.Minute
		}
		p.leave(within)
	case Restart:
		t.save()
		for t.saving.snapshot != nil {
			t.saveOn()
		}
		t.end()
		p.leave(time.Second)
	case TakeOver:
		t.stalled = true
		p.owner = nil
		p.w.After(p.w.rand(10*time.Second), func() {
			t.stalled = false
			t.poke()
		})
		p.begin()
	}
}

func (w *World) rand(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

// transit is how long a message is under way.
func (w *World) transit() time.Duration {
	switch {
	case w.chance(Delay):
		return time.Second + w.rand(time.Minute)
	case w.chance(Reorder):
		return time.Millisecond + w.rand(50*time.Millisecond)
	case len(w.o.Faults.Rate) == 0:
		return 0
	}
	return time.Millisecond
}
