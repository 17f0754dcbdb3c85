package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
)

// functions are what the flows of these tests call.
const functions = "version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" } }, g: { log: g } }\n"

// parse reads a document, and returns its set and all that lint says of it.
func parse(t testing.TB, doc string) (*config.Set, string) {
	t.Helper()
	set, findings := config.Parse("t.yaml", []byte(doc), registry(), nil)
	if set != nil {
		findings = set.Warnings
	}
	var all []string
	for _, f := range findings {
		all = append(all, f.String())
	}
	return set, strings.Join(all, "\n")
}

// inMaps puts a step into n maps.
func inMaps(n int, step string) string {
	return strings.Repeat("{ map: { items: 1, do: ", n) + step + strings.Repeat(" } }", n)
}

// TestFlowsThatCannotRun holds steps that lint takes no longer: each says why, and what to write.
func TestFlowsThatCannotRun(t *testing.T) {
	t.Parallel()
	for flow, want := range map[string]string{
		`{ function: f, input: "${ siez(data) }" }`:                                                                 `unknown function "siez"; did you mean "size"?`,
		`{ function: f, when: "${ data.x } == 1" }`:                                                                 `a condition that is a text, and never true or false: ${ data.x } == 1; put all of it into the braces`,
		`{ function: f, when: "${ size(data) }" }`:                                                                  "a condition that is a number",
		`{ choice: [{ if: "${ data.x } == 1", function: f }] }`:                                                     "a condition that is a text",
		`{ function: f, when: "data.x == 1" }`:                                                                      "its condition is never true; write a condition in ${ }",
		`{ map: { items: "${ data.a }${ data.b }", do: { function: f } } }`:                                         "always yields text",
		`{ map: { items: 20000000, do: { function: f } } }`:                                                         "20000000 items, and 10000000 are the most",
		`{ map: { items: 2, window: 3000000000, do: { function: f } } }`:                                            "a window of 3000000000",
		`{ map: { items: 2, as: in, do: { function: f } } }`:                                                        `"in" is a word of the expressions' own`,
		`{ map: { items: 2, as: while, do: { function: f } } }`:                                                     `"while" is a word of the expressions' own`,
		inMaps(65, "{ function: f }"):                                                                               "more than 64 policies and flows inside one another",
		inMaps(66, "{ wait: 1s }"):                                                                                  "more than 64 policies and flows inside one another",
		inMaps(63, "{ function: f, catch: [{ do: { wait: 1s, catch: [{ do: { sequence: [{ wait: 1s }] } }] } }] }"): "more than 64",
		`{ function: f, retry: { attempts: 2, on: [tiemout] } }`:                                                    `"tiemout" is no class of errors, and no type of ours; did you mean "timeout"?`,
		`{ function: f, catch: [{ errors: [canceled], do: { function: g } }] }`:                                     `did you mean "cancelled"?`,
		`{ dag: [{ name: a, function: f }, { name: b, function: f, rule: one_failed }] }`:                           "the rule one_failed of a step without needs",
		`{ function: f, timeout: 30s, deadline: 10s }`:                                                              "the deadline of 10s ends the step before the timeout of 30s",
		`{ function: f, timeout: 0s }`:                                                                              "timeout is 0; leave it out for the default, or write more than 0",
		`{ function: f, deadline: 0s }`:                                                                             "deadline is 0",
		`{ signal: { name: s, within: 0s } }`:                                                                       "within is 0",
		`{ function: f, retry: { factor: 0 } }`:                                                                     "a factor below 1",
		`{ function: f, retry: null }`:                                                                              "nothing where a mapping is due",
		`{ function: f, timeout: null }`:                                                                            "nothing where a value is due; write a value, or leave the key out",
		`{ function: f, name: null }`:                                                                               "nothing where a text is due",
		`{ function: f, input: "${ google.protobuf.Struct{} }" }`:                                                   "makes a message",
		`{ parallel: [{ function: f }] }`:                                                                           `unknown key or policy "parallel"; did you mean "forkjoin"?`,
		`{ foreach: { items: 2, do: { function: f } } }`:                                                            `did you mean "map"?`,
		`{ choice: [{ when: "${ true }", function: f }] }`:                                                          "if is missing; write if: where when: stands",
		`{ map: 3 }`: "the number 3 where a mapping is due; write { items: ..., do: ... }",
		`{ function: f, when: "${ data.a and data.b }" }`: "expressions say && where others say and; write a && b",
		`{ function: f, when: "${ not data.a }" }`:        "expressions say ! where others say not",
		`{ function: f, when: "${ data.a = 1 }" }`:        "write == to compare",
		`{ function: f, input: "${{ data.a }}" }`:         "one pair of braces is enough; write ${ ... }",
		`{ function: f, input: "${ data.a | size }" }`:    "no filters behind |",
	} {
		set, said := parse(t, functions+"triggers: { t: { flow: "+flow+" } }\n")
		if set != nil || !strings.Contains(said, want) {
			t.Errorf("%.120s finds\n%s\nwant %s", flow, said, want)
		}
	}
}

