package shard

import "time"

// A clock tells the fold's time between records, as far as this machine can: timers are due by the fold's, and one that fires by a clock that is ahead of it
// is refused. It follows two clocks of the machine, the wall's and one that nobody sets, since either may be the one that went as the journal's did: the
// wall's after a machine was asleep, the other one after somebody set the wall's. The later of the two counts: too early is found out, too late is not.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration
	wall    lead
	up      lead
	begin   time.Time     // what elapsed is counted from: any time will do
	until   time.Duration // the end of the window that the leads are of, by elapsed
}

func newClock(now func() time.Time, elapsed func() time.Duration) clock {
	return clock{now: now, elapsed: elapsed, begin: now().Round(0)}
}

// A lead is how far a clock was ahead of the fold's of late, at least: a record that was long on its way shows more.
type lead struct{ now, before time.Duration }

func (l lead) least() time.Duration { return min(l.now, l.before) }

// leadWindow is how long what a record shows counts at least; it counts no longer than twice that.
const leadWindow = 2 * time.Second

// see takes note of the fold's time just after a record was folded.
func (c *clock) see(fold time.Time) {
	up := c.elapsed()
	if up >= c.until {
		c.wall.before, c.up.before = c.wall.now, c.up.now
		if up >= c.until+leadWindow { // Nothing was seen for long: only this record counts.
			c.trust(fold)
			return
		}
		c.wall.now, c.up.now, c.until = c.leads(fold, up, leadWindow)
		return
	}
	wall, mono, _ := c.leads(fold, up, 0)
	c.wall.now, c.up.now = min(c.wall.now, wall), min(c.up.now, mono)
}

// trust forgets all that was seen but this.
func (c *clock) trust(fold time.Time) {
	wall, up, until := c.leads(fold, c.elapsed(), leadWindow)
	c.wall, c.up, c.until = lead{wall, wall}, lead{up, up}, until
}

func (c *clock) leads(fold time.Time, up, window time.Duration) (wall, mono, until time.Duration) {
	return c.now().Round(0).Sub(fold), c.begin.Add(up).Sub(fold), up + window
}

// time is the fold's, as far as this machine can tell.
func (c *clock) time() time.Time {
	wall, up := c.now().Round(0).Add(-c.wall.least()), c.begin.Add(c.elapsed()).Add(-c.up.least())
	if wall.After(up) {
		return wall
	}
	return up
}

// behind is how far this machine's clock on the wall is behind the fold's; negative is ahead, or a record's way.
func (c *clock) behind() time.Duration { return -c.wall.least() }
