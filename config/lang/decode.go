package lang

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/plugin"
)

// Decode makes settings of a document, strictly, and reports everything that is wrong with it at once. dst points to a struct (or to any of the
// types below); the struct's tags are the document's form:
//
//	doc:"name"            the key; doc:"-" or no tag: not of the document
//	doc:"name,required"   must be there
//	doc:"name,value"      stands for the whole when the document gives no mapping: `wait: 5s`
//	doc:"name,list"       a list that may be written as its only item
//	doc:"name,sole"       the same, which is written so in a definition, and is not empty
//	doc:"name,rest"       names with things, which may stand among the struct's own keys: what is none of these is one of the names
//	doc:"name,above0"     a duration or a number that cannot be 0, since 0 would say something else than nothing
//	doc:"name,condition"  an expression that must be true or false: lint refuses one that never is
//	default:"..."         set before, as if the document said so
//
// Fields are strings, numbers, bools, text unmarshalers (plugin.Duration), Value, Expr, Step, Steps, structs, pointers, slices and maps by string
// of those; anonymous structs are inlined. A value that is a plugin.Checker is asked once it decoded without a finding. Schemas reads the same tags.
func Decode(n *Node, dst any, r *plugin.Registry) []Finding {
	d := &decoder{registry: r}
	d.decode(n, reflect.ValueOf(dst).Elem(), nil)
	return d.findings
}

type decoder struct {
	registry *plugin.Registry
	policies map[string]int // the versions that a definition names
	findings []Finding
	// journaled: what is decoded was accepted once, and runs go by it. Rules count for what is written now, and may have become stricter since.
	journaled bool
}

// policy is the component that a word stands for: the version that the definition names, else the newest.
func (d *decoder) policy(word string) (plugin.Component, bool) {
	if version, named := d.policies[word]; named {
		return d.registry.At(plugin.Policy, word, version)
	}
	return d.registry.Get(plugin.Policy, word)
}

func (d *decoder) find(n *Node, path []string, cure, format string, a ...any) {
	d.findings = append(d.findings, Finding{Pos: n.Pos, Path: strings.Join(path, "."), What: fmt.Sprintf(format, a...), Cure: cure})
}

func below(path []string, key string) []string { return append(slices.Clip(path), key) }

var (
	typeExpr  = reflect.TypeFor[Expr]()
	typeValue = reflect.TypeFor[Value]()
	typeStep  = reflect.TypeFor[Step]()
	typeSteps = reflect.TypeFor[Steps]()
	typeText  = reflect.TypeFor[encoding.TextUnmarshaler]()
	typeNode  = reflect.TypeFor[NodeUnmarshaler]()
)

// A NodeUnmarshaler decodes itself: for words with several forms, such as `join: all` and `join: {atLeast: 3}`. Decode decodes what is below.
type NodeUnmarshaler interface {
	UnmarshalNode(n *Node, decode func(n *Node, dst any)) []plugin.Problem
}

func (d *decoder) decode(n *Node, v reflect.Value, path []string) {
	before := len(d.findings)
	switch {
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.decode(n, p.Elem(), path)
		v.Set(p)
		return
	case reflect.PointerTo(v.Type()).Implements(typeNode):
		for _, p := range v.Addr().Interface().(NodeUnmarshaler).UnmarshalNode(n, func(n *Node, dst any) {
			d.decode(n, reflect.ValueOf(dst).Elem(), path)
		}) {
			d.problem(n, path, p)
		}
	case v.Type() == typeExpr:
		d.expr(n, v, path)
	case v.Type() == typeValue:
		v.Set(reflect.ValueOf(n.JSON()))
	case v.Type() == typeStep:
		d.step(n, v.Addr().Interface().(*Step), path, nil)
	case v.Type() == typeSteps:
		d.steps(n, v.Addr().Interface().(*Steps), path)
	case reflect.PointerTo(v.Type()).Implements(typeText):
		d.text(n, v, path)
	default:
		d.plain(n, v, path)
	}
	if c, ok := v.Addr().Interface().(plugin.Checker); ok && len(d.findings) == before {
		problems := c.Check() // Also for what it derives.
		if d.journaled {
			return
		}
		for _, p := range problems {
			d.problem(n, path, p)
		}
	}
}

