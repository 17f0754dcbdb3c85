package admission

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// The type of signals (DESIGN 7), and the extensions that carry a run's context.
const (
	typeSignal    = "dev.onward.signal"
	typeHeartbeat = "dev.onward.function.heartbeat"

	extCausation   = "causationid"
	extCorrelation = "correlationid"
	extPartition   = "partitionkey"
	extIdempotency = "idempotencykey"
	extExpiry      = "expirytime"
	extFuel        = "onwardfuel"
	extAttempt     = "onwardattempt"
)

// The limits at the door.
const (
	MaxEventBytes = 1 << 20  // of an event that starts something
	MaxValueBytes = 16 << 20 // of a value inside a run
)

// dataOf makes a value of an event's data.
func dataOf(e *event.Event) (lang.Value, error) {
	v, err := envelope.Value(e)
	if err != nil {
		return v, fmt.Errorf("%w: %w", triggers.ErrInvalid, err)
	}
	return v, nil
}

// completionOf reads a completion: an event with a cause, of one of the three types; any other event is not one. ours says that the cause is an invocation
// that a router of this journal has sent, by the tag in its id.
func (g *Gate) completionOf(e *event.Event) (run journal.RunID, f *engine.CompletionFact, is, ours bool) {
	cause := envelope.Extension(e, extCausation)
	if cause == "" {
		return run, nil, false, false
	}
	var verdict lang.Verdict
	switch e.Type() {
	case envelope.Succeeded:
		verdict = lang.Succeeded
	case envelope.Failed:
		verdict = lang.Failed
	case envelope.Continue:
		verdict = lang.Continue
	default:
		return run, nil, false, false
	}
	id, ours := g.tags.Open(cause)
	run, _, n, ok := engine.ParseInvocationID(id)
	if !ours || !ok {
		return run, nil, true, false
	}
	limit := g.MaxValue
	data, err := dataOf(e)
	f = &engine.CompletionFact{N: n, Cause: e.ID(), Outcome: lang.Outcome{Verdict: verdict, Value: data}}
	switch {
	case err != nil:
		f.Outcome = unread(err)
	case data.Size() > limit:
		f.Outcome = lang.Failure(engine.TooLarge(data.Size(), limit))
	case verdict == lang.Failed:
		f.Outcome = lang.Failure(errorOf(data))
	}
	return run, f, true, true
}

// beatOf reads a heartbeat: an event of that type whose cause is an invocation, with data for people to look at.
func (g *Gate) beatOf(e *event.Event) (b engine.Beat, is, ours bool, err error) {
	if e.Type() != typeHeartbeat {
		return b, false, false, nil
	}
	b, ours = g.beat(envelope.Extension(e, extCausation))
	if ours {
		b.Data, err = dataOf(e)
	}
	return b, true, ours, err
}

// beat is the heartbeat of an invocation by the id under which it was sent.
func (g *Gate) beat(sent string) (b engine.Beat, ours bool) {
	id, sealed := g.tags.Open(sent)
	run, _, n, ok := engine.ParseInvocationID(id)
	return engine.Beat{Run: run, N: n}, sealed && ok
}

// errorOf reads the data of a failed completion.
func errorOf(data lang.Value) *lang.Error {
	said := envelope.FailureOf(data, false)
	e := &lang.Error{Type: cmp.Or(said.Type, "failed"), Message: cmp.Or(said.Message, "the function failed"), Class: lang.ClassFunction, Data: said.Data}
	if c := new(lang.Class); c.UnmarshalText([]byte(said.Class)) == nil {
		e.Class = *c
	}
	return e
}

// signalOf reads a signal: type dev.onward.signal, the run as correlationid, the signal's name as subject.
func signalOf(n name, e *event.Event) (journal.RunID, *engine.SignalFact, error, bool) {
	if e.Type() != typeSignal {
		return journal.RunID{}, nil, nil, false
	}
	run, err := journal.ParseRunID(envelope.Extension(e, extCorrelation))
	if err != nil {
		return run, nil, fmt.Errorf("%w: correlationid: %w", triggers.ErrInvalid, err), true
	}
	if e.Subject() == "" {
		return run, nil, fmt.Errorf("%w: subject is missing: it is the signal's name", triggers.ErrInvalid), true
	}
	data, err := dataOf(e)
	return run, &engine.SignalFact{Source: n.source, ID: n.id, Name: e.Subject(), Data: data}, err, true
}

