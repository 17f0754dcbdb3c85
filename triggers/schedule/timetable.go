package schedule

import "time"

// A timetable is when a schedule ticks.
type timetable interface {
	// next returns the first tick after an instant; the zero time when there is none.
	next(after time.Time) time.Time
}

// An interval ticks every so often, counted from an instant, by elapsed time: no change of a clock on the wall moves it.
type interval struct {
	every  time.Duration
	anchor time.Time
}

func (x interval) next(after time.Time) time.Time {
	since := after.Sub(x.anchor) // Within 292 years: dates are bounded.
	n := since / x.every
	if since < 0 && since%x.every != 0 {
		n-- // Division rounds towards zero.
	}
	return x.anchor.Add((n + 1) * x.every).UTC()
}

// A moment ticks once.
type moment time.Time

func (x moment) next(after time.Time) time.Time {
	if at := time.Time(x); after.Before(at) {
		return at
	}
	return time.Time{}
}

// A within is a timetable between two instants, either of which may be zero: none.
type within struct {
	timetable
	from, until time.Time
}

func (x within) next(after time.Time) time.Time {
	if !x.from.IsZero() && after.Before(x.from) {
		after = x.from.Add(-1) // The first instant itself is one of its own.
	}
	at := x.timetable.next(after)
	if !x.until.IsZero() && at.After(x.until) {
		return time.Time{}
	}
	return at
}

// A calendar is a cron in a time zone.
//
// What it does when clocks are put forward or back is its rule, not the library's (package time resolves such times one way in one place and another in the next):
//
//   - With an hour of its own (its hour field leaves one of the 24 out) a time on the clock ticks once a day. One that the clock leaves out ticks when it has been put
//     forward, so that a job at 02:30 is not lost; several that are left out are one tick. One that comes twice ticks the first time.
//   - When every hour will do (hourly, every quarter of an hour) it goes by elapsed time: it ticks whenever the clock shows one of its minutes, both times when an
//     hour comes twice; what the clock leaves out has not elapsed.
type calendar struct {
	*cron
	zone *time.Location
}

const everyHour = 1<<24 - 1

// searched is how many days are looked through: the 29th of February may be on a Monday every 28 years, and every 40 when a century leaves one out.
const searched = 366 * 41

func (x calendar) next(after time.Time) time.Time {
	if x.hour == everyHour {
		return x.elapsed(after)
	}
	y, m, d := after.In(x.zone).Date()
	for range searched {
		// Noon is there on all days but those that a zone has left out altogether; only its date is of interest, and dates are the same in UTC.
		if day := time.Date(y, m, d, 12, 0, 0, 0, time.UTC); x.takes(day.Month(), day.Day(), day.Weekday()) {
			if at := x.onDay(day, after); !at.IsZero() {
				return at
			}
		}
		d++
	}
	return time.Time{}
}

// onDay is the first tick of a day after an instant.
func (x calendar) onDay(day, after time.Time) time.Time {
	y, m, d := day.Date()
	for h := range 24 {
		if !has(x.hour, h) {
			continue
		}
		if last := x.instant(y, m, d, h, 59); !last.After(after) {
			continue
		}
		for minute := range 60 {
			if !has(x.minute, minute) {
				continue
			}
			if at := x.instant(y, m, d, h, minute); at.After(after) {
				return at
			}
		}
	}
	return time.Time{}
}

// instant is when the clock first shows a time, or, when it leaves that time out, when it has been put forward.
func (x calendar) instant(y int, m time.Month, d, h, minute int) time.Time {
	at := time.Date(y, m, d, h, minute, 0, 0, x.zone) // Near it; which of two, or what instead of none, is the library's choice.
	wall := time.Date(y, m, d, h, minute, 0, 0, time.UTC)
	var first time.Time
	for _, near := range [3]time.Duration{-26 * time.Hour, 0, 26 * time.Hour} {
		_, offset := at.Add(near).Zone()
		was := wall.Add(-time.Duration(offset) * time.Second)
		if sameClock(was.In(x.zone), wall) && (first.IsZero() || was.Before(first)) {
			first = was
		}
	}
	if !first.IsZero() {
		return first
	}
	begin, end := at.ZoneBounds()
	for _, change := range [2]time.Time{begin, end} {
		if change.IsZero() {
			continue
		}
		_, before := change.Add(-1).Zone()
		_, behind := change.Zone()
		change = change.UTC()
		if from, to := change.Add(time.Duration(before)*time.Second), change.Add(time.Duration(behind)*time.Second); !wall.Before(from) && wall.Before(to) {
			return change
		}
	}
	return at.UTC()
}

func sameClock(a, b time.Time) bool {
	ay, am, ad := a.Date()
	by, bm, bd := b.Date()
	return ay == by && am == bm && ad == bd && a.Hour() == b.Hour() && a.Minute() == b.Minute()
}

// elapsed is the first minute after an instant that the clock shows and x takes.
func (x calendar) elapsed(after time.Time) time.Time {
	t := after.In(x.zone)
	t = t.Add(time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	for end := after.AddDate(41, 0, 0); t.Before(end); {
		switch {
		case !has(x.minute, t.Minute()):
			t = t.Add(time.Minute)
		case !x.takes(t.Month(), t.Day(), t.Weekday()):
			next := x.instant(t.Year(), t.Month(), t.Day()+1, 0, 0).In(x.zone)
			if !next.After(t) {
				next = t.Add(time.Minute) // The day before comes again for a while.
			}
			t = next
		default:
			return t.UTC()
		}
	}
	return time.Time{}
}
