package schedule

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: `Makes an event at each tick: of type dev.onward.schedule.tick, from /schedule/NAME, with NAME as its subject, the tick's time as its time, and an id of both, so that a tick counts once however many routers have the schedule.

When clocks are put forward or back: a cron with hours of its own ticks once a day for each time that it names. A time that is left out ticks when the clock has been put forward; one that comes twice ticks the first time. A cron that takes every hour goes by elapsed time, and so does every:.

The last tick is kept in the data folder, and with Kafka in the journal's own topic: what a router did not make while it was down counts as missed. A schedule that is new, or says another time than before, has missed nothing.`,
		Examples: []string{
			`
schedule:
  cron: "30 2 * * mon-fri"
  zone: Europe/Berlin
  from: 2026-01-01T00:00:00Z
  until: 2200-01-01T00:00:00Z
  jitter: 5m
  missed: all
  within: 12h
  most: 10
  overlap: skip
  type: com.example.night
  data: { day: "${ local.substring(0, 10) }", late: "${ missed > 0 }" }
`,
			`
schedule: "@hourly"
`,
			`
schedule: { every: 15m }
`,
			`
schedule: { at: 2199-12-01T06:00:00+01:00 }
`,
		},
	}
}
