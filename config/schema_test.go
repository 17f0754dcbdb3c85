package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// first is the third party's policy of example 04, as far as documents see it.
type first struct {
	Of lang.Steps `doc:"of,value,required" help:"the branches that race"`
}

func (*first) Next(schedulers.Frame, *struct{}, schedulers.Event) error { return nil }

func extended() *plugin.Registry {
	r := registry()
	schedulers.Register[first, struct{}](r, "first", 1, "Runs branches side by side; the first that succeeds wins.")
	return r
}

func compile(t *testing.T, r *plugin.Registry, section string) *jsonschema.Schema {
	t.Helper()
	schema, err := config.Schema(r, section)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:test", decodeJSON(t, b)); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("urn:test")
	if err != nil {
		t.Fatalf("%s: %v", section, err)
	}
	return compiled
}

func decodeJSON(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return v
}

func read(t *testing.T, file string) (text []byte, documents []any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range config.Values(text) {
		documents = append(documents, decodeJSON(t, []byte(v.JSON())))
	}
	return text, documents
}

// goodFiles are the documents that are held to be right.
func goodFiles(t *testing.T) []string {
	t.Helper()
	files, _ := filepath.Glob("testdata/good/*.yaml")
	err := filepath.WalkDir("../deploy/examples", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	return files
}

// TestSchemaAcceptsGoodDocuments validates all that lint lets through, whole and section by section.
func TestSchemaAcceptsGoodDocuments(t *testing.T) {
	t.Parallel()
	whole, sections := compile(t, extended(), ""), make(map[string]*jsonschema.Schema)
	for _, s := range config.Sections {
		sections[s] = compile(t, extended(), s)
	}
	for _, file := range goodFiles(t) {
		_, documents := read(t, file)
		for _, d := range documents {
			if err := whole.Validate(d); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			for name, section := range sections {
				if part, ok := d.(map[string]any)[name]; ok && section.Validate(part) != nil {
					t.Errorf("%s: %s does not validate alone", file, name)
				}
			}
		}
	}
}

// TestSchemaRefusesBadForm validates the bad files: those with a fault of form fail, those whose fault is in what refers to what pass.
func TestSchemaRefusesBadForm(t *testing.T) {
	t.Parallel()
	schema := compile(t, registry(), "")
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	form := []string{"bad-batch", "bad-cancel", "bad-contract", "bad-duration", "bad-heartbeat", "bad-openwhisk", "bad-rate", "concurrency", "delivery-of-a-destination", "destination-forms", "destination-names-nothing", "other-tools-words", "source-accepts", "unknown-keys", "unknown-policy"}
	notYAML := []string{"unquoted-expression"}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		_, documents := read(t, file)
		failed := slices.ContainsFunc(documents, func(d any) bool { return schema.Validate(d) != nil })
		if want := slices.Contains(form, name); failed != want || len(documents) == 0 != slices.Contains(notYAML, name) {
			t.Errorf("%s: %d documents, refused: %t", name, len(documents), failed)
		}
	}
}

// TestSchemaRefusesZeros where lint does: a bound of no time would bound nothing, or all.
func TestSchemaRefusesZeros(t *testing.T) {
	t.Parallel()
	schema := compile(t, registry(), "")
	for _, at := range []string{
		`"timeout": %s`, `"deadline": %s`,
		`"catch": [{ "do": { "signal": { "name": "go", "within": %s } } }]`, `"catch": [{ "do": { "forkjoin": { "join": { "until": "${ true }", "deadline": %s }, "branches": [{ "wait": "1s" }] } } }]`,
	} {
		for value, want := range map[string]bool{`"0s"`: false, `"0"`: false, `0`: false, `"0m0s"`: false, `"+0.0h.0ms"`: false, `"10s"`: true, `"0.5s"`: true, `"1m0s"`: true, `"0h1m"`: true} {
			text := fmt.Sprintf(`{ "version": 1, "functions": { "f": { "log": "f" } }, "triggers": { "t": { "flow": { "function": "f", %s } } } }`, fmt.Sprintf(at, value))
			_, findings := config.Parse("t.yaml", []byte(text), registry(), nil)
			var doc any
			dec := json.NewDecoder(strings.NewReader(text))
			dec.UseNumber()
			if err := dec.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); (len(findings) == 0) != want || (err == nil) != want {
				t.Errorf("%s: lint finds %v, the schema %v", fmt.Sprintf(at, value), findings, err)
			}
		}
	}
}

