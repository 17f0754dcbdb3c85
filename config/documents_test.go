package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

var rewrite = flag.Bool("rewrite", false, "write what lint finds now into the .want files")

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	triggers.Register(r)
	return r
}

// TestFindings holds each bad file, named for its fault, against what stands beside it.
func TestFindings(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	if len(files) < 11 {
		t.Fatalf("%d bad files", len(files))
	}
	for _, file := range files {
		set, findings := config.Load([]string{file}, registry(), nil)
		if set != nil {
			t.Errorf("%s: a set beside findings", file)
		}
		var got strings.Builder
		for _, f := range findings {
			f.Pos.File = filepath.Base(f.Pos.File)
			got.WriteString(strings.ReplaceAll(f.String(), "testdata/bad/", "") + "\n")
		}
		name := strings.TrimSuffix(file, ".yaml") + ".want"
		if *rewrite {
			if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || string(want) != got.String() || got.Len() == 0 {
			t.Errorf("%s finds\n%s\nand is to find\n%s", file, got.String(), want)
		}
	}
}

// TestDefinitionsRoundTrip reads the canonical bytes of definitions back to the same bytes.
func TestDefinitionsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"../deploy/examples/01-word-count", "../deploy/examples/02-dag", "../deploy/examples/03-approval", "testdata/good"} {
		set, findings := config.Load([]string{dir}, registry(), nil)
		for _, f := range findings {
			t.Error(f)
		}
		if set == nil {
			continue
		}
		for name, trigger := range set.Triggers {
			b := trigger.Definition.Canonical()
			def, err := lang.ParseDefinition(b, registry())
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, b)
			}
			if string(def.Canonical()) != string(b) || def.Digest() != trigger.Digest {
				t.Errorf("%s:\n%s\n%s", name, b, def.Canonical())
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.yaml")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("a: &a [*a, *a]\n<<: *a"))
	reg := registry()
	f.Fuzz(func(_ *testing.T, b []byte) { config.Parse("fuzz.yaml", b, reg, nil) })
}
