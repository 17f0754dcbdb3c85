package finally

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Finally) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "`always` runs once `do` has ended, whichever way, and also when the step is cancelled: by a deadline, by a join that is decided, with the run. Who cancelled it waits until it is\n" +
			"done; a second cancel does not end it, so give it a `timeout`. It sees `outcome`: `{outcome: succeeded, value}`, `{outcome: failed, error}`, `{outcome: skipped}` or `{outcome: cancelled}`.",
		Yields: "What `do` yields; null when that is skipped.",
		Errors: []string{
			"that of `do`: when `always` failed too, its message tells of it",
			"that of `always`: when `do` had succeeded",
		},
		Examples: []string{`
finally:
  do: { function: charge }
  always: { function: release, input: "${ {'order': data.orderId, 'how': outcome.outcome} }", timeout: 10s }
`},
	}
}