// TestSchemaKnowsThirdParties refuses a policy that a registry lacks, and takes it with its help when it is there.
func TestSchemaKnowsThirdParties(t *testing.T) {
	t.Parallel()
	_, documents := read(t, "../deploy/examples/04-your-own-policy/first.yaml")
	if compile(t, registry(), "").Validate(documents[0]) == nil {
		t.Error("a policy that is not registered validates")
	}
	schema, err := config.Schema(extended(), "triggers")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(schema)
	for _, said := range []string{"policy.first", "the first that succeeds wins", "the branches that race"} {
		if !bytes.Contains(b, []byte(said)) {
			t.Errorf("the schema does not say %q", said)
		}
	}
	again, _ := config.Schema(extended(), "triggers")
	if b2, _ := json.Marshal(again); !bytes.Equal(b, b2) {
		t.Error("two makings differ")
	}
	if _, err := config.Schema(registry(), "trigers"); err == nil || !strings.Contains(err.Error(), `did you mean "triggers"?`) {
		t.Error(err)
	}
}

// A mutator changes documents at random.
type mutator struct {
	*rand.Rand
	keys   []string // of all documents
	values []any    // parts of all documents
}

// A place is where a value stands: its parent with a key or an index.
type place struct {
	m   map[string]any
	l   []any
	key string
	i   int
}

func (p place) get() any {
	if p.m != nil {
		return p.m[p.key]
	}
	return p.l[p.i]
}

func (p place) set(v any) {
	if p.m != nil {
		p.m[p.key] = v
	} else {
		p.l[p.i] = v
	}
}

// places walks a document in the order of its keys.
func places(v any, out []place) []place {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			out = places(v[key], append(out, place{m: v, key: key}))
		}
	case []any:
		for i := range v {
			out = places(v[i], append(out, place{l: v, i: i}))
		}
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = clone(x)
		}
		return out
	}
	return v
}

func pick[T any](m *mutator, s []T) T { return s[m.IntN(len(s))] }

func (m *mutator) value(old any) any {
	if m.IntN(3) == 0 {
		return clone(pick(m, m.values))
	}
	return pick(m, []any{
		nil, true, false, json.Number("0"), json.Number("1"), json.Number("-1"), json.Number("2.5"), "", "x", "5s", "0", "-3s", "-0s", "+1h2m", ".5s", "all",
		"${ data }", "http://x", "HTTPS://y/z", "/v1/x", "2030-01-01T00:00:00Z", []any{}, []any{"x"}, []any{nil}, map[string]any{}, map[string]any{"x": json.Number("1")},
		[]any{old}, map[string]any{pick(m, m.keys): old},
	})
}

// mutate changes one to three things.
func (m *mutator) mutate(doc any) any {
	doc = clone(doc)
	for range 1 + m.IntN(3) {
		at := places(doc, nil)
		if len(at) == 0 {
			return doc
		}
		p := pick(m, at)
		switch m.IntN(6) {
		case 0: // Rename.
			if p.m != nil {
				v := p.get()
				delete(p.m, p.key)
				key := pick(m, m.keys)
				if m.IntN(2) == 0 {
					key = p.key + "x"
				}
				p.m[key] = v
			}
		case 1: // Drop.
			if p.m != nil {
				delete(p.m, p.key)
			}
		case 2: // Double.
			if p.m != nil {
				p.m[pick(m, m.keys)] = clone(p.get())
			} else {
				p.set(clone(pick(m, p.l)))
			}
		case 3: // One more key.
			if o, ok := p.get().(map[string]any); ok {
				o[pick(m, m.keys)] = m.value(nil)
			}
		default: // Another value.
			p.set(m.value(p.get()))
		}
	}
	return doc
}

