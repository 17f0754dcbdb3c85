package schedulertest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// A restless policy asks for everything that a frame can grant, by chance from its seed and the number of the event.
type restless struct {
	Seed int         `doc:"seed"`
	Do   []lang.Step `doc:"do,required"`
}

type restlessState struct{ Events int }

func (p *restless) Next(f schedulers.Frame, s *restlessState, ev schedulers.Event) error {
	rng := rand.New(rand.NewPCG(uint64(p.Seed), uint64(s.Events)))
	s.Events++
	if s.Events > 40 {
		values := []lang.Value{lang.Of(s.Events)}
		for slot := range p.Do {
			c := f.Counts(slot)
			values = append(values, f.Collect(slot), lang.Of([]int{c.Spawned, c.Open, c.Succeeded, c.Failed, c.Skipped}), f.Outcome(slot, 1).Collected())
		}
		f.Succeed(lang.List(values...))
		f.Fail(lang.Failf(lang.ClassFunction, "late", "the first end counts"))
		f.Spawn(0, 1)
		return nil
	}
	for slot := range p.Do {
		if ev.Kind == schedulers.Started && rng.IntN(4) == 0 {
			f.Discard(slot)
		}
	}
	for range 1 + rng.IntN(4) {
		slot := rng.IntN(len(p.Do))
		switch rng.IntN(8) {
		case 0:
			f.Window(slot, rng.IntN(4))
		case 1, 2, 3:
			n := rng.IntN(5)
			f.Spawn(slot, n)
		case 4, 5:
			if n := f.Counts(slot).Spawned; n > 0 {
				f.Cancel(slot, rng.IntN(n))
			}
		case 6:
			f.After(strconv.Itoa(slot), time.Duration(1000*s.Events+slot)*time.Millisecond)
		case 7:
			f.Await(fmt.Sprint("signal", slot))
		}
	}
	if rng.IntN(300) == 0 {
		return fmt.Errorf("event %d is too much", s.Events)
	}
	return nil
}

func (p *restless) Bind(f schedulers.Scope, s *restlessState, slot, index int) (schedulers.Binding, error) {
	if index == 7 {
		return schedulers.Binding{}, lang.Failf(lang.ClassFunction, "seven", "no child %d of slot %d", index, slot)
	}
	return schedulers.Binding{Input: lang.List(lang.Of(slot), lang.Of(index), lang.Of(s.Events), lang.Of(f.Counts(slot).Done()))}, nil
}

func (p *restless) Declare(int) schedulers.Declaration { return schedulers.Declaration{Many: true} }

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	schedulers.Register[restless, restlessState](r, "restless", 1, "Asks for everything.")
	return r
}

// A twin plays the same frame on a bench and in the engine.
type twin struct {
	t     *testing.T
	where string
	bench *schedulertest.Bench
	state *engine.State
	out   engine.Effects
	run   journal.RunID
	open  map[schedulertest.Child]*engine.Invocation
	ended *lang.Outcome
}

func newTwin(t *testing.T, policy, document string, data lang.Value) *twin {
	t.Helper()
	s, err := schedulertest.Load(registry(), policy, document)
	if err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	w := &twin{
		t: t, where: policy + " " + document, bench: schedulertest.NewBench(s, data, data), state: engine.New(registry(), nil), run: journal.RunID{1},
		open: make(map[schedulertest.Child]*engine.Invocation),
	}
	def := &lang.Definition{
		Version: 1, Tenant: "default", Trigger: "t", Flow: &lang.Step{Use: policy, Policy: s.Settings}, Policies: map[string]int{policy: 1},
		Functions: map[string]lang.Function{"f": {Contract: "http"}},
	}
	w.claim(1)
	w.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: def.Canonical()})
	start := engine.Record(journal.Start, w.run, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": "e1"}), Data: data})
	start.Tenant = "default"
	w.fold(start)
	w.bench.Start()
	return w
}

func (w *twin) claim(epoch uint64) {
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})
	rec.Epoch = epoch
	w.fold(rec)
}

