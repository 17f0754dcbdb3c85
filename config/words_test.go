package config_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// flowOf is the canonical form of a flow, as it stands in the definition.
func flowOf(t *testing.T, flow string) string {
	t.Helper()
	set, said := parse(t, functions+"triggers: { t: { flow: "+flow+" } }\n")
	if set == nil {
		t.Fatalf("%s: %s", flow, said)
	}
	text := string(set.Triggers["t"].Definition.Canonical())
	def, err := lang.ParseDefinition([]byte(text), registry())
	if err != nil {
		t.Fatalf("%s: %v\n%s", flow, err, text)
	}
	again := &lang.Definition{
		Version: def.Version, Tenant: def.Tenant, Trigger: def.Trigger, Flow: def.Flow, Flows: def.Flows, Functions: def.Functions, OnSuccess: def.OnSuccess,
		OnFailure: def.OnFailure, Policies: def.Policies,
	}
	if string(again.Canonical()) != text {
		t.Errorf("%s: read and written again:\n%s\n%s", flow, text, again.Canonical())
	}
	n, err := lang.ParseJSONNode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n.Get("flow").JSON().JSON()
}

// finds holds what lint says of flows; an empty want is nothing.
func finds(t *testing.T, flows map[string]string) {
	t.Helper()
	schema := compile(t, registry(), "")
	for flow, want := range flows {
		set, said := parse(t, functions+"triggers: { t: { flow: "+flow+" } }\n")
		if want == "" && said != "" || want != "" && (set != nil || !strings.Contains(said, want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, said, want)
		}
		if want != "" {
			continue
		}
		for _, v := range config.Values([]byte(functions + "triggers: { t: { flow: " + flow + " } }\n")) {
			if err := schema.Validate(decodeJSON(t, []byte(v.JSON()))); err != nil {
				t.Errorf("%s: the schema refuses it: %v", flow, err)
			}
		}
	}
}

// TestRetryRules: a rule is written as it always was, alone or the only one of a list; several are a list. What no error would ever come to is found.
func TestRetryRules(t *testing.T) {
	t.Parallel()
	const one = `{"function":"f","retry":{"attempts":3,"backoff":"1s","factor":2,"jitter":0.2,"max":"5m0s"},"timeout":"30s"}`
	for flow, want := range map[string]string{
		`{ function: f, retry: { attempts: 3 } }`:   one,
		`{ function: f, retry: [{ attempts: 3 }] }`: one,
		`{ function: f, retry: [{ on: [throttle], attempts: 9, backoff: 0s }, { never: [refused], attempts: 2 }] }`: `{"function":"f","retry":[{"attempts":9,"backoff":"0s","factor":2,"jitter":0.2,"max":"5m0s","on":["throttle"]},{"attempts":2,"backoff":"1s","factor":2,"jitter":0.2,"max":"5m0s","never":["refused"]}],"timeout":"30s"}`,
	} {
		if got := flowOf(t, flow); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, got, want)
		}
	}
	finds(t, map[string]string{
		`{ function: f, retry: [{ on: [throttle], attempts: 9 }, { attempts: 2 }] }`: "",
		`{ function: f, retry: { attempts: 2, never: [boom] } }`:                     "",
		`{ function: f, retry: [] }`:                                                 "flow.retry: retry is an empty list; leave it out",
		`{ function: f, retry: [{ attempts: 2 }, { on: [boom] }] }`:                  "flow.retry.1: a rule that is never asked: the one before it is for every error",
		`{ function: f, retry: [{ on: [timeuot] }, { never: [cancelld] }] }`:         `flow.retry.1.never: "cancelld" is no class of errors`,
		`{ function: f, retry: { on: [timeuot] } }`:                                  `flow.retry.on: "timeuot" is no class of errors`,
		`{ function: f, retry: { attempts: 0 } }`:                                    "flow.retry.attempts: retry attempts count the first try",
		`{ function: f, retry: [{ attempts: 0 }, { factor: 0.5 }] }`:                 "flow.retry.1.factor: a factor below 1",
		`{ function: f, retry: 3 }`:                                                  "the number 3 where a mapping is due",
		"{ function: f, retry: [" + strings.Repeat("{ on: [a] }, ", 17) + "] }":      "17 rules, and 16 are the most",
	})
}

