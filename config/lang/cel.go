package lang

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
	"cel.dev/cel-go/parser"
)

// environment is the language: CEL's standard functions without a clock, optionals, and the extensions for strings, lists, maths, sets and encodings, each at
// the version that it has today: a newer library adds nothing by itself.
var environment = sync.OnceValue(func() *cel.Env {
	text, dyn := cel.StringType, cel.DynType
	env, err := cel.NewEnv(
		cel.OptionalTypes(cel.OptionalTypesVersion(4)), ext.Strings(ext.StringsVersion(5)), ext.Lists(ext.ListsVersion(5)), ext.Math(ext.MathVersion(3)),
		ext.Sets(ext.SetsVersion(0)), ext.Encoders(ext.EncodersVersion(0)), ext.Bindings(ext.BindingsVersion(1)),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.Function("json.encode", cel.Overload("json_encode_dyn", []*cel.Type{dyn}, text)),
		cel.Function("json.parse", cel.Overload("json_parse_string", []*cel.Type{text}, cel.OptionalType(dyn))),
		cel.Function("math.sum", cel.Overload("math_sum_list", []*cel.Type{cel.ListType(dyn)}, dyn)),
		cel.Function("base64.encodeUrl", cel.Overload("base64_encode_url_bytes", []*cel.Type{cel.BytesType}, text)),
		cel.Function("base64.decodeUrl", cel.Overload("base64_decode_url_string", []*cel.Type{text}, cel.BytesType)),
	)
	if err != nil {
		panic(fmt.Sprintf("lang: the expression language does not build: %v", err))
	}
	return env
})

// A compiled is one CEL expression ready to run. It is safe for concurrent use.
type compiled struct {
	source  string
	program cel.Program
	names   []string // free, sorted
	steps   []string // X of steps.X, sorted
	all     bool     // steps is used otherwise
	chosen  []chosen // members of free names, as they stand in it
	bare    string   // the expression is just this name
	path    []string // the expression is just a name and members below it: data.order.id
	fault   error    // what it has that the language has not
}

// A chosen is a member of a name that an expression cannot do without.
type chosen struct{ name, member string }

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
		return nil, tidyIssues(source, issues)
	}
	c = &compiled{source: source}
	kept := c.rewrite(parsed.NativeRep().Expr())
	if c.fault != nil {
		return nil, c.fault
	}
	program, err := env.Program(parsed, calls(kept), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		if m := noArguments.FindStringSubmatch(err.Error()); m != nil {
			return nil, fmt.Errorf("%s does not take (); it takes %s", m[1], strings.Join(signatures(m[1]), ", or "))
		}
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

var noArguments = regexp.MustCompile(`no such overload: (\S+)\(\)$`)

// tidyIssues says where a source is wrong, and how what people bring from other languages is written.
func tidyIssues(source string, issues *cel.Issues) error {
	var parts []string
	for _, e := range issues.Errors() {
		msg := plainSyntax(strings.TrimPrefix(e.Message, "Syntax error: "))
		parts = append(parts, fmt.Sprintf("at character %d: %s", e.Location.Column()+1, msg))
		if len(parts) == 3 {
			break
		}
	}
	if cure := foreign(source); cure != "" {
		return fmt.Errorf("at character %d: %s", issues.Errors()[0].Location.Column()+1, cure)
	}
	return fmt.Errorf("%s", parts[0]) // What comes after the first is its consequence.
}

// A rewriter makes of CEL's tree what calls.go runs, and notes what the expression names. Names, functions in a namespace and types are told apart here,
// once: CEL would try each dotted name at each evaluation, and in each scope around it twice over. Map literals become calls, since CEL keeps their keys in
// Go's order, and what indexes loses its text.
type rewriter struct {
	c            *compiled
	fac          ast.ExprFactory
	fresh        int64
	kept         map[int64]bool // calls that are CEL's own: the steps by which macros build lists
	names, steps map[string]bool
}

func (c *compiled) rewrite(root ast.Expr) (kept map[int64]bool) {
	r := &rewriter{c: c, fac: ast.NewExprFactory(), fresh: 1 << 32, kept: make(map[int64]bool), names: make(map[string]bool), steps: make(map[string]bool)}
	if root.Kind() == ast.IdentKind && typeNamed(root.AsIdent()) == nil {
		c.bare = root.AsIdent()
	}
	if name, ok := dotted(root, nil); ok && root.Kind() == ast.SelectKind {
		c.path = strings.Split(name, ".")
	}
	r.walk(root, nil)
	c.names, c.steps = slices.Sorted(maps.Keys(r.names)), slices.Sorted(maps.Keys(r.steps))
	return r.kept
}

func (r *rewriter) call(name string, args ...ast.Expr) ast.Expr {
	r.fresh++
	return r.fac.NewCall(r.fresh, name, args...)
}

func (r *rewriter) text(s string) ast.Expr {
	r.fresh++
	return r.fac.NewLiteral(r.fresh, types.String(s))
}

func (r *rewriter) walk(e ast.Expr, bound []string) {
	switch e.Kind() {
	case ast.IdentKind:
		if name := e.AsIdent(); name != "" && !slices.Contains(bound, name) {
			if typeNamed(name) == nil {
				r.names[name] = true
				r.c.all = r.c.all || name == "steps"
			}
			e.SetKindCase(r.call(callName, r.text(name)))
		}
	case ast.SelectKind:
		r.selection(e, bound)
	case ast.CallKind:
		r.callOf(e, bound)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			r.walk(x, bound)
		}
	case ast.MapKind:
		r.literal(e, bound)
	case ast.StructKind:
		r.c.fault = fmt.Errorf("%s{...} makes a message, which is no JSON; write an object, such as {'key': value}", e.AsStruct().TypeName())
	case ast.ComprehensionKind:
		k := e.AsComprehension()
		r.walk(k.IterRange(), bound)
		r.walk(k.AccuInit(), bound)
		inner := append(slices.Clone(bound), k.IterVar(), k.AccuVar())
		if k.HasIterVar2() {
			inner = append(inner, k.IterVar2())
		}
		r.walk(k.LoopCondition(), inner)
		r.walk(k.LoopStep(), inner)
		r.walk(k.Result(), inner)
	}
}

