package schedulertest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// left counts the children that were spawned and have not ended.
func (b *Bench) left() int {
	n := 0
	for i := range b.slots {
		s := &b.slots[i]
		n += s.spawned - s.succeeded - s.failed - s.skipped
	}
	return n
}

// kept judges a frame that succeeded over failures, or over children that had not ended.
func (g *game) kept(r *round, p *Play) error {
	if p.Outcome.Verdict != lang.Succeeded || !p.Has(lang.Failed) && p.Left == 0 {
		return nil
	}
	partial := g.o.Partial
	if partial == nil {
		partial = func(p *Play) bool {
			j := joinOf(p.Settings)
			return j.Word != "" && j.Early() || j.Settled() && p.Left == 0
		}
	}
	if !partial(p) {
		return r.broken(Kept, "it succeeded over %d failed children and %d that had not ended", failures(p), p.Left)
	}
	return nil
}

func failures(p *Play) (n int) {
	for i := range p.Told {
		if p.Told[i].Verdict == lang.Failed {
			n++
		}
	}
	return n
}

// alone plays another frame, of another input and other data, on settings that were played and while a frame of the first is at work on them, event by
// event in turns; and on such that were not.
func (g *game) alone(played *Subject) error {
	fresh, err := Load(g.registry, g.policy, g.document)
	if err != nil {
		return fmt.Errorf("schedulertest: seed %d: %w", g.seed, err)
	}
	other := *g
	other.seed ^= 1 << 40
	other.data = lang.List(g.data, lang.Of(other.seed))
	first := other.round(fresh, mixed)
	if _, err := first.run(); err != nil {
		return err
	}
	second, beside := other.round(played, mixed), g.round(played, mixed)
	for _, r := range []*round{second, beside} {
		if err := r.tell(schedulers.Event{Kind: schedulers.Started}); err != nil {
			return err
		}
	}
	for n := 0; !second.b.ended; n++ {
		for _, r := range []*round{second, beside} {
			if r.b.ended {
				continue
			}
			if err := r.step(n); err != nil {
				return err
			}
		}
	}
	if a, b := first.story(), second.story(); a != b {
		return second.broken(Alone, "on settings that no other frame was at work on it was:\n%s", a)
	}
	return nil
}

// sourceOf judges what can be seen without playing: the type of the state, and the files of the policy's package when the test runs there.
func sourceOf(r *plugin.Registry, policy string) error {
	c, ok := r.Get(plugin.Policy, policy)
	if !ok {
		return nil // Load says so.
	}
	m, ok := c.Make.(schedulers.Machine)
	if !ok {
		return nil
	}
	if at := hidden(reflect.TypeOf(m.State()), nil); at != "" {
		return fmt.Errorf("law broken by policy %q: %s\n%s is not exported: it is lost when the state is saved", policy, Encoded, at)
	}
	dir, err := os.Getwd()
	if err != nil || !strings.HasSuffix(filepath.ToSlash(dir), "/"+lastOf(c.Settings.PkgPath())) {
		return nil
	}
	faults, err := look(dir)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("law broken by policy %q: %s\n%s", policy, Source, strings.Join(faults, "\n"))
	}
	return nil
}

func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

var saves = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}

// hidden returns the first field below t that encoding/json does not see; empty when there is none.
func hidden(t reflect.Type, seen []reflect.Type) string {
	if slices.Contains(seen, t) || slices.ContainsFunc(saves, func(s reflect.Type) bool { return t.Implements(s) || reflect.PointerTo(t).Implements(s) }) {
		return ""
	}
	seen = append(seen, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return hidden(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() && !f.Anonymous {
				return t.String() + "." + f.Name
			}
			if at := hidden(f.Type, seen); at != "" {
				return at
			}
		}
	}
	return ""
}

// What a policy's source may not have: packages, by the beginning of their path, and functions of time, which durations need.
var (
	worldly = []string{"os", "net", "io", "log", "math/rand", "crypto/rand", "sync", "syscall", "runtime", "unsafe", "bufio", "database", "plugin", "testing"}
	clocks  = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// look reads the Go files of a folder, tests left out, and says what in them is not pure.
func look(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var out []string
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		say := func(at token.Pos, what string) {
			p := set.Position(at)
			out = append(out, fmt.Sprintf("%s:%d: %s", filepath.Base(p.Filename), p.Line, what))
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err == nil && slices.ContainsFunc(worldly, func(w string) bool { return path == w || strings.HasPrefix(path, w+"/") }) {
				say(i.Pos(), "it imports "+path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				say(n.Pos(), "it starts a goroutine")
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					say(n.Pos(), "it calls time."+n.Sel.Name)
				}
			}
			return true
		})
	}
	return out, nil
}
