// Package fail is the policy that fails: a flow's own errors, for catch and for people.
package fail

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Fail fails its step at once, with an error of class function. The step's own retry, if it has one, fails with it again.
type Fail struct {
	Message lang.Expr `doc:"message,value" help:"what a person is to read; default: the type"`
	Type    lang.Expr `doc:"type" help:"the type that catch and retry choose by; default: failed"`
	Data    lang.Expr `doc:"data" help:"a value that goes with it: error.data"`
}

// State is empty.
type State struct{}

const defaultType = "failed"

// Stops says that nothing behind it runs.
func (*Fail) Stops() {}

// Next fails.
func (p *Fail) Next(f schedulers.Frame, _ *State, _ schedulers.Event) error {
	kind, err := p.text(f, p.Type, defaultType)
	if err != nil {
		return err
	}
	message, err := p.text(f, p.Message, kind)
	if err != nil {
		return err
	}
	e := &lang.Error{Type: kind, Message: message, Class: lang.ClassFunction}
	if e.Data, err = f.Eval(p.Data, nil); err != nil {
		return err
	}
	if fault := bad(kind); fault != "" {
		return &lang.Error{Type: "bad_fail", Class: lang.ClassFunction, Message: fmt.Sprintf("type: %s yields %s", p.Type.Source(), fault)}
	}
	f.Fail(e)
	return nil
}

// text is what an expression yields, as a text; what it leaves out is something else.
func (p *Fail) text(f schedulers.Scope, e lang.Expr, otherwise string) (string, error) {
	if e.IsZero() {
		return otherwise, nil
	}
	v, err := f.Eval(e, nil)
	return plain(v), err
}

func plain(v lang.Value) string {
	var text string
	if v.IsNull() || v.Decode(&text) != nil {
		return v.JSON()
	}
	return text
}

// bad says why a text is no type of an error; empty when it is one.
func bad(kind string) string {
	switch {
	case kind == "" || kind == "null":
		return fmt.Sprintf("%q, which is no type of an error", kind)
	case len(kind) > lang.MaxErrorType:
		return fmt.Sprintf("a type of %d bytes, and %d are the most", len(kind), lang.MaxErrorType)
	}
	return ""
}

// Check reports a constant that is no type.
func (p *Fail) Check() []plugin.Problem {
	v, constant := p.Type.Const()
	if !constant {
		return nil
	}
	var text string
	if v.Decode(&text) != nil || bad(plain(v)) != "" {
		return []plugin.Problem{{Path: []string{"type"}, What: fmt.Sprintf("%.80s is no type of an error", v.JSON()), Cure: "write a word that catch can name: type: out_of_stock"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Fail) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"type": plugin.Schema{"type": "string", "minLength": 1, "maxLength": lang.MaxErrorType}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Fail, State](r, "fail", 1, "Fails at once, with a type, a message and data of the flow's own.")
}
