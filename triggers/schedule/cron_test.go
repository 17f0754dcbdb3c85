package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := lang.Location(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestChanges: what the libraries for cron do wrong when clocks change, and the days of crontab.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, zone, cron, after string
		want                    []string // in the zone's own time
	}{
		{"a time that is left out ticks when it has been put forward", "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"several that are left out are one tick", "Europe/Berlin", "*/15 2 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"it is one with a tick of its own there", "Europe/Berlin", "0,30 2,3 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"a time that comes twice ticks once", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"between its two times it does not tick again", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:30:00+02:00", []string{"2026-10-26T02:30:00+01:00"}},
		{"hourly loses no hour that has passed", "Europe/Berlin", "0 * * * *", "2026-10-25T01:30:00+02:00", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"hourly makes none up that has not passed", "Europe/Berlin", "30 * * * *", "2026-03-29T01:00:00+01:00", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"a quarter of an hour goes on through both", "America/New_York", "*/15 * * * *", "2026-11-01T01:40:00-04:00", []string{"2026-11-01T01:45:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:15:00-05:00"}},
		{"New York, spring", "America/New_York", "15 2 8 3 *", "2026-03-01T00:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2027-03-08T02:15:00-05:00"}},
		{"half an hour on Lord Howe Island", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00+10:30", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"and back", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00:00+11:00", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"a zone without changes", "Asia/Kolkata", "30 2 * * *", "2026-03-28T12:00:00+05:30", []string{"2026-03-29T02:30:00+05:30"}},
		{"midnight is left out", "Africa/Cairo", "0 0 * * *", "2026-04-23T12:00:00+02:00", []string{"2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"}},
		{"a day that never was", "Pacific/Apia", "30 9 * * *", "2011-12-29T08:00:00-10:00", []string{"2011-12-29T09:30:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T09:30:00+14:00"}},
		{"day of month or weekday", "UTC", "0 0 13 * fri", "2026-02-01T00:00:00Z", []string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		{"a star makes it both", "UTC", "0 0 */2 * fri", "2026-02-01T00:00:00Z", []string{"2026-02-13T00:00:00Z", "2026-02-27T00:00:00Z"}},
		{"a leap day", "UTC", "0 12 29 2 *", "2097-01-01T00:00:00Z", []string{"2104-02-29T12:00:00Z"}},
		{"names, lists and Sunday twice", "UTC", "0 6 * JAN,jul Sun,7", "2026-01-04T06:00:00Z", []string{"2026-01-11T06:00:00Z"}},
		{"a word", "UTC", "@weekly", "2026-11-27T00:00:00Z", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		{"the last minute of a year", "UTC", "59 23 31 12 *", "2026-12-31T23:59:00Z", []string{"2027-12-31T23:59:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := parseCron(c.cron)
			if err != nil {
				t.Fatal(err)
			}
			x := calendar{parsed, zone(t, c.zone)}
			after := at(t, c.after)
			for _, want := range c.want {
				got := x.next(after)
				if !got.Equal(at(t, want)) {
					t.Fatalf("after %s: %s; want %s", after.In(x.zone).Format(time.RFC3339), got.In(x.zone).Format(time.RFC3339), want)
				}
				after = got
			}
		})
	}
}

// plain is a field taken apart in another way than the parser's: which numbers it names.
func plain(text string, min, max int) (out [60]bool) {
	for _, item := range strings.Split(text, ",") {
		step := 1
		if span, by, ok := strings.Cut(item, "/"); ok {
			step, _ = strconv.Atoi(by)
			item = span
		}
		if item == "*" {
			item = fmt.Sprintf("%d-%d", min, max)
		}
		if !strings.Contains(item, "-") {
			item += "-" + item
		}
		from, to, _ := strings.Cut(item, "-")
		a, _ := strconv.Atoi(from)
		b, _ := strconv.Atoi(to)
		for n := a; n <= b; n++ {
			if (n-a)%step == 0 {
				out[n] = true
			}
		}
	}
	return
}

// An oracle goes through real time minute by minute, and looks at the clock.
type oracle struct {
	text                              string
	minute, hour, day, month, weekday [60]bool
	or, elapsed                       bool
	shown                             map[face]bool // times of the year that have ticked
	ticks                             []time.Time
}

func newOracle(text string) *oracle {
	f := strings.Fields(text)
	o := &oracle{text: text, minute: plain(f[0], 0, 59), hour: plain(f[1], 0, 23), day: plain(f[2], 1, 31), month: plain(f[3], 1, 12), weekday: plain(f[4], 0, 6), shown: make(map[face]bool)}
	o.or, o.elapsed = f[2][0] != '*' && f[4][0] != '*', f[1] == "*"
	return o
}

// A face is what a clock shows.
type face struct{ month, day, hour, minute, weekday int }

func faceOf(t time.Time) face {
	_, m, d := t.Date()
	return face{int(m), d, t.Hour(), t.Minute(), int(t.Weekday())}
}

func (o *oracle) wants(f *face) bool {
	if !o.minute[f.minute] || !o.hour[f.hour] || !o.month[f.month] {
		return false
	}
	if o.or {
		return o.day[f.day] || o.weekday[f.weekday]
	}
	return o.day[f.day] && o.weekday[f.weekday]
}

// pass looks at one minute of real time, at which the clock shows the last of faces, and has left out the others.
func (o *oracle) pass(now time.Time, faces []face) {
	ticks := false
	if o.elapsed {
		ticks = o.wants(&faces[len(faces)-1])
	} else {
		for i := range faces {
			if f := &faces[i]; o.wants(f) && !o.shown[*f] {
				o.shown[*f], ticks = true, true
			}
		}
	}
	if ticks {
		o.ticks = append(o.ticks, now)
	}
}

