package schedulers

import (
	"strconv"
	"time"

	"github.com/onward-router/onward/config/lang"
)

// LongestSpan bounds how long a policy waits; a longer wait is a mistake, and durations overflow at 292 years.
const LongestSpan = 100 * 365 * 24 * time.Hour

// Span reads how long to wait: a text such as "30s", or a number of seconds, from 0 to LongestSpan.
func Span(v lang.Value) (time.Duration, bool) {
	var text string
	if v.Decode(&text) == nil && !v.IsNull() {
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= 0 && d <= LongestSpan
	}
	seconds, err := strconv.ParseFloat(v.JSON(), 64)
	if err != nil || !(seconds >= 0 && seconds <= LongestSpan.Seconds()) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
