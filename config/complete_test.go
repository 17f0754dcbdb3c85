package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// examples are the folders whose documents need no policy but those that come with the router.
func examples(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("../deploy/examples/[0-9]*")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("%d examples, %v", len(dirs), err)
	}
	var out []string
	for _, dir := range dirs {
		if filepath.Base(dir) != "04-your-own-policy" {
			out = append(out, dir)
		}
	}
	return out
}

// policies are the names of the policies that the flows of a set use.
func policies(set *config.Set) map[string]bool {
	used := map[string]bool{}
	var walk func(s *lang.Step)
	walk = func(s *lang.Step) {
		if s == nil {
			return
		}
		used[s.Use] = true
		walk(s.Body)
		for _, child := range lang.Children(s.Policy) {
			walk(child)
		}
		for i := range s.Catch {
			walk(&s.Catch[i].Do)
		}
	}
	for _, trigger := range set.Triggers {
		walk(trigger.Definition.Flow)
	}
	return used
}

// TestEveryPolicyIsShown holds that each policy of the registry has laws in its folder, a play of the engine, an example that a script plays without its
// functions, a page, and a place in the schema.
func TestEveryPolicyIsShown(t *testing.T) {
	t.Parallel()
	reg := registry()
	scripts := texts(t, "../router/command/testdata/script/run-mock*.txtar")
	played, shown := map[string]bool{}, map[string]bool{}
	for _, dir := range examples(t) {
		set, findings := config.Load([]string{dir}, reg, nil)
		for _, f := range findings {
			t.Error(f)
		}
		answers, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, file := range answers {
			if name := filepath.Base(dir) + "/" + filepath.Base(file); !strings.Contains(scripts, "--mock $EXAMPLES/"+name) {
				t.Errorf("no script run-mock*.txtar plays %s", name)
			}
		}
		for name := range policies(set) {
			shown[name] = shown[name] || len(answers) > 0
		}
	}
	for _, define := range regexp.MustCompile(`(?s)\ndefine\n(.*?)\n----\n`).FindAllStringSubmatch(texts(t, "../router/engine/testdata/*.txt"), -1) {
		set, findings := config.Parse("play.yaml", []byte("version: 1\n"+define[1]), reg, nil)
		if len(findings) > 0 {
			continue // It has a policy of the engine's own tests.
		}
		for name := range policies(set) {
			played[name] = true
		}
	}
	tree, err := config.Schema(reg, "")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := json.Marshal(tree["$defs"])
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]bool{}
	for _, p := range config.Reference(reg) {
		pages[p.Kind+p.Name] = true
	}
	seen := 0
	for _, c := range reg.List(plugin.Policy) {
		seen++
		folder := ".." + strings.TrimPrefix(c.Settings.PkgPath(), "github.com/onward-router/onward")
		laws := regexp.MustCompile(`schedulertest\.Run\(t, builtin\.New\(\), "` + c.Name + `"`)
		for what, is := range map[string]bool{
			"no example in deploy/examples with a mock.json": shown[c.Name], "no play in router/engine/testdata": played[c.Name], "no page in config/reference": pages["policy"+c.Name],
			"no place in the schema": strings.Contains(string(schema), `"`+c.Name+`":{`), "no laws in " + folder: laws.MatchString(texts(t, folder+"/*_test.go")),
		} {
			if !is {
				t.Errorf("policy %s has %s", c.Name, what)
			}
		}
	}
	if seen < 15 {
		t.Errorf("%d policies", seen)
	}
}

// texts is what the files of a pattern say, one after the other.
func texts(t *testing.T, pattern string) string {
	t.Helper()
	files, _ := filepath.Glob(pattern)
	var out strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	return out.String()
}
