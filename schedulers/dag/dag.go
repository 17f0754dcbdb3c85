// Package dag is the policy that runs steps as a directed acyclic graph: each as soon as its trigger rule over the steps it needs allows.
package dag

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A DAG fails when a step failed and nothing caught it, after all that can still run has ended; with `end: leaves`, Airflow's rule, only when a leaf
// failed or could not run. It yields an object: the outputs of its leaves by name, null for skipped ones.
//
// A step without needs is given the DAG's input; any other an object of its needs' outputs by name, and it sees them as steps.NAME: null for what was
// skipped, {"error": ...} for what failed. In the input that also stands for what could not run, with the error that kept it from it. Where the rule
// lets a step run behind a failure it has a further name that tells all ways to end apart whatever the outputs are: outcomes.NAME is {outcome:
// succeeded, value}, {outcome: failed, error} or {outcome: skipped}. A step whose rule lets it run before all its needs have ended stays with what it was given then: null, and no steps.NAME, for those that
// had not.
type DAG struct {
	Steps []Step `doc:"steps,value,required" help:"named steps with needs"`
	End   string `doc:"end" help:"steps (any failed step fails the dag) or leaves (only a failed leaf does)" default:"steps"`

	graph graph
}

// A Step is a step with its place in the graph.
type Step struct {
	lang.Step
	Needs []string `doc:"needs,list" help:"names of the steps that it waits for"`
	Rule  string   `doc:"rule" help:"when to run, given how its needs ended" default:"all_success"`
}

// graph is what Check derives of the steps.
type graph struct {
	needs      [][]int
	successors [][]int
}

// Status of a step.
const (
	pending uint8 = iota
	running
	succeeded
	failed
	skipped
	upstreamFailed
)

// State is how far the graph is.
type State struct {
	Status []uint8
	Tally  []Tally // per step: how its needs ended
	Ended  int
	Done   int32   // events of that kind so far
	Opens  []int32 // per step: Done when it opened
	Ends   []int32 // per step: Done when it ended; 0 before
	First  int     // 1 + slot of the first step that failed
}

// A Tally counts ended needs: succeeded, skipped, failed, upstream failed.
type Tally struct{ S, K, F, U int32 }

// Next books an outcome and opens what became runnable: the work is that of the step's successors, not of the graph.
func (p *DAG) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		n := len(p.Steps)
		s.Status, s.Tally, s.Opens, s.Ends = make([]uint8, n), make([]Tally, n), make([]int32, n), make([]int32, n)
		for slot := range p.Steps {
			if len(p.graph.needs[slot]) == 0 {
				s.Status[slot] = running
				f.Spawn(slot, 1)
			}
		}
	case schedulers.Done:
		p.done(f, s, ev)
	}
	if s.Ended == len(p.Steps) && ev.Kind != schedulers.Cancelled {
		p.end(f, s)
	}
	return nil
}

func (p *DAG) done(f schedulers.Frame, s *State, ev schedulers.Event) {
	s.Done++
	status := succeeded
	switch ev.Outcome.Verdict {
	case lang.Failed:
		status = failed
		if s.First == 0 {
			s.First = 1 + ev.Slot
		}
	case lang.Skipped:
		status = skipped
	}
	type ended struct {
		slot   int
		status uint8
	}
	for queue := []ended{{ev.Slot, status}}; len(queue) > 0; queue = queue[1:] {
		e := queue[0]
		s.Status[e.slot], s.Ends[e.slot] = e.status, s.Done
		s.Ended++
		for _, next := range p.graph.successors[e.slot] {
			s.Tally[next].add(e.status)
			if s.Status[next] != pending {
				continue
			}
			switch decide(p.Steps[next].Rule, s.Tally[next], int32(len(p.graph.needs[next]))) {
			case running:
				s.Status[next], s.Opens[next] = running, s.Done
				f.Spawn(next, 1)
			case skipped:
				s.Status[next] = skipped
				queue = append(queue, ended{next, skipped})
			case upstreamFailed:
				s.Status[next] = upstreamFailed
				queue = append(queue, ended{next, upstreamFailed})
			}
		}
	}
}

func (t *Tally) add(status uint8) {
	switch status {
	case succeeded:
		t.S++
	case skipped:
		t.K++
	case failed:
		t.F++
	case upstreamFailed:
		t.U++
	}
}

var rules = []string{"all_success", "all_failed", "all_done", "all_skipped", "one_success", "one_failed", "one_done", "none_failed", "none_failed_min_one_success", "none_skipped"}

// tolerant are the rules by which a step may run behind a failure.
var tolerant = map[string]bool{"all_failed": true, "all_done": true, "one_success": true, "one_failed": true, "one_done": true}

