package exec

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Runs a program for each invocation: the input is its standard input, and what it prints is its answer. An exit code but 0 is a failure.",
		Errors: []string{
			"bad_request: the invocation cannot be given to a program (class platform)",
			"too_large: it printed too much (class function)",
			"not_started: it could not be started (class platform)",
			"bad_response: what it printed is no answer (class function)",
		},
		Examples: []string{
			`
exec:
  command: [/bin/cat, -]
  dir: /tmp
  env: [PATH, LANG=C]
  secrets: { TOKEN: { env: HOME }, PIN: { file: /etc/hostname } }
  grace: 5s
`,
			`
exec: cat
`,
		},
	}
}
