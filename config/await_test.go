package config

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
)

func meetingRegistry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	return r
}

// TestWhatCannotMeet: what is wrong with correlate, await and batch is said, each with a cure.
func TestWhatCannotMeet(t *testing.T) {
	t.Parallel()
	const a, b = `a: { filters: [{ exact: { type: a } }] }`, `b: { filters: [{ exact: { type: b } }] }`
	for trigger, want := range map[string]string{
		`await: { events: { ` + a + ` } }, flow: { pass: {} }`:                                                                                                          `nothing says which events belong together; add correlate: "${ data.orderId }" to the trigger`,
		`correlate: same, await: { count: 2 }, flow: { pass: {} }`:                                                                                                      "the same key for all events",
		`correlate: "${ {'k': data} }", await: { count: 2 }, flow: { pass: {} }`:                                                                                        "a key is a text, a number, true or false",
		`correlate: "${ nobody }", await: { count: 2 }, flow: { pass: {} }`:                                                                                             `unknown name "nobody"`,
		`correlate: "${ data }", flow: { pass: {} }`:                                                                                                                    "nothing uses the key",
		`correlate: "${ data }", await: {}, flow: { pass: {} }`:                                                                                                         "an await that says not what for; add events",
		`correlate: "${ data }", await: { join: { atLeast: 2 } }, flow: { pass: {} }`:                                                                                   "write count: 2",
		`correlate: "${ data }", await: { count: 0 }, flow: { pass: {} }`:                                                                                               "0 is no count of events; write 1 to 10000",
		`correlate: "${ data }", await: { count: "${ data.x == 1 }" }, flow: { pass: {} }`:                                                                              "a count is a number",
		`correlate: "${ data }", await: { count: 2, events: { ` + a + ` } }, flow: { pass: {} }`:                                                                        "an await of events and of a count",
		`correlate: "${ data }", await: { count: 2, join: { atLeast: 3 } }, flow: { pass: {} }`:                                                                         "a join of at least 3, and the events are 2; write 2 at most",
		`correlate: "${ data }", await: { events: { ` + a + `, ` + b + ` }, join: { atLeast: 3 } }, flow: { pass: {} }`:                                                 "the events are 2",
		`correlate: "${ data }", await: { count: 2, join: most }, flow: { pass: {} }`:                                                                                   "unknown join most",
		`correlate: "${ data }", await: { count: 2, join: atLeast }, flow: { pass: {} }`:                                                                                "write join: { atLeast: ... }",
		`correlate: "${ data }", await: { count: 2, join: { atLeast: 1, percent: 50 } }, flow: { pass: {} }`:                                                            "a join waits for one thing, and this one says 2",
		`correlate: "${ data }", await: { count: 2, join: { percent: 101 } }, flow: { pass: {} }`:                                                                       "a join of 101 percent",
		`correlate: "${ data }", await: { count: 2, join: { until: "${ steps.x }" } }, flow: { pass: {} }`:                                                              `unknown name "steps"`,
		`correlate: "${ data }", await: { count: 2, late: later }, flow: { pass: {} }`:                                                                                  `unknown word "later"; known are newRound, buffer, unmatched`,
		`correlate: "${ data }", await: { count: 2, onDeadline: keep }, flow: { pass: {} }`:                                                                             `unknown word "keep"`,
		`correlate: "${ data }", await: { count: 2, deadline: 0s }, flow: { pass: {} }`:                                                                                 "deadline is 0",
		`correlate: "${ data }", await: { events: { a-b: { filters: [{ exact: { type: a } }] } } }, flow: { pass: {} }`:                                                 `"a-b" cannot be named as arrived.a-b`,
		`correlate: "${ data }", await: { events: { a: { filters: [] } } }, flow: { pass: {} }`:                                                                         "filters that take every event",
		`correlate: "${ data }", await: { events: { a: {} } }, flow: { pass: {} }`:                                                                                      "filters is missing",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", await: { events: { ` + a + ` } }, flow: { pass: {} }`:                                               "filters that no event passes",
		`correlate: "${ data }", await: { count: 2 }, concurrency: { key: "${ data }" }, flow: { pass: {} }`:                                                            "late: buffer runs the rounds of one key one after the other",
		`correlate: "${ data }", batch: { every: 1s }, flow: { pass: {} }`:                                                                                              "a batch beside await or correlate",
		`batch: { count: 3 }, flow: { pass: {} }`:                                                                                                                       "every is missing",
		`batch: { every: 1s, count: 10001 }, flow: { pass: {} }`:                                                                                                        "a batch of 10001 events",
		`batch: { every: 1s, bytes: 9MiB }, flow: { pass: {} }`:                                                                                                         "write 1B to 8MiB",
		`filters: [{ exact: { type: x } }], signals: { ` + a + ` }, flow: { signal: a }`:                                                                                `nothing says to which run a signal goes; add correlate: "${ data.orderId }"`,
		`correlate: "${ data }", signals: { ` + a + ` }, flow: { signal: a }`:                                                                                           "a trigger with signals that nothing begins",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", signals: { a: { filters: [] } }, flow: { signal: a }`:                                               "filters that take every event",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", signals: { a: { filters: [{ exact: { type: a } }, { exact: { type: b } }] } }, flow: { signal: a }`: "filters that no event passes",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", signals: { ` + a + ` }, flow: { pass: {} }`:                                                         "nothing uses the key",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", early: 1m, flow: { signal: x }`:                                                                     "no signals that could come early",
		`filters: [{ exact: { type: x } }], correlate: "${ data }", signals: { ` + a + ` }, batch: { every: 1s }, flow: { signal: x }`:                                  "signals beside await or batch",
		`flow: { pass: {}, input: "${ arrived }" }`:                                                                                                                     `unknown name "arrived"`,
		`batch: { every: 1s }, flow: { pass: {}, input: "${ arived }" }`:                                                                                                `did you mean "arrived"?`,
		`batch: { every: 1s }, flow: { map: { items: "${ data }", as: arrived, do: { pass: {} } } }`:                                                                    "shadows one of the language",
		`flow: { subrun: m }, onSuccess: { log: x }`:                                                                                                                    `trigger "m" gathers events: what it is given may join a run of others; let it have signals: in place of await:`,
	} {
		doc := "version: 1\ntriggers: { t: { " + trigger + " }, m: { filters: [{ exact: { type: m } }], batch: { every: 1s }, onSuccess: { log: x } } }\n"
		_, findings := Parse("t.yaml", []byte(doc), meetingRegistry(), nil)
		var said []string
		for _, f := range findings {
			if said = append(said, f.String()); f.Pos.Line == 0 || !f.Warning && f.Cure == "" && !strings.Contains(f.What, "unknown name") {
				t.Errorf("%s: %q has no place or no cure", trigger, f)
			}
		}
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("%s: %q; want %q", trigger, said, want)
		}
	}
}

