// Package triggers is the contract of a source: how events come in.
//
// A source gets events and hands them to the router's Admit, which returns when they are durable; only then may the source acknowledge them to
// whoever sent them.
package triggers

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/plugin"
	"github.com/prometheus/client_golang/prometheus"
)

// A Source brings events in until its context ends; then it stops taking new ones, waits for those it has handed over, and returns nil.
type Source interface {
	Run(ctx context.Context, admit Admit) error
}

// An HTTPSource is a source that is a path on the router's own listener.
type HTTPSource interface {
	Source
	// Handler returns the path that it serves and its handler, which uses admit. It is called once, before Run.
	Handler(admit Admit) (path string, h http.Handler)
	// Authenticates reports whether callers must prove who they are: only then, or with --insecure, may the listener leave loopback.
	Authenticates() bool
}

// An Asking source tells its senders what became of completions and signals: its receipts have a Fate.
type Asking interface {
	Asks() bool
}

// A Measured source has metrics of its own, which the router registers.
type Measured interface {
	Collectors() []prometheus.Collector
}

// A Parking source keeps what it got and what is no event, for people to see.
type Parking interface {
	Parked() []Parked
}

// A Keeping source hands what it parks on before it forgets it: keep returns once it is kept. KeepParked is called once, before Run.
type Keeping interface {
	KeepParked(keep func(Parked))
}

// A Memory keeps a few bytes of a source from one life of the router to the next.
type Memory interface {
	// Recall returns what was kept last; nil when nothing was.
	Recall(ctx context.Context) ([]byte, error)
	// Keep returns when it is durable.
	Keep(ctx context.Context, b []byte) error
}

// A Remembering source goes on from where it was. Remember is called once, before Run: own is this router's alone, shared is that of all routers that have the
// same journal, and the same as own where there is only one. A router without a folder forgets at its end.
type Remembering interface {
	Remember(own, shared Memory)
}

// The words of an Overlapping source.
const (
	OverlapAllow  = ""       // they are at work side by side
	OverlapSkip   = "skip"   // the new one ends as skipped
	OverlapCancel = "cancel" // the old one is cancelled
)

// An Overlapping source says what becomes of a run that it starts while another one of the same trigger is at work that it started.
type Overlapping interface {
	Overlap() string
}

// A Report says how far a source is, for people to see. What is zero is left out.
type Report struct {
	Next time.Time   `json:"next,omitzero"`  // when it will make an event
	Then []time.Time `json:"then,omitempty"` // and when after that
	Last time.Time   `json:"last,omitzero"`  // when the latest one was due
	At   string      `json:"at,omitempty"`   // where it is
	Note string      `json:"note,omitempty"`
}

// A Reporting source says how far it is. Report may be called at any time.
type Reporting interface{ Report() Report }

// A Ticking source knows when its next events come, before it runs: Ticks are the next n, or fewer where there are no more.
type Ticking interface{ Ticks(n int) []time.Time }

// ParkedHelp is what onward_parked_total says of itself, which each source that parks registers with its name as the constant label source.
const ParkedHelp = "What came in and was no event, by source; of the journal, places that held no record."

// A Parked is something that came and is no event. Nothing waits for it.
type Parked struct {
	Source string    `json:"source"`
	Place  string    `json:"place"` // e.g. topic/partition/offset
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
	Bytes  []byte    `json:"bytes"` // the first of them
}

// Admit hands events to the router and returns when every one of them is durable or refused: a receipt for each, in order. The error is for the
// call as a whole (the router is closing); then nothing of it may be acknowledged. Admit may be called concurrently. It does not keep the events.
type Admit func(ctx context.Context, events []event.Event) ([]Receipt, error)

// A Receipt says what became of one event.
type Receipt struct {
	Runs []Run // started by it, or already running or done because of an earlier copy of it, or advanced by it
	Kind Kind  // what it was taken for
	Err  error // it was not admitted; one of the errors below or one that wraps it
	// Fate tells what became of a completion, a heartbeat or a signal, once the router has folded it; the first call waits for that a while, within the context that
	// the events were admitted with. It is nil for other events, and where the source does not ask.
	Fate func(ctx context.Context) Fate
	Note string // for a person, e.g. that nothing matched, and why
}

// A Kind says what an event was taken for.
type Kind uint8

// The kinds.
const (
	Matched    Kind = iota + 1 // it started runs, or it had before
	Completion                 // the outcome of an invocation
	Signal                     // a signal to a run
	Heartbeat                  // a function is at work on an invocation
	Unmatched                  // no trigger's filters let it through
)

var kinds = [...]string{Matched: "matched", Completion: "completion", Signal: "signal", Heartbeat: "heartbeat", Unmatched: "unmatched"}

// String returns the kind's word.
func (k Kind) String() string { return kinds[k] }

