package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/journal"
)

// A Reason says what a record did, or why it did nothing. It feeds the metrics, the log, the tests and the answer to who asked alike: a signal or a
// cancel is applied, repeated, ended, unknown, limited or malformed.
type Reason uint8

// The reasons.
const (
	Applied    Reason = iota + 1
	Duplicate         // the same fact had been folded before
	Finished          // its run has ended; a tombstone remembers it
	Unknown           // no such run, and no tombstone: never started here, or longer ago than the dedupe window
	Superseded        // a result of an invocation that another attempt, a time-out or a cancel has replaced
	Stale             // an owner's record of another epoch than the current claim's, or a claim that lost
	Early             // a timer fired before it was due on the fold's clock; it is to be fired again
	Waiting           // a start whose definition has not come yet
	Malformed         // a payload that does not decode
	Limited           // over a limit of its run: what it asks for was not taken, and may be asked for again
	Joined            // an event of a round that others have opened
	Held              // an event that is kept for the next round of its key
	Unmatched         // an event of a key whose only round is over
	reasonEnd
)

var reasons = [...]string{
	Applied: "applied", Duplicate: "repeated", Finished: "ended", Unknown: "unknown", Superseded: "superseded",
	Stale: "stale", Early: "early", Waiting: "waiting", Malformed: "malformed", Limited: "limited", Joined: "joined", Held: "kept", Unmatched: "unmatched",
}

// String returns the reason's word.
func (r Reason) String() string { return reasons[r] }

// Reasons lists all of them, for metrics that begin at zero.
func Reasons() []Reason {
	var all []Reason
	for r := Applied; r < reasonEnd; r++ {
		all = append(all, r)
	}
	return all
}

// A Purpose says what an invocation is for.
type Purpose uint8

// The purposes.
const (
	Call   Purpose = iota + 1 // invoke a function; its completion advances the run
	Notify                    // carry the event of the run's end to a destination; acceptance is all that counts
	Route                     // put the event of the run's end past all filters; ends by Accepted, after Matched when any let it through
	Cancel                    // tell a function that a call of it is dropped, which is Cause; whatever becomes of it, nobody waits for it
	Return                    // tell the run that started this one how it ended: Cause is its invocation, Starts the payload of the completion
)

var purposes = [...]string{Call: "call", Notify: "notify", Route: "route", Cancel: "cancel", Return: "return"}

// String returns the purpose's word.
func (p Purpose) String() string { return purposes[p] }

// An Invocation is one thing to be sent, under one id for ever. It is immutable: the fold replaces it, never changes it, so that the outbox may
// read it from other goroutines.
type Invocation struct {
	Run     journal.RunID
	N       uint32 // run-wide, never used twice
	Purpose Purpose
	Tenant  string
	Trigger string // of the run
	Redrive uint32 // of the run; 0 is its first going

	Path     string // of the step, without N
	Function string // to invoke or to notify; empty when ToTrigger is set and for Route
	// ToTrigger is the trigger that a destination names.
	ToTrigger string
	Contract  string
	Attempt   int           // from 1
	Input     lang.Value    // data of the event
	Timeout   time.Duration // of the try, from sending; 0 is none
	Heartbeat time.Duration // the try may go so long without one, from sending; 0 is for ever
	Expires   time.Time     // its step's deadline: after this nobody waits for it; zero without one
	Created   time.Time     // fold time
	Began     int64         // when its run did, fold time
	Cause     string        // id of the event that led to it
	Fuel      int           // runs that what this starts may lead to, all together
	Continued int           // which continuation of its attempt it is; 0 is none
	// Traced is the trace context of the event that started the run; nil is none.
	Traced *traceparent.Context

	// Type is the CloudEvents type: dev.onward.function.invoke, or the run's end.
	Type string
	// Attributes are those that a destination gives the event of the run's end in place of its own, by name; null is none (Notify only).
	Attributes lang.Value
	// Starts is what the filters let through, once Matched was folded (Route only).
	Starts []byte

	// counts are of a destination with several rules of retry; it is never changed.
	counts *counts

	// Before is what an owner has done about it, on the copy that Outstanding gives; nil is nothing.
	Before *Before
}

