// Package sinks is the contract of a sink: how invocations and events go out.
//
// A sink delivers; it does not decide. Whether a failure is tried again under the same id (the outbox's business) or as a new attempt (the fold's)
// follows from the Result alone.
package sinks

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/plugin"
)

// A Sink carries deliveries out. Deliver starts all of d and returns without waiting for the far end; each ends by exactly one call of its Done,
// from any goroutine. The slice is the caller's again when Deliver returns; the deliveries are the sink's until Done. A delivery whose own Context
// has ended is given up soon, with Ended, unless it is known how it went. Deliver may be called concurrently. Package sinktest holds a sink to this.
type Sink interface {
	Deliver(ctx context.Context, d []*Delivery)
	// Close releases what the sink holds. It is called once all deliveries are done.
	Close() error
}

// An Opener is a sink that has something to begin with, such as a listener. Open is called once, before anything is delivered and not by lint; on a reload while
// the sink that it replaces still is open, and is closed later.
type Opener interface{ Open() error }

// A Puller is a sink whose far end asks for what it does: it is given as much as was asked for, and the rest waits in the router. Waiting returns how many
// deliveries are asked for now and not given; when that grows, the sink calls Host.Wake. It is called with the outbox's lock held, and must not wait.
type Puller interface{ Waiting() int }

// A Fetcher is a sink that asks for results by tickets. Fetches is what people call those, such as "activation". What has a ticket goes to a Fetcher alone, and to it at
// once: it is at work already, whatever is paused or waits. Of another sink its outcome is awaited, as of what was Accepted.
type Fetcher interface{ Fetches() string }

// A Delivery is one event to carry out.
type Delivery struct {
	Context context.Context // ends when the try's time is over or the invocation is cancelled
	// Outgoing is the invocation or event to send, as Event() or as JSON; its data is JSON. envelope.Made makes one of an event.
	envelope.Outgoing
	Function string // the name it goes to
	Contract string // how the answer reads: "http" (default), "lambda", ...; sinks that get no answer ignore it
	Invoke   bool   // an invocation, whose answer is a completion; else an event, for which acceptance is all that counts
	Attempt  int    // from 1
	Done     func(Result)
	// Ticket is, for a Fetcher, what an earlier delivery of this call has told Took, by this router or another one: the call is not started again, only its result is
	// asked for. Empty: nobody has taken it yet, as far as is known.
	Ticket string
	// Took says that the far end has taken the call, and knows it by a ticket: a text of at most 128 bytes without control characters; no other is kept, nor a second
	// one. It does not wait: the ticket is journaled soon, and whoever has the call then is given it. It may be called until Done, and is nil where no outcome is asked for.
	Took func(ticket string)
	// News has an entry when somebody says that the outcome of the call with this ticket is there. Who says so is not proved; it may come early, twice, or never. nil is
	// never.
	News <-chan struct{}
}

// A Verdict is how a delivery ended.
type Verdict uint8

// The verdicts.
const (
	Accepted  Verdict = iota + 1 // it has arrived; a completion, if one is due, comes later as an event
	Completed                    // the function has answered: Completion holds how
	Retry                        // it may not have arrived, or was put off: send again under the same id, not before After
	Failed                       // it cannot succeed as it is; Err says why
)

// A Result is how a delivery ended, with what belongs to the verdict.
type Result struct {
	Verdict    Verdict
	Completion Completion
	After      time.Duration // asked for by the receiver (Retry-After); 0 leaves it to the outbox
	Err        *Error        // for Retry and Failed
	// Heard says, of Retry, that the far end did answer, though not to this: whether it is up is not in question.
	Heard bool
	// Busy is closed when the far end has let go of an invocation that was given up: until then its room goes to no other. nil: it is free at once.
	Busy <-chan struct{}
}

