package lang_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// level is a text of a third party, of which only some are known.
type level string

func (l *level) UnmarshalText(text []byte) error {
	if s := string(text); s != "low" && s != "high" {
		return errors.New("no level")
	}
	*l = level(text)
	return nil
}

func (level) Schema() plugin.Schema { return plugin.Schema{"enum": []any{"low", "high"}} }

// free is a text of a third party that says nothing of its form.
type free struct{}

func (*free) UnmarshalText([]byte) error { return nil }

type inlined struct {
	Switch bool `doc:"switch,required" help:"on or off"`
}

// everything has all that tags can say. It refers to itself.
type everything struct {
	inlined
	Text   string            `doc:"text,value" help:"short form" default:"7"`
	Whole  int               `doc:"whole" default:"7"`
	Number float64           `doc:"number"`
	Level  *level            `doc:"level" default:"low"`
	Free   free              `doc:"free"`
	Span   plugin.Duration   `doc:"span" default:"5s"`
	Names  []string          `doc:"names,list"`
	Grid   [][]int           `doc:"grid,list"`
	Map    map[string]bool   `doc:"map"`
	Any    lang.Value        `doc:"any"`
	Expr   lang.Expr         `doc:"expr"`
	Secret *plugin.Secret    `doc:"secret"`
	Self   *everything       `doc:"self"`
	Others []everything      `doc:"others,list"`
	Short  short             `doc:"short"`
	Wrap   map[string]wrap   `doc:"wrap"`
	Open   open              `doc:"open"`
	Plain  struct{ X int }   `doc:"plain"`
	Out    int               `doc:"-"`
	Hidden map[string]string // It has no tag: it is no part of the document.
}

// short is a text of a third party in short.
type short struct {
	Free free `doc:"free,value"`
}

// wrap is a list in short.
type wrap struct {
	List []string `doc:"list,value,list,required"`
	More bool     `doc:"more"`
}

// open has names among its own keys.
type open struct {
	Others map[string]bool `doc:"others,rest,required"`
	Whole  int             `doc:"whole"`
	Switch bool            `doc:"switch"`
}

var words = []string{
	"switch", "text", "whole", "number", "level", "free", "span", "names", "grid", "map", "any", "expr", "secret", "self", "others", "wrap", "plain", "env", "file", "list", "more", "X",
	"short", "Out", "Hidden", "open",
}

// random makes a document: under each word something that may be right, or not.
func random(r *rand.Rand, depth int) any {
	if depth > 0 {
		switch r.IntN(6) {
		case 0, 1, 2:
			m := make(map[string]any)
			if r.IntN(4) > 0 {
				m["switch"] = true
			}
			for range r.IntN(3) {
				m[words[r.IntN(len(words))]] = random(r, depth-1)
			}
			return m
		case 3:
			l := make([]any, r.IntN(3))
			for i := range l {
				l[i] = random(r, depth-1)
			}
			return l
		}
	}
	scalars := []any{nil, true, false, 0, 1, -3, 2.5, "", "x", "low", "high", "5s", "-5s", "-0s", "+.5h", "1.s", "5", "0", "1h30m", "5 s", "1d"}
	return scalars[r.IntN(len(scalars))]
}

// TestSchemaIsWhatDecodeAccepts holds random documents of a type without a Check against both: they agree on each.
func TestSchemaIsWhatDecodeAccepts(t *testing.T) {
	t.Parallel()
	registry := new(plugin.Registry)
	s := lang.NewSchemas(registry)
	root := s.Of(reflect.TypeFor[everything]())
	root["$defs"] = s.Reachable(root)
	b, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:test", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("urn:test")
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	const seed = 1
	r, accepted := rand.New(rand.NewPCG(seed, 0)), 0
	for i := range 20_000 {
		text, err := json.Marshal(random(r, 3))
		if err != nil {
			t.Fatal(err)
		}
		n, err := lang.ParseJSONNode(text)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		findings, refused := lang.Decode(n, new(everything), registry), schema.Validate(value)
		if (len(findings) == 0) != (refused == nil) {
			t.Fatalf("seed %d, document %d: %s\nDecode finds %v\nthe schema says %v", seed, i, text, findings, refused)
		}
		if refused == nil {
			accepted++
		}
	}
	if accepted < 2000 || accepted > 18_000 {
		t.Errorf("%d of 20,000 are accepted: the documents are too much of one kind", accepted)
	}
}
