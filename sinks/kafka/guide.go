package kafka

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Writes each invocation or event to a topic. A function behind it answers later, by an event.",
		Errors: []string{
			"bad_request: the event cannot be made a record (class platform)",
			"kafka: the cluster refuses it (class platform)",
			"egress_refused: the settings of egress do not let the router connect to a broker that the document names, or that it tells of (class platform)",
		},
		Examples: []string{
			`
kafka:
  brokers: ["127.0.0.1:9092"]
  tls: { ca: /etc/ssl/ca.pem, cert: /etc/ssl/router.pem, key: /etc/ssl/router.key, serverName: broker, insecureSkipVerify: false }
  sasl: { mechanism: scram-sha-512, username: onward, password: { env: HOME } }
  topic: "orders.${ data.region }"
  key: "${ data.id }"
  mode: structured
  headers: { x-api-key: { env: HOME }, x-pin: { file: /etc/hostname }, x-plain: text, x-same: { text: text } }
  linger: 5ms
  compression: zstd
`,
			`
kafka: { topic: orders, sasl: { mechanism: plain, username: onward, password: { file: /etc/hostname } } }
`,
		},
	}
}
