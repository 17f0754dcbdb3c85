// Package log is the sink that writes each event as one line of the router's log.
package log

import (
	"context"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
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
		if d.Context.Err() != nil {
			d.Done(sinks.Ended(d.Context, "not logged"))
			continue
		}
		k.h.Log(ctx, k.s.Message, line(d.Event())...)
		switch {
		case !d.Invoke:
			d.Done(sinks.Accept())
		case len(d.Event().Data()) == 0:
			d.Done(sinks.Complete([]byte("null")))
		default:
			d.Done(sinks.Complete(d.Event().Data()))
		}
	}
}

// line is an event as the names and values of one line: its attributes, its extensions by name, its data.
func line(e *event.Event) []any {
	var args []any
	envelope.Each(e, func(name, text string) {
		if name != "specversion" && name != "datacontenttype" {
			args = append(args, name, text)
		}
	})
	return append(args, "data", string(e.Data()))
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "log", 1, "Writes each event as a line of the router's log.", New)
}
