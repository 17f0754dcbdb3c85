package dag

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*DAG) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "A step runs as soon as its rule over the steps that it needs allows. Without needs it is given the dag's input, else an object of what its needs yielded, by\n" +
			"name; it sees them as steps.NAME, too. Where its rule lets it run behind a failure, `outcomes.NAME` tells apart how they ended, as {outcome: succeeded, value},\n" +
			"{outcome: failed, error} or {outcome: skipped}.\n" +
			"\n" +
			"With `over` a step runs once for each item of a list: its elements. A `branch` chooses which of the steps behind it go on. A `teardown` takes down what its setups\n" +
			"put up, whatever became of the work between.\n" +
			"\n" +
			"The dag fails when a step failed and nothing caught it, once all that can still run has ended.",
		Yields: "An object of what the leaves - the steps that no other needs - yielded, by name; null for skipped ones.",
		Errors: []string{
			"bad_items: `over` yields no list or number, too many items, or not as many as a step whose elements it needs (class function)",
			"bad_branch: `branch` yields no step that needs it (class function)",
			"bad_concurrency: `concurrency` yields no whole number from 1 (class function)",
			"expression_error: an expression of a step could not be evaluated (class function)",
		},
		Examples: []string{
			`
dag:
  end: leaves
  concurrency: 8
  steps:
    - { name: cluster, function: start }
    - { name: fetch, function: fetch, needs: cluster, branch: "${ output.kind == 'text' ? ['count', 'index'] : 'index' }" }
    - { name: count, function: count, needs: fetch, over: "${ steps.fetch.files }", as: file, window: 16, input: "${ file }" }
    - { name: index, function: index, needs: { fetch: succeeded } }
    - { name: report, function: report, needs: [count, index], rule: one_success }
    - { name: stop, function: stop, needs: [report], teardown: cluster, decides: true }
`,
		},
	}
}
