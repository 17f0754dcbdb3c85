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
	faultEnd
)

var faults = [...]string{
	Crash: "crash", Restart: "restart", TakeOver: "take-over", Duplicate: "duplicate", Reorder: "reorder", Delay: "delay", LostAck: "lost-ack",
	LostAnswer: "lost-answer", Skew: "skew", OldSave: "old-save",
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

// Faults say how likely each kind is, from 0 to 1: of an event for crashes, restarts and take-overs, else of a message, an append or a tenure.
type Faults struct {
	Rate map[Fault]float64
	// Most bounds the crashes, restarts and take-overs of one play, so that it ends. Default 12.
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

// mischief strikes owners between two events.
func (w *World) mischief() {
	most := w.o.Faults.Most
	if most == 0 {
		most = 12
	}
	if w.owner == nil || w.counts[Crash]+w.counts[Restart]+w.counts[TakeOver] >= most {
		return
	}
	switch t := w.owner; {
	case w.chance(Crash):
		t.end()
		w.owner = nil
		w.After(w.rand(time.Second), w.begin)
	case w.chance(Restart):
		t.save()
		for t.saving.snapshot != nil {
			t.saveOn()
		}
		t.end()
		w.owner = nil
		w.After(w.rand(time.Second), w.begin)
	case w.chance(TakeOver):
		t.stalled = true
		w.owner = nil
		w.After(w.rand(10*time.Second), func() {
			t.stalled = false
			t.poke()
		})
		w.begin()
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
