package schedulers

import (
	"time"

	"github.com/onward-router/onward/config/lang"
)

// LongestSpan bounds how long a policy waits; a longer wait is a mistake, and durations overflow at 292 years.
const LongestSpan = lang.MaxSpan

// Span reads how long to wait: a text such as "30s", or a number of seconds, from 0 to LongestSpan.
func Span(v lang.Value) (time.Duration, bool) { return lang.ParseSpan(v) }
