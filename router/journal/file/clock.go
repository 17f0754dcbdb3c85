package file

import (
	"log/slog"
	"time"
)

// A clock gives the log's time, which never goes back. While this machine's clock is behind it - it was ahead once, and was set right - the log's goes on
// by the monotonic one, a little slower than time, until it is right again: timers run out when they should, and it need not be waited for.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration
	log     *slog.Logger

	last int64         // the log's time
	at   time.Duration // when last was given
	said bool          // that this machine's clock is behind
}

const (
	// slower is the part of passing time that a log which is ahead waits for.
	slower = 16
	// behindSaid is how far this machine's clock is behind the log's before that is said.
	behindSaid = 2 * time.Second
)

// start begins at the time of the log's last record; 0 is none.
func (c *clock) start(last int64) {
	c.last, c.at = last, c.elapsed()
	c.say(time.Duration(last - c.now().UnixNano()))
}

// read gives the time of what is appended now.
func (c *clock) read() int64 {
	wall, at := c.now().UnixNano(), c.elapsed()
	passed := max(at-c.at, 0)
	c.at = at
	c.last = max(wall, c.last+int64(passed-passed/slower))
	c.say(time.Duration(c.last - wall))
	return c.last
}

func (c *clock) say(behind time.Duration) {
	switch {
	case behind > behindSaid && !c.said:
		c.said = true
		c.log.Warn("journal: this machine's clock is behind the journal's: it was ahead, or is wrong now; timers go by the journal's, which comes closer by a sixteenth of the time that passes",
			"behind", behind.Round(time.Millisecond))
	case c.said && behind < behindSaid/2:
		c.said = false
		c.log.Info("journal: this machine's clock is no longer behind the journal's")
	}
}
