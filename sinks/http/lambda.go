package http

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
)

// lambda tells what is Lambda's own in an answer; false leaves it to the rules for all.
//
// A failure comes with status 200: told by X-Amz-Function-Error, or Error-Type as the runtime emulator has it. Where neither they nor AWS's headers
// are there, by a body with errorType, or by the emulator's text of a time-out. A result that has an errorType beside AWS's headers is a result.
func lambda(resp *http.Response, body []byte) (sinks.Result, bool) {
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	h := resp.Header
	a, err := envelope.FromAnswer(h, body, MaxResponse)
	if err == nil {
		_ = json.Unmarshal([]byte(a.Value.JSON()), &said) // What is no object says nothing.
	}
	header, kind := h.Get("X-Amz-Function-Error"), h.Get("Error-Type")
	text, _ := a.Text()
	timedOut := strings.HasPrefix(text, "Task timed out after ")
	switch code := resp.StatusCode; {
	case code == http.StatusBadRequest && (said.Type == "Runtime.Unavailable" || kind == "Runtime.Unavailable"):
		return sinks.Again(0, &sinks.Error{Type: "Runtime.Unavailable", Message: message(code, body), Class: "throttle"}), true
	case code == http.StatusBadGateway && said.Type != "" && !isAWS(h):
	case code == http.StatusNotFound || code == 500 || code > 504:
		e := failure(resp, body)
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
		e.Data = []byte(a.Value.JSON())
	}
	return sinks.CompleteError(e), true
}

// isAWS reports the headers that the service puts beside every answer, and the emulator does not.
func isAWS(h http.Header) bool {
	return h.Get("X-Amzn-Requestid") != "" || h.Get("X-Amz-Executed-Version") != ""
}
