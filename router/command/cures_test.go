package command

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	sources "github.com/onward-router/onward/triggers/all"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// deeds are what a message may name, and what there is of it.
type deeds struct {
	root     *cobra.Command
	flags    map[string]bool // of any command, without dashes
	settings []string
	keys     map[string]bool // of documents, in any place
	texts    map[string]bool // every text of the source that is one word, by itself
	paths    []string        // of the API
}

// others are things of other programs that messages name, with whose they are.
var others = map[string]string{
	"--add-config": "kafka-configs.sh", "--alter": "kafka-configs.sh", "--topic": "kafka-configs.sh",
	"kafka.common.security.plain": "a Java class of Kafka", "kafka.common.security.scram": "a Java class of Kafka",
	"min.insync.replicas": "a topic's", "max.message.bytes": "a topic's",
	"RLIMIT_DATA": "the kernel", "AWS_LAMBDA_RUNTIME_API": "a variable of Lambda's runtimes",
	"onward is": "a log line: onward is routing",
	"default":   "how a help names a default",
}

func allDeeds(t *testing.T) deeds {
	t.Helper()
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinks.Register(reg)
	sources.Register(reg)
	d := deeds{root: (&program{registry: reg}).root(), flags: make(map[string]bool), keys: make(map[string]bool), texts: make(map[string]bool)}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Flags().VisitAll(func(f *pflag.Flag) { d.flags[f.Name] = true })
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) { d.flags[f.Name] = true })
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(d.root)
	flags := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	config.BindFlags(flags)
	_, origins, err := config.LoadSettings(flags, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range origins {
		d.settings = append(d.settings, o.Key)
	}
	schema, err := config.Schema(reg, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	properties(tree, d.keys)
	return d
}

// properties gathers the names of all properties that a JSON schema has anywhere.
func properties(x any, into map[string]bool) {
	switch x := x.(type) {
	case []any:
		for _, y := range x {
			properties(y, into)
		}
	case map[string]any:
		for key, y := range x {
			if of, ok := y.(map[string]any); ok && key == "properties" {
				for name := range of {
					into[name] = true
				}
			}
			properties(y, into)
		}
	}
}

// A saying is one text of the source.
type saying struct{ at, text string }

// sayings reads every text of the tree that is not a test's.
func sayings(t *testing.T) (out []saying) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == "testdata" || strings.HasPrefix(e.Name(), ".") && len(e.Name()) > 2) {
			return fs.SkipDir
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					out = append(out, saying{set.Position(n.Pos()).String(), text})
				}
			}
			return true
		})
		return nil
	})
	if err != nil || len(out) < 3000 {
		t.Fatalf("%d texts, %v", len(out), err)
	}
	return out
}

var (
	flagWord    = regexp.MustCompile(`(?:^|[\s("'=])(--[a-z][a-z0-9-]+)`)
	commandWord = regexp.MustCompile(`(?:^|[\s(:])onward((?: [a-z]+)+)`)
	envWord     = regexp.MustCompile(`\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b`)
	dottedWord  = regexp.MustCompile(`\b[a-z]+(?:\.[a-z][a-z-]*)+\b`)
	doneWord    = regexp.MustCompile(`\b(?:set|raise|lower|by|with|leave out) ([a-z]+(?:\.[a-z][a-z-]*)+)\b`)
	keyWord     = regexp.MustCompile(`(?:^|[\s{,(])([a-z][a-zA-Z]*): (?:[{\["$]|[A-Z]{2})`)
	pathWord    = regexp.MustCompile(`/v1(?:/[a-z{}]+)+(?:[.]json)?`)
	routeWord   = regexp.MustCompile(`^[A-Z]+ (/v1/\S+)$`)
)

