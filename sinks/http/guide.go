package http

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Sends each invocation as a request; the response is its completion: 2xx and the body, or 202 when the completion comes later, by an event. No answer, 408, 425, 429, 502, 503 and\n" +
			"504 are sent again under the same id; other codes are failures.",
		Errors: []string{
			"bad_request: the invocation cannot be made a request (class platform)",
			"http_4xx, http_5xx: it answered that code; the type has the number, such as `http_404` (class function, for 429 throttle)",
			"unreachable: it could not be reached, and was given up (class platform)",
			"too_large: the response has too many bytes (class function)",
			"Runtime.Unavailable: with `contract: lambda`, that runtime has no place (class throttle)",
		},
		Examples: []string{
			`
http:
  url: "http://127.0.0.1:7001/count"
  method: PUT
  headers: { X-Api-Key: { env: HOME }, X-Pin: { file: /etc/hostname }, X-Plain: text, X-Same: { text: text } }
  body: empty
  mode: structured
`,
		},
	}
}
