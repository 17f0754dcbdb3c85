package lang

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// The kinds of values that an expression may be known to yield; KindAny is all that is known of most.
const (
	KindAny  = "any"
	KindText = "text"
	KindBool = "bool"
	KindNone = "none" // nothing that JSON has a form for
)

// Check says what is wrong with the expressions of a template whatever the data: functions that there are not, and calls and operators that no value of
// these types has. It is CEL's checker, with all names of any type, and as lenient as what evaluates.
func (e Expr) Check() []Finding {
	if e.t == nil {
		return nil
	}
	var out []Finding
	e.t.root.walk(func(c *compiled) {
		_, faults := c.check()
		for _, f := range faults {
			out = append(out, Finding{Pos: e.t.pos, What: fmt.Sprintf("expression ${ %s }: %s", c.source, f.What), Cure: f.Cure})
		}
	})
	return out
}

// Whole reports whether a template is one expression and nothing else.
func (e Expr) Whole() bool { return e.t != nil && e.t.root.kind == partExpr }

// Kind returns what a template yields, as far as that is known without data: a text with anything around its expressions is always a text.
func (e Expr) Kind() string {
	if e.t == nil {
		return KindAny
	}
	switch p := &e.t.root; p.kind {
	case partString:
		return KindText
	case partList:
		return "list"
	case partObject:
		return "object"
	case partExpr:
		kind, _ := p.expr.check()
		return kind
	default:
		return kindOfConstant(p.constant)
	}
}

func kindOfConstant(v Value) string {
	switch c := v.JSON()[0]; c {
	case '"':
		return KindText
	case 't', 'f':
		return KindBool
	case '[':
		return "list"
	case '{':
		return "object"
	case 'n':
		return "null"
	}
	return "number"
}

// kindOf is what a type of CEL's becomes.
func kindOf(t *cel.Type) string {
	switch t.Kind() {
	case types.StringKind, types.BytesKind, types.TimestampKind, types.DurationKind:
		return KindText
	case types.BoolKind:
		return KindBool
	case types.IntKind, types.UintKind, types.DoubleKind:
		return "number"
	case types.ListKind:
		return "list"
	case types.MapKind:
		return "object"
	case types.NullTypeKind:
		return "null"
	case types.TypeKind:
		return KindNone
	}
	return KindAny
}

// check runs CEL's checker.
func (c *compiled) check() (kind string, faults []Finding) {
	env, err := checking(c.names)
	if err != nil {
		return KindAny, []Finding{{What: err.Error()}}
	}
	parsed, issues := env.Parse(c.source)
	if issues.Err() != nil {
		return KindAny, []Finding{{What: issues.Err().Error()}} // It parsed before.
	}
	checked, issues := env.Check(parsed)
	if issues.Err() == nil {
		if kind = kindOf(checked.OutputType()); kind == KindNone {
			faults = append(faults, Finding{What: "yields a type, which no JSON is", Cure: "compare it: type(x) == string"})
		}
		return kind, faults
	}
	for _, e := range issues.Errors() {
		if f := faultOf(e.Message); f.What != "" && !(optional.MatchString(c.source) && selected.MatchString(e.Message)) {
			faults = append(faults, f)
		}
	}
	return KindAny, faults
}

