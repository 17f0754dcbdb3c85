package openwhisk

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Runs an action of Apache OpenWhisk. With `host`, its controller is asked to run it without waiting (202 and an activation's id), and then for the activation's record, after 50 ms first and\n" +
			"every `poll` at last, until it is there or the try's time is over; no connection is held meanwhile. The activation's id is journaled: a router that begins again, or takes over, asks for\n" +
			"the result of the activation that there is, and starts none. Events that come in by a source and name the activation (`ticket` of its `as`) have the record asked for at once; with\n" +
			"`userEvents` it is asked for by them, and else every `poll` only. With `runtime`, a runtime alone is given the code (`/init`) once in each of its lives,\n" +
			"and then runs one call at a time (`/run`; more where `concurrency` says so, and the runtime can). A call that is given up keeps its room there until the runtime has let go of it.\n\n" +
			"The parameters are the input. In a runtime `__OW_ACTIVATION_ID` comes of the call's id: a call that is sent again has the same. Behind a controller each start is an activation of its\n" +
			"own; `attributes` gives the action the call's id. An action is started again where the controller's answer was lost, or the router ended before it had written the answer down.",
		Errors: []string{
			"application_error: the action has answered with a member `error`, which says no type (class function)",
			"developer_error: the action threw, exited, or answered with what is none; the runtime may be dead with it (class function)",
			"action_timeout: OpenWhisk has ended the action at its limit of time (class timeout)",
			"whisk_error: OpenWhisk could not run it (class platform)",
			"bad_ticket: the call was taken by another sink, before the function was changed to this one, and is not made again (class platform)",
			"bad_input: the input is no object, or has the member that `attributes` names (class function)",
			"bad_code: the runtime refuses the code (class function)",
			"runtime_not_ready: the runtime has its code and runs nothing more, and it was given up (class platform)",
			"bad_response: what was answered is neither a record nor an action's answer (class function)",
			"too_large: the response has too many bytes (class function)",
			"http_4xx, http_5xx: it answered that code, such as `http_404` for an action that is not there (class platform; function for 400 and 413; throttle for 429)",
			"egress_refused: the settings of egress do not let the router connect there (class platform)",
			"unready: the key, the code, a secret or a certificate could not be had; given up, it is the `data.last` of an `undelivered` (class platform)",
			"unreachable: it could not be reached; given up, it is the `data.last` of an `undelivered` (class platform)",
		},
		Examples: []string{
			`
openwhisk:
  host: https://whisk.example.com
  namespace: guest
  action: images/resize
  auth: { env: HOME }
  poll: 500ms
  param: items
  attributes: event
  tls: { ca: /etc/onward/ca.pem, cert: /etc/onward/cert.pem, key: /etc/onward/key.pem, serverName: whisk.internal }
`,
			`
openwhisk: { host: "http://127.0.0.1:3233", action: hello, auth: { file: /etc/hostname }, userEvents: true }
`,
			`
openwhisk:
  runtime: http://127.0.0.1:8080
  code: { file: hello.zip }
  binary: true
  main: hello
  env: { MODE: fast, MODEL: { text: small }, KEY: { env: HOME }, PIN: { file: /etc/hostname } }
`,
			`
openwhisk: { runtime: "http://127.0.0.1:8080", code: { text: "function main(p) { return { n: p.n + 1 } }" } }
`,
		},
	}
}
