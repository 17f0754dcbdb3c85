// Package log is the sink that writes each event as one line of the router's log.
package log

import (
	"context"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Settings are the sink's part of a document.
type Settings struct {
	Message string `doc:"message,value" help:"the line's message" default:"event"`
}

type sink struct {
	s *Settings
	h sinks.Host
}

// New makes the sink.
func New(_ string, s *Settings, h sinks.Host) (sinks.Sink, error) { return &sink{s, h}, nil }

func (k *sink) Close() error { return nil }

// Deliver writes the lines. As a function it answers with its input.
func (k *sink) Deliver(ctx context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		e := d.Event
		k.h.Log(ctx, k.s.Message, "id", e.ID(), "type", e.Type(), "source", e.Source(), "subject", e.Subject(), "data", string(e.Data()))
		if d.Invoke {
			d.Done(sinks.Complete(e.Data()))
			continue
		}
		d.Done(sinks.Accept())
	}
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "log", 1, "Writes each event as a line of the router's log.", New)
}
