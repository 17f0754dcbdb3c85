package contract

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
)

// lambda is AWS Lambda's Invoke API, a function URL, and the runtime interface emulator. None of them breaks a call off when who asked has gone.
//
// Called with X-Amz-Invocation-Type: Event it answers 202, and the completion comes as the record of a destination: mode structured sends the whole event as the
// payload, so that requestPayload.id is the invocation's id.
var lambda = &Contract{
	Name: "lambda", Summary: "AWS Lambda's Invoke API, a function URL or the runtime emulator: a 200 may be a failure", Concurrency: concurrency, Whole: true,
	Unproven: usual, own: readLambda,
}

// Emulated reports an address of the runtime interface emulator, which dies of a second call beside the first.
func Emulated(path string) bool { return strings.HasSuffix(path, "/functions/function/invocations") }

// readLambda tells what is Lambda's own in an answer; false leaves it to the rules for all.
//
// A failure comes with status 200: told by X-Amz-Function-Error, or Error-Type as the runtime emulator has it. Where neither they nor AWS's headers
// are there, by a body with errorType, or by the emulator's text of a time-out. A result that has an errorType beside AWS's headers is a result.
func readLambda(a *Answer) (sinks.Result, bool) {
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	h := a.Header
	answer, err := envelope.FromAnswer(h, a.Body, MaxResponse)
	if err == nil {
		_ = json.Unmarshal([]byte(answer.Value.JSON()), &said) // What is no object says nothing.
	}
	header, kind := h.Get("X-Amz-Function-Error"), h.Get("Error-Type")
	text, _ := answer.Text()
	timedOut := strings.HasPrefix(text, "Task timed out after ")
	switch code := a.Code; {
	case code == http.StatusBadRequest && (said.Type == "Runtime.Unavailable" || kind == "Runtime.Unavailable"):
		return sinks.Again(0, &sinks.Error{Type: "Runtime.Unavailable", Message: a.message(a.Body), Class: "throttle"}), true
	case code == http.StatusBadGateway && said.Type != "" && !isAWS(h):
	case code == http.StatusNotFound || code == 500 || code > 504:
		e := a.Failure()
		e.Class = "platform"
		if name, _, _ := strings.Cut(h.Get("X-Amzn-Errortype"), ":"); name != "" {
			e.Type = name
		}
		return sinks.CompleteError(e), true
	case code/100 != 2 || code == http.StatusAccepted:
		return sinks.Result{}, false
	case header == "" && kind == "" && (isAWS(h) || said.Type == "" && !timedOut):
		return sinks.Result{}, false
	}
	e := &sinks.Error{Type: said.Type, Message: said.Message, Class: "function"}
	for _, name := range []string{kind, map[bool]string{true: "Sandbox.Timedout"}[timedOut], "lambda_" + strings.ToLower(header)} {
		if e.Type == "" {
			e.Type = name
		}
	}
	if e.Message == "" {
		e.Message = text
	}
	if e.Type == "Sandbox.Timedout" || strings.Contains(e.Message, "Task timed out after ") {
		e.Class = "timeout"
	}
	if err == nil {
		e.Data = []byte(answer.Value.JSON())
	}
	return sinks.CompleteError(e), true
}

// isAWS reports the headers that the service puts beside every answer, and the emulator does not.
func isAWS(h http.Header) bool {
	return h.Get("X-Amzn-Requestid") != "" || h.Get("X-Amz-Executed-Version") != ""
}
