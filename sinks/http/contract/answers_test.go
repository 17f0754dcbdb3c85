package contract

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // Into memory.
	_ = w.Close()
	return b.String()
}

type said struct {
	code     int
	header   string // "Name: value" a line
	body     string
	contract string
}

func (s said) judge(t *testing.T) string {
	h := make(http.Header)
	for _, line := range strings.Split(s.header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Add(name, value)
		}
	}
	d := invocation(t.Context())
	if s.contract != "" {
		d.Contract = s.contract
	}
	if s.code == 0 {
		s.code = 200
	}
	return sinktest.Describe(judge(d, s.code, h, []byte(s.body)))
}

const asJSON, asText, asHTML = "Content-Type: application/json", "Content-Type: text/plain; charset=utf-8", "Content-Type: text/html"

// TestSuccesses: an answer with 200 is a success only when it is what it says it is.
func TestSuccesses(t *testing.T) {
	t.Parallel()
	structured := func(kind, more string) string {
		return `{"specversion": "1.0", "id": "1", "source": "/f", "type": "` + kind + `"` + more + `}`
	}
	const event = "Content-Type: Application/CloudEvents+JSON; charset=UTF-8"
	for name, c := range map[string]struct {
		said
		want string
	}{
		"JSON cut short": {said{header: asJSON, body: `{"a":1`}, "error function bad_response: the response is no answer: it is not JSON"}, "JSON by suffix, cut short": {said{header: "Content-Type: application/x+json", body: `{`}, "error function bad_response"},
		"NaN, as Flask's jsonify says it": {said{header: asJSON, body: "NaN"}, "error function bad_response"}, "HTML": {said{header: asHTML, body: "<html>login</html>"}, "error function bad_response: the response is no answer: it is an HTML page"},
		"XHTML": {said{header: "Content-Type: Application/XHTML+xml", body: "<html/>"}, "error function bad_response"}, "no media type": {said{header: "Content-Type: ;;", body: "1"}, "error function bad_response"},
		"two content types": {said{header: asJSON + "\n" + asText, body: "1"}, "error function bad_response"}, "gzip": {said{header: asJSON + "\nContent-Encoding: gzip", body: zip(`{"a":1}`)}, `completed {"a":1}`},
		"gzip that is none": {said{header: asJSON + "\nContent-Encoding: gzip", body: "{}"}, "error function bad_response"}, "br": {said{header: asJSON + "\nContent-Encoding: br", body: "x"}, "error function bad_response"},
		"a bomb": {said{header: asJSON + "\nContent-Encoding: gzip", body: zip(strings.Repeat(" ", 40<<20) + "1")}, "error function too_large"}, "ISO-8859-1": {said{header: "Content-Type: text/plain; charset=ISO-8859-1", body: "caf\xe9"}, `completed "café"`},
		"JSON in ISO-8859-1": {said{header: asJSON + "; charset=iso-8859-1", body: "\"\xe9\""}, `completed "é"`}, "JSON not UTF-8": {said{header: asJSON, body: "\"\xe9\""}, "error function bad_response"}, "text not UTF-8": {said{header: asText, body: "\xff"}, "error function bad_response"},
		"PNG": {said{header: "Content-Type: image/png", body: "\x89PNG\xff"}, `completed {"datacontenttype":"image/png","data_base64":"iVBOR/8="}`}, "PNG that is text": {said{header: "Content-Type: image/png", body: "hi"}, `completed {"datacontenttype":"image/png","data_base64":"aGk="}`},
		"untyped bytes": {said{body: "\xff"}, `completed {"data_base64":"/w=="}`}, "too deep": {said{header: asJSON, body: strings.Repeat("[", 600) + strings.Repeat("]", 600)}, "error function bad_response"}, "too deep, untyped": {said{body: strings.Repeat("[", 600) + strings.Repeat("]", 600)}, "error function bad_response"},
		"JSON with a mark": {said{header: asJSON, body: "\ufeff[1]"}, "completed [1]"}, "JSON that a server took for text": {said{header: asText, body: `{"a": 1}`}, `completed {"a":1}`}, "octets that are JSON (of-watchdog)": {said{header: "Content-Type: application/octet-stream", body: "[1]"}, "completed [1]"},
		"an event in 0.3 that ends the SDK": {said{header: event, body: `{"datacontentencoding":"","specversion":"0.3","id":"1","source":"/a","type":"t"}`}, "error function bad_response"}, "a batch": {said{header: "Content-Type: application/cloudevents-batch+json", body: "[]"}, "error function bad_response"},
		"a failed event, in capitals": {said{header: event, body: structured(typeOf("failed"), `, "data": {"type":"T","message":"m"}`)}, "error function T: m"}, "a failed event in base64": {said{header: event, body: structured(typeOf("failed"), `, "data_base64": "eyJ0eXBlIjoiVCJ9", "datacontenttype": "application/json"`)}, "error function T: the function failed"},
		"bytes in an event": {said{header: event, body: structured("t", `, "data_base64": "AP8="`)}, `completed {"data_base64":"AP8="}`}, "typed bytes in an event": {said{header: event, body: structured("t", `, "datacontenttype": "image/png", "data_base64": "AP8="`)}, `completed {"datacontenttype":"image/png","data_base64":"AP8="}`},
		"continue in headers": {said{header: "Ce-Specversion: 1.0\nCe-Id: 1\nCe-Source: /f\nCe-Type: " + typeOf("continue") + "\n" + asJSON, body: `{"at":1}`}, `continue {"at":1}`}, "an event without an id": {said{header: "Ce-Specversion: 1.0\nCe-Source: /f\nCe-Type: t\n" + asJSON, body: "1"}, "error function bad_response: the response is no answer: id is missing"},
		"an event of another version": {said{header: "Ce-Specversion: 2.0\nCe-Id: 1\nCe-Source: /f\nCe-Type: " + typeOf("failed") + "\n" + asJSON, body: "1"}, "error function bad_response"}, "a failure that is no JSON": {said{header: "Ce-Type: " + typeOf("failed") + "\n" + asJSON, body: "{"}, "error function bad_response"},
	} {
		if got := c.judge(t); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.300s; want %s", name, got, c.want)
		}
	}
}