func (r *rewriter) selection(e ast.Expr, bound []string) {
	sel := e.AsSelect()
	if isSteps(sel.Operand(), bound) {
		r.steps[sel.FieldName()] = true
		r.stepsName(sel.Operand())
		return
	}
	if name, ok := dotted(e, bound); ok && typeNamed(name) != nil {
		e.SetKindCase(r.call(callName, r.text(name)))
		return
	}
	if of := sel.Operand(); of.Kind() == ast.IdentKind && !sel.IsTestOnly() && !slices.Contains(bound, of.AsIdent()) {
		r.c.chosen = append(r.c.chosen, chosen{of.AsIdent(), sel.FieldName()})
	}
	r.walk(sel.Operand(), bound)
}

func isSteps(e ast.Expr, bound []string) bool {
	return e.Kind() == ast.IdentKind && e.AsIdent() == "steps" && !slices.Contains(bound, "steps")
}

// stepsName is walk for a use of steps that names one of them.
func (r *rewriter) stepsName(e ast.Expr) {
	r.names["steps"] = true
	e.SetKindCase(r.call(callName, r.text("steps")))
}

// dotted returns a.b.c as a text, when a is not a name that the expression itself bound.
func dotted(e ast.Expr, bound []string) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), !slices.Contains(bound, e.AsIdent())
	case ast.SelectKind:
		if sel := e.AsSelect(); !sel.IsTestOnly() {
			name, ok := dotted(sel.Operand(), bound)
			return name + "." + sel.FieldName(), ok
		}
	}
	return "", false
}

func (r *rewriter) callOf(e ast.Expr, bound []string) {
	call := e.AsCall()
	args := call.Args()
	if len(args) == 2 && args[0].Kind() == ast.IdentKind && args[0].AsIdent() == parser.HiddenAccumulatorName {
		r.kept[e.ID()] = true
	}
	if call.IsMemberFunction() {
		if space, ok := dotted(call.Target(), bound); ok {
			if name := space + "." + call.FunctionName(); isFunction(name) {
				e.SetKindCase(r.fac.NewCall(e.ID(), name, args...))
				call = e.AsCall()
			}
		}
	}
	r.style(call)
	if call.IsMemberFunction() {
		r.walk(call.Target(), bound)
	}
	indexes := slices.Contains([]string{operators.Index, operators.OptIndex, operators.OptSelect}, call.FunctionName()) && len(args) == 2
	if indexes && isSteps(args[0], bound) && args[1].Kind() == ast.LiteralKind {
		if key, ok := args[1].AsLiteral().(types.String); ok {
			r.steps[string(key)] = true
			r.stepsName(args[0])
			return
		}
	}
	for _, a := range args {
		r.walk(a, bound)
	}
	if indexes && args[1].Kind() != ast.LiteralKind {
		args[1].SetKindCase(r.call(callPlain, r.fac.CopyExpr(args[1])))
	}
}

