package lang

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Class says who is to blame for an error; retry and catch choose by it.
type Class uint8

// The classes of an error.
const (
	ClassFunction  Class = iota + 1 // the function answered with a failure
	ClassThrottle                   // the function or its platform asked for less
	ClassPlatform                   // it could not be reached, or answered nonsense
	ClassTimeout                    // a try or a deadline ran out
	ClassCancelled                  // somebody cancelled it
)

var classes = [...]string{ClassFunction: "function", ClassThrottle: "throttle", ClassPlatform: "platform", ClassTimeout: "timeout", ClassCancelled: "cancelled"}

// ClassNames lists the classes' words, in order.
func ClassNames() []string { return classes[1:] }

// String returns the class's word.
func (c Class) String() string {
	if int(c) < len(classes) && c > 0 {
		return classes[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

func (c Class) known() bool { return c > 0 && int(c) < len(classes) }

// MarshalText writes the class's word.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the class's word.
func (c *Class) UnmarshalText(text []byte) error {
	for i, word := range classes {
		if i > 0 && word == string(text) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("unknown error class %q; it is one of %v", text, ClassNames())
}

// An Error is why a step failed. Type is what catch and retry match: a function's own name for it, or one of ours in snake_case.
type Error struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Class   Class  `json:"class"`
	Data    Value  `json:"data,omitzero"`

	// Path is the step that failed, with its index where it runs more than once; Attempt is which of its tries; Invocation is the id of what was sent
	// to the function: whoever has that event has the input. The engine sets them where the error arises, once: what passes it on keeps them. What
	// never was sent has no Invocation.
	Path       string `json:"path,omitempty"`
	Attempt    int    `json:"attempt,omitempty"`
	Invocation string `json:"invocation,omitempty"`
}

// Error returns type and message.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// At returns the error with the place where it arose; one that knows its place stays as it is.
func (e *Error) At(path string, attempt int, invocation string) *Error {
	if e.Path != "" {
		return e
	}
	placed := *e
	placed.Path, placed.Attempt, placed.Invocation = path, attempt, invocation
	return &placed
}

// Value returns the error as expressions and joins see it: {type, message, class, data} and where it arose.
func (e *Error) Value() Value { return Of(e) }

// What an error may hold: beyond it, texts are cut and data is left out.
const (
	MaxErrorType    = 256
	MaxErrorMessage = 8 << 10
	MaxErrorData    = 256 << 10
)

// Bounded returns the error as it may be journaled and kept: of a known class, its texts cut, its data left out where it is too large or nested too deep
// to be wrapped again. What is right already is returned as it is.
func (e *Error) Bounded() *Error {
	known := e.Class.known()
	if known && len(e.Type) <= MaxErrorType && len(e.Message) <= MaxErrorMessage && e.Data.Size() <= MaxErrorData && e.Data.fits(MaxNesting-8) {
		return e
	}
	out := *e
	if !known {
		out.Class = ClassPlatform
	}
	out.Type = cut(e.Type, MaxErrorType)
	if len(e.Message) > MaxErrorMessage {
		out.Message = cut(e.Message, MaxErrorMessage-64) + fmt.Sprintf(" ... (cut; it had %d bytes)", len(e.Message))
	}
	if e.Data.Size() > MaxErrorData || !e.Data.fits(MaxNesting-8) {
		out.Data = Null
	}
	return &out
}

// cut shortens a text to at most n bytes, between two characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Failf returns an error of the given class and type with a formatted message.
func Failf(c Class, kind, format string, a ...any) *Error {
	return &Error{Type: kind, Message: fmt.Sprintf(format, a...), Class: c}
}

// A Verdict is how a step ended.
type Verdict uint8

// The verdicts. Continue ends an attempt, not a step: no policy ever sees it.
const (
	Succeeded Verdict = iota + 1
	Failed
	Skipped
	Continue
	Cancelled // by its own policy, which alone sees it; that of a function which calls itself cancelled is a failure
)

var verdicts = [...]string{Succeeded: "succeeded", Failed: "failed", Skipped: "skipped", Continue: "continue", Cancelled: "cancelled"}

// String returns the verdict's word.
func (v Verdict) String() string {
	if int(v) < len(verdicts) && v > 0 {
		return verdicts[v]
	}
	return "none"
}

// MarshalText writes the verdict's word; none is that of the zero Verdict.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	*v = 0
	for i, word := range verdicts {
		if i > 0 && word == string(text) {
			*v = Verdict(i)
		}
	}
	if v.String() != string(text) {
		return fmt.Errorf("unknown verdict %q; it is one of %v", text, verdicts[1:])
	}
	return nil
}

// An Outcome is a verdict with what belongs to it: Value for succeeded (and the state for continue), Err for failed and cancelled. Its JSON, for what keeps
// outcomes such as a policy's state, says all of it and reads back as the same; what documents see is Settled.
type Outcome struct {
	Verdict Verdict `json:"verdict"`
	Value   Value   `json:"value,omitzero"`
	Err     *Error  `json:"error,omitempty"`
}

// Lasting says why an outcome's JSON would not read back as the same; nil when it does. It does not look at the values inside.
func (o Outcome) Lasting() error {
	if o.Verdict > 0 && o.Verdict.String() == "none" {
		return fmt.Errorf("an outcome with verdict %d, which there is not", o.Verdict)
	}
	e := o.Err
	if e == nil {
		return nil
	}
	if !e.Class.known() {
		return fmt.Errorf("an error of %s; it is one of %v", e.Class, ClassNames())
	}
	for _, text := range []string{e.Type, e.Message, e.Path, e.Invocation} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("an error with a text that is no UTF-8: %q", cut(text, 100))
		}
	}
	return nil
}