func typeOf(outcome string) string { return "dev.onward.function." + outcome }

// TestFailures: what an error's body says, in whatever form it does, reaches the error's type, message and data.
func TestFailures(t *testing.T) {
	t.Parallel()
	const problem = "Content-Type: application/problem+json"
	for name, c := range map[string]struct {
		said
		want string
	}{
		"ours":            {said{code: 500, header: asJSON, body: `{"type":"boom","message":"it broke","data":{"x":1}}`}, `error function boom: it broke {"x":1}`},
		"ours, and more":  {said{code: 500, header: asJSON, body: `{"type":"boom","message":"m","code":7}`}, `error function boom: m {"type":"boom","message":"m","code":7}`},
		"no data":         {said{code: 500, header: asJSON, body: `{"type":"boom","message":"m"}`}, `error function boom: m `},
		"FastAPI":         {said{code: 422, header: asJSON, body: `{"detail":{"code":7}}`}, `error function http_422: status 422: {"detail":{"code":7}} {"detail":{"code":7}}`},
		"FastAPI's text":  {said{code: 404, header: asJSON, body: `{"detail":"Not Found"}`}, `error function http_404: Not Found {"detail":"Not Found"}`},
		"a problem":       {said{code: 403, header: problem, body: `{"type":"https://example.com/credit","title":"No credit","detail":"30 of 50","status":403}`}, `error function http_403: 30 of 50 {"type":"https://example.com/credit","title":"No credit","detail":"30 of 50","status":403}`},
		"a problem, word": {said{code: 403, header: problem + "; charset=utf-8", body: `{"type":"credit","title":"No credit"}`}, `error function http_403: No credit {"type":"credit","title":"No credit"}`},
		"its own words":   {said{code: 403, header: problem, body: `{"type":"https://x.example/p","title":"T","message":"ext","data":{"a":1},"error":{"type":"E","message":"m"}}`}, `error function http_403: T {"type":"https://x.example/p","title":"T","message":"ext","data":{"a":1},"error":{"type":"E","message":"m"}}`},
		"wrong types":     {said{code: 400, header: problem, body: `{"type":5,"title":["x"],"detail":{"a":1},"status":"400"}`}, `error function http_400: status 400: {"type":5,"title":["x"],"detail":{"a":1},"status":"400"} {"type":5,"title":["x"],"detail":{"a":1},"status":"400"}`},
		"no title":        {said{code: 422, header: problem, body: `{"balance":30}`}, `error function http_422: status 422: {"balance":30} {"balance":30}`},
		"a JSON text":     {said{code: 500, header: asJSON, body: ` "boom" `}, `error function http_500: status 500: boom "boom"`},
		"a number":        {said{code: 500, header: asJSON, body: `5`}, `error function http_500: status 500: 5 5`},
		"about:blank":     {said{code: 500, header: asJSON, body: `{"type":"about:blank","title":"T"}`}, `error function http_500: T {"type":"about:blank","title":"T"}`},
		"a word for it":   {said{code: 500, header: asJSON, body: `{"error":"boom"}`}, `error function http_500: boom {"error":"boom"}`},
		"enveloped":       {said{code: 500, header: asJSON, body: `{"error":{"type":"T","message":"m","data":[1]}}`}, `error function T: m [1]`},
		"enveloped, more": {said{code: 500, header: asJSON, body: `{"error":{"type":"T","message":"m"},"id":5}`}, `error function T: m {"error":{"type":"T","message":"m"},"id":5}`},
		"a list":          {said{code: 500, header: asJSON, body: `[1]`}, `error function http_500: status 500: [1] [1]`},
		"text":            {said{code: 500, header: asText, body: "boom"}, `error function http_500: status 500: boom `},
		"HTML":            {said{code: 500, header: asHTML, body: "<h1>boom</h1>"}, `error function http_500: status 500: boom `},
		"Flask's page":    {said{code: 500, header: asHTML, body: "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n<p>The server"}, `error function http_500: status 500: Internal Server Error `},
		"a page unsaid":   {said{code: 500, body: "<!DOCTYPE html><p>no</p>"}, `error function http_500: status 500: no `},
		"no page":         {said{code: 500, header: asText, body: "<nil> is no map"}, `error function http_500: status 500: <nil> is no map `},
		"gzip":            {said{code: 500, header: asJSON + "\nContent-Encoding: gzip", body: zip(`{"type":"T","message":"m"}`)}, `error function T: m `},
		"no JSON":         {said{code: 500, header: asJSON, body: `{`}, `error function http_500: status 500: { `},
		"nothing":         {said{code: 500}, `error function http_500: status 500 Internal Server Error `},
		"a type of 1 MiB": {said{code: 500, header: asJSON, body: `{"type":"` + strings.Repeat("x", 1<<20) + `","message":"m"}`}, `error function http_500: m {"type":"xxx`},
		"a rust path":     {said{code: 500, header: asJSON, body: `{"type":"std::io::Error","message":"m"}`}, `error function std::io::Error: m `},
	} {
		if got := c.judge(t); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.300s; want %s", name, got, c.want)
		}
	}
	long := said{code: 500, header: asJSON, body: `{"message":"` + strings.Repeat("ü", 1<<20) + `"}`}.judge(t)
	if message, _, _ := strings.Cut(long, " {"); len(message) > 5<<10 || !strings.Contains(long, `{"message":"ü`) {
		t.Errorf("a message of %d bytes", len(message))
	}
}

