package dag

import "github.com/onward-router/onward/config/plugin"

const guide = "A step runs as soon as its rule over the steps that it needs allows. Without needs it is given the dag's input, else an object of what its needs yielded, by\n" +
	"name; it sees them as steps.NAME, too. Where its rule lets it run behind a failure, `outcomes.NAME` tells apart how they ended, as {outcome: succeeded, value},\n" +
	"{outcome: failed, error} or {outcome: skipped}.\n" +
	"\n" +
	"The rules are Airflow's. A step runs, by `all_success`, when all its needs succeeded; by `all_failed`, when all failed or could not run; by `all_done`, however\n" +
	"they ended; by `all_skipped`, when all were skipped; by `one_success`, `one_failed` or `one_done` (succeeded or failed), as soon as one did; by `none_failed`,\n" +
	"when all succeeded or were skipped; by `none_failed_min_one_success`, when one of them succeeded, too; by `none_skipped`, when all ran or could not; by\n" +
	"`all_done_min_one_success`, when none was skipped and one succeeded; by `always`, at once. Otherwise it is skipped, or it cannot run, where a failure keeps it\n" +
	"from it; then what is behind it takes that for a failure.\n" +
	"\n" +
	"`needs: { a: succeeded, b: failed }` says of each need how it must have ended, in place of a rule. A failure that is not asked for keeps the step from running,\n" +
	"any other end that is not has it skipped; failures count first, in whatever order they come.\n" +
	"\n" +
	"`branch` chooses, once the step succeeded, which of the steps that need it go on. The others are skipped, and those behind them by their rules; a step that is\n" +
	"also reached through a chosen one is left to its rule. A step behind a branch waits for the choice, whatever its rule.\n" +
	"\n" +
	"A step with `over` runs once for each item, and sees `item` and `index`; what it yields, steps.NAME, is the list in the items' order, null for skipped ones. It\n" +
	"fails when an element did, once all have ended; a handler (`catch`) is for one element. A need on it waits for all elements. `needs: { a: same }` has each\n" +
	"element wait for the one of a with its index, and `-1` or `[-1, -2]` for those before it, of another step or of its own: `needed.NAME` is what they yielded.\n" +
	"Elements that there are not are not waited for, and null. `window`, a number or an expression, is how many elements are open at a time.\n" +
	"\n" +
	"A `teardown` runs once its needs have ended, however, when one of its setups succeeded, and also when the dag is cancelled, after all else has gone. Unless it\n" +
	"`decides`, it does not count for how the dag ends: give it a timeout.\n" +
	"\n" +
	"The dag fails when a step failed and nothing caught it, once all that can still run has ended; with `end: leaves`, when a leaf failed or could not run, whatever\n" +
	"failed before it. The order in which steps end does not decide that.\n" +
	"\n" +
	"With `join` the leaves decide, as branches of a forkjoin do: the dag ends once they are enough or cannot be any more, and what is at work is cancelled or left\n" +
	"to run. A leaf that could not run has failed. A dag with a join has no teardowns: put it into a finally."

// Guide is what the reference page tells beside the keys.
func (*DAG) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   guide,
		Yields: "An object of what the leaves - the steps that no other needs, teardowns that do not decide left out - yielded, by name; null for skipped ones. With a join that tells how each ended, that in their place; with join: any, what the first leaf to succeed yielded.",
		Errors: []string{
			"bad_items: `over` yields neither a list nor a whole number from 0, or another number of items than a step whose elements are needed by index (class function)",
			"bad_window: `window` yields no whole number from 0 to 10,000 (class function)",
			"bad_branch: `branch` yields no name of a step that needs this one, no list of such, and not null (class function)",
			"bad_concurrency: `concurrency` yields no whole number from 1 (class function)",
			"cancelled: what a teardown is told of the steps that were cut off when the dag was cancelled (class cancelled)",
			"join_unreachable: the leaves cannot be enough any more (class function)",
			"join_deadline: they were not by the join's deadline (class timeout)",
			"expression_error: `over` or `branch` cannot be evaluated (class function)",
		},
		Examples: []string{
			`
dag:
  join: { for: settled, deadline: 1h, onDeadline: take, losers: run }
  steps: [ { name: a, function: probe }, { name: b, function: probe } ]
`,
			`dag: { join: { percent: 60 }, steps: [ { name: a, function: probe }, { name: b, function: probe } ] }`,
			`dag: { join: { until: "${ succeeded > failed }" }, steps: [ { name: a, function: probe }, { name: b, function: probe } ] }`,
			`
dag:
  join: { atLeast: 2, deadline: 10m }
  steps:
    - { name: fetch, function: fetch }
    - { name: east, function: store, needs: fetch }
    - { name: west, function: store, needs: fetch }
    - { name: north, function: store, needs: fetch }
`,
			`
dag:
  end: leaves
  steps:
    - { name: fetch, function: fetch }
    - { name: count, function: count, needs: fetch }
    - { name: index, function: index, needs: [fetch] }
    - { name: report, function: report, needs: [count, index], rule: one_success }
`,
			`
dag:
  steps:
    - { name: look, function: look, branch: "${ output.size > 1000 ? ['split'] : ['whole'] }" }
    - { name: whole, function: work, needs: look }
    - { name: split, function: split, needs: look }
    - { name: mend, function: mend, needs: { whole: failed, split: skipped } }
`,
			`
dag:
  concurrency: 100
  steps:
    - { name: encode, function: encode, over: "${ data.chunks }", as: chunk, window: "${ data.slots }" }
    - { name: rebase, function: rebase, over: "${ data.chunks }", needs: { encode: same, rebase: [-1, -2] }, input: "${ needed }" }
`,
			`
dag:
  steps:
    - { name: create, function: create }
    - { name: work, function: work, needs: create }
    - { name: remove, function: remove, teardown: create, needs: work, decides: true, timeout: 1m }
`,
		},
	}
}
