package admission

import (
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
)

// An outgoing is an invocation of a function on its way out.
type outgoing struct {
	g   *Gate
	inv *engine.Invocation
	id  string // sealed

	once sync.Once
	made *event.Event
}

func (c *outgoing) ID() string { return c.id }

func (c *outgoing) Event() *event.Event {
	c.once.Do(func() { c.made = c.g.eventOf(c.inv, c.id) })
	return c.made
}

// AppendJSON appends what envelope.Append does of the event, without making it.
func (c *outgoing) AppendJSON(b []byte) ([]byte, error) {
	i, run := c.inv, c.inv.Run.String()
	b = append(b, `{"specversion":"1.0"`...)
	b = appendText(b, "id", c.id)
	b = appendText(b, "source", "/onward/"+i.Trigger)
	b = appendText(b, "type", i.Type)
	b = appendText(b, "subject", subjectOf(i))
	b = appendText(b, "datacontenttype", event.ApplicationJSON)
	b = appendTime(b, "time", i.Created)
	b = appendText(b, extCausation, i.Cause)
	b = appendText(b, extCorrelation, run)
	b = appendTime(b, extExpiry, i.Expires)
	b = appendText(b, extIdempotency, i.IdempotencyKey())
	b = appendNumber(b, extAttempt, i.Attempt)
	b = appendNumber(b, extFuel, i.Fuel)
	b = appendText(b, extPartition, c.id)
	if traced := c.g.traced(i); traced != nil {
		b = appendText(b, traceparent.Parent, traced.Parent)
		b = appendText(b, traceparent.State, traced.State)
	}
	b = append(b, `,"data":`...)
	return append(append(b, i.Input.JSON()...), '}'), nil
}

func appendName(b []byte, name string) []byte {
	b = append(append(b, `,"`...), name...)
	return append(b, `":`...)
}

// appendText appends a member; none where the text is empty.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return lang.AppendString(appendName(b, name), text)
}

func appendNumber(b []byte, name string, n int) []byte {
	return strconv.AppendInt(appendName(b, name), int64(int32(n)), 10)
}

// appendTime appends a member as types.FormatTime writes it; none where the time is zero.
func appendTime(b []byte, name string, at time.Time) []byte {
	if at.IsZero() {
		return b
	}
	b = append(appendName(b, name), '"')
	return append(at.UTC().AppendFormat(b, time.RFC3339Nano), '"')
}
