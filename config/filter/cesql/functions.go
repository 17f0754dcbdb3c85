package cesql

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// MaxString bounds a text that an evaluation makes, in bytes.
const MaxString = 64 << 10

// A function is one of the language's own: what it takes, cast to these kinds, and what it yields. The last kind of a variadic one is that of all further
// arguments, of which there may be none.
type function struct {
	name     string
	takes    []Kind
	variadic bool
	yields   Kind
	do       func(a []Value) (Value, ErrorKind, string) // the last two are what is wrong
}

func fine(v Value) (Value, ErrorKind, string) { return v, "", "" }

func ofText(f func(string) string) func(a []Value) (Value, ErrorKind, string) {
	return func(a []Value) (Value, ErrorKind, string) { return fine(Text(f(a[0].text))) }
}

var functions = []function{
	{name: "int", takes: []Kind{0}, yields: Integer, do: casting(Integer)},
	{name: "bool", takes: []Kind{0}, yields: Boolean, do: casting(Boolean)},
	{name: "string", takes: []Kind{0}, yields: String, do: casting(String)},
	{name: "abs", takes: []Kind{Integer}, yields: Integer, do: func(a []Value) (Value, ErrorKind, string) {
		if a[0].n == math.MinInt32 {
			return Int(math.MaxInt32), MathError, "the absolute value has no place in 32 bits"
		}
		return fine(Int(max(a[0].n, -a[0].n)))
	}},
	{name: "length", takes: []Kind{String}, yields: Integer, do: func(a []Value) (Value, ErrorKind, string) {
		return fine(Int(int32(utf8.RuneCountInString(a[0].text))))
	}},
	{name: "concat", takes: []Kind{String}, variadic: true, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		return joined("", a)
	}},
	{name: "concat_ws", takes: []Kind{String, String}, variadic: true, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		return joined(a[0].text, a[1:])
	}},
	{name: "lower", takes: []Kind{String}, yields: String, do: ofText(strings.ToLower)},
	{name: "upper", takes: []Kind{String}, yields: String, do: ofText(strings.ToUpper)},
	{name: "trim", takes: []Kind{String}, yields: String, do: ofText(strings.TrimSpace)},
	{name: "left", takes: []Kind{String, Integer}, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		if a[1].n < 0 {
			return a[0], FunctionError, fmt.Sprintf("LEFT of %d characters", a[1].n)
		}
		return fine(Text(a[0].text[:place(a[0].text, int(a[1].n))]))
	}},
	{name: "right", takes: []Kind{String, Integer}, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		if a[1].n < 0 {
			return a[0], FunctionError, fmt.Sprintf("RIGHT of %d characters", a[1].n)
		}
		return fine(Text(a[0].text[place(a[0].text, max(utf8.RuneCountInString(a[0].text)-int(a[1].n), 0)):]))
	}},
	{name: "substring", takes: []Kind{String, Integer}, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		return substring(a[0].text, int(a[1].n), math.MaxInt32)
	}},
	{name: "substring", takes: []Kind{String, Integer, Integer}, yields: String, do: func(a []Value) (Value, ErrorKind, string) {
		return substring(a[0].text, int(a[1].n), int(a[2].n))
	}},
}

// functionOf returns the function of a name that takes so many arguments; nil when there is none.
func functionOf(name string, arguments int) *function {
	for i := range functions {
		f := &functions[i]
		if f.name == name && (len(f.takes) == arguments || f.variadic && arguments >= len(f.takes)-1) {
			return f
		}
	}
	return nil
}

func (f *function) kindOf(argument int) Kind { return f.takes[min(argument, len(f.takes)-1)] }

func casting(to Kind) func(a []Value) (Value, ErrorKind, string) {
	return func(a []Value) (Value, ErrorKind, string) {
		v, wrong := cast(a[0], to)
		if wrong != "" {
			return v, CastError, wrong
		}
		return fine(v)
	}
}

func joined(between string, a []Value) (Value, ErrorKind, string) {
	var b strings.Builder
	for i := range a {
		if i > 0 {
			b.WriteString(between)
		}
		if b.WriteString(a[i].text); b.Len() > MaxString {
			return Text(""), GenericError, fmt.Sprintf("a text of more than %d bytes", MaxString)
		}
	}
	return fine(Text(b.String()))
}

// place returns the byte at which character n stands, from 0; the end when there are fewer.
func place(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// substring takes up to n characters from a place on, which counts from 1, or from -1 at the end.
func substring(s string, from, n int) (Value, ErrorKind, string) {
	length := utf8.RuneCountInString(s)
	switch {
	case n < 0:
		return Text(""), FunctionError, fmt.Sprintf("SUBSTRING of %d characters", n)
	case from > length || from < -length:
		return Text(""), FunctionError, fmt.Sprintf("SUBSTRING from character %d, and the text has %d", from, length)
	case from == 0:
		return fine(Text(""))
	case from < 0:
		from += length + 1
	}
	begin := place(s, from-1)
	return fine(Text(s[begin : begin+place(s[begin:], n)]))
}
