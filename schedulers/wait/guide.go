package wait

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Wait) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "The timer is journaled: it survives the router. A time that has passed is no wait.",
		Yields: "Its own input.",
		Errors: []string{
			"bad_wait: `for` yields no duration, or `until` no time, up to 100 years away (class function)",
		},
		Examples: []string{
			`
wait: 30s
`,
			`
wait: { for: "${ data.minutes * 60 }" }
`,
			`
wait: { until: "${ data.opens }" }
`,
		},
	}
}
