package lang

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// A call is every call of a function or an operator in an expression: it stands in for CEL's own node, so that all calls count what they do before they
// do it, see numbers as numbers whatever their text is, and depend on nothing but their arguments.
type call struct {
	id   int64
	name string
	args []interpreter.InterpretableV2
	op   operation
}

// An operation is what a call does, by the number of its arguments; what is nil it cannot do.
type operation struct {
	one  func(e *evaluation, a ref.Val) ref.Val
	two  func(e *evaluation, a, b ref.Val) ref.Val
	many func(e *evaluation, args []ref.Val) ref.Val
	asIs bool // it passes its arguments on, numbers with their text
}

// calls replaces CEL's nodes; those in kept are the steps of macros, which CEL builds lists with in place.
func calls(kept map[int64]bool) cel.ProgramOption {
	return cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		node, ok := i.(interpreter.InterpretableCall)
		if !ok || kept[i.ID()] {
			return i, nil
		}
		name, args := node.Function(), node.Args()
		var last any
		if len(args) > 0 {
			last = args[len(args)-1]
		}
		literal, constant := last.(interpreter.InterpretableConst)
		if name == callName {
			return &variable{i.ID(), string(literal.Value().(types.String))}, nil
		}
		op, ok := operations()[name]
		if !ok {
			return i, nil // One that takes errors as arguments, or none that there is.
		}
		if constant && name == "matches" {
			op = matchesConstant(literal.Value())
		}
		return &call{id: i.ID(), name: name, args: args, op: op}, nil
	})
}

// ID is the place in the expression.
func (c *call) ID() int64 { return c.id }

// Eval is Exec for CEL's older interface.
func (c *call) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, c.Exec)
}

// Exec evaluates the arguments, and the call.
func (c *call) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	e := evaluationOf(frame)
	e.charge(1)
	var out ref.Val
	switch {
	case len(c.args) == 1 && c.op.one != nil:
		a := c.arg(0, frame)
		if types.IsError(a) {
			return a
		}
		out = c.op.one(e, a)
	case len(c.args) == 2 && c.op.two != nil:
		a := c.arg(0, frame)
		if types.IsError(a) {
			return a
		}
		b := c.arg(1, frame)
		if types.IsError(b) {
			return b
		}
		out = c.op.two(e, a, b)
	default:
		args := make([]ref.Val, len(c.args))
		for i := range args {
			if args[i] = c.arg(i, frame); types.IsError(args[i]) {
				return args[i]
			}
		}
		if c.op.many == nil {
			return types.NewErrWithNodeID(c.id, "%s does not take %d arguments", c.name, len(args))
		}
		out = c.op.many(e, args)
	}
	switch v := out.(type) {
	case types.String:
		e.charge(len(v) / 10)
	case *types.Err:
		return types.LabelErrNode(c.id, v)
	}
	return out
}

func (c *call) arg(i int, frame *interpreter.ExecutionFrame) ref.Val {
	v := c.args[i].Exec(frame)
	if c.op.asIs {
		return v
	}
	return unwrap(v)
}

// A variable is a name that the expression does not bind itself.
type variable struct {
	id   int64
	name string
}

// ID is the place in the expression.
func (v *variable) ID() int64 { return v.id }

// Eval is Exec for CEL's older interface.
func (v *variable) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, v.Exec)
}

// Exec returns what the name stands for.
func (v *variable) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	e := evaluationOf(frame)
	e.charge(1)
	return e.resolve(v.name)
}

// library makes an operation of a function of CEL's.
func library(name string, o *functions.Overload) operation {
	price := func(e *evaluation, v ref.Val) {
		switch v := v.(type) {
		case types.String:
			e.charge(len(v) / 10)
		case types.Bytes:
			e.charge(len(v) / 10)
		case traits.Lister:
			if linear[name] {
				e.charge(int(v.Size().(types.Int)))
			}
		}
	}
	receive := func(a ref.Val, rest ...ref.Val) ref.Val {
		if r, ok := a.(traits.Receiver); ok {
			return r.Receive(name, "", rest)
		}
		kinds := a.Type().TypeName()
		for _, v := range rest {
			kinds += " and " + v.Type().TypeName()
		}
		return types.NewErr("no such operation: %s on %s", strings.Trim(name, "_"), kinds)
	}
	fits := func(a ref.Val) bool { return o.OperandTrait == 0 || a.Type().HasTrait(o.OperandTrait) }
	op := operation{many: func(e *evaluation, args []ref.Val) ref.Val {
		for _, a := range args {
			price(e, a)
		}
		switch {
		case o.Function != nil && (len(args) == 0 || fits(args[0])):
			return o.Function(args...)
		case len(args) == 0:
			return types.NewErr("no such overload: %s()", name)
		}
		return receive(args[0], args[1:]...)
	}}
	if o.Unary != nil || o.Function == nil {
		op.one = func(e *evaluation, a ref.Val) ref.Val {
			price(e, a)
			if o.Unary != nil && fits(a) {
				return o.Unary(a)
			}
			return receive(a)
		}
	}
	if o.Binary != nil || o.Function == nil {
		op.two = func(e *evaluation, a, b ref.Val) ref.Val {
			price(e, a)
			price(e, b)
			if o.Binary != nil && fits(a) {
				return o.Binary(a, b)
			}
			return receive(a, b)
		}
	}
	return op
}

// linear are the functions of CEL's that look at each item of a list.
var linear = map[string]bool{"reverse": true, "slice": true}

// passing are the functions that pass a value on, whatever it is.
var passing = []string{"dyn", "optional.of", "optional.ofNonZeroValue", "or", "orValue", "value"}

// maxPattern bounds what a regular expression compiles to.
const maxPattern = 10_000 // instructions

// A pattern is a regular expression with its size.
type pattern struct {
	*regexp.Regexp
	size int
}

func compilePattern(v ref.Val) (pattern, error) {
	text, _ := v.(types.String)
	if len(text) > maxPattern {
		return pattern{}, fmt.Errorf("a pattern of %d characters; %d is the most", len(text), maxPattern)
	}
	tree, err := syntax.Parse(string(text), syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return pattern{}, err
	}
	if len(prog.Inst) > maxPattern {
		return pattern{}, fmt.Errorf("the pattern %q makes %d instructions; %d is the most", shorten(string(text)), len(prog.Inst), maxPattern)
	}
	re, err := regexp.Compile(string(text))
	return pattern{re, len(prog.Inst)}, err
}

// find looks for the pattern; each character may meet each instruction.
func (p pattern) find(e *evaluation, text types.String) ref.Val {
	e.charge(len(text) * (8 + p.size) / 8)
	return types.Bool(p.MatchString(string(text)))
}

func match(e *evaluation, a, b ref.Val) ref.Val {
	text, ok := a.(types.String)
	if _, ok2 := b.(types.String); !ok || !ok2 {
		return types.NewErr("no such overload: matches on %s and %s", a.Type().TypeName(), b.Type().TypeName())
	}
	e.charge(10 * len(b.(types.String)))
	p, err := compilePattern(b)
	if err != nil {
		return types.NewErrFromString(err.Error())
	}
	e.charge(10 * p.size)
	return p.find(e, text)
}

// matchesConstant compiles a pattern once.
func matchesConstant(v ref.Val) operation {
	p, err := compilePattern(v)
	return operation{two: func(e *evaluation, a, _ ref.Val) ref.Val {
		text, ok := a.(types.String)
		switch {
		case err != nil:
			return types.NewErrFromString(err.Error())
		case !ok:
			return types.NewErr("no such overload: matches on %s", a.Type().TypeName())
		}
		return p.find(e, text)
	}}
}
