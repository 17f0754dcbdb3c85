package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// The payloads of records: one type a kind, each with Append (its bytes) and a Decode function. Numbers are unsigned varints, texts and values
// follow their length.

// StartFact starts a run.
type StartFact struct {
	Trigger string
	Digest  lang.Digest
	Event   lang.Value // the event's attributes, extensions included, as one object
	Data    lang.Value
	Spent   int    // what its chain has used up of its fuel; 0 for an event from outside
	Parent  string // the invocation of another run that waits for its end; empty is none
	Key     string // by which its trigger counts runs that are at work, or by which events of it meet; empty is none
	// Names are which of the events that the trigger awaits it is, of one whose events meet (lang.Await): it is taken for the first that there is room for.
	Names []string
	// Arrived is, of a redrive, what the round had that the run began with; null is none.
	Arrived lang.Value
	// Overlap says what becomes of runs of one Key where their trigger says nothing of it: one is at work at a time.
	Overlap Overlap
}

// An Overlap is what becomes of a run that is to begin beside another one of its key.
type Overlap uint8

// The overlaps. The numbers are journaled.
const (
	OverlapSkip   Overlap = iota + 1 // it ends as skipped
	OverlapCancel                    // the other one is cancelled, and it begins once that one has ended
)

// concurrency is what a trigger would say.
func (o Overlap) concurrency() *lang.Concurrency {
	if o == OverlapCancel {
		return &lang.Concurrency{Limit: 1, When: lang.WhenCancelRunning}
	}
	return &lang.Concurrency{Limit: 1, When: lang.WhenDrop}
}

// CompletionFact is the outcome of an invocation.
type CompletionFact struct {
	N       uint32
	Outcome lang.Outcome
	// Cause is the id of the completion event; empty for the answer to a request.
	Cause string
	Sending
}

// Sending says when a call was where, by the clock of who sent it: people are told, nothing is decided by it. What is zero is not known. Of a completion that came as
// an event only Arrived is, by the clock of who took that in: who sent the call adds the rest, as long as he lives.
type Sending struct {
	Made    time.Time // it came to who sends it
	Sent    time.Time // its last try went to the function
	Arrived time.Time // its answer came, or its time was over
}

// TimedOutFact names invocations whose tries took too long, or, Silent, had no heartbeat for too long. Definitions that say a heartbeat are as new as that
// word, so that no binary meets it that does not know it.
type TimedOutFact struct {
	Numbers []uint32
	Silent  bool
	Sending
}

// NumbersFact names invocations: Tried.
type NumbersFact struct{ Numbers []uint32 }

// AcceptedFact names invocations that have arrived. Tickets are what their far ends know them by, one for each number, empty for those without; nil: none has one.
type AcceptedFact struct {
	Numbers []uint32
	Tickets []string
}

// GaveUpFact says that an invocation could not be delivered.
type GaveUpFact struct {
	N   uint32
	Err *lang.Error
}

// SignalFact is a named signal to a run. (Source, ID) tell repeats.
type SignalFact struct {
	Source, ID, Name string
	Data             lang.Value
}

// CancelFact cancels a run. ID tells repeats: one that comes again, once the run was redriven, is none. One without is told by nothing.
type CancelFact struct {
	Reason string
	Ahead  bool // the run's start may come behind it, and is then to begin nothing
	ID     string
}

// key tells repeats, as a pause's does.
func (f *CancelFact) key() (k signalKey, has bool) {
	if f.ID == "" {
		return k, false
	}
	sum := sha256.Sum256([]byte(journal.Cancel.String() + "\x00" + f.ID))
	copy(k[:], sum[:])
	return k, true
}

// error is that of a run which was cancelled so.
func (f *CancelFact) error() *lang.Error {
	e := lang.Error{Type: "cancelled", Message: f.Reason, Class: lang.ClassCancelled}
	if e.Message == "" {
		e.Message = "cancelled by request"
	}
	return e.Bounded()
}

// FiredFact says that a timer is due.
type FiredFact struct{ Timer uint32 }

