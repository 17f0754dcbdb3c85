package trigger

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Starts a trigger with the input as the data of its event, whatever its filters. The invocation has succeeded once the start is durable.",
		Errors: []string{
			"bad_event: the trigger starts no run of this event, now or later, such as one without the key that its concurrency asks for (class function)",
			"not_started: the start could not be written; given up, it is the `data.last` of an `undelivered` (class platform)",
		},
		Examples: []string{
			`
trigger: bookkeeping
`,
			`
trigger: { name: bookkeeping }
`,
		},
	}
}
