package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

// What the names have of which that is known.
var (
	runMembers   = []string{"id", "tenant", "trigger"}
	errorMembers = []string{"attempt", "class", "data", "invocation", "message", "path", "type"}
	endMembers   = []string{"attempts", "condition", "ended", "id", "started", "type"}
)

// expr checks an expression: what no data makes right, and that every name is known where it stands.
func (c *checker) expr(e lang.Expr, sc scope, path string) {
	for _, f := range e.Check() {
		f.Path = path
		c.l.findings = append(c.l.findings, f)
	}
	for _, text := range e.Texts() {
		c.l.otherBraces(e.Pos(), path, text)
	}
	for _, name := range e.Names() {
		if slices.Contains(sc.vars, name) {
			continue
		}
		cure := lang.Nearest(name, slices.Compact(slices.Sorted(slices.Values(sc.vars))))
		switch name {
		case "output":
			cure = "output is known in output: only; a step's output is steps.NAME"
		case "error":
			cure = "error is known in a catch only"
		case "attempt":
			cure = "attempt is known in a catch only: the try that failed"
		case "item", "index":
			cure = name + " is known in the do: of a map, and in a step with over"
		case "needed", "outcomes":
			cure = name + " is known in a step of a dag only: needed where its elements need elements, outcomes where it may run behind a failure"
		case "previous":
			cure = "previous is known in a sequence only"
		}
		if other := lang.OtherName(name); other != "" {
			cure = other
		}
		c.find(e.Pos(), path, cure, "unknown name %q", name)
	}
	for _, of := range []struct {
		name    string
		members []string
	}{{"run", runMembers}, {"error", errorMembers}, {"end", sc.end}, {"arrived", c.awaited}} {
		for _, member := range e.Members(of.name) {
			if of.members != nil && slices.Contains(sc.vars, of.name) && !slices.Contains(of.members, member) {
				c.find(e.Pos(), path, lang.Nearest(member, of.members), "%s has no %q", of.name, member)
			}
		}
	}
	steps, _ := e.Steps()
	for _, name := range steps {
		if slices.Contains(sc.steps, name) {
			continue
		}
		if _, exists := c.names[name]; exists {
			c.find(e.Pos(), path, "a step sees those before it in a sequence, its needs in a dag, and those around it", "step %q is not visible here", name)
		} else {
			c.find(e.Pos(), path, lang.Nearest(name, sc.steps), "unknown step %q", name)
		}
	}
}

// conditionMeant is what to write in place of a condition that is a constant, and not true.
func conditionMeant(v lang.Value) string {
	var text string
	switch _ = v.Decode(&text); strings.ToLower(text) {
	case "":
		return `write a condition in ${ }: "${ data.amount > 13 }"`
	case "yes", "on", "true":
		return "write a condition in ${ }, or true"
	}
	meant := `${ ` + strings.TrimSpace(strings.Trim(text, "{}$ ")) + ` }`
	if e, err := lang.ParseExpr(lang.Text(meant)); err == nil && e.Whole() && named.MatchString(meant) && len(meant) < 200 {
		return fmt.Sprintf("write a condition in ${ }: %q", meant)
	}
	return `write a condition in ${ }: "${ data.amount > 13 }"`
}

// condition checks what must be true or false.
func (c *checker) condition(e lang.Expr, sc scope, path string) {
	if _, constant := e.Const(); constant || e.IsZero() {
		return
	}
	switch kind := e.Kind(); kind {
	case lang.KindAny, lang.KindBool:
	case lang.KindText:
		c.find(e.Pos(), path, `put all of it into the braces: "${ data.x == 1 }"`, "a condition that is a text, and never true or false: %s", e.Source())
	default:
		c.find(e.Pos(), path, `compare it: "${ ... > 0 }"`, "a condition that is a %s, and never true or false: %s", kind, e.Source())
	}
}

var (
	typeExpr  = reflect.TypeFor[lang.Expr]()
	typeExprs = reflect.TypeFor[[]lang.Expr]()
)

var (
	ourNames = `(?:` + strings.Join(lang.Reserved, "|") + `)`
	// anyNames are those of sources and of sinks, too.
	anyNames = `(?:` + strings.Join(lang.Reserved, "|") + `|body|headers|query|path|line|file|offset|key|value|topic|partition|schedule|time|local|zone|status|end|total)`
	// mustache is how other tools write expressions, and dollar how shells do.
	mustache = regexp.MustCompile(`\{\{-?\s*\.?` + anyNames + `\b[^{}]*\}\}`)
	dollar   = regexp.MustCompile(`(?:^|[^\w$])\$` + anyNames + `[.\[]\w`)
	named    = regexp.MustCompile(`\b` + ourNames + `\b`)
	braces   = regexp.MustCompile(`(?:^|[^$])\$\{\s*` + ourNames + `\s*[.\[}]`)
)

// otherBraces warns of texts that look like expressions and are none.
func (l *loader) otherBraces(pos lang.Pos, path, text string) {
	for _, re := range []*regexp.Regexp{mustache, dollar} {
		if found := strings.TrimSpace(re.FindString(text)); found != "" {
			l.warnings = append(l.warnings, lang.Finding{
				Pos: pos, Path: path, What: fmt.Sprintf("%s is a text, and no expression", found), Cure: `write "${ ... }" if it is meant to be one`, Warning: true,
			})
		}
	}
}

// evaluates reports whether settings of a type have expressions.
func evaluates(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch {
	case t == typeExpr:
		return true
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Array:
		return evaluates(t.Elem(), seen)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if evaluates(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// idle finds expressions in settings of a type, of a sink or a source, where nothing evaluates them. A field of texts that its sink
// itself takes for expressions, and checks, has the word "templates" in its doc tag.
func (l *loader) idle(n *lang.Node, t reflect.Type, path string) {
	if t != nil && t.Kind() != reflect.Struct && evaluates(t, make(map[reflect.Type]bool)) {
		t = typeExpr // What stands in it is evaluated as well.
	}
	if n.Kind == lang.ScalarNode {
		if found := strings.TrimSpace(braces.FindString(n.Text())); found != "" && t != typeExpr {
			l.find(n.Pos, path, "write out what it stands for, or $${ for the characters; what changes by event belongs into the step's input", "an expression where none is evaluated: %s", n.Text())
		}
		l.otherBraces(n.Pos, path, n.Text())
		return
	}
	for i, item := range n.Items {
		key := fmt.Sprint(i)
		if n.Kind == lang.MapNode {
			key = n.Keys[i].Name
		}
		l.idle(item, below(t, key), path+"."+key)
	}
}

// below is the type of what stands under a key of a type's value; nil where nothing evaluates it.
func below(t reflect.Type, key string) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == typeExpr:
		return t
	case t == nil, t.Kind() != reflect.Struct:
		return nil
	}
	for i := range t.NumField() {
		switch words := strings.Split(t.Field(i).Tag.Get("doc"), ","); {
		case words[0] != key:
		case slices.Contains(words, "templates"):
			return typeExprs
		default:
			return t.Field(i).Type
		}
	}
	return nil
}
