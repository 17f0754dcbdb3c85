package subrun_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// TestLaws: the engine starts the run by itself. A frame that asked the policy instead would fail and say so, never succeed with nothing started.
func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "subrun", schedulertest.Options{
		Documents: []string{`child`, `{trigger: child}`, `{trigger: child, wait: false}`},
		Plays:     60,
		Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
			return p.Outcome, p.Failed && len(p.Told) == 0 && p.Outcome.Err != nil && strings.Contains(p.Outcome.Err.Message, "started by the engine")
		},
	})
	if tally.Wanted != 60 || tally.Succeeded != 0 {
		t.Errorf("what starts nothing is to fail: %s", tally)
	}
}

// TestStarts: what each form asks of the engine.
func TestStarts(t *testing.T) {
	t.Parallel()
	for doc, waits := range map[string]bool{`child`: true, `{trigger: child}`: true, `{trigger: child, wait: true}`: true, `{trigger: child, wait: false}`: false} {
		s, err := schedulertest.Load(builtin.New(), "subrun", doc)
		if err != nil {
			t.Fatal(err)
		}
		starter, ok := s.Settings.(lang.Starter)
		if !ok {
			t.Fatalf("%s: %T starts nothing", doc, s.Settings)
		}
		if trigger, wait := starter.Starts(); trigger != "child" || wait != waits {
			t.Errorf("%s: starts %s, waits: %v", doc, trigger, wait)
		}
	}
}

// TestFaults: what is no name of a trigger is refused with a cure.
func TestFaults(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`""`: "it names no trigger", `{trigger: ""}`: "write subrun: NAME", `{wait: false}`: "trigger is missing", `{trigger: child, waits: false}`: `unknown key "waits"; did you mean "wait"?`,
	} {
		if _, err := schedulertest.Load(builtin.New(), "subrun", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