// TestExpressionsInAddresses: what a sink makes of events by expressions of its own is none that nobody evaluates.
func TestExpressionsInAddresses(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{
		`url: "http://h/orders/${ data.id }?at=${ event.time }"`,
		`url: "http://h/", headers: { X-Order: "${ data.id }" }`,
		`url: "http://h/", headers: { X-Order: { text: "${ data.id }" } }`,
	} {
		doc := "version: 1\nfunctions: { f: { http: { " + keys + " } } }\ntriggers: { t: { flow: { function: f }, onSuccess: { http: { " + keys + " } } } }\n"
		if _, said := parse(t, doc); said != "" {
			t.Errorf("%s finds\n%s", doc, said)
		}
	}
}

// TestDocumentsThatCannotRun is the same for what stands around flows.
func TestDocumentsThatCannotRun(t *testing.T) {
	t.Parallel()
	flow := "triggers: { t: { flow: { function: f } } }\n"
	two := `correlate: "${ data.k }", await: { events: { paid: { filters: [{ exact: { type: a } }] }, packed: { filters: [{ exact: { type: b } }] } } }`
	for doc, want := range map[string]string{
		functions + "triggers: { t: { filters: [{ exact: { type: a } }, { exact: { type: b } }], flow: { function: f } } }": `filters that no event passes: type is to be "a" and "b"; all filters must match`,
		functions + "triggers: { t: { flow: { function: f }, onSuccess: { function: g, when: \"${ data.x } > 1\" } } }":     "a condition that is a text",
		functions + "triggers: { t: { flow: { function: f }, onSuccess: null } }":                                           "a mapping is due here",
		"version: 1\nfunctions: { f: { http: { url: \"http://h/${ run.id }\" } } }\n" + flow:                                `functions.f.http.url: unknown name "run"`,
		"version: 1\nfunctions: { f: { http: { url: \"http://h/\", method: \"${ data.x }\" } } }\n" + flow:                  "functions.f.http.method: an expression where none is evaluated",

		"version: 1\nfunctions: { f: { log: f, retry: { attempts: 2, on: [platfrom] } } }\n" + flow:                                                         `did you mean "platform"?`,
		"version: 1\nfunctions: { f: { log: f, timeout: 20s, deadline: 10s } }\n" + flow:                                                                    "the deadline of 10s ends a step before the timeout of 20s",
		functions + "triggers: { t: { flow: { function: f, input: \"${ run.ident }\" } } }":                                                                 `run has no "ident"; known are id, tenant, trigger`,
		functions + "triggers: { t: { flow: { function: f, catch: [{ do: { function: g, input: \"${ error.typ }\" } }] } } }":                               `error has no "typ"; did you mean "type"?`,
		functions + "triggers: { t: { flow: { function: f }, onSuccess: { function: g, when: \"${ end.condtion == 'Success' }\" } } }":                      `end has no "condtion"; did you mean "condition"?`,
		functions + "triggers: { t: { " + two + ", flow: { function: f, input: \"${ has(arrived.c) || arrived.?c.hasValue() || arrived.payd.data }\" } } }": `arrived has no "payd"; did you mean "paid"?`,
		functions + "triggers: { t: { " + two + ", flow: { function: f }, onSuccess: { function: g, data: \"${ arrived.none.data }\" } } }":                 `arrived has no "none"; known are packed, paid`,
		"version: 1\nfunctions: { f: { http: { url: \"http://h/{{ data.x }}\", headers: { A: \"$data.y\" }, method: \"${ data.z }\" } } }\n" + flow:         "warning: functions.f.http.url: {{ data.x }} is a text",

		functions + "sources: { a: { webhook: {} }, b: { webhook: { path: /events } } }\n" + flow:                          "sources.b: the path /events is taken by sources.a; it stands at t.yaml:3; give it another",
		functions + "sources: { a: { file: \"-\" }, b: { file: { path: \"-\" } } }\n" + flow:                               "sources.b: standard input is taken by sources.a",
		"version: 1\nfunctions: { f: { lambdaRuntime: \"127.0.0.1:1\" }, g: { lambdaRuntime: \"127.0.0.1:1\" } }\n" + flow: "functions.g: the Runtime API at 127.0.0.1:1 is taken by functions.f",

		"listen: :8080\nlog: { level: debug }\n":                                                                "these are settings of the router, and no document; give the file to serve: --settings t.yaml",
		functions + flow + "---\n---\n# more\n---\ntriggers: { u: { flow: { function: nope } } }\n":             "version is missing",
		functions + flow + "---\n# a comment\n---\nversion: 1\ntriggers: { u: { flow: { function: nope } } }\n": `unknown function "nope"`,
	} {
		set, said := parse(t, doc)
		if set != nil || !strings.Contains(said, want) {
			t.Errorf("%s finds\n%s\nwant %s", doc, said, want)
		}
	}
}

