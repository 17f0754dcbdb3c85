package config_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	for _, dir := range append(examples(t), "testdata/good") {
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

// FuzzParse holds that no document ends the process, and that what lint accepts is a definition that reads back as itself.
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
	f.Add([]byte(functions + "flows: { a: { function: f, catch: [{ do: { flow: b } }] }, b: { wait: 1s } }\ntriggers: { t: { flow: { map: { items: 3, as: x, do: { flow: a, input: \"${ x }\" } } } } }"))
	reg := registry()
	f.Fuzz(func(t *testing.T, b []byte) {
		set, findings := config.Parse("fuzz.yaml", b, reg, nil)
		if (set == nil) != (len(findings) > 0) {
			t.Fatalf("a set, %v, beside %v", set != nil, findings)
		}
		if set == nil {
			return
		}
		for name, trigger := range set.Triggers {
			def, err := lang.ParseDefinition(trigger.Definition.Canonical(), reg)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, trigger.Definition.Canonical())
			}
			if def.Digest() != trigger.Digest {
				t.Fatalf("%s: the digest changes", name)
			}
		}
	})
}

// TestTimeoutOfWhatIsAnsweredLater: what waits in a function's topic is no failure, unless the document says how long it may.
func TestTimeoutOfWhatIsAnsweredLater(t *testing.T) {
	t.Parallel()
	set, findings := config.Parse("t.yaml", []byte(`
version: 1
functions:
  behind: { kafka: { brokers: ["127.0.0.1:9092"], topic: t } }
  said: { kafka: { brokers: ["127.0.0.1:9092"], topic: t }, timeout: 2m }
  front: { http: { url: "http://127.0.0.1:1/" } }
triggers:
  all: { flow: { sequence: [{ function: behind }, { function: said }, { function: front }, { function: behind, timeout: 1m }] }, onSuccess: { kafka: { brokers: ["127.0.0.1:9092"], topic: t } } }
`), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	for name, want := range map[string]time.Duration{"behind": 0, "said": 2 * time.Minute, "front": 30 * time.Second} {
		if f := set.Functions[name]; f.Timeout != want || f.MaxAge != 6*time.Hour || f.Resends != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	var got []time.Duration
	for _, step := range lang.Children(set.Triggers["all"].Definition.Flow.Policy) {
		got = append(got, step.Timeout.D())
	}
	if !slices.Equal(got, []time.Duration{0, 2 * time.Minute, 30 * time.Second, time.Minute}) {
		t.Errorf("%v", got)
	}
}

// TestDocumentsAreBounded: a file that nobody wrote by hand, or that somebody made to fill the memory, is not read to its end.
func TestDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	for size, want := range map[int64]string{config.MaxDocument: "not UTF-8", config.MaxDocument + 1: "has more than 16 MiB"} {
		if err := os.WriteFile(file, []byte("\xff"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		if _, findings := config.Load([]string{file}, registry(), nil); len(findings) != 1 || !strings.Contains(findings[0].String(), want) {
			t.Errorf("%d bytes: %v", size, findings)
		}
	}
}

// fading is a context that ends once it was asked so often.
type fading struct {
	context.Context
	left, after int
}

func (f *fading) Err() error {
	if f.left--; f.left > 0 {
		return nil
	}
	f.after++
	return context.Canceled
}

// TestReadUntil: whoever goes away amid documents of thousands of parts has them given up there.
func TestReadUntil(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	doc.WriteString("version: 1\nfunctions:\n")
	for i := range 1000 {
		fmt.Fprintf(&doc, "  f%d: { exec: cat }\n", i)
	}
	doc.WriteString("triggers:\n")
	for i := range 1000 {
		fmt.Fprintf(&doc, "  t%d: { filters: [{ not: { exact: { type: x%d } } }], flow: { sequence: [{ function: f%d }] } }\n", i, i, i)
	}
	for _, left := range []int{1, 500, 1500, 2500, 4000} {
		f := &fading{Context: t.Context(), left: left}
		if set, findings, err := config.ReadUntil(f, []config.Text{{File: "t.yaml", Text: doc.String()}}, registry(), nil); err == nil || set != nil || findings != nil || f.after > 10 {
			t.Errorf("after %d: %v, asked %d times more", left, err, f.after)
		}
	}
	set, findings, err := config.ReadUntil(t.Context(), []config.Text{{File: "t.yaml", Text: doc.String()}}, registry(), nil)
	if err != nil || len(findings) > 0 || len(set.Triggers) != 1000 || len(set.Warnings) != 1000 {
		t.Errorf("%v, %d findings", err, len(findings))
	}
}
