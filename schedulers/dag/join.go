package dag

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A dag's children meet at its end: they are its leaves. A leaf that could not run has failed, with the error that kept it from it; a step before the leaves
// counts by what it does to them.

// met books that a leaf has ended.
func (s *State) met(status uint8) {
	switch status {
	case succeeded:
		s.Succeeded++
	case skipped:
		s.Skipped++
	default:
		s.Failed++
	}
}

func (p *DAG) tally(s *State) schedulers.Counts {
	return schedulers.Counts{Spawned: p.graph.tips, Succeeded: s.Succeeded, Failed: s.Failed, Skipped: s.Skipped}
}

// judge ends the dag once its join is decided by the leaves that have ended, one after the other; it reports whether it is.
func (t *turn) judge() bool {
	for _, slot := range t.tips {
		t.s.met(t.s.Status[slot])
		o := t.outcome(t.f, t.s, slot, t.s.Done)
		progress, err := t.Join.Judge(t.f, t.tally(t.s), o)
		if t.joined(progress, err, o.Value) {
			return true
		}
	}
	return false
}

func (t *turn) joined(progress schedulers.Progress, err *lang.Error, first lang.Value) bool {
	switch {
	case progress == schedulers.Open:
		return false
	case progress == schedulers.Unreachable:
		t.f.Fail(err, t.Join.How()...)
	case t.Join.One():
		t.f.Succeed(first, t.Join.How()...)
	default:
		t.f.Succeed(t.leaves(), t.Join.How()...)
	}
	return true
}

// leaves is how each leaf ended, by its name, as the join shows it.
func (t *turn) leaves() lang.Value {
	var members []lang.Member
	for slot := range t.Steps {
		if !t.graph.leaves[slot] {
			continue
		}
		show := t.Join.Undone(t.s.Status[slot] == running)
		if t.s.Status[slot] > running {
			show = t.Join.Value(t.outcome(t.f, t.s, slot, t.s.Done))
		}
		members = append(members, lang.Member{Key: t.Steps[slot].Name, Value: show})
	}
	return lang.Object(members...)
}
