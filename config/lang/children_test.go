package lang_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// nest has steps in all the places where there may be some.
type nest struct {
	Before *lang.Step           `doc:"before"`
	Of     map[string]lang.Step `doc:"of"`
	Guard  *guarded             `doc:"guard"`
	Cases  map[string]chosen    `doc:"cases"`
	Lists  map[string][]chosen  `doc:"lists"`
	Else   lang.Step            `doc:"else"`
	Named  lang.Steps           `doc:"named"`
	Last   *lang.Step           `doc:"last"`
}

type chosen struct {
	lang.Step
	Weight int `doc:"weight"`
}

// guarded may hold itself: what is not there has no end.
type guarded struct {
	Do    *lang.Step `doc:"do"`
	Other *guarded   `doc:"other"`
}

func nests() *plugin.Registry {
	r := new(plugin.Registry)
	r.Add(plugin.Component{Door: plugin.Policy, Name: "nest", Version: 1, Settings: reflect.TypeFor[nest]()})
	return r
}

// slots shows children as slot=target, and those in maps with their keys.
func slots(policy any) string {
	var out []string
	keys := lang.ChildKeys(policy)
	for slot, s := range lang.Children(policy) {
		word := "-"
		if s != nil {
			word = s.Target
		}
		if keys[slot] != "" {
			word = keys[slot] + ":" + word
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func decodeStep(t *testing.T, doc string) *lang.Step {
	t.Helper()
	n, err := lang.ParseJSONNode([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	step := new(lang.Step)
	if f := lang.Decode(n, step, nests()); len(f) > 0 {
		t.Fatalf("%s: %v", doc, f)
	}
	return step
}

// TestSlotsDoNotShift: what may be left out has its slot whether it is there or not.
func TestSlotsDoNotShift(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{}`:                          "",
		`{"before":{"function":"b"}}`: "b",
		`{"last":{"function":"z"}}`:   "- - - z", // before, guard.do, else, last
		`{"else":{"function":"e"}}`:   "- - e",
		`{"guard":{}}`:                "",
		`{"guard":{"other":{"do":{"function":"g"}}}}`:                                                                          "- - g",
		`{"of":{"b":{"function":"g"},"a":{"function":"f"}},"last":{"function":"z"}}`:                                           "- a:f b:g - - z",
		`{"before":{"function":"b"},"of":{"b":{"function":"g"},"a":{"function":"f"}},"last":{"function":"z"}}`:                 "b a:f b:g - - z",
		`{"of":{"a":{"function":"f"}},"guard":{"do":{"function":"g"}},"else":{"function":"e"},"last":{"function":"z"}}`:        "- a:f g - e z",
		`{"cases":{"y":{"function":"f","weight":1}},"lists":{"k":[{"function":"1"},{"function":"2"}],"j":[{"function":"0"}]}}`: "- - y:f j:0 k:1 k:2",
		`{"named":{"y":{"function":"1"},"x":{"function":"2"}}}`:                                                                "- - - 1 2",
	} {
		step := decodeStep(t, `{"nest":`+doc+`}`)
		if got := slots(step.Policy); got != want {
			t.Errorf("%s: %q, want %q", doc, got, want)
		}
	}
}

// TestStepsOfAMap: they have one place, what is changed there is written, the order of the document's keys is not, and what was written is read again.
func TestStepsOfAMap(t *testing.T) {
	t.Parallel()
	var digests []lang.Digest
	for _, doc := range []string{
		`{"nest":{"of":{"b":{"function":"g"},"a":{"function":"f"}},"cases":{"x":{"function":"h","weight":2}},"last":{"function":"z"}}}`,
		`{"nest":{"last":{"function":"z"},"cases":{"x":{"weight":2,"function":"h"}},"of":{"a":{"function":"f"},"b":{"function":"g"}}}}`,
	} {
		step := decodeStep(t, doc)
		before := lang.Children(step.Policy)
		step.Walk(func(s *lang.Step) {
			if s.Use == lang.UseFunction {
				s.Name = "name-of-" + s.Target
			}
		})
		for slot, s := range lang.Children(step.Policy) {
			if s != before[slot] {
				t.Fatalf("slot %d is another step each time", slot)
			}
		}
		def := &lang.Definition{Version: 1, Trigger: "t", Flow: step, Policies: map[string]int{"nest": 1}}
		digests = append(digests, def.Digest())
		again, err := lang.ParseDefinition(def.Canonical(), nests())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range lang.Children(again.Flow.Policy) {
			if s != nil {
				names = append(names, s.Name)
			}
		}
		if got, want := fmt.Sprint(names), "[name-of-f name-of-g name-of-h name-of-z]"; got != want {
			t.Errorf("%s, want %s:\n%s", got, want, def.Canonical())
		}
		written := &lang.Definition{Version: 1, Trigger: "t", Flow: again.Flow, Policies: again.Policies}
		if string(written.Canonical()) != string(def.Canonical()) {
			t.Errorf("read and written again:\n%s\n%s", def.Canonical(), written.Canonical())
		}
	}
	if digests[0] != digests[1] {
		t.Error("the digest hangs on the order of keys")
	}
}
