package engine_test

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A tidy policy runs one step, and then another whatever became of the first, also when it is cancelled.
type tidy struct {
	Do    lang.Step `doc:"do,required"`
	After lang.Step `doc:"after,required"`
}

func (p *tidy) Cleanup(slot int) bool { return slot == 1 }

func (p *tidy) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		f.Spawn(0, 1)
	case ev.Kind == schedulers.Cancelled && f.Counts(1).Spawned > 0:
	case ev.Kind == schedulers.Cancelled, ev.Slot == 0:
		f.Note(lang.Text("tidies up"))
		f.Spawn(1, 1)
	case ev.Outcome.Verdict == lang.Failed:
		f.Fail(ev.Outcome.Err)
	case f.Outcome(0, 0).Verdict == lang.Failed:
		f.Fail(f.Outcome(0, 0).Err)
	default:
		f.Succeed(f.Outcome(0, 0).Value)
	}
	return nil
}

// A racer runs steps side by side, each with a twin after a while where that is said. The first success counts, and the others are left alone or cancelled.
type racer struct {
	Of   []lang.Step     `doc:"of,required"`
	Twin plugin.Duration `doc:"twin"`
	Let  bool            `doc:"let"`
}

func (p *racer) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	failed := 0
	for slot := range p.Of {
		failed += f.Counts(slot).Failed
	}
	switch {
	case ev.Kind == schedulers.Started:
		for slot := range p.Of {
			f.Spawn(slot, 1)
		}
		if p.Twin > 0 {
			f.After("late", p.Twin.D())
		}
	case ev.Kind == schedulers.Fired:
		for slot := range p.Of {
			f.Twin(slot, 0)
			f.Twin(slot, 0) // Once is enough.
		}
	case ev.Outcome.Verdict == lang.Succeeded && p.Let:
		f.Succeed(ev.Outcome.Value, schedulers.LetRun)
	case ev.Outcome.Verdict == lang.Succeeded:
		f.Succeed(ev.Outcome.Value)
	case failed == len(p.Of):
		f.Fail(ev.Outcome.Err)
	}
	return nil
}

func (p *racer) Twins(int) bool { return p.Twin > 0 }

// An asker waits for a signal, as the policy signal does; lint does not know that it does.
type asker struct {
	Name string `doc:"name,value,required"`
}

func (p *asker) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	if ev.Kind == schedulers.Started {
		f.Await(p.Name)
		return nil
	}
	f.GiveBack()
	f.Succeed(ev.Outcome.Value)
	return nil
}

// A picker waits for one of several signals or for a timer, takes its timer back at the first, and says which it was at the second.
type picker struct {
	Names []string `doc:"names,required"`
}

type pickerState struct{ First string }

func (p *picker) Next(f schedulers.Frame, s *pickerState, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		for _, name := range p.Names {
			f.Await(name)
		}
		f.After("late", 60e9)
	case ev.Kind == schedulers.Fired:
		f.Fail(lang.Failf(lang.ClassTimeout, "late", "nothing came"))
	case s.First == "":
		s.First = ev.Name
		f.Stop("late")
		for _, name := range p.Names[2:] {
			f.Unawait(name)
		}
	default:
		f.Succeed(lang.Of([]string{s.First, ev.Name}))
	}
	return nil
}
