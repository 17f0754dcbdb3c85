package forkjoin

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*ForkJoin) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "All branches begin at once, each with the input of the step.",
		Yields: "A list in the order of the branches, or where they have names an object by name. A skipped branch is null.",
		Examples: []string{
			`
forkjoin:
  join: settled
  branches:
    price: { function: price }
    stock: { function: stock }
`,
			`
forkjoin:
  - { function: price }
  - { function: stock }
`,
		},
	}
}
