package lang

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// CostLimit bounds one evaluation, in CEL's units: about one a step, and one for ten bytes touched.
const CostLimit = 50_000_000

// The calls that replace CEL's own where those are not what JSON needs; an @ cannot be written in an expression.
const (
	callSorted = "@sorted"
	callAdd    = "@add"
	callSub    = "@sub"
	callMul    = "@mul"
	callDiv    = "@div"
	callMod    = "@mod"
)

var arithmetic = map[string]string{
	operators.Add: callAdd, operators.Subtract: callSub, operators.Multiply: callMul, operators.Divide: callDiv, operators.Modulo: callMod,
}

// environment is the language: CEL's standard functions without a clock, optionals, and the extensions for strings, lists, maths, sets and encodings.
var environment = sync.OnceValue(func() *cel.Env {
	binary := func(name string, f func(a, b ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_dyn", []*cel.Type{cel.DynType, cel.DynType}, cel.DynType), cel.SingletonBinaryBinding(f))
	}
	env, err := cel.NewEnv(
		cel.OptionalTypes(), ext.Strings(), ext.Lists(), ext.Math(), ext.Sets(), ext.Encoders(), ext.Bindings(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(64<<10),
		cel.Function(callSorted, cel.Overload("sorted_map", []*cel.Type{cel.DynType}, cel.DynType), cel.SingletonUnaryBinding(func(v ref.Val) ref.Val {
			if m, ok := v.(traits.Mapper); ok {
				return sorted(m)
			}
			return v
		})),
		binary(callAdd, func(a, b ref.Val) ref.Val {
			return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Adder).Add(b) })
		}),
		binary(callSub, func(a, b ref.Val) ref.Val {
			return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Subtractor).Subtract(b) })
		}),
		binary(callMul, func(a, b ref.Val) ref.Val {
			return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Multiplier).Multiply(b) })
		}),
		binary(callDiv, func(a, b ref.Val) ref.Val {
			return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Divider).Divide(b) })
		}),
		binary(callMod, func(a, b ref.Val) ref.Val {
			return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Modder).Modulo(b) })
		}),
	)
	if err != nil {
		panic(fmt.Sprintf("lang: the expression language does not build: %v", err))
	}
	return env
})

// arith brings two numbers to one type before op: with a double, both are doubles; an int and a uint are ints where that fits.
func arith(a, b ref.Val, op func(a, b ref.Val) ref.Val) (out ref.Val) {
	defer func() {
		if recover() != nil { // An operand without the operator: the type assertion of op.
			out = types.NewErr("no such operation on %s and %s", a.Type().TypeName(), b.Type().TypeName())
		}
	}()
	if a.Type() != b.Type() {
		if x, y, ok := common(a, b); ok {
			a, b = x, y
		}
	}
	return op(a, b)
}

func common(a, b ref.Val) (ref.Val, ref.Val, bool) {
	if !isNumber(a) || !isNumber(b) {
		return a, b, false
	}
	if a.Type() == types.DoubleType || b.Type() == types.DoubleType {
		return a.ConvertToType(types.DoubleType), b.ConvertToType(types.DoubleType), true
	}
	for _, v := range []ref.Val{a, b} {
		if u, ok := v.(types.Uint); ok && u > math.MaxInt64 {
			return a.ConvertToType(types.DoubleType), b.ConvertToType(types.DoubleType), true
		}
	}
	return a.ConvertToType(types.IntType), b.ConvertToType(types.IntType), true
}

func isNumber(v ref.Val) bool {
	switch v.(type) {
	case types.Int, types.Uint, types.Double:
		return true
	}
	return false
}

// A compiled is one CEL expression ready to run. It is safe for concurrent use.
type compiled struct {
	source  string
	program cel.Program
	names   []string // free, sorted
	steps   []string // X of steps.X, sorted
	all     bool     // steps is used otherwise
	bare    string   // the expression is just this name
}

// compiledCache keeps programs by source: definitions repeat them, and a program is the same for ever.
var compiledCache struct {
	sync.Mutex
	programs map[string]*compiled
}

const compiledCacheLimit = 4096

