package simulate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const nested = `version: 1
functions: { f: { exec: cat }, g: { exec: cat } }
triggers:
  leaf: { flow: { sequence: [{ function: f }, { function: g }] } }
  middle: { flow: { forkjoin: [{ subrun: leaf }, { function: g }] } }
  top: { flow: { subrun: middle } }
  wide: { flow: { map: { items: "${ data }", do: { subrun: leaf } } } }
  hasty: { flow: { map: { items: "${ data }", join: settled, do: { subrun: middle, deadline: 8s } } } }
  loose: { flow: { sequence: [{ subrun: { trigger: leaf, wait: false } }, { function: f }] } }
`

// A family is a world of several partitions in which runs start runs.
type family struct {
	t         *testing.T
	reg       *plugin.Registry
	seed      uint64
	defs      map[string]*lang.Definition
	w         *simulate.World
	tops      map[journal.RunID]bool // those that have not ended
	cancelled map[journal.RunID]bool
}

func newFamily(t *testing.T, reg *plugin.Registry, seed uint64, o simulate.Options) *family {
	return familyOf(t, reg, nested, seed, o)
}

func familyOf(t *testing.T, reg *plugin.Registry, document string, seed uint64, o simulate.Options) *family {
	set, findings := config.Parse("t.yaml", []byte(document), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	defs := map[string]*lang.Definition{}
	for _, name := range set.TriggerNames() {
		defs[name] = set.Triggers[name].Definition
	}
	o.Registry, o.Seed, o.Starts = reg, seed, subruns(defs)
	o.Function = func(inv *engine.Invocation, _ int) simulate.Answer {
		return simulate.Answer{Outcome: lang.Success(inv.Input), After: time.Duration(1+inv.N%5) * time.Second, Later: inv.N%4 == 0}
	}
	f := &family{t: t, reg: reg, seed: seed, defs: defs, w: simulate.New(o), tops: map[journal.RunID]bool{}, cancelled: map[journal.RunID]bool{}}
	for _, name := range set.TriggerNames() {
		f.w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(defs[name])})
	}
	return f
}

// start starts a run at some times, and has it cancelled at another unless that is 0. Its id decides where it lies.
func (f *family) start(id byte, trigger string, cancel time.Duration, at ...time.Duration) {
	data := lang.Of([]int{0, 1, 2})
	if trigger == "top" {
		data = lang.Of(3)
	}
	run := journal.RunID{id * 43, id}
	f.tops[run] = true
	start := engine.Record(journal.Start, run, &engine.StartFact{Trigger: trigger, Digest: f.defs[trigger].Digest(), Data: data})
	for _, at := range at {
		f.w.After(at, func() { f.w.Append(start) })
	}
	if cancel > 0 {
		f.cancelled[run] = true
		f.w.After(cancel, func() { f.w.Append(engine.Record(journal.Cancel, run, &engine.CancelFact{})) })
	}
}

// judge plays it to its end and holds it against what must be true: parents have what their children yield, all runs end and nothing is left, each child is
// of its parent, and whoever has folded a partition has the state of a replay.
func (f *family) judge(ends map[string]int) *kin {
	f.t.Helper()
	if err := f.w.Run(200_000); err != nil {
		f.t.Fatalf("seed %d: %v", f.seed, err)
	}
	want := map[string]string{"top": "[3,3]", "wide": "[0,1,2]", "loose": "", "leaf": "", "middle": ""}
	k := newKin()
	replays := make([]*engine.State, len(f.w.Logs()))
	for n, log := range f.w.Logs() {
		state := engine.New(f.reg, nil)
		replays[n] = state
		var out engine.Effects
		for i := range log {
			reason, err := state.Fold(&log[i], &out)
			if err != nil {
				f.t.Fatal(err)
			}
			k.see(&log[i], reason, &out)
			for _, e := range out.Ended {
				how := e.Outcome.Verdict.String()
				if e.Cancelled {
					how = "cancelled"
				}
				ends[e.Trigger+" "+how]++
				timeout := e.Outcome.Err != nil && e.Outcome.Err.Type == "timeout"
				if result := want[e.Trigger]; result != "" && f.tops[e.Run] && !f.cancelled[e.Run] && !timeout && (e.Outcome.Verdict != lang.Succeeded || e.Outcome.Value.JSON() != result) {
					f.t.Errorf("seed %d: %s yields %v", f.seed, e.Trigger, e.Outcome)
				}
				delete(f.tops, e.Run)
			}
		}
		if st := state.Stats(); st.Runs != 0 || st.Waiting != 0 || st.Invocations != 0 || st.Timers != 0 {
			f.t.Errorf("seed %d: partition %d is left with %+v", f.seed, n, st)
		}
	}
	owners := make([]int, len(replays))
	f.w.States(func(partition, tenure int, s *engine.State) {
		owners[partition]++
		if !bytes.Equal(saved(f.t, s), saved(f.t, replays[partition])) {
			f.t.Errorf("seed %d: the state of tenure %d differs from a replay", f.seed, tenure)
		}
	})
	if len(f.tops) != 0 || slices.Contains(owners, 0) {
		f.t.Errorf("seed %d: not ended: %v; owners: %v", f.seed, f.tops, owners)
	}
	wrong := k.faults(len(replays))
	if k.left > 0 {
		f.t.Errorf("seed %d: %d children are let go", f.seed, k.left)
	}
	for _, wrong := range wrong {
		f.t.Errorf("seed %d: %s", f.seed, wrong)
	}
	return k
}

