package engine

import (
	"errors"
	"slices"

	"github.com/onward-router/onward/config/lang"
)

// A view is a task's scope with names before it: the lexical scope of an expression on a step.
type view struct {
	s     *State
	t     *task
	input lang.Value
	vars  lang.Vars
}

// Lookup resolves a name: first those of the place itself, then those that the enclosing frames bind, outwards, then the run's.
func (v view) Lookup(name string) (lang.Term, bool) {
	if name == "input" {
		return v.input, true
	}
	if term, ok := v.vars.Lookup(name); ok {
		return term, true
	}
	if name == "steps" {
		return v.s.steps(v.t), true
	}
	for t := v.t; t != nil; t = t.outer() {
		if term, ok := t.vars().Lookup(name); ok {
			return term, true
		}
	}
	return v.t.run.lookup(name)
}

// lookup resolves the names that all of a run's expressions see.
func (r *run) lookup(name string) (lang.Term, bool) {
	switch name {
	case "event":
		return r.event, true
	case "data":
		return r.data, true
	case "arrived":
		return r.rare().arrived, r.def.Await != nil
	case "run":
		return lang.Object(
			lang.Member{Key: "id", Value: lang.Text(r.id.String())},
			lang.Member{Key: "tenant", Value: lang.Text(r.tenant)},
			lang.Member{Key: "trigger", Value: lang.Text(r.def.Trigger)},
		), true
	}
	return nil, false
}

// outer is the task whose names t sees too: the step that t handles, or the step whose frame t is in; nil at the top and inside a named flow.
func (t *task) outer() *task {
	if t.handles != nil {
		return t.handles
	}
	if t.frame == nil || t.frame.isolated() {
		return nil
	}
	return t.frame.owner
}

// steps are the outputs of the named steps that t sees: the siblings that its policy bound, and those of the frames around.
func (s *State) steps(t *task) lang.Members {
	return lang.Members{Keys: t.stepNames, Get: func(key string) (lang.Value, bool) {
		for x := t; x != nil; x = x.outer() {
			if len(x.siblings()) == 0 {
				continue
			}
			if slot, named := x.frame.info.named[key]; named {
				if _, bound := slices.BinarySearch(x.siblings(), slot); bound {
					return s.yielded(x.frame, slot), true
				}
			}
		}
		return lang.Null, false
	}}
}

// yielded is what steps.NAME shows of a child's step. What a policy says of one that runs more than once is remembered: it may be a long list.
func (s *State) yielded(f *frame, slot int) lang.Value {
	if f.info.many[slot] {
		if v, had := f.yields[slot]; had {
			return v
		}
		if v, said := f.info.machine.Yield(&desk{s: s, f: f}, f.info.settings, f.state, slot); said {
			if f.yields == nil {
				f.yields = make(map[int]lang.Value)
			}
			f.yields[slot] = v
			return v
		}
	}
	return f.outcome(slot, 0).Collected()
}

func (t *task) stepNames() []string {
	var names []string
	for x := t; x != nil; x = x.outer() {
		for _, slot := range x.siblings() {
			if name := x.frame.info.children[slot].Name; name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// An endScope is what a destination's expressions see: the run's names, and how it ended.
type endScope struct {
	r    *run
	kind string // the type of the event of its end
}

func (e endScope) Lookup(name string) (lang.Term, bool) {
	switch name {
	case "output":
		return e.r.outcome.Value, true
	case "error":
		if e.r.outcome.Err != nil {
			return e.r.outcome.Err.Value(), true
		}
		return lang.Null, true
	case "input":
		return e.r.data, true
	case "end":
		return e.r.endValue(e.kind), true
	}
	return e.r.lookup(name)
}

func expressionError(where string, err error) *lang.Error {
	kind := "expression_error"
	var cost *lang.CostError
	if errors.As(err, &cost) {
		kind = "cost_limit"
	}
	return &lang.Error{Type: kind, Message: where + ": " + err.Error(), Class: lang.ClassFunction}
}

// path is where the task stands in its run: labels from the top, with an index where a step runs more than once. An unnamed policy at the top has none.
func (t *task) path() string { return string(t.appendPath(nil)) }

func (t *task) appendPath(b []byte) []byte { return t.appendPathOf(b, t.info()) }

func (t *task) appendPathOf(b []byte, info *stepInfo) []byte {
	switch {
	case t.handles != nil:
		b = t.handles.appendPath(b)
	case t.frame != nil:
		b = t.frame.owner.appendPathOf(b, t.frame.info)
	case t.step.Use != lang.UseFunction && t.step.Name == "":
		return b
	}
	if len(b) > 0 {
		b = append(b, '/')
	}
	b = append(b, info.label...)
	// A policy that did not declare that a step may run more than once still gets paths, and idempotency keys, that differ.
	if t.frame != nil && t.handles == nil && (t.frame.info.many[t.slot] || t.index > 0) {
		b = appendIndex(b, t.number())
	}
	return b
}

// number is by which number people know t among those of its step.
func (t *task) number() int {
	return t.frame.info.machine.Number(t.frame.info.settings, t.frame.state, int(t.slot), int(t.index))
}
