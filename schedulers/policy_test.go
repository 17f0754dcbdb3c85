package schedulers_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// TestQuorum holds the policy of the example against the laws that every policy keeps.
func TestQuorum(t *testing.T) {
	t.Parallel()
	registry := new(plugin.Registry)
	RegisterQuorum(registry)
	tally := schedulertest.Run(t, registry, "quorum", schedulertest.Options{
		Documents: []string{`[{function: a}]`, `{of: [{function: a}, {function: b}, {function: c}], need: 2}`, `of: {x: {function: a}, y: {function: b}}`},
		Generate: func(r *rand.Rand) string {
			n := 1 + r.IntN(20)
			return fmt.Sprintf(`{"need": %d, "of": [%s{"function": "f"}]}`, 1+r.IntN(n), strings.Repeat(`{"function": "f"},`, n-1))
		},
		Partial:  func(*schedulertest.Play) bool { return true }, // That is what a quorum is.
		Commutes: schedulertest.Never,                            // Who comes first wins.
		Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
			var won []lang.Value
			for _, c := range p.Told {
				if c.Verdict == lang.Succeeded {
					won = append(won, c.Value)
				}
			}
			if len(won) < p.Settings.(*Quorum).Need {
				return p.Outcome, p.Outcome.Err != nil && p.Outcome.Err.Type == "no_quorum"
			}
			return lang.Success(lang.List(won...)), true
		},
	})
	if tally.Wanted != tally.Plays || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

// A rough policy does what its word says.
type rough struct {
	Word string `doc:"word,value"`
}

type roughState struct{ Kept lang.Value }

func (p *rough) Next(f schedulers.Frame, _ *roughState, _ schedulers.Event) error {
	switch p.Word {
	case "panic":
		panic("no")
	case "error":
		return errors.New("it cannot")
	case "own":
		return fmt.Errorf("wrapped: %w", lang.Failf(lang.ClassThrottle, "busy", "later"))
	}
	f.Succeed(f.Input())
	return nil
}

func (p *rough) Bind(schedulers.Scope, *roughState, int, int) (schedulers.Binding, error) {
	panic("not here either")
}

func rougher() *plugin.Registry {
	r := new(plugin.Registry)
	schedulers.Register[rough, roughState](r, "rough", 3, "Fails in the way that it is told to.")
	return r
}

// TestFaults: a panic and an error of Next fail the frame, each with its type, and nothing else; the next frame of the same policy is not touched.
func TestFaults(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]lang.Outcome{
		"panic": lang.Failure(&lang.Error{Type: "policy_panic", Message: "no", Class: lang.ClassPlatform}),
		"error": lang.Failure(&lang.Error{Type: "policy_error", Message: "it cannot", Class: lang.ClassPlatform}),
		"own":   lang.Failure(&lang.Error{Type: "busy", Message: "later", Class: lang.ClassThrottle}),
		"fine":  lang.Success(lang.Text("in")),
	} {
		s, err := schedulertest.Load(rougher(), "rough", word)
		if err != nil {
			t.Fatal(err)
		}
		b := schedulertest.NewBench(s, lang.Text("in"), lang.Null)
		b.Start()
		got, ended := b.Ended()
		if !ended || got.Verdict != want.Verdict || got.Value != want.Value || want.Err != nil && *got.Err != *want.Err {
			t.Errorf("%s: %v, want %v", word, got, want)
		}
	}
}

// TestMachine: the machine of a component recovers from a policy's panic in Bind, and keeps the text of the values in a state.
func TestMachine(t *testing.T) {
	t.Parallel()
	c, ok := rougher().Get(plugin.Policy, "rough")
	if !ok || c.Version != 3 {
		t.Fatal(c)
	}
	m := c.Make.(schedulers.Machine)
	var e *lang.Error
	if _, err := m.Bind(nil, &rough{}, m.State(), 0, 0); !errors.As(err, &e) || e.Type != "policy_panic" {
		t.Error(err)
	}
	const text = `{"Kept":{"<&>":1.50,"e":[1e3,"\u003c` + "\u2028" + `"]}}`
	state, err := m.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Encode(state); err != nil || string(got) != text {
		t.Errorf("%s, %v; want %s", got, err, text)
	}
	if _, err := m.Decode([]byte(`{"Kept":`)); err == nil {
		t.Error("half a state decodes")
	}
}

// A keeper's state has outcomes wherever they may be.
type keeper struct{}

type keeperState struct {
	Last lang.Outcome
	All  []lang.Outcome
	By   map[string]lang.Outcome
	Mine struct{ Of [2]lang.Outcome }
}

func (*keeper) Next(schedulers.Frame, *keeperState, schedulers.Event) error { return nil }

// TestOutcomesInAState: a state with outcomes is weighed without being encoded, each value in it is looked at, and one that would not come back is found.
func TestOutcomesInAState(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	schedulers.Register[keeper, keeperState](r, "keeper", 1, "Keeps outcomes.")
	c, _ := r.Get(plugin.Policy, "keeper")
	m := c.Make.(schedulers.Machine)
	failed := lang.Failf(lang.ClassThrottle, "busy", "come back <later>")
	failed.Data = lang.Trusted(`{"after":1.50}`)
	state := &keeperState{
		Last: lang.Failure(failed), All: []lang.Outcome{lang.Skip(), lang.Success(lang.Trusted(`{"b":1e3,"a":["<&>"]}`))},
		By: map[string]lang.Outcome{"x": {Verdict: lang.Cancelled, Err: failed}, "y": lang.Success(lang.Of(7))},
	}
	var seen []string
	n, err := m.Weigh(state, func(v lang.Value) error {
		if !v.IsNull() {
			seen = append(seen, v.JSON())
		}
		return nil
	})
	b, err2 := m.Encode(state)
	if err != nil || err2 != nil || n < len(b)/2 || n > 3*len(b) {
		t.Errorf("it weighs %d, %v, and takes %d, %v", n, err, len(b), err2)
	}
	slices.Sort(seen)
	if want := []string{`7`, `{"after":1.50}`, `{"after":1.50}`, `{"b":1e3,"a":["<&>"]}`}; !slices.Equal(seen, want) {
		t.Errorf("looked at %q", seen)
	}
	again, err := m.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if b2, err := m.Encode(again); err != nil || !bytes.Equal(b, b2) {
		t.Errorf("%s\n%s %v", b, b2, err)
	}
	state.Mine.Of[1] = lang.Failure(&lang.Error{Type: "x"})
	if _, err := m.Weigh(state, func(lang.Value) error { return nil }); err == nil || !strings.Contains(err.Error(), "cannot be saved: an error of class(0)") {
		t.Error(err)
	}
}
