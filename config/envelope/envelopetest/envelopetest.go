// Package envelopetest is the table of what foreign bytes are, and its judge: whatever door they come in by - web hook, Kafka record, a function's answer,
// a completion - they are the same event, or refused for the same reason.
package envelopetest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
)

// A Mode is how an event stands in a message.
type Mode uint8

// The modes.
const (
	Binary Mode = iota + 1
	Structured
	Batched
)

// A Door is where a message comes in.
type Door uint8

// The doors, which differ in what they can carry.
const (
	HTTP Door = 1 << iota
	Kafka
	Answer
)

// A Header is one, by its name on the wire of HTTP.
type Header struct{ Name, Value string }

// A Case is one message and what it is.
type Case struct {
	Name    string
	Mode    Mode
	Headers []Header
	Body    string
	// Want is "!" and a part of the reason, or the attributes that differ from id=1, source=/s, type=t, and the data: "subject=x | data=[1]", with bytes=
	// and base64 where the data are bytes; - is an attribute less. Events of a batch are parted by " || ".
	Want string
	// Doors are those where it is so; zero is all.
	Doors Door
	// Says is what a function's answer is where that is something else: an answer whose type says nothing is judged by its form.
	Says string
}

// At reports whether the case holds at a door. An answer is one event.
func (c *Case) At(d Door) bool {
	if d == Answer && (c.Mode == Batched || c.Doors&HTTP == 0 && c.Doors != 0) {
		return false
	}
	return d == Answer && c.Doors&HTTP != 0 || c.Doors == 0 || c.Doors&d != 0
}

// Header is the case's headers as net/http gives them to a handler.
func (c *Case) Header() http.Header {
	h := make(http.Header)
	for _, x := range c.Headers {
		h.Add(x.Name, x.Value)
	}
	return h
}

// Fields are the case's headers as a Kafka record has them: the attributes' names begin with ce_.
func (c *Case) Fields() []envelope.Field {
	var out []envelope.Field
	for _, x := range c.Headers {
		name := strings.ToLower(x.Name)
		if rest, ok := strings.CutPrefix(name, "ce-"); ok {
			name = "ce_" + rest
		}
		out = append(out, envelope.Field{Key: name, Value: []byte(x.Value)})
	}
	return out
}

// Describe says what an event is in the words of Want.
func Describe(e *event.Event) string {
	attributes := make(map[string]string)
	envelope.Each(e, func(name, text string) { attributes[name] = text })
	delete(attributes, "specversion")
	var out []string
	for name, usual := range map[string]string{"id": "1", "source": "/s", "type": "t"} {
		if attributes[name] == usual {
			delete(attributes, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		out = append(out, name+"="+attributes[name])
	}
	v, err := envelope.Value(e)
	word := "data="
	if e.DataEncoded != nil && isBytes(e) {
		text := v.JSON()
		return strings.Join(append(out, "bytes="+text[1:len(text)-1]), " | ")
	}
	if err != nil {
		word += "!" + err.Error()
	}
	return strings.Join(append(out, word+v.JSON()), " | ")
}

// isBytes tells bytes from texts and JSON: they may be any.
func isBytes(e *event.Event) bool {
	bytes := event.Event{Context: e.Context, DataEncoded: []byte{0xff}, DataBase64: e.DataBase64}
	_, err := envelope.Value(&bytes)
	return err == nil
}

// Judge compares what a door made of a case with what it is; empty is right.
func (c *Case) Judge(events []event.Event, err error) string {
	if reason, refused := strings.CutPrefix(c.Want, "!"); refused {
		if err == nil || !strings.Contains(err.Error(), reason) {
			return fmt.Sprintf("%v; want a refusal with %q", describe(events, err), reason)
		}
		return ""
	}
	if got := describe(events, err); got != c.want() {
		return fmt.Sprintf("\n%s; want\n%s", got, c.want())
	}
	return ""
}

func describe(events []event.Event, err error) string {
	if err != nil {
		return "!" + err.Error()
	}
	var out []string
	for i := range events {
		out = append(out, Describe(&events[i]))
	}
	return strings.Join(out, " || ")
}

// want is Want with what goes without saying: the content type of binary mode, no data, and attributes in their order.
func (c *Case) want() string {
	var out []string
	for _, one := range strings.Split(c.Want, " || ") {
		parts := []string{}
		data := "data=null"
		typed := false
		for _, p := range strings.Split(one, " | ") {
			switch {
			case strings.HasPrefix(p, "data=") || strings.HasPrefix(p, "bytes="):
				data = p
			case p != "":
				typed = typed || strings.HasPrefix(p, "datacontenttype=")
				parts = append(parts, p)
			}
		}
		if content := c.Header().Get("Content-Type"); c.Mode == Binary && content != "" && !typed {
			parts = append(parts, "datacontenttype="+content)
		}
		slices.Sort(parts)
		out = append(out, strings.Join(append(parts, data), " | "))
	}
	if c.Want == "" && c.Mode == Batched {
		return ""
	}
	return strings.Join(out, " || ")
}

// Answered is the value that a function's answer has, and whether it is refused: with which reason.
func (c *Case) Answered() (value, reason string) {
	if c.Says != "" {
		if r, refused := strings.CutPrefix(c.Says, "!"); refused {
			return "", r
		}
		return c.Says, ""
	}
	if r, refused := strings.CutPrefix(c.Want, "!"); refused {
		return "", r
	}
	content := ""
	if c.Mode == Binary {
		content = c.Header().Get("Content-Type")
	}
	for _, p := range strings.Split(c.want(), " | ") {
		if v, ok := strings.CutPrefix(p, "datacontenttype="); ok {
			content = v
		}
		if v, ok := strings.CutPrefix(p, "data="); ok {
			return v, ""
		}
		if v, ok := strings.CutPrefix(p, "bytes="); ok && content != "" {
			return fmt.Sprintf(`{"datacontenttype":%q,"data_base64":%q}`, content, v), ""
		} else if ok {
			return fmt.Sprintf(`{"data_base64":%q}`, v), ""
		}
	}
	return "null", ""
}