// TestFlowsThatRun holds steps that lint refused though they run, or that say nothing: each passes, some with a warning.
func TestFlowsThatRun(t *testing.T) {
	t.Parallel()
	for flow, warning := range map[string]string{
		`{ map: { items: "${ lists.range(3) }", do: { function: f } } }`:                       "",
		`{ function: f, input: "${ base64.encode(bytes(data.x)) + base64.encodeUrl(b'x') }" }`: "",
		`{ function: f, input: "${ math.greatest(data.a, 3) + math.abs(-1) }" }`:               "",
		`{ function: f, when: "${ sets.contains(data.a, [1]) && type(data.x) == string }" }`:   "",
		`{ function: f, input: "${ optional.of(data.a).orValue(2) }" }`:                        "",
		`{ function: f, input: "${ strings.quote(data.a) }" }`:                                 "",
		`{ function: f, input: "${ json.encode({'a': data.a, ?'b': data.?b}) }" }`:             "",
		`{ function: f, when: "${ type(data.t) != google.protobuf.Timestamp }" }`:              "",
		inMaps(64, "{ function: f }"):                                                          "",
		inMaps(63, "{ wait: 1s }"):                                                             "",
		`{ function: f, retry: { attempts: 3, on: [timeout, Throttled, MyError, platform] } }`: "",
		`{ function: f, deadline: 10s }`:                                                       "",
		`{ map: { items: 10000000, window: 10000, do: { function: f } } }`:                     "",
		`{ function: f, input: "{{ data.x }}" }`:                                               `warning: triggers.t.flow.input: {{ data.x }} is a text, and no expression; write "${ ... }"`,
		`{ function: f, input: { a: ["$data.x"] } }`:                                           "$data.x is a text, and no expression",
		`{ function: f, input: "costs $5, {{ other }}, $${ data.x }" }`:                        "",
	} {
		set, said := parse(t, functions+"triggers: { t: { flow: "+flow+" } }\n")
		if set == nil || (warning == "") != (said == "") || !strings.Contains(said, warning) {
			t.Errorf("%.120s finds\n%s\nwant %q", flow, said, warning)
		}
	}
}