// decide is Airflow's table of trigger rules (trigger_rule_dep.py): given how n needs ended so far, the step is to run, is skipped, cannot run
// because of a failure upstream, or waits (pending). What it says once, it says whatever the other needs do: the order in which they end decides
// nothing. So all_success waits for all before it is skipped, since a failure still outweighs the skip.
func decide(rule string, t Tally, n int32) uint8 {
	bad, done := t.F+t.U, t.S+t.K+t.F+t.U == n
	choose := func(run, skip, upstream bool) uint8 {
		switch {
		case upstream:
			return upstreamFailed
		case skip:
			return skipped
		case run:
			return running
		}
		return pending
	}
	switch rule {
	case "all_failed":
		return choose(bad == n, t.S+t.K > 0, false)
	case "all_done":
		return choose(done, false, false)
	case "all_skipped":
		return choose(t.K == n, t.S+bad > 0, false)
	case "one_success":
		if t.S > 0 {
			return running
		}
		return choose(false, done && t.K == n, done && t.K < n)
	case "one_failed":
		return choose(bad > 0, done && bad == 0, false)
	case "one_done":
		return choose(t.S+t.F > 0, done && t.S+t.F == 0, false)
	case "none_failed":
		return choose(t.S+t.K == n, false, bad > 0)
	case "none_failed_min_one_success":
		return choose(done && t.K < n, done && t.K == n, bad > 0)
	case "none_skipped":
		return choose(done && t.K == 0, t.K > 0, false)
	}
	return choose(t.S == n, done && t.K > 0, bad > 0)
}

func (p *DAG) end(f schedulers.Frame, s *State) {
	if p.End != "leaves" && s.First > 0 {
		f.Fail(f.Outcome(s.First-1, 0).Err)
		return
	}
	var members []lang.Member
	for slot := range p.Steps {
		if len(p.graph.successors[slot]) == 0 {
			if o := p.outcome(f, s, slot, s.Done); o.Verdict == lang.Failed {
				f.Fail(o.Err)
				return
			}
			members = append(members, lang.Member{Key: p.Steps[slot].Name, Value: f.Outcome(slot, 0).Value})
		}
	}
	f.Succeed(lang.Object(members...))
}

// outcome is how a step had ended by a time. One that could not run has failed with the error of the first of its needs that had then.
func (p *DAG) outcome(f schedulers.Scope, s *State, slot int, by int32) lang.Outcome {
	for s.Status[slot] == upstreamFailed {
		for _, need := range p.graph.needs[slot] {
			if s.Ends[need] <= by && (s.Status[need] == failed || s.Status[need] == upstreamFailed) {
				slot = need
				break
			}
		}
	}
	if s.Status[slot] == skipped {
		return lang.Skip()
	}
	return f.Outcome(slot, 0)
}

// Bind gives a step the outputs of those of its needs that had ended when it opened.
func (p *DAG) Bind(f schedulers.Scope, s *State, slot, _ int) (schedulers.Binding, error) {
	needs := p.graph.needs[slot]
	if len(needs) == 0 {
		return schedulers.Binding{Input: f.Input()}, nil
	}
	members, outcomes := make([]lang.Member, len(needs)), make([]lang.Member, 0, len(needs))
	siblings := make([]int, 0, len(needs))
	for i, need := range needs {
		members[i].Key = p.Steps[need].Name
		if end := s.Ends[need]; end > 0 && end <= s.Opens[slot] {
			o := p.outcome(f, s, need, s.Opens[slot])
			members[i].Value = o.Collected()
			siblings = append(siblings, need)
			if tolerant[p.Steps[slot].Rule] {
				outcomes = append(outcomes, lang.Member{Key: p.Steps[need].Name, Value: o.Settled()})
			}
		}
	}
	slices.Sort(siblings) // A document may name the needs in any order.
	b := schedulers.Binding{Input: lang.Object(members...), Siblings: siblings}
	if tolerant[p.Steps[slot].Rule] {
		b.Vars = lang.Vars{{Name: "outcomes", Value: lang.Object(outcomes...)}}
	}
	return b, nil
}

// Declare says that a step sees the outputs of its needs.
func (p *DAG) Declare(slot int) schedulers.Declaration {
	if slot >= len(p.graph.needs) {
		return schedulers.Declaration{}
	}
	d := schedulers.Declaration{Siblings: p.graph.needs[slot]}
	if tolerant[p.Steps[slot].Rule] && len(d.Siblings) > 0 {
		d.Names = []string{"outcomes"}
	}
	return d
}

