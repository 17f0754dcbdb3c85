package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/journal"
)

// A Letter is a dead letter: an event or an invocation that was given up, as people see it and as it is kept, with all that sending it again needs.
type Letter struct {
	ID       string      `json:"letter"` // RUN.N
	Time     time.Time   `json:"time"`
	Tenant   string      `json:"tenant"`
	Trigger  string      `json:"trigger"` // of the run
	Run      string      `json:"run"`
	N        uint32      `json:"n"`
	What     string      `json:"what"` // call, notify, route, event or parked
	Event    string      `json:"event"`
	Type     string      `json:"type"`
	Path     string      `json:"path"` // of what came in: its source
	To       string      `json:"function,omitempty"`
	Starts   string      `json:"starts,omitempty"` // the trigger that a destination names
	Contract string      `json:"contract,omitempty"`
	Attempt  int         `json:"attempt"`
	Error    *lang.Error `json:"error"`
	Created  time.Time   `json:"created"`
	Cause    string      `json:"cause,omitempty"`
	Fuel     int         `json:"fuel,omitempty"`
	Cont     int         `json:"continued,omitempty"`
	Traced   string      `json:"traceparent,omitempty"`
	State    string      `json:"tracestate,omitempty"`
	Matched  []byte      `json:"matched,omitempty"` // what the filters let through
	Data     lang.Value  `json:"data,omitzero"`
	Dressed  lang.Value  `json:"attributes,omitzero"` // that the destination gives its event in place of its own
	// Redrives, LastRedrive and LastError tell of the times that it was sent again and did not arrive.
	Redrives    int       `json:"redrives,omitempty"`
	LastRedrive time.Time `json:"lastRedrive,omitzero"`
	LastError   string    `json:"lastError,omitempty"`
}

// The kinds of dead letters, as people ask for them.
const (
	LetterInvocation  = "invocation"  // what a run called
	LetterDestination = "destination" // an event of a run's end
	LetterEvent       = "event"       // what came in, and an error kept its triggers from taking it
	LetterParked      = "parked"      // what came in and is no event, and places in the journal that hold no record
)

// LetterKinds are all of them.
var LetterKinds = []string{LetterInvocation, LetterDestination, LetterEvent, LetterParked}

// Kind is one of LetterKinds.
func (l *Letter) Kind() string {
	switch l.What {
	case LetterEvent, LetterParked: // They have no invocation.
		return l.What
	case Notify.String(), Route.String():
		return LetterDestination
	}
	return LetterInvocation
}

// LetterOfEvent is the dead letter of an event that came in, whole, and that a trigger could not take. The same event makes the same letter.
func LetterOfEvent(trigger, tenant, source, id, kind string, event lang.Value, why *lang.Error, at time.Time) *Letter {
	return &Letter{ID: LetterEvent + "." + nameOf(source, id, kind), Time: at, Tenant: tenant, Trigger: trigger, What: LetterEvent, Event: id, Type: kind, Path: source, Error: why, Created: at, Data: event}
}

// Letter is the dead letter of an event that found no room.
func (m *Missed) Letter(at time.Time) *Letter {
	event := (&arrival{event: m.Event, data: m.Data}).whole()
	why := lang.Failf(lang.ClassPlatform, "round_full", "%s", m.Why)
	return LetterOfEvent(m.Trigger, m.Tenant, attribute(m.Event, "source"), attribute(m.Event, "id"), attribute(m.Event, "type"), event, why, at)
}

// LetterOfParked is the dead letter of what a source, or the journal, had at a place and what is no event; b is its beginning. At one
// place - a path of a web hook, a record that makes several events - there may be many; the same again makes the same letter.
func LetterOfParked(source, place, reason string, b []byte, at time.Time) *Letter {
	data := lang.Of(map[string]any{"bytes": b})
	if utf8.Valid(b) {
		data = lang.Of(map[string]any{"text": string(b)})
	}
	return &Letter{
		ID: LetterParked + "." + nameOf(source, place, string(b)), Time: at, What: LetterParked, Event: place, Path: source, Error: &lang.Error{Type: LetterParked, Message: reason, Class: lang.ClassPlatform},
		Created: at, Data: data,
	}
}

