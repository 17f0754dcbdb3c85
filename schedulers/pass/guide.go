package pass

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Pass) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "For a branch that has nothing to do, a handler that answers with a value, and values under a name. An object stands under `value`.",
		Yields: "The value; without one, `pass: {}`, its input.",
		Examples: []string{
			`
pass: "${ data.amount * 100 }"
`,
			`
pass: { value: { amount: "${ data.amount }", currency: EUR } }
`,
		},
	}
}