// MoreFact lets a run do the next part of what it owes. Parts count from 1.
type MoreFact struct{ Part uint32 }

// MatchedFact is what the filters let through of a run's end event: Count runs are to be started; Starts is the writer's own form of which.
type MatchedFact struct {
	N      uint32
	Count  int
	Starts []byte
}

// ClaimFact begins a tenure. The nonce lets an owner know its own claim.
type ClaimFact struct {
	Level uint8
	Nonce []byte
}

// SkipFact passes over the record at an offset.
type SkipFact struct {
	Offset int64
	Reason string
	// Start is the payload of the start that was passed over, without its event and data, where another run waits for the end of the one that it would have
	// begun (SkippedStart); empty is none.
	Start []byte
}

// SkippedStart is what a Skip says of a record that it passes over; nil when nobody waits for its run.
func SkippedStart(rec *journal.Record) []byte {
	if rec.Kind != journal.Start {
		return nil
	}
	f, err := DecodeStart(rec.Payload)
	if err != nil || f.Parent == "" {
		return nil
	}
	f.Event, f.Data = lang.Null, lang.Null // They may be what the fold died on.
	return f.Append(nil)
}

var errFact = errors.New("payload does not decode")

// Append appends the fact's payload to b.
func (f *StartFact) Append(b []byte) []byte {
	size := len(f.Trigger) + len(f.Digest) + f.Event.Size() + f.Data.Size() + len(f.Key) + len(f.Parent) + f.Arrived.Size()
	for _, name := range f.Names {
		size += len(name) + binary.MaxVarintLen32
	}
	b = slices.Grow(b, size+10*binary.MaxVarintLen32)
	b = appendText(b, f.Trigger)
	b = appendDigest(b, f.Digest)
	b = appendValue(b, f.Event)
	b = appendValue(b, f.Data)
	b = binary.AppendUvarint(b, uint64(f.Spent))
	meets := len(f.Names) > 0 || !f.Arrived.IsNull()
	more := f.Overlap != 0 || meets
	if f.Key == "" && f.Parent == "" && !more {
		return b
	}
	if b = appendText(b, f.Key); f.Parent == "" && !more {
		return b
	}
	if b = appendText(b, f.Parent); !more {
		return b
	}
	if b = append(b, byte(f.Overlap)); !meets {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(f.Names)))
	for _, name := range f.Names {
		b = appendText(b, name)
	}
	return appendValue(b, f.Arrived)
}

// DecodeStart reads StartFact.Append's form, also that of binaries that knew no keys, no overlaps, or no events that meet.
func DecodeStart(p []byte) (f StartFact, err error) {
	r := reader{b: p}
	f = StartFact{Trigger: r.text(), Digest: r.digest(), Event: r.value(), Data: r.value(), Spent: int(r.number())}
	if len(r.b) == 0 {
		return f, r.end("start")
	}
	f.Key = r.text()
	child := len(r.b) > 0
	if child {
		f.Parent = r.text()
	}
	more := len(r.b) > 0
	if more {
		f.Overlap = Overlap(r.byte())
	}
	meets := len(r.b) > 0
	if meets {
		f.Names = make([]string, r.count())
		for i := range f.Names {
			f.Names[i] = r.text()
		}
		f.Arrived = r.value()
	}
	_, _, _, ok := ParseInvocationID(f.Parent)
	switch {
	case f.Overlap > OverlapCancel, f.Overlap != 0 && f.Key == "", more && f.Overlap == 0 && !meets:
		r.fail()
	case f.Parent != "" && !ok, child && !more && f.Parent == "", !child && f.Key == "", meets && len(f.Names) == 0 && f.Arrived.IsNull():
		r.fail()
	}
	return f, r.end("start")
}

// Append appends the fact's payload to b.
func (f *CompletionFact) Append(b []byte) []byte {
	o := f.Outcome
	b = slices.Grow(b, len(f.Cause)+o.Value.Size()+4*binary.MaxVarintLen32)
	b = binary.AppendUvarint(b, uint64(f.N))
	b = appendText(b, f.Cause)
	if o.Err != nil {
		o.Err = o.Err.Bounded() // Whoever writes it: one long message must not make a record that no journal takes.
	}
	return f.Sending.append(appendOutcome(b, o))
}

