package http

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks/http/contract"
)

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Sends each invocation as a request; the response is its completion: 2xx and the body, or 202 when the completion comes later, by an event. No answer, 408, 425, 429, 502, 503 and\n" +
			"504 are sent again under the same id; other codes are failures. A function's `contract` says otherwise for its kind:\n\n" + contract.Table(),
		Errors: []string{
			"bad_request: the invocation cannot be made a request (class platform)",
			"http_4xx, http_5xx: it answered that code; the type has the number, such as `http_404` (class function, for 429 throttle)",
			"egress_refused: the settings of egress do not let the router connect there (class platform); it is not tried again but as retry says",
			"handshake_refused: it has not agreed to be sent events; given up, it is the `data.last` of an `undelivered` (class platform)",
			"http_410: with `handshake`, it has answered 410 and the function was stopped; not resumed in time, what was for it was given up (class platform)",
			"unready: a secret, a certificate or a token of the router's could not be had; given up, it is the `data.last` of an `undelivered` (class platform)",
			"unreachable: it could not be reached; given up, it is the `data.last` of an `undelivered` (class platform)",
			"too_large: the response has too many bytes (class function)",
			"failed: the rule `fail` takes its answer for a failure, which says no type (class function)",
			"expression_error: the rule `fail` cannot judge its answer (class function)",
			"batch_unanswered: the answer to its batch has none for it; given up, it is the `data.last` of an `undelivered` (class platform)",
			"no_batch: a batch was answered, and not by one (class function)",
			"exec_timeout: with `contract: openfaas`, the watchdog has ended it (class timeout)",
			"upstream_died: with `contract: openfaas`, its process has died (class platform)",
			"Runtime.Unavailable: with `contract: lambda`, that runtime has no place (class throttle)",
		},
		Examples: examples,
	}
}

var examples = []string{
	`
http:
  url: "http://127.0.0.1:7001/count"
  method: PUT
  headers: { X-Api-Key: { env: HOME }, X-Pin: { file: /etc/hostname }, X-Plain: text, X-Same: { text: text } }
  body: empty
  mode: structured
  fail: "${ status >= 400 || body.error != null }"
`,
	`
http:
  url: "https://pay.example.com/charge"
  auth:
    oauth2:
      tokenURL: "https://login.example.com/token"
      clientID: router
      clientSecret: { file: /etc/hostname }
      scopes: [charge]
      params: { audience: pay }
      style: body
  sign: { style: github, secrets: [{ env: HOME }, { file: /etc/hostname }], header: X-Signature, prefix: "sha256=", encoding: hex }
`,
	`
http:
  url: "https://pay.example.com/charge"
  auth: { basic: { username: router, password: { env: HOME } } }
  tls: { ca: /etc/onward/ca.pem, cert: /etc/onward/cert.pem, key: /etc/onward/key.pem, serverName: pay.internal }
`,
	`
http: { url: "https://pay.example.com/charge", auth: { bearer: { env: HOME } }, handshake: { origin: events.example.com, rate: 120 } }
`,
	`
http: { url: "https://pay.example.com/charge", auth: { bearer: { file: /etc/hostname } } }
`,
	`
http: { url: "https://pay.example.com/charge", auth: { basic: { username: router, password: { file: /etc/hostname } } } }
`,
	`
http: { url: "https://pay.example.com/charge", auth: { oauth2: { tokenURL: "https://login.example.com/token", clientID: router, clientSecret: { env: HOME } } } }
`,
	`
http:
  url: https://lambda.eu-central-1.amazonaws.com/2015-03-31/functions/resize/invocations
  aws: { region: eu-central-1, service: lambda, accessKey: { env: HOME }, secretKey: { file: /etc/hostname }, token: { env: HOME } }
`,
	`
http:
  url: https://abc.lambda-url.eu-central-1.on.aws/
  aws: { region: eu-central-1, accessKey: { file: /etc/hostname }, secretKey: { env: HOME }, token: { file: /etc/hostname } }
`,
	`
http: { url: "https://abc.lambda-url.eu-central-1.on.aws/", aws: eu-central-1 }
`,
}
