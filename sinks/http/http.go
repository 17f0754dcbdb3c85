// Package http is the sink that carries events out by HTTP, in the binary or structured mode of the CloudEvents HTTP binding 1.0.
//
// The response to an invocation is its completion. A response that proves nothing - no answer, or a code that proves nothing under the function's contract
// (codes.go) - is tried again under the same id.
package http

import (
	"bytes"
	"context"
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
	"github.com/onward-router/onward/config/envelope"
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
	sinks.Each(deliveries, k.deliver)
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
		b, err := envelope.Marshal(d.Event)
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
		envelope.WriteHeaders(req.Header, d.Event)
	}
	if c, ok := envelope.Traced(d.Event); ok {
		if req.Header[envelope.HeaderParent] = []string{c.Parent}; c.State != "" {
			req.Header[envelope.HeaderState] = []string{c.State}
		}
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

// judge makes a result of a response.
func judge(d *sinks.Delivery, resp *http.Response, body []byte) sinks.Result {
	code := resp.StatusCode
	if d.Invoke && d.Contract == "lambda" {
		if r, said := lambda(resp, body); said {
			return r
		}
	}
	switch {
	case provesNothing(d.Contract, code):
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
		return sinks.CompleteError(failure(resp, body))
	}
	if !d.Invoke {
		return sinks.Accept()
	}
	answer, err := envelope.FromAnswer(resp.Header, body, MaxResponse)
	if err != nil {
		return unread(err)
	}
	return completion(answer)
}

// unread is the outcome of an answer that is none, or too large.
func unread(err error) sinks.Result {
	kind := "bad_response"
	if r := (*envelope.Refusal)(nil); errors.As(err, &r) && r.Reason == envelope.TooLarge {
		kind = "too_large"
	}
	return sinks.CompleteError(&sinks.Error{Type: kind, Message: "the response is no answer: " + err.Error(), Class: "function"})
}

// completion makes a result of the answer of a function, which may be an event that says itself how it went.
func completion(a envelope.Answer) sinks.Result {
	switch a.Type {
	case envelope.Failed:
		return sinks.CompleteError(errorOf(envelope.FailureOf(a.Value, a.Problem), "failed", "the function failed"))
	case envelope.Continue:
		r := sinks.Complete([]byte(a.Value.JSON()))
		r.Completion.Continue = true
		return r
	}
	return sinks.Complete([]byte(a.Value.JSON()))
}

// failure makes an error of the answer to a call that failed: what it says is its data where it can be read, and a message else.
func failure(resp *http.Response, body []byte) *sinks.Error {
	var said envelope.Failure
	a, err := envelope.FromAnswer(resp.Header, body, MaxResponse)
	if text, isText := a.Text(); isText {
		body = []byte(text)
	} else if err == nil {
		said = envelope.FailureOf(a.Value, a.Problem)
	}
	return errorOf(said, "http_"+strconv.Itoa(resp.StatusCode), message(resp.StatusCode, body))
}

// errorOf fills in what a failure does not say.
func errorOf(f envelope.Failure, kind, text string) *sinks.Error {
	e := &sinks.Error{Type: kind, Message: text, Class: "function"}
	if f.Type != "" {
		e.Type = f.Type
	}
	if f.Message != "" {
		e.Message = f.Message
	}
	if !f.Data.IsNull() {
		e.Data = []byte(f.Data.JSON())
	}
	return e
}

func message(code int, body []byte) string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(body, []byte("?"))))
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	if text == "" {
		return fmt.Sprintf("status %d %s", code, http.StatusText(code))
	}
	return fmt.Sprintf("status %d: %s", code, text)
}

// retryAfterMost is what counts of a Retry-After that asks for more: the outbox waits for less yet.
const retryAfterMost = 24 * time.Hour

// retryAfter reads the header's seconds or date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v != "" && strings.Trim(v, "0123456789") == "" {
		seconds, err := strconv.Atoi(v)
		if err != nil || seconds > int(retryAfterMost/time.Second) {
			return retryAfterMost
		}
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), retryAfterMost)
	}
	return 0
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "http", 1, "Sends by HTTP; the response to an invocation is its completion.", New)
}
