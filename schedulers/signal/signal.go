// Package signal is the policy that waits for a named signal from outside: an approval, a payment, a human.
package signal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Signal yields the signal's data; one that waits for any of several yields the name of the one that came, too: {name, data}. The others are not waited
// for any longer, and go to whoever waits for them next. A signal that came early was kept; several waits for one name are served first come first. The
// common key deadline bounds the wait of any step; within does so with an error type of its own, signal_deadline.
//
// A signal that has ended a wait well comes again when a step around the wait is tried again: an approval need not be given twice because what comes after
// it failed. One that failed the step does not.
type Signal struct {
	Name      lang.Expr `doc:"name,value" help:"the signal's name"`
	Any       lang.Expr `doc:"any" help:"names, of which the first to come is taken; of several that came early, the first in this list"`
	Fails     lang.Expr `doc:"fails" help:"a name, or names, of signals that fail the step, with the signal's name as the type of the error and its data; of those that came early, before all others"`
	Within    lang.Span `doc:"within,above0" help:"what to do when nothing has come by then is said by onTimeout"`
	OnTimeout string    `doc:"onTimeout" help:"fail (with signal_deadline, also when it is left out) or take (yield null, or {name: null, data: null} with any)"`
}

// State is empty.
type State struct{}

// Next waits, and ends with the signal or the deadline.
func (p *Signal) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	fails, names, err := p.names(f)
	if err != nil {
		return err
	}
	switch ev.Kind {
	case schedulers.Started:
		within, err := schedulers.SpanOf(f, "within", p.Within)
		if err != nil {
			return err
		}
		if within > 0 {
			f.After("within", within)
		}
		for _, name := range append(fails, names...) {
			f.Await(name)
		}
	case schedulers.Signalled:
		data := ev.Outcome.Value
		if slices.Contains(fails, ev.Name) {
			f.Fail(&lang.Error{Type: ev.Name, Class: lang.ClassFunction, Message: fmt.Sprintf("signal %q has come", ev.Name), Data: data})
			return nil
		}
		if f.Version() > 1 {
			f.GiveBack()
		}
		f.Succeed(p.yield(lang.Text(ev.Name), data))
	case schedulers.Fired:
		if p.OnTimeout == "take" {
			f.Succeed(p.yield(lang.Null, lang.Null))
			return nil
		}
		within, err := schedulers.SpanOf(f, "within", p.Within)
		if err != nil {
			return err
		}
		f.Fail(lang.Failf(lang.ClassTimeout, "signal_deadline", "signal %s has not come within %s", quoted(names), within))
	}
	return nil
}

func (p *Signal) yield(name, data lang.Value) lang.Value {
	if p.Any.IsZero() {
		return data
	}
	return lang.Object(lang.Member{Key: "data", Value: data}, lang.Member{Key: "name", Value: name})
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(out, " or ")
}

// names are those that fail the step, and those that it waits for.
func (p *Signal) names(f schedulers.Scope) (fails, names []string, err error) {
	one := p.Name
	if one.IsZero() {
		one = p.Any
	}
	for _, x := range []struct {
		key string
		e   lang.Expr
		to  *[]string
	}{{"fails", p.Fails, &fails}, {p.key(), one, &names}} {
		if x.e.IsZero() {
			continue
		}
		v, err := f.Eval(x.e, nil)
		if err != nil {
			return nil, nil, err
		}
		if *x.to, err = parse(v, x.key != "name"); err != nil {
			return nil, nil, bad("%s: %s yields %.80s and not %w", x.key, x.e.Source(), v.JSON(), err)
		}
	}
	all := append(slices.Clone(fails), names...)
	if twice := double(all); twice != "" {
		return nil, nil, bad("signal %q is named twice", twice)
	}
	if at := slices.IndexFunc(all, long); at >= 0 && f.Version() > 1 {
		return nil, nil, bad("the name %.40q... has %d bytes, and %d are the most", all[at], len(all[at]), lang.MaxName)
	}
	return fails, names, nil
}

func (p *Signal) key() string {
	if p.Any.IsZero() {
		return "name"
	}
	return "any"
}

func bad(format string, a ...any) error {
	return &lang.Error{Type: "bad_signal", Class: lang.ClassFunction, Message: fmt.Errorf(format, a...).Error()}
}

