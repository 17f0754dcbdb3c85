// Package http is the sink that carries events out by HTTP, in the binary or structured mode of the CloudEvents HTTP binding 1.0.
//
// The response to an invocation is its completion. A response that proves nothing - no answer, or one of 408, 425, 429, 502, 503, 504 - is tried
// again under the same id.
package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Settings are the sink's part of a document.
type Settings struct {
	URL     string            `doc:"url,required" help:"where to send, e.g. http://127.0.0.1:7001/count"`
	Method  string            `doc:"method" help:"request method" default:"POST"`
	Headers map[string]Header `doc:"headers" help:"further headers: texts, or {env: NAME} and {file: PATH} for secrets"`
	Body    string            `doc:"body" help:"data (the input as JSON) or empty" default:"data"`
	Mode    string            `doc:"mode" help:"binary (attributes in headers) or structured (the event as JSON)" default:"binary"`
}

// A Header is a text, or a secret.
type Header struct {
	Text string `doc:"text,value" help:"the value"`
	Env  string `doc:"env" help:"name of the environment variable that holds it"`
	File string `doc:"file" help:"path of the file that holds it"`
}

func (h Header) value() (string, error) {
	if h.Env != "" || h.File != "" {
		return plugin.Secret{Env: h.Env, File: h.File}.Read()
	}
	return h.Text, nil
}

// Check reports what cannot be sent.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		out = append(out, plugin.Problem{Path: []string{"url"}, What: fmt.Sprintf("%q is not an http or https address", s.URL), Cure: "write http://host:port/path"})
	}
	if !isToken(s.Method) {
		out = append(out, plugin.Problem{Path: []string{"method"}, What: fmt.Sprintf("%q is not a method", s.Method), Cure: "write POST"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if !isToken(name) {
			out = append(out, plugin.Problem{Path: []string{"headers", name}, What: fmt.Sprintf("%q is not a header's name", name), Cure: "write letters, digits and -"})
		}
	}
	if s.Mode != "binary" && s.Mode != "structured" {
		out = append(out, plugin.Problem{Path: []string{"mode"}, What: fmt.Sprintf("unknown mode %q", s.Mode), Cure: "write binary or structured"})
	}
	if s.Body != "data" && s.Body != "empty" {
		out = append(out, plugin.Problem{Path: []string{"body"}, What: fmt.Sprintf("unknown body %q", s.Body), Cure: "write data or empty"})
	}
	return out
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"url":  plugin.Schema{"pattern": "^[hH][tT][tT][pP][sS]?://[^/?#]"},
		"mode": plugin.Schema{"enum": []any{"binary", "structured"}},
		"body": plugin.Schema{"enum": []any{"data", "empty"}},
	}}
}

// isToken reports what may stand as a method or a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}

// MaxResponse bounds the body of a response; a larger one is an outcome of its own, too_large.
const MaxResponse = 16 << 20

type sink struct {
	s      *Settings
	client *http.Client
	url    *url.URL
}

