// Package among is the policy that runs the one of several named steps that an expression names.
//
// It is what a step with an expression for its function or its flow stands for: { function: "${ data.kind }", among: [a, b] }. All that may be named stand
// in the definition, so that a run is pinned to them; what is not among them is not run.
package among

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// An Among yields what the named step did. The name is evaluated once, as the step opens: all tries are the same step's.
type Among struct {
	Pick lang.Expr            `doc:"pick,required" help:"the name of the step to run"`
	Of   map[string]lang.Step `doc:"of,rest,required" help:"the steps by name, which may also stand beside pick"`
}

// State is empty.
type State struct{}

// Next runs the named step, and yields what it did.
func (p *Among) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		v, err := f.Eval(p.Pick, nil)
		if err != nil {
			return err
		}
		slot := p.slot(v)
		if slot < 0 {
			what := p.what()
			f.Fail(lang.Failf(lang.ClassFunction, "unknown_"+what, "%s: %s yields %.80s, and that is none of %s", what, p.Pick.Source(), v.JSON(), strings.Join(p.names(), ", ")))
			return nil
		}
		f.Spawn(slot, 1)
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Failed {
			f.Fail(ev.Outcome.Err)
		} else {
			f.Succeed(ev.Outcome.Value)
		}
	}
	return nil
}

func (p *Among) names() []string { return slices.Sorted(maps.Keys(p.Of)) }

// slot is that of the step which a value names; -1 is none.
func (p *Among) slot(v lang.Value) int {
	var name string
	if v.IsNull() || v.Decode(&name) != nil {
		return -1
	}
	slot, found := slices.BinarySearch(p.names(), name)
	if !found {
		return -1
	}
	return slot
}

// what is what all the steps are: functions, flows, or any steps.
func (p *Among) what() string {
	what := ""
	for _, name := range p.names() {
		switch use := p.Of[name].Use; {
		case use != lang.UseFunction && use != lang.UseFlow || what != "" && what != use:
			return "step"
		default:
			what = use
		}
	}
	return what
}

// Check reports a name that is always the same, or never one.
func (p *Among) Check() []plugin.Problem {
	path := []string{"pick"}
	if len(p.Of) == 0 {
		return []plugin.Problem{{Path: []string{"of"}, What: "nothing to choose among", Cure: "write names with steps, or among: [a, b] beside function: \"${ ... }\""}}
	}
	if v, constant := p.Pick.Const(); constant {
		return []plugin.Problem{{Path: path, What: fmt.Sprintf("%.80s is no expression: it always names the same", v.JSON()), Cure: "write an expression that yields a name, \"${ data.kind }\", or that step in place of all"}}
	}
	switch kind := p.Pick.Kind(); kind {
	case lang.KindAny, lang.KindText:
		return nil
	default:
		return []plugin.Problem{{Path: path, What: fmt.Sprintf("%s always yields a %s, and no name", p.Pick.Source(), kind), Cure: "write an expression that yields a name: \"${ data.kind }\""}}
	}
}

// Schema tells what Check refuses.
func (*Among) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"pick": plugin.Schema{"type": "string", "pattern": `\$\{`}, "of": plugin.Schema{"minProperties": 1}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Among, State](r, "among", 1, "Runs the one of several named steps, functions or flows that an expression names.")
}

// Sketch is one of the steps.
func (p *Among) Sketch() schedulers.Sketch {
	return schedulers.Sketch{Shape: schedulers.OneOf, Caption: p.Pick.Source(), At: p.names()}
}
