package dag

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// at is the path of a step, or of a key of it.
func at(slot int, keys ...string) []string {
	return append([]string{"steps", fmt.Sprint(slot)}, keys...)
}

// A check gathers what is wrong with a dag while it enters the edges.
type check struct {
	*DAG
	slots    map[string]int
	names    []string
	problems []plugin.Problem
}

func (c *check) find(path []string, cure, format string, a ...any) {
	c.problems = append(c.problems, plugin.Problem{Path: path, What: fmt.Sprintf(format, a...), Cure: cure})
}

// Check derives the graph, and reports what cannot be.
func (p *DAG) Check() []plugin.Problem {
	if len(p.Steps) == 0 {
		return []plugin.Problem{{What: "a dag without steps", Cure: "add a named step"}}
	}
	c := check{DAG: p, slots: make(map[string]int, len(p.Steps))}
	p.graph = newGraph(len(p.Steps))
	for slot := range p.Steps {
		c.name(slot)
	}
	if p.End != "steps" && p.End != "leaves" {
		c.find([]string{"end"}, "write steps or leaves", "unknown end %q", p.End)
	}
	if v, constant := p.Concurrency.Const(); constant {
		if n, ok := schedulers.Whole(v); !ok || n < 1 {
			c.find([]string{"concurrency"}, "write how many steps may be open at a time, or leave it out", "a concurrency of %.80s", v.JSON())
		}
	}
	for slot := range p.Steps {
		c.setups(slot)
		c.needs(slot)
	}
	for slot := range p.Steps {
		c.rule(slot)
		c.teardown(slot)
		c.over(slot)
		c.branch(slot)
	}
	order, left := p.graph.ordered()
	if len(order) < len(p.Steps) {
		return append(c.problems, p.cycle(left))
	}
	p.derive(order)
	if p.Join != nil {
		c.join()
	}
	return c.problems
}

// join holds the join against the leaves, and against what it cannot stand beside.
func (c *check) join() {
	c.problems = append(c.problems, c.Join.CheckWidth(c.graph.tips)...)
	if c.End == "leaves" {
		c.find([]string{"end"}, "leave end out", "end and join both say how the dag ends")
	}
	for slot := range c.Steps {
		if len(c.Steps[slot].Teardown) > 0 {
			c.find(at(slot, "teardown"), "put the dag into a finally, and what the step does into its always", "a teardown in a dag with a join, which may end before it")
		}
	}
}

func (c *check) name(slot int) {
	step := &c.Steps[slot]
	if step.Name == "" {
		c.find(at(slot), "add name: ...", "a step of a dag has no name")
		return
	}
	if _, double := c.slots[step.Name]; double {
		c.find(at(slot), "rename one", "two steps are named %q", step.Name)
	}
	c.slots[step.Name] = slot
	c.names = append(c.names, step.Name)
	for _, e := range []lang.Expr{step.Branch, step.Over, step.Window} {
		if !e.IsZero() {
			c.graph.own[e] = slot
		}
	}
	if !step.Over.IsZero() {
		c.graph.wides++
		c.graph.wide[slot] = c.graph.wides
	}
}

// slot is that of a name which stands in a document under path.
func (c *check) slot(name string, path []string) (int, bool) {
	slot, ok := c.slots[name]
	if !ok {
		c.find(path, lang.Nearest(name, c.names), "unknown step %q", name)
	}
	return slot, ok
}

func (c *check) needs(slot int) {
	seen := make(map[int]bool, len(c.Steps[slot].Needs))
	for i, n := range c.Steps[slot].Needs {
		path := at(slot, "needs", fmt.Sprint(i))
		if n.Word != "" || n.Offsets != nil {
			path = at(slot, "needs", n.Step)
		}
		need, ok := c.slot(n.Step, path)
		switch {
		case !ok:
		case seen[need]:
			c.find(path, "name it once", "step %q is named twice", n.Step)
		case n.Offsets != nil:
			c.elements(slot, need, n, path)
		case !slices.Contains(c.graph.setups[slot], need):
			c.graph.need(slot, need, n.Word)
		}
		seen[need] = ok
	}
}

// elements enters a need of elements.
func (c *check) elements(slot, need int, n Need, path []string) {
	step, from := &c.Steps[slot], &c.Steps[need]
	switch {
	case step.Over.IsZero():
		c.find(path, "add over: to it, or write how "+n.Step+" must have ended: succeeded", "elements of %q are needed by a step that has none", n.Step)
	case from.Over.IsZero():
		c.find(path, "add over: to "+n.Step+", or write how it must have ended: succeeded", "step %q has no elements", n.Step)
	case need == slot && slices.ContainsFunc(n.Offsets, func(o int) bool { return o >= 0 }):
		c.find(path, "write offsets below 0: -1 is the element before", "an element of %q needs itself, or one that comes later", n.Step)
	case early[step.Rule]:
		c.find(at(slot, "rule"), "use a rule that waits for all", "the rule %s of a step whose elements need elements: they wait for all that they need", step.Rule)
	default:
		c.graph.pair(slot, need, n)
	}
}

