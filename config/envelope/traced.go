package envelope

import (
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/traceparent"
)

// Traced returns the trace context that an event carries (the extension for distributed tracing); false when it carries none, or what is none.
func Traced(e *event.Event) (traceparent.Context, bool) {
	all := extensionsOf(e)
	parent, _ := all[traceparent.Parent].(string)
	if parent == "" {
		return traceparent.Context{}, false
	}
	state, _ := all[traceparent.State].(string)
	return traceparent.Of(parent, state)
}

// Trace gives an event the trace context that it came with, unless it carries one: its own tells what brought it about, the other how it came here.
func Trace(e *event.Event, c traceparent.Context) {
	if c == (traceparent.Context{}) {
		return
	}
	ctx, ok := e.Context.(*event.EventContextV1)
	if _, has := Traced(e); has || !ok {
		return
	}
	if ctx.Extensions == nil {
		ctx.Extensions = make(map[string]any, 2)
	}
	ctx.Extensions[traceparent.Parent] = c.Parent
	if delete(ctx.Extensions, traceparent.State); c.State != "" {
		ctx.Extensions[traceparent.State] = c.State
	}
}

// The headers of W3C, as net/http spells them.
const (
	HeaderParent = "Traceparent"
	HeaderState  = "Tracestate"
)

// tracedHTTP reads the trace context of a request. One that comes twice is none; a state may come in parts.
func tracedHTTP(header http.Header) (c traceparent.Context) {
	if v := header[HeaderParent]; len(v) == 1 {
		c, _ = traceparent.Of(strings.TrimSpace(v[0]), strings.Join(header[HeaderState], ","))
	}
	return c
}

// TracedRecord reads the trace context in the headers of a Kafka record. A parent that comes twice is none.
func TracedRecord[H ~Field](headers []H) (c traceparent.Context) {
	var parent string
	var states []string
	parents := 0
	for i := range headers {
		switch h := Field(headers[i]); {
		case len(h.Key) != len(traceparent.Parent) && len(h.Key) != len(traceparent.State):
		case strings.EqualFold(h.Key, traceparent.Parent):
			parent, parents = string(h.Value), parents+1
		case strings.EqualFold(h.Key, traceparent.State):
			states = append(states, string(h.Value))
		}
	}
	if parents == 1 {
		c, _ = traceparent.Of(parent, strings.Join(states, ","))
	}
	return c
}
