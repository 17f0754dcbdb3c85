package among

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Among) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "The name is evaluated once, as the step opens; all that may be named stand in the definition, and lint checks them all. In short, for functions and flows alone:\n" +
			"`{ function: \"${ data.kind }\", among: [a, b] }`; what that step says of timeout, retry and deadline then holds for whichever is chosen.",
		Yields: "What the named step yields; null when that is skipped.",
		Errors: []string{
			"unknown_function, unknown_flow, unknown_step: the expression yields none of the names (class function)",
		},
		Examples: []string{
			`
among:
  pick: "${ data.kind }"
  of:
    image: { function: resize }
    video: { sequence: [{ function: transcode }, { function: publish }] }
`,
		},
	}
}