// append appends the times, if there are any: when it was sent, and then by how much later its answer came and earlier it was made; or 0, and when its answer
// came.
func (s *Sending) append(b []byte) []byte {
	if s.Sent.IsZero() {
		if s.Arrived.IsZero() {
			return b
		}
		return binary.AppendUvarint(append(b, 0), uint64(nanos(s.Arrived)))
	}
	b = binary.AppendUvarint(b, uint64(nanos(s.Sent)))
	if s.Made.IsZero() || s.Arrived.IsZero() {
		return b
	}
	b = binary.AppendUvarint(b, uint64(max(s.Arrived.Sub(s.Sent), 0)))
	return binary.AppendUvarint(b, uint64(max(s.Sent.Sub(s.Made), 0)))
}

// sending reads what Sending.append wrote.
func (r *reader) sending() (s Sending) {
	if len(r.b) == 0 {
		return s
	}
	const longest = uint64(1 << 62)
	at := r.uint()
	alone := at == 0
	if alone {
		at = r.uint()
	}
	if at == 0 || at > longest {
		r.fail()
		return s
	}
	if alone {
		s.Arrived = time.Unix(0, int64(at)).UTC()
		return s
	}
	if s.Sent = time.Unix(0, int64(at)).UTC(); len(r.b) == 0 {
		return s
	}
	after, before := r.uint(), r.uint()
	if after > longest || before > longest {
		r.fail()
		return s
	}
	s.Arrived, s.Made = s.Sent.Add(time.Duration(after)), s.Sent.Add(-time.Duration(before))
	return s
}

// DecodeCompletion reads CompletionFact.Append's form, also that of binaries that knew no times, or only when it was sent.
func DecodeCompletion(p []byte) (f CompletionFact, err error) {
	r := reader{b: p}
	f = CompletionFact{N: r.number(), Cause: r.text(), Outcome: r.outcome(), Sending: r.sending()}
	return f, r.end("completion")
}

// Timeless is a record's payload without what says only when something was: the same of a fact that comes again.
func Timeless(rec *journal.Record) []byte {
	if rec.Kind != journal.Completion {
		return rec.Payload
	}
	r := reader{b: rec.Payload}
	r.number()
	r.text()
	r.outcome()
	return rec.Payload[:len(rec.Payload)-len(r.b)]
}

// CompletionNumber reads the number alone; 0, which no invocation has, when there is none.
func CompletionNumber(p []byte) uint32 {
	r := reader{b: p}
	n := r.number()
	if r.bad {
		return 0
	}
	return n
}

// An Answer says which invocation has its outcome, and of what kind that is; its N is 0 where there is none.
type Answer struct {
	N       uint32
	Verdict lang.Verdict
}

// AnswerOf reads which answer a record is, and no more of it.
func AnswerOf(rec *journal.Record) Answer {
	if rec.Kind != journal.Completion {
		return Answer{}
	}
	r := reader{b: rec.Payload}
	a := Answer{N: r.number()}
	r.text()
	if a.Verdict = lang.Verdict(r.byte()); r.bad {
		return Answer{}
	}
	return a
}

// Append appends the fact's payload to b.
func (f *NumbersFact) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(f.Numbers)))
	for _, n := range f.Numbers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// DecodeNumbers reads NumbersFact.Append's form.
func DecodeNumbers(p []byte) (f NumbersFact, err error) {
	r := reader{b: p}
	f.Numbers = make([]uint32, r.count())
	for i := range f.Numbers {
		f.Numbers[i] = r.number()
	}
	return f, r.end("numbers")
}

// Append appends the fact's payload to b.
func (f *AcceptedFact) Append(b []byte) []byte {
	b = (&NumbersFact{f.Numbers}).Append(b)
	for _, ticket := range f.Tickets {
		b = appendText(b, ticket)
	}
	return b
}

