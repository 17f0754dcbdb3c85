// Package dag is the policy that runs steps as a directed acyclic graph: each as soon as its trigger rule over the steps it needs allows.
package dag

import (
	"fmt"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A DAG fails when a step failed and nothing caught it, after all that can still run has ended; with `end: leaves`, Airflow's rule, only when a leaf
// failed or could not run. It yields an object: the outputs of its leaves by name, null for skipped ones.
//
// A step without needs is given the DAG's input; any other an object of its needs' outputs by name, and it sees them as steps.NAME. A step whose rule
// lets it run before all its needs have ended stays with what it was given then: null, and no steps.NAME, for those that had not.
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
	Leaf   int     // 1 + slot of the step whose failure is that of the first leaf that failed or could not run
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
				f.Spawn(slot, 0, 1)
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
	status, fault := succeeded, 0
	switch ev.Outcome.Verdict {
	case lang.Failed:
		status, fault = failed, 1+ev.Slot
		if s.First == 0 {
			s.First = fault
		}
	case lang.Skipped:
		status = skipped
	}
	type ended struct {
		slot   int
		status uint8
		fault  int // as First
	}
	for queue := []ended{{ev.Slot, status, fault}}; len(queue) > 0; queue = queue[1:] {
		e := queue[0]
		s.Status[e.slot], s.Ends[e.slot] = e.status, s.Done
		s.Ended++
		if len(p.graph.successors[e.slot]) == 0 && s.Leaf == 0 {
			s.Leaf = e.fault
		}
		for _, next := range p.graph.successors[e.slot] {
			s.Tally[next].add(e.status)
			if s.Status[next] != pending {
				continue
			}
			switch decide(p.Steps[next].Rule, s.Tally[next], int32(len(p.graph.needs[next]))) {
			case running:
				s.Status[next], s.Opens[next] = running, s.Done
				f.Spawn(next, 0, 1)
			case skipped:
				s.Status[next] = skipped
				queue = append(queue, ended{next, skipped, 0})
			case upstreamFailed:
				s.Status[next] = upstreamFailed
				queue = append(queue, ended{next, upstreamFailed, s.First})
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

// decide is Airflow's table of trigger rules (trigger_rule_dep.py): given how n needs ended so far, the step is to run, is skipped, cannot run
// because of a failure upstream, or waits (pending).
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
	return choose(t.S == n, t.K > 0 && bad == 0, bad > 0)
}

func (p *DAG) end(f schedulers.Frame, s *State) {
	fault := s.First
	if p.End == "leaves" {
		fault = s.Leaf
	}
	if fault > 0 {
		f.Fail(f.Outcome(fault-1, 0).Err)
		return
	}
	var members []lang.Member
	for slot := range p.Steps {
		if len(p.graph.successors[slot]) == 0 {
			members = append(members, lang.Member{Key: p.Steps[slot].Name, Value: f.Outcome(slot, 0).Value})
		}
	}
	f.Succeed(lang.Object(members...))
}

// Bind gives a step the outputs of those of its needs that had ended when it opened.
func (p *DAG) Bind(f schedulers.Scope, s *State, slot, _ int) (schedulers.Binding, error) {
	needs := p.graph.needs[slot]
	if len(needs) == 0 {
		return schedulers.Binding{Input: f.Input()}, nil
	}
	members := make([]lang.Member, len(needs))
	siblings := make([]int, 0, len(needs))
	for i, need := range needs {
		members[i].Key = p.Steps[need].Name
		if end := s.Ends[need]; end > 0 && end <= s.Opens[slot] {
			members[i].Value = f.Outcome(need, 0).Value
			siblings = append(siblings, need)
		}
	}
	return schedulers.Binding{Input: lang.Object(members...), Siblings: siblings}, nil
}

// Declare says that a step sees the outputs of its needs.
func (p *DAG) Declare(slot int) schedulers.Declaration {
	if slot >= len(p.graph.needs) {
		return schedulers.Declaration{}
	}
	return schedulers.Declaration{Siblings: p.graph.needs[slot]}
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
