package envelope

import "fmt"

// A Reason is what kind of refusal it is.
type Reason uint8

// The reasons.
const (
	Invalid     Reason = iota + 1 // it is meant as an event and is not a valid one
	TooLarge                      // it is larger than the door takes
	Unsupported                   // a media type or an encoding that is not read
	NoEvent                       // nothing says that it is an event
)

var reasons = [...]string{Invalid: "invalid", TooLarge: "too large", Unsupported: "unsupported", NoEvent: "no event"}

// String returns the reason's words.
func (r Reason) String() string { return reasons[r] }

// A Refusal is why bytes are no event. What names the field, and ends in a cure where there is one.
type Refusal struct {
	Reason Reason
	What   string
}

// Error returns what is wrong.
func (r *Refusal) Error() string { return r.What }

func invalid(format string, args ...any) error {
	return &Refusal{Invalid, fmt.Sprintf(format, args...)}
}

func tooLarge(what string, limit int) error {
	return &Refusal{TooLarge, fmt.Sprintf("%s more than %d bytes; pass large data by reference (dataref)", what, limit)}
}

func unsupported(format string, args ...any) error {
	return &Refusal{Unsupported, fmt.Sprintf(format, args...)}
}
