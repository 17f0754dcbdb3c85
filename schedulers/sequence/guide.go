package sequence

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Sequence) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Each step is given what the one before it yielded, also as `previous`; the first is given the input of the sequence. Steps that have names are seen by those after\n" +
			"them as steps.NAME. A skipped step passes on what it was given. The first failure fails the sequence.",
		Yields: "What its last step yields.",
		Examples: []string{
			`
sequence:
  - { name: order, function: fetch }
  - { function: charge, input: "${ steps.order.total }" }
`,
		},
	}
}
