package schedulertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A joiner runs one step n times and joins early. It keeps the law of joins, but for its fault.
type joiner struct {
	Do    lang.Step       `doc:"do,required"`
	Join  schedulers.Join `doc:"join,required"`
	Fault string          `doc:"fault"`
}

func (p *joiner) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	c := f.Counts(0)
	progress, err := schedulers.Open, (*lang.Error)(nil)
	switch ev.Kind {
	case schedulers.Started:
		p.Join.Begin(f)
		f.Spawn(0, 6)
	case schedulers.Done:
		progress, err = p.Join.Judge(f, c, ev.Outcome)
	case schedulers.Fired:
		if progress, err = p.Join.Late(c); p.Fault == "late otherwise" {
			progress, err = 5-progress, lang.Failf(lang.ClassTimeout, "late", "it is late")
		}
	}
	value := ev.Outcome.Value
	if !p.Join.One() {
		value = p.Join.List(f, 0)
	}
	switch {
	case p.Fault == "too early" && c.Succeeded > 0:
		f.Succeed(value)
	case p.Fault == "waits on" && progress == schedulers.Enough && c.Done() < 6:
	case p.Fault == "gives up" && ev.Outcome.Err != nil && progress != schedulers.Unreachable:
		f.Fail(ev.Outcome.Err)
	case p.Fault == "never gives up" && progress == schedulers.Unreachable && c.Done() < 6:
	case p.Fault == "another's value" && progress == schedulers.Enough && p.Join.One():
		f.Succeed(lang.Text("of nobody"))
	case p.Fault == "forgets losers" && progress == schedulers.Enough && !p.Join.One():
		f.Succeed(f.Settled(0))
	case progress == schedulers.Enough:
		f.Succeed(value, p.Join.How()...)
	case progress == schedulers.Unreachable:
		f.Fail(err, p.Join.How()...)
	}
	return nil
}

func (*joiner) Declare(int) schedulers.Declaration { return schedulers.Declaration{Many: true} }

func (*joiner) DeclareOwn(field string) []string { return schedulers.DeclareJoin(field) }

// TestLawOfJoins: whoever ends a join too early, too late, otherwise, or with another shape than it says, is found.
func TestLawOfJoins(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	schedulers.Register[joiner, struct{}](r, "joiner", 1, "Joins as it is told to.")
	joins := []string{`any`, `{atLeast: 3}`, `{percent: 41}`, `{until: "${ succeeded + skipped > 2 }"}`, `{atLeast: 5, losers: run}`, `{for: settled, deadline: 1m, onDeadline: take}`, `{for: all, deadline: 1m}`}
	for fault, want := range map[string]Law{
		"": "", "too early": Joined, "waits on": Joined, "gives up": Joined, "never gives up": Joined, "another's value": Joined, "late otherwise": Joined, "forgets losers": Joined,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			o := Options{Plays: 140}
			for _, join := range joins {
				o.Documents = append(o.Documents, fmt.Sprintf(`{do: {function: f}, join: %s, fault: %q}`, join, fault))
			}
			tally, err := check(r, "joiner", o)
			switch {
			case want == "" && err != nil:
				t.Errorf("it keeps all laws, and: %v", err)
			case want == "" && (tally.Succeeded < 20 || tally.Failed < 20):
				t.Errorf("too little was played: %s", tally)
			case want != "" && (err == nil || !strings.Contains(err.Error(), string(want))):
				t.Errorf("want %q, got: %v", want, err)
			}
		})
	}
}