// TestSubrunsUnderFaults: runs start runs across one to four partitions, with crashes anywhere, partitions that nobody has for minutes, and everything that
// passes between runs late, twice and out of order.
func TestSubrunsUnderFaults(t *testing.T) {
	t.Parallel()
	reg := registry()
	seeds := uint64(100)
	ends, total := map[string]int{}, map[simulate.Fault]int{}
	var children, across, cancelled, overtaken, repeated int
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 12))
		f := newFamily(t, reg, seed, simulate.Options{Partitions: 1 + int(seed%4), Faults: simulate.Faults{Rate: allFaults}})
		for i, name := range []string{"top", "wide", "hasty", "loose", "top", "wide"} {
			at, cancel := time.Duration(rng.Int64N(int64(20*time.Second))), time.Duration(0)
			if i >= 4 {
				cancel = at + 1 + time.Duration(rng.Int64N(int64(6*time.Second)))
			}
			f.start(byte(i+1), name, cancel, slices.Repeat([]time.Duration{at}, 1+rng.IntN(2))...)
		}
		k := f.judge(ends)
		children, across, cancelled, overtaken, repeated = children+k.children, across+k.across, cancelled+k.cancelled, overtaken+k.overtaken, repeated+k.repeated
		for f, n := range f.w.Faults() {
			total[f] += n
		}
	}
	said := fmt.Sprintf("%d children, %d of them across partitions, %d cancelled, %d of those before they came, %d answered more than once; %v; %v", children, across, cancelled, overtaken, repeated, ends, total)
	t.Log(said)
	for _, how := range []string{"top succeeded", "top cancelled", "wide succeeded", "wide cancelled", "hasty succeeded", "loose succeeded", "leaf succeeded", "leaf cancelled", "middle cancelled"} {
		if ends[how] < int(seeds)/10 {
			t.Errorf("%s: %d runs prove nothing", how, ends[how])
		}
	}
	if n := int(seeds) / 10; across < 5*n || cancelled < 5*n || overtaken < n || repeated < n {
		t.Errorf("too little happened: %s", said)
	}
	for _, f := range simulate.AllFaults() {
		if total[f] < int(seeds)/10 {
			t.Errorf("too few faults prove anything: %s", said)
		}
	}
}

