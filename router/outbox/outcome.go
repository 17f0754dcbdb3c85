package outbox

import (
	"strings"

	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/sinks"
)

// outcomeOf makes an outcome of what a sink reports. An answer over which that panics is a bad one.
func outcomeOf(r sinks.Result, limit int) (out lang.Outcome) {
	if err := guard.Do("answer", func() { out = translate(r, limit) }); err != nil {
		out = lang.Failure(&lang.Error{Type: "bad_response", Message: err.Error(), Class: lang.ClassPlatform})
	}
	return out
}

func translate(r sinks.Result, limit int) lang.Outcome {
	if r.Verdict == sinks.Failed {
		return lang.Failure(errorFrom(r.Err, limit))
	}
	c := r.Completion
	if c.Err != nil {
		return lang.Failure(errorFrom(c.Err, limit))
	}
	if len(c.Data) > limit {
		return lang.Failure(engine.TooLarge(len(c.Data), limit))
	}
	v, err := lang.ParseValue(c.Data)
	if err != nil {
		return lang.Failure(&lang.Error{Type: "bad_response", Message: "the function's answer is not JSON: " + err.Error(), Class: lang.ClassPlatform})
	}
	if c.Continue {
		return lang.Outcome{Verdict: lang.Continue, Value: v}
	}
	return lang.Success(v)
}

func errorFrom(e *sinks.Error, limit int) *lang.Error {
	out := &lang.Error{Type: "failed", Message: "it failed", Class: lang.ClassPlatform}
	if e == nil {
		return out
	}
	out.Type, out.Message = e.Type, e.Message
	if c := new(lang.Class); c.UnmarshalText([]byte(e.Class)) == nil {
		out.Class = *c
	}
	if len(e.Data) > 0 && len(e.Data) <= limit {
		if v, err := lang.ParseValue(e.Data); err == nil {
			out.Data = v
		}
	}
	return out.Bounded()
}

// short cuts a text from outside to what fits into a line.
func short(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
