package lang

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/plugin"
)

// A Digest names a definition by the bytes that stand in the journal.
type Digest [sha256.Size]byte

// A Definition is all that the fold reads of a trigger: its flow with defaults expanded, the contracts of the functions that it names, its
// destinations and its limits. A run is pinned to the digest it started with; a changed document gives a new digest and leaves old runs alone.
// Addresses, headers, credentials and concurrency are not in it: the outbox looks them up by function name when it sends.
type Definition struct {
	Version     int                 `doc:"version"` // of the document form
	Tenant      string              `doc:"tenant"`
	Trigger     string              `doc:"trigger"`
	Flow        *Step               `doc:"flow"`  // nil: the event goes straight to the destinations
	Flows       map[string]*Step    `doc:"flows"` // the bodies of the flows that it names, itself or through one another: each once, however often it is named
	Functions   map[string]Function `doc:"functions"`
	OnSuccess   []Destination       `doc:"onSuccess"`
	OnFailure   []Destination       `doc:"onFailure"`
	Concurrency *Concurrency        `doc:"concurrency"`
	Await       *Await              `doc:"await"`    // nil: every event starts a run
	Policies    map[string]int      `doc:"policies"` // versions of the policies used: a run goes on with those that it began with

	// text is what it was parsed from. What this binary would write of it may differ: its policies' settings may have got further fields since.
	text string
}

// A Function is what the fold knows of one: how its completions read, and what it is told.
type Function struct {
	Contract string `doc:"contract"`
	Cancel   bool   `doc:"cancel"` // it is told when a call of it is dropped
}

// A Concurrency bounds the runs of one key that are at work at a time. The key itself is in their starts.
type Concurrency struct {
	Limit int    `doc:"limit" help:"how many runs of one key may be at work at a time" default:"1"`
	When  string `doc:"when" help:"what a run does that comes at the limit: queue (it waits, first come first served), drop (it ends as skipped, with the reason), cancelRunning (it cancels the oldest, and begins once they have cleaned up) or replace (it waits, in place of those that wait)" default:"queue"`
}

// The words of Concurrency.When.
const (
	WhenQueue         = "queue"
	WhenDrop          = "drop"
	WhenCancelRunning = "cancelRunning"
	WhenReplace       = "replace"
)

// MaxConcurrency is the largest limit of a Concurrency: one start may have to cancel so many.
const MaxConcurrency = 1000

var whenWords = []string{WhenQueue, WhenDrop, WhenCancelRunning, WhenReplace}

// Check reports a limit and a word that cannot be.
func (c *Concurrency) Check() []plugin.Problem {
	var out []plugin.Problem
	if c.Limit < 1 || c.Limit > MaxConcurrency {
		out = append(out, plugin.Problem{Path: []string{"limit"}, What: fmt.Sprintf("a limit of %d", c.Limit), Cure: fmt.Sprintf("write 1 to %d", MaxConcurrency)})
	}
	if !slices.Contains(whenWords, c.When) {
		out = append(out, plugin.Problem{Path: []string{"when"}, What: fmt.Sprintf("unknown word %q", c.When), Cure: Nearest(c.When, whenWords)})
	}
	return out
}

// Schema tells what Check refuses.
func (*Concurrency) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"limit": plugin.Schema{"minimum": 1, "maximum": MaxConcurrency}, "when": plugin.Schema{"enum": []any{WhenQueue, WhenDrop, WhenCancelRunning, WhenReplace}},
	}}
}

// InvokePrefix is what the trigger of a function that is invoked by itself has before the function's name: a name that no document gives.
const InvokePrefix = "function."

// A Destination is where the event of a run's end goes: exactly one of Function (an inline sink is an anonymous function) and Trigger is set. Name is
// its own among the trigger's; it comes from what it is, never from where it stands.
type Destination struct {
	Name     string      `doc:"name"`
	Function string      `doc:"function"`
	Trigger  string      `doc:"trigger"`
	When     Expr        `doc:"when"`
	Data     Expr        `doc:"data"` // default: the outcome
	Retry    Retries     `doc:"retry,sole"`
	Event    Expr        `doc:"event"`  // an object of attributes that replace those of the run's end
	Format   string      `doc:"format"` // one of Formats; empty is our own
	ARN      string      `doc:"arn"`    // how AWS's formats name the function
	Bytes    plugin.Size `doc:"bytes"`  // how large AWS's formats may be; 0 is as a value may be
}

// The forms in which a destination may be told of a run's end, beside our own.
const (
	FormatAWS         = "aws"         // the record of an AWS Lambda destination
	FormatEventBridge = "eventbridge" // that record in the envelope of EventBridge
	FormatDLQ         = "dlq"         // what an AWS dead letter queue gets: the input, and the error in attributes
	FormatKnative     = "knative"     // what a dead letter sink of Knative gets: the event as it came, and the error in attributes
)

// Formats are all of them.
var Formats = []string{FormatAWS, FormatEventBridge, FormatDLQ, FormatKnative}

// bind gives each step that names a flow the flow's body.
func (d *Definition) bind() error {
	missing := ""
	bind := func(s *Step) {
		if s.Use != UseFlow {
			return
		}
		if s.Body = d.Flows[s.Target]; s.Body == nil {
			missing = s.Target
		}
	}
	if d.Flow != nil {
		d.Flow.Walk(bind)
	}
	for _, body := range d.Flows {
		body.Walk(bind)
	}
	if missing != "" {
		return fmt.Errorf("flow %q has no body", missing)
	}
	return nil
}

// Walk calls f with a step and all steps in it, handlers too; it does not go into the flows that they name.
func (s *Step) Walk(f func(*Step)) {
	f(s)
	for _, child := range Children(s.Policy) {
		if child != nil {
			child.Walk(f)
		}
	}
	for i := range s.Catch {
		s.Catch[i].Do.Walk(f)
	}
}
