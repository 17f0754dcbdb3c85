// Command 04-your-own-policy is a router with one more policy: this file is all that it takes. The first branch that succeeds wins, the others are
// cancelled; it fails when all have failed.
//
//	go run ./deploy/examples/04-your-own-policy run deploy/examples/04-your-own-policy/first.yaml
package main

import (
	"os"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/command"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

// A First is the settings, and the policy.
type First struct {
	Of lang.Steps `doc:"of,value,required" help:"the branches that race"`
}

// State is what a frame of it remembers.
type State struct{ Failed int }

// Next decides what is next: it opens all branches, and ends with the first success or the last failure.
func (p *First) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		for slot := range p.Of.List {
			f.Spawn(slot, 1)
		}
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Succeeded {
			f.Succeed(ev.Outcome.Value)
			return nil
		}
		if s.Failed++; s.Failed == len(p.Of.List) {
			f.Fail(lang.Failf(lang.ClassFunction, "all_failed", "none of %d branches succeeded", s.Failed))
		}
	}
	return nil
}

func main() {
	registry := new(plugin.Registry)
	builtin.Register(registry)
	sinks.Register(registry)
	triggers.Register(registry)
	schedulers.Register[First, State](registry, "first", 1, "Runs branches side by side; the first that succeeds wins.")
	os.Exit(command.Main(registry, os.Args[1:]))
}
