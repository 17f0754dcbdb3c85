package contract

import (
	"net/http"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
)

// knative is a Knative service, as a broker or a channel asks it (the data plane's contract): a reply that is an event goes on as one.
//
// By that contract 404, 408, 409, 429 and all of 5xx are retried. Of these 500, and what nobody puts before a service, is the function's own failure: it takes up
// an attempt, and retry says how many there are.
var knative = &Contract{
	Name: "knative", Summary: "a Knative service: 202 is done, and an event that it answers goes on into the router", Concurrency: concurrency,
	Unproven: []int{404, 408, 409, 425, 429, 502, 503, 504},
	Ask:      func(_ *sinks.Delivery, req *http.Request) { req.Header["Prefer"] = []string{"reply"} },
	own:      readKnative,
}

func readKnative(a *Answer) (sinks.Result, bool) {
	switch {
	case a.Code == http.StatusAccepted:
		return sinks.Complete([]byte("null")), true
	case a.Code/100 != 2:
		return sinks.Result{}, false
	}
	head, err := envelope.FromHTTP(a.Header)
	if err != nil || head.IsBatch() {
		return sinks.Result{}, false // It is no event, or the rules for all say what is wrong with it.
	}
	events, _, err := head.Read(a.Body, envelope.Limits{Event: MaxResponse})
	if err != nil || len(events) != 1 || envelope.Spoiled(&events[0]) != nil || envelope.IsCompletion(events[0].Type()) {
		return sinks.Result{}, false
	}
	r := a.completion()
	if r.Completion.Err == nil {
		r.Completion.Reply = &events[0]
	}
	return r, true
}
