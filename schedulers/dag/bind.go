package dag

import (
	"slices"
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// siblings are the needs of a step, as a whole, that had ended when it opened, in order.
func (p *DAG) siblings(s *State, slot int) []int {
	needs := p.graph.needs[slot]
	out := make([]int, 0, len(needs))
	for _, need := range needs {
		if end := s.Ends[need]; end > 0 && end <= s.Opens[slot] {
			out = append(out, need)
		}
	}
	slices.Sort(out) // A document may name the needs in any order.
	return out
}

// Bind gives a step the outputs of those of its needs that had ended when it opened.
func (p *DAG) Bind(f schedulers.Scope, s *State, slot, index int) (schedulers.Binding, error) {
	siblings := p.siblings(s, slot)
	if p.wideOf(s, slot) != nil {
		return p.bindElement(f, s, slot, p.elementOf(s, slot, index), siblings)
	}
	needs := p.graph.needs[slot]
	if len(needs) == 0 {
		return schedulers.Binding{Input: f.Input()}, nil
	}
	members, outcomes := make([]lang.Member, len(needs)), make([]lang.Member, 0, len(needs))
	for i, need := range needs {
		members[i].Key = p.Steps[need].Name
		if _, had := slices.BinarySearch(siblings, need); had {
			o := p.outcome(f, s, need, s.Opens[slot])
			members[i].Value = o.Collected()
			if p.graph.told[slot] {
				outcomes = append(outcomes, lang.Member{Key: p.Steps[need].Name, Value: o.Settled()})
			}
		}
	}
	b := schedulers.Binding{Input: lang.Object(members...), Siblings: siblings}
	if p.graph.told[slot] {
		b.Vars = lang.Vars{{Name: "outcomes", Value: lang.Object(outcomes...)}}
	}
	return b, nil
}

// bindElement gives an element its item, and what the elements that it needs yielded.
func (p *DAG) bindElement(f schedulers.Scope, s *State, slot, i int, siblings []int) (schedulers.Binding, error) {
	items, err := p.items(f, s, slot)
	if err != nil {
		return schedulers.Binding{}, err
	}
	item := schedulers.Item(f, items, i)
	b := schedulers.Binding{Input: item, Siblings: siblings, Vars: lang.Vars{{Name: "item", Value: item}, {Name: "index", Value: lang.Trusted(strconv.Itoa(i))}}}
	if as := p.Steps[slot].As; as != "" {
		b.Vars = append(b.Vars, lang.Var{Name: as, Value: item})
	}
	if len(p.graph.pairs[slot]) > 0 {
		b.Vars = append(b.Vars, lang.Var{Name: "needed", Value: p.needed(f, s, slot, i, lang.Outcome.Collected)})
		if p.graph.told[slot] {
			b.Vars = append(b.Vars, lang.Var{Name: "outcomes", Value: p.needed(f, s, slot, i, lang.Outcome.Settled)})
		}
	}
	return b, nil
}

// needed is an object of the elements that element i needs, by the names of their steps, in a form; null where there is none.
func (p *DAG) needed(f schedulers.Scope, s *State, slot, i int, form func(lang.Outcome) lang.Value) lang.Value {
	var members []lang.Member
	for k := range p.graph.pairs[slot] {
		pair := &p.graph.pairs[slot][k]
		from := p.wideOf(s, pair.slot)
		values := make([]lang.Value, len(pair.offsets))
		for at, offset := range pair.offsets {
			switch j := i + offset; {
			case from.N == 0:
				values[at] = form(p.outcome(f, s, pair.slot, s.Opens[slot]))
			case j >= 0 && j < int(from.N):
				values[at] = form(p.elementOutcome(f, s, pair.slot, j, s.Opens[slot]))
			}
		}
		v := values[0]
		if pair.listed {
			v = lang.List(values...)
		}
		members = append(members, lang.Member{Key: p.Steps[pair.slot].Name, Value: v})
	}
	return lang.Object(members...)
}

// outcome is how a step had ended by a time. One that could not run has failed with the error of the first of its needs that had then.
func (p *DAG) outcome(f schedulers.Scope, s *State, slot int, by int32) lang.Outcome {
	for s.Status[slot] == upstreamFailed && !p.opened(s, slot) {
		slot = p.blocker(s, slot, by)
	}
	if s.Status[slot] == skipped {
		return lang.Skip()
	}
	for i := range s.Faults {
		if x := &s.Faults[i]; x.Slot == slot {
			return lang.Failure(&lang.Error{Type: x.Type, Message: x.Message, Class: lang.Class(x.Class)})
		}
	}
	switch {
	case s.Status[slot] == succeeded && p.opened(s, slot):
		return lang.Success(p.list(f, s, slot))
	case s.Stopped && !p.Cleanup(slot) && (p.opened(s, slot) || f.Outcome(slot, 0).Verdict == 0):
		return lang.Failure(lang.Failf(lang.ClassCancelled, "cancelled", "the dag was cancelled before it had ended"))
	case !p.opened(s, slot):
		return f.Outcome(slot, 0)
	}
	for i := range int(p.wideOf(s, slot).N) {
		// What did fail is told before what could not run because of others.
		if status, _ := p.element(f, s, slot, i); status == failed || status == s.Status[slot] {
			return p.elementOutcome(f, s, slot, i, by)
		}
	}
	return lang.Outcome{}
}

// opened reports a step that has elements.
func (p *DAG) opened(s *State, slot int) bool {
	x := p.wideOf(s, slot)
	return x != nil && x.N > 0
}

// blocker is the first need that kept a step from running, of those that had ended by a time.
func (p *DAG) blocker(s *State, slot int, by int32) int {
	needs := p.graph.needs[slot]
	if len(p.Steps[slot].Teardown) > 0 {
		needs = p.graph.setups[slot]
	}
	for i, need := range needs {
		word := ""
		if p.graph.worded[slot] {
			word = p.graph.words[slot][i]
		}
		if status := as(word, s.Status[need]); s.Ends[need] <= by && s.Ends[need] > 0 && (status == failed || status == upstreamFailed) {
			return need
		}
	}
	panic("dag: a step that could not run, and no need that kept it from it")
}

// elementOutcome is how an element has ended. One that could not run has failed with the error of what kept it from it.
func (p *DAG) elementOutcome(f schedulers.Scope, s *State, slot, i int, by int32) lang.Outcome {
	status, o := p.element(f, s, slot, i)
	if status != upstreamFailed {
		return o
	}
	cause := s.Causes[cellBlocked-s.Cells[int(p.wideOf(s, slot).Base)+i]]
	if cause.Index < 0 {
		return p.outcome(f, s, int(cause.Slot), by)
	}
	return f.Outcome(int(cause.Slot), int(cause.Index))
}

// list is what the elements of a step yielded, in order.
func (p *DAG) list(f schedulers.Scope, s *State, slot int) lang.Value {
	values := make([]lang.Value, p.wideOf(s, slot).N)
	for i := range values {
		_, o := p.element(f, s, slot, i)
		values[i] = o.Collected()
	}
	return lang.List(values...)
}

// Yield is what steps.NAME shows of a step with over: the list, or the error when it failed.
func (p *DAG) Yield(f schedulers.Scope, s *State, slot int) lang.Value {
	if s.Status[slot] == upstreamFailed {
		return lang.Null // As of any step that could not run.
	}
	return p.outcome(f, s, slot, s.Ends[slot]).Collected()
}

// Number is the element that a child is.
func (p *DAG) Number(s *State, slot, index int) int { return p.elementOf(s, slot, index) }

// Declare says that a step sees the outputs of its needs, and an element its item.
func (p *DAG) Declare(slot int) schedulers.Declaration {
	if slot >= len(p.graph.needs) {
		return schedulers.Declaration{}
	}
	d := schedulers.Declaration{Siblings: p.graph.needs[slot], Many: !p.Steps[slot].Over.IsZero()}
	if d.Many {
		d.Names = append(d.Names, "item", "index")
		if as := p.Steps[slot].As; as != "" {
			d.Names = append(d.Names, as)
		}
		if len(p.graph.pairs[slot]) > 0 {
			d.Names = append(d.Names, "needed")
		}
	}
	if p.graph.told[slot] && (d.Many || len(d.Siblings) > 0) {
		d.Names = append(d.Names, "outcomes")
	}
	return d
}

// DeclareOwn says that a branch sees what the step yielded, and what the join sees.
func (*DAG) DeclareOwn(field string) []string {
	if field == "steps.branch" {
		return []string{"output"}
	}
	return schedulers.DeclareJoin(field)
}

// DeclareBeside says that the expressions on a step see its needs' outputs, as the step does.
func (p *DAG) DeclareBeside(e lang.Expr) []int {
	if slot, beside := p.graph.own[e]; beside {
		return p.graph.needs[slot]
	}
	return nil
}