func (c *check) rule(slot int) {
	step, path := &c.Steps[slot], at(slot, "rule")
	switch none := len(step.Needs) == 0 && len(step.Teardown) == 0; {
	case !slices.Contains(rules, step.Rule):
		c.find(path, lang.Nearest(step.Rule, rules), "unknown rule %q", step.Rule)
	case step.Rule == ruleDefault:
	case none:
		c.find(path, "add needs: [ ... ], or leave the rule out", "the rule %s of a step without needs: it waits for nothing", step.Rule)
	case len(step.Teardown) == 0 && step.Rule == ruleTeardown:
		c.find(path, "add teardown: with the names of its setups", "the rule %s of a step that is no teardown", step.Rule)
	case c.graph.worded[slot] && len(c.graph.pairs[slot]) == 0:
		c.find(path, "leave the rule out, or write the needs as a list", "the rule %s of a step whose needs each say how they must have ended", step.Rule)
	case step.Rule == ruleAlways && !step.Over.IsZero():
		c.find(path, "leave the rule out, or the needs", "the rule always of a step with over: it waits for nothing, and so it would not see what to run over")
	}
}

// setups enters that a teardown needs its setups.
func (c *check) setups(slot int) {
	for i, name := range c.Steps[slot].Teardown {
		path := at(slot, "teardown", fmt.Sprint(i))
		setup, ok := c.slot(name, path)
		switch {
		case !ok:
		case slices.Contains(c.graph.setups[slot], setup):
			c.find(path, "name it once", "step %q is named twice", name)
		case len(c.Steps[setup].Teardown) > 0:
			c.find(path, "name the step that it takes down", "the setup %q is a teardown itself", name)
		default:
			c.graph.setups[slot] = append(c.graph.setups[slot], setup)
			c.graph.need(slot, setup, "")
		}
	}
}

func (c *check) teardown(slot int) {
	step := &c.Steps[slot]
	switch {
	case len(step.Teardown) == 0:
		if step.Decides {
			c.find(at(slot, "decides"), "leave it out: any other step decides anyway", "decides: of a step that is no teardown")
		}
	case step.Rule != ruleDefault && step.Rule != ruleTeardown && slices.Contains(rules, step.Rule):
		c.find(at(slot, "rule"), "leave the rule out", "the rule %s of a teardown, which has one of its own: it runs once its needs have ended, if a setup succeeded", step.Rule)
	case c.graph.worded[slot] || len(c.graph.pairs[slot]) > 0:
		c.find(at(slot, "needs"), "write the needs as a list", "a teardown waits for its needs however they end")
	case len(c.graph.needs[slot]) == len(c.graph.setups[slot]):
		c.find(at(slot), "add needs: with the steps that work with what was set up", "a teardown that waits for no work: it would run as soon as its setup has ended")
	}
}

func (c *check) over(slot int) {
	step := &c.Steps[slot]
	if step.Over.IsZero() {
		if step.As != "" {
			c.find(at(slot, "as"), "add over: ..., or leave it out", "as: of a step without over")
		}
		if n, known := step.window(); n > 0 || !known {
			c.find(at(slot, "window"), "add over: ..., or leave it out", "window: of a step without over")
		}
		return
	}
	for _, p := range append(schedulers.CheckItems(step.Over, "over"), schedulers.CheckWindow(step.Window)...) {
		p.Path = at(slot, p.Path...)
		c.problems = append(c.problems, p)
	}
}

func (c *check) branch(slot int) {
	step := &c.Steps[slot]
	if step.Branch.IsZero() {
		return
	}
	path := at(slot, "branch")
	switch successors := c.graph.successors[slot]; {
	case !step.Over.IsZero():
		c.find(path, "let a step behind it choose", "a branch of a step with over, which yields many outputs")
	case len(successors) == 0:
		c.find(path, "let the steps that it chooses among need it", "a branch that no step stands behind")
	default:
		for _, e := range successors {
			switch next := &c.Steps[e.slot]; {
			case len(next.Teardown) > 0:
				c.find(path, "let the teardown need the steps that the branch chooses among", "the teardown %q behind a branch, which may skip it", next.Name)
			case next.Rule == ruleAlways:
				c.find(path, "leave that rule out", "step %q behind a branch has the rule always, and does not wait for the choice", next.Name)
			}
		}
	}
	v, constant := step.Branch.Const()
	if !constant {
		return
	}
	names, ok := namesOf(v)
	if !ok {
		c.find(path, "write a name, a list of names, or an expression that yields one", "a branch to %.80s", v.JSON())
	}
	for _, name := range names {
		if c.behind(slot, name) < 0 {
			c.find(path, lang.Nearest(name, c.namesBehind(slot)), "a branch to %q, which is no step that needs this one", name)
		}
	}
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
		"required": []any{"name"}, "properties": plugin.Schema{
			"name": plugin.Schema{"minLength": 1}, "rule": plugin.Schema{"enum": words}, "window": schedulers.WindowSchema(),
		},
	}
}