var (
	seed    = flag.Uint64("seed", 1, "seed of the mutants")
	mutants = flag.Int("mutants", 2000, "number of mutants")
)

// form are the findings that Decode makes of a document's form, before anything refers to anything.
var form = regexp.MustCompile(`^unknown key|is missing$| is due|is not a duration|is negative$|^a step does one thing|^a step that does nothing|` +
	`^unknown (join|results|rule|end|mode|body|contract) |names more than one|says not where it is|says not what it is|^a destination names one target|names nothing$|` +
	`^a filter has one dialect|^an empty list of filters|names no attribute|is no attribute's name|with an empty text|^a secret names|^retry attempts|^a factor|^jitter|` +
	`^a concurrency|^a window|^a join (of|waits|without)|^a batch|is neither a time that can pass|^a child may get|^what stands beside|^it is not said|^a tolerance|^groups without|^a step that reduces|^unknown (onDeadline|losers) |^a wait says|^no program|without (steps|cases)$|has no name$|cannot be served|^the document is|^a document is|is not a name$|^version |` +
	`is not an http|does nothing$|^for: |^until: `)

// unknownKey is a finding that the schema must have too.
var unknownKey = regexp.MustCompile(`^unknown key`)

// TestSchemaAgainstLint changes good documents at random: what lint accepts the schema accepts, and what is wrong in form it refuses nearly always,
// an unknown key always.
func TestSchemaAgainstLint(t *testing.T) {
	t.Parallel()
	seed, mutants := *seed, *mutants
	r := extended()
	schema := compile(t, r, "")
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 0))}
	var good []any
	for _, file := range goodFiles(t) {
		_, documents := read(t, file)
		if len(places(documents, nil)) < 500 { // The dag of a hundred steps has nothing that one of two has not.
			good = append(good, documents...)
		}
	}
	for _, p := range places(good, nil) {
		if p.m != nil && !slices.Contains(m.keys, p.key) {
			m.keys = append(m.keys, p.key)
		}
		if !(p.l != nil && len(p.l) == len(good)) {
			m.values = append(m.values, p.get())
		}
	}
	if len(good) < 4 {
		t.Fatalf("%d documents to change", len(good))
	}
	accepted, wrong, refused := 0, 0, 0
	missed := make(map[string]int)
	for i := range mutants {
		doc := m.mutate(pick(m, good))
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(doc); err != nil {
			t.Fatal(err)
		}
		_, findings := config.Parse("mutant.yaml", text.Bytes(), r, nil)
		err := schema.Validate(doc)
		if len(findings) == 0 {
			if accepted++; err != nil {
				t.Errorf("seed %d, mutant %d: lint accepts and the schema refuses\n%s\n%v", seed, i, text.Bytes(), err)
			}
			continue
		}
		if k := slices.IndexFunc(findings, func(f lang.Finding) bool { return unknownKey.MatchString(f.What) }); k >= 0 && err == nil {
			t.Errorf("seed %d, mutant %d: the schema accepts an unknown key: %v\n%s", seed, i, findings[k], text.Bytes())
		}
		at := slices.IndexFunc(findings, func(f lang.Finding) bool { return form.MatchString(f.What) })
		if at < 0 {
			continue
		}
		if wrong++; err != nil {
			refused++
			continue
		}
		missed[findings[at].What]++
	}
	share := float64(refused) / float64(wrong)
	t.Logf("%d mutants: lint accepts %d, %d are wrong in form; the schema refuses %d of these (%.2f%%)", mutants, accepted, wrong, refused, 100*share)
	for what, n := range missed {
		t.Logf("%4d %s", n, what)
	}
	if accepted < mutants/20 || wrong < mutants/3 || share < 0.99 {
		t.Errorf("too few mutants of a kind, or too many missed")
	}
}