// TestCatch: a catch has a condition and names, which lint knows; without them it is written as it always was.
func TestCatch(t *testing.T) {
	t.Parallel()
	for flow, want := range map[string]string{
		`{ function: f, catch: [{ errors: [a], do: { function: f } }] }`:               `{"catch":[{"do":{"function":"f","timeout":"30s"},"errors":["a"]}],"function":"f","timeout":"30s"}`,
		`{ wait: 1s, catch: [{ as: x, when: "${ attempt > 1 }", do: { wait: 2s } }] }`: `{"catch":[{"as":"x","do":{"wait":{"for":"2s"}},"when":"${ attempt > 1 }"}],"wait":{"for":"1s"}}`,
	} {
		if got := flowOf(t, flow); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, got, want)
		}
	}
	catch := func(c string) string { return `{ function: f, catch: [` + c + `] }` }
	finds(t, map[string]string{
		catch(`{ when: "${ error.type == 'x' && attempt > 1 && input.y }", as: x, do: { function: f, input: "${ [x.error.type, attempt, error.data] }" } }, { do: { wait: 1s } }`): "",
		catch(`{ when: "${ x.error.type == 'x' }", as: x, do: { function: f } }`):                                                                                                  `flow.catch.0.when: unknown name "x"`,
		catch(`{ when: "${ size(error.type) }", do: { function: f } }`):                                                                                                            "flow.catch.0.when: a condition that is a number",
		catch(`{ when: false, do: { function: f } }`):                                                                                                                              "flow.catch.0.when: unreachable step: its condition is never true",
		catch(`{ as: data, do: { function: f } }`):                                                                                                                                 `flow.catch.0.as: the name "data" shadows one of the language`,
		catch(`{ as: x, do: { function: f, catch: [{ as: x, do: { function: f } }] } }`):                                                                                           `flow.catch.0.catch.0.as: the name "x" shadows that of an enclosing step`,
		catch(`{ as: a-b, do: { function: f } }`):                                                                                                                                  `"a-b" cannot be named in an expression`,
		catch(`{ do: { function: f } }, { when: "${ attempt > 1 }", do: { function: f } }`):                                                                                        "flow.catch.1: unreachable step: the catch before it takes every error",
		`{ function: f, input: "${ attempt }" }`:                                                                                                                                   "attempt is known in a catch only",
		`{ sequence: [{ function: f, catch: [{ as: x, do: { function: f } }] }, { function: f, input: "${ x.error }" }] }`:                                                         `unknown name "x"`,
		`{ map: { items: 3, as: x, do: { function: f, catch: [{ as: x, do: { function: f } }] } } }`:                                                                               `the name "x" shadows that of an enclosing step`,
	})
}

