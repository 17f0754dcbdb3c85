package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	return r
}

// A world plays a partition: it folds records, answers invocations in a random order, fires timers when nothing else is left, now and then goes on
// from a snapshot, and repeats records that were folded before.
type world struct {
	t                 testing.TB
	reg               *plugin.Registry
	rng               *rand.Rand
	state             *engine.State
	out               engine.Effects
	now               time.Time
	log               []journal.Record
	open              []*engine.Invocation
	calls             map[string]int // by path
	before            func(inv *engine.Invocation)
	ended             map[journal.RunID]lang.Outcome
	answer            func(inv *engine.Invocation) lang.Outcome
	restart           int // one in so many records
	repeat            int
	restarts, repeats int
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, reg: registry(), rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0).UTC(), calls: make(map[string]int),
		ended: make(map[journal.RunID]lang.Outcome), restart: 40, repeat: 10, before: func(*engine.Invocation) {},
		answer: func(*engine.Invocation) lang.Outcome { return lang.Success(lang.Null) },
	}
	w.state = engine.New(w.reg, nil)
	w.fold(claim(1))
	return w
}

func claim(epoch uint64) journal.Record {
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("n")})
	rec.Epoch = epoch
	return rec
}

func (w *world) fold(rec journal.Record) engine.Reason {
	w.t.Helper()
	w.now = w.now.Add(time.Millisecond)
	rec.Time = w.now
	reason, err := w.state.Fold(&rec, &w.out)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = append(w.log, rec)
	for _, e := range w.out.Ended {
		if _, twice := w.ended[e.Run]; twice {
			w.t.Fatalf("run %s ended twice", e.Run)
		}
		w.ended[e.Run] = e.Outcome
	}
	for _, inv := range w.out.Stop {
		for i := range w.open {
			if w.open[i].Run == inv.Run && w.open[i].N == inv.N {
				w.open = append(w.open[:i], w.open[i+1:]...)
				break
			}
		}
	}
	for _, inv := range w.out.Send {
		if inv.Purpose == engine.Call {
			w.before(inv)
			w.calls[inv.Path]++
		}
		w.open = append(w.open, inv)
	}
	return reason
}

func (w *world) save() []byte {
	var b bytes.Buffer
	if err := w.state.Save(&b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// again loads what was saved, and checks that it saves the same bytes.
func (w *world) again() {
	saved := w.save()
	w.state = engine.New(w.reg, nil)
	if err := w.state.Load(bytes.NewReader(saved)); err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(saved, w.save()) {
		w.t.Fatal("a loaded state saves other bytes")
	}
	w.restarts++
	w.fold(claim(w.state.Epoch() + 1))
	var open []*engine.Invocation
	w.state.Outstanding(func(inv *engine.Invocation) { open = append(open, inv) })
	if len(open) != len(w.open) {
		w.t.Fatalf("%d invocations are outstanding and %d were sent", len(open), len(w.open))
	}
	w.open = open
}

// step does one thing; false: nothing is left to do.
func (w *world) step() bool {
	if w.restart > 0 && w.rng.IntN(w.restart) == 0 {
		w.again()
	}
	if w.repeat > 0 && w.rng.IntN(w.repeat) == 0 {
		old := w.log[w.rng.IntN(len(w.log))]
		before := len(w.ended)
		if reason := w.fold(old); reason == engine.Applied && old.Kind != journal.Skip {
			w.t.Fatalf("a repeated %s was applied", old.Kind)
		}
		if len(w.ended) != before {
			w.t.Fatal("a repeated record ended a run")
		}
		w.repeats++
	}
	if len(w.open) > 0 {
		i := w.rng.IntN(len(w.open))
		inv := w.open[i]
		w.open = append(w.open[:i:i], w.open[i+1:]...)
		if inv.Purpose != engine.Call {
			w.fold(engine.Record(journal.Accepted, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}}))
			return true
		}
		w.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: w.answer(inv)}))
		return true
	}
	at, ok := w.state.NextDue()
	if !ok {
		return false
	}
	w.now = at
	for _, d := range w.state.Due(at, 10) {
		rec := engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer})
		rec.Epoch = w.state.Epoch()
		w.fold(rec)
	}
	return true
}

func (w *world) start(doc, trigger, data string) journal.RunID {
	w.t.Helper()
	set, findings := config.Parse("t.yaml", []byte(doc), w.reg, nil)
	for _, f := range findings {
		w.t.Fatal(f)
	}
	def := set.Triggers[trigger].Definition
	run := journal.RunID{byte(len(w.ended)), 1, 2, 3}
	w.fold(journal.Record{Kind: journal.Define, Level: 1, Payload: def.Canonical()})
	v, err := lang.ParseValue([]byte(data))
	if err != nil {
		w.t.Fatal(err)
	}
	f := engine.StartFact{Trigger: trigger, Digest: def.Digest(), Event: lang.Of(map[string]string{"id": "e1"}), Data: v}
	rec := engine.Record(journal.Start, run, &f)
	rec.Tenant = "default"
	if reason := w.fold(rec); reason != engine.Applied {
		w.t.Fatalf("start: %s", reason)
	}
	return run
}

// replay folds the whole log into a new state, which must save the same bytes as the live one.
func (w *world) replay() {
	w.t.Helper()
	state := engine.New(w.reg, nil)
	var out engine.Effects
	for i := range w.log {
		if _, err := state.Fold(&w.log[i], &out); err != nil {
			w.t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := state.Save(&b); err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), w.save()) {
		w.t.Fatal("a replay differs from the live state")
	}
}

