package outbox

import (
	"fmt"
	"time"
)

// words say what waits for the rate; the same for all that do.
func (l *lane) rateWords() string {
	all := time.Duration(float64(l.queue) * float64(l.bucket.Rate().Per) / float64(l.bucket.Rate().N))
	return fmt.Sprintf("function %s at its rate of %s: %d wait for it, which takes about %s", l.name, l.bucket.Rate(), l.queue, max(all.Round(time.Second), time.Second))
}
