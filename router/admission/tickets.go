package admission

import (
	"context"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// An event with a ticket (envelope.Ticket) says that a call is done which its function's platform knows by that. It is no outcome and proves nothing: whoever has the
// call asks the platform for the result, now and not later. Nothing is journaled, and what nobody has is an event like any other: most of what a platform does is not
// ours. All of one admission is asked for together, of each other router once.

// A done is an event that says that a call is done.
type done struct {
	receipt int
	ticket  string
}

// addTicket takes what an event says to be done, as far as its source accepts it.
func (in *intake) addTicket(i int, e *event.Event) (is bool) {
	ticket := envelope.Extension(e, envelope.Ticket)
	if !in.accepts.Completions || !engine.IsTicket(ticket) {
		return false
	}
	in.done = append(in.done, done{i, ticket})
	return true
}

// passTickets has the calls looked after that are said to be done, and writes into the receipts whose they are.
func (in *intake) passTickets() {
	if len(in.done) == 0 {
		return
	}
	var tickets []string
	at := make(map[string]int, len(in.done))
	for _, d := range in.done {
		if _, again := at[d.ticket]; !again {
			at[d.ticket] = len(tickets)
			tickets = append(tickets, d.ticket)
		}
	}
	ctx, cancel := context.WithTimeout(in.ctx, patience)
	defer cancel()
	runs := in.g.Runs.Fetch(ctx, tickets)
	for _, d := range in.done {
		run, receipt := runs[at[d.ticket]], &in.receipts[d.receipt]
		if run.IsZero() || receipt.Err != nil {
			continue
		}
		if receipt.Kind == triggers.Unmatched {
			*receipt = triggers.Receipt{Kind: triggers.Completion}
			in.g.metrics.taken[triggers.Completion].Inc()
		}
		receipt.Runs = append(slices.Clip(receipt.Runs), in.g.handle(run, ""))
	}
}
