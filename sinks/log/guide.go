package log

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Writes one line for each event into the log of the router. It is meant for trying things out.",
		Examples: []string{
			`
log: order placed
`,
			`
log: { message: order placed }
`,
		},
	}
}
