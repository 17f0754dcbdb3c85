package signal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	return r
}

var laws = schedulertest.Options{
	Documents: []string{`approved`, `{name: "${ data }", within: 24h}`, `{name: "paid-${ data }"}`, `{name: x, within: 1ms}`, `{name: x, within: "${ data.n }"}`},
	Data:      []string{`"x"`, `"<approved>"`, `""`, `3`, `null`, `{"a":1}`},
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
	tally := schedulertest.Run(t, registry(), "signal", laws)
	if tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, registry(), "signal", laws) }

func open(t *testing.T, document, data string) *schedulertest.Bench {
	t.Helper()
	s, err := schedulertest.Load(registry(), "signal", document)
	if err != nil {
		t.Fatal(err)
	}
	v, err := lang.ParseValue([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	b := schedulertest.NewBench(s, lang.Text("in"), v)
	b.Start()
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

// TestDocuments: what lint says of a signal that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{within: 1s}`:           "name is missing",
		``:                       "null is not the name",
		`""`:                     `"" is not the name`,
		`{name: [a]}`:            "is not the name",
		`{name: a, within: -1s}`: "negative",
		`{name: a, whithin: 1s}`: `did you mean "within"?`,
	} {
		if _, err := schedulertest.Load(registry(), "signal", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