// TestForkJoinInShort: branches may stand among the keys of a forkjoin; in the definition they do not.
func TestForkJoinInShort(t *testing.T) {
	t.Parallel()
	long := flowOf(t, `{ forkjoin: { join: settled, branches: { b: { wait: 1s }, a: { function: f } } } }`)
	if got := flowOf(t, `{ forkjoin: { b: { wait: 1s }, join: settled, a: { function: f } } }`); got != long {
		t.Errorf("in short %s, in full %s", got, long)
	}
	if got, want := flowOf(t, `{ forkjoin: { branches: { join: { wait: 1s }, branches: { wait: 2s } } } }`), `{"forkjoin":{"branches":{"join":{"wait":{"for":"1s"}},"branches":{"wait":{"for":"2s"}}},"join":"all"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	finds(t, map[string]string{
		`{ forkjoin: { a: { function: f } } }`: "",
		`{ forkjoin: { a: { function: f, input: "${ steps.x }", name: b }, b: { sequence: [{ name: x, function: f }] } } }`: `step "x" is not visible here`,
		`{ forkjoin: { a: { function: h } } }`:                                   `unknown function "h"`,
		`{ forkjoin: { a: { function: f }, join: { function: f } } }`:            `flow.forkjoin.join: "join" is a key of its own here, and this is a step; write branches: { join: ... }, with all the others, for one of that name`,
		`{ forkjoin: { a: { function: f }, join: sometimes } }`:                  "unknown join",
		`{ forkjoin: { a: { function: f }, branches: { b: { function: f } } } }`: `unknown key "a"; put it below branches:, where the others are`,
		`{ forkjoin: { branches: { b: { function: f } }, jion: all } }`:          `unknown key "jion"; did you mean "join"?`,
		`[{ function: f }]`: `a list where a step is due; put it below sequence:, or forkjoin: for steps side by side`,
		`{ forkjoin: { jion: all, a: { function: f } } }`: `flow.forkjoin.jion: the text "all" where a step is due`,
		`{ forkjoin: { join: all } }`:                     "branches is missing",
		`{ forkjoin: {} }`:                                "branches is missing",
		`{ forkjoin: { a: { functoin: f } } }`:            `flow.forkjoin.a.functoin: unknown key or policy "functoin"; did you mean "function"?`,
	})
}

// A polling policy has names of its own: value and output where it asks whether it is enough, a name of the document's choice deeper inside.
type polling struct {
	Do    lang.Step          `doc:"do,required" help:"what to ask"`
	Until lang.Expr          `doc:"until,condition" help:"when to stop"`
	Then  map[string]counted `doc:"then" help:"what to count"`
	As    string             `doc:"as" help:"a name of the document's choice"`
}

type counted struct {
	Of lang.Expr `doc:"of" help:"what is counted"`
}

func (*polling) Next(schedulers.Frame, *struct{}, schedulers.Event) error { return nil }

func (p *polling) DeclareOwn(field string) []string {
	switch field {
	case "until":
		return []string{"value", "output"}
	case "then.of":
		return []string{p.As}
	}
	return nil
}

// TestOwnNames: lint knows the names that a third party's policy gives its own expressions, where it gives them and nowhere else.
func TestOwnNames(t *testing.T) {
	t.Parallel()
	r := registry()
	schedulers.Register[polling, struct{}](r, "polling", 1, "Asks again and again.")
	for flow, want := range map[string]string{
		`{ polling: { do: { function: f }, until: "${ value.loss < data.x && output == input }", as: x, then: { a: { of: "${ x + 1 }" } } } }`: "",
		`{ polling: { do: { function: f }, until: "${ valu.loss < 1 }" } }`:                                                                    `flow.polling: unknown name "valu"; did you mean "value"?`,
		`{ polling: { do: { function: f, input: "${ value }" } } }`:                                                                            `unknown name "value"`,
		`{ polling: { do: { function: f }, as: x, then: { a: { of: "${ value }" } } } }`:                                                       `unknown name "value"`,
		`{ polling: { do: { function: f }, as: data, then: { a: { of: "${ data }" } } } }`:                                                     `flow.polling.then.of: the name "data" shadows one of the language`,
		`{ polling: { do: { function: f }, as: a-b, then: { a: { of: "${ data }" } } } }`:                                                      `"a-b" cannot be named`,
		`{ polling: { do: { function: f }, until: "${ size(value) }" } }`:                                                                      "a condition that is a number",
		`{ map: { items: 3, as: x, do: { polling: { do: { wait: 1s }, as: x, then: { a: { of: 1 } } } } } }`:                                   `the name "x" shadows that of an enclosing step`,
	} {
		set, findings := config.Parse("t.yaml", []byte(functions+"triggers: { t: { flow: "+flow+" } }\n"), r, nil)
		var said []string
		for _, f := range findings {
			said = append(said, f.String())
		}
		if all := strings.Join(said, "\n"); (set != nil) != (want == "") || !strings.Contains(all, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, all, want)
		}
	}
}

// TestSpans: durations that may be expressions are written as they always were where they are constants, and lint knows what is in the others.
func TestSpans(t *testing.T) {
	t.Parallel()
	for flow, want := range map[string]string{
		`{ wait: 1s, timeout: 90s, deadline: 2m }`:                               `{"deadline":"2m0s","timeout":"1m30s","wait":{"for":"1s"}}`,
		`{ wait: 1s, timeout: "${ data.x }", deadline: "${ data.y }m" }`:         `{"deadline":"${ data.y }m","timeout":"${ data.x }","wait":{"for":"1s"}}`,
		`{ signal: { name: a, within: 1h } }`:                                    `{"signal":{"name":"a","within":"1h0m0s"}}`,
		`{ signal: { name: a, within: "${ data }" } }`:                           `{"signal":{"name":"a","within":"${ data }"}}`,
		`{ wait: 1s, retry: { attempts: 2, backoff: 0s, max: "${ attempt }" } }`: `{"retry":{"attempts":2,"backoff":"0s","factor":2,"jitter":0.2,"max":"${ attempt }"},"wait":{"for":"1s"}}`,
	} {
		if got := flowOf(t, flow); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, got, want)
		}
	}
	finds(t, map[string]string{
		`{ map: { items: 3, as: x, do: { function: f, timeout: "${ x }", deadline: "${ index + 1 }", retry: { attempts: 2, backoff: "${ error.data.after }" } } } }`: "",
		`{ function: f, timeout: 5 }`:                                        `"5" is not a duration`,
		`{ function: f, timeout: 0s }`:                                       "timeout is 0",
		`{ function: f, deadline: "${ data.x > 1 }" }`:                       "flow.deadline: a duration is due here, and ${ data.x > 1 } never yields one; write one such as 30s",
		`{ function: f, deadline: "${ x }" }`:                                `flow.deadline: unknown name "x"`,
		`{ function: f, timeout: "${ error.data }" }`:                        `flow.timeout: unknown name "error"`,
		`{ function: f, timeout: "$${ x }" }`:                                "a duration is due here",
		`{ function: f, retry: { attempts: 2, backoff: "${ eror.data }" } }`: `flow.retry: unknown name "eror"; did you mean "error"?`,
		`{ signal: { name: a, within: "${ b }" } }`:                          `flow.signal: unknown name "b"`,
	})
	_, said := parse(t, "version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/\" }, retry: { attempts: 2, backoff: \"${ error.data.after + lost }\" } } }\n"+
		"triggers: { t: { flow: { function: f }, onSuccess: { function: f } } }\n")
	if !strings.Contains(said, `t.yaml:2:88: triggers.t.flow.retry: unknown name "lost"`) || !strings.Contains(said, "triggers.t.onSuccess[0].retry: the pauses of a destination are constants") {
		t.Error(said)
	}
}

// TestAmong: a function or a flow by expression is one of several steps, each with what the step says of its tries; lint checks each of them.
func TestAmong(t *testing.T) {
	t.Parallel()
	for flow, want := range map[string]string{
		`{ function: "${ data }", among: [g, f], name: n, when: "${ data != null }", timeout: 5s, deadline: 1m, catch: [{ do: { wait: 1s } }] }`: `{"among":{"of":{"f":{"deadline":"1m0s","function":"f","timeout":"5s"},"g":{"deadline":"1m0s","function":"g","timeout":"5s"}},"pick":"${ data }"},"catch":[{"do":{"wait":{"for":"1s"}}}],"deadline":"1m0s","name":"n","when":"${ data != null }"}`,
		`{ function: "${ data }", among: [g], heartbeat: 5s, timeout: 30s }`:                                                                     `{"among":{"of":{"g":{"function":"g","heartbeat":"5s","timeout":"30s"}},"pick":"${ data }"}}`,
		`{ function: "${ data }", among: [f] }`:                                                                                                  `{"among":{"of":{"f":{"function":"f","timeout":"30s"}},"pick":"${ data }"}}`,
		`{ among: { pick: "${ data }", x: { wait: 1s }, y: { function: f, timeout: 1s } } }`:                                                     `{"among":{"of":{"x":{"wait":{"for":"1s"}},"y":{"function":"f","timeout":"1s"}},"pick":"${ data }"}}`,
	} {
		if got := flowOf(t, flow); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", flow, got, want)
		}
	}
	finds(t, map[string]string{
		`{ function: "${ data }", among: [f, g], input: 3, retry: { attempts: 2 } }`: "",
		`{ function: "${ data }", among: [f, h] }`:                                   `flow.among.h: unknown function "h"`,
		`{ flow: "${ data }", among: [f] }`:                                          `flow.among.f: unknown flow "f"`,
		`{ function: "${ data }" }`:                                                  `flow.function: an expression for a function, which could be any; add the names that it may yield: among: [a, b]`,
		`{ function: f, among: [f, g] }`:                                             `"f" is no expression: it always names the same`,
		`{ function: "${ data }", among: [f, f] }`:                                   `flow.among: the text "f" comes twice`,
		`{ function: "${ data }", among: f }`:                                        `flow.among: the text "f" where names are due`,
		`{ function: "${ data }", among: [] }`:                                       "where names are due",
		`{ function: "${ data }", among: [[f]] }`:                                    "a list where a text is due",
		`{ function: "${ dat }", among: [f, g] }`:                                    `unknown name "dat"; did you mean "data"?`,
		`{ function: "${ data }", flow: x, among: [f, g] }`:                          "a step does one thing",
		`{ wait: 1s, among: [f, g] }`:                                                "a step does one thing",
		`{ among: [f, g] }`:                                                          "a list where a mapping is due",
	})
}
