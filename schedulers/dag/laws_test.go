package dag_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/dag"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Plays: 300,
	Documents: []string{
		`[{name: a, function: f}]`,
		`[{name: d, function: f, needs: [b, c]}, {name: b, function: f, needs: a}, {name: c, function: f, needs: a}, {name: a, function: f}]`,
		`{steps: [{name: a, function: f}, {name: b, function: f}, {name: c, function: f, needs: [a, b], rule: one_success, input: "${ steps.?a }"}], end: leaves}`,
		`{steps: [{name: a, function: f}, {name: undo, function: f, needs: a, rule: one_failed}, {name: b, function: f, needs: a}], end: leaves}`,
		`{concurrency: 2, steps: [{name: s0, function: f, over: [1, 2, 3, 4, 5]}, {name: s1, function: f, over: "${ steps.s0 }", needs: s0, window: "${ size(steps.s0) - 4 }"}, {name: s2, function: f, over: 5, needs: {s1: ended, s0: same, s2: [-1, -2]}}]}`,
		`{end: leaves, steps: [{name: s0, function: f, branch: "${ output == null ? ['s1'] : ['s2'] }"}, {name: s1, function: f, needs: s0}, {name: s2, function: f, needs: s0}, {name: s3, function: f, needs: [s0, s1], rule: none_failed}]}`,
		`{steps: [{name: s0, function: f}, {name: s1, function: f, needs: s0}, {name: s2, function: f, needs: {s1: failed, s0: succeeded}}, {name: s3, function: f, teardown: s0, needs: [s1, s2]}]}`,
	},
	Generate: func(r *rand.Rand) string { return generate(r, 1+r.IntN(30)) },
	Commutes: func(p *schedulertest.Play) bool {
		return !p.Has(lang.Failed) && !faulty(p) || p.Settings.(*dag.DAG).End == "leaves" && atOnce(p)
	},
	Partial: func(p *schedulertest.Play) bool {
		d := p.Settings.(*dag.DAG)
		return p.Left == 0 && (d.End == "leaves" || slices.ContainsFunc(d.Steps, func(s dag.Step) bool { return len(s.Teardown) > 0 }))
	},
	Answer: func(c schedulertest.Child, given schedulers.Binding, _ *rand.Rand) (lang.Outcome, bool) {
		if _, element := given.Vars.Lookup("index"); element {
			return answer(given.Input), true // In whatever order the elements open.
		}
		return lang.Outcome{}, false
	},
	Want: want,
}

// answer is how an element ends, by its item.
func answer(item lang.Value) lang.Outcome {
	n, err := strconv.Atoi(item.JSON())
	switch {
	case err != nil || n%5 < 3:
		return lang.Success(item)
	case n%5 == 3:
		return lang.Skip()
	}
	return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "item %d", n))
}

// atOnce reports a dag whose steps all wait for all that they need: what it yields hangs on no order, not even when steps fail.
func atOnce(p *schedulertest.Play) bool {
	return !slices.ContainsFunc(p.Settings.(*dag.DAG).Steps, func(s dag.Step) bool {
		return len(s.Needs) > 1 && (s.Rule == "one_success" || s.Rule == "one_failed" || s.Rule == "one_done" || s.Rule == "always")
	})
}

// faulty reports a dag in which a step failed by an expression of the dag's own, which no child tells.
func faulty(p *schedulertest.Play) bool { return newModel(p).faults > 0 }

// A sketch is a dag that is being drawn: step i has the name si, and needs none behind it.
type sketch struct {
	r     *rand.Rand
	over  []bool
	steps []map[string]string // key: JSON
	fixed []bool              // it may not stand behind a branch
	needs []map[int]string
}

func generate(r *rand.Rand, n int) string {
	s := &sketch{r: r, over: make([]bool, n), fixed: make([]bool, n), needs: make([]map[int]string, n)}
	rich := r.IntN(3) > 0
	for i := range n {
		step := map[string]string{"function": `"f"`, "name": fmt.Sprintf(`"s%d"`, i)}
		s.steps = append(s.steps, step)
		s.needs[i] = make(map[int]string)
		switch kind := r.IntN(8); {
		case !rich || i == 0 || kind < 3:
			s.plain(i)
		case kind == 3:
			for range 1 + r.IntN(3) {
				s.needs[i][r.IntN(i)] = `"` + []string{"succeeded", "failed", "skipped", "done", "ended"}[r.IntN(5)] + `"`
			}
			s.write(i)
		case kind == 4:
			s.teardown(i)
		default:
			s.wide(i)
		}
	}
	s.branches()
	docs := make([]string, n)
	for i, at := range r.Perm(n) { // The document's order is not the graph's.
		var keys []string
		for key, v := range s.steps[i] {
			keys = append(keys, fmt.Sprintf("%q: %s", key, v))
		}
		slices.Sort(keys)
		docs[at] = "{" + strings.Join(keys, ", ") + "}"
	}
	doc := `{"steps": [` + strings.Join(docs, ",") + `], "end": "` + []string{"steps", "leaves"}[r.IntN(2)] + `"`
	if r.IntN(3) == 0 {
		doc += fmt.Sprintf(`, "concurrency": %d`, 1+r.IntN(4))
	}
	return doc + "}"
}