// nameOf is a name that the same words have again.
func nameOf(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:12])
}

// LetterID names a dead letter: a number is never used twice in a run.
func LetterID(run journal.RunID, n uint32) string { return fmt.Sprintf("%s.%d", run, n) }

// LetterOf is the dead letter of what was given up.
func LetterOf(d *Dead) *Letter {
	i := d.Invocation
	var traced traceparent.Context
	if i.Traced != nil {
		traced = *i.Traced
	}
	return &Letter{
		ID: LetterID(i.Run, i.N), Time: d.Time, Tenant: i.Tenant, Trigger: i.Trigger, Run: i.Run.String(), N: i.N, What: i.Purpose.String(), Event: i.ID(), Type: i.Type,
		Path: i.Path, To: i.Function, Starts: i.ToTrigger, Contract: i.Contract, Attempt: i.Attempt, Error: d.Err, Created: i.Created, Cause: i.Cause, Fuel: i.Fuel,
		Cont: i.Continued, Traced: traced.Parent, State: traced.State, Matched: i.Starts, Data: i.Input, Dressed: i.Attributes,
	}
}

// Invocation is what is to be sent again, under its id.
func (l *Letter) Invocation() (*Invocation, error) {
	run, err := journal.ParseRunID(l.Run)
	if err != nil {
		return nil, fmt.Errorf("dead letter %s: %w", l.ID, err)
	}
	i := &Invocation{
		Run: run, N: l.N, Tenant: l.Tenant, Trigger: l.Trigger, Path: l.Path, Function: l.To, ToTrigger: l.Starts, Contract: l.Contract, Attempt: l.Attempt,
		Created: l.Created, Cause: l.Cause, Fuel: l.Fuel, Continued: l.Cont, Type: l.Type, Starts: l.Matched, Input: l.Data, Attributes: l.Dressed,
	}
	if c, ok := traceparent.Of(l.Traced, l.State); ok {
		i.Traced = &c
	}
	for p, word := range purposes {
		if word == l.What {
			i.Purpose = Purpose(p)
		}
	}
	return i, nil
}

// Fault is why it was given up; never nil.
func (l *Letter) Fault() *lang.Error {
	if l.Error == nil {
		return new(lang.Error)
	}
	return l.Error
}

// Cursor is where a letter is in a list, which has the latest first.
func (l *Letter) Cursor() Cursor { return Cursor{N: l.Time.UnixNano(), ID: l.ID} }

// A LetterQuery chooses dead letters; what is empty asks for nothing.
type LetterQuery struct {
	Trigger, Tenant, Run, Kind string
	Function                   string // for which they are, or the trigger that a destination names
	Error                      string // its type or class
	Since, Until               time.Time
	Match                      func(*Letter) bool // asked of those that are chosen otherwise, with their data; nil asks for nothing

	After Cursor // of a list: the part behind it
	Limit int
}

// FoundLetters is a part of the dead letters that were asked for.
type FoundLetters struct {
	Letters []*Letter
	Total   int // of all that are chosen
	More    bool
}

// Cut leaves so many.
func (f *FoundLetters) Cut(limit int) {
	if f.More = len(f.Letters) > limit; f.More {
		f.Letters = f.Letters[:limit]
	}
}

// A LetterCause is what dead letters have in common: where they were to go, and the error that kept them from it.
type LetterCause struct {
	Kind     string `json:"kind"`
	Trigger  string `json:"trigger"`
	Function string `json:"function"` // or the trigger, as a destination
	Error    string `json:"error"`

	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Letter  string    `json:"letter"` // the latest of them
	Message string    `json:"message"`
}