// Success, Failure and Skip build outcomes.
func Success(v Value) Outcome  { return Outcome{Verdict: Succeeded, Value: v} }
func Failure(e *Error) Outcome { return Outcome{Verdict: Failed, Err: e} }
func Skip() Outcome            { return Outcome{Verdict: Skipped} }

// Collected returns what stands for o among bare values: its value, null when it was skipped or cancelled, {"error": {...}} when it failed. Whoever
// has to tell a failure from a value of that form takes Settled.
func (o Outcome) Collected() Value {
	if o.Verdict == Failed {
		return Object(Member{"error", o.Err.Value()})
	}
	return o.Value
}

// Settled returns the one form in which an outcome is a value, and which tells all ways to end apart: {"outcome": "succeeded", "value": ...},
// {"outcome": "failed", "error": {...}}, {"outcome": "skipped"} or {"outcome": "cancelled"}; null while there is none.
func (o Outcome) Settled() Value {
	said := Member{"outcome", Text(o.Verdict.String())}
	switch o.Verdict {
	case Succeeded:
		return Object(said, Member{"value", o.Value})
	case Failed:
		return Object(said, Member{"error", o.Err.Value()})
	case Skipped, Cancelled:
		return Object(said)
	}
	return Null
}

// ErrorTypes are the types of errors that are ours; functions have types of their own beside them.
var ErrorTypes = []string{
	"bad_batch", "bad_branch", "bad_concurrency", "bad_count", "bad_duration", "bad_fail", "bad_items", "bad_loop", "bad_request", "bad_response", "bad_signal", "bad_wait", "bad_window", "cancelled", "compensation_failed", "continue_limit", "cost_limit", "deadline", "depth_limit", "expression_error", "heartbeat_timeout", "join_deadline", "join_unreachable", "loop_limit", "no_choice_matched", "policy_error", "policy_panic", "policy_state", "round_full", "signal_deadline", "step_limit", "timeout", "timer_limit", "too_deep", "too_large", "too_many", "too_many_failed", "undelivered", "unknown_flow", "unknown_function", "unknown_step",
}

// NearErrorType returns the class or type of ours that a word is but for one letter, and whether there is one: such a word is misspelt, and no type of a
// function's.
func NearErrorType(word string) (string, bool) {
	return OneOff(word, append(ClassNames(), ErrorTypes...))
}

// OneOff returns the known word that a word is but for one letter, and whether there is one; none where it is known itself.
func OneOff(word string, known []string) (string, bool) {
	if slices.Contains(known, word) {
		return "", false
	}
	for _, k := range known {
		if edits(word, k) == 1 {
			return k, true
		}
	}
	return "", false
}

// statusWord is how people write what HTTP says; http_404 is how our types do.
var statusWord = regexp.MustCompile(`^(?:(?:http|status)[-_ ]?)?([1-5](?:[0-9]{2}|xx))$`)

// NearStatus returns the type of errors that a word for an HTTP code seems to mean, with a number in place of 4xx and the like: each code is a type of its
// own. Sure says that no function can mean it otherwise.
func NearStatus(word string) (meant string, sure bool) {
	m := statusWord.FindStringSubmatch(strings.ToLower(word))
	if m == nil || word == "http_"+m[1] && !strings.HasSuffix(m[1], "xx") {
		return "", false
	}
	return "http_" + strings.ReplaceAll(m[1], "xx", "22"), word != m[1] || strings.HasSuffix(m[1], "xx")
}