const flows = `
version: 1
functions:
  f: { http: { url: "http://127.0.0.1:1/f" }, retry: { attempts: 3, backoff: 1s } }
flows:
  inner: { forkjoin: { branches: { a: { function: f }, b: { wait: 2s } } } }
triggers:
  mix:
    filters: [{ exact: { type: t } }]
    onSuccess: { log: done }
    onFailure: { log: failed }
    flow:
      sequence:
        - { name: wide, map: { items: "${ data }", as: x, window: 5, join: settled, do: { function: f, input: "${ x * 2 }", deadline: 1m } } }
        - { name: inside, flow: inner }
        - dag:
            - { name: a, function: f, catch: [{ do: { function: f } }] }
            - { name: b, function: f, needs: a, rule: all_done }
            - { name: c, map: { items: 3, results: count, do: { function: f } }, needs: a }
        - { function: f, input: "${ size(steps.wide) }", catch: [{ do: { wait: 1s } }] }
`

func TestReplayRestartRepeat(t *testing.T) {
	t.Parallel()
	seeds := 1000
	restarts, repeats, failed := 0, 0, 0
	for seed := range seeds {
		w := newWorld(t, uint64(seed))
		w.answer = func(inv *engine.Invocation) lang.Outcome {
			switch w.rng.IntN(6) {
			case 0:
				return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
			case 1:
				return lang.Outcome{Verdict: lang.Continue, Value: inv.Input}
			}
			return lang.Success(inv.Input)
		}
		run := w.start(flows, "mix", `[1,2,3,4,5,6,7,8,9,10,11,12]`)
		steps := 0
		for w.step() {
			if steps++; steps > 10_000 {
				t.Fatalf("seed %d: it does not end", seed)
			}
		}
		if steps < 20 {
			t.Fatalf("seed %d: %d steps only", seed, steps)
		}
		o, ok := w.ended[run]
		if !ok {
			t.Fatalf("seed %d: the run hangs", seed)
		}
		if o.Verdict == lang.Failed {
			failed++
		}
		if st := w.state.Stats(); st.Runs != 0 || st.Invocations != 0 || st.Timers != 0 {
			t.Fatalf("seed %d: left behind: %+v", seed, st)
		}
		w.replay()
		restarts, repeats = restarts+w.restarts, repeats+w.repeats
	}
	t.Logf("%d seeds, %d restarts, %d repeated records, %d failed runs", seeds, restarts, repeats, failed)
	if restarts < seeds/2 || repeats < seeds || failed == 0 || failed == seeds {
		t.Error("the faults are too rare to prove anything")
	}
}

// TestScientificWorkflows runs all DAGs of the corpus: each task once, never before its parents.
func TestScientificWorkflows(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "conformance", "dags", "wfinstances.jsonl"))
	if err != nil {
		t.Skip("NOT RUN: the corpus of scientific workflows is not beside this clone (shared/conformance/dags)")
	}
	total := 0
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, line := range lines {
		var instance struct {
			Instance string
			Tasks    [][3]json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &instance); err != nil {
			t.Fatal(err)
		}
		var doc strings.Builder
		doc.WriteString("version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" } } }\ntriggers:\n  g:\n    filters: [{ exact: { type: t } }]\n    flow:\n      dag:\n")
		parents := make([][]int, len(instance.Tasks))
		for k, task := range instance.Tasks {
			if err := json.Unmarshal(task[1], &parents[k]); err != nil {
				t.Fatal(err)
			}
			needs := make([]string, len(parents[k]))
			for j, p := range parents[k] {
				needs[j] = fmt.Sprint("t", p)
			}
			fmt.Fprintf(&doc, "        - { name: t%d, function: f, input: %d, needs: [%s] }\n", k, k, strings.Join(needs, ", "))
		}
		w := newWorld(t, uint64(i))
		w.restart, w.repeat = 2000, 100
		done := make([]bool, len(instance.Tasks))
		index := func(inv *engine.Invocation) (k int) {
			if err := inv.Input.Decode(&k); err != nil {
				t.Fatal(err)
			}
			return k
		}
		w.before = func(inv *engine.Invocation) {
			for _, p := range parents[index(inv)] {
				if !done[p] {
					t.Fatalf("%s: task %d began before its parent %d", instance.Instance, index(inv), p)
				}
			}
		}
		w.answer = func(inv *engine.Invocation) lang.Outcome {
			done[index(inv)] = true
			return lang.Success(lang.Null)
		}
		run := w.start(doc.String(), "g", "null")
		for w.step() {
		}
		if o := w.ended[run]; o.Verdict != lang.Succeeded {
			t.Fatalf("%s: %v", instance.Instance, o)
		}
		for k := range done {
			if n := w.calls[fmt.Sprint("t", k)]; n != 1 {
				t.Fatalf("%s: task %d ran %d times", instance.Instance, k, n)
			}
		}
		total += len(done)
	}
	t.Logf("%d workflows, %d tasks", len(lines), total)
	if len(lines) != 102 || total != 22_505 {
		t.Errorf("the corpus has %d workflows with %d tasks", len(lines), total)
	}
}

func BenchmarkCompletion(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := "version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" } } }\ntriggers: { t: { filters: [{ exact: { type: t } }], flow: { map: { items: \"${ data }\", window: 1000, results: none, do: { function: f } } } } }\n"
			var w *world
			var i int
			for b.Loop() {
				if w == nil || len(w.open) == 0 || w.open[0].Purpose != engine.Call {
					b.StopTimer()
					w = newWorld(b, 1)
					w.start(doc, "t", fmt.Sprint(n))
					i = 0
					b.StartTimer()
				}
				inv := w.open[0]
				w.open = w.open[1:]
				w.log = w.log[:0]
				w.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}))
				i++
			}
		})
	}
}
