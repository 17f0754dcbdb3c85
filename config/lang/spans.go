package lang

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

// A Span is a duration that a document writes out, or an expression that yields one: a text such as "30s", a number of seconds, or null, which is as if
// nothing had been said. At most one of the two is set. A constant is written in a definition as a plugin.Duration is.
type Span struct {
	Const plugin.Duration `doc:"-"`
	Expr  Expr            `doc:"-"`
}

// MaxSpan bounds durations; a longer one is a mistake, and time.Duration overflows at 292 years.
const MaxSpan = 100 * 365 * 24 * time.Hour

// IsZero reports whether the document said nothing, or 0.
func (s Span) IsZero() bool { return s.Const == 0 && s.Expr.IsZero() }

// D is the duration of a constant.
func (s Span) D() time.Duration { return s.Const.D() }

// String returns it as a document writes it.
func (s Span) String() string {
	if !s.Expr.IsZero() {
		return s.Expr.Source()
	}
	return s.Const.D().String()
}

// Value returns the duration; eval is asked for what an expression yields. The error is one of eval's, or of type bad_duration.
func (s Span) Value(key string, eval func(Expr) (Value, error)) (time.Duration, error) {
	if s.Expr.IsZero() {
		return s.Const.D(), nil
	}
	v, err := eval(s.Expr)
	if err != nil || v.IsNull() {
		return 0, err
	}
	d, ok := ParseSpan(v)
	if !ok || d == 0 {
		return 0, Failf(ClassFunction, "bad_duration", "%s: %s yields %.80s, and that is no duration above 0 and up to 100 years, such as \"30s\" or a number of seconds", key, s.Expr.Source(), v.JSON())
	}
	return d, nil
}

// ParseSpan reads a duration from 0 to MaxSpan: a text such as "30s", or a number of seconds.
func ParseSpan(v Value) (time.Duration, bool) {
	var text string
	if v.Decode(&text) == nil && !v.IsNull() {
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= 0 && d <= MaxSpan
	}
	seconds, err := strconv.ParseFloat(v.JSON(), 64)
	if err != nil || !(seconds >= 0 && seconds <= MaxSpan.Seconds()) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// evaluated reports whether a node is an expression rather than a constant.
func evaluated(n *Node) bool { return n.Kind == ScalarNode && strings.Contains(n.Value.JSON(), "${") }

// UnmarshalNode reads a duration or an expression.
func (s *Span) UnmarshalNode(n *Node, decode func(*Node, any)) []plugin.Problem {
	if !evaluated(n) {
		decode(n, &s.Const)
		return nil
	}
	decode(n, &s.Expr)
	switch kind := s.Expr.Kind(); kind {
	case KindAny, KindText, "number", "null":
		if _, constant := s.Expr.Const(); !constant {
			return nil
		}
	}
	return []plugin.Problem{{What: fmt.Sprintf("a duration is due here, and %s never yields one", s.Expr.Source()), Cure: "write one such as 30s, or an expression that yields one"}}
}

// MarshalNode writes what was read.
func (s Span) MarshalNode() Value {
	if !s.Expr.IsZero() {
		return s.Expr.t.doc
	}
	return Of(s.Const)
}

// MarshalJSON writes the same.
func (s Span) MarshalJSON() ([]byte, error) { return s.MarshalNode().MarshalJSON() }

// Schema is the form of a duration or an expression.
func (Span) Schema() plugin.Schema {
	return plugin.Schema{
		"description": "a duration such as 200ms, 30s, 5m or 24h, or an expression that yields one, or a number of seconds, or null for none",
		"anyOf":       []any{reference("duration"), plugin.Schema{"$ref": "#/$defs/expression", "type": "string", "pattern": `\$\{`}},
	}
}