// TestLambda: how Lambda, and its emulator, tell failures.
func TestLambda(t *testing.T) {
	t.Parallel()
	const aws = "X-Amzn-Requestid: 1\nX-Amz-Executed-Version: $LATEST\n"
	failure := `{"errorType":"E","errorMessage":"m","stackTrace":[]}`
	for name, c := range map[string]struct {
		said
		want string
	}{
		"an error's body":                        {said{body: failure}, "error function E: m " + failure},
		"an error's body without a message":      {said{body: `{"errorType":"E"}`}, `error function E:  {"errorType":"E"}`},
		"a result that has errorType, from AWS":  {said{header: aws, body: failure}, "completed " + failure},
		"AWS's header":                           {said{header: aws + "X-Amz-Function-Error: Unhandled", body: failure}, "error function E: m"},
		"AWS's header, nothing else":             {said{header: aws + "X-Amz-Function-Error: Handled", body: "null"}, "error function lambda_handled: "},
		"AWS's time-out":                         {said{header: aws + "X-Amz-Function-Error: Unhandled", body: `{"errorMessage":"2026-11-26T00:00:00Z 1 Task timed out after 3.00 seconds"}`}, "error timeout lambda_unhandled: 2026"},
		"AWS's time-out by type":                 {said{header: aws + "X-Amz-Function-Error: Unhandled", body: `{"errorType":"Sandbox.Timedout","errorMessage":"x"}`}, "error timeout Sandbox.Timedout: x"},
		"the emulator's header":                  {said{header: "Error-Type: Runtime.ExitError", body: `{"errorType":"Runtime.ExitError"}`}, "error function Runtime.ExitError"},
		"the emulator's header alone":            {said{header: "Error-Type: Function.Panic", body: ""}, "error function Function.Panic"},
		"the emulator's time-out":                {said{header: asText, body: "Task timed out after 5.00 seconds"}, `error timeout Sandbox.Timedout: Task timed out after 5.00 seconds`},
		"a result that tells of a time-out":      {said{header: aws, body: `"Task timed out after 5.00 seconds"`}, `completed "Task timed out after 5.00 seconds"`},
		"too large":                              {said{header: aws + "X-Amz-Function-Error: Unhandled", body: `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"m"}`}, "error function Function.ResponseSizeTooLarge: m"},
		"502 of the emulator":                    {said{code: 502, body: failure}, "error function E: m"},
		"502 of a gateway":                       {said{code: 502, body: "bad gateway"}, "retry 0s platform http_502"},
		"throttled":                              {said{code: 429, header: aws + "Retry-After: 3"}, "retry 3s throttle http_429"},
		"busy, as the emulator says it":          {said{code: 400, body: `{"errorType":"Runtime.Unavailable"}`}, "retry 0s throttle Runtime.Unavailable"},
		"no such function":                       {said{code: 404, header: aws + "X-Amzn-Errortype: ResourceNotFoundException:http://x/", body: `{"Message":"Function not found","Type":"User"}`}, "error platform ResourceNotFoundException"},
		"the service broke":                      {said{code: 500, header: aws + "X-Amzn-Errortype: ServiceException"}, "error platform ServiceException"},
		"invalid":                                {said{code: 400, header: aws, body: `{"message":"m"}`}, "error function http_400: m"},
		"a result":                               {said{header: aws + asJSON, body: `{"ok":true}`}, `completed {"ok":true}`},
		"a result that the emulator's Go sniffs": {said{header: asText, body: `{"ok":true}`}, `completed {"ok":true}`},
		"nothing":                                {said{}, "completed null"},
		"later":                                  {said{code: 202}, "accepted"},
	} {
		c.contract = "lambda"
		if got := c.judge(t); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.300s; want %s", name, got, c.want)
		}
	}
	// What is Lambda's counts for functions of that contract only.
	if got := (said{body: failure}).judge(t); got != "completed "+failure {
		t.Error(got)
	}
}

// TestOddBatch: whose answer in a batch is no event is told why, beside that there is none for it.
func TestOddBatch(t *testing.T) {
	t.Parallel()
	c := Named("http")
	a := &Answer{Code: 200, Header: http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, Body: []byte(`[{"specversion":"1.0","id":"","source":"/f","type":"t","causationid":"a"}]`)}
	r := c.ReadBatch(a, []Asked{{ID: "a", Invoke: true}}, lang.Expr{})
	if want := "the batch of 1 answers has none whose causationid is its id; 1 of them are no events: "; r[0].Verdict != sinks.Retry || !strings.HasPrefix(r[0].Err.Message, want) || !strings.Contains(r[0].Err.Message, "id") {
		t.Errorf("%v %v", r[0].Verdict, r[0].Err)
	}
}
