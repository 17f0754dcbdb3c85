package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

// A Rate is how often something may be done: N times in each span, as documents write it ("10/s", "90/m", "5000/h"). The zero Rate is no bound.
type Rate struct {
	N   int
	Per time.Duration
}

// MostRate bounds N: beyond it there is nothing to hold back.
const MostRate = 1_000_000

var rateSpans = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// UnmarshalText reads a number, a slash and a unit.
func (r *Rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	per, known := rateSpans[unit]
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || !known || number[0] < '1' || number[0] > '9':
		return fmt.Errorf("%q is not a rate; write a whole number from 1 on and a span, such as 10/s, 90/m or 5000/h", text)
	case n > MostRate:
		return fmt.Errorf("a rate of %s is above %d; leave it out, or write less", text, MostRate)
	}
	r.N, r.Per = n, per
	return nil
}

// MarshalText writes UnmarshalText's form.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes UnmarshalText's form.
func (r Rate) String() string {
	for unit, per := range rateSpans {
		if per == r.Per {
			return fmt.Sprintf("%d/%s", r.N, unit)
		}
	}
	return ""
}

// IsZero reports that nothing is bounded.
func (r Rate) IsZero() bool { return r.N == 0 }

// In is how many times a span has room for.
func (r Rate) In(d time.Duration) float64 { return float64(r.N) * float64(d) / float64(r.Per) }

// OneSecond is what comes in a second of the rate, at least one.
func (r Rate) OneSecond() int { return max(int(r.In(time.Second)), 1) }

// Schema is the form of rates.
func (Rate) Schema() plugin.Schema {
	return plugin.Schema{"type": "string", "pattern": "^([1-9][0-9]{0,5}|1000000)/[smh]$", "description": "a number and a span, such as 10/s, 90/m or 5000/h"}
}