// DecodeAccepted reads AcceptedFact.Append's form, also that of binaries that knew no tickets.
func DecodeAccepted(p []byte) (f AcceptedFact, err error) {
	r := reader{b: p}
	f.Numbers = make([]uint32, r.count())
	for i := range f.Numbers {
		f.Numbers[i] = r.number()
	}
	if len(r.b) > 0 && !r.bad {
		f.Tickets = make([]string, len(f.Numbers))
		some := false
		for i := range f.Tickets {
			if f.Tickets[i] = r.text(); f.Tickets[i] != "" {
				some = true
				if !IsTicket(f.Tickets[i]) {
					r.fail()
				}
			}
		}
		if !some {
			r.fail()
		}
	}
	return f, r.end("accepted")
}

// Append appends the fact's payload to b.
func (f *TimedOutFact) Append(b []byte) []byte {
	b = (&NumbersFact{f.Numbers}).Append(b)
	switch {
	case f.Silent:
		b = append(b, 1)
	case f.Sending != (Sending{}):
		b = append(b, 0)
	}
	return f.Sending.append(b)
}

// DecodeTimedOut reads TimedOutFact.Append's form, also that of binaries that knew no times.
func DecodeTimedOut(p []byte) (f TimedOutFact, err error) {
	r := reader{b: p}
	f.Numbers = make([]uint32, r.count())
	for i := range f.Numbers {
		f.Numbers[i] = r.number()
	}
	if len(r.b) > 0 {
		switch r.byte() {
		case 1:
			f.Silent = true
		case 0:
			if len(r.b) > 0 {
				break
			}
			fallthrough
		default:
			r.fail()
		}
		f.Sending = r.sending()
	}
	return f, r.end("timed-out")
}

// Append appends the fact's payload to b.
func (f *GaveUpFact) Append(b []byte) []byte {
	return appendError(binary.AppendUvarint(b, uint64(f.N)), f.Err.Bounded())
}

// DecodeGaveUp reads GaveUpFact.Append's form.
func DecodeGaveUp(p []byte) (f GaveUpFact, err error) {
	r := reader{b: p}
	f = GaveUpFact{N: r.number(), Err: r.err()}
	if f.Err == nil {
		r.fail()
	}
	return f, r.end("gave-up")
}

// Append appends the fact's payload to b.
func (f *SignalFact) Append(b []byte) []byte {
	return appendValue(appendText(appendText(appendText(b, f.Source), f.ID), f.Name), f.Data)
}

// DecodeSignal reads SignalFact.Append's form.
func DecodeSignal(p []byte) (f SignalFact, err error) {
	r := reader{b: p}
	f = SignalFact{Source: r.text(), ID: r.text(), Name: r.text(), Data: r.value()}
	return f, r.end("signal")
}

// Append appends the fact's payload to b.
func (f *CancelFact) Append(b []byte) []byte {
	b = appendText(b, f.Reason)
	var flags byte
	if f.Ahead {
		flags |= cancelAhead
	}
	if f.ID != "" {
		flags |= cancelID
	}
	if flags != 0 {
		b = append(b, flags)
	}
	if f.ID != "" {
		b = appendText(b, f.ID)
	}
	return b
}

const (
	cancelAhead = 1 << iota
	cancelID
)

// DecodeCancel reads CancelFact.Append's form.
func DecodeCancel(p []byte) (f CancelFact, err error) {
	r := reader{b: p}
	f = CancelFact{Reason: r.text()}
	if len(r.b) > 0 {
		flags := r.byte()
		if f.Ahead = flags&cancelAhead != 0; flags == 0 || flags > cancelAhead|cancelID {
			r.fail()
		}
		if flags&cancelID != 0 {
			if f.ID = r.text(); f.ID == "" {
				r.fail()
			}
		}
	}
	return f, r.end("cancel")
}

// Append appends the fact's payload to b.
func (f *FiredFact) Append(b []byte) []byte { return binary.AppendUvarint(b, uint64(f.Timer)) }