func (w *twin) fold(rec journal.Record) {
	w.t.Helper()
	rec.Time = w.bench.Now()
	reason, err := w.state.Fold(&rec, &w.out)
	if err != nil || reason != engine.Applied {
		w.t.Fatalf("%s: %s: %s, %v", w.where, rec.Kind, reason, err)
	}
	for _, inv := range w.out.Send {
		if inv.Purpose == engine.Call {
			w.open[child(w.t, inv)] = inv
		}
	}
	// What was opened and cancelled by one record is both sent and stopped.
	for _, inv := range w.out.Stop {
		delete(w.open, child(w.t, inv))
	}
	for _, e := range w.out.Ended {
		w.ended = &e.Outcome
	}
}

// child reads the path of an invocation: the steps are named cSLOT.
func child(t *testing.T, inv *engine.Invocation) (c schedulertest.Child) {
	slot, index, many := strings.Cut(strings.TrimPrefix(inv.Path, "c"), "[")
	var err error
	if c.Slot, err = strconv.Atoi(slot); err != nil {
		t.Fatal(inv.Path)
	}
	if many {
		c.Index, _ = strconv.Atoi(strings.TrimSuffix(index, "]"))
	}
	return c
}

// faults ends the children on the bench whose binding failed: the engine has told the policy at once.
func (w *twin) faults() {
	for again := true; again; {
		again = false
		for _, c := range w.bench.Open() {
			if _, err := w.bench.Binding(c.Slot, c.Index); err != nil {
				path := fmt.Sprint("c", c.Slot)
				if w.bench.Subject.Declare(c.Slot).Many || c.Index > 0 {
					path += fmt.Sprintf("[%d]", c.Index)
				}
				w.bench.Done(c.Slot, c.Index, lang.Failure(err.(*lang.Error).At(path, 0, "")))
				again = true
				break
			}
		}
	}
}

func (w *twin) compare() {
	w.t.Helper()
	w.faults()
	o, ended := w.bench.Ended()
	if ended != (w.ended != nil) {
		w.t.Fatalf("%s: ended on the bench: %t %v, in the engine: %v", w.where, ended, o, w.ended)
	}
	if ended {
		if got := *w.ended; o.Err != nil && got.Err != nil {
			o.Err = o.Err.At(got.Err.Path, got.Err.Attempt, got.Err.Invocation) // The frame's own error has its place from the engine.
		}
		if got := *w.ended; got.Verdict != o.Verdict || got.Value != o.Value || (got.Err == nil) != (o.Err == nil) || got.Err != nil && *got.Err != *o.Err {
			w.t.Fatalf("%s: on the bench %v %v, in the engine %v %v", w.where, o, o.Err, got, got.Err)
		}
		return
	}
	if open := w.bench.Open(); len(open) != len(w.open) {
		w.t.Fatalf("%s: on the bench %v are open, in the engine %v", w.where, open, w.open)
	}
	for _, c := range w.bench.Open() {
		b, _ := w.bench.Binding(c.Slot, c.Index)
		if inv := w.open[c]; inv == nil || inv.Input != b.Input {
			w.t.Fatalf("%s: child %v is given %s on the bench and in the engine: %+v", w.where, c, b.Input, inv)
		}
	}
}

// step lets one thing happen in both.
func (w *twin) step(rng *rand.Rand) {
	if rng.IntN(8) == 0 {
		w.restart()
	}
	open, timers, awaits := w.bench.Open(), w.bench.Timers(), w.bench.Awaits()
	switch n := rng.IntN(len(open) + len(timers) + len(awaits)); {
	case n < len(open):
		o := []lang.Outcome{lang.Success(lang.Of(n)), lang.Success(lang.Text("<a>")), lang.Skip(), lang.Failure(lang.Failf(lang.Class(1+rng.IntN(5)), "boom", "it <broke>"))}[rng.IntN(4)]
		c := open[n]
		inv := w.open[c]
		delete(w.open, c)
		if o.Err != nil {
			o.Err = o.Err.At(inv.Path, inv.Attempt, inv.ID())
		}
		w.bench.Done(c.Slot, c.Index, o)
		w.fold(engine.Record(journal.Completion, w.run, &engine.CompletionFact{N: inv.N, Outcome: o}))
	case n < len(open)+len(timers):
		first := slices.MinFunc(timers, func(a, b schedulertest.Timer) int { return a.Due.Compare(b.Due) })
		due := w.state.Due(first.Due, 1)
		if len(due) != 1 {
			w.t.Fatalf("%s: timer %v is due on the bench, and in the engine %v", w.where, first, due)
		}
		w.bench.Fire(first.Name)
		rec := engine.Record(journal.Fired, w.run, &engine.FiredFact{Timer: due[0].Timer})
		rec.Epoch = w.state.Epoch()
		w.fold(rec)
	default:
		name := awaits[n-len(open)-len(timers)]
		w.bench.Signal(name, lang.Of(n))
		w.fold(engine.Record(journal.Signal, w.run, &engine.SignalFact{Source: "s", ID: fmt.Sprint(rng.Uint64()), Name: name, Data: lang.Of(n)}))
	}
}

