package contract

import (
	"fmt"
	"net/http"

	"github.com/onward-router/onward/sinks"
)

// openfaas is OpenFaaS: its gateway, or a watchdog alone. X-Call-Id is the invocation's id, with which a callback comes back: asked at /async-function/NAME with
// the header X-Callback-Url it answers 202, and the callback has the answer's body and X-Function-Status.
var openfaas = &Contract{
	Name: "openfaas", Summary: "OpenFaaS, sync or with a callback: 408 and 504 of a watchdog are the function's time-out", Concurrency: concurrency,
	Unproven: []int{425, 429, 502, 503, 504},
	Ask:      func(d *sinks.Delivery, req *http.Request) { req.Header["X-Call-Id"] = []string{d.ID()} },
	own:      readOpenFaaS,
}

func readOpenFaaS(a *Answer) (sinks.Result, bool) {
	watchdog := a.Header.Get("X-Openfaas-Internal") != ""
	text := a.message(a.Body)
	if took := a.Header.Get("X-Duration-Seconds"); took != "" && len(took) <= 20 {
		text = fmt.Sprintf("%s, after %s s", text, took)
	}
	switch {
	case a.Code == http.StatusRequestTimeout, a.Code == http.StatusGatewayTimeout && watchdog:
		return sinks.CompleteError(&sinks.Error{Type: "exec_timeout", Message: text, Class: "timeout"}), true
	case a.Code == http.StatusInternalServerError && watchdog:
		return sinks.CompleteError(&sinks.Error{Type: "upstream_died", Message: text, Class: "platform"}), true
	case a.Code == http.StatusNotFound && a.Header.Get("X-Call-Id") != "" && a.Header.Get("X-Duration-Seconds") == "":
		return sinks.CompleteError(&sinks.Error{Type: a.kind(), Message: text, Class: "platform"}), true // The gateway has no such function.
	}
	return sinks.Result{}, false
}
