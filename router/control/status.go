package control

import (
	"time"

	"github.com/onward-router/onward/router/engine"
)

// A FunctionStatus is a function's queue at one router, and its state.
type FunctionStatus struct {
	Function    string        `json:"function"`
	Sink        string        `json:"sink"`
	Concurrency int           `json:"concurrency"`
	Limit       int           `json:"limit,omitempty"` // what people allow of it
	Rate        string        `json:"rate,omitempty"`  // this router's
	Burst       int           `json:"burst,omitempty"`
	InFlight    int           `json:"inFlight"`
	Queued      int           `json:"queued"`
	Held        int           `json:"held,omitempty"`    // because it, or their run or trigger, is paused
	Ended       uint64        `json:"ended"`             // calls, and events of destinations, that were sent here and have their outcome, since this router began
	Failed      uint64        `json:"failed"`            // of them, those that failed, timed out or were given up
	FailedAt    time.Time     `json:"failedAt,omitzero"` // the last of those
	Paused      *engine.Pause `json:"paused,omitempty"`
	State       string        `json:"state"` // up, throttled or down
	Since       time.Time     `json:"since,omitzero"`
	Error       string        `json:"error,omitempty"` // the last, of one that is not up
	Next        time.Time     `json:"next,omitzero"`   // when one is sent to find out whether it is back
}
