// Package trigger is the sink that starts runs of a trigger of the same router.
package trigger

import (
	"context"
	"errors"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Settings are the sink's part of a document.
type Settings struct {
	Name string `doc:"name,value,required" help:"the trigger to start"`
}

// NotCancelled says that there is nobody to be told.
func (*Settings) NotCancelled() string { return "the run that it starts goes on by itself" }

type sink struct {
	s *Settings
	h sinks.Host
}

// New makes the sink.
func New(_ string, s *Settings, h sinks.Host) (sinks.Sink, error) { return &sink{s, h}, nil }

func (k *sink) Close() error { return nil }

// Deliver starts a run for each delivery. The run's id follows from the event's source and id, so that a repeated delivery starts nothing new.
func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	sinks.Each(deliveries, k.start)
}

func (k *sink) start(d *sinks.Delivery) sinks.Result {
	if d.Context.Err() != nil {
		return sinks.Ended(d.Context, "not started")
	}
	var final *sinks.Error
	switch err := k.h.Start(d.Context, k.s.Name, d.Event()); {
	case errors.As(err, &final):
		return sinks.Fail(final)
	case err != nil && d.Context.Err() != nil:
		return sinks.Ended(d.Context, "not started")
	case err != nil:
		return sinks.Again(0, &sinks.Error{Type: "not_started", Message: err.Error(), Class: "platform"})
	case d.Invoke:
		return sinks.Complete([]byte("null"))
	}
	return sinks.Accept()
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "trigger", 1, "Starts a trigger of this router with the event.", New)
}
