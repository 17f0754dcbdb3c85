package mapping

import (
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
)

// ReadFor is Read for a budget of its own.
func (a *As) ReadFor(budget uint64, m *Message, l envelope.Limits) ([]event.Event, []envelope.Bad, error) {
	return a.read(m, l, budget)
}
