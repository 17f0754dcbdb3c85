package admission

import (
	"errors"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
)

// refusals are the reasons for which an event is not taken, in the words of the log.
var refusals = []struct {
	err    error
	reason string
}{
	{triggers.ErrBusy, "too many"}, {triggers.ErrFull, "disk full"}, {triggers.ErrDraining, "shutting down"}, {triggers.ErrTooLarge, "too large"},
	{triggers.ErrRefused, "not accepted"}, {triggers.ErrPanicked, "the router failed"}, {triggers.ErrInvalid, "invalid"},
}

func refusal(err error) string {
	for _, x := range refusals {
		if errors.Is(err, x.err) {
			return x.reason
		}
	}
	return "not durable"
}

// say says which events of a source were refused, and which no trigger took: who sent them may not look at the answer.
func (g *Gate) say(d *Door, events []event.Event, receipts []triggers.Receipt) {
	source := d.Source
	for i := range receipts {
		if receipts[i].Kind == triggers.Unmatched && !d.Accepts.Starts {
			continue // A call of others is done, of which the source tells too.
		}
		if errors.Is(receipts[i].Err, errBehind) {
			continue // It is told when its turn comes.
		}
		if k := receipts[i].Kind; g.Note != nil && (k == 0 || k == triggers.Matched || k == triggers.Unmatched) {
			g.Note(&events[i], source, &receipts[i])
		}
		switch r, e := &receipts[i], &events[i]; {
		case r.Err != nil:
			g.Log.Warn("an event is refused", "source", source, "reason", refusal(r.Err), "error", r.Err, "type", clip(e.Type()), "id", clip(e.ID()))
		case r.Kind == triggers.Unmatched:
			g.Log.Info("no trigger takes an event", "source", source, "type", clip(e.Type()), "id", clip(e.ID()), "why", r.Note)
		}
	}
}