// TestWhatWasSaid holds that an explicit zero and an explicit null are themselves, and no default, also in the definition.
func TestWhatWasSaid(t *testing.T) {
	t.Parallel()
	set, said := parse(t, functions+"triggers: { t: { flow: { function: f, input: null, output: null, retry: { attempts: 3, backoff: 0s, max: 0s, jitter: 0 } } } }\n")
	if set == nil {
		t.Fatal(said)
	}
	def, err := lang.ParseDefinition(set.Triggers["t"].Definition.Canonical(), registry())
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]*lang.Step{"document": set.Triggers["t"].Definition.Flow, "definition": def.Flow} {
		if v, constant := step.Input.Const(); step.Input.IsZero() || !constant || !v.IsNull() {
			t.Errorf("%s: input: null is not said", name)
		}
		if v, constant := step.Output.Const(); step.Output.IsZero() || !constant || !v.IsNull() {
			t.Errorf("%s: output: null is not said", name)
		}
		if pause := step.Retry[0].Pause(step.Retry[0].Backoff.D(), step.Retry[0].Max.D(), 2, 0.5); pause != 0 {
			t.Errorf("%s: a pause of %s, and 0 was said", name, pause)
		}
	}
	if pause := (&lang.Retry{Factor: 2}).Pause(1e9, 0, 1, 0); pause != 0 {
		t.Errorf("a longest pause of 0 makes %s", pause)
	}
	set, said = parse(t, functions+"triggers: { t: { flow: { function: f, retry: { attempts: 3 } } } }\n")
	if set == nil {
		t.Fatal(said)
	}
	if r := set.Triggers["t"].Definition.Flow.Retry[0]; r.Pause(r.Backoff.D(), r.Max.D(), 2, 0) != 2*time.Second {
		t.Errorf("the default pause: %s", said)
	}
}

// TestSettingsBesideDocuments loads a folder where both are.
func TestSettingsBesideDocuments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"flows.yaml": functions + "triggers: { t: { flow: { function: f } } }\n", "settings.yaml": "listen: :8080\nhistory.runs: 5\nkafka: { brokers: [a:1] }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, findings := config.Load([]string{dir}, registry(), nil)
	if set == nil || len(set.Triggers) != 1 || len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0].String(), "no document; give the file to serve: --settings") {
		t.Errorf("%v, %v", set, findings)
	}
	if set, findings = config.Load([]string{filepath.Join(dir, "settings.yaml")}, registry(), nil); set != nil || len(findings) != 1 {
		t.Errorf("named itself: %v, %v", set, findings)
	}
}

// levels are flows that name one another twice each.
func levels(n int) string {
	doc := functions + "flows:\n  l0: { function: f }\n"
	for i := 1; i <= n; i++ {
		doc += fmt.Sprintf("  l%d: { sequence: [{ flow: l%d }, { flow: l%d }] }\n", i, i-1, i-1)
	}
	return doc + fmt.Sprintf("triggers: { t: { flow: { flow: l%d } } }\n", n)
}

// TestFlowsInsideOneAnother holds that a flow is checked, written and read once, however often it is named: 2^30 steps are 30.
func TestFlowsInsideOneAnother(t *testing.T) {
	t.Parallel()
	set, said := parse(t, levels(30))
	if set == nil {
		t.Fatal(said)
	}
	b := set.Triggers["t"].Definition.Canonical()
	def, err := lang.ParseDefinition(b, registry())
	if err != nil || len(b) > 10_000 || len(def.Flows) != 31 || def.Flow.Body != def.Flows["l30"] || def.Digest() != set.Triggers["t"].Digest {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if set, said = parse(t, levels(32)); set != nil || !strings.Contains(said, "more than 64 policies and flows") {
		t.Errorf("33 flows in 32 sequences: %v", said)
	}
	if set, said = parse(t, functions+"flows: { a: { sequence: [{ flow: b }] }, b: { flow: a } }\ntriggers: { t: { flow: { flow: a } } }\n"); set != nil || !strings.Contains(said, "in a circle: a > b > a") {
		t.Errorf("a circle: %v", said)
	}
}

func BenchmarkNamedFlows(b *testing.B) {
	for _, n := range []int{3, 30} {
		doc := levels(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if set, said := parse(b, doc); set == nil {
					b.Fatal(said)
				}
			}
		})
	}
}
