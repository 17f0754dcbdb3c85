package forkjoin

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// Guide is what the reference page tells beside the keys.
func (*ForkJoin) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "All branches begin at once, each with the input of the step.",
		Yields: "A list in the order of the branches, or where they have names an object by name. A skipped branch is null. " + schedulers.JoinYields,
		Errors: schedulers.JoinErrors,
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
			`
forkjoin:
  near: { function: quote }
  far: { function: quote }
  join: { for: any, deadline: 5s }
`,
			`
forkjoin:
  branches: [{ function: store }, { function: store }, { function: store }]
  speculate: { after: 10s, max: 2 }
  join: { atLeast: 2, deadline: 1m, onDeadline: fail, losers: run }
`,
			`
forkjoin:
  branches: [{ function: ask }, { function: ask }, { function: ask }, { function: ask }]
  join: { percent: 75 }
`,
			`
forkjoin:
  branches: [{ function: vote }, { function: vote }, { function: vote }]
  join: { until: "${ succeeded > failed + 1 }" }
`,
		},
	}
}
