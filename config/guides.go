package config

import "github.com/onward-router/onward/config/plugin"

// The guides of what all of a kind have.
var (
	stepGuide = plugin.Guide{
		Text: "A step is one key that says what it does - `function: NAME`, `flow: NAME`, or a policy's name - and the keys below, which work on all steps alike.\n" +
			"They take effect from the outside in: `when` decides whether the step runs at all, `deadline` bounds all of it, `catch` stands in for its failure,\n" +
			"`retry` tries again, `timeout` bounds one try, and `output` makes what it yields of what the work yielded.",
		Yields: "What its function answered, its flow yielded or its policy says, changed by `output`. A skipped step yields null.",
		Errors: []string{
			"timeout: a try took longer than `timeout` (class timeout)",
			"deadline: the step took longer than `deadline` (class timeout)",
			"expression_error: an expression could not be evaluated (class function)",
			"too_large: what the step is given or yields has too many bytes (class function)",
		},
		Examples: []string{`
name: charge
function: charge
when: "${ data.amount > 0 }"
input: "${ {'amount': data.amount} }"
output: "${ output.receipt }"
timeout: 10s
heartbeat: 5s
deadline: 5m
retry:
  - { on: [throttle, platform], attempts: 20, backoff: 1s, factor: 1.5, max: 1m, jitter: 0.5 }
  - { never: [card_refused], attempts: 3 }
catch:
  - { errors: [card_refused], when: "${ data.amount < 1000 }", as: failure, do: { function: remind, input: "${ failure.error.message }" } }
`},
	}
	functionGuide = plugin.Guide{
		Text:   "A function is a name for a sink and its address. Its `timeout`, `deadline` and `retry` hold for every step that calls it and does not say its own.",
		Errors: []string{"undelivered: it could not be delivered for as long as `maxAge` or `resends` allow (class platform)", "heartbeat_timeout: neither a heartbeat nor an outcome came for as long as `heartbeat` says (class timeout)", "unanswered: it was accepted, and no completion came for as long as `maxAge` allows (class timeout)"},
		Examples: []string{`
http: { url: "http://127.0.0.1:7001/count" }
concurrency: 16
timeout: 30s
heartbeat: 10s
deadline: 10m
retry: { attempts: 3, backoff: 200ms }
maxAge: 1h
resends: 20
rate: 10/s
burst: 20
cancel: true
contract: http
onSuccess: { kafka: { topic: counted } }
onFailure: [{ log: failed, format: aws }]
batch: { max: 100, bytes: 1MiB, linger: 5ms }
`},
	}
	triggerGuide = plugin.Guide{
		Text: "A trigger is a rule: which events start a run, what runs, and where its end is told. A run is pinned to the trigger as it was when the run began.",
		Examples: []string{`
tenant: shop
filters:
  - exact: { type: com.example.order.placed }
  - prefix: { source: /shops/ }
  - suffix: { subject: .eu }
  - any: [{ exact: { source: /shops/1 } }, { exact: { source: /shops/2 } }]
  - not: { all: [{ exact: { source: /shops/2 } }, { prefix: { subject: test } }] }
  - sql: "EXISTS country AND country NOT IN ('CH', 'LI')"
when: "${ data.amount > 13 }"
concurrency: { key: "${ data.orderId }", limit: 1, when: queue }
flow: { function: charge }
onSuccess: { log: charged }
onFailure: [{ function: remind }]
`, `
correlate: "${ data.orderId }"
await:
  events:
    paid: { filters: [{ any: [{ exact: { type: com.example.paid } }, { exact: { type: com.example.credited } }] }, { not: { prefix: { source: /tests } } }, { suffix: { source: .eu } }, { sql: "amount > 0" }] }
    packed: { filters: [{ exact: { type: com.example.packed } }], correlate: "${ data.order.id }", count: "${ data.parcels }" }
    checked: { filters: [{ all: [{ prefix: { type: com.example.check } }, { suffix: { type: .passed } }] }] }
  join: all
  deadline: 24h
  onDeadline: fail
  late: newRound
flow: { function: charge, input: "${ arrived.packed.map(x, x.data.weight) }" }
`, `
filters: [{ exact: { type: com.example.item } }]
correlate: "${ data.orderId }"
await: { count: "${ data.total }", deadline: 1h, onDeadline: take }
flow: { function: charge, input: "${ arrived.map(x, x.data) }" }
`, `
filters: [{ exact: { type: com.example.order.placed } }]
correlate: "${ data.id }"
signals:
  paid: { filters: [{ exact: { type: com.example.paid } }], correlate: "${ data.orderId }" }
  refused: { filters: [{ prefix: { type: com.example.refused } }, { not: { suffix: { source: .test } } }, { sql: "EXISTS reason" }] }
  changed: { filters: [{ any: [{ exact: { type: com.example.changed } }, { all: [{ exact: { type: com.example.moved } }, { suffix: { subject: .eu } }] }] }, { suffix: { source: .shop } }, { all: [{ exact: { kind: new } }] }] }
early: 10m
flow: { sequence: [{ function: reserve }, { signal: { any: [paid, changed], fails: refused, within: 2h } }, { function: charge }] }
`, `
filters: [{ exact: { type: com.example.reading } }]
batch: { every: 1m, count: 100, bytes: 256KiB, key: "${ data.sensor }" }
onSuccess: { log: readings }
`},
	}
	destinationGuide = plugin.Guide{
		Text: "A destination is told of a run's end by one event with one id. It has every guarantee of a call: retry, age, history, dead letter.\n" +
			"Its expressions see `event`, `data`, `input`, `output`, `error` and `run`, and `end`: `id` and `type` of the event, `condition` (Success, RetriesExhausted, EventAgeExceeded,\n" +
			"ZeroReservedConcurrency or Cancelled), `attempts`, `started` and `ended`.",
		Examples: []string{
			"function: remind\nname: reminder\nwhen: \"${ data.amount > 13 }\"\ndata: \"${ {'late': true} }\"\nretry: { attempts: 5, backoff: 1s }",
			"http: { url: \"http://127.0.0.1:7001/hook\" }\nformat: aws\narn: arn:aws:lambda:eu-central-1:123456789012:function:count:$LATEST\nbytes: 256KiB",
			"kafka: { topic: orders.paid }\nevent: { type: com.example.order.paid, subject: \"${ data.orderId }\", region: eu }",
			"trigger: bookkeeping",
			"log: charged",
		},
	}
	sourceGuide = plugin.Guide{
		Text:     "A source is a way in for events.",
		Examples: []string{"webhook: { path: /events }\naccepts: [starts, signals]\nrate: 100/s\nburst: 200"},
	}
)
