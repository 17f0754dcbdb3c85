package simulate_test

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// A kin follows what passes between runs and those that they start, by the logs of all partitions alone: a child begins at most once and ends once, its
// parent hears of it once, and what nobody waits for any more is cancelled, or never begins.
type kin struct {
	calls   map[sendKey]*engine.Invocation // that started runs, or are to
	dropped map[sendKey]bool
	heard   map[sendKey]int  // outcomes that counted
	came    map[sendKey]int  // outcomes that came
	late    map[sendKey]bool // an outcome came when the parent had ended, or gone on
	loose   map[sendKey]bool
	placed  map[sendKey]journal.RunID // by the records that say so
	moved   []string
	begun   map[journal.RunID]int
	ended   map[journal.RunID]int
	asked   map[journal.RunID]int // cancels that came from a parent
	ahead   map[journal.RunID]bool

	// What was seen, so that a test can tell whether it proves anything: by whether parent and child are of one partition or of two.
	children, across, cancelled, overtaken, repeated, left, unplaced int
}

func newKin() *kin {
	return &kin{
		calls: map[sendKey]*engine.Invocation{}, dropped: map[sendKey]bool{}, heard: map[sendKey]int{}, came: map[sendKey]int{}, loose: map[sendKey]bool{}, late: map[sendKey]bool{}, placed: map[sendKey]journal.RunID{},
		begun: map[journal.RunID]int{}, ended: map[journal.RunID]int{}, asked: map[journal.RunID]int{}, ahead: map[journal.RunID]bool{},
	}
}

// see takes what a record did.
func (k *kin) see(rec *journal.Record, reason engine.Reason, out *engine.Effects) {
	over := sendKey{rec.Run, outcomeOf(rec)}
	switch rec.Kind {
	case journal.Start:
		if reason == engine.Applied {
			k.begun[rec.Run]++
		}
	case journal.Cancel:
		if f, _ := engine.DecodeCancel(rec.Payload); f.Ahead {
			k.asked[rec.Run]++
			if reason == engine.Applied && k.begun[rec.Run] == 0 {
				k.ahead[rec.Run] = true
			}
		}
	case journal.Completion:
		k.came[over]++
		switch reason {
		case engine.Applied:
			k.heard[over]++
		case engine.Finished, engine.Superseded:
			k.late[over] = true
		}
	}
	for _, inv := range out.Send {
		if inv.Purpose == engine.Call && inv.ToTrigger != "" {
			at := sendKey{inv.Run, inv.N}
			if run, placed := simulate.Placed(inv); placed {
				if was, again := k.placed[at]; again && was != run {
					k.moved = append(k.moved, inv.ID())
				}
				k.placed[at] = run
			}
			k.calls[at], k.loose[at] = inv, inv.Type == engine.TypeLoose
		}
	}
	for _, inv := range out.Stop {
		if at := (sendKey{inv.Run, inv.N}); rec.Kind != journal.Completion || at != over {
			k.dropped[at] = true
		}
	}
	for _, e := range out.Ended {
		k.ended[e.Run]++
	}
}

// faults are what is wrong once all has ended.
func (k *kin) faults(partitions int) (wrong []string) {
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	of := func(run journal.RunID) int { return int(uint64(run.Route()) * uint64(partitions) >> 32) }
	for _, call := range k.moved {
		bad("%s: its run was placed twice", call)
	}
	for at, inv := range k.calls {
		child, placed := k.placed[at]
		if !placed {
			child = simulate.ChildID(inv.ToTrigger, inv.ID()) // Dropped before it had one.
			k.unplaced++
		}
		k.children++
		if of(child) != of(inv.Run) {
			k.across++
		}
		if k.came[at] > 1 {
			k.repeated++
		}
		if k.begun[child] > 1 || k.ended[child] > 1 {
			bad("%s: its run begins %d times and ends %d times", inv.ID(), k.begun[child], k.ended[child])
		}
		switch {
		case k.loose[at]:
			if k.ended[child] != 1 && !k.dropped[at] || k.ended[child] != k.begun[child] || k.asked[child] > 0 && !k.dropped[at] {
				bad("%s: its run is nobody's, ends %d times and is cancelled %d times", inv.ID(), k.ended[child], k.asked[child])
			}
		case k.dropped[at]:
			k.cancelled++
			if k.heard[at] > 0 || k.asked[child] == 0 || k.ended[child] != k.begun[child] {
				bad("%s: nobody waits for it, and it counts %d times; its run, cancelled %d times, begins %d times and ends %d times", inv.ID(), k.heard[at], k.asked[child], k.begun[child], k.ended[child])
			}
			if k.ahead[child] {
				if k.overtaken++; k.begun[child] > 0 {
					bad("%s: its cancel came first, and its run begins", inv.ID())
				}
			}
		case k.heard[at] == 0 && k.late[at] && k.begun[child] == 1 && k.ended[child] == 1 && k.asked[child] == 0:
			k.left++ // The step that called it was left alone when others decided.
		case k.heard[at] != 1 || k.begun[child] != 1 || k.ended[child] != 1:
			bad("%s: its run begins %d times, ends %d times and is heard of %d times", inv.ID(), k.begun[child], k.ended[child], k.heard[at])
		case k.asked[child] > 0:
			bad("%s: its run is cancelled, and its outcome counts", inv.ID())
		}
	}
	return wrong
}

// subruns gives the definition of a trigger of which a call starts a run.
func subruns(defs map[string]*lang.Definition) func(inv *engine.Invocation) []*lang.Definition {
	return func(inv *engine.Invocation) []*lang.Definition {
		if inv.Purpose != engine.Call {
			return nil
		}
		return []*lang.Definition{defs[inv.ToTrigger]}
	}
}