// teardown takes down an earlier step once another has ended.
func (s *sketch) teardown(i int) {
	work, setup := s.r.IntN(i), s.r.IntN(i)
	if work == setup || s.steps[setup]["teardown"] != "" {
		s.plain(i)
		return
	}
	s.needs[i][work], s.fixed[i] = "", true
	s.write(i)
	s.steps[i]["teardown"] = fmt.Sprintf(`"s%d"`, setup)
	if s.r.IntN(3) == 0 {
		s.steps[i]["decides"] = "true"
	}
}

func hasKey(m map[int]string, k int) bool { _, had := m[k]; return had }

// plain has a rule over some needs.
func (s *sketch) plain(i int) {
	for range s.r.IntN(4) {
		if i > 0 {
			s.needs[i][s.r.IntN(i)] = ""
		}
	}
	s.write(i)
	if rules := ruleNames(); len(s.needs[i]) > 0 && s.r.IntN(2) == 0 {
		rule := rules[s.r.IntN(len(rules))]
		s.steps[i]["rule"], s.fixed[i] = `"`+rule+`"`, rule == "always"
	}
}

// wide runs over items, perhaps of an earlier step; perhaps its elements need elements.
func (s *sketch) wide(i int) {
	s.over[i] = true
	items := make([]string, []int{0, 1, 3, 4, 4, 4, 4}[s.r.IntN(7)])
	for k := range items {
		items[k] = fmt.Sprint(s.r.IntN([]int{3, 5, 50}[s.r.IntN(3)]))
	}
	over := "[" + strings.Join(items, ",") + "]"
	word := "succeeded"
	if s.r.IntN(2) == 0 {
		before := s.r.IntN(i)
		s.needs[i][before] = ""
		if s.r.IntN(2) == 0 && s.over[before] {
			over = fmt.Sprintf(`"${ steps.s%d }"`, before)
		}
	}
	s.steps[i]["over"] = over
	s.steps[i]["window"] = fmt.Sprint(s.r.IntN(3))
	pairs := map[int]string{}
	for k := range i + 1 {
		if s.over[k] && s.r.IntN(4) == 0 && !hasKey(s.needs[i], k) {
			pairs[k] = []string{`"same"`, "-1", "[-1, -2]", "[0, -1]", "1", "-3"}[s.r.IntN(6)]
			if k == i {
				pairs[k] = []string{"-1", "[-1, -2]", "[-2]"}[s.r.IntN(3)]
			}
		}
	}
	if len(pairs) > 0 {
		for need := range s.needs[i] {
			s.needs[i][need] = `"` + word + `"`
		}
		for need, offsets := range pairs {
			s.needs[i][need] = offsets
		}
		rules := []string{"all_success", "all_done", "none_failed", "all_failed", "none_skipped", "all_done_min_one_success", "none_failed_min_one_success", "all_skipped"}
		s.steps[i]["rule"] = `"` + rules[s.r.IntN(len(rules))] + `"`
	}
	s.write(i)
}

// write writes the needs, a list or a mapping.
func (s *sketch) write(i int) {
	var list []string
	form := "[%s]"
	for k := range i + 1 {
		if how, had := s.needs[i][k]; had && how == "" {
			list = append(list, fmt.Sprintf(`"s%d"`, k))
		} else if had {
			list, form = append(list, fmt.Sprintf(`"s%d": %s`, k, how)), "{%s}"
		}
	}
	if len(list) > 0 {
		s.steps[i]["needs"] = fmt.Sprintf(form, strings.Join(list, ", "))
	}
}

// branches lets some steps choose among those behind them.
func (s *sketch) branches() {
	for i := range s.steps {
		var behind []string
		ok := !s.over[i]
		for k := i + 1; k < len(s.steps); k++ {
			if how, had := s.needs[k][i]; had && (how == "" || how[0] == '"' && how != `"same"`) || s.steps[k]["teardown"] == fmt.Sprintf(`"s%d"`, i) {
				behind = append(behind, fmt.Sprintf("'s%d'", k))
				ok = ok && !s.fixed[k]
			}
		}
		if !ok || len(behind) == 0 || s.r.IntN(3) > 0 {
			continue
		}
		some := func() string {
			return "[" + strings.Join(slices.DeleteFunc(slices.Clone(behind), func(string) bool { return s.r.IntN(2) == 0 }), ",") + "]"
		}
		s.steps[i]["branch"] = fmt.Sprintf(`"${ output == null ? %s : %s }"`, some(), some())
	}
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "dag", laws)
	if tally.Wanted != tally.Plays || tally.Reordered < 60 || tally.Succeeded < 30 || tally.Failed < 30 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "dag", laws) }
