package envelope

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
)

// An Outgoing is an event on its way out, which may be made only when somebody needs all of it. Its methods may be called concurrently.
type Outgoing interface {
	ID() string
	// Event returns it whole, the same each time. It is read-only.
	Event() *event.Event
	// AppendJSON appends what Append does of the event.
	AppendJSON(b []byte) ([]byte, error)
}

// Made is an event that is whole.
func Made(e *event.Event) Outgoing { return made{e} }

type made struct{ e *event.Event }

func (m made) ID() string                          { return m.e.ID() }
func (m made) Event() *event.Event                 { return m.e }
func (m made) AppendJSON(b []byte) ([]byte, error) { return Append(b, m.e) }

// WriteHeaders writes an event's attributes as headers (HTTP binding 1.0, section 3.1.3).
func WriteHeaders(h http.Header, e *event.Event) {
	values := make([]string, 0, 16)
	Each(e, func(name, text string) {
		key := "Content-Type"
		if name != "datacontenttype" {
			key, text = headerKey(name), EncodeHeader(text)
		}
		values = append(values, text)
		h[key] = slices.Clip(values[len(values)-1:])
	})
}

// headerKey is an attribute's header, as net/http spells it.
func headerKey(name string) string {
	if key, ok := headers[name]; ok {
		return key
	}
	return "Ce-" + strings.ToUpper(name[:1]) + name[1:]
}

// headers are the keys of those that nearly every event has.
var headers = func() map[string]string {
	keys := make(map[string]string, len(spelled))
	for key, name := range spelled {
		keys[name] = "Ce-" + key
	}
	return keys
}()

// EncodeHeader percent-encodes what may not stand in a header: all but printable ASCII, and space, quote and percent (section 3.1.3.2).
func EncodeHeader(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Marshal writes an event in the JSON format, its attributes as Each gives them, then its data. The error is of data that are not what their type says.
// (The SDK's own writer makes a text of JSON whose type is not application/json.)
func Marshal(e *event.Event) ([]byte, error) { return Append(nil, e) }

// Append appends what Marshal writes.
func Append(b []byte, e *event.Event) ([]byte, error) {
	v, err := Value(e)
	if err != nil {
		return nil, err
	}
	b = append(slices.Grow(b, 512+v.Size()), '{')
	extensions := extensionsOf(e)
	Each(e, func(name, text string) {
		b = append(lang.AppendString(b, name), ':')
		switch extensions[name].(type) {
		case bool, int32:
			b = append(b, text...)
		default:
			b = lang.AppendString(b, text)
		}
		b = append(b, ',')
	})
	switch m, _ := mediaOf(e.DataContentType()); {
	case e.DataEncoded == nil:
		return append(b[:len(b)-1], '}'), nil
	case m.form == asBytes && (m.name != "" || e.DataBase64):
		b = append(b, `"data_base64":`...)
	default:
		b = append(b, `"data":`...)
	}
	return append(append(b, v.JSON()...), '}'), nil
}
