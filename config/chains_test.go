package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
)

// TestChainWarnings: filters that take the ends of runs without meaning to are said, and are no fault.
func TestChainWarnings(t *testing.T) {
	t.Parallel()
	for filters, want := range map[string]string{
		`[{ not: { exact: { type: never } } }]`:                                                                  "ends of its own runs",
		`[{ prefix: { source: / } }]`:                                                                            "ends of its own runs",
		`[{ exact: { type: dev.onward.run.failed } }]`:                                                           "(dev.onward.run.failed)",
		`[{ prefix: { type: dev. } }, { not: { exact: { source: /onward/t } } }]`:                                "",
		`[{ not: { suffix: { source: /t } } }]`:                                                                  `ends of the runs of "other" as well`,
		`[{ exact: { type: dev.onward.run.failed } }, { not: { exact: { source: /onward/t } } }]`:                "",
		`[{ exact: { type: dev.onward.run.succeeded, source: /onward/other } }]`:                                 "",
		`[{ prefix: { source: / } }, { not: { prefix: { type: dev.onward. } } }]`:                                "",
		`[{ exact: { type: com.example.order } }]`:                                                               "",
		`[{ any: [{ exact: { type: a } }, { all: [{ suffix: { type: ded } }, { prefix: { source: /on } }] }] }]`: "ends of its own runs",
	} {
		doc := "version: 1\nfunctions: { f: { log: f } }\ntriggers: { t: { flow: { function: f }, filters: " + filters + " }, other: { onSuccess: { log: x } } }\n"
		set, findings := config.Parse("t.yaml", []byte(doc), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		if got := fmt.Sprint(set.Warnings); (want == "") != (len(set.Warnings) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %q", filters, got, want)
		}
	}
}

// TestUntoldDestinations: who writes destinations at a function is told that calls of flows do not reach them (DST-8 of the checklists: a destination that does not
// fire, without an error, is the commonest complaint of all). It is no fault, and said once a function.
func TestUntoldDestinations(t *testing.T) {
	t.Parallel()
	const f = "version: 1\nfunctions:\n  f: { log: f, %s }\n  g: { log: g }\ntriggers:\n  "
	for _, c := range []struct{ destinations, triggers, want string }{
		{"onSuccess: { log: x }", "t: { flow: { function: g } }", ""},
		{"timeout: 1s", "t: { flow: { function: f } }", ""},
		{"onSuccess: { log: x }", "t: { flow: { function: f } }", `functions.f.onSuccess: it is told of calls by themselves (onward invoke f), and trigger "t" calls f: of that it hears nothing; write it at trigger t`},
		{"onFailure: [{ log: x }]", "t: { flow: { map: { items: [1], do: { function: f } } } }\n  u: { flow: { function: f } }", "functions.f.onFailure: "},
		{"onSuccess: { log: x }", "t: { flow: { function: g }, onFailure: { function: f } }", "functions.f.onSuccess: "},
	} {
		set, findings := config.Parse("t.yaml", []byte(fmt.Sprintf(f, c.destinations)+c.triggers+"\n"), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		if got := fmt.Sprint(set.Warnings); (c.want == "") != (len(set.Warnings) == 0) || !strings.Contains(got, c.want) || len(set.Warnings) > 1 {
			t.Errorf("%s, %s: %s; want %q", c.destinations, c.triggers, got, c.want)
		}
	}
}

// TestDestinationsAreNamedByContent: what stands beside a destination, and in which order it says things, does not change its name: an open run finds it
// again after a reload, and none in its place.
func TestDestinationsAreNamedByContent(t *testing.T) {
	t.Parallel()
	names := func(destinations string) []string {
		doc := "version: 1\nfunctions: { f: { log: f } }\ntriggers: { t: { flow: { function: f }, onSuccess: " + destinations + " }, u: { onSuccess: { log: x } } }\n"
		set, findings := config.Parse("t.yaml", []byte(doc), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		var out []string
		for _, d := range set.Triggers["t"].Definition.OnSuccess {
			out = append(out, d.Name+" "+d.Function+d.Trigger)
			if d.Function != "" && set.Functions[d.Function] == nil {
				t.Errorf("%s: no function %q", destinations, d.Function)
			}
		}
		return out
	}
	const a, b = `{ http: { url: "http://127.0.0.1:1/a", headers: { x: y, z: w } } }`, `{ http: { url: "http://127.0.0.1:1/b" } }`
	both := names("[" + a + ", " + b + "]")
	if one := names("[" + b + "]"); one[0] != both[1] || both[0] == both[1] {
		t.Errorf("with the one before it gone, %q is %q", both[1], one[0])
	}
	if other := names(`[` + b + `, { when: "${ output == 1 }", retry: { attempts: 7 }, http: { headers: { z: w, x: y }, url: "http://127.0.0.1:1/a" } }]`); other[0] != both[1] || other[1] != both[0] {
		t.Errorf("in another order: %q, was %q", other, both)
	}
	twice := names("[" + a + ", " + a + "]")
	if strings.Fields(twice[0])[1] != strings.Fields(twice[1])[1] || strings.Fields(twice[0])[0] == strings.Fields(twice[1])[0] {
		t.Errorf("the same twice: %q", twice)
	}
	if got, want := fmt.Sprint(names(`[{ function: f }, { trigger: u }, { function: f, when: "${ true }" }, { name: alert, log: x }]`)), "[f f u u f-2 f alert t.onSuccess.alert]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for doc, want := range map[string]string{
		`[{ name: a b, log: x }]`:                    "is not a name",
		`[{ name: a, log: x }, { name: a, log: y }]`: `two destinations are named "a"`,
	} {
		full := "version: 1\ntriggers: { t: { onSuccess: " + doc + " } }\n"
		if _, findings := config.Parse("t.yaml", []byte(full), registry(), nil); want != "" && !strings.Contains(fmt.Sprint(findings), want) {
			t.Errorf("%s: %v, want %s", doc, findings, want)
		}
	}
}

// TestTicketsNobodyAsksFor: a source that says which calls are done, and accepts no completions, is said to do nothing with it; it is no fault.
func TestTicketsNobodyAsksFor(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"webhook: { as: { type: t%s } }", "file: { path: /tmp/x, as: { type: t%s } }", "kafka: { topics: [t], brokers: [\"127.0.0.1:9092\"], group: g, as: { type: t%s } }"} {
		for _, c := range []struct {
			ticket, accepts string
			want            bool
		}{{", ticket: x", "accepts: [starts], ", true}, {", ticket: x", "accepts: [starts, completions], ", false}, {", ticket: x", "", false}, {"", "accepts: [starts], ", false}} {
			doc := "version: 1\nsources: { s: { " + c.accepts + fmt.Sprintf(source, c.ticket) + " } }\n"
			set, findings := config.Parse("t.yaml", []byte(doc), registry(), nil)
			if len(findings) > 0 {
				t.Fatal(doc, findings)
			}
			if got := fmt.Sprint(set.Warnings); strings.Contains(got, "as.ticket has no result asked for") != c.want || !c.want && len(set.Warnings) > 0 {
				t.Errorf("%s: %s", doc, got)
			}
		}
	}
}
