package simulate_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// A workflow is a real one: its tasks with the indexes of their parents and their seconds.
type workflow struct {
	name    string
	parents [][]int
	seconds []float64
}

func (w *workflow) UnmarshalJSON(b []byte) error {
	var doc struct {
		Instance string
		Tasks    [][3]json.RawMessage
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	w.name, w.parents, w.seconds = doc.Instance, make([][]int, len(doc.Tasks)), make([]float64, len(doc.Tasks))
	for i, task := range doc.Tasks {
		if err := json.Unmarshal(task[1], &w.parents[i]); err != nil {
			return err
		}
		if err := json.Unmarshal(task[2], &w.seconds[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *workflow) document() string {
	var b strings.Builder
	b.WriteString("version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/\" }, timeout: 0s } }\ntriggers:\n  g:\n    flow:\n      dag:\n")
	for k, parents := range w.parents {
		needs := make([]string, len(parents))
		for i, p := range parents {
			needs[i] = fmt.Sprint("t", p)
		}
		fmt.Fprintf(&b, "        - { name: t%d, function: f, input: %d, needs: [%s] }\n", k, k, strings.Join(needs, ", "))
	}
	return b.String()
}

// critical is the length of the longest path, at infinitely many processors.
func (w *workflow) critical() (longest time.Duration) {
	ends := make([]time.Duration, len(w.parents))
	var end func(k int) time.Duration
	end = func(k int) time.Duration {
		if ends[k] == 0 {
			var begin time.Duration
			for _, p := range w.parents[k] {
				begin = max(begin, end(p))
			}
			ends[k] = begin + w.took(k)
		}
		return ends[k]
	}
	for k := range w.parents {
		longest = max(longest, end(k))
	}
	return longest
}

// took is how long a task runs, at least a microsecond.
func (w *workflow) took(k int) time.Duration {
	return max(time.Duration(w.seconds[k]*float64(time.Second)), time.Microsecond)
}

// TestScientificWorkflows runs all DAGs of the corpus in virtual time: each task once, never before its parents have ended, and the whole in the time
// of the longest path.
func TestScientificWorkflows(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "conformance", "dags", "wfinstances.jsonl"))
	if err != nil {
		t.Skip("NOT RUN: the corpus of scientific workflows is not beside this clone (shared/conformance/dags)")
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	reg, total, widest := registry(), 0, 0
	for _, line := range lines {
		var flow workflow
		if err := json.Unmarshal([]byte(line), &flow); err != nil {
			t.Fatal(err)
		}
		set, findings := config.Parse("workflow.yaml", []byte(flow.document()), reg, nil)
		for _, f := range findings {
			t.Fatal(flow.name, f)
		}
		ended, ran := make([]bool, len(flow.parents)), make([]int, len(flow.parents))
		var w *simulate.World
		w = simulate.New(simulate.Options{Registry: reg, Function: func(inv *engine.Invocation, _ int) simulate.Answer {
			var k int
			if err := inv.Input.Decode(&k); err != nil {
				t.Fatal(err)
			}
			for _, p := range flow.parents[k] {
				if !ended[p] {
					t.Fatalf("%s: task %d began before its parent %d had ended", flow.name, k, p)
				}
			}
			ran[k]++
			w.After(flow.took(k), func() { ended[k] = true })
			return simulate.Answer{Outcome: lang.Success(lang.Null), After: flow.took(k)}
		}})
		def := set.Triggers["g"].Definition
		start := engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "g", Digest: def.Digest()})
		w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}, start)
		if err := w.Run(1_000_000); err != nil {
			t.Fatalf("%s: %v", flow.name, err)
		}
		if len(w.Ended) != 1 || w.Ended[0].Outcome.Verdict != lang.Succeeded {
			t.Fatalf("%s: %v", flow.name, w.Ended)
		}
		if took := w.Ended[0].Ended.Ended.Sub(w.Ended[0].Started); took != flow.critical() {
			t.Errorf("%s: it took %s, and the longest path %s", flow.name, took, flow.critical())
		}
		for k, n := range ran {
			if n != 1 {
				t.Fatalf("%s: task %d ran %d times", flow.name, k, n)
			}
			widest = max(widest, len(flow.parents[k]))
		}
		total += len(ran)
	}
	t.Logf("%d workflows, %d tasks, fan-in to %d", len(lines), total, widest)
	if len(lines) != 102 || total != 22_505 {
		t.Errorf("the corpus has %d workflows with %d tasks", len(lines), total)
	}
}
