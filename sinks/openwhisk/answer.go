package openwhisk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
)

// asking is how a far end is asked.
type asking struct {
	s       *Settings
	clients *client.Clients
}

// send sends a request and reads the answer. What is wrong with the router's own settings wraps client.ErrUnready.
func (k *asking) send(ctx context.Context, method string, to *url.URL, body io.Reader, dress func(*http.Request) error) (*contract.Answer, error) {
	by, err := k.clients.Get()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if dress != nil {
		if err := dress(req); err != nil {
			return nil, fmt.Errorf("%w: %w", client.ErrUnready, err)
		}
	}
	resp, err := by.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &contract.Answer{Code: resp.StatusCode, Header: resp.Header}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, contract.MaxResponse+1))
	return a, err
}

// tooLarge is the result of an answer with more than is read of one.
func tooLarge() sinks.Result {
	return sinks.CompleteError(&sinks.Error{Type: "too_large", Message: fmt.Sprintf("the response has more than %d bytes; pass a dataref instead", contract.MaxResponse), Class: "function"})
}

// unread is the result of an answer that is none.
func unread(what string) sinks.Result {
	return sinks.CompleteError(&sinks.Error{Type: "bad_response", Message: what, Class: "function"})
}

// unproven reports the codes by which nobody knows whether an action has run.
func unproven(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500
}

// refused is the result of an answer that is no action's.
func refused(a *contract.Answer) sinks.Result {
	switch {
	case unproven(a.Code):
		return a.Again()
	case a.Code < 300:
		return unread(fmt.Sprintf("status %d is none that OpenWhisk answers with; is that its address?", a.Code))
	case a.Code < 400:
		return sinks.Fail(&sinks.Error{Type: fmt.Sprintf("http_%d", a.Code), Class: "platform", Message: fmt.Sprintf("it redirects to %q; write that address", a.Header.Get("Location"))})
	}
	e := a.Failure()
	if a.Code != http.StatusBadRequest && a.Code != http.StatusRequestEntityTooLarge {
		e.Class = "platform" // There is no such action, or it is not the router's to ask.
	}
	return sinks.CompleteError(e)
}

// record is as much of an activation record as counts.
type record struct {
	Response struct {
		Status  string          `json:"status"`
		Code    int             `json:"statusCode"`
		Success bool            `json:"success"`
		Result  json.RawMessage `json:"result"`
	} `json:"response"`
	Annotations []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	} `json:"annotations"`
}

// timedOut reports that the action was ended at its limit of time.
func (r *record) timedOut() bool {
	for _, a := range r.Annotations {
		if a.Key == "timeout" && a.Value == true {
			return true
		}
	}
	return false
}

// recorded is the result of an activation, from its record.
func recorded(body []byte) sinks.Result {
	v, err := lang.ParseValue(body)
	if err != nil {
		return unread("the activation record cannot be read: " + err.Error())
	}
	var r record
	if err := v.Decode(&r); err != nil || r.Response.Status == "" && r.Response.Code == 0 && !r.Response.Success {
		return unread("what was answered is no activation record; is that OpenWhisk's address?")
	}
	result := lang.Null
	if len(r.Response.Result) > 0 {
		if result, err = lang.ParseValue(r.Response.Result); err != nil {
			return unread("the result in the activation record cannot be read: " + err.Error())
		}
	}
	switch {
	case r.Response.Success:
		return sinks.Complete([]byte(result.JSON()))
	case r.timedOut():
		return failed(result, &sinks.Error{Type: "action_timeout", Message: "the action was ended at its limit of time", Class: "timeout"})
	case strings.Contains(r.Response.Status, "internal") || r.Response.Code == 3:
		return failed(result, &sinks.Error{Type: "whisk_error", Message: "OpenWhisk could not run it", Class: "platform"})
	case strings.Contains(r.Response.Status, "developer") || r.Response.Code == 2:
		return failed(result, &sinks.Error{Type: "developer_error", Message: "the action broke down", Class: "function"})
	}
	return failed(result, &sinks.Error{Type: "application_error", Message: "the action failed", Class: "function"})
}

// failed is the result of a failure whose value may say more of it than e does.
func failed(v lang.Value, e *sinks.Error) sinks.Result {
	said := envelope.FailureOf(v, false)
	e.Type, e.Message = cmp.Or(said.Type, e.Type), cmp.Or(said.Message, e.Message)
	if !said.Data.IsNull() {
		e.Data = []byte(said.Data.JSON())
	}
	return sinks.CompleteError(e)
}

// ran is the result of a run in a runtime alone, and whether it is one: false says that the runtime was not ready, and has not run it.
func ran(a *contract.Answer) (r sinks.Result, is bool) {
	if len(a.Body) > contract.MaxResponse {
		return tooLarge(), true
	}
	v, err := lang.ParseValue(a.Body)
	body := v.JSON()
	var said struct {
		Error json.RawMessage `json:"error"`
	}
	if err == nil && body[0] == '{' {
		_ = v.Decode(&said) // It is an object.
	}
	text := string(bytes.ToLower(a.Body[:min(len(a.Body), 4<<10)]))
	switch {
	case a.Code == http.StatusOK && err != nil:
		return unread("the action's answer cannot be read: " + err.Error()), true
	case a.Code == http.StatusOK && said.Error != nil:
		return failed(v, &sinks.Error{Type: "application_error", Message: "the action failed", Class: "function"}), true
	case a.Code == http.StatusOK && body[0] != '{' && body[0] != '[' && !v.IsNull():
		return unread("an action answers an object or a list"), true
	case a.Code == http.StatusOK:
		return sinks.Complete([]byte(body)), true
	case a.Code == http.StatusForbidden, strings.Contains(text, "not ready"), strings.Contains(text, "no action defined"):
		return sinks.Result{}, false
	case a.Code == http.StatusBadGateway, a.Code == http.StatusInternalServerError, a.Code == http.StatusBadRequest:
		return failed(v, &sinks.Error{Type: "developer_error", Message: a.Failure().Message, Class: "function"}), true
	}
	return refused(a), true
}