// restart goes on from the engine's snapshot.
func (w *twin) restart() {
	var saved bytes.Buffer
	if err := w.state.Save(&saved); err != nil {
		w.t.Fatal(err)
	}
	epoch := w.state.Epoch()
	w.state = engine.New(registry(), nil)
	if err := w.state.Load(&saved); err != nil {
		w.t.Fatal(err)
	}
	w.claim(epoch + 1)
}

func documentOf(rng *rand.Rand, policy string) string {
	n := 1 + rng.IntN(12)
	steps := make([]string, n)
	for i := range steps {
		steps[i] = fmt.Sprintf(`{"function": "f", "name": "c%d"`, i)
		switch {
		case policy == "dag" && i > 0 && rng.IntN(3) > 0:
			steps[i] += fmt.Sprintf(`, "needs": ["c%d"`, rng.IntN(i))
			if i > 1 && !strings.HasSuffix(steps[i], fmt.Sprintf(`"c%d"`, i-1)) {
				steps[i] += fmt.Sprintf(`, "c%d"`, i-1)
			}
			steps[i] += `], "rule": "` + []string{"all_success", "one_success", "one_done", "all_done", "one_failed", "none_skipped"}[rng.IntN(6)] + `"`
		case policy == "choice":
			steps[i] += `, "if": "${ data ` + []string{"==", "<", "!="}[rng.IntN(3)] + fmt.Sprintf(` %d }"`, rng.IntN(20))
		}
		steps[i] += "}"
	}
	all := strings.Join(steps, ",")
	join := `"join": "` + []string{"all", "settled"}[rng.IntN(2)] + `"`
	switch policy {
	case "restless":
		return fmt.Sprintf(`{"seed": %d, "do": [%s]}`, rng.IntN(1<<30), strings.Join(steps[:min(n, 4)], ","))
	case "map":
		return fmt.Sprintf(`{"items": %d, "window": %d, %s, "results": "%s", "do": %s}`, rng.IntN(30), rng.IntN(5), join, []string{"list", "count", "none"}[rng.IntN(3)], steps[0])
	case "forkjoin":
		return `{"branches": [` + all + `], ` + join + `}`
	case "dag":
		return `{"steps": [` + all + `], "end": "` + []string{"steps", "leaves"}[rng.IntN(2)] + `"}`
	}
	return "[" + all + "]"
}

// TestBenchIsLikeEngine plays frames on a bench and in the engine, with restarts from snapshots there: what is open, what it is given, and how the
// frame ends are the same after every event. The laws are judged on the bench, so it must be no other world.
func TestBenchIsLikeEngine(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"restless", "map", "forkjoin", "dag", "sequence", "choice"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			steps := 0
			for seed := range uint64(150) {
				rng := rand.New(rand.NewPCG(seed, 9))
				w := newTwin(t, policy, documentOf(rng, policy), lang.Of(rng.IntN(20)))
				w.where = fmt.Sprintf("seed %d: %s", seed, w.where)
				w.compare()
				for ; w.ended == nil; steps++ {
					w.step(rng)
					w.compare()
				}
			}
			if steps < 60 {
				t.Errorf("%d steps prove nothing", steps)
			}
		})
	}
}