// Check derives the graph, and reports steps without a name, unknown needs, unknown rules and cycles.
func (p *DAG) Check() []plugin.Problem {
	var out []plugin.Problem
	if len(p.Steps) == 0 {
		return []plugin.Problem{{What: "a dag without steps", Cure: "add a named step"}}
	}
	at := make(map[string]int, len(p.Steps))
	known := make([]string, 0, len(p.Steps))
	for slot := range p.Steps {
		step := &p.Steps[slot]
		path := []string{"steps", fmt.Sprint(slot)}
		if step.Name == "" {
			out = append(out, plugin.Problem{Path: path, What: "a step of a dag has no name", Cure: "add name: ..."})
			continue
		}
		if _, double := at[step.Name]; double {
			out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf("two steps are named %q", step.Name), Cure: "rename one"})
		}
		at[step.Name] = slot
		known = append(known, step.Name)
		if contains(rules, step.Rule) && step.Rule != "all_success" && len(step.Needs) == 0 {
			out = append(out, plugin.Problem{Path: append(path, "rule"), What: fmt.Sprintf("the rule %s of a step without needs: it waits for nothing", step.Rule), Cure: "add needs: [ ... ], or leave the rule out"})
		}
		if !contains(rules, step.Rule) {
			out = append(out, plugin.Problem{Path: append(path, "rule"), What: fmt.Sprintf("unknown rule %q", step.Rule), Cure: lang.Nearest(step.Rule, rules)})
		}
	}
	if p.End != "steps" && p.End != "leaves" {
		out = append(out, plugin.Problem{Path: []string{"end"}, What: fmt.Sprintf("unknown end %q", p.End), Cure: "write steps or leaves"})
	}
	g := graph{needs: make([][]int, len(p.Steps)), successors: make([][]int, len(p.Steps))}
	user := make([]int, len(p.Steps)) // 1 + the last slot that needs it
	for slot := range p.Steps {
		for i, name := range p.Steps[slot].Needs {
			path := []string{"steps", fmt.Sprint(slot), "needs", fmt.Sprint(i)}
			need, ok := at[name]
			if !ok {
				out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf("unknown step %q", name), Cure: lang.Nearest(name, known)})
				continue
			}
			if user[need] == 1+slot {
				out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf("step %q is named twice", name), Cure: "name it once"})
				continue
			}
			user[need] = 1 + slot
			g.needs[slot] = append(g.needs[slot], need)
			g.successors[need] = append(g.successors[need], slot)
		}
	}
	p.graph = g
	return append(out, p.cycle()...)
}

// Schema tells what Check refuses.
func (*DAG) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"steps": plugin.Schema{"minItems": 1}, "end": plugin.Schema{"enum": []any{"steps", "leaves"}}}}
}

// Schema tells what the Check of the whole refuses.
func (*Step) Schema() plugin.Schema {
	words := make([]any, len(rules))
	for i, rule := range rules {
		words[i] = rule
	}
	return plugin.Schema{
		"required": []any{"name"}, "properties": plugin.Schema{"name": plugin.Schema{"minLength": 1}, "rule": plugin.Schema{"enum": words}},
	}
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// cycle names one cycle, if there is any: what is left when steps without open needs are taken away again and again has one.
func (p *DAG) cycle() []plugin.Problem {
	left := make([]int, len(p.Steps))
	var free []int
	for slot := range p.Steps {
		if left[slot] = len(p.graph.needs[slot]); left[slot] == 0 {
			free = append(free, slot)
		}
	}
	taken := 0
	for ; len(free) > 0; taken++ {
		slot := free[len(free)-1]
		free = free[:len(free)-1]
		for _, next := range p.graph.successors[slot] {
			if left[next]--; left[next] == 0 {
				free = append(free, next)
			}
		}
	}
	if taken == len(p.Steps) {
		return nil
	}
	slot := 0
	for left[slot] == 0 {
		slot++
	}
	seen := make([]int, len(p.Steps)) // 1 + place in path
	var path []int
	for seen[slot] == 0 {
		path = append(path, slot)
		seen[slot] = len(path)
		for _, need := range p.graph.needs[slot] {
			if left[need] > 0 {
				slot = need
				break
			}
		}
	}
	var names []string
	for _, s := range append(path[seen[slot]-1:], slot) {
		names = append(names, p.Steps[s].Name)
	}
	return []plugin.Problem{{
		Path: []string{"steps", fmt.Sprint(slot), "needs"},
		What: "the steps need one another in a circle: " + strings.Join(names, " needs "), Cure: "leave one of these needs out",
	}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[DAG, State](r, "dag", 1, "Runs named steps as a directed acyclic graph, each as soon as the steps that it needs allow.")
}
