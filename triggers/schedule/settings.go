// Package schedule is the source that makes events at times: by cron in a time zone, at an interval, or once.
//
// A tick has one id, made of the schedule's name and the instant, whoever makes it: routers that share a journal each make every tick, and it counts once.
package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Settings are the source's part of a document.
type Settings struct {
	Cron    string          `doc:"cron,value" help:"when: minute, hour, day of month, month and weekday (\"30 2 * * mon-fri\"), or @hourly, @daily, @weekly, @monthly, @yearly. Where both days are said one of them is enough, as in crontab"`
	Every   plugin.Duration `doc:"every,above0" help:"when: so often, by elapsed time, counted from from:, or from 1970-01-01T00:00:00Z; at least 1s"`
	At      Instant         `doc:"at" help:"when: once, at this time (2026-12-01T06:00:00+01:00)"`
	Zone    string          `doc:"zone" help:"the time zone of cron, such as Europe/Berlin; the host's is never asked" default:"UTC"`
	From    Instant         `doc:"from" help:"no ticks before this time"`
	Until   Instant         `doc:"until" help:"no ticks after this time"`
	Jitter  plugin.Duration `doc:"jitter" help:"each tick is up to so much late, the same one always by as much: so that not all of a company's start on the hour" default:"0s"`
	Missed  string          `doc:"missed" help:"what becomes of ticks of a time when no router was up, or none could take them: skip, once (the last of them is made up for) or all (each is, in order)" default:"once"`
	Within  plugin.Duration `doc:"within,above0" help:"how old a missed tick may be that is made up for; up to 31d" default:"24h"`
	Most    int             `doc:"most,above0" help:"with missed: all, how many are made up for, the latest ones" default:"100"`
	Overlap string          `doc:"overlap" help:"what becomes of a run that a tick starts while one that this schedule started is still at work: allow (both are), skip (the new one ends as skipped) or cancel (the old one is cancelled, and the new one begins when it has cleaned up). A trigger with a concurrency of its own goes by that" default:"allow"`
	Type    string          `doc:"type" help:"the type of its events" default:"dev.onward.schedule.tick"`
	Data    lang.Expr       `doc:"data" help:"the data of its events, with expressions over schedule, time, local, zone and missed (how many ticks before it were passed over); default: all of them"`
}

// An Instant is a time as documents write it, by RFC 3339 with its offset.
type Instant time.Time

// The years that an Instant may be in: between any two of them lies what a time.Duration can count.
const (
	firstYear = 1970
	lastYear  = 2200
)

// UnmarshalText reads RFC 3339.
func (x *Instant) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil || at.Year() < firstYear || at.Year() > lastYear {
		return fmt.Errorf("%.40q is not a time of %d to %d with its offset; write it as 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00", text, firstYear, lastYear)
	}
	*x = Instant(at.UTC())
	return nil
}

// MarshalText writes RFC 3339.
func (x Instant) MarshalText() ([]byte, error) { return time.Time(x).MarshalText() }