// TestSubrunsStruckAtEveryRecord: two partitions, and at each record of either one each owner dies, or saves and leaves, or is taken over: at once, when it is
// read, and when what it led to is under way. The other partition goes on.
func TestSubrunsStruckAtEveryRecord(t *testing.T) {
	t.Parallel()
	reg := registry()
	ends := map[string]int{}
	play := func(at int, strike func(w *simulate.World)) (*family, *kin) {
		var f *family
		seen := 0
		f = newFamily(t, reg, 1, simulate.Options{Partitions: 2, Durable: func(*journal.Record) {
			if seen++; seen == at {
				strike(f.w)
			}
		}})
		f.start(1, "top", 0, time.Second)
		f.start(5, "wide", 0, time.Second)
		f.start(2, "top", 4*time.Second, 2*time.Second)
		f.start(4, "wide", 3*time.Second, 2*time.Second)
		f.start(3, "hasty", 0, time.Second)
		return f, f.judge(ends)
	}
	f, k := play(-1, nil)
	records := len(f.w.Logs()[0]) + len(f.w.Logs()[1])
	if len(f.w.Logs()[0]) < 40 || len(f.w.Logs()[1]) < 40 || k.across < 8 || k.cancelled < 5 {
		t.Fatalf("%d and %d records, %d children across, %d cancelled prove nothing", len(f.w.Logs()[0]), len(f.w.Logs()[1]), k.across, k.cancelled)
	}
	struck := 0
	faults := []simulate.Fault{simulate.Crash, simulate.Restart, simulate.TakeOver}
	for at := 13; at <= records; at++ { // Those before are definitions, while the world is made.
		for partition := range 2 {
			for when := range 3 {
				fault := faults[(at+partition+when)%3]
				if when == 0 {
					fault = simulate.Crash
				}
				f, _ := play(at, func(w *simulate.World) {
					switch when {
					case 0:
						w.Strike(partition, fault)
					case 1:
						w.After(0, func() { w.Strike(partition, fault) })
					default:
						w.After(time.Microsecond, func() { w.Strike(partition, fault) })
					}
				})
				struck += f.w.Faults()[fault]
			}
		}
	}
	t.Logf("%d records, struck %d times; %v", records, struck, ends)
	if struck < records*5 {
		t.Errorf("%d records, and struck %d times only", records, struck)
	}
}

const pausing = `version: 1
functions: { f: { exec: cat } }
triggers:
  leaf: { flow: { function: f } }
  late: { flow: { sequence: [{ function: f }, { map: { items: 3, do: { subrun: leaf } } }] } }
`

// TestSubrunsOfPausedRuns: over two partitions, with and without faults, a run that is paused starts no other, though it goes on deciding; those that it has
// started go on, and their answers are taken. Cancelled while it is paused, it never starts one.
func TestSubrunsOfPausedRuns(t *testing.T) {
	t.Parallel()
	reg := registry()
	const resumed = 90 * time.Second
	var held, early, across int
	for seed := range uint64(30) {
		o := simulate.Options{Partitions: 2}
		if seed > 0 {
			o.Faults.Rate = allFaults
		}
		f := familyOf(t, reg, pausing, seed, o)
		turn := func(id byte, kind journal.Kind, at time.Duration) {
			f.w.After(at, func() {
				f.w.Append(engine.Record(kind, journal.RunID{id * 43, id}, &engine.PauseFact{ID: "1", By: "ada"}))
			})
		}
		for id := byte(1); id <= 4; id++ {
			cancel := time.Duration(0)
			if id == 2 {
				cancel = resumed / 2
			}
			f.start(id, "late", cancel, time.Second)
			pause := 1500 * time.Millisecond // Before f can have answered.
			if id == 3 {
				pause = 20 * time.Second // Children may be at work.
			}
			turn(id, journal.Pause, pause)
			turn(id, journal.Resume, resumed)
		}
		f.judge(map[string]int{})
		begin, first := f.w.Logs()[0][0].Time, f.defs["leaf"].Digest()
		for partition, log := range f.w.Logs() {
			for i := range log {
				x, err := engine.DecodeStart(log[i].Payload)
				if log[i].Kind != journal.Start || err != nil || x.Digest != first {
					continue
				}
				parent, _, _, _ := engine.ParseInvocationID(x.Parent)
				after := log[i].Time.Sub(begin)
				switch {
				case parent[1] == 2:
					t.Errorf("seed %d: a run that was cancelled while it was paused started one after %s", seed, after)
				case parent[1] == 3 && after < resumed:
					early++
				case after < resumed-5*time.Second: // The logs have clocks of their own.
					t.Errorf("seed %d: run %d, which is paused, started one after %s", seed, parent[1], after)
				default:
					held++
				}
				if partition != int(parent[0]>>7) {
					across++
				}
			}
		}
	}
	if held < 60 || early < 30 || across < 60 {
		t.Errorf("%d starts that were held, %d that were not, and %d across partitions prove nothing", held, early, across)
	}
}
