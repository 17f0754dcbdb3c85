package simulate_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/onward-router/onward/router/simulate"
)

// A specimen is a small play of one run, and how many records it has.
type specimen struct {
	seed    uint64
	flow    func(g *garden) node
	gathers func(g *garden) *gathering
	records int
}

// specimens are small plays that together come to every key of every policy: the first by their seeds that come to one more.
func specimens(t *testing.T, most int) (all []specimen, missing []string) {
	t.Helper()
	reg := registry()
	kinds, leaves := new(garden).kinds()
	flows := len(kinds) + len(leaves) + 1
	n := flows + len(new(garden).gatherings())
	reached := make(map[string]int)
	of, triggers := settingsOf(reg), triggerKeys()
	for seed := uint64(0); seed < uint64(n*60); seed++ {
		at := int(seed % uint64(n))
		flow := func(g *garden) node {
			kinds, leaves := g.kinds()
			switch {
			case at < len(kinds):
				return g.seen(kinds[at](1))
			case at < flows-1:
				return g.seen(leaves[at-len(kinds)]())
			case at == flows-1:
				return g.caught(0)
			}
			if g.gatherings()[at-flows]().signals {
				return g.seen(g.signal())
			}
			return g.seen(g.function())
		}
		var gathers func(g *garden) *gathering
		if at >= flows {
			gathers = func(g *garden) *gathering { return g.gatherings()[at-flows]() }
		}
		p := newPlayOf(t, reg, seed, plot{flow: flow, gathers: gathers})
		if err := p.w.Run(20_000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		records := 0
		for _, log := range p.w.Logs() {
			records += len(log)
		}
		if records > most {
			continue
		}
		r := p.check(t, reg)
		if seed < uint64(n) || slices.ContainsFunc(slices.Collect(maps.Keys(r.reached)), func(key string) bool { return reached[key] == 0 }) {
			for key := range r.reached {
				reached[key]++
			}
			all = append(all, specimen{seed, flow, gathers, records})
		}
		if seed >= uint64(n) && len(of.missing(triggers, reached, 1)) == 0 {
			break
		}
	}
	return all, of.missing(triggers, reached, 1)
}

// TestStruckAtEveryRecord: a play of each kind of step, and of every key of every policy, and at each of its records the owner of that partition or of another
// dies, saves and leaves, or is taken over: when it is durable, when it is read, or when what it led to is under way.
func TestStruckAtEveryRecord(t *testing.T) {
	t.Parallel()
	reg := registry()
	all, missing := specimens(t, 80)
	if len(missing) > 0 {
		t.Errorf("no specimen comes to %v", missing)
	}
	faults := []simulate.Fault{simulate.Crash, simulate.Restart, simulate.TakeOver}
	records, struck := 0, 0
	for i, x := range all {
		for at := 1; at <= x.records; at++ {
			fault, later := faults[(at+i)%3], (at/3+i)%3
			play := newPlayOf(t, reg, x.seed, plot{flow: x.flow, gathers: x.gathers, durable: func(w *simulate.World, record int) {
				if record != at || w == nil { // While it is made, nobody owns anything.
					return
				}
				for n := range w.Logs() {
					switch later {
					case 0:
						w.After(0, func() { w.Strike(n, fault) })
					case 1:
						w.Strike(n, fault)
					default:
						w.After(1, func() { w.Strike(n, fault) })
					}
				}
			}})
			if err := play.w.Run(50_000); err != nil {
				t.Fatalf("seed %d, %s at record %d: %v", x.seed, fault, at, err)
			}
			play.check(t, reg)
			if t.Failed() {
				t.Fatalf("seed %d: %s at record %d", x.seed, fault, at)
			}
			records++
			struck += play.w.Faults()[fault]
		}
	}
	t.Logf("%d specimens, struck %d times at %d records", len(all), struck, records)
	if struck < records*3/4 {
		t.Errorf("%d records, and struck %d times only", records, struck)
	}
}
