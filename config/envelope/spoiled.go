package envelope

import "github.com/cloudevents/sdk-go/v2/event"

// fieldData is the name under which a spoiled event keeps what is wrong with it.
const fieldData = "data"

// Spoiled returns what is wrong with the data of an event that was read all the same, else nil. A completion that names an invocation is: were it refused
// like any bad event, its run would wait for a time-out and never hear what is wrong. The bytes that came - of an event in JSON all of its text - are
// its data, which nobody may take for more.
func Spoiled(e *event.Event) error { return e.FieldErrors[fieldData] }

// Mended is a spoiled event without its data: what its attributes alone say.
func Mended(e *event.Event) event.Event {
	return event.Event{Context: e.Context}
}

// answers reports a draft that says of which invocation it is the outcome.
func (d *draft) answers() bool {
	cause, _ := d.ctx.Extensions["causationid"].(string)
	return cause != "" && IsCompletion(d.ctx.Type) && d.complete() == nil
}

// spoiled is the event of a completion whose data are not what they are said to be; any other is refused.
func (d *draft) spoiled(came []byte, why error) (event.Event, error) {
	if !d.answers() {
		return event.Event{}, why
	}
	return event.Event{Context: &d.ctx, DataEncoded: came, DataBase64: true, FieldErrors: map[string]error{fieldData: why}}, nil
}
