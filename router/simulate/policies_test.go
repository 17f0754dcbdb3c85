package simulate_test

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
	switch did := f.Outcome(0, 0); {
	case ev.Kind == schedulers.Started:
		f.Spawn(0, 1)
	case ev.Kind == schedulers.Cancelled && f.Counts(1).Spawned > 0:
	case ev.Kind == schedulers.Cancelled, ev.Slot == 0:
		f.Spawn(1, 1)
	case did.Verdict == lang.Failed:
		f.Fail(did.Err)
	default:
		f.Succeed(did.Value)
	}
	return nil
}

// A racer runs steps side by side, each with a twin after a while. The first success counts, and what runs yet is cancelled or left alone.
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
	var how []schedulers.End
	if p.Let {
		how = append(how, schedulers.LetRun)
	}
	switch {
	case ev.Kind == schedulers.Started:
		for slot := range p.Of {
			f.Spawn(slot, 1)
		}
		f.After("late", p.Twin.D())
	case ev.Kind == schedulers.Fired:
		for slot := range p.Of {
			f.Twin(slot, 0)
		}
	case ev.Outcome.Verdict == lang.Skipped:
		f.Succeed(f.Input(), how...)
	case ev.Outcome.Verdict == lang.Succeeded:
		f.Succeed(ev.Outcome.Value, how...)
	case failed == len(p.Of):
		f.Fail(ev.Outcome.Err)
	}
	return nil
}