func (d *decoder) problem(n *Node, path []string, p plugin.Problem) {
	at := n
	for _, key := range p.Path {
		if at.Kind == MapNode {
			if next := at.Get(key); next != nil {
				at = next
			}
		} else if i, err := strconv.Atoi(key); err == nil && at.Kind == ListNode && i < len(at.Items) {
			at = at.Items[i]
		}
	}
	d.find(at, append(slices.Clip(path), p.Path...), p.Cure, "%s", p.What)
}

func (d *decoder) plain(n *Node, v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		if n.Kind != ListNode {
			d.find(n, path, asList(n, v.Type().Elem()), "%s where a list is due", n.describe())
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
		for i, item := range n.Items {
			d.decode(item, v.Index(i), below(path, strconv.Itoa(i)))
		}
	case reflect.Map:
		if n.Kind != MapNode {
			d.find(n, path, "write { key: value }", "%s where a mapping is due", n.describe())
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Items)))
		for i, item := range n.Items {
			x := reflect.New(v.Type().Elem()).Elem()
			d.decode(item, x, below(path, n.Keys[i].Name))
			settle(x)
			v.SetMapIndex(reflect.ValueOf(n.Keys[i].Name).Convert(v.Type().Key()), x)
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n *Node, v reflect.Value, path []string) {
	if n.Kind != ScalarNode {
		d.find(n, path, "write one value", "%s where %s is due", n.describe(), kindWord(v.Kind()))
		return
	}
	text := n.Value.JSON()
	var err error
	switch v.Kind() {
	case reflect.String:
		if text[0] != '"' {
			cure := asErrorType(n, path)
			if n.Value.IsNull() {
				cure = "write it behind the colon"
			}
			d.find(n, path, cure, "%s where a text is due", n.describe())
			return
		}
		v.SetString(n.Text())
	case reflect.Bool:
		var b bool
		if err = n.Value.Decode(&b); err == nil && !n.Value.IsNull() {
			v.SetBool(b)
			return
		}
		d.find(n, path, "write true or false", "%s where true or false is due", n.describe())
	case reflect.Float64:
		var f float64
		if err = n.Value.Decode(&f); err != nil || n.Value.IsNull() {
			d.find(n, path, "write "+cmp.Or(bareNumber(n.Text(), "%"), "a number"), "%s where a number is due", n.describe())
			return
		}
		v.SetFloat(f)
	default:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(i) {
			d.find(n, path, "write "+cmp.Or(wholeNumber(n), "a whole number"), "%s where a whole number is due", n.describe())
			return
		}
		v.SetInt(i)
	}
}

func kindWord(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}

func (d *decoder) text(n *Node, v reflect.Value, path []string) {
	if n.Kind != ScalarNode {
		d.find(n, path, "write one value", "%s where a single value is due", n.describe())
		return
	}
	if n.Value.IsNull() {
		d.find(n, path, "write a value, or leave the key out", "nothing where a value is due")
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Text())); err != nil {
		what, cure, _ := strings.Cut(err.Error(), "; ")
		d.find(n, path, cure, "%s", what)
	}
}

func (d *decoder) expr(n *Node, v reflect.Value, path []string) {
	e, err := ParseExpr(n.JSON())
	if err == nil {
		e.t.pos = n.Pos
		v.Set(reflect.ValueOf(e))
		return
	}
	// The innermost node that does not parse is where the fault is.
	for n.Kind != ScalarNode {
		inner := n
		for _, item := range n.Items {
			if _, err2 := ParseExpr(item.JSON()); err2 != nil {
				inner, err = item, err2
				break
			}
		}
		if inner == n {
			break
		}
		n = inner
	}
	d.find(n, path, "", "expression %v", err)
}