// checking is the language with names of any type. Definitions have few sets of names.
func checking(names []string) (*cel.Env, error) {
	key := strings.Join(names, " ")
	checkers.Lock()
	defer checkers.Unlock()
	if env := checkers.envs[key]; env != nil {
		return env, nil
	}
	options := []cel.EnvOption{}
	for _, name := range names {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := environment().Extend(options...)
	if err != nil {
		return nil, err
	}
	if checkers.envs == nil || len(checkers.envs) > 1000 {
		checkers.envs = make(map[string]*cel.Env)
	}
	checkers.envs[key] = env
	return env, nil
}

var checkers struct {
	sync.Mutex
	envs map[string]*cel.Env
}

var (
	noOverload = regexp.MustCompile(`^found no matching overload for '(.+)' applied to '(.*)'$`)
	optional   = regexp.MustCompile(`optional\.|\.\?|\[\?`)
	selected   = regexp.MustCompile(`^type '(int|uint|double|bool|string|bytes|null_type)' does not support field selection$`) // An optional one has none of it.
	undeclared = regexp.MustCompile(`^undeclared reference to '(.+?)'`)
)

// faultOf makes a fault of the checker's message; none of what evaluates all the same, since CEL's types are stricter than JSON's values.
func faultOf(message string) Finding {
	if m := undeclared.FindStringSubmatch(message); m != nil {
		return Finding{What: fmt.Sprintf("unknown function %q", m[1]), Cure: nearestFunction(m[1])}
	}
	m := noOverload.FindStringSubmatch(message)
	switch {
	case strings.HasPrefix(message, "too many arguments supplied to string.format"):
		return Finding{} // They are left out.
	case m == nil:
		return Finding{What: message}
	}
	name, args := m[1], splitTypes(strings.TrimSuffix(strings.TrimPrefix(m[2], "("), ")"))
	if _, method, ok := strings.Cut(m[2], ".("); ok {
		target, _, _ := strings.Cut(m[2], ".(")
		args = append([]string{target}, splitTypes(strings.TrimSuffix(method, ")"))...)
	}
	if lenient(name, args) {
		return Finding{}
	}
	word, operator := operators.FindReverse(name)
	switch {
	case name == operators.Conditional:
		return Finding{What: fmt.Sprintf("%s where true or false is due, before ?", args[0])}
	case !operator:
		return Finding{What: fmt.Sprintf("%s does not take %s", name, m[2]), Cure: "it takes " + strings.Join(signatures(name), ", or ")}
	case word == "":
		word = strings.Trim(name, "_")
	}
	return Finding{What: fmt.Sprintf("no such operation: %s on %s", word, strings.Join(args, " and "))}
}

// lenient says whether values of these types can do what CEL's checker refuses.
func lenient(name string, args []string) bool {
	number := func(i int) bool { return slices.Contains([]string{"int", "uint", "double"}, args[i]) }
	begins := func(i int, with string) bool { return strings.HasPrefix(args[i], with) }
	switch n := len(args); name {
	case operators.Equals, operators.NotEquals:
		return true
	case operators.Conditional:
		return n == 3 && args[0] == "bool"
	case operators.Negate:
		return n == 1 && (args[0] == "duration" || args[0] == "google.protobuf.Duration")
	case operators.In:
		return n == 2 && (begins(1, "list(") || begins(1, "map("))
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		return n == 2 && (number(0) && number(1) || name == operators.Add && begins(0, "list(") && begins(1, "list("))
	case operators.Modulo:
		return n == 2 && number(0) && number(1) && args[0] != "double" && args[1] != "double"
	case operators.Index, operators.OptIndex:
		return n == 2 && (begins(0, "list(") && number(1) || begins(0, "optional_type(") && !begins(0, "optional_type(list("))
	case "or", "orValue":
		return n == 2 && begins(0, "optional_type(")
	case "hasOnly", "hasAny", "hasAll", "hasExactly", "sets.contains", "sets.equivalent", "sets.intersects":
		return n == 2 && begins(0, "list(") && begins(1, "list(")
	}
	return false
}

// splitTypes takes a list of types apart at its own commas.
func splitTypes(s string) (out []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out = append(out, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		out = append(out, rest)
	}
	return out
}

// Functions lists the functions and macros that expressions have, sorted, without operators.
func Functions() []string {
	out := []string{"has", "all", "exists", "exists_one", "map", "filter", "sortBy", "cel.bind", "optMap", "optFlatMap", "math.greatest", "math.least"}
	for name := range environment().Functions() {
		if name[0] >= 'a' && name[0] <= 'z' && !strings.Contains(name, "@") && name != "in" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// signatures are the forms of a function, three at most.
func signatures(name string) (out []string) {
	f := environment().Functions()[name]
	if f == nil {
		return []string{"something else"}
	}
	for _, o := range f.OverloadDecls() {
		args := make([]string, len(o.ArgTypes()))
		for i, a := range o.ArgTypes() {
			args[i] = a.String()
		}
		form := name + "(" + strings.Join(args, ", ") + ")"
		if o.IsMemberFunction() {
			form = args[0] + "." + name + "(" + strings.Join(args[1:], ", ") + ")"
		}
		if len(out) < 3 {
			out = append(out, form)
		}
	}
	return out
}