// New makes the sink. Its connections are as many as the outbox has deliveries in flight.
func New(_ string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	n := max(h.Concurrency, 1)
	return &sink{s: s, url: u, client: &http.Client{
		Transport: &http.Transport{
			Proxy:        http.ProxyFromEnvironment,
			DialContext:  (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConns: n, MaxIdleConnsPerHost: n, MaxConnsPerHost: n, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 256 << 10,
			WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (k *sink) Close() error {
	k.client.CloseIdleConnections()
	return nil
}

func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		go func() { d.Done(k.deliver(d)) }()
	}
}

func (k *sink) deliver(d *sinks.Delivery) (result sinks.Result) {
	req, err := k.request(d)
	if err != nil {
		return sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"})
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return k.noAnswer(d, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		return k.noAnswer(d, err)
	}
	if len(body) > MaxResponse {
		return sinks.CompleteError(&sinks.Error{Type: "too_large", Message: fmt.Sprintf("the response has more than %d bytes; pass a dataref instead", MaxResponse), Class: "function"})
	}
	return judge(d, resp, body)
}

// noAnswer tells a try whose time is over from a delivery that may not have arrived.
func (k *sink) noAnswer(d *sinks.Delivery, err error) sinks.Result {
	if d.Context.Err() != nil {
		return sinks.Ended(d.Context, "no answer from "+k.url.Host)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return sinks.Again(0, &sinks.Error{Type: "unreachable", Message: fmt.Sprintf("%s: %v", k.url.Host, err), Class: "platform"})
}

func (k *sink) request(d *sinks.Delivery) (*http.Request, error) {
	body := d.Event.Data()
	if k.s.Mode == "structured" {
		b, err := json.Marshal(d.Event)
		if err != nil {
			return nil, err
		}
		body = b
	} else if k.s.Body == "empty" {
		body = nil
	}
	req := (&http.Request{
		Method: k.s.Method, URL: k.url, Host: k.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, 20),
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(d.Context)
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	if k.s.Mode == "structured" {
		req.Header["Content-Type"] = []string{event.ApplicationCloudEventsJSON}
	} else {
		binaryHeaders(req.Header, d.Event)
	}
	for name, h := range k.s.Headers {
		v, err := h.value()
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil, fmt.Errorf("header %s: its value has a control character, such as a line's end", name)
		}
		if strings.EqualFold(name, "Host") {
			req.Host = v
			continue
		}
		req.Header.Set(name, v)
	}
	return req, nil
}

// binaryHeaders writes an event's attributes as headers (HTTP binding 1.0, section 3.1.3).
func binaryHeaders(h http.Header, e *event.Event) {
	set := func(name, value string) {
		if value != "" {
			h["Ce-"+strings.ToUpper(name[:1])+name[1:]] = []string{encodeHeader(value)}
		}
	}
	h["Content-Type"] = []string{e.DataContentType()}
	set("specversion", e.SpecVersion())
	set("id", e.ID())
	set("source", e.Source())
	set("type", e.Type())
	set("subject", e.Subject())
	set("dataschema", e.DataSchema())
	if !e.Time().IsZero() {
		set("time", types.FormatTime(e.Time()))
	}
	for name, v := range e.Extensions() {
		if text, err := types.Format(v); err == nil {
			set(name, text)
		}
	}
}

// encodeHeader percent-encodes what may not stand in a header: all but printable ASCII, and space, quote and percent (section 3.1.3.2).
func encodeHeader(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// The types of completions, as a function may say them itself (DESIGN 7).
const (
	typeSucceeded = "dev.onward.function.succeeded"
	typeFailed    = "dev.onward.function.failed"
	typeContinue  = "dev.onward.function.continue"
)

// judge makes a result of a response.
func judge(d *sinks.Delivery, resp *http.Response, body []byte) sinks.Result {
	code := resp.StatusCode
	switch {
	case code == 408, code == 425, code == 429, code == 502, code == 503, code == 504:
		class := "platform"
		if code == 429 {
			class = "throttle"
		}
		return sinks.Again(retryAfter(resp.Header), &sinks.Error{Type: "http_" + strconv.Itoa(code), Message: message(code, body), Class: class})
	case code == 202:
		return sinks.Accept()
	case code >= 300 && code < 400:
		return sinks.Fail(&sinks.Error{Type: "http_" + strconv.Itoa(code), Class: "platform", Message: fmt.Sprintf("it redirects to %q; put that address into url", resp.Header.Get("Location"))})
	case code >= 400:
		return failure(resp, body)
	}
	if !d.Invoke {
		return sinks.Accept()
	}
	if d.Contract == "lambda" {
		if e := lambdaError(resp, body); e != nil {
			return sinks.CompleteError(e)
		}
	}
	return completion(resp, body)
}

// completion reads the answer of a function: JSON, a text, or an event that says itself how it went.
func completion(resp *http.Response, body []byte) sinks.Result {
	kind := resp.Header.Get("Ce-Type")
	content := resp.Header.Get("Content-Type")
	if strings.HasPrefix(content, event.ApplicationCloudEventsJSON) {
		var e event.Event
		if err := e.UnmarshalJSON(body); err != nil {
			return sinks.CompleteError(&sinks.Error{Type: "bad_response", Message: "the response is no CloudEvent: " + err.Error(), Class: "function"})
		}
		kind, body = e.Type(), e.Data()
	}
	switch kind {
	case typeFailed:
		return sinks.CompleteError(errorBody(body, "failed", "the function failed"))
	case typeContinue:
		r := sinks.Complete(value(body))
		r.Completion.Continue = true
		return r
	}
	return sinks.Complete(value(body))
}

// value makes JSON of a body: as it is when it is JSON, whatever its Content-Type says (many servers guess text/plain), else a text.
func value(body []byte) []byte {
	if len(body) == 0 {
		return []byte("null")
	}
	if json.Valid(body) {
		return body
	}
	text, _ := json.Marshal(string(body)) // A string always marshals.
	return text
}

func failure(resp *http.Response, body []byte) sinks.Result {
	e := errorBody(body, "http_"+strconv.Itoa(resp.StatusCode), message(resp.StatusCode, body))
	return sinks.CompleteError(e)
}

// errorBody takes over {type, message, data}, alone or under error.
func errorBody(body []byte, kind, text string) *sinks.Error {
	type form struct {
		Type    string          `json:"type"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	var outer struct {
		form
		Error *form `json:"error"`
	}
	e := &sinks.Error{Type: kind, Message: text, Class: "function"}
	if json.Unmarshal(body, &outer) != nil {
		return e
	}
	f := outer.form
	if outer.Error != nil {
		f = *outer.Error
	}
	if f.Type != "" {
		e.Type = f.Type
	}
	if f.Message != "" {
		e.Message = f.Message
	}
	e.Data = f.Data
	return e
}

// lambdaError tells Lambda's failures, which come with status 200: the header, or a body with errorType and errorMessage.
func lambdaError(resp *http.Response, body []byte) *sinks.Error {
	var said struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	}
	_ = json.Unmarshal(body, &said)
	header := resp.Header.Get("X-Amz-Function-Error")
	if header == "" && (said.ErrorMessage == "" || said.ErrorType == "") {
		return nil
	}
	e := &sinks.Error{Type: said.ErrorType, Message: said.ErrorMessage, Class: "function"}
	if e.Type == "" {
		e.Type = "lambda_" + strings.ToLower(header)
	}
	if json.Valid(body) {
		e.Data = body
	}
	return e
}

func message(code int, body []byte) string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(body, []byte("?"))))
	if len(text) > 500 {
		text = text[:500] + "..."
	}
	if text == "" {
		return fmt.Sprintf("status %d %s", code, http.StatusText(code))
	}
	return fmt.Sprintf("status %d: %s", code, text)
}

// retryAfter reads the header's seconds or date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil && seconds >= 0 && seconds < 1<<20 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "http", 1, "Sends by HTTP; the response to an invocation is its completion.", New)
}
