// Package lang is the language of flows: JSON values, expressions over them, and the tree of steps.
//
// Everything in it is pure: no clock, no randomness, no I/O, and no dependence on Go's map order, because the engine folds with it.
package lang

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// A Value is an immutable JSON value: its text, compact. The zero Value is null. Values compare with ==, by text.
//
// The text of a value that came from outside keeps its author's key order and number forms; what an expression produces is canonical
// (sorted keys, shortest numbers).
type Value struct{ text string }

// Null is the JSON null.
var Null Value

// ParseValue checks that text is one JSON value - in UTF-8, without half surrogates, nested no deeper than MaxNesting - and returns it compacted.
func ParseValue(text []byte) (Value, error) {
	s := scanner{b: text}
	if err := s.document(); err != nil {
		return Null, err
	}
	if s.blanks {
		text = compact(text)
	}
	return Trusted(string(text)), nil
}

// Trusted wraps text that is already known to be one compact JSON value, without a check.
func Trusted(text string) Value {
	if text == "null" {
		return Null
	}
	return Value{text}
}

// Of returns the value that encoding/json writes for v. It panics when v cannot be encoded: a programmer's error.
func Of(v any) Value {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("lang: value of %T: %v", v, err))
	}
	return Trusted(string(bytes.TrimRight(b.Bytes(), "\n")))
}

// JSON returns the text of v.
func (v Value) JSON() string {
	if v.text == "" {
		return "null"
	}
	return v.text
}

// Size returns the length of v's text in bytes.
func (v Value) Size() int { return len(v.JSON()) }

// TooDeep reports whether v is nested deeper than MaxNesting: such a value is kept nowhere.
func (v Value) TooDeep() bool { return !v.fits(MaxNesting) }

// fits reports whether v is nested no deeper than depth.
func (v Value) fits(depth int) bool {
	// Counting is much faster than looking, and nearly always enough.
	if strings.Count(v.text, "[")+strings.Count(v.text, "{") <= depth {
		return true
	}
	at := 0
	for i := 0; i < len(v.text); i++ {
		switch v.text[i] {
		case '"':
			for i++; i < len(v.text) && v.text[i] != '"'; i++ {
				if v.text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if at++; at > depth {
				return false
			}
		case ']', '}':
			at--
		}
	}
	return true
}

// IsNull reports whether v is the JSON null.
func (v Value) IsNull() bool { return v.text == "" }

// Decode unmarshals v into dst by encoding/json's rules.
func (v Value) Decode(dst any) error { return json.Unmarshal([]byte(v.JSON()), dst) }

// MarshalJSON writes v's text.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(v.JSON()), nil }

// UnmarshalJSON takes the text as it is, compacted.
func (v *Value) UnmarshalJSON(text []byte) error {
	parsed, err := ParseValue(text)
	*v = parsed
	return err
}

// String returns the JSON text.
func (v Value) String() string { return v.JSON() }

// List returns the JSON list of the given values.
func List(values ...Value) Value {
	n := 2
	for _, v := range values {
		n += len(v.text) + 5
	}
	b := make([]byte, 0, n)
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v.JSON()...)
	}
	return Trusted(string(append(b, ']')))
}

// A Member is one key of an object with its value.
type Member struct {
	Key   string
	Value Value
}

// Object returns the JSON object of the given members, in the given order.
func Object(members ...Member) Value {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, m.Key)
		b = append(b, ':')
		b = append(b, m.Value.JSON()...)
	}
	return Trusted(string(append(b, '}')))
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	begin, from := len(b), 0
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(append(b, s[from:i]...), '\\')
			from = i
		case c < 0x20 || c >= 0x7f:
			return append(b[:begin], Of(s).JSON()...)
		}
	}
	return append(append(b, s[from:]...), '"')
}

// Text returns the JSON string of s.
func Text(s string) Value { return Trusted(string(AppendString(nil, s))) }