// TestAConditionOfAllThatMeet is what people may not mean: it is right, and warned of.
func TestAConditionOfAllThatMeet(t *testing.T) {
	t.Parallel()
	for trigger, want := range map[string]int{
		`when: "${ data.x > 1 }", correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] } } }, onSuccess: { log: x }`:                        1,
		`when: "${ data.x > 1 }", filters: [{ exact: { type: x } }], correlate: "${ data.k }", signals: { a: { filters: [{ exact: { type: a } }] } }, flow: { signal: a }`: 1,
		`when: "${ data.x > 1 }", filters: [{ exact: { type: x } }], correlate: "${ data.k }", await: { count: 2 }, onSuccess: { log: x }`:                                 0,
	} {
		set, findings := Parse("t.yaml", []byte("version: 1\ntriggers: { t: { "+trigger+" } }\n"), meetingRegistry(), nil)
		if len(findings) > 0 || len(set.Warnings) != want {
			t.Errorf("%s: %v; want %d warnings", trigger, findings, want)
		}
	}
}

// TestWhichEventItIs: by the names' own filters and keys; an event may be one of several.
func TestWhichEventItIs(t *testing.T) {
	t.Parallel()
	set, findings := Parse("t.yaml", []byte(`version: 1
triggers:
  t:
    filters: [{ prefix: { type: com. } }]
    correlate: "${ data.k }"
    await:
      events:
        any: { filters: [{ prefix: { type: com.a } }] }
        far: { filters: [{ exact: { type: com.b } }], correlate: "${ data.far.k }" }
        one: { filters: [{ exact: { type: com.a } }, { exact: { source: /s } }] }
    onSuccess: { log: x, data: "${ arrived.one }" }
`), meetingRegistry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	tr := set.Triggers["t"]
	for _, c := range []struct{ kind, data, names, key, fault string }{
		{"com.a", `{"k":"x"}`, "any one", "x", ""}, {"com.a.b", `{"k":7}`, "any", "7", ""}, {"com.a.b", `{"k":7.0}`, "any", "7", ""},
		{"com.a.b", `{"k":-70e-1}`, "any", "-7", ""}, {"com.a.b", `{"k":-0.0}`, "any", "0", ""}, {"com.a.b", `{"k":7.5}`, "any", "7.5", ""}, {"com.a.b", `{"k":"7.0"}`, "any", "7.0", ""},
		{"com.a.b", `{"k":1e300}`, "any", "1e300", ""}, {"com.a.b", `{"k":10e+299}`, "any", "1e300", ""}, {"com.a.b", `{"k":1e+20}`, "any", "100000000000000000000", ""}, {"com.a.b", `{"k":100000000000000000000}`, "any", "100000000000000000000", ""},
		{"com.a.b", `{"k":9007199254740993.0}`, "any", "9007199254740993", ""}, {"com.a.b", `{"k":-1.50}`, "any", "-1.5", ""}, {"com.a.b", `{"k":1E-2}`, "any", "0.01", ""}, {"com.a.b", `{"k":0.0100}`, "any", "0.01", ""}, {"com.a.b", `{"k":0e9}`, "any", "0", ""},
		{"com.a.b", `{"k":12.5e-1}`, "any", "1.25", ""}, {"com.a.b", `{"k":1e99999999999999999999}`, "any", "1e99999999999999999999", ""}, {"com.a.b", `{"k":1e-300}`, "any", "1e-300", ""}, {"com.a.b", `{"k":12345678901234567890}`, "any", "12345678901234567890", ""}, {"com.b", `{"far":{"k":true}}`, "far", "true", ""},
		{"com.b", `{"k":1}`, "", "", "no such key"}, {"com.a", `{"k":null}`, "", "", "no key for correlate: ${ data.k } yields null"},
		{"com.a", `{"k":"` + strings.Repeat("x", MaxKey+1) + `"}`, "", "", "has 1025 bytes, and the limit is 1024"}, {"com.c", `{}`, "", "", "none of the events that the trigger awaits"},
	} {
		a := filter.Texts(func(name string) (string, bool) {
			v, ok := map[string]string{"type": c.kind, "source": "/s", "id": "1"}[name]
			return v, ok
		})
		if takes := filter.MatchAll(tr.Filters, a); takes != (c.kind != "com.c") {
			t.Errorf("%s passes the trigger's filters: %t", c.kind, takes)
		}
		met, err := tr.MeetOf(a, lang.Null, lang.Trusted(c.data))
		names, key := c.names, c.key
		if err == nil {
			names, key = strings.Join(met[0].Names, " "), met[0].Key
		}
		if names != c.names || key != c.key || len(met) > 1 || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s %.80s: %q %q %v; want %+v", c.kind, c.data, names, key, err, c)
		}
	}
	again, err := lang.ParseDefinition(tr.Definition.Canonical(), meetingRegistry())
	if err != nil || again.Digest() != tr.Digest || len(again.Await.Events) != 3 || again.Await.Deadline.D().Hours() != 24 || again.Await.Join.Word != "all" {
		t.Errorf("the definition is not what was written: %v %+v", err, again.Await)
	}
}

