package loop

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Loop) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Rounds come one after the other. Each is given what the one before it yielded, as input and as `previous`; the first one the input of the loop. `round` counts from 0, and a round's steps\n" +
			"stand at `NAME[0]`, `NAME[1]` and so on. What has to be carried from round to round beside that has names of its own under `state`, which `next` changes after each round. A condition\n" +
			"always has a bound, `max`. Rounds that are over leave nothing behind, unless `collect` keeps what they yielded. A round that fails fails the loop: `retry` and `catch` of `do` are for one\n" +
			"round. No two rounds are at work at a time, so that a loop has no `join`: children meet within a round, and the join stands there, in the `map`, `forkjoin` or `dag`\n" +
			"of `do`; what is late for it is told by its number, in whatever round. deploy/examples/08-federated-learning is rounds of such a join.",
		Yields: "What the last round yielded, or the list of what all did (`collect`); without a round, the input or an empty list.",
		Errors: []string{
			"loop_limit: `max` rounds have not met the condition (class function); its data is what the last round yielded",
			"bad_loop: a condition yields neither true nor false, `times` or `max` no number of rounds, or `pause` no duration (class function)",
		},
		Examples: []string{
			`
name: job
loop:
  do: { function: look, input: "${ {'job': data.job} }" }
  until: "${ output.state in ['done', 'broken'] }"
  pause: "${ round < 10 ? '5s' : '1m' }"
  max: 500
`,
			`
name: pages
loop:
  do: { function: list, input: "${ {'after': cursor} }" }
  state: { cursor: null }
  next: { cursor: "${ output.next }" }
  while: "${ round == 0 || cursor != null }"
  max: 1000
  onMax: take
  collect: true
output: "${ output.map(page, page.items).flatten() }"
`,
			`
loop: { times: 3, do: { function: refine } }
`,
		},
	}
}