// TestCuresExist: every flag, command, variable, setting, key and path that a message names is one. A cure that cannot be taken is worse than none.
func TestCuresExist(t *testing.T) {
	t.Parallel()
	d, all := allDeeds(t), sayings(t)
	for _, s := range all {
		if !strings.ContainsAny(s.text, " \n") {
			d.texts[s.text] = true
		}
		if m := routeWord.FindStringSubmatch(s.text); m != nil {
			d.paths = append(d.paths, m[1])
		}
	}
	for _, wrong := range []string{
		"damaged; start once with journal.repair to go on", "say --repair", "see onward mend", "see onward runs mend", "set ONWARD_NOPE_AT_ALL", "set auth.environment",
		"no such thing; add acceptance: { starts: true } to it", "see /v1/park for them", "set kafka.sasl.user",
	} {
		if found := d.look(wrong); !slices.Contains(slices.Collect(maps.Values(found)), true) {
			t.Errorf("%q is believed: %v", wrong, found)
		}
	}
	seen := make(map[string]int)
	for _, s := range all {
		if !strings.Contains(s.text, " ") {
			continue
		}
		for what, wrong := range d.look(s.text) {
			seen[strings.Fields(what)[0]]++
			if name := strings.SplitN(what, " ", 2)[1]; wrong && others[name] == "" {
				t.Errorf("%s: there is no %s; the text is %.200q", s.at, what, s.text)
			}
		}
	}
	for _, kind := range []string{"flag", "command", "variable", "setting", "key", "path"} {
		if seen[kind] < 3 {
			t.Errorf("%d times a %s was looked at: %v", seen[kind], kind, seen)
		}
	}
	t.Logf("looked at: %v", seen)
}

// look finds what a text names, and says of each whether it is missing.
func (d *deeds) look(text string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range flagWord.FindAllStringSubmatch(text, -1) {
		out["flag "+m[1]] = !d.flags[m[1][2:]]
	}
	for _, m := range commandWord.FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		c, rest := d.root, words
		for len(rest) > 0 {
			next := slices.IndexFunc(c.Commands(), func(sub *cobra.Command) bool { return sub.Name() == rest[0] })
			if next < 0 {
				break
			}
			c, rest = c.Commands()[next], rest[1:]
		}
		out["command onward "+words[0]] = c == d.root || c.HasSubCommands() && len(rest) > 0
	}
	for _, name := range envWord.FindAllString(text, -1) {
		setting := slices.ContainsFunc(d.settings, func(key string) bool {
			return name == "ONWARD_"+strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
		})
		out["variable "+name] = !setting && !d.texts[name]
	}
	for _, name := range dottedWord.FindAllString(text, -1) {
		first, _, _ := strings.Cut(name, ".")
		if slices.ContainsFunc(d.settings, func(key string) bool { return strings.HasPrefix(key, first+".") }) {
			out["setting "+name] = !d.isSetting(name)
		}
	}
	for _, m := range doneWord.FindAllStringSubmatch(text, -1) {
		out["setting "+m[1]] = !d.isSetting(m[1])
	}
	if _, cure, ok := strings.Cut(text, "; "); ok {
		for _, m := range keyWord.FindAllStringSubmatch(cure, -1) {
			out["key "+m[1]] = !d.keys[m[1]]
		}
	}
	for _, path := range pathWord.FindAllString(text, -1) {
		out["path "+path] = !d.served(path)
	}
	return out
}

// isSetting reports a setting, or what several begin with.
func (d *deeds) isSetting(name string) bool {
	return slices.ContainsFunc(d.settings, func(key string) bool { return key == name || strings.HasPrefix(key, name+".") })
}

// served reports whether the API has a path, or one that begins so.
func (d *deeds) served(path string) bool {
	return slices.ContainsFunc(d.paths, func(p string) bool {
		parts := strings.Split(p, "/")
		for i, part := range strings.Split(path, "/") {
			if i >= len(parts) || part != parts[i] && !strings.HasPrefix(parts[i], "{") {
				return false
			}
		}
		return true
	})
}