func compile(source string) (*compiled, error) {
	compiledCache.Lock()
	c := compiledCache.programs[source]
	compiledCache.Unlock()
	if c != nil {
		return c, nil
	}
	env := environment()
	parsed, issues := env.Parse(source)
	if issues != nil && issues.Err() != nil {
		return nil, tidyIssues(issues)
	}
	c = &compiled{source: source}
	c.inspect(parsed.NativeRep().Expr())
	rewrite(parsed.NativeRep())
	program, err := env.Program(parsed, cel.CostLimit(CostLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimSpace(err.Error()))
	}
	c.program = program
	compiledCache.Lock()
	defer compiledCache.Unlock()
	if compiledCache.programs == nil || len(compiledCache.programs) >= compiledCacheLimit {
		compiledCache.programs = make(map[string]*compiled)
	}
	compiledCache.programs[source] = c
	return c, nil
}

func tidyIssues(issues *cel.Issues) error {
	var parts []string
	for _, e := range issues.Errors() {
		msg := strings.TrimPrefix(e.Message, "Syntax error: ")
		parts = append(parts, fmt.Sprintf("at character %d: %s", e.Location.Column()+1, msg))
		if len(parts) == 3 {
			break
		}
	}
	return fmt.Errorf("%s", strings.Join(parts, "; "))
}

// rewrite replaces arithmetic and map literals by our own.
func rewrite(tree *ast.AST) {
	fac := ast.NewExprFactory()
	var fresh int64 = 1 << 32
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			call := e.AsCall()
			if own, ok := arithmetic[call.FunctionName()]; ok && !call.IsMemberFunction() {
				e.SetKindCase(fac.NewCall(e.ID(), own, call.Args()...))
			}
		case ast.MapKind:
			fresh++
			literal := fac.NewMap(fresh, e.AsMap().Entries())
			e.SetKindCase(fac.NewCall(e.ID(), callSorted, literal))
		}
	}))
}

// inspect finds the free names, and which steps are named.
func (c *compiled) inspect(root ast.Expr) {
	names, steps := map[string]bool{}, map[string]bool{}
	if root.Kind() == ast.IdentKind {
		c.bare = root.AsIdent()
	}
	var walk func(e ast.Expr, bound []string)
	walk = func(e ast.Expr, bound []string) {
		switch e.Kind() {
		case ast.IdentKind:
			if name := e.AsIdent(); !slices.Contains(bound, name) && name != "" {
				names[name] = true
				c.all = c.all || name == "steps"
			}
		case ast.SelectKind:
			sel := e.AsSelect()
			if op := sel.Operand(); op.Kind() == ast.IdentKind && op.AsIdent() == "steps" && !slices.Contains(bound, "steps") {
				names["steps"], steps[sel.FieldName()] = true, true
				return
			}
			walk(sel.Operand(), bound)
		case ast.CallKind:
			call := e.AsCall()
			if key, ok := stepsIndex(call); ok && !slices.Contains(bound, "steps") {
				names["steps"], steps[key] = true, true
				return
			}
			if call.IsMemberFunction() {
				walk(call.Target(), bound)
			}
			for _, a := range call.Args() {
				walk(a, bound)
			}
		case ast.ListKind:
			for _, x := range e.AsList().Elements() {
				walk(x, bound)
			}
		case ast.MapKind:
			for _, x := range e.AsMap().Entries() {
				walk(x.AsMapEntry().Key(), bound)
				walk(x.AsMapEntry().Value(), bound)
			}
		case ast.ComprehensionKind:
			k := e.AsComprehension()
			walk(k.IterRange(), bound)
			walk(k.AccuInit(), bound)
			inner := append(slices.Clone(bound), k.IterVar(), k.AccuVar())
			if k.HasIterVar2() {
				inner = append(inner, k.IterVar2())
			}
			walk(k.LoopCondition(), inner)
			walk(k.LoopStep(), inner)
			walk(k.Result(), inner)
		}
	}
	walk(root, nil)
	for name := range names {
		c.names = append(c.names, name)
	}
	for step := range steps {
		c.steps = append(c.steps, step)
	}
	slices.Sort(c.names)
	slices.Sort(c.steps)
}

