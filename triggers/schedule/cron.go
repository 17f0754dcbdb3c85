package schedule

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A cron is a schedule in the five fields of crontab(5): each field is the set of numbers that it takes, a bit each.
type cron struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool // the field begins with *: it narrows the other one; else a day is taken that either of them takes
}

// A field is one of the five.
type field struct {
	name     string
	min, max int
	names    []string // of its numbers, from min on
}

var fields = [5]field{
	{name: "minute", max: 59}, {name: "hour", max: 23}, {name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "weekday", max: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// words stand for five fields.
var words = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// A cronFault is what is wrong with a text, and what to write.
type cronFault struct{ what, cure string }

func (f *cronFault) Error() string { return f.what + "; " + f.cure }

func faultf(cure, format string, a ...any) error { return &cronFault{fmt.Sprintf(format, a...), cure} }

// maxCron bounds the text of a schedule, in bytes.
const maxCron = 1000

// parseCron reads five fields, or one of the words for them. Errors are of type *cronFault.
func parseCron(text string) (*cron, error) {
	if len(text) > maxCron {
		return nil, faultf("write several schedules", "it has %d bytes, and the limit is %d", len(text), maxCron)
	}
	parts := strings.Fields(text)
	switch {
	case len(parts) == 0:
		return nil, faultf(`write minute, hour, day of month, month and weekday: "30 2 * * *"`, "it has no fields")
	case strings.HasPrefix(parts[0], "TZ=") || strings.HasPrefix(parts[0], "CRON_TZ="):
		return nil, faultf("write zone: "+parts[0][strings.IndexByte(parts[0], '=')+1:], "a time zone is a key of its own")
	case parts[0] == "@every":
		return nil, faultf("write every: "+strings.Join(parts[1:], ""), "an interval is a key of its own")
	case parts[0][0] == '@':
		of, ok := words[strings.ToLower(parts[0])]
		if !ok || len(parts) > 1 {
			return nil, faultf("write @hourly, @daily, @weekly, @monthly, @yearly, or five fields", "unknown word %.40q", text)
		}
		parts = strings.Fields(of)
	case len(parts) == 6 || len(parts) == 7:
		return nil, faultf("write five: minute, hour, day of month, month and weekday; for seconds there is every: 10s", "it has %d fields", len(parts))
	}
	if len(parts) != len(fields) {
		return nil, faultf("write five: minute, hour, day of month, month and weekday", "it has %d fields", len(parts))
	}
	c := &cron{anyDay: parts[2][0] == '*', anyWeekday: parts[4][0] == '*'}
	for i, into := range []*uint64{&c.minute, &c.hour, &c.day, &c.month, &c.weekday} {
		set, err := fields[i].parse(parts[i])
		if err != nil {
			return nil, err
		}
		*into = set
	}
	if has(c.weekday, 7) { // Sunday as well.
		c.weekday = c.weekday&^(1<<7) | 1
	}
	if !c.fires() {
		return nil, faultf("write a day that one of the months has", "it never fires: no month that it names has such a day")
	}
	return c, nil
}

func has(set uint64, n int) bool { return set&(1<<n) != 0 }

// parse reads a list of numbers, ranges and steps.
func (f *field) parse(text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		s, err := f.item(item)
		if err != nil {
			return 0, err
		}
		set |= s
	}
	return set, nil
}

func (f *field) item(text string) (set uint64, err error) {
	span, by, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		if step, err = strconv.Atoi(by); err != nil || step < 1 || step > f.max {
			return 0, faultf(fmt.Sprintf("write a step of 1 to %d, such as */%d", f.max, max(f.max/4, 2)), "%s: %.40q has no step", f.name, text)
		}
	}
	first, last := f.min, f.max
	if f.name == "weekday" {
		last = 6 // * is seven days, and not Sunday twice.
	}
	if span != "*" {
		from, to, ranged := strings.Cut(span, "-")
		if first, err = f.number(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if last, err = f.number(to); err != nil {
				return 0, err
			}
		case stepped:
			return 0, faultf(fmt.Sprintf("write %s-%d/%d", from, last, step), "%s: a step goes through a range, and %.40q has none", f.name, text)
		default:
			last = first
		}
	}
	if first > last {
		return 0, faultf(fmt.Sprintf("write %d-%d,%d-%d", first, f.max, f.min, last), "%s: the range %.40q runs backwards", f.name, span)
	}
	for n := first; n <= last; n += step {
		set |= 1 << n
	}
	return set, nil
}

// number reads one number, or its name.
func (f *field) number(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(text)); i >= 0 {
		return f.min + i, nil
	}
	n, err := strconv.Atoi(text)
	digits := len(text) > 0 && len(text) <= 2 && strings.Trim(text, "0123456789") == ""
	switch {
	case err == nil && digits && n >= f.min && n <= f.max:
		return n, nil
	case text == "?":
		return 0, faultf("write *", "%s: ? is not known here", f.name)
	case strings.ContainsAny(strings.ToUpper(text), "LW#") && !digits:
		return 0, faultf("write the days as numbers and names; what day it is, a trigger's flow can also ask with when:", "%s: %.40q: L, W and # are not known here", f.name, text)
	}
	return 0, faultf(fmt.Sprintf("write a number from %d to %d%s", f.min, f.max, f.orName()), "%s: %.40q is none of its values", f.name, text)
}

func (f *field) orName() string {
	if len(f.names) == 0 {
		return ""
	}
	return ", or a name such as " + f.names[1]
}

// fires reports whether there is a day that c takes.
func (c *cron) fires() bool {
	if !c.anyDay && !c.anyWeekday || has(c.day, 1) {
		return true // A weekday alone is enough; and every month has a first day, each weekday in its turn.
	}
	for m := 1; m <= 12; m++ {
		longest := 31
		switch m {
		case 2:
			longest = 29
		case 4, 6, 9, 11:
			longest = 30
		}
		if has(c.month, m) && bits.TrailingZeros64(c.day) <= longest {
			return true
		}
	}
	return false
}

// takes reports whether c fires on a day.
func (c *cron) takes(month time.Month, day int, weekday time.Weekday) bool {
	if !has(c.month, int(month)) {
		return false
	}
	d, w := has(c.day, day), has(c.weekday, int(weekday))
	if c.anyDay || c.anyWeekday {
		return d && w
	}
	return d || w
}
