package signal

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Signal) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Waits until somebody tells the run: `onward runs signal`, the HTTP API, or an event of type dev.onward.signal. A signal that comes early is kept. A name is taken by one wait: first come,\n" +
			"first served. What has come for a wait comes again when a step around the wait is tried again (not what failed the step), so that an approval need not be given twice.",
		Yields: "The signal's data; with `any`, `{name, data}` of the one that came. When the time is over and `onTimeout` is take: null, or `{name: null, data: null}`.",
		Errors: []string{
			"signal_deadline: it has not come within `within` (class timeout)",
			"bad_signal: `name`, `any` or `fails` yields no names, or a name twice (class function)",
			"the name of a signal in `fails`, with its data: that has come (class function)",
			"bad_duration: `within` yields no duration (class function)",
		},
		Examples: []string{
			`
signal: { name: "${ 'approval-' + data.orderId }", within: 24h }
`,
			`
signal: { any: [paid, "${ 'voucher-' + data.orderId }"], fails: [rejected, withdrawn], within: 24h, onTimeout: take }
`,
			`
signal: approval
`,
		},
	}
}