// eventOf makes the event of an invocation, or of a run's end, under an id. Its trace context names what the tracing says, or else what the run was started by.
func (g *Gate) eventOf(i *engine.Invocation, id string) *event.Event {
	run, subject, key, contentType := i.Run.String(), subjectOf(i), id, event.ApplicationJSON
	if i.Purpose == engine.Cancel {
		key = i.Cause // Behind the call, where it goes by a topic.
	}
	ext := map[string]any{
		extCorrelation: run, extPartition: key, extIdempotency: i.IdempotencyKey(),
		extFuel: int32(i.Fuel), extAttempt: int32(i.Attempt),
	}
	if i.Cause != "" {
		ext[extCausation] = i.Cause
	}
	if !i.Expires.IsZero() {
		ext[extExpiry] = types.Timestamp{Time: i.Expires}
	}
	if traced := g.traced(i); traced != nil {
		if ext[traceparent.Parent] = traced.Parent; traced.State != "" {
			ext[traceparent.State] = traced.State
		}
	}
	ctx := &event.EventContextV1{
		ID: id, Type: i.Type, Source: envelope.Source("/onward/" + i.Trigger), Subject: &subject, DataContentType: &contentType, Extensions: ext,
		Time: &types.Timestamp{Time: i.Created},
	}
	return &event.Event{Context: ctx, DataEncoded: []byte(i.Input.JSON())}
}

// subjectOf is the function that is invoked, or the run of which the event tells.
func subjectOf(i *engine.Invocation) string {
	if i.Purpose == engine.Notify || i.Purpose == engine.Route || i.Purpose == engine.Call && i.ToTrigger != "" {
		return i.Run.String()
	}
	return i.Function
}

// traced is the trace context that an invocation carries; nil is none.
func (g *Gate) traced(i *engine.Invocation) *traceparent.Context {
	if g.Trace != nil {
		return g.Trace(i)
	}
	return i.Traced
}

// fullFuel is what an event from outside brings.
var fullFuel = engine.LimitsOf(journal.Level).Fuel

// fuelOf reads how many runs an event may lead to, and whether it comes from outside of any chain. Our own events say it; nobody can claim more than
// an event from outside brings. One that does not say it and names an invocation as its cause - a function knows nothing of fuel - brings less than the
// run had that made it.
func (g *Gate) fuelOf(e *event.Event) (fuel int, outside bool) {
	if text := envelope.Extension(e, extFuel); text != "" {
		if n, err := strconv.Atoi(text); err == nil {
			return max(min(n, fullFuel), 0), false
		}
	}
	cause := envelope.Extension(e, extCausation)
	if id, sealed := g.tags.Open(cause); sealed {
		cause = id
	}
	if _, _, n, ok := engine.ParseInvocationID(cause); ok {
		return engine.FuelBehind(n, fullFuel), false
	}
	return fullFuel, true
}

// endEvent makes the event of a run's end, for clients that wait for it.
func endEvent(f *engine.Ending) *event.Event {
	e := event.New()
	e.SetID(f.ID + "~end")
	e.SetSource("/onward/" + f.Trigger)
	e.SetType(f.EventType)
	e.SetSubject(f.ID)
	e.SetTime(f.Ended)
	e.SetExtension(extCorrelation, f.ID)
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(f.Data.JSON())) // Our own JSON.
	return &e
}

// startsPayload is the form in which a Matched record keeps what the filters let through: names of triggers, with the digests that they had.
type startsPayload []matchedStart

type matchedStart struct {
	Trigger string      `json:"trigger"`
	Digest  lang.Digest `json:"digest"`
}

func (s startsPayload) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // Names and bytes marshal.
	}
	return b
}

func decodeStarts(b []byte) (startsPayload, error) {
	var s startsPayload
	err := json.Unmarshal(b, &s)
	return s, err
}
