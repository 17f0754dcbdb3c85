package router_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/onward-router/onward/"

// allowed says what each folder, with those in it that have no row of their own, may import of ours: the arrows of the plan, and nothing that runs back
// up or sideways. A folder with = before it stands for itself alone.
var allowed = []struct {
	folder string
	may    []string
}{
	{"config/plugin", nil},
	{"config/guard", nil},
	{"config/traceparent", nil},
	{"config/quiet", nil},
	{"config/logtest", nil},
	{"config/meter", nil},
	{"config/egress", nil},
	{"config/certs", nil},
	{"config/conns", nil},
	{"config/sign", []string{"config/plugin"}},
	{"config/access", []string{"config/lang", "config/plugin"}},
	{"config/envelope", []string{"config/envelope", "config/lang", "config/plugin", "config/traceparent"}},
	{"config/lang/yamldoc", []string{"config/lang"}},
	{"config/lang", []string{"config/plugin"}},
	{"config/tooltest", nil},
	{"config/kafka/kafkatest", []string{"config/kafka", "config/tooltest"}},
	{"config/kafka", []string{"config/egress", "config/lang", "config/plugin", "config/quiet", "config/kafka"}},
	{"triggers/kafka", []string{"config/envelope", "config/guard", "config/kafka", "config/lang", "config/plugin", "config/quiet", "triggers"}},
	{"triggers", []string{"config/access", "config/certs", "config/egress", "config/lang", "config/sign", "config/envelope", "config/guard", "config/plugin", "triggers"}},
	{"sinks/kafka", []string{"config/egress", "config/envelope", "config/kafka", "config/lang", "config/plugin", "config/traceparent", "sinks"}},
	{"sinks/exec", []string{"config/envelope", "config/guard", "config/lang", "config/plugin", "sinks"}},
	{"sinks/lambdaruntime", []string{"config/conns", "config/envelope", "config/lang", "config/plugin", "sinks"}},
	{"sinks/openwhisk", []string{"config/envelope", "config/lang", "config/plugin", "sinks"}},
	{"sinks/http", []string{"config/certs", "config/egress", "config/envelope", "config/guard", "config/lang", "config/plugin", "config/sign", "sinks"}},
	{"sinks", []string{"config/egress", "config/envelope", "config/guard", "config/plugin", "sinks"}},
	{"schedulers", []string{"config/lang", "config/plugin", "schedulers"}},
	{"config/filter/cesql", nil},
	{"config/filter", []string{"config/filter/cesql", "config/plugin"}},
	{"config", []string{"config"}},
	{"router/folder", nil},
	{"router/backup", nil},
	{"router/control", []string{"router/engine", "router/folder"}},
	{"router/journal/kafka", []string{"config/kafka", "router/folder", "router/journal"}},
	{"router/journal/file", []string{"router/folder", "router/journal"}},
	{"router/journal", []string{"router/journal"}},
	{"router/engine/enginetest", []string{"router/engine", "router/journal"}},
	{"router/engine", []string{"config/lang", "config/plugin", "config/traceparent", "schedulers", "router/journal"}},
	{"router/admission", []string{"config", "router/engine", "router/journal", "triggers"}},
	{"router/shard", []string{"config/lang", "config/meter", "config/plugin", "router/engine", "router/folder", "router/journal", "triggers"}},
	{"router/api", []string{"config", "router/control", "router/engine", "router/journal", "triggers"}},
	{"router/cluster", []string{"config/access", "config/plugin", "router/engine", "router/journal"}},
	{"router/outbox", []string{"config", "router/control", "router/engine", "router/journal", "sinks", "triggers"}},
	{"router/history", []string{"config/lang", "config/plugin", "router/engine", "router/folder", "router/journal"}},
	{"router/traces", []string{"config/lang", "config/traceparent", "router/engine", "router/journal"}},
	{"router/runtimes", nil},
	{"router/soak", nil},
	{"router/web", []string{"config/access", "triggers"}},
	{"router/door", []string{"config/certs", "config/conns", "triggers"}},
	{"router/simulate", []string{"config", "router/engine", "router/journal"}},
	{"router/bench", []string{"config", "=router", "router/engine", "router/folder", "router/journal", "sinks", "triggers"}},
	{"router/command", []string{"config", "=router", "router/bench", "router/engine", "router/folder", "router/journal", "router/simulate", "router/soak", "sinks", "triggers"}},
	{"router/cmd", []string{"config/plugin", "router/command", "schedulers", "sinks", "triggers"}},
	{"deploy/demo", nil},
	{"deploy/examples", []string{"config", "router/command", "schedulers", "sinks", "triggers"}},
	{"=router", []string{"config", "router/admission", "router/api", "router/backup", "router/cluster", "router/control", "router/door", "router/engine", "router/folder", "router/history", "router/journal", "router/outbox", "router/shard", "router/traces", "router/web", "sinks", "triggers"}},
}

