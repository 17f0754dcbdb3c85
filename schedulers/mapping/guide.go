package mapping

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// Guide is what the reference page tells beside the keys.
func (*Map) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "The step is run once an item. It sees the item as `item` and its number, from 0, as `index`, and is given the item unless it says its own `input`.\n" +
			"No item costs anything before it is open, and none but its result after that.",
		Yields: "By `results`: the list of what the items yielded, in their order; a tally {succeeded, failed, skipped}; or null. With tolerate as with join: settled; with groupBy what the groups yielded, in the order in which their keys appear first. " + schedulers.JoinYields,
		Errors: append([]string{
			"bad_items: `items` yields neither a list nor a whole number from 0, or too many for `groupBy` (class function)",
			"bad_batch: `batch.with` yields no object, or numbers are to come in batches that are too large (class function)",
			"bad_window: `window` yields no whole number, or more than 10,000 (class function)",
			"too_many_failed: more have failed than `tolerate` says; data is the tally (class function)",
		}, schedulers.JoinErrors...),
		Examples: []string{
			`
map:
  items: "${ data.files }"
  as: file
  window: 16
  speculate: { after: "p95 x 2", max: 1 }
  join: settled
  results: list
  do: { function: count, input: "${ {'path': file} }" }
`,
			`
map:
  items: "${ data.clients }"
  join: { percent: 65, deadline: 10m, onDeadline: take, losers: run }
  do: { function: train }
`,
			`
map:
  items: 100
  join: { until: "${ succeeded >= 10 || output == 'found' }" }
  results: count
  do: { function: probe }
`,
			`
map:
  items: "${ data.rows }"
  batch: { size: 500, bytes: 262144, with: { table: "${ data.table }" } }
  tolerate: { count: 10, percent: 5 }
  do: { function: load }
`,
			`
map:
  items: "${ data.chunks }"
  as: chunk
  groupBy: "${ chunk.object }"
  do: { function: count }
  reduce: { function: merge, input: "${ {'object': key, 'parts': input} }" }
`,
			`
map:
  items: "${ data.mirrors }"
  join: { for: any, deadline: 30s }
  do: { function: fetch }
`,
			`
map:
  items: "${ data.copies }"
  join: { atLeast: 2 }
  results: none
  do: { function: store }
`,
		},
	}
}
