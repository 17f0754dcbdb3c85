package envelope

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/onward-router/onward/config/lang"
)

// The bounds of what a failure says; what is longer stays in its data.
const (
	maxErrorType    = 256
	maxErrorMessage = 4 << 10
)

// A Failure is what the body of a failed answer, or the data of a failed completion, says. What it does not say is empty.
type Failure struct {
	Type, Message, Class string
	Data                 lang.Value
}

// FailureOf reads {type, message, class, data}, alone or under error, and what others answer: problem reports (RFC 9457), {"detail": ...}, {"error":
// "text"}. Where a function does not say data itself, they are all that it said beyond type, message and class. problem says that type is an address.
func FailureOf(v lang.Value, problem bool) Failure {
	text := []byte(v.JSON())
	var said, inner map[string]json.RawMessage
	switch {
	case text[0] == '"':
		message, _ := lang.TextOf(text)
		return Failure{Message: cut(message), Data: v}
	case text[0] != '{':
		return Failure{Data: v}
	}
	_ = json.Unmarshal(text, &said) // It is an object.
	beyond := false
	if problem {
		return problemOf(v, said)
	}
	if json.Unmarshal(said["error"], &inner) == nil && inner != nil {
		said, beyond = inner, len(said) > 1
	}
	f := Failure{Class: textIn(said, "class")}
	if kind := textIn(said, "type"); isErrorType(kind) {
		f.Type = kind
	}
	from := ""
	for _, from = range []string{"message", "detail", "title", "error", "errorMessage", ""} {
		if f.Message = cut(textIn(said, from)); f.Message != "" {
			break
		}
	}
	if data, ok := said["data"]; ok && (f.Type != "" || from == "message") {
		f.Data = lang.Trusted(string(data))
		return f
	}
	for name := range said {
		switch name {
		case "type":
			beyond = beyond || f.Type == ""
		case "message":
			beyond = beyond || from != "message" || strings.HasSuffix(f.Message, "...")
		case "class":
			beyond = beyond || f.Class == ""
		default:
			beyond = true
		}
	}
	if beyond {
		f.Data = v
	}
	return f
}

// problemOf reads a problem report: its members are the specification's, whatever its extensions are called, and a member of a wrong type is as good as none
// (RFC 9457, section 3.1). All of it is the data.
func problemOf(v lang.Value, said map[string]json.RawMessage) Failure {
	f := Failure{Data: v}
	for _, from := range []string{"detail", "title", "message"} {
		if f.Message = cut(textIn(said, from)); f.Message != "" {
			break
		}
	}
	return f
}

// isErrorType tells a word, such as a class of exceptions, from an address.
func isErrorType(s string) bool {
	return s != "" && len(s) <= maxErrorType && !strings.Contains(s, "://") && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "about:") && !strings.HasPrefix(s, "urn:") && checkText("type", s) == nil
}

func textIn(object map[string]json.RawMessage, name string) string {
	text, _ := lang.TextOf(object[name])
	return text
}

// cut bounds a message.
func cut(s string) string {
	if len(s) <= maxErrorMessage {
		return s
	}
	n := maxErrorMessage
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