// A Completion is a function's answer.
type Completion struct {
	Data     []byte // JSON: the value, or for Continue the state
	Continue bool   // it ran out of time and asks to be invoked again with its state
	Err      *Error // it failed; Data is ignored
	// Reply is the event that a function has answered, of a type of its own: it goes on into the router too. nil: the answer is a value and no more.
	Reply *event.Event
}

// An Error is why a delivery or a function failed. Class is one of function, throttle, platform, timeout, cancelled.
type Error struct {
	Type, Message, Class string
	Data                 []byte // JSON; may be nil
}

// Error returns type and message.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// Accept, Complete, Again and Fail build results.
func Accept() Result { return Result{Verdict: Accepted} }
func Complete(data []byte) Result {
	return Result{Verdict: Completed, Completion: Completion{Data: data}}
}
func CompleteError(e *Error) Result {
	return Result{Verdict: Completed, Completion: Completion{Err: e}}
}
func Again(after time.Duration, e *Error) Result {
	return Result{Verdict: Retry, After: after, Err: e}
}
func Fail(e *Error) Result { return Result{Verdict: Failed, Err: e} }

// Ended is the result of a delivery that was given up because its Context has ended: of class timeout when its time was over, else cancelled. What
// says what was under way, e.g. "no answer".
func Ended(ctx context.Context, what string) Result {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Fail(&Error{Type: "timeout", Message: what + ": its time is over", Class: "timeout"})
	}
	return Fail(&Error{Type: "cancelled", Message: what + ": it is no longer wanted", Class: "cancelled"})
}

// Each starts each delivery in a goroutine of its own, and ends it with what deliver returns.
func Each(d []*Delivery, deliver func(*Delivery) Result) {
	for _, d := range d {
		go func() { d.Done(Guarded(func() Result { return deliver(d) })) }()
	}
}

// Guarded returns what deliver does. A panic is the end of that delivery, as of one that cannot succeed.
func Guarded(deliver func() Result) (r Result) {
	if err := guard.Do("deliver", func() { r = deliver() }); err != nil {
		r = Fail(&Error{Type: "router_panicked", Message: err.Error(), Class: "platform"})
	}
	return r
}

// A Host is what the router offers to the sinks that it makes.
type Host struct {
	// Start starts runs of a trigger by name with the event (the trigger sink), durably, and is idempotent by the event's source and id. A *Error says
	// that this event never starts one; any other error, that it may yet.
	Start func(ctx context.Context, trigger string, e *event.Event) error
	// Log writes one structured line (the log sink).
	Log func(ctx context.Context, msg string, args ...any)
	// Concurrency is the most deliveries that the outbox has in flight to this sink; pools are sized to it.
	Concurrency int
	// Batch says that what Deliver gets together goes out as one request, a batch of CloudEvents, also when it is one: the function takes batches.
	Batch bool
	// Wake says that a Puller's far end has asked for more; nil: nobody listens. A sink must not hold a lock meanwhile that Waiting takes.
	Wake func()
	// Secret reports the environment variables that settings or documents name as secrets; nil: none is known. No function gets them unasked.
	Secret func(name string) bool
	// Pace bounds how many deliveries go to this sink in a minute, from now on until the sink is replaced; Halt stops its function until people let it go on, and
	// says why. Either may be nil, and called at any time but in the Factory.
	Pace func(perMinute int)
	Halt func(why string)
	// Egress says where requests may go; nil is the default.
	Egress *egress.Policy
}

// A Factory makes a sink from its settings (a pointer to the type it was registered with) without side effects.
type Factory func(name string, settings any, h Host) (Sink, error)

// Register enters a sink type under name; S is its settings struct.
func Register[S any](r *plugin.Registry, name string, version int, summary string, make func(name string, s *S, h Host) (Sink, error)) {
	r.Add(plugin.Component{
		Door: plugin.Sink, Name: name, Version: version, Summary: summary, Settings: reflect.TypeFor[S](),
		Make: Factory(func(n string, settings any, h Host) (Sink, error) { return make(n, settings.(*S), h) }),
	})
}
