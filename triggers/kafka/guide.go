package kafka

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Reads topics. A record counts as read once what it says is durable; what waits is bounded, and surplus starts stay in the topic.",
		Examples: []string{
			`
kafka:
  brokers: ["127.0.0.1:9092"]
  tls: { ca: /etc/ssl/ca.pem, cert: /etc/ssl/router.pem, key: /etc/ssl/router.key, serverName: broker, insecureSkipVerify: false }
  sasl: { mechanism: scram-sha-512, username: onward, password: { env: HOME } }
  topics: [orders, "/returns\\..*/"]
  group: onward
  start: latest
  maxEvent: 65536
  onInvalid: { deadletter: orders.bad }
  as:
    each: "${ body.orders }"
    when: "${ !item.test }"
    park: "${ has(item.amount) ? null : 'an order without an amount' }"
    type: com.example.order
    source: "/shop/${ topic }"
    id: "${ string(offset) }-${ index }"
    subject: "${ key }"
    time: "${ item.at }"
    cause: "${ item[?'call'].orValue(null) }"
    verdict: "${ 'call' in item ? 'succeeded' : null }"
    ticket: "${ item[?'activation'].orValue(null) }"
    extensions: { region: "${ headers[?'region'].orValue(null) }" }
    data: { order: "${ item }" }
  session: 20s
  rebalance: 30s
`,
			`
kafka: { topics: orders, group: onward, sasl: { mechanism: plain, username: onward, password: { file: /etc/hostname } } }
`,
		},
	}
}
