package dag

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
)

// choose finds out which of the steps behind one go on. What names none of them fails the step: nobody would hear of a misspelt name otherwise.
func (t *turn) choose(slot int, output lang.Value) (status uint8) {
	step := &t.Steps[slot]
	v, err := t.f.EvalBeside(step.Branch, t.siblings(t.s, slot), lang.Vars{{Name: "output", Value: output}})
	if err != nil {
		t.fault(slot, asError(err, fmt.Sprintf("step %q: branch: ", step.Name)))
		return failed
	}
	names, ok := namesOf(v)
	if !ok {
		t.fault(slot, lang.Failf(lang.ClassFunction, "bad_branch", "step %q: branch: %s yields %.80s and not a name, a list of names or null", step.Name, step.Branch.Source(), v.JSON()))
		return failed
	}
	t.chose = slot
	for _, name := range names {
		next := t.behind(slot, name)
		if next < 0 {
			t.fault(slot, lang.Failf(lang.ClassFunction, "bad_branch", "step %q: branch: %.80q is no step that needs it; %s", step.Name, name, lang.Nearest(name, t.namesBehind(slot))))
			t.chose = -1
			return failed
		}
		t.chosen = append(t.chosen, next)
	}
	return succeeded
}

// namesOf reads what a branch yielded.
func namesOf(v lang.Value) (names []string, ok bool) {
	var name string
	switch v.JSON()[0] {
	case 'n':
		return nil, true
	case '"':
		ok = v.Decode(&name) == nil
		return []string{name}, ok
	case '[':
		var list []*string
		if v.Decode(&list) != nil || slices.Contains(list, nil) {
			return nil, false
		}
		for _, name := range list {
			names = append(names, *name)
		}
		return names, true
	}
	return nil, false
}

func (p *DAG) behind(slot int, name string) int {
	for i := range p.graph.successors[slot] {
		if next := p.graph.successors[slot][i].slot; p.Steps[next].Name == name {
			return next
		}
	}
	return -1
}

func (p *DAG) namesBehind(slot int) (names []string) {
	for i := range p.graph.successors[slot] {
		names = append(names, p.Steps[p.graph.successors[slot][i].slot].Name)
	}
	return names
}

// among reports whether a step goes on: it was chosen itself, or it stands behind one that was.
func (e *edge) among(chosen []int) bool {
	return slices.Contains(chosen, e.slot) || slices.ContainsFunc(e.via, func(slot int) bool { return slices.Contains(chosen, slot) })
}
