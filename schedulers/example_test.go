package schedulers_test

import (
	"fmt"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
	sinks "github.com/onward-router/onward/sinks/all"
)

// A Quorum asks all, and is content with the first successes; the others are cancelled. The settings struct is the policy.
type Quorum struct {
	Of   lang.Steps `doc:"of,value,required" help:"the steps to ask"`
	Need int        `doc:"need" help:"how many successes are enough" default:"1"`
}

// QuorumState is what one frame of it remembers: the slots that succeeded, in that order, and how many cannot any more.
type QuorumState struct {
	Won  []int
	Lost int
}

// Next decides what is next. It has no clock, no I/O and no memory but s: after a crash the same records give the same decisions.
func (p *Quorum) Next(f schedulers.Frame, s *QuorumState, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		for slot := range p.Of.List {
			f.Spawn(slot, 1)
		}
	case schedulers.Done:
		if ev.Outcome.Verdict != lang.Succeeded {
			if s.Lost++; len(p.Of.List)-s.Lost < p.Need {
				f.Fail(lang.Failf(lang.ClassFunction, "no_quorum", "%d of %d did not succeed", s.Lost, len(p.Of.List)))
			}
			return nil
		}
		if s.Won = append(s.Won, ev.Slot); len(s.Won) == p.Need {
			values := make([]lang.Value, len(s.Won))
			for i, slot := range s.Won {
				values[i] = f.Outcome(slot, 0).Value
			}
			f.Succeed(lang.List(values...)) // Cancels what still runs.
		}
	}
	return nil
}

// Check finds settings that cannot work, before anything runs.
func (p *Quorum) Check() []plugin.Problem {
	if n := len(p.Of.List); p.Need < 1 || p.Need > n {
		return []plugin.Problem{{Path: []string{"need"}, What: fmt.Sprintf("need is %d and there are %d steps", p.Need, n), Cure: "write a number from 1 to that of the steps"}}
	}
	return nil
}

// RegisterQuorum is the one line by which a router gets to know it.
func RegisterQuorum(r *plugin.Registry) {
	schedulers.Register[Quorum, QuorumState](r, "quorum", 1, "Asks all, and yields what the first that succeed do.")
}

const document = `
version: 1
functions:
  ask: { http: { url: "http://127.0.0.1:7001/ask" } }
triggers:
  price:
    filters: [{ exact: { type: com.example.price.asked } }]
    flow:
      quorum:
        need: 2
        of:
          - { function: ask, input: "${ data.item + ' in Athens' }" }
          - { function: ask, input: "${ data.item + ' in Bergen' }" }
          - { function: ask, input: "${ data.item + ' in Cairo' }" }
          - { function: ask, input: "${ data.item + ' in Dakar' }" }
`

// A policy of one's own: one type, one registration line, and documents may say its name. Here a flow runs through the engine itself; a router does
// the same, with a journal before it and sinks behind it.
func Example() {
	registry := new(plugin.Registry)
	sinks.Register(registry)
	RegisterQuorum(registry)

	set, findings := config.Parse("price.yaml", []byte(document), registry, nil)
	if len(findings) > 0 {
		fmt.Println(findings)
		return
	}
	definition := set.Triggers["price"].Definition

	state, out, now := engine.New(registry, nil), engine.Effects{}, time.Unix(0, 0)
	fold := func(rec journal.Record) {
		now = now.Add(time.Second)
		rec.Time = now
		if reason, err := state.Fold(&rec, &out); reason != engine.Applied || err != nil {
			fmt.Println("refused:", rec.Kind, reason, err)
		}
		for _, inv := range out.Stop {
			fmt.Println("stop ", inv.Path)
		}
		for _, e := range out.Ended {
			fmt.Println("ended", e.Outcome.Verdict, e.Outcome.Value)
		}
	}
	run := journal.RunID{1}
	claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})
	claim.Epoch = 1
	fold(claim)
	fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: definition.Canonical()})
	start := engine.Record(journal.Start, run, &engine.StartFact{
		Trigger: "price", Digest: definition.Digest(), Event: lang.Of(map[string]string{"id": "1"}), Data: lang.Of(map[string]string{"item": "salt"}),
	})
	start.Tenant = "default"
	fold(start)

	asked := append([]*engine.Invocation{}, out.Send...)
	for _, inv := range asked {
		fmt.Println("send ", inv.Path, inv.Input)
	}
	complete := func(i int, o lang.Outcome) {
		fold(engine.Record(journal.Completion, run, &engine.CompletionFact{N: asked[i].N, Outcome: o}))
	}
	complete(3, lang.Success(lang.Of(7)))
	complete(0, lang.Failure(lang.Failf(lang.ClassFunction, "closed", "come back on Monday")))
	complete(1, lang.Success(lang.Of(9)))

	// Output:
	// send  ask "salt in Athens"
	// send  ask-2 "salt in Bergen"
	// send  ask-3 "salt in Cairo"
	// send  ask-4 "salt in Dakar"
	// stop  ask-3
	// ended succeeded [7,9]
}
