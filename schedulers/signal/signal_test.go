package signal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{`approved`, `{name: "${ data }", within: 24h}`, `{name: "paid-${ data }"}`, `{name: x, within: 1ms}`, `{name: x, within: "${ data.n }"}`, `{any: [a, "${ data }"], fails: "no", within: 1h, onTimeout: take}`, `{any: "${ data }", fails: [b]}`, `{name: a, within: 1s, onTimeout: take}`},
	Data:      []string{`"x"`, `"<approved>"`, `""`, `3`, `null`, `{"a":1}`, `["c","d"]`, `["b"]`, `["c","c"]`},
	Generate: func(r *rand.Rand) string {
		doc := `{"name": ` + []string{`"a b"`, `"${ data }"`, `"${ data + 'x' }"`, `"order-${ data }"`, `"<é>"`}[r.IntN(5)]
		if r.IntN(2) == 0 {
			doc += fmt.Sprintf(`, "within": "%dms"`, r.IntN(1000))
		}
		return doc + "}"
	},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "signal", laws)
	if tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "signal", laws) }

func open(t *testing.T, document, data string) *schedulertest.Bench {
	t.Helper()
	v, err := lang.ParseValue([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	b := schedulertest.Begin(t, builtin.New(), "signal", document, lang.Text("in"), v)
	return b
}

// TestName: which signal is waited for, and names that are none.
func TestName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ document, data, name, fault string }{
		{`approved`, `null`, `approved`, ``},
		{`"${ data }"`, `"é <1>"`, `é <1>`, ``},
		{`"order-${ data }"`, `7`, `order-7`, ``},
		{`"${ data }"`, `""`, ``, `bad_signal`},
		{`"${ data }"`, `7`, ``, `bad_signal`},
		{`"${ data }"`, `null`, ``, `bad_signal`},
		{`"${ data.a }"`, `{}`, ``, `expression_error`},
	} {
		b := open(t, test.document, test.data)
		o, ended := b.Ended()
		if test.fault != "" {
			if !ended || o.Err == nil || o.Err.Type != test.fault {
				t.Errorf("%s of %s: %v, want %s", test.document, test.data, o, test.fault)
			}
			continue
		}
		if awaits := b.Awaits(); len(awaits) != 1 || awaits[0] != test.name || len(b.Timers()) != 0 {
			t.Errorf("%s of %s: waits for %q, timers %v; want %q", test.document, test.data, awaits, b.Timers(), test.name)
			continue
		}
		b.Signal(test.name, lang.Text("data"))
		if o, _ := b.Ended(); o != lang.Success(lang.Text("data")) {
			t.Errorf("%s: %v", test.document, o)
		}
	}
}

// TestWithin: the deadline fails the step with a type of its own, and a signal before it counts.
func TestWithin(t *testing.T) {
	t.Parallel()
	b := open(t, `{name: approved, within: 24h}`, `null`)
	if timers := b.Timers(); len(timers) != 1 || timers[0].Due.Sub(schedulertest.Epoch) != 24*time.Hour {
		t.Fatal(timers)
	}
	b.Fire(b.Timers()[0].Name)
	o, ended := b.Ended()
	if !ended || o.Err == nil || o.Err.Type != "signal_deadline" || o.Err.Class != lang.ClassTimeout || !strings.Contains(o.Err.Message, `"approved"`) {
		t.Error(o)
	}
	b = open(t, `{name: approved, within: 24h}`, `null`)
	b.Signal("approved", lang.Null)
	if o, ended := b.Ended(); !ended || o != lang.Success(lang.Null) {
		t.Error(o)
	}
}

// TestAny: which signals are waited for, what each yields, and what comes when none does.
func TestAny(t *testing.T) {
	t.Parallel()
	b := open(t, `{any: ["${ data }", b], fails: [no, never], within: 1h, onTimeout: take}`, `"a"`)
	if got := strings.Join(b.Awaits(), " "); got != "no never a b" {
		t.Errorf("it waits for %s", got)
	}
	b.Signal("b", lang.Of(7))
	if o, _ := b.Ended(); o != lang.Success(lang.Trusted(`{"data":7,"name":"b"}`)) {
		t.Error(o)
	}
	b = open(t, `{any: ["${ data }", b], fails: [no, never], within: 1h, onTimeout: take}`, `"a"`)
	b.Signal("never", lang.Of(7))
	if o, _ := b.Ended(); o.Err == nil || o.Err.Type != "never" || o.Err.Data != lang.Of(7) || o.Err.Class != lang.ClassFunction {
		t.Error(o)
	}
	for document, want := range map[string]string{
		`{any: "${ data }", within: 1h, onTimeout: take}`: `{"data":null,"name":null}`,
		`{name: x, within: 1h, onTimeout: take}`:          `null`,
		`{any: "${ data }", within: 1h}`:                  `signal "a" or "b" has not come within 1h0m0s`,
	} {
		b = open(t, document, `["a","b"]`)
		b.Fire("within")
		o, _ := b.Ended()
		if o.Err != nil && o.Err.Message != want || o.Err == nil && o.Value.JSON() != want {
			t.Errorf("%s: %v", document, o)
		}
	}
	for _, data := range []string{`[]`, `7`, `["a","a"]`, `["a",""]`, `[1]`, `"` + strings.Repeat("n", 1025) + `"`} {
		if o, _ := open(t, `{any: "${ data }"}`, data).Ended(); o.Err == nil || o.Err.Type != "bad_signal" {
			t.Errorf("%s: %v", data, o)
		}
	}
}

// TestDocuments: what lint says of a signal that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{within: 1s}`:                          "either name or any",
		`{name: a, any: [b]}`:                   "either name or any",
		`{any: []}`:                             "is not a list of 1 to 100 names",
		`{any: [a, ""]}`:                        "is not a list of 1 to 100 names",
		`{any: {a: b}}`:                         "is not a list of 1 to 100 names",
		`{any: [a, a]}`:                         `signal "a" is named twice`,
		`{name: a, fails: a}`:                   `signal "a" is named twice`,
		`{name: a, fails: 7}`:                   "is not a list of 1 to 100 names",
		`{name: a, onTimeout: take}`:            "onTimeout without within",
		`{name: a, within: 1s, onTimeout: tke}`: `did you mean "take"?`,
		``:                                      "null is not the name",
		`""`:                                    `"" is not the name`,
		`{name: [a]}`:                           "is not the name",
		`{name: a, within: -1s}`:                "negative",
		`{name: a, whithin: 1s}`:                `did you mean "within"?`,
		strings.Repeat("n", 1025):               `has 1025 bytes, and 1024 are the most`,
	} {
		if _, err := schedulertest.Load(builtin.New(), "signal", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
