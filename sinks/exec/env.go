package exec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// passed are the variables that every program gets: what a program needs to find others, its folder and its language, and nothing that tells of us.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE",
}

// localePrefix begins the names of what says how to sort and write.
const localePrefix = "LC_"

// Env is what of the environment a program gets besides the usual: variables that are passed on, and such with values of their own.
type Env struct {
	Pass []string
	Set  map[string]string
}

// UnmarshalNode reads a list of names (NAME, or NAME=value), or a mapping of names to values.
func (e *Env) UnmarshalNode(n *lang.Node, decode func(*lang.Node, any)) []plugin.Problem {
	e.Set = make(map[string]string)
	if n.Kind != lang.ListNode {
		decode(n, &e.Set)
		return e.check(slices.Sorted(maps.Keys(e.Set)), false)
	}
	var words []string
	decode(n, &words)
	names := make([]string, len(words))
	for i, word := range words {
		name, value, said := strings.Cut(word, "=")
		if names[i] = name; said {
			e.Set[name] = value
		} else {
			e.Pass = append(e.Pass, name)
		}
	}
	return e.check(names, true)
}

// check reports names that no variable can have, that come twice, and that are the router's own.
func (e *Env) check(names []string, isList bool) []plugin.Problem {
	var out []plugin.Problem
	for i, name := range names {
		path := name
		if isList {
			path = fmt.Sprint(i)
		}
		wrong := func(cure, format string, a ...any) {
			out = append(out, plugin.Problem{Path: []string{path}, What: fmt.Sprintf(format, a...), Cure: cure})
		}
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00 $"):
			wrong("write NAME or NAME=value", "%q is not the name of a variable", name)
		case slices.Contains(names[:i], name):
			wrong("keep one", "%q comes twice", name)
		case isOwn(name):
			wrong("take another name; a secret goes under secrets: { NAME: { env: ... } }", "%q is the router's own (ONWARD_*) or the event's (CE_*)", name)
		}
	}
	return out
}

// isOwn tells the variables that are the router's settings and secrets, and those that an event's attributes come in.
func isOwn(name string) bool {
	return strings.HasPrefix(name, "ONWARD_") || strings.HasPrefix(name, "CE_")
}

func (e *Env) has(name string) bool {
	_, set := e.Set[name]
	return set || slices.Contains(e.Pass, name)
}

// of makes a program's environment of the router's: what is allowed, and of that nothing that is a secret.
func (e *Env) of(environ []string, secret func(string) bool) []string {
	env := make([]string, 0, len(passed)+len(e.Pass)+len(e.Set))
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		allowed := slices.Contains(passed, name) || strings.HasPrefix(name, localePrefix) || slices.Contains(e.Pass, name)
		if allowed && !isOwn(name) && !secret(name) {
			env = append(env, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		env = append(env, name+"="+e.Set[name])
	}
	return env
}

// Schema is the form of a program's environment.
func (*Env) Schema() plugin.Schema {
	name := `[^= $]+`
	return plugin.Schema{"anyOf": []any{
		plugin.Schema{"type": "array", "items": plugin.Schema{"type": "string", "pattern": "^" + name + "(=|$)", "not": plugin.Schema{"pattern": "^(ONWARD|CE)_"}}, "uniqueItems": true},
		plugin.Schema{"type": "object", "additionalProperties": plugin.Schema{"type": "string"}, "propertyNames": plugin.Schema{"pattern": "^" + name + "$", "not": plugin.Schema{"pattern": "^(ONWARD|CE)_"}}},
	}}
}
