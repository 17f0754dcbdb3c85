package dag

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*DAG) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "A step runs as soon as its rule over the steps that it needs allows. Without needs it is given the dag's input, else an object of what its needs yielded, by\n" +
			"name; it sees them as steps.NAME, too. Where its rule lets it run behind a failure, `outcomes.NAME` tells apart how they ended, as {outcome: succeeded, value},\n" +
			"{outcome: failed, error} or {outcome: skipped}.\n" +
			"\n" +
			"The dag fails when a step failed and nothing caught it, once all that can still run has ended.",
		Yields: "An object of what the leaves - the steps that no other needs - yielded, by name; null for skipped ones.",
		Examples: []string{
			`
dag:
  end: leaves
  steps:
    - { name: fetch, function: fetch }
    - { name: count, function: count, needs: fetch }
    - { name: index, function: index, needs: [fetch] }
    - { name: report, function: report, needs: [count, index], rule: one_success }
`,
		},
	}
}