// Schema is its form.
func (Instant) Schema() plugin.Schema {
	return plugin.Schema{"type": "string", "description": "a time, such as 2026-12-01T06:00:00Z", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`}
}

func (x Instant) isZero() bool { return time.Time(x).IsZero() }

// The words of Missed and Overlap.
const (
	missedSkip, missedOnce, missedAll        = "skip", "once", "all"
	overlapAllow, overlapSkip, overlapCancel = "allow", "skip", "cancel"
)

var (
	missedWords  = []string{missedSkip, missedOnce, missedAll}
	overlapWords = []string{overlapAllow, overlapSkip, overlapCancel}
	dataNames    = []string{"local", "missed", "schedule", "time", "zone"}
)

// Bounds of Most and Within.
const (
	mostMissed = 10_000
	longest    = 31 * 24 * time.Hour
)

// Check reports what never ticks, or not as it says.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	find := func(key, cure, format string, a ...any) {
		var path []string
		if key != "" {
			path = []string{key}
		}
		out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf(format, a...), Cure: cure})
	}
	said := 0
	for _, is := range []bool{s.Cron != "", s.Every > 0, !s.At.isZero()} {
		if is {
			said++
		}
	}
	if said != 1 {
		find("", `write one of cron: "30 2 * * *", every: 15m and at: 2026-12-01T06:00:00Z`, "a schedule says when by one key, and this one by %d", said)
	}
	if s.Every > 0 && s.Every.D() < time.Second {
		find("every", "write 1s or more", "an interval of %s", s.Every.D())
	}
	if _, err := lang.Location(s.Zone); err != nil {
		find("zone", "", "%v", err)
	} else if s.Cron == "" && s.Zone != "UTC" && s.Zone != "" {
		find("zone", "leave it out: an interval goes by elapsed time, and at: has its offset", "only cron has a zone")
	}
	if s.Cron != "" {
		if _, err := parseCron(s.Cron); err != nil {
			fault := err.(*cronFault)
			find("cron", fault.cure, "cron %.80q: %s", s.Cron, fault.what)
		}
	}
	if !s.From.isZero() && !s.Until.isZero() && !time.Time(s.From).Before(time.Time(s.Until)) {
		find("until", "write a time after from:", "it ends before it begins")
	}
	if s.Jitter < 0 || s.Every > 0 && s.Jitter >= s.Every {
		find("jitter", "write less than the interval", "a jitter of %s, and an interval of %s", s.Jitter.D(), s.Every.D())
	}
	if !slices.Contains(missedWords, s.Missed) {
		find("missed", lang.Nearest(s.Missed, missedWords), "unknown word %.40q", s.Missed)
	}
	if !slices.Contains(overlapWords, s.Overlap) {
		find("overlap", lang.Nearest(s.Overlap, overlapWords), "unknown word %.40q", s.Overlap)
	}
	if s.Most < 0 || s.Most > mostMissed {
		find("most", fmt.Sprintf("write 1 to %d", mostMissed), "%d ticks at a time", s.Most)
	}
	if s.Within.D() > longest {
		find("within", "write up to 31d", "ticks of %s ago", s.Within.D())
	}
	if s.Type == "" {
		find("type", "write a type, or leave it out", "events have a type")
	}
	for _, name := range s.Data.Names() {
		if !slices.Contains(dataNames, name) {
			find("data", lang.Nearest(name, dataNames), "unknown name %q", name)
		}
	}
	if len(out) == 0 && s.table().next(time.Date(firstYear-1, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		find("", "look at from: and until:", "it never ticks")
	}
	return out
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	wordsOf := func(list []string) plugin.Schema {
		any := make([]any, len(list))
		for i, w := range list {
			any[i] = w
		}
		return plugin.Schema{"enum": any}
	}
	x := plugin.Schema{"properties": plugin.Schema{
		"missed": wordsOf(missedWords), "overlap": wordsOf(overlapWords), "most": plugin.Schema{"minimum": 1, "maximum": mostMissed}, "type": plugin.Schema{"minLength": 1}, "cron": plugin.Schema{"minLength": 1},
	}}
	for key, v := range lang.ExactlyOne("cron", "every", "at") {
		x[key] = v
	}
	return x
}

// table is when it ticks; the settings have passed Check.
func (s *Settings) table() timetable {
	var t timetable
	switch {
	case s.Cron != "":
		c, err := parseCron(s.Cron)
		zone, err2 := lang.Location(s.Zone)
		if err != nil || err2 != nil {
			panic(fmt.Sprintf("schedule: settings that were not checked: %v %v", err, err2))
		}
		t = calendar{c, zone}
	case s.Every > 0:
		anchor := time.Unix(0, 0).UTC()
		if !s.From.isZero() {
			anchor = time.Time(s.From)
		}
		t = interval{s.Every.D(), anchor}
	default:
		t = moment(s.At)
	}
	return within{t, time.Time(s.From), time.Time(s.Until)}
}
