package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/sinks"
)

// TestEveryCode: what each status says under each contract, an answer of nothing else; the table in contract.go in other words.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	for _, contract := range Names() {
		for code := 200; code < 600; code++ {
			want := sinks.Completed
			class := map[bool]string{true: "function"}[code >= 400]
			switch code {
			case 202:
				want = sinks.Accepted
			case 408, 425, 502, 503, 504:
				want, class = sinks.Retry, "platform"
			case 429:
				want, class = sinks.Retry, "throttle"
			}
			if code >= 300 && code < 400 {
				want, class = sinks.Failed, "platform"
			}
			switch {
			case contract == "lambda" && (code == 404 || code == 500 || code > 504):
				class = "platform"
			case contract == "knative" && code == 202:
				want = sinks.Completed
			case contract == "knative" && (code == 404 || code == 409):
				want, class = sinks.Retry, "platform"
			case contract == "openfaas" && code == 408:
				want, class = sinks.Completed, "timeout"
			}
			r := judge(&sinks.Delivery{Invoke: true, Contract: contract}, code, http.Header{}, nil)
			got := ""
			switch {
			case r.Err != nil:
				got = r.Err.Class
			case r.Completion.Err != nil:
				got = r.Completion.Err.Class
			}
			if r.Verdict != want || got != class {
				t.Errorf("%s, %d: %v %q; want %v %q", contract, code, r.Verdict, got, want, class)
			}
		}
	}
}

// TestCodesOfRuntimes: what runtimes were seen to answer (reference/runtimes.md), and what is made of it under the contract that they are asked by.
func TestCodesOfRuntimes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		contract string
		code     int
		header   string
		body     string
		want     sinks.Verdict
		class    string
	}{
		"functions-framework, a failure":       {"http", 500, "Content-Type: text/html", "<h1>Internal Server Error</h1>", sinks.Completed, "function"},
		"of-watchdog, exec_timeout":            {"openfaas", 504, "X-Openfaas-Internal: of-watchdog", "", sinks.Completed, "timeout"},
		"of-watchdog, its function died":       {"openfaas", 500, "X-Openfaas-Internal: of-watchdog", "", sinks.Completed, "platform"},
		"of-watchdog, at its limit":            {"openfaas", 429, "", "", sinks.Retry, "throttle"},
		"the gateway's own time-out":           {"openfaas", 504, "", "", sinks.Retry, "platform"},
		"classic-watchdog, exec_timeout":       {"openfaas", 408, "", "", sinks.Completed, "timeout"},
		"classic-watchdog, a failure":          {"openfaas", 500, "", "exit status 1", sinks.Completed, "function"},
		"OpenWhisk, a developer's error":       {"http", 502, "", `{"error":"boom"}`, sinks.Retry, "platform"},
		"OpenWhisk, initialized twice":         {"http", 403, "", "", sinks.Completed, "function"},
		"Knative, done":                        {"knative", 202, "", "", sinks.Completed, ""},
		"Lambda, a function's failure":         {"lambda", 200, "X-Amz-Function-Error: Unhandled", `{"errorType":"E","errorMessage":"m"}`, sinks.Completed, "function"},
		"Lambda, a result like a failure":      {"lambda", 200, "X-Amzn-Requestid: 1", `{"errorType":"E","errorMessage":"m"}`, sinks.Completed, ""},
		"Lambda, throttled":                    {"lambda", 429, "X-Amzn-Requestid: 1", "{}", sinks.Retry, "throttle"},
		"Lambda, unavailable":                  {"lambda", 400, "Error-Type: Runtime.Unavailable", "", sinks.Retry, "throttle"},
		"Lambda, no such function":             {"lambda", 404, "X-Amzn-Errortype: ResourceNotFoundException:", "{}", sinks.Completed, "platform"},
		"Lambda, its service":                  {"lambda", 500, "X-Amzn-Errortype: ServiceException", "{}", sinks.Completed, "platform"},
		"the emulator, a time-out":             {"lambda", 200, "", "Task timed out after 3.00 seconds", sinks.Completed, "timeout"},
		"the emulator, a runtime that died":    {"lambda", 502, "", `{"errorType":"Runtime.ExitError","errorMessage":"exit status 1"}`, sinks.Completed, "function"},
		"a proxy before Lambda that is broken": {"lambda", 502, "", "<html/>", sinks.Retry, "platform"},
		"Lambda, asynchronous":                 {"lambda", 202, "X-Amzn-Requestid: 1", "", sinks.Accepted, ""},
	} {
		h := http.Header{}
		if key, value, ok := strings.Cut(c.header, ": "); ok {
			h.Set(key, value)
		}
		r := judge(&sinks.Delivery{Invoke: true, Contract: c.contract}, c.code, h, []byte(c.body))
		got := ""
		switch {
		case r.Err != nil:
			got = r.Err.Class
		case r.Completion.Err != nil:
			got = r.Completion.Err.Class
		}
		if r.Verdict != c.want || got != c.class {
			t.Errorf("%s: %v %q; want %v %q", name, r.Verdict, got, c.want, c.class)
		}
	}
}
