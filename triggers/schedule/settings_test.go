package schedule_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers/schedule"
)

// TestLint: what never ticks is refused with its place and a cure.
func TestLint(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	schedule.Register(r)
	for text, want := range map[string]string{
		`"0 0 31 2 *"`:                              `3:22: sources.night.schedule.cron: cron "0 0 31 2 *": it never fires: no month that it names has such a day; write a day that one of the months has`,
		`{ cron: "0 0 * * *", every: 1h }`:          "by one key, and this one by 2",
		`{ zone: UTC }`:                             "by one key, and this one by 0",
		`{ cron: "0 0 * * *", zone: Europe/Berln }`: `3:49: sources.night.schedule.zone: unknown time zone "Europe/Berln"; write one of the IANA names`,
		`{ cron: "0 0 * * *", zone: Local }`:        `unknown time zone "Local"`,
		`{ every: 1h, zone: Europe/Berlin }`:        "only cron has a zone; leave it out",
		`{ every: 10ms }`:                           "an interval of 10ms; write 1s or more",
		`{ every: 10m, jitter: 10m }`:               "write less than the interval",
		`{ at: tomorrow }`:                          "is not a time of 1970 to 2200",
		`{ at: 2026-12-01T06:00:00 }`:               "is not a time of 1970 to 2200 with its offset",
		`{ at: 2500-12-01T06:00:00Z }`:              "is not a time of 1970 to 2200",
		`{ every: 1h, missed: al }`:                 `unknown word "al"; did you mean "all"?`,
		`{ every: 1h, overlap: forbid }`:            `unknown word "forbid"`,
		`{ every: 1h, most: 100000 }`:               "write 1 to 10000",
		`{ every: 1h, within: 40d }`:                "write up to 31d",
		`{ every: 1h, type: "" }`:                   "events have a type",
		`{ every: 1h, data: "${ tick }" }`:          `unknown name "tick"`,
		`{ cron: "0 0 1 1 *", from: 2026-02-01T00:00:00Z, until: 2026-12-01T00:00:00Z }`:      "it never ticks; look at from: and until:",
		`{ cron: "0 0 1 1 *", from: 2026-02-01T00:00:00Z, until: 2026-01-01T00:00:00Z }`:      "ends before it begins",
		`{ every: 1h, from: 2026-02-01T00:00:00Z, until: 2026-02-01T00:30:00Z, missed: all }`: "",
		`"30 2 * * mon-fri"`: "",
	} {
		_, findings := config.Parse("x.yaml", []byte("version: 1\nsources:\n  night: { schedule: "+text+" }\n"), r, nil)
		var said []string
		for _, f := range findings {
			said = append(said, f.String())
		}
		if all := strings.Join(said, "\n"); want == "" && all != "" || !strings.Contains(all, want) {
			t.Errorf("%s: %q; want %q", text, all, want)
		}
	}
}