// pure are the folders whose code decides: no clock, randomness, I/O, goroutines. Packages of laws below them, named *test, decide nothing.
var pure = []string{"config/lang", "config/traceparent", "schedulers", "router/engine"}

var bannedImports = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "path/filepath", "os/exec", "context"}

var bannedCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker"}

const longestFunction = 70 // lines

// TestRules reads the whole tree: import direction, calls that the core may not make, and the length of functions.
func TestRules(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		folder := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(filepath.ToSlash(path), "../")))
		checkImports(t, path, folder, file)
		if !strings.HasSuffix(folder, "test") && slices.ContainsFunc(pure, func(p string) bool { return within(folder, p) }) {
			checkPure(t, path, file)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				if n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; n > longestFunction {
					t.Errorf("%s: %s has %d lines; a function fits a screen (%d)", path, f.Name.Name, n, longestFunction)
				}
			}
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// TestWithoutRaceDetector: what make test runs without the race detector, the pattern PURE, starts no goroutine.
func TestWithoutRaceDetector(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^PURE := (.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("the Makefile has no PURE")
	}
	without := regexp.MustCompile(strings.ReplaceAll(string(line[1]), "$$", "$"))
	set, folders := token.NewFileSet(), make(map[string]bool)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		folder := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(filepath.ToSlash(path), "../")))
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || !without.MatchString("/"+folder) {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folders[folder] = true
		ast.Inspect(file, func(n ast.Node) bool {
			if starts(n) {
				t.Errorf("%s starts a goroutine, and make test runs its tests without the race detector", set.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || len(folders) < 20 || !folders["config"] || !folders["router/engine"] {
		t.Errorf("%d folders, %v", len(folders), err)
	}
}

// starts tells a go statement, and the call of a method Go.
func starts(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		return ok && f.Sel.Name == "Go"
	}
	return false
}

func within(folder, parent string) bool {
	if only, ok := strings.CutPrefix(parent, "="); ok {
		return folder == only
	}
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

func checkImports(t *testing.T, path, folder string, file *ast.File) {
	for _, rule := range allowed {
		if !within(folder, rule.folder) {
			continue
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if part, ok := strings.CutPrefix(name, "github.com/cloudevents/sdk-go/v2/"); ok && part != "event" && part != "types" {
				t.Errorf("%s imports %s: foreign bytes are read by config/envelope, which the SDK is not fit for", path, name)
			}
			own, ok := strings.CutPrefix(name, module)
			if ok && !slices.ContainsFunc(rule.may, func(m string) bool { return within(own, m) }) {
				t.Errorf("%s imports %s, which %s may not", path, own, rule.folder)
			}
		}
		return
	}
	t.Errorf("%s: folder %s has no row in this test: say what it may import", path, folder)
}

func checkPure(t *testing.T, path string, file *ast.File) {
	for _, spec := range file.Imports {
		if name, _ := strconv.Unquote(spec.Path.Value); slices.Contains(bannedImports, name) {
			t.Errorf("%s imports %s: what decides does no I/O, and has no clock and no randomness", path, name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s starts a goroutine", path)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(bannedCalls, x.Name+"."+n.Sel.Name) {
				t.Errorf("%s calls %s.%s", path, x.Name, n.Sel.Name)
			}
		}
		return true
	})
}
