// Package wait is the policy that waits for a while, or until a time.
package wait

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Wait yields its own input. A time that has passed is no wait. The timer is journaled: it survives the router.
type Wait struct {
	For   lang.Expr `doc:"for,value" help:"a duration such as 30s, or an expression that yields one, or a number of seconds"`
	Until lang.Expr `doc:"until" help:"a time by RFC 3339, or seconds since 1970"`
}

// State is empty.
type State struct{}

const timer = "wait"

// Next sets the timer, and ends when it fires.
func (p *Wait) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		d, err := p.duration(f)
		if err != nil {
			return err
		}
		if d <= 0 {
			f.Succeed(f.Input())
			return nil
		}
		f.After(timer, d)
	case schedulers.Fired:
		f.Succeed(f.Input())
	}
	return nil
}

func (p *Wait) duration(f schedulers.Scope) (time.Duration, error) {
	if !p.For.IsZero() {
		v, err := f.Eval(p.For, nil)
		if err != nil {
			return 0, err
		}
		return parseFor(v)
	}
	v, err := f.Eval(p.Until, nil)
	if err != nil {
		return 0, err
	}
	at, err := parseUntil(v)
	if err != nil {
		return 0, err
	}
	d := at.Sub(f.Now())
	if d > schedulers.LongestSpan {
		return 0, bad("until: %.80s is more than 100 years away", v.JSON())
	}
	return d, nil
}

func bad(format string, a ...any) error {
	return &lang.Error{Type: "bad_wait", Class: lang.ClassFunction, Message: fmt.Sprintf(format, a...)}
}

func parseFor(v lang.Value) (time.Duration, error) {
	d, ok := schedulers.Span(v)
	if !ok && v.JSON()[0] == '"' {
		return 0, bad("for: %.80s is not a duration up to 100 years; write 30s, 5m or 24h", v.JSON())
	}
	if !ok {
		return 0, bad("for: %.80s is neither a duration nor a number of seconds", v.JSON())
	}
	return d, nil
}

func parseUntil(v lang.Value) (time.Time, error) {
	var text string
	if v.Decode(&text) == nil && !v.IsNull() {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return time.Time{}, bad("until: %q is not a time by RFC 3339, such as 2030-01-31T12:00:00Z", text)
		}
		return at, nil
	}
	seconds, err := strconv.ParseFloat(v.JSON(), 64)
	if err != nil || !(seconds > -1e11 && seconds < 1e11) {
		return time.Time{}, bad("until: %.80s is neither a time nor seconds since 1970", v.JSON())
	}
	whole := math.Floor(seconds) // All in nanoseconds would overflow from the year 2262 on.
	return time.Unix(int64(whole), int64((seconds-whole)*float64(time.Second))), nil
}

// Check reports a wait for both or neither, and constants that cannot be.
func (p *Wait) Check() []plugin.Problem {
	if p.For.IsZero() == p.Until.IsZero() {
		return []plugin.Problem{{What: "a wait says either for or until", Cure: "write wait: 30s, or wait: { until: ... }"}}
	}
	var err error
	if v, constant := p.For.Const(); constant {
		_, err = parseFor(v)
	} else if v, constant := p.Until.Const(); constant {
		_, err = parseUntil(v)
	}
	if e, ok := err.(*lang.Error); ok {
		return []plugin.Problem{{What: e.Message}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Wait) Schema() plugin.Schema {
	never := plugin.Schema{"type": []any{"null", "boolean"}}
	return plugin.Schema{
		"oneOf": []any{plugin.Schema{"required": []any{"for"}}, plugin.Schema{"required": []any{"until"}}},
		"properties": plugin.Schema{
			"for":   plugin.Schema{"not": never, "minimum": 0, "pattern": plugin.DurationPattern},
			"until": plugin.Schema{"not": never, "pattern": `\$\{|^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,2}:[0-9]{2}:[0-9]{2}`},
		},
	}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Wait, State](r, "wait", 1, "Waits for a while, or until a time, by a timer that survives the router.")
}

// Sketch is how long it waits.
func (p *Wait) Sketch() schedulers.Sketch {
	if p.For.IsZero() {
		return schedulers.Sketch{Caption: p.Until.Source()}
	}
	return schedulers.Sketch{Caption: p.For.Source()}
}
