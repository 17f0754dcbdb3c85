package dag

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// A ruleCase is a line of shared/conformance/airflow/trigger_rules.jsonl, of which its first line tells.
type ruleCase struct {
	About, Rule, Case string
	Upstream          counts
	Tasks             *int
	Flag              bool `json:"flag_upstream_failed"`
	Passes            bool
	State             *string

	Graph  map[string][]string
	States map[string]string
	Counts map[string]struct {
		Upstream counts
		Done     int
	}
	Run string
}

type counts struct {
	Success, Skipped, Failed, Removed int
	UpstreamFailed                    int `json:"upstream_failed"`
}

// tally leaves out what was removed, as Airflow does: it is no need any more.
func (c counts) tally() Tally {
	return Tally{S: int32(c.Success), K: int32(c.Skipped), F: int32(c.Failed), U: int32(c.UpstreamFailed)}
}

var airflowStates = map[string]uint8{"success": succeeded, "skipped": skipped, "failed": failed, "upstream_failed": upstreamFailed}

func conformance(t *testing.T) (out []ruleCase) {
	t.Helper()
	f, err := os.Open("../../../shared/conformance/airflow/trigger_rules.jsonl")
	if err != nil {
		t.Skipf("NOT RUN: Airflow's cases are not beside this clone (shared/conformance/airflow): %v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var c ruleCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if c.About == "" {
			out = append(out, c)
		}
	}
	if err := lines.Err(); err != nil || len(out) < 60 {
		t.Fatalf("%d cases, %v", len(out), err)
	}
	return out
}

// TestAirflow: Airflow's own tests of its trigger rules say the same of ours. Of each case there are two lines, one that may set the state, which tells all,
// and one that may not, which tells only whether the rule is met.
func TestAirflow(t *testing.T) {
	t.Parallel()
	cases := conformance(t)
	states := make(map[string]*ruleCase)
	agreed := 0
	for i := range cases {
		if c := &cases[i]; c.Flag {
			states[c.Rule+c.Case] = c
		}
	}
	for i := range cases {
		c := &cases[i]
		if c.Graph != nil {
			continue
		}
		twin := states[c.Rule+c.Case]
		if twin == nil {
			twin = c // Where there is no upstream, and of always, the scheduler asks for no state.
		}
		want := pending
		switch {
		case c.Rule == "unknown": // No document has one: Check refuses it (TestDocuments).
			agreed++
			continue
		case c.Case == "one success among skips and failures, done equals skipped":
			// Counts that cannot be: as many ended as were skipped, and one succeeded. Airflow's rule passes and the state says skipped; ours runs, whose
			// success there is (decision 0033).
			want = running
		case twin.State != nil:
			want = airflowStates[*twin.State]
		case twin.Passes:
			want = running
		}
		tally := c.Upstream.tally()
		n := tally.ended()
		if c.Tasks != nil {
			n = int32(*c.Tasks - c.Upstream.Removed)
		}
		if got := decide(c.Rule, tally, n); got != want {
			t.Errorf("%s, %s: %d, want %d", c.Rule, c.Case, got, want)
		}
		if !c.Flag && c.Passes != (want == running) && twin.State == nil {
			t.Errorf("%s, %s: asked without the state, it passes %t", c.Rule, c.Case, c.Passes)
		}
		agreed++
	}
	if agreed < 64 {
		t.Errorf("%d cases agreed", agreed)
	}
}

// TestAirflowCounts: how needs are counted over a graph, and that a run ends as its leaves do.
func TestAirflowCounts(t *testing.T) {
	t.Parallel()
	for _, c := range conformance(t) {
		if c.Graph == nil {
			continue
		}
		for task, want := range c.Counts {
			var tally Tally
			for _, need := range c.Graph[task] {
				tally.add(airflowStates[c.States[need]])
			}
			if tally != want.Upstream.tally() || int(tally.ended()) != want.Done {
				t.Errorf("%s: %+v, want %+v", task, tally, want)
			}
		}
		if c.Run != "success" || c.States["e"] != "success" || c.States["b"] != "failed" {
			t.Errorf("the graph is another one: %+v", c)
		}
		return
	}
	t.Error("no graph")
}
