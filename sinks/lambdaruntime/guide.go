package lambdaruntime

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "Serves AWS Lambda's Runtime API (2018-06-01) for one function. A runtime of AWS's - `python -m awslambdaric app.handler`, a Go program with aws-lambda-go - that has\n" +
			"`AWS_LAMBDA_RUNTIME_API` polls it: the handler is unmodified. What nobody has asked for waits in the router; as many calls are at work as runtimes poll, and at most `concurrency`.\n" +
			"The handler finds the event's attributes in `client_context.custom`, and its deadline is that of the try. An answer after it is refused; a runtime that dies has lost a try, and the\n" +
			"call goes to another one under the same id, as often as `resends` and `maxAge` let it.",
		Errors: []string{
			"Unhandled: the handler failed and its runtime says no type of error; else the type is the runtime's (class function)",
			"Function.ResponseSizeTooLarge: the response has more than 16 MiB (class function)",
			"bad_response: what it answered is no JSON (class function)",
			"runtime_died, unreachable: no runtime answered it, and it was given up (class platform)",
		},
		Examples: []string{
			`
lambdaRuntime: 127.0.0.1:9001
`,
			`
lambdaRuntime: { listen: "0.0.0.0:9001", path: /resize, arn: "arn:aws:lambda:eu-central-1:123456789012:function:resize", insecure: true }
`,
		},
	}
}