// TestYear: a year in four zones, against real time minute by minute.
func TestYear(t *testing.T) {
	t.Parallel()
	texts := []string{
		"30 2 * * *", "15 2 * * *", "0 3 * * *", "45 1 * * *", "0 * * * *", "*/15 * * * *", "*/7 2 * * *", "0 */2 * * *", "10,40 1-3 * * 0", "0 0 * * *", "59 23 31 * *", "0 12 13 * 5", "5 4 */3 * 1-5", "20 1,2 1-7,25-31 3,4,10,11 *", "17 * 29 2,10 *",
	}
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := zone(t, name)
			var oracles []*oracle
			for _, text := range texts {
				oracles = append(oracles, newOracle(text))
			}
			begin := time.Date(2026, 1, 1, 0, 0, 0, 0, z)
			end := time.Date(2027, 1, 1, 0, 0, 0, 0, z)
			before := time.Time{}
			var faces []face
			for now := begin; now.Before(end); now = now.Add(time.Minute) {
				_, offset := now.Zone()
				wall := now.UTC().Add(time.Duration(offset) * time.Second)
				faces = faces[:0]
				for w := before.Add(time.Minute); !before.IsZero() && w.Before(wall); w = w.Add(time.Minute) {
					faces = append(faces, faceOf(w))
				}
				before, faces = wall, append(faces, faceOf(wall))
				for _, o := range oracles {
					if len(faces) > 1 || o.minute[wall.Minute()] {
						o.pass(now, faces)
					}
				}
			}
			for _, o := range oracles {
				c, err := parseCron(o.text)
				if err != nil {
					t.Fatal(err)
				}
				x := calendar{c, z}
				got := x.next(begin.Add(-time.Second))
				for i, want := range o.ticks {
					if !got.Equal(want) {
						t.Fatalf("%s: tick %d is %s; want %s", o.text, i, got.In(z).Format(time.RFC3339), want.Format(time.RFC3339))
					}
					got = x.next(got)
				}
				if got.Before(end) {
					t.Fatalf("%s: one more tick, %s", o.text, got.In(z).Format(time.RFC3339))
				}
			}
		})
	}
}

func TestCronFaults(t *testing.T) {
	t.Parallel()
	for text, cure := range map[string]string{
		"":                        "write minute, hour",
		"* * * *":                 "write five",
		"0 0 2 * * *":             "every: 10s",
		"TZ=Europe/Berlin 0 0":    "zone: Europe/Berlin",
		"CRON_TZ=a/b 0 0 * * *":   "zone: a/b",
		"@every 5m":               "every: 5m",
		"@reboot":                 "@daily",
		"@daily 1":                "@daily",
		"60 * * * *":              "0 to 59",
		"* 24 * * *":              "0 to 23",
		"* * 0 * *":               "1 to 31",
		"* * * 13 *":              "1 to 12, or a name such as feb",
		"* * * * 8":               "0 to 7, or a name such as mon",
		"* * * * funday":          "such as mon",
		"5/15 * * * *":            "5-59/15",
		"*/0 * * * *":             "step of 1 to 59",
		"*/x * * * *":             "step of 1",
		"* 22-2 * * *":            "write 22-23,0-2",
		"* * L * *":               "as numbers",
		"* * * * 5#2":             "as numbers",
		"* * 15W * *":             "as numbers",
		"* * ? * *":               "write *",
		"0 0 31 2 *":              "that one of the months has",
		"0 0 31 4,6,9,11 *":       "that one of the months has",
		"0 0 30 feb *":            "that one of the months has",
		"-1 * * * *":              "0 to 59",
		"1,,2 * * * *":            "0 to 59",
		"+1 * * * *":              "0 to 59",
		"1- * * * *":              "0 to 59",
		strings.Repeat("1", 2000): "several",
	} {
		_, err := parseCron(text)
		if err == nil {
			t.Errorf("%.40q was taken", text)
		} else if fault := err.(*cronFault); !strings.Contains(fault.cure, cure) || fault.what == "" {
			t.Errorf("%.40q: %v; the cure says nothing of %q", text, err, cure)
		}
	}
}

// FuzzCron: no text panics; what is taken ticks, ever later, at times that its fields have.
func FuzzCron(f *testing.F) {
	for _, text := range []string{"30 2 * * *", "*/15 * * * *", "0 0 13 * fri", "59 23 31 12 *", "0 0 29 2 *", "@weekly", "0 0 */31 2 1", "* * L * *", "0 0 29 2 */6"} {
		f.Add(text, int64(1_774_700_000), uint8(0))
		f.Add(text, int64(1_325_100_000), uint8(4))
	}
	names := []string{"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo", "America/Havana", "Africa/Monrovia"}
	f.Fuzz(func(t *testing.T, text string, seconds int64, which uint8) {
		c, err := parseCron(text)
		if err != nil {
			if fault, ok := err.(*cronFault); !ok || fault.cure == "" || fault.what == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		x := calendar{c, zone(t, names[int(which)%len(names)])}
		after := time.Unix(seconds%4_000_000_000, 0)
		for range 5 {
			next := x.next(after)
			if next.IsZero() {
				t.Fatalf("%q in %s never ticks after %s", text, x.zone, after)
			}
			if !next.After(after) {
				t.Fatalf("%q in %s ticks at %s, after %s", text, x.zone, next, after)
			}
			local := next.In(x.zone)
			begin, _ := local.ZoneBounds()
			if changed := !begin.IsZero() && begin.Equal(next); !changed && (!has(c.minute, local.Minute()) || !has(c.hour, local.Hour()) || !c.takes(local.Month(), local.Day(), local.Weekday()) || local.Second() != 0) {
				t.Fatalf("%q in %s ticks at %s", text, x.zone, local)
			}
			after = next
		}
	})
}