// style notes a function that there is not, and one that is called on a value though it takes none, or the other way round: CEL would take either.
func (r *rewriter) style(call ast.CallExpr) {
	name := call.FunctionName()
	f := environment().Functions()[name]
	if f == nil {
		r.c.fault = fmt.Errorf("unknown function %q; %s", name, nearestFunction(name))
		return
	}
	if _, operator := operators.FindReverse(name); operator || name[0] < 'a' || name[0] > 'z' {
		return
	}
	if !slices.ContainsFunc(f.OverloadDecls(), func(o *decls.OverloadDecl) bool { return o.IsMemberFunction() == call.IsMemberFunction() }) {
		r.c.fault = fmt.Errorf("%s is called otherwise; write %s", name, strings.Join(signatures(name), ", or "))
	}
}

// literal makes a call of a map literal: see makeObject.
func (r *rewriter) literal(e ast.Expr, bound []string) {
	var flags strings.Builder
	args := []ast.Expr{nil}
	for _, x := range e.AsMap().Entries() {
		entry := x.AsMapEntry()
		r.walk(entry.Key(), bound)
		r.walk(entry.Value(), bound)
		args = append(args, entry.Key(), entry.Value())
		if entry.IsOptional() {
			flags.WriteByte('?')
		} else {
			flags.WriteByte(' ')
		}
	}
	args[0] = r.text(flags.String())
	e.SetKindCase(r.fac.NewCall(e.ID(), callObject, args...))
}

// typeNamed returns the type of a name such as string or google.protobuf.Duration; nil when it is none.
func typeNamed(name string) ref.Val {
	v, ok := environment().CELTypeProvider().FindIdent(name)
	if !ok {
		return nil
	}
	if _, is := v.(ref.Type); !is {
		return nil
	}
	return v
}

// IsName reports whether an expression can name it: it is no word of the language's own.
func IsName(name string) bool {
	c, err := compile(name)
	return err == nil && c.bare == name
}

func isFunction(name string) bool {
	_, ok := operations()[name]
	return ok
}

// eval evaluates in a scope; e tells what it cost, also when it failed.
func (c *compiled) eval(e *evaluation) (ref.Val, error) {
	frame, err := interpreter.NewExecutionFrame(e)
	if err != nil {
		return nil, fmt.Errorf("${ %s }: %w", c.source, err)
	}
	defer frame.Close()
	frame.SetCostTracker(&e.tracker)
	v, _, err := c.program.Eval(frame)
	if err == nil && e.total() > e.limit {
		err = interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded}
	}
	if err != nil {
		return nil, c.explain(err, e)
	}
	if m, ok := v.(*members); ok {
		return m.whole(), nil
	}
	return v, nil
}

// explain makes CEL's message one that says what is there instead.
func (c *compiled) explain(err error, e *evaluation) error {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled) && e.broken != nil:
		return &CostError{fmt.Sprintf("${ %s }: %s", shorten(c.source), e.broken.msg)}
	case errors.As(err, &cancelled) && e.limit < EvalCost:
		return &CostError{fmt.Sprintf("${ %s }: the expressions that one event set off cost more than %d steps together; filter or page the data before, or do less at a time",
			shorten(c.source), RecordCost)}
	case errors.As(err, &cancelled):
		return &CostError{fmt.Sprintf("${ %s }: costs more than %d steps; filter or page the data before", shorten(c.source), EvalCost)}
	}
	msg := err.Error()
	if key, ok := strings.CutPrefix(msg, "no such key: "); ok {
		return fmt.Errorf("${ %s }: no such key %q%s", c.source, key, c.present(key, e))
	}
	return fmt.Errorf("${ %s }: %s", c.source, msg)
}

// present lists the keys of the first object that the expression names and that lacks key.
func (c *compiled) present(missing string, e *evaluation) string {
	for _, name := range c.names {
		var keys []string
		switch t := e.resolve(name).(type) {
		case *object:
			keys = t.keys
		case *members:
			keys = t.list()
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
