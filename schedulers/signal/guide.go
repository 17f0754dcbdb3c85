package signal

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Signal) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Waits until somebody tells the run: `onward runs signal`, the HTTP API, or an event of type dev.onward.signal. A signal that comes early is kept. A name is taken by one wait: first come,\n" +
			"first served.",
		Yields: "The signal's data.",
		Errors: []string{
			"signal_deadline: it has not come within `within` (class timeout)",
			"bad_signal: `name` yields no name (class function)",
			"bad_duration: `within` yields no duration (class function)",
		},
		Examples: []string{
			`
signal: { name: "${ 'approval-' + data.orderId }", within: 24h }
`,
			`
signal: approval
`,
		},
	}
}
