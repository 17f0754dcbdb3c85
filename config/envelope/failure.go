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
// "text"}. What is in none of the four is kept: then the data are all of it. problem says that type is an address.
func FailureOf(v lang.Value, problem bool) Failure {
	text := []byte(v.JSON())
	var outer, inner map[string]json.RawMessage
	switch {
	case text[0] == '"':
		message, _ := lang.TextOf(text)
		return Failure{Message: cut(message), Data: v}
	case text[0] != '{':
		return Failure{Data: v}
	}
	_ = json.Unmarshal(text, &outer) // It is an object.
	said, whole := outer, false
	if json.Unmarshal(outer["error"], &inner) == nil && inner != nil {
		said, whole = inner, len(outer) > 1
	}
	f := Failure{Class: textIn(said, "class")}
	if kind := textIn(said, "type"); !problem && isErrorType(kind) {
		f.Type = kind
	}
	for _, name := range []string{"message", "detail", "title", "error", "errorMessage"} {
		if f.Message == "" {
			f.Message = cut(textIn(said, name))
		}
	}
	for name := range said {
		if !(name == "type" && (f.Type != "" || isBlank(said[name])) || name == "message" && f.Message == textIn(said, name) || name == "class" && f.Class != "" || name == "data") {
			whole = true
		}
	}
	if data, ok := said["data"]; ok && !whole {
		f.Data = lang.Trusted(string(data))
	} else if whole {
		f.Data = v
	}
	return f
}

func isBlank(raw json.RawMessage) bool { return string(raw) == `""` || string(raw) == "null" }

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
