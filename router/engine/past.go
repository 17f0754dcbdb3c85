package engine

import (
	"time"

	"github.com/onward-router/onward/config/lang"
)

// A PastStep is what became of an invocation, or of a step that is more than one. Times are zero where they are not known.
type PastStep struct {
	Run      string `json:"-"`
	Path     string `json:"path"`
	N        uint32 `json:"n,omitempty"` // of an invocation
	Function string `json:"function,omitempty"`
	Trigger  string `json:"starts,omitempty"` // that it started a run of, instead of a function
	Delivery bool   `json:"delivery,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	Outcome  string `json:"outcome"`
	// Again says that it failed, and was tried again.
	Again  bool      `json:"again,omitempty"`
	Queued time.Time `json:"queued"` // a step: when it opened
	Sent   time.Time `json:"sent,omitzero"`
	Ended  time.Time `json:"ended"`
	// InputSize and OutputSize are the bytes that a value had of which only the begin is kept, as text.
	Input      lang.Value  `json:"input,omitzero"`
	InputSize  int         `json:"inputSize,omitempty"`
	Output     lang.Value  `json:"output,omitzero"`
	OutputSize int         `json:"outputSize,omitempty"`
	Error      *lang.Error `json:"error,omitempty"`
}

// A Timeline is a part of what became of a run's steps, in the order in which that was known.
type Timeline struct {
	Steps []*PastStep `json:"steps"`
	Next  string      `json:"next,omitempty"` // cursor of the next part; empty: there is no more
	// Missing counts what the history could not take while the run was at work, of all runs together.
	Missing int `json:"missing,omitempty"`
}

// A StepSummary is what became of all invocations or steps of a path, whatever their indexes: of those that were tried again the last counts.
type StepSummary struct {
	Path      string        `json:"path"` // with [*] for indexes
	Calls     int           `json:"calls,omitempty"`
	Succeeded int           `json:"succeeded"`
	Failed    int           `json:"failed"`
	Skipped   int           `json:"skipped"`
	Cancelled int           `json:"cancelled"`
	Again     int           `json:"again,omitempty"` // tries after which there was another
	First     time.Time     `json:"first"`
	Last      time.Time     `json:"last"`
	Min       time.Duration `json:"min"`
	P50       time.Duration `json:"p50"`
	P95       time.Duration `json:"p95"`
	Max       time.Duration `json:"max"`
}

// A PastEvent is an event that came, and what it was taken for.
type PastEvent struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Type   string    `json:"type"`
	Came   time.Time `json:"came"`
	By     string    `json:"by,omitempty"` // the source of ours that it came by
	Taken  string    `json:"taken"`        // matched, unmatched or refused
	Note   string    `json:"note,omitempty"`
	Runs   []PastRun `json:"runs,omitempty"`
}

// A PastRun is a run that an event started, or had started.
type PastRun struct {
	Run     string `json:"run"`
	Trigger string `json:"trigger"`
}

// A RunQuery says which ended runs are asked for; what is empty asks for nothing.
type RunQuery struct {
	Tenant, Trigger, State string
	ErrorType              string
	Event                  string // id of the event that started it
	Parent                 string // the run that started it, by a step
	Text                   string // somewhere in its event, result or error, whatever its case
	Since, Until           time.Time
	// Sort is ended, started or duration; the largest come first unless Up.
	Sort  string
	Up    bool
	After string // cursor
	Limit int
}

// FoundRuns is a part of the runs that were asked for.
type FoundRuns struct {
	Runs  []*Ending `json:"runs"`
	Next  string    `json:"next,omitempty"`
	Total int       `json:"total"` // of all that were asked for
}
