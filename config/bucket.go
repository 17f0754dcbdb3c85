package config

import "time"

// A Bucket holds what is done to a rate: each time takes a token, and tokens come back at the rate, as many as the burst at most. The zero Bucket holds nothing
// back. Each router has its own: what several routers do together is the sum. It is not safe for concurrent use.
type Bucket struct {
	rate   Rate
	burst  int
	tokens float64
	at     time.Time // tokens were counted
}

// nearly is how much a token may lack for the arithmetic of fractions.
const nearly = 1e-6

// Set takes a rate over. What was used up under the former one stays so, as far as the new burst goes.
func (b *Bucket) Set(rate Rate, burst int, now time.Time) {
	b.count(now)
	if b.rate.IsZero() {
		b.tokens = float64(burst)
	}
	b.rate, b.burst = rate, burst
	b.tokens = min(b.tokens, float64(burst))
}

// Rate is the one in force.
func (b *Bucket) Rate() Rate { return b.rate }

func (b *Bucket) count(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 && !b.rate.IsZero() {
		b.tokens = min(b.tokens+b.rate.In(passed), float64(b.burst))
	}
	b.at = now
}

// Wait is how long it is to the next token; 0 is none.
func (b *Bucket) Wait(now time.Time) time.Duration {
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

// Take takes a token. Untake gives it back: nothing was done.
func (b *Bucket) Take() {
	if !b.rate.IsZero() {
		b.tokens--
	}
}

func (b *Bucket) Untake() {
	if !b.rate.IsZero() {
		b.tokens = min(b.tokens+1, float64(b.burst))
	}
}
