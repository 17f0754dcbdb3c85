package cesql

import (
	"fmt"
	"math"
	"strconv"
)

// A Kind is the type of a value.
type Kind uint8

// The kinds. The zero Kind is of an attribute, which may be any.
const (
	String Kind = iota + 1
	Integer
	Boolean
)

// String returns the kind's word.
func (k Kind) String() string {
	return [...]string{"value of any type", "string", "integer", "boolean"}[k]
}

// A Value is a string, an integer of 32 bits or a boolean. Values of the same kind compare with ==.
type Value struct {
	kind Kind
	text string
	n    int32
}

// Text makes a string.
func Text(s string) Value { return Value{kind: String, text: s} }

// Int makes an integer.
func Int(n int32) Value { return Value{kind: Integer, n: n} }

// Bool makes a boolean.
func Bool(b bool) Value {
	if b {
		return Value{kind: Boolean, n: 1}
	}
	return Value{kind: Boolean}
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// String returns the value's canonical text.
func (v Value) String() string {
	switch v.kind {
	case Integer:
		return strconv.Itoa(int(v.n))
	case Boolean:
		return strconv.FormatBool(v.n != 0)
	}
	return v.text
}

// IsTrue reports the boolean true.
func (v Value) IsTrue() bool { return v.kind == Boolean && v.n != 0 }

func zero(k Kind) Value {
	if k == 0 {
		k = Boolean // A missing attribute is false.
	}
	return Value{kind: k}
}

// An ErrorKind is the kind of an error, in the words of the specification.
type ErrorKind string

// The kinds of errors.
const (
	ParseError       ErrorKind = "parse"
	MathError        ErrorKind = "math"
	CastError        ErrorKind = "cast"
	MissingAttribute ErrorKind = "missingAttribute"
	MissingFunction  ErrorKind = "missingFunction"
	FunctionError    ErrorKind = "functionEvaluation"
	GenericError     ErrorKind = "generic"
)

// An Error is what is wrong with an expression (ParseError), or with it and one event. At is the character of the expression at which it stands, from 1.
type Error struct {
	Kind ErrorKind
	At   int
	What string
	Cure string
}

// Error says what is wrong, and where.
func (e *Error) Error() string {
	text := fmt.Sprintf("at character %d: %s", e.At, e.What)
	if e.Cure != "" {
		text += "; " + e.Cure
	}
	return text
}

// cast makes a value of another kind. The string is what is wrong.
func cast(v Value, to Kind) (Value, string) {
	switch {
	case v.kind == to || to == 0:
		return v, ""
	case to == String:
		return Text(v.String()), ""
	case to == Integer && v.kind == Boolean:
		return Int(v.n), ""
	case to == Boolean && v.kind == Integer:
		return Bool(v.n != 0), ""
	case to == Integer:
		n, err := strconv.ParseInt(v.text, 10, 32)
		if err != nil {
			return Int(0), fmt.Sprintf("%s is no integer of 32 bits", quoted(v.text))
		}
		return Int(int32(n)), ""
	}
	switch lower(v.text) {
	case "true":
		return Bool(true), ""
	case "false":
		return Bool(false), ""
	}
	return Bool(false), fmt.Sprintf("%s is neither true nor false", quoted(v.text))
}

// quoted is a text of an event, as far as it goes into a message.
func quoted(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}

// lower makes small letters of A to Z, and of no others: keywords and truths are ASCII.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// fits makes an integer of what 32 bits hold; ok is false for what they do not.
func fits(n int64) (v Value, ok bool) {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return Int(0), false
	}
	return Int(int32(n)), true
}