// Before is when an invocation was accepted, and when it was sent first and not answered, on the fold's clock; zero before. Of what was accepted Tried is
// not known any more. Ticket is what its far end has said that it knows it by; empty is nothing.
type Before struct {
	Accepted, Tried time.Time
	Ticket          string
}

// Past is what an owner has done about an invocation.
func (i *Invocation) Past() Before {
	if i.Before == nil {
		return Before{}
	}
	return *i.Before
}

// ID is the id of the event that is sent: RUN~path.N (DESIGN 7). The end of a run is one event, under one id wherever it goes: RUN~end.
func (i *Invocation) ID() string {
	switch i.Purpose {
	case Notify, Route, Return:
		return EndID(i.Run, i.Redrive)
	case Cancel:
		return CancelID(i.Cause)
	}
	path := shortened(i.Path)
	b := make([]byte, 0, 26+1+len(path)+11)
	b = append(b, i.Run.String()...)
	b = append(b, '~')
	b = append(b, path...)
	b = append(b, '.')
	return string(strconv.AppendUint(b, uint64(i.N), 10))
}

// CancelID is the id of the event that tells a function of the end of a call.
func CancelID(call string) string { return call + "~cancel" }

// shortened keeps what goes into ids and headers short, wherever a step stands: an attribute has 1 KiB at most, and servers refuse long headers. What of a
// long path is left out is told apart by a hash of the whole.
func shortened(path string) string {
	const most = 512
	if len(path) <= most {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	tail := "~" + hex.EncodeToString(sum[:8])
	n := most - len(tail)
	for n > 0 && !utf8.RuneStart(path[n]) {
		n--
	}
	return path[:n] + tail
}

// IdempotencyKey is the run, the path and the continuation: the same for all attempts of one logical call, with one input, and for no other.
func (i *Invocation) IdempotencyKey() string {
	key := i.Run.String() + "~" + shortened(i.Path)
	if i.Purpose == Cancel {
		return i.ID()
	}
	if i.Continued > 0 {
		key += "+" + strconv.Itoa(i.Continued)
	}
	return key
}

// to is whom it goes to, for people.
func (i *Invocation) to() string {
	switch {
	case i.ToTrigger != "":
		return "trigger " + i.ToTrigger
	case i.Purpose == Return:
		return "the run that started it"
	case i.Purpose == Cancel:
		return i.Function + " (cancel)"
	}
	return i.Function
}

// ParseInvocationID reads ID's form; ok is false for ids that are not of that form.
func ParseInvocationID(id string) (run journal.RunID, path string, n uint32, ok bool) {
	if len(id) < 29 || id[26] != '~' {
		return run, "", 0, false
	}
	dot := strings.LastIndexByte(id, '.')
	if dot < 27 {
		return run, "", 0, false
	}
	run, err := journal.ParseRunID(id[:26])
	if err != nil {
		return run, "", 0, false
	}
	num, err := strconv.ParseUint(id[dot+1:], 10, 32)
	if err != nil {
		return run, "", 0, false
	}
	return run, id[27:dot], uint32(num), true
}

// Effects is what a Fold obliges its caller to. The slices are the State's and are valid until the next Fold.
type Effects struct {
	Send  []*Invocation // to be sent, once the record that caused them is durable (it is: it was read)
	Stop  []*Invocation // no longer wanted: not to be sent, or to be aborted where that can be done
	Halts []Halt        // to be carried out before the rest, in order
	Ended []Ended
	Dead  []Dead
	Twins Twins
	// Traces are what became of invocations and steps, for people who ask later.
	Traces []Trace
	// Met is what became of an event that meets others, by this record.
	Met Met
	// Missed are events of rounds that nothing takes.
	Missed []Missed
	// Need lists definitions that a start waits for.
	Need []lang.Digest
	// Claimed is set when a claim was folded: its nonce tells the owner whether it is its own.
	Claimed []byte
}

func (e *Effects) reset() {
	clear(e.Send)
	clear(e.Stop)
	clear(e.Halts)
	clear(e.Ended)
	clear(e.Dead)
	clear(e.Traces)
	e.Send, e.Stop, e.Halts, e.Ended, e.Dead, e.Need, e.Claimed = e.Send[:0], e.Stop[:0], e.Halts[:0], e.Ended[:0], e.Dead[:0], e.Need[:0], nil
	e.Twins, e.Met = Twins{}, Met{}
	clear(e.Missed)
	e.Missed = e.Missed[:0]
	e.Traces = e.Traces[:0]
}

// Twins counts second tries beside steps that took long.
type Twins struct{ Started, Won, Lost int }

// Dead is an invocation, or the event of a run's end, that was given up and is not tried again: its owner keeps it, with its reason, until somebody sends
// it again or removes it. Run and number name it: a later fold of the same record says it again.
type Dead struct {
	Invocation *Invocation // its last try: where it was to go, and what it was
	Err        *lang.Error
	Time       time.Time // fold time
}

// Ended is the end of a run.
type Ended struct {
	Run       journal.RunID
	Tenant    string
	Trigger   string
	Digest    lang.Digest
	Outcome   lang.Outcome
	Cancelled bool
	Started   time.Time
	Ended     time.Time  // fold time
	Event     lang.Value // attributes of the event that started it
	Input     lang.Value // its data
	Calls     int        // invocations made
	// EventID, EventType and Data are those of the run's end event, as filters and waiting clients see it.
	EventID, EventType string
	Data               lang.Value
	// What a redrive needs: what its chain had used up of its fuel, the key by which its trigger counts runs, the last number given, and how many redrives
	// there were.
	Spent    int
	Key      string
	Numbers  uint32
	Redrives uint32
	Told     []byte               // what it was told, of a run that may be redriven; nil is nothing
	Traced   *traceparent.Context // of the event that started it; nil is none
	Arrived  lang.Value           // the events of its round, once those were enough
}

// A Change is one decision, for those who watch: `runs watch`, the log, and the plays' traces.
type Change struct {
	Kind    ChangeKind
	Run     journal.RunID
	Time    time.Time
	Path    string
	N       uint32
	Attempt int
	Outcome lang.Outcome  // of the step or run
	Input   lang.Value    // of StepEnded
	Wait    time.Duration // until the retry, or the timer
	Text    string        // function, signal or timer name
	Reason  Reason        // of Refused
}

// A ChangeKind says which decision.
type ChangeKind uint8

// The kinds of changes.
const (
	RunStarted ChangeKind = iota + 1
	Invoked
	Delivered // accepted
	Answered  // an invocation's outcome came
	StepEnded
	Retrying
	Caught
	TimerSet
	SignalAwaited
	SignalTaken
	SignalKept
	Notified
	DeadLettered
	RunQueued // it waits for others of its key
	RunBegun  // its turn among those of its key has come
	RunPaused
	RunResumed
	RunEnded
	RunLeft // all that its end obliged to is done; it leaves memory
	Refused
	Twinned     // a second try began beside the first
	CleaningUp  // a step that was cancelled cleans up first
	Resized     // a step may have N children open at a time
	RunRedriven // it goes on after its end; N is which redrive
	EventJoined // an event has joined the run's round
	EventKept   // an event of the key is kept for the next round
	EventMissed // an event of the key is taken by no round
	RoundOver   // the events of the run's round are enough
	Recalled    // a step takes the outcome that it had before its run was redriven
)

var changeKinds = [...]string{
	RunStarted: "run-started", Invoked: "invoked", Delivered: "accepted", Answered: "answered", StepEnded: "step-ended", Retrying: "retrying", Caught: "caught",
	TimerSet: "timer-set", SignalAwaited: "signal-awaited", SignalTaken: "signal-taken", SignalKept: "signal-kept", Notified: "notified", DeadLettered: "dead-letter",
	RunQueued: "run-queued", RunBegun: "run-begun", RunPaused: "run-paused", RunResumed: "run-resumed",
	RunEnded: "run-ended", RunLeft: "run-left", Refused: "refused", Twinned: "twinned", CleaningUp: "cleaning-up", Resized: "resized",
	RunRedriven: "run-redriven", Recalled: "recalled",
	EventJoined: "event-joined", EventKept: "event-kept", EventMissed: "event-missed", RoundOver: "round-over",
}

// String returns the kind's word.
func (k ChangeKind) String() string { return changeKinds[k] }

// MarshalText writes the kind's word.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