// A field is one key of a struct's document form.
type field struct {
	Name     string
	Help     string
	Default  string
	Required bool
	Value    bool
	List     bool
	Sole     bool
	Rest     bool
	Above0   bool
	Index    []int
	Type     reflect.Type
}

// fieldsOf returns the document form of a struct type, in order, with those of anonymous structs in their place (a Step's own keys are not among
// them). It is what Decode, the schema and the reference read alike.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if f.Type != typeStep {
				for _, inner := range fieldsOf(f.Type) {
					inner.Index = append([]int{i}, inner.Index...)
					fields = append(fields, inner)
				}
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("doc"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{
			Name: name, Help: f.Tag.Get("help"), Default: f.Tag.Get("default"), Index: []int{i}, Type: f.Type,
			Required: strings.Contains(options, "required"), Value: strings.Contains(options, "value"), Above0: strings.Contains(options, "above0"),
			List: strings.Contains(options, "list") || strings.Contains(options, "sole"), Sole: strings.Contains(options, "sole"),
			Rest: strings.Contains(options, "rest"),
		})
	}
	return fields
}

func embedsStep(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	f, ok := t.FieldByName("Step")
	return ok && f.Anonymous && f.Type == typeStep
}

func (d *decoder) structure(n *Node, v reflect.Value, path []string) {
	fields := fieldsOf(v.Type())
	if n.Kind != MapNode {
		for _, f := range fields {
			if f.Value {
				d.defaults(v, fields)
				d.field(n, v.FieldByIndex(f.Index), f, path)
				return
			}
		}
		said := n
		if v.Type() == reflect.TypeFor[plugin.Secret]() {
			said = &Node{Kind: MapNode} // Not the name of a variable: the secret itself, perhaps.
		}
		d.find(n, path, "write "+shape(fields, said), "%s where a mapping is due", n.describe())
		return
	}
	short := false
	if embedsStep(v.Type()) {
		step := v.FieldByName("Step").Addr().Interface().(*Step)
		d.step(n, step, path, fields)
	} else if n, short = gathered(n, fields); !short {
		d.unknown(n, path, fields)
	}
	for _, f := range fields {
		item := n.Get(f.Name)
		if item == nil || f.Required && f.Type != typeExpr && item.Kind == ScalarNode && item.Value.IsNull() {
			if f.Required {
				cure := "add " + f.Name + ": ..."
				if word := inPlaceOf(n, f); word != "" {
					cure = fmt.Sprintf("write %s: where %s: stands; %s", f.Name, word, otherWords[word])
				}
				d.find(n, path, cure, "%s is missing", f.Name)
			} else if f.Default != "" {
				d.setDefault(v.FieldByIndex(f.Index), f)
			}
			continue
		}
		at, before := below(path, f.Name), len(d.findings)
		if short && f.Rest {
			at = path
		}
		d.field(item, v.FieldByIndex(f.Index), f, at)
		if short && len(d.findings) > before && d.standsForAStep(item, f.Type) {
			d.findings = d.findings[:before]
			rest := fields[slices.IndexFunc(fields, func(f field) bool { return f.Rest })].Name
			d.find(item, at, fmt.Sprintf("write %s: { %s: ... }, with all the others, for one of that name", rest, f.Name), "%q is a key of its own here, and this is a step", f.Name)
		}
	}
}

// gathered moves the keys of a mapping that are none of a struct's own to where the names are that may stand among them.
func gathered(n *Node, fields []field) (*Node, bool) {
	rest := slices.IndexFunc(fields, func(f field) bool { return f.Rest })
	if rest < 0 || n.Get(fields[rest].Name) != nil {
		return n, false
	}
	own, named := &Node{Kind: MapNode, Pos: n.Pos}, &Node{Kind: MapNode, Pos: n.Pos}
	for i, k := range n.Keys {
		to := named
		if slices.Contains(names(fields), k.Name) {
			to = own
		}
		to.Keys, to.Items = append(to.Keys, k), append(to.Items, n.Items[i])
	}
	if len(named.Keys) == 0 {
		return n, false
	}
	own.Keys, own.Items = append(own.Keys, Key{fields[rest].Name, n.Pos}), append(own.Items, named)
	return own, true
}

