package fail

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Fail) Guide() plugin.Guide {
	return plugin.Guide{
		Text:   "The error is one like a function's: of class function, caught and tried again by its type. Values that are no texts stand in type and message as JSON.",
		Yields: "Nothing: it fails.",
		Errors: []string{
			"failed: no `type` is given (class function)",
			"bad_fail: `type` yields null, an empty text or one of more than 256 bytes (class function)",
		},
		Examples: []string{
			`
fail: { type: sold_out, message: "only ${ data.left } are left", data: "${ data.left }" }
`,
			`
fail: "order ${ data.orderId } is not ours"
`,
		},
	}
}
