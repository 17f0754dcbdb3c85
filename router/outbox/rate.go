package outbox

import (
	"fmt"
	"time"

	"github.com/onward-router/onward/config"
)

// A bucket holds sendings to a rate: each takes a token, and tokens come back at the rate, as many as the burst at most. The zero bucket holds nothing
// back. It is the function's, and each router has its own: what several routers send together is the sum.
type bucket struct {
	rate   config.Rate
	burst  int
	tokens float64
	at     time.Time // tokens were counted
}

// nearly is how much a token may lack for the arithmetic of fractions.
const nearly = 1e-6

// set takes a rate over. What was used up under the former one stays so, as far as the new burst goes.
func (b *bucket) set(rate config.Rate, burst int, now time.Time) {
	b.count(now)
	if b.rate.IsZero() {
		b.tokens = float64(burst)
	}
	b.rate, b.burst = rate, burst
	b.tokens = min(b.tokens, float64(burst))
}

func (b *bucket) count(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 && !b.rate.IsZero() {
		b.tokens = min(b.tokens+b.rate.In(passed), float64(b.burst))
	}
	b.at = now
}

// wait is how long it is to the next token; 0 is none.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate.IsZero() {
		return 0
	}
	b.count(now)
	lacks := 1 - b.tokens
	if lacks <= nearly {
		return 0
	}
	return time.Duration(lacks*float64(b.rate.Per)/float64(b.rate.N)) + 1
}

// take takes a token. untake gives it back: nothing was sent.
func (b *bucket) take() {
	if !b.rate.IsZero() {
		b.tokens--
	}
}

func (b *bucket) untake() {
	if !b.rate.IsZero() {
		b.tokens = min(b.tokens+1, float64(b.burst))
	}
}

// words say what waits for the rate; the same for all that do.
func (l *lane) rateWords() string {
	all := time.Duration(float64(l.queue) * float64(l.bucket.rate.Per) / float64(l.bucket.rate.N))
	return fmt.Sprintf("function %s at its rate of %s: %d wait for it, which takes about %s", l.name, l.bucket.rate, l.queue, max(all.Round(time.Second), time.Second))
}
