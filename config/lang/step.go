package lang

import (
	"slices"
	"time"
)

// The words of a step that are not a policy's name.
const (
	UseFunction = "function"
	UseFlow     = "flow"
)

// Reserved names cannot be used for steps, items or any other name that a document declares (DESIGN 6).
var Reserved = []string{"event", "data", "input", "output", "steps", "item", "index", "error", "previous", "arrived", "attempt", "run", "signal", "outcome", "round"}

// A Step is one node of a flow: exactly one key that says what it does, and the common keys, which work on all steps alike.
//
// A policy's settings struct holds its children as Step, *Step (both may be left out, unless the tag says required), []Step, Steps, map[string]Step, or as
// structs that embed Step and add keys of their own (dag: needs; choice: if), to be found by Children. What stands in a map is a copy, to be read only.
type Step struct {
	Name      string  `doc:"name" help:"name of the step, unique within its trigger; steps.NAME is its output"`
	When      Expr    `doc:"when" help:"the step is skipped unless this is true"`
	Input     Expr    `doc:"input" help:"what the step is given; default: what its policy passes on"`
	Output    Expr    `doc:"output" help:"what the step yields; the name output is what the work yielded"`
	Timeout   Span    `doc:"timeout,above0" help:"bound on one try, from sending; an expression is evaluated at each try"`
	Deadline  Span    `doc:"deadline,above0" help:"bound on the whole step, from its opening: all its tries, and the handler of their failure; an expression is evaluated then, and its input is that which the step was given"`
	Heartbeat Span    `doc:"heartbeat,above0" help:"of a step that calls a function: bound on how long a try may go without a heartbeat or an outcome, from sending; an expression is evaluated at each try, and has to yield more than 0"`
	Retry     Retries `doc:"retry,sole" help:"when and how often to try again: a rule, or a list of rules with counters apart"`
	Catch     []Catch `doc:"catch" help:"what to do instead when the step failed; the first that matches and is not skipped by its own when is run, and its outcome is the step's"`

	// Use is UseFunction, UseFlow or a policy's name.
	Use string
	// Target is the function's or the flow's name; empty for a policy.
	Target string
	// Body is the named flow's step once a compiler has resolved Target; nil otherwise.
	Body *Step
	// Policy is the policy's settings, a pointer to its struct; nil for functions and flows.
	Policy any

	// Pos is where the step stands; zero when it was read from a definition.
	Pos Pos

	own *Step // of a copy in a map, and of what it is a copy of: the step itself
}

// A Retry is a rule that says when and how often to try again. What a document leaves out is set to its default when it is decoded: here, zero is zero.
type Retry struct {
	Attempts int      `doc:"attempts" help:"tries in all, the first included; of a list of rules each counts only what failed by an error of its own" default:"1"`
	Backoff  Span     `doc:"backoff" help:"pause before the second try; an expression sees error and attempt too" default:"1s"`
	Factor   float64  `doc:"factor" help:"each pause is this much longer than the one before" default:"2"`
	Max      Span     `doc:"max" help:"longest pause; an expression sees error and attempt too" default:"5m"`
	Jitter   *float64 `doc:"jitter" help:"share of the pause, 0 to 1, that is spread by a hash of the invocation's id" default:"0.2"`
	On       []string `doc:"on" help:"error classes or types to try again; default: all but cancelled"`
	Never    []string `doc:"never" help:"error classes or types that the rule is not for, whatever on says; the next rule is asked"`
}

// Retries are rules with counters apart: the first that is for an error counts it, in a counter of its own, and says whether to try again. An error that
// no rule is for is not tried again. So what a function is to blame for may be given up soon, and what its platform is to blame for late, and the one uses
// up nothing of the other.
type Retries []Retry

// MaxRules is how many rules a step may have: each has a counter.
const MaxRules = 16

// For returns the first rule that is for an error; -1 is none.
func (r Retries) For(e *Error) int {
	return slices.IndexFunc(r, func(rule Retry) bool { return rule.Matches(e) })
}

// The defaults of Retry.
const (
	DefaultBackoff = time.Second
	DefaultFactor  = 2.0
	DefaultMax     = 5 * time.Minute
	DefaultJitter  = 0.2
)

// Matches reports whether r is for an error.
func (r *Retry) Matches(e *Error) bool {
	switch {
	case matches(r.Never, e):
		return false
	case len(r.On) == 0:
		return e.Class != ClassCancelled
	}
	return matches(r.On, e)
}

// Pause returns the wait after the given number of tries that r has counted (from 1): backoff x factor^(tries-1), at most max, less up to the jitter share of
// it; spread in [0,1) chooses where. Backoff and max are those of r, evaluated. The same arguments give the same pause, to the nanosecond.
func (r *Retry) Pause(backoff, most time.Duration, tries int, spread float64) time.Duration {
	limit, jitter := float64(most), DefaultJitter
	if r.Jitter != nil {
		jitter = *r.Jitter
	}
	pause := float64(backoff)
	for range min(tries-1, 1000) {
		if pause *= r.Factor; pause >= limit {
			break
		}
	}
	pause = min(pause, limit)
	// The conversion keeps the compiler from fusing the product into the difference, which would round differently by processor.
	return time.Duration(pause - float64(pause*jitter*spread))
}

// A Catch is a handler for a failed step.
type Catch struct {
	Errors []string `doc:"errors" help:"error classes or types that it handles; default: all but cancelled"`
	When   Expr     `doc:"when,condition" help:"it handles the error only if this is true; it sees error and attempt, and else what the step sees"`
	As     string   `doc:"as" help:"a name under which the handler sees the failure, wherever in it: NAME.error, NAME.input (of the step that failed) and NAME.attempt"`
	Do     Step     `doc:"do,required" help:"the step to run, with the input of the step that failed; error is the error, and attempt the try that it ended"`
}

// Matches reports whether an error is one that c handles, unless its own condition says otherwise.
func (c *Catch) Matches(e *Error) bool {
	if len(c.Errors) == 0 {
		return e.Class != ClassCancelled
	}
	return matches(c.Errors, e)
}

func matches(words []string, e *Error) bool {
	for _, w := range words {
		if w == e.Type || w == e.Class.String() {
			return true
		}
	}
	return false
}

// Pos is a place in a document. The zero Pos is nowhere.
type Pos struct {
	File      string
	Line, Col int // from 1
}

// A Twinner is the settings of a policy that may begin a second try of children of a slot (schedulers.Frame.Twin). The engine keeps the signals that one of the
// two takes for the other, and lint refuses steps there that wait for signals.
type Twinner interface {
	Twins(slot int) bool
}

// A Stopper is the settings of a policy whose step never succeeds, so that nothing in line behind it runs.
type Stopper interface {
	Stops()
}

// An Orderer is the settings of a policy whose children run in order, each once those before it have not failed.
type Orderer interface {
	InOrder()
}

// A Starter is the settings of a policy that starts a run of a trigger, in place of children. The engine does that by itself, as it calls functions.
type Starter interface {
	Starts() (trigger string, waits bool)
}