// TestAnEventOfSeveralKeys: it meets each of them once, all or none.
func TestAnEventOfSeveralKeys(t *testing.T) {
	t.Parallel()
	set, findings := Parse("t.yaml", []byte(`version: 1
triggers:
  t:
    correlate: "${ data.k }"
    await:
      events:
        a: { filters: [{ exact: { type: a } }] }
        b: { filters: [{ prefix: { type: a } }], correlate: "${ data.far }" }
    onSuccess: { log: x, data: "${ arrived.a }" }
  s: { correlate: "${ data }", signals: { paid: { filters: [{ exact: { type: paid } }], correlate: "${ data.orders }" } }, flow: { signal: paid } }
  m: { filters: [{ exact: { type: m } }], flow: { map: { items: "${ data }", do: { subrun: s } } } }
  batch: { filters: [{ exact: { type: r } }], batch: { every: 1s, key: "${ data }" }, onSuccess: { log: x } }
`), meetingRegistry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	many := func(n int) string {
		list := make([]int, n)
		for i := range list {
			list[i] = i
		}
		return lang.Of(list).JSON()
	}
	for _, c := range []struct{ trigger, kind, data, want, fault string }{
		{"t", "a", `{"k":["x","y"],"far":"z"}`, "x:a y:a", ""},
		{"t", "a", `{"k":["x","y"],"far":["z","y"]}`, "x:a y:a+b", ""},
		{"t", "a", `{"k":[5,"5",5.0,true,-0.5e1]}`, "5:a true:a -5:a", ""},
		{"t", "ab", `{"far":["x"]}`, "x:b", ""},
		{"t", "a", `{"k":["x",["y"]],"far":[]}`, "", `item 1 of its keys: it has no key for correlate: ${ data.k } yields ["y"]`},
		{"t", "a", `{"k":["x",null],"far":{}}`, "", "item 1 of its keys"},
		{"t", "a", `{"k":[""],"far":null}`, "", "item 0 of its keys"},
		{"t", "a", `{"k":[],"far":null}`, "", "yields an empty list"},
		{"t", "a", `{"k":["x","` + strings.Repeat("y", MaxKey+1) + `"],"far":null}`, "", "has 1025 bytes"},
		{"t", "a", `{"k":["x",{"y":1}],"far":null}`, "", "item 1 of its keys"},
		{"s", "paid", `{"orders":["x","y"]}`, "x:paid y:paid", ""}, {"s", "other", `["x"]`, "x:", ""},
		{"batch", "r", `["x","y"]`, "x: y:", ""},
		{"batch", "r", many(MaxKeys), "", ""},
		{"batch", "r", many(MaxKeys + 1), "", "more than 100 keys for correlate: ${ data } yields a list of 101"},
		{"batch", "r", "[" + strings.Repeat(`"x",`, 10_000) + `"y"]`, "x: y:", ""},
	} {
		a := filter.Texts(func(name string) (string, bool) { return c.kind, name == "type" })
		met, err := set.Triggers[c.trigger].MeetOf(a, lang.Null, lang.Trusted(c.data))
		var said []string
		for _, m := range met {
			said = append(said, m.Key+":"+strings.Join(m.Names, "+"))
		}
		if got := strings.Join(said, " "); c.want != "" && got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) || c.want == "" && err == nil && len(met) != MaxKeys {
			t.Errorf("%s %s %.80s: %q %v; want %+v", c.trigger, c.kind, c.data, got, err, c)
		}
	}
	for kind, takes := range map[string]bool{"paid": true, "other": false, "dev.onward.subrun": false} {
		if got := filter.MatchAll(set.Triggers["s"].Filters, filter.Texts(func(name string) (string, bool) { return kind, name == "type" })); got != takes {
			t.Errorf("the trigger that only steps begin takes %s: %t", kind, got)
		}
	}
}
