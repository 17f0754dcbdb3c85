package config_test

import (
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
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
)

const again = "run: go test ./config -run TestReference -rewrite"

// TestReferencePages holds the pages that are committed to what the program says of itself.
func TestReferencePages(t *testing.T) {
	t.Parallel()
	pages := config.Reference(registry())
	want := map[string]string{"README.md": config.Contents(pages)}
	for _, p := range pages {
		want[p.File()] = p.Markdown()
	}
	if *rewrite {
		old, _ := filepath.Glob("reference/*.md")
		for _, file := range old {
			_ = os.Remove(file)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join("reference", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join("reference", name)); err != nil || string(got) != text {
			t.Errorf("reference/%s is not what the code says (%v); %s", name, err, again)
		}
	}
	files, _ := filepath.Glob("reference/*")
	for _, file := range files {
		if _, known := want[filepath.Base(file)]; !known {
			t.Errorf("%s is the page of nothing; %s", file, again)
		}
	}
}

// TestReferenceExamples holds that every key has an example, and that lint accepts all examples.
func TestReferenceExamples(t *testing.T) {
	t.Parallel()
	reg := registry()
	for _, p := range config.Reference(reg) {
		if p.Text == "" || len(p.Examples) == 0 {
			t.Errorf("%s %s says nothing of itself: give its settings a method Guide, as schedulers/wait/guide.go does, and %s", p.Kind, p.Name, again)
		}
		if p.Kind == "policy" && p.Yields == "" {
			t.Errorf("policy %s: its Guide does not tell what it yields", p.Name)
		}
		for _, k := range p.Keys {
			if k.Help == "" || k.Form == "" {
				t.Errorf("%s %s: the key %s has no help: tag", p.Kind, p.Name, k.Key)
			}
			if k.Example == "" && len(p.Examples) > 0 {
				t.Errorf("%s %s: no example of its Guide uses the key %s", p.Kind, p.Name, k.Key)
			}
		}
		for i, example := range p.Examples {
			doc := document(t, p, example)
			if _, findings := config.Parse(p.Name, []byte(doc), reg, nil); len(findings) > 0 {
				t.Errorf("%s %s: example %d of its Guide:\n%s%v", p.Kind, p.Name, i, doc, findings)
			}
		}
	}
}

// document is a whole one around an example, with the functions, flows and triggers that it names.
func document(t *testing.T, p config.Page, example string) string {
	t.Helper()
	nodes, findings := yamldoc.Parse(p.Name, []byte(example))
	if len(nodes) != 1 || len(findings) > 0 {
		t.Fatalf("%s %s: %v\n%s", p.Kind, p.Name, findings, example)
	}
	named := map[string][]string{}
	var visit func(n *lang.Node)
	visit = func(n *lang.Node) {
		for i, item := range n.Items {
			if n.Kind == lang.MapNode && item.Kind == lang.ScalarNode && !slices.Contains(named[n.Keys[i].Name], item.Text()) {
				named[n.Keys[i].Name] = append(named[n.Keys[i].Name], item.Text())
			}
			visit(item)
		}
	}
	visit(nodes[0])
	if n := nodes[0].Get("trigger"); p.Kind == "sink" && n != nil && n.Kind == lang.MapNode {
		named["trigger"] = []string{n.Get("name").Text()}
	}
	inside := func(section, under string) string {
		text := "    " + strings.ReplaceAll(example, "\n", "\n    ") + "\n"
		if under != "" {
			text = "    " + under + ":\n  " + strings.ReplaceAll(text, "\n    ", "\n      ")
		}
		return section + "  the-example:\n" + text
	}
	functions, sources, triggers := "functions:\n", "sources:\n", "triggers:\n"
	for _, name := range named["function"] {
		functions += fmt.Sprintf("  %s: { exec: cat }\n", name)
	}
	for _, name := range append(named["trigger"], named["subrun"]...) {
		triggers += fmt.Sprintf("  %s: { filters: [{ exact: { type: %[1]s } }], onSuccess: { log: x } }\n", name)
	}
	switch {
	case p.Kind == "policy" || p.Name == "step":
		triggers = inside(triggers, "flow")
	case p.Name == "destination":
		triggers = inside(triggers, "onSuccess") + "    flow: { pass: 1 }\n"
	case p.Kind == "sink" || p.Name == "function":
		functions = inside(functions, "")
	case p.Kind == "source" || p.Name == "source":
		sources = inside(sources, "")
	default:
		triggers = inside(triggers, "")
	}
	doc := "version: 1\n"
	for _, section := range []string{functions, sources, triggers} {
		if strings.Count(section, "\n") > 1 {
			doc += section
		}
	}
	return doc
}

// TestReferenceErrors holds that a page names each error type that its component's source does.
func TestReferenceErrors(t *testing.T) {
	t.Parallel()
	reg := registry()
	pages := map[string]config.Page{}
	for _, p := range config.Reference(reg) {
		pages[p.Kind+p.Name] = p
	}
	seen := 0
	for _, door := range []plugin.Door{plugin.Policy, plugin.Sink} {
		for _, c := range reg.List(door) {
			told := strings.Join(pages[door.String()+c.Name].Errors, "\n")
			for _, kind := range errorTypes(t, c.Settings) {
				seen++
				if !strings.Contains(told, kind) {
					t.Errorf("%s %s: its Guide does not tell of the error %q; add it to Errors, and %s", door, c.Name, kind, again)
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("%d error types found in the sources", seen)
	}
}

// errorTypes are the texts that the sources beside a type give as Type: of an error, or to Failf.
func errorTypes(t *testing.T, of reflect.Type) []string {
	t.Helper()
	dir := ".." + strings.TrimPrefix(of.PkgPath(), "github.com/onward-router/onward")
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	var out []string
	text := func(x ast.Expr) {
		if sum, ok := x.(*ast.BinaryExpr); ok {
			x = sum.X
		}
		if s, ok := x.(*ast.BasicLit); ok && s.Kind == token.STRING {
			word, _ := strconv.Unquote(s.Value)
			out = append(out, word)
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if name := lastName(n.Type); name == "Error" {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && lastName(kv.Key) == "Type" {
							text(kv.Value)
						}
					}
				}
			case *ast.CallExpr:
				if lastName(n.Fun) == "Failf" && len(n.Args) > 1 {
					text(n.Args[1])
				}
			}
			return true
		})
	}
	return out
}

func lastName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}
