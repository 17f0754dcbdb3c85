package engine

import (
	"encoding/hex"
	"time"

	"github.com/onward-router/onward/config/lang"
)

// An Ending is a run that has ended, as people and clients see it.
type Ending struct {
	ID        string      `json:"run"`
	Tenant    string      `json:"tenant"`
	Trigger   string      `json:"trigger"`
	State     string      `json:"state"` // succeeded, failed, skipped (by the condition of its own flow) or cancelled
	Started   time.Time   `json:"started"`
	Ended     time.Time   `json:"ended"`
	Calls     int         `json:"calls"`
	Event     lang.Value  `json:"event"`
	Result    lang.Value  `json:"result,omitzero"`
	Error     *lang.Error `json:"error,omitempty"`
	Redrives  uint32      `json:"redrives,omitempty"`
	EventType string      `json:"-"`
	Data      lang.Value  `json:"-"`
	Input     *lang.Value `json:"-"` // the data of the event that started it; nil where it is not kept, and of a run that failed it may be in Data
	Again     *Again      `json:"-"` // nil: who told of it knew no redrives
}

// Again is what a run that has ended needs to go on.
type Again struct {
	Definition string `json:"definition"` // its digest, in hex
	Spent      int    `json:"spent,omitempty"`
	Key        string `json:"key,omitempty"`
	Numbers    uint32 `json:"numbers"`
	Told       []byte `json:"told,omitempty"` // by signals, pauses and the like
	// Arrived is what the run's round had; null of one that has none, or had not enough.
	Arrived lang.Value `json:"arrived,omitzero"`
}

// EndingOf tells of a run's end.
func EndingOf(e *Ended) *Ending {
	input := e.Input
	f := &Ending{
		ID: e.Run.String(), Tenant: e.Tenant, Trigger: e.Trigger, State: e.State(), Started: e.Started, Ended: e.Ended, Calls: e.Calls,
		Event: e.Event, Result: e.Outcome.Value, Error: e.Outcome.Err, EventType: e.EventType, Data: e.Data, Redrives: e.Redrives, Input: &input,
		Again: &Again{hex.EncodeToString(e.Digest[:]), e.Spent, e.Key, e.Numbers, e.Told, e.Arrived},
	}
	return f
}

// State is the word for how a run has ended.
func (e *Ended) State() string {
	if e.Cancelled {
		return "cancelled"
	}
	return e.Outcome.Verdict.String()
}

// Kept is the form in which an Ending is kept on disk and passed from one router to another: with the event of its end, as clients that wait get it.
type Kept struct {
	*Ending
	EventType string      `json:"eventType"`
	Data      lang.Value  `json:"data,omitzero"` // where it is not the result
	Input     *lang.Value `json:"input,omitempty"`
	Again     *Again      `json:"again,omitempty"`
}

// Keep returns the form in which f is kept.
func (f *Ending) Keep() Kept {
	k := Kept{Ending: f, EventType: f.EventType, Input: f.Input, Again: f.Again}
	if f.Error != nil {
		k.Data = f.Data
	}
	return k
}

// Whole returns what was kept.
func (k *Kept) Whole() *Ending {
	f := k.Ending
	f.EventType, f.Data, f.Input, f.Again = k.EventType, k.Data, k.Input, k.Again
	if f.Error == nil {
		f.Data = f.Result
	}
	return f
}