// MaxNames is how many signals one step waits for at most.
const MaxNames = 100

// parse reads a name, or a list of names.
func parse(v lang.Value, several bool) ([]string, error) {
	var name string
	if v.Decode(&name) == nil && name != "" {
		return []string{name}, nil
	}
	if !several {
		return nil, errors.New("a name")
	}
	var names []string
	if v.Decode(&names) != nil || len(names) == 0 || len(names) > MaxNames || slices.Contains(names, "") {
		return nil, fmt.Errorf("a list of 1 to %d names", MaxNames)
	}
	return names, nil
}

func long(name string) bool { return len(name) > lang.MaxName }

// double is a name that stands there twice; empty is none.
func double(names []string) string {
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return names[i]
		}
	}
	return ""
}

// Check reports constants that are no names, and words that do not fit together.
func (p *Signal) Check() (out []plugin.Problem) {
	if p.Name.IsZero() == p.Any.IsZero() {
		return []plugin.Problem{{What: "a signal says either name or any", Cure: "write signal: NAME, or signal: { any: [NAME, ...] }"}}
	}
	var all []string
	for _, x := range []struct {
		key  string
		e    lang.Expr
		cure string
	}{{"name", p.Name, "write signal: NAME"}, {"any", p.Any, "write any: [NAME, ...]"}, {"fails", p.Fails, "write fails: [NAME, ...]"}} {
		v, constant := x.e.Const()
		if !constant {
			continue
		}
		names, err := parse(v, x.key != "name")
		if err != nil {
			what := fmt.Sprintf("%.80s is not %s", v.JSON(), err)
			if x.key == "name" {
				what = fmt.Sprintf("%.80s is not the name of a signal", v.JSON())
			}
			out = append(out, plugin.Problem{Path: []string{x.key}, What: what, Cure: x.cure})
		}
		all = append(all, names...)
	}
	if at := slices.IndexFunc(all, long); at >= 0 {
		out = append(out, plugin.Problem{What: fmt.Sprintf("the name %.40q... has %d bytes, and %d are the most", all[at], len(all[at]), lang.MaxName), Cure: "write a shorter one"})
	}
	if twice := double(all); twice != "" {
		out = append(out, plugin.Problem{What: fmt.Sprintf("signal %q is named twice", twice), Cure: "leave it out in one place"})
	}
	switch {
	case p.OnTimeout != "" && p.OnTimeout != "fail" && p.OnTimeout != "take":
		out = append(out, plugin.Problem{Path: []string{"onTimeout"}, What: fmt.Sprintf("unknown word %q", p.OnTimeout), Cure: lang.Nearest(p.OnTimeout, []string{"fail", "take"})})
	case p.OnTimeout != "" && p.Within.IsZero():
		out = append(out, plugin.Problem{Path: []string{"onTimeout"}, What: "onTimeout without within: no time is ever over", Cure: "add within: 24h"})
	}
	return out
}

// Schema tells what Check refuses.
func (*Signal) Schema() plugin.Schema {
	list := plugin.Schema{"type": []any{"string", "array"}, "minLength": 1, "minItems": 1, "maxItems": MaxNames, "items": plugin.Schema{"type": "string", "minLength": 1, "maxLength": lang.MaxName}}
	return plugin.Schema{
		"oneOf":             []any{plugin.Schema{"required": []any{"name"}}, plugin.Schema{"required": []any{"any"}}},
		"dependentRequired": plugin.Schema{"onTimeout": []any{"within"}},
		"properties": plugin.Schema{
			"name": plugin.Schema{"type": "string", "minLength": 1}, "any": list, "fails": list, "onTimeout": plugin.Schema{"enum": []any{"fail", "take"}},
		},
	}
}

// Register enters the policy. Version 1 does not give signals back to a step that is tried again.
func Register(r *plugin.Registry) {
	for version := 1; version <= 2; version++ {
		schedulers.Register[Signal, State](r, "signal", version, "Waits for a named signal from outside, or for any of several, and yields its data.")
	}
}

// Sketch is what it waits for.
func (p *Signal) Sketch() schedulers.Sketch {
	if p.Name.IsZero() {
		return schedulers.Sketch{Caption: p.Any.Source()}
	}
	return schedulers.Sketch{Caption: p.Name.Source()}
}