// DecodeFired reads FiredFact.Append's form.
func DecodeFired(p []byte) (f FiredFact, err error) {
	r := reader{b: p}
	f = FiredFact{Timer: r.number()}
	return f, r.end("fired")
}

// Append appends the fact's payload to b.
func (f *MoreFact) Append(b []byte) []byte { return binary.AppendUvarint(b, uint64(f.Part)) }

// DecodeMore reads MoreFact.Append's form.
func DecodeMore(p []byte) (f MoreFact, err error) {
	r := reader{b: p}
	f = MoreFact{Part: r.number()}
	return f, r.end("more")
}

// Append appends the fact's payload to b.
func (f *MatchedFact) Append(b []byte) []byte {
	return appendText(binary.AppendUvarint(binary.AppendUvarint(b, uint64(f.N)), uint64(f.Count)), string(f.Starts))
}

// DecodeMatched reads MatchedFact.Append's form. Starts aliases p.
func DecodeMatched(p []byte) (f MatchedFact, err error) {
	r := reader{b: p}
	f = MatchedFact{N: r.number(), Count: int(r.number()), Starts: r.bytes()}
	return f, r.end("matched")
}

// Append appends the fact's payload to b.
func (f *ClaimFact) Append(b []byte) []byte { return appendText(append(b, f.Level), string(f.Nonce)) }

// DecodeClaim reads ClaimFact.Append's form. Nonce aliases p.
func DecodeClaim(p []byte) (f ClaimFact, err error) {
	r := reader{b: p}
	f = ClaimFact{Level: r.byte(), Nonce: r.bytes()}
	return f, r.end("claim")
}

// Append appends the fact's payload to b.
func (f *SkipFact) Append(b []byte) []byte {
	if b = appendText(binary.AppendVarint(b, f.Offset), f.Reason); len(f.Start) > 0 {
		b = appendText(b, string(f.Start))
	}
	return b
}

// DecodeSkip reads SkipFact.Append's form.
func DecodeSkip(p []byte) (f SkipFact, err error) {
	r := reader{b: p}
	f = SkipFact{Offset: r.int(), Reason: r.text()}
	if len(r.b) > 0 {
		if f.Start = r.bytes(); len(f.Start) == 0 {
			r.fail()
		}
	}
	return f, r.end("skip")
}

// DefinePayload is the payload of Define: the definition's canonical bytes themselves.
func DefinePayload(d *lang.Definition) []byte { return d.Canonical() }

// Record returns a record of the given kind with the payload f appends; the caller adds partition, epoch and tenant.
func Record(k journal.Kind, run journal.RunID, f interface{ Append([]byte) []byte }) journal.Record {
	return journal.Record{Kind: k, Level: journal.Level, Run: run, Payload: f.Append(nil)}
}

// Smaller returns the record that stands in for one which its journal does not take: the same fact with a small failure, too_large, in place of what is large
// about it. False: nothing can stand in for it.
func Smaller(rec *journal.Record) (journal.Record, bool) {
	e := lang.Failf(lang.ClassFunction, "too_large", "it has %d bytes as a record, and the journal takes fewer; pass a dataref instead", len(rec.Payload))
	small := *rec
	switch rec.Kind {
	case journal.Completion:
		f, err := DecodeCompletion(rec.Payload)
		small.Payload = (&CompletionFact{N: f.N, Outcome: lang.Failure(e), Sending: f.Sending}).Append(nil)
		return small, err == nil
	case journal.GaveUp:
		f, err := DecodeGaveUp(rec.Payload)
		small.Payload = (&GaveUpFact{N: f.N, Err: e}).Append(nil)
		return small, err == nil
	case journal.Cancel: // Its reason is what is long.
		f, err := DecodeCancel(rec.Payload)
		small.Payload = (&CancelFact{Reason: e.Message, Ahead: f.Ahead, ID: f.ID}).Append(nil)
		return small, err == nil && len(small.Payload) < len(rec.Payload)
	}
	return small, false
}