// A Run is a run that an event touched.
type Run struct {
	ID      string
	Trigger string
	// Key is that of the round to which the event goes, where nobody was asked which run that is: this one, if the event has opened the round.
	Key string
	// Wait returns the event of the run's end once it has ended, also when it ended a short while ago. It returns the context's error when
	// that comes first. It is nil where the run cannot be waited for (another replica has it).
	Wait func(ctx context.Context) (*event.Event, error)
}

// A Tried says what a trigger would make of an event, without its being taken in.
type Tried struct {
	Trigger string `json:"trigger"`
	Taken   bool   `json:"taken"`
	Why     string `json:"why,omitempty"` // it is not taken
	Run     string `json:"run,omitempty"` // that it would start, or has started; empty where events of a key meet
	Key     string `json:"key,omitempty"` // of its events or runs
	// Keys are the event's, where it has several.
	Keys []string `json:"keys,omitempty"`
	As   string   `json:"as,omitempty"` // which of the events that the trigger awaits it is
}

// A Guarded source asks those who send for secrets. Without one of them somebody is kept out, so a router does not start.
type Guarded interface{ Secrets() []plugin.Secret }

// A Certified source may know its callers by client certificates: the listener has to ask for them.
type Certified interface{ WantsCertificates() bool }

// A Placed source is told where it is, once, before anything else is asked of it.
type Placed interface{ Place(p Place) }

// A Place is what a router tells a source of it and of itself.
type Place struct {
	Egress *egress.Policy // where the source's own requests may go; nil is the default
	// PerMinute is how many events of the source that start something are taken in a minute; 0 is no bound.
	PerMinute int
}

// A Troubled source can say what keeps it from taking events at present; nil is nothing.
type Troubled interface{ Trouble() error }

// sealKey marks the context of events that are known by what was signed.
type sealKey struct{}

// Sealed says of the events that are admitted with a context that they are known by a seal, in their order, and not by the sources and ids that they have: nobody
// has proved those. The same seal is the same events.
func Sealed(ctx context.Context, seal string) context.Context {
	return context.WithValue(ctx, sealKey{}, seal)
}

// SealOf returns the seal of the events that are admitted with a context; empty: they are known by source and id.
func SealOf(ctx context.Context) string {
	seal, _ := ctx.Value(sealKey{}).(string)
	return seal
}

// Errors of a receipt.
var (
	ErrInvalid  = errors.New("not a valid CloudEvent") // wrapped with the field and what is wrong with it
	ErrTooLarge = errors.New("event too large")
	ErrBusy     = errors.New("too many events in flight") // starts only; try again after RetryAfter
	ErrFull     = errors.New("the journal's disk is nearly full")
	ErrDraining = errors.New("the router is shutting down")
	ErrSlow     = errors.New("the body comes too slowly") // of a request, while it is read
	// ErrRefused is for what this source does not accept (accepts:), and for outcomes of invocations that this router did not send.
	ErrRefused = errors.New("not accepted here")
	// ErrPanicked is of an event over which the router has failed: sent again, it would again.
	ErrPanicked = errors.New("not admitted")
	// ErrNoTrigger is of starts by name.
	ErrNoTrigger = errors.New("unknown trigger")
)

// A Paced is the error of an event that comes faster than its source, or the tenant whose triggers take it, has room for. It is an ErrBusy that knows its end.
type Paced struct {
	By    string // whose rate it is: source or tenant
	What  string
	After time.Duration // until there is room for one
}

// Error says what is used up.
func (p *Paced) Error() string { return ErrBusy.Error() + ": " + p.What }

// Unwrap is ErrBusy.
func (p *Paced) Unwrap() error { return ErrBusy }

// RetryAfter is how many seconds whoever gets an ErrBusy is asked to wait.
func RetryAfter(err error) int {
	var p *Paced
	if errors.As(err, &p) {
		return max(int((p.After+time.Second-1)/time.Second), 1)
	}
	return 1
}

// IsFinal reports whether an event with this error is refused whenever it comes.
func IsFinal(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrRefused) || errors.Is(err, ErrPanicked)
}

// A Factory makes a source from its settings (a pointer to the type it was registered with) without side effects: lint is build without run.
type Factory func(name string, settings any) (Source, error)

// Register enters a source type under name; S is its settings struct.
func Register[S any](r *plugin.Registry, name string, version int, summary string, make func(name string, s *S) (Source, error)) {
	r.Add(plugin.Component{
		Door: plugin.Source, Name: name, Version: version, Summary: summary, Settings: reflect.TypeFor[S](),
		Make: Factory(func(n string, settings any) (Source, error) { return make(n, settings.(*S)) }),
	})
}

type onlyAwaited struct{}

// OnlyAwaited is the context of an Admit of events that are behind others which were refused for now. Of those that would start something only that is taken
// for which a run waits, which may be what makes room; the others are refused, so that they keep their order.
func OnlyAwaited(ctx context.Context) context.Context {
	return context.WithValue(ctx, onlyAwaited{}, true)
}

// IsOnlyAwaited reports whether ctx is of OnlyAwaited.
func IsOnlyAwaited(ctx context.Context) bool { return ctx.Value(onlyAwaited{}) != nil }