// stepsIndex recognises steps['X'], steps.?X and steps[?'X'].
func stepsIndex(call ast.CallExpr) (string, bool) {
	switch call.FunctionName() {
	case operators.Index, operators.OptIndex, operators.OptSelect:
	default:
		return "", false
	}
	args := call.Args()
	if len(args) != 2 || args[0].Kind() != ast.IdentKind || args[0].AsIdent() != "steps" || args[1].Kind() != ast.LiteralKind {
		return "", false
	}
	key, ok := args[1].AsLiteral().(types.String)
	return string(key), ok
}

// An activation answers CEL's questions for names from a Scope.
type activation struct {
	scope Scope
	cache *Cache
}

func (a *activation) ResolveName(name string) (any, bool) {
	term, ok := a.scope.Lookup(name)
	if !ok {
		return nil, false
	}
	switch t := term.(type) {
	case Value:
		v, err := a.cache.tree(t)
		if err != nil {
			return types.NewErr("%s: %v", name, err), true
		}
		return v, true
	case Members:
		return &members{a: a, m: t}, true
	}
	return nil, false
}

func (a *activation) Parent() cel.Activation { return nil }

// members is a lazy object: steps.
type members struct {
	object
	a *activation
	m Members
}

func (m *members) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	if _, found := slices.BinarySearch(m.m.Keys, string(name)); !found {
		return nil, false
	}
	v, err := m.a.cache.tree(m.m.Get(string(name)))
	if err != nil {
		return types.NewErr("%s: %v", name, err), true
	}
	return v, true
}

// whole decodes all members; only expressions that use the object as a whole need it.
func (m *members) whole() *object {
	if m.keys == nil {
		for _, k := range m.m.Keys {
			v, _ := m.Find(types.String(k))
			m.keys, m.vals = append(m.keys, k), append(m.vals, v)
		}
	}
	return &m.object
}

func (m *members) Get(key ref.Val) ref.Val {
	if v, found := m.Find(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}
func (m *members) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}
func (m *members) Size() ref.Val               { return types.Int(len(m.m.Keys)) }
func (m *members) Iterator() traits.Iterator   { return &keyIterator{keys: m.m.Keys} }
func (m *members) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }
func (m *members) Value() any                  { return m.whole() }

func (c *compiled) eval(scope Scope, cache *Cache) (ref.Val, error) {
	a := &activation{scope: scope, cache: cache}
	v, _, err := c.program.Eval(a)
	if err != nil {
		return nil, c.explain(err, a)
	}
	if m, ok := v.(*members); ok {
		return m.whole(), nil
	}
	return v, nil
}

// explain makes CEL's message one that says what is there instead.
func (c *compiled) explain(err error, a *activation) error {
	msg := err.Error()
	if strings.Contains(msg, "cost limit") {
		return fmt.Errorf("${ %s }: costs more than %d steps; filter or page the data before", c.source, CostLimit)
	}
	if name, ok := strings.CutPrefix(msg, "no such attribute(s): "); ok {
		return fmt.Errorf("${ %s }: unknown name %q", c.source, strings.TrimSpace(name))
	}
	if key, ok := strings.CutPrefix(msg, "no such key: "); ok {
		return fmt.Errorf("${ %s }: no such key %q%s", c.source, key, c.present(key, a))
	}
	return fmt.Errorf("${ %s }: %s", c.source, msg)
}

// present lists the keys of the first object that the expression names and that lacks key.
func (c *compiled) present(missing string, a *activation) string {
	for _, name := range c.names {
		term, _ := a.ResolveName(name)
		var keys []string
		switch t := term.(type) {
		case *object:
			keys = t.keys
		case *members:
			keys = t.m.Keys
		}
		if len(keys) == 0 || slices.Contains(keys, missing) || !strings.Contains(c.source, name+"."+missing) {
			continue
		}
		if len(keys) > 10 {
			return fmt.Sprintf("; %s has %d others", name, len(keys))
		}
		return fmt.Sprintf("; %s has %q", name, keys)
	}
	return ""
}
