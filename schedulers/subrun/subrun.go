// Package subrun is the policy that starts a run of another trigger, and waits for it or lets it go.
package subrun

import (
	"errors"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Subrun has no children in its flow: the engine starts the run as it calls a function, under an id that follows from the call, and its end is the answer.
type Subrun struct {
	Trigger string `doc:"trigger,value,required" help:"the trigger of which a run is started, whatever its filters; the input is the data of its event"`
	Wait    bool   `doc:"wait" help:"wait for its end, which is the step's; else the step ends once the start is durable" default:"true"`
}

// State is empty.
type State struct{}

// Starts makes it a lang.Starter.
func (p *Subrun) Starts() (trigger string, waits bool) { return p.Trigger, p.Wait }

// Next is not called: the engine starts the run by itself.
func (*Subrun) Next(schedulers.Frame, *State, schedulers.Event) error {
	return errors.New("a subrun is started by the engine")
}

// Check reports an empty name.
func (p *Subrun) Check() []plugin.Problem {
	if p.Trigger == "" {
		return []plugin.Problem{{Path: []string{"trigger"}, What: "it names no trigger", Cure: "write subrun: NAME"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Subrun) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"trigger": plugin.Schema{"minLength": 1}}}
}

var _ lang.Starter = (*Subrun)(nil)

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Subrun, State](r, "subrun", 1, "Starts a run of another trigger, and waits for its end or lets it go.")
}

// Sketch is the trigger that it starts a run of.
func (p *Subrun) Sketch() schedulers.Sketch { return schedulers.Sketch{Caption: p.Trigger} }
