package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/onward-router/onward/config/lang"
)

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, v lang.Value) []byte {
	if v.IsNull() {
		return append(b, 0)
	}
	return appendText(b, v.JSON())
}

func appendError(b []byte, e *lang.Error) []byte {
	if e == nil {
		return append(b, 0)
	}
	b = append(b, byte(e.Class))
	b = appendText(b, e.Type)
	b = appendText(b, e.Message)
	b = appendValue(b, e.Data)
	b = appendText(b, e.Path)
	b = binary.AppendUvarint(b, uint64(e.Attempt))
	return appendText(b, e.Invocation)
}

func appendOutcome(b []byte, o lang.Outcome) []byte {
	b = append(b, byte(o.Verdict))
	switch o.Verdict {
	case lang.Succeeded, lang.Continue:
		b = appendValue(b, o.Value)
	case lang.Failed, lang.Cancelled:
		b = appendError(b, o.Err)
	}
	return b
}

// A reader takes a payload apart; after the first error all it gives is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() {
	r.b, r.bad = nil, true
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) number() uint32 {
	v := r.uint()
	if v > 1<<32-1 {
		r.fail()
	}
	return uint32(v)
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a length of things that take at least one byte each, so that garbage cannot make us allocate.
func (r *reader) count() int {
	v := r.uint()
	if v > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) bytes() []byte {
	n := r.count()
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) value() lang.Value {
	if b := r.bytes(); len(b) > 0 {
		return lang.Trusted(string(b))
	}
	return lang.Null
}

func (r *reader) err() *lang.Error {
	class := lang.Class(r.byte())
	if class == 0 {
		return nil
	}
	if class > lang.ClassCancelled {
		r.fail()
		return nil
	}
	return &lang.Error{
		Class: class, Type: r.text(), Message: r.text(), Data: r.value(), Path: r.text(), Attempt: int(r.number()), Invocation: r.text(),
	}
}

func (r *reader) outcome() lang.Outcome {
	o := lang.Outcome{Verdict: lang.Verdict(r.byte())}
	switch o.Verdict {
	case lang.Succeeded, lang.Continue:
		o.Value = r.value()
	case lang.Failed:
		if o.Err = r.err(); o.Err == nil {
			r.fail()
		}
	case lang.Skipped:
	default:
		r.fail()
	}
	return o
}

// digest reads what appendDigest wrote.
func (r *reader) digest() (d lang.Digest) {
	if b := r.bytes(); len(b) == len(d) {
		copy(d[:], b)
	} else {
		r.fail()
	}
	return d
}

func appendDigest(b []byte, d lang.Digest) []byte { return appendText(b, string(d[:])) }

func (r *reader) end(what string) error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%s: %w", what, errFact)
	}
	return nil
}
