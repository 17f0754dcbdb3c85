package plugin

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as people write it: Go's form, with days before it ("200ms", "30s", "1h30m", "7d", "1d12h"). Negative ones are refused.
func ParseDuration(text string) (Duration, error) {
	d, negative, ok := readDuration(text)
	switch {
	case !ok:
		return 0, noDuration(text)
	case negative:
		return 0, fmt.Errorf("duration %q is negative; write one from 0 on", text)
	}
	return d, nil
}

func readDuration(text string) (d Duration, negative, ok bool) {
	days, rest := 0.0, text
	if n, after, is := strings.Cut(text, "d"); is && !strings.ContainsAny(n, "hmsnu") {
		var err error
		if days, err = strconv.ParseFloat(n, 64); err != nil || strings.Trim(strings.TrimPrefix(n, "-"), "0123456789.") != "" {
			return 0, false, false
		}
		if rest = after; rest == "" {
			rest = "0"
		} else if rest[0] == '-' || rest[0] == '+' {
			return 0, false, false
		}
	}
	v, err := time.ParseDuration(rest)
	all := days*float64(24*time.Hour) + float64(v)
	if err != nil || math.IsNaN(all) || all > math.MaxInt64/2 {
		return 0, false, false
	}
	return Duration(time.Duration(days*float64(24*time.Hour)) + v), v < 0 || days < 0 || text[0] == '-', true
}

func noDuration(text string) error {
	if meant := meantDuration(text); meant != "" {
		return fmt.Errorf("%.40q is not a duration; write %s", text, meant)
	}
	return fmt.Errorf("%.40q is not a duration; write a number with a unit, such as 200ms, 30s, 5m, 24h or 7d", text)
}

// spans are how people write durations elsewhere: numbers with words, and with spaces; ISO 8601; a clock's hours, minutes and seconds.
var (
	wordedSpan = regexp.MustCompile(`^([0-9.]+ ?[a-z]+[ ,]*)+$`)
	spanPart   = regexp.MustCompile(`([0-9.]+) ?([a-z]+)`)
	isoSpan    = regexp.MustCompile(`^pt?([0-9.]+[dhms]t?)+$`)
	clockSpan  = regexp.MustCompile(`^([0-9]+):([0-9]{2}):([0-9]{2})$`)
	bareSpan   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
)

var spanWords = map[string]string{
	"ms": "ms", "msec": "ms", "msecs": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d", "w": "w", "week": "w", "weeks": "w",
}

// meantDuration is how a duration is written here that is written otherwise; empty where it is none.
func meantDuration(text string) string {
	said := strings.ToLower(strings.TrimSpace(text))
	var out strings.Builder
	switch m := clockSpan.FindStringSubmatch(said); {
	case len(said) > 40:
	case bareSpan.MatchString(said):
		return said + "s, or another unit than seconds: ms, m, h or d"
	case m != nil:
		out.WriteString(m[1] + "h" + m[2] + "m" + m[3] + "s")
	case isoSpan.MatchString(said):
		out.WriteString(strings.NewReplacer("p", "", "t", "").Replace(said))
	case wordedSpan.MatchString(said):
		for _, part := range spanPart.FindAllStringSubmatch(said, -1) {
			unit, number := spanWords[part[2]], part[1]
			if weeks, err := strconv.ParseFloat(number, 64); unit == "w" && err == nil {
				unit, number = "d", strconv.FormatFloat(7*weeks, 'f', -1, 64)
			}
			if unit == "" {
				return ""
			}
			out.WriteString(number + unit)
		}
	}
	if d, _, ok := readDuration(out.String()); ok {
		return shortDuration(d)
	}
	return ""
}

// shortDuration leaves out what is zero: 5m, and not 5m0s.
func shortDuration(d Duration) string {
	if d.D()%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d.D()/(24*time.Hour)), 10) + "d"
	}
	text := d.D().String()
	if d.D()%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d.D()%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// A Size is a number of bytes as documents, settings and people write it: "512MiB", "64KiB", or a number alone.
type Size int64

var sizeUnits = []struct {
	word  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a size; fractions ("1.5GiB") are of a unit.
func ParseSize(text string) (Size, error) {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, is := strings.CutSuffix(text, u.word); is {
			number, unit = strings.TrimRight(n, " "), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/unit && number[0] != '+' {
		return Size(n * unit), nil
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == 1 || !(v >= 0 && v*float64(unit) < math.MaxInt64/2) || strings.ContainsAny(number, "xXpPeE_+") {
		return 0, noSize(text)
	}
	return Size(v * float64(unit)), nil
}

var looseSize = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kmgt])i?b?(ytes)?$`)

func noSize(text string) error {
	if m := looseSize.FindStringSubmatch(strings.ToLower(strings.TrimSpace(text))); m != nil {
		return fmt.Errorf("%.40q is not a size; write %s%siB: units are powers of 1024", text, m[1], strings.ToUpper(m[2]))
	}
	return fmt.Errorf("%.40q is not a size; write a number of bytes, or one with a unit: 64KiB, 512MiB, 2GiB", text)
}

// String writes a size in the largest unit of which it is a whole number.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.word
		}
	}
	return "0"
}

// UnmarshalText reads what ParseSize does.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText writes String's form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Schema is the form of sizes.
func (Size) Schema() Schema {
	return Schema{
		"description": "a number of bytes, such as 65536, 64KiB, 512MiB or 2GiB",
		"anyOf":       []any{Schema{"type": "integer", "minimum": 0}, Schema{"type": "string", "pattern": "^[0-9]+([.][0-9]+)? *(B|KiB|MiB|GiB|TiB)$|^[0-9]+$"}},
	}
}

// ParseMoment reads a time as people write it: how long ago it was (90s, 1h, 7d), today or yesterday (in UTC, as all times are), a day, or a time as RFC 3339
// has it; one without a zone is of UTC.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	midnight := now.UTC().Truncate(24 * time.Hour)
	switch text {
	case "now":
		return now.UTC(), nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	if ago, err := ParseDuration(text); err == nil {
		return now.UTC().Add(-ago.D()), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04:05Z07:00", time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.Parse(form, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time; write how long ago it was, such as 1h or 7d, or today, yesterday (UTC), 2026-01-31, or 2026-01-31T15:04:05Z", text)
}
