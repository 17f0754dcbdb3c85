package end

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*End) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "The run has succeeded, with the value as its result, from whatever depth: its destinations are told as of any success. What else is at work is cancelled, and the run ends once that has\n" +
			"cleaned up (finally, saga). The first end counts; a run that is being cancelled stays cancelled. To end as failed, let a step fail.",
		Yields: "Nothing: no step comes after it.",
		Examples: []string{
			`
end: "${ data.amount }"
`,
			`
end: { value: { skipped: true } }
`,
		},
	}
}
