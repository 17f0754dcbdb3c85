package webhook

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Takes events over HTTP on the listener of the router: CloudEvents in binary, structured or batched mode. It answers once what they say is durable. A body without an event around it is refused with 415: who cannot send the headers of an event needs something in front that does.",
		Examples: []string{
			`
webhook:
  path: /orders
  auth: { bearer: { env: HOME } }
  maxEvent: 64KiB
  maxBatch: 1MiB
`,
			`
webhook: { auth: { bearer: { file: /etc/hostname } } }
`,
		},
	}
}
