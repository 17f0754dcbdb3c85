package choice

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Choice) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "The conditions are asked in order, and the first that is true chooses its step. What `when` of a chosen step says comes after that: it may skip it.",
		Yields: "What the chosen step yields; null when that is skipped.",
		Errors: []string{
			"no_choice_matched: no condition is true, and there is no `else` (class function)",
			"expression_error: a condition is neither true nor false (class function)",
		},
		Examples: []string{
			`
choice:
  cases:
    - { if: "${ data.amount > 1000 }", function: approve }
    - { if: "${ data.amount > 10 }", function: charge }
  else: { function: thank }
`,
		},
	}
}