// standsForAStep reports whether what was written under a key that is for no step looks like one.
func (d *decoder) standsForAStep(n *Node, t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != typeStep && t != typeSteps && n.Kind == MapNode && slices.ContainsFunc(n.Keys, func(k Key) bool { return d.isUse(k.Name) })
}

// otherWords are keys that people write in place of another, and what they mean themselves.
var otherWords = map[string]string{"when": "when: skips a step that was chosen already"}

func inPlaceOf(n *Node, f field) string {
	if f.Name == "if" && n.Get("when") != nil {
		return "when"
	}
	return ""
}

// defaults sets the fields that a document which gives only the value cannot say.
func (d *decoder) defaults(v reflect.Value, fields []field) {
	for _, f := range fields {
		if f.Default != "" && !f.Value {
			d.setDefault(v.FieldByIndex(f.Index), f)
		}
	}
}

func (d *decoder) setDefault(v reflect.Value, f field) {
	n := &Node{Kind: ScalarNode, Value: Text(f.Default)}
	if k := v.Kind(); k != reflect.String && !reflect.PointerTo(v.Type()).Implements(typeText) {
		n.Value = Trusted(f.Default)
	}
	d.decode(n, v, []string{f.Name})
}

func (d *decoder) field(n *Node, v reflect.Value, f field, path []string) {
	before := len(d.findings)
	switch {
	case f.List && n.Kind != ListNode:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if !f.Sole {
			path = below(path, "0")
		}
		d.decode(n, v.Index(0), path)
	default:
		d.decode(n, v, path)
		if f.Sole && v.Len() == 0 && len(d.findings) == before && !d.journaled {
			d.find(n, path, "leave it out, or write at least one", "%s is an empty list", f.Name)
		}
	}
	if f.Above0 && v.IsZero() && len(d.findings) == before && !d.journaled {
		d.find(n, path, "leave it out for the default, or write more than 0", "%s is 0", f.Name)
	}
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.Name
	}
	return out
}

// unknown reports the keys that are not known.
func (d *decoder) unknown(n *Node, path []string, fields []field) {
	known := names(fields)
	rest := slices.IndexFunc(fields, func(f field) bool { return f.Rest })
	steps := slices.IndexFunc(fields, func(f field) bool { return f.Value && takesSteps(f.Type) })
	step := slices.IndexFunc(fields, func(f field) bool { return f.Type == typeStep || f.Type == reflect.PointerTo(typeStep) })
	short := slices.IndexFunc(fields, func(f field) bool { return f.Value && (f.Type == typeExpr || f.Type == typeValue) })
	for i, k := range n.Keys {
		if !slices.Contains(known, k.Name) {
			at := *n.Items[i]
			at.Pos = k.Pos
			cure := Nearest(k.Name, known)
			switch {
			case short >= 0 && len(known) == 1:
				cure = fmt.Sprintf("a mapping stands below %[1]s: write { %[1]s: { ... } }", known[0])
			case rest >= 0 && at.Kind == MapNode:
				cure = fmt.Sprintf("put it below %s:, where the others are", fields[rest].Name)
			case steps >= 0 && (at.Kind == MapNode || d.isUse(k.Name)):
				cure = fmt.Sprintf("steps stand below %s:, or in a list", fields[steps].Name)
			case step >= 0 && (d.isUse(k.Name) || slices.Contains(names(stepFields), k.Name)):
				cure = fmt.Sprintf("put it below %s:, as in { %[1]s: { %s: ... } }", fields[step].Name, k.Name)
			}
			d.find(&at, below(path, k.Name), cure, "unknown key %q", k.Name)
		}
	}
}
