// Package traceparent is W3C's trace context: which trace something belongs to, and below which span.
//
// What is no trace context is none: who sends garbage in such a header has no trace, and no error.
package traceparent

import "encoding/hex"

// The names of the two, as headers, as attributes of events (the CloudEvents extension for distributed tracing) and in Kafka's records.
const (
	Parent = "traceparent"
	State  = "tracestate"
)

// length is that of a text of version 00: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.
const length = 55

// StateMost bounds a tracestate: a longer one may be left out (W3C asks for 512 to be kept), and an event's attribute has 1 KiB at most.
const StateMost = 1024

// A Context names a span, and so its trace. The zero Context names none. It is never changed.
type Context struct {
	Parent string // as Valid says
	State  string // what systems of tracing pass on beside it; may be empty
}

// Of makes a context of what somebody sent; false when that is none. A state that is none is left out.
func Of(parent, state string) (Context, bool) {
	if !Valid(parent) {
		return Context{}, false
	}
	if !validState(state) {
		state = ""
	}
	return Context{parent, state}, true
}

// Valid reports whether a text is a traceparent: of version 00, or as much of a later one as 00 knows.
func Valid(text string) bool {
	if len(text) < length || text[:2] == "ff" || len(text) > length && (text[:2] == "00" || text[length] != '-') {
		return false
	}
	trace, span := byte('0'), byte('0')
	for i := range length {
		c := text[i]
		if i == 2 || i == 35 || i == 52 {
			if c != '-' {
				return false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		if i > 2 && i < 35 {
			trace |= c
		} else if i > 35 && i < 52 {
			span |= c
		}
	}
	return trace != '0' && span != '0' // Of nothing but zeros they say that there is none.
}

func validState(text string) bool {
	if len(text) > StateMost {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// New names a span.
func New(trace [16]byte, span [8]byte, sampled bool, state string) Context {
	b := make([]byte, 0, length)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	flags := "-00"
	if sampled {
		flags = "-01"
	}
	return Context{string(append(b, flags...)), state}
}

// Trace returns the trace's id; of the zero Context it is zero.
func (c *Context) Trace() (id [16]byte) {
	if len(c.Parent) >= length {
		_, _ = hex.Decode(id[:], []byte(c.Parent[3:35])) // It is valid.
	}
	return id
}

// Span returns the span's id; of the zero Context it is zero.
func (c *Context) Span() (id [8]byte) {
	if len(c.Parent) >= length {
		_, _ = hex.Decode(id[:], []byte(c.Parent[36:52]))
	}
	return id
}

// Sampled reports whether its sender keeps the trace.
func (c *Context) Sampled() bool {
	if len(c.Parent) < length {
		return false
	}
	last := c.Parent[54]
	digit := last - '0'
	if last >= 'a' {
		digit = last - 'a' + 10
	}
	return digit&1 != 0
}
