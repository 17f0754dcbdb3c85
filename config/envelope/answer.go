package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
)

// The types of completions (DESIGN 7).
const (
	Succeeded = "dev.onward.function.succeeded"
	Failed    = "dev.onward.function.failed"
	Continue  = "dev.onward.function.continue"
)

// Ticket is the attribute of an event which says that a call is done that its function's platform knows by that.
const Ticket = "onwardticket"

// An Answer is what a function has answered.
type Answer struct {
	// Type is the event's, where the answer is one.
	Type string
	// Value is its data: JSON, a text, or bytes as an object of datacontenttype and data_base64, as the JSON format of events has them.
	Value lang.Value
	// Problem says that it is a problem report (RFC 9457), whose type is an address and no error type.
	Problem bool
}

// Text returns the value where it is a text.
func (a Answer) Text() (string, bool) { return lang.TextOf([]byte(a.Value.JSON())) }

// FromAnswer reads the response of a function. The error is why it is no answer: malformed, or larger than limit.
//
// Where the type says nothing - none, or what servers put in of themselves, text/plain and application/octet-stream - an answer that is JSON is JSON;
// else a text is a text and octets are bytes.
func FromAnswer(header http.Header, body []byte, limit int) (Answer, error) {
	var a Answer
	content, err := single(header, "Content-Type")
	if err != nil {
		return a, err
	}
	encoding, err := single(header, "Content-Encoding")
	if err != nil {
		return a, err
	}
	h, err := newHead(content, encoding, true)
	if err != nil {
		return a, err
	}
	if h.mode == batchMode {
		return a, invalid("a batch of events is no answer; answer with one event, or with data")
	}
	if h.unread != nil {
		return a, h.unread
	}
	if h.mode == structuredMode {
		events, _, err := h.Read(body, Limits{Event: limit})
		if err == nil {
			err = Spoiled(&events[0])
		}
		if err != nil {
			return a, err
		}
		return eventAnswer(&events[0])
	}
	if len(header["Ce-Specversion"]) > 0 {
		if err := h.draft.headers(header); err != nil {
			return a, err
		}
		a.Type = h.draft.ctx.Type
	} else if v := header["Ce-Type"]; len(v) == 1 && IsCompletion(v[0]) {
		a.Type = v[0] // A function that says no more than how it went.
	}
	if body, err = h.plain(body, limit); err != nil {
		return a, err
	}
	a.Problem = strings.HasPrefix(h.media.name, "application/problem+")
	a.Value, err = plainValue(h.media, content, body)
	return a, err
}

func eventAnswer(e *event.Event) (Answer, error) {
	a := Answer{Type: e.Type()}
	m, err := mediaOf(e.DataContentType())
	if err != nil {
		return a, err
	}
	if e.DataEncoded != nil && m.form == asBytes && (m.name != "" || e.DataBase64) {
		a.Value = octets(e.DataContentType(), e.DataEncoded)
		return a, nil
	}
	a.Value, err = Value(e)
	return a, err
}

func octets(contentType string, b []byte) lang.Value {
	data := lang.Member{Key: "data_base64", Value: lang.Text(base64.StdEncoding.EncodeToString(b))}
	if contentType == "" {
		return lang.Object(data)
	}
	return lang.Object(lang.Member{Key: "datacontenttype", Value: lang.Text(contentType)}, data)
}

// plainValue makes a value of a body.
func plainValue(m media, content string, body []byte) (lang.Value, error) {
	if len(body) == 0 {
		return lang.Null, nil
	}
	unsaid := m.name == "" || m.name == "text/plain" || m.name == "application/octet-stream"
	if m.name == "text/html" || m.name == "application/xhtml+xml" {
		return lang.Null, invalid("it is an HTML page; answer with JSON")
	}
	if m.form != asBytes {
		var err error
		if body, err = m.decode(body); err != nil {
			return lang.Null, err
		}
	}
	if m.form == asJSON || unsaid {
		v, err := lang.ParseValue(unmarked(body))
		if err == nil {
			return v, nil
		}
		if errors.Is(err, lang.ErrUnfit) {
			return lang.Null, invalid("it is %v", err)
		}
		if !unsaid {
			return lang.Null, invalid("it is not JSON, and its content type says that it is: %v", err)
		}
	}
	if m.form == asText || m.name == "" && utf8.Valid(body) {
		return lang.Text(string(body)), nil
	}
	return octets(content, body), nil
}

// Printed reads what a program printed: JSON, or a text, for nothing describes it. Nothing is null.
func Printed(b []byte) (lang.Value, error) {
	out := bytes.TrimSpace(unmarked(b))
	if len(out) == 0 {
		return lang.Null, nil
	}
	v, err := lang.ParseValue(out)
	switch {
	case err == nil:
		return v, nil
	case !utf8.Valid(b):
		return lang.Null, invalid("it is not UTF-8; print JSON, a text, or base64")
	case errors.Is(err, lang.ErrUnfit):
		return lang.Null, invalid("it is %v", err)
	}
	return lang.Text(string(b)), nil
}
