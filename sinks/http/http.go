// Package http is the sink that carries events out by HTTP, in the binary or structured mode of the CloudEvents HTTP binding 1.0.
//
// The response to an invocation is its completion. A response that proves nothing - no answer, or a code that proves nothing under the function's contract
// (package contract) - is tried again under the same id.
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/sign"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
)

// Settings are the sink's part of a document.
type Settings struct {
	URL       string                  `doc:"url,required,templates" help:"where to send, e.g. http://127.0.0.1:7001/count; behind the host it may have expressions over event and data, of what is sent: http://127.0.0.1:7001/orders/${ data.id }"`
	Method    string                  `doc:"method" help:"request method" default:"POST"`
	Headers   map[string]client.Value `doc:"headers,templates" help:"further headers: texts, with expressions over event and data where they have any, or {env: NAME} and {file: PATH} for secrets"`
	Body      string                  `doc:"body" help:"data (the input as JSON) or empty" default:"data"`
	Mode      string                  `doc:"mode" help:"binary (attributes in headers) or structured (the event as JSON)" default:"binary"`
	Fail      lang.Expr               `doc:"fail" help:"which answers are failures, in place of the contract's rule: a condition over status, headers and body, such as ${ status >= 400 || body.error != null }. A member or header that is not there is null. It is not asked about codes that prove nothing"`
	Auth      *Auth                   `doc:"auth" help:"how the router proves who it is: bearer, basic or oauth2"`
	Sign      *sign.HMAC              `doc:"sign" help:"signs each request by HMAC-SHA256, over its body"`
	Handshake *Handshake              `doc:"handshake" help:"asks the far end by OPTIONS, before the first delivery, whether it wants to be sent events, keeps to the rate that it allows, and stops the function when it answers 410 (CloudEvents web hooks 1.0, section 4)"`
	TLS       *client.TLS             `doc:"tls" help:"certificates; a client certificate proves who the router is (mTLS)"`
	AWS       *AWS                    `doc:"aws" help:"sign requests for AWS (Signature Version 4): a region, or a mapping"`
}

// Check reports what cannot be sent.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	out = append(out, s.checkURL()...)
	if !isToken(s.Method) {
		out = append(out, plugin.Problem{Path: []string{"method"}, What: fmt.Sprintf("%q is not a method", s.Method), Cure: "write POST"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if !isToken(name) {
			out = append(out, plugin.Problem{Path: []string{"headers", name}, What: fmt.Sprintf("%q is not a header's name", name), Cure: "write letters, digits and -"})
		}
		_, problems := template([]string{"headers", name}, s.Headers[name].Text)
		out = append(out, problems...)
	}
	for name := range s.Headers {
		if s.Auth != nil && strings.EqualFold(name, "Authorization") {
			out = append(out, plugin.Problem{Path: []string{"headers", name}, What: "auth gives this header", Cure: "keep one of them"})
		}
	}
	if s.Mode != "binary" && s.Mode != "structured" {
		out = append(out, plugin.Problem{Path: []string{"mode"}, What: fmt.Sprintf("unknown mode %q", s.Mode), Cure: "write binary or structured"})
	}
	if s.Body != "data" && s.Body != "empty" {
		out = append(out, plugin.Problem{Path: []string{"body"}, What: fmt.Sprintf("unknown body %q", s.Body), Cure: "write data or empty"})
	}
	if s.AWS != nil && s.Auth != nil {
		out = append(out, plugin.Problem{Path: []string{"aws"}, What: "a request has one way to prove who sends it, and aws and auth are two", Cure: "keep one"})
	}
	return append(out, s.checkFail()...)
}

// checkFail reports a rule that no answer can be judged by.
func (s *Settings) checkFail() (out []plugin.Problem) {
	for _, f := range s.Fail.Check() {
		out = append(out, plugin.Problem{Path: []string{"fail"}, What: f.What, Cure: f.Cure})
	}
	if _, constant := s.Fail.Const(); constant {
		out = append(out, plugin.Problem{Path: []string{"fail"}, What: "a rule that says the same of every answer", Cure: `write "${ status >= 400 || body.error != null }"`})
	} else if kind := s.Fail.Kind(); kind != lang.KindAny && kind != lang.KindBool {
		out = append(out, plugin.Problem{Path: []string{"fail"}, What: fmt.Sprintf("a rule that is a %s, and never true or false: %s", kind, s.Fail.Source()), Cure: `compare it: "${ body.error != null }"`})
	}
	for _, name := range s.Fail.Names() {
		if !slices.Contains(contract.FailNames, name) {
			out = append(out, plugin.Problem{Path: []string{"fail"}, What: fmt.Sprintf("unknown name %q", name), Cure: lang.Nearest(name, contract.FailNames)})
		}
	}
	return out
}

// Contracts lists how functions can be asked.
func (*Settings) Contracts() []string { return contract.Names() }

// Terms tells what a contract brings to a function of these settings.
func (s *Settings) Terms(name string) (t plugin.Terms) {
	c := contract.Named(name)
	if t.Concurrency = c.Concurrency; name == "lambda" && contract.Emulated(s.URL) {
		t.Concurrency = 1
	}
	for header, v := range s.Headers {
		switch {
		case name == "lambda" && strings.EqualFold(header, "X-Amz-Invocation-Type") && v.Text == "Event", name == "openfaas" && strings.EqualFold(header, "X-Callback-Url"):
			t.Later = true
		}
	}
	return t
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

type sink struct {
	name      string
	s         *Settings
	url       *url.URL // up to the first expression, if there is any
	asked     templates
	clients   *client.Clients
	tokens    *tokens         // nil without oauth2
	asking    *client.Clients // of tokens
	host      sinks.Host
	agreement agreement
	held      *client.Hold
}

// New makes the sink. Its connections are as many as the outbox has deliveries in flight.
func New(name string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	u, err := url.Parse(s.Base())
	if err != nil {
		return nil, err
	}
	k := &sink{name: name, s: s, url: u, asked: s.templates(), host: h, clients: client.New(name, s.TLS, h, true), agreement: agreement{turn: make(chan struct{}, 1)}, held: client.NewHold()}
	if s.Auth != nil && s.Auth.OAuth2 != nil {
		k.asking = client.New(name, s.TLS, h, false)
		k.tokens = newTokens(s.Auth.OAuth2, k.asking.Get)
	}
	if h.Batch {
		return batching{k}, nil
	}
	return k, nil
}

func (k *sink) Close() error {
	k.held.Close()
	k.tokens.close()
	k.clients.Close()
	k.asking.Close()
	return nil
}

func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	sinks.Each(deliveries, k.deliver)
}

func (k *sink) deliver(d *sinks.Delivery) sinks.Result {
	c := contract.Named(d.Contract)
	req, err := k.request(d)
	if wrong := (*badTemplate)(nil); errors.As(err, &wrong) {
		return sinks.Fail(&sinks.Error{Type: "expression_error", Message: err.Error(), Class: "function"})
	}
	if err != nil {
		return sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"})
	}
	if c.Ask != nil && d.Invoke {
		c.Ask(d, req)
	}
	if c.Whole && d.Invoke {
		return k.held.Whole(d, func(ctx context.Context) sinks.Result { return k.exchange(c, d, req.WithContext(ctx)) }, func() sinks.Result { return k.noAnswer(d, d.Context.Err()) })
	}
	return k.exchange(c, d, req)
}

// exchange sends a request and reads the answer.
func (k *sink) exchange(c *contract.Contract, d *sinks.Delivery, req *http.Request) sinks.Result {
	resp, body, err := k.tryTwice(d, req)
	switch {
	case err != nil:
		return k.noAnswer(d, err)
	case len(body) > contract.MaxResponse:
		return sinks.CompleteError(&sinks.Error{Type: "too_large", Message: fmt.Sprintf("the response has more than %d bytes; pass a dataref instead", contract.MaxResponse), Class: "function"})
	}
	return c.Read(&contract.Answer{Code: resp.StatusCode, Header: resp.Header, Body: body}, d.Invoke, k.s.Fail)
}

// tryTwice proves who asks and sends a request. A token that was fetched before and is refused now may have been taken back: then it is tried once more with a
// fresh one.
func (k *sink) tryTwice(d *sinks.Delivery, req *http.Request) (*http.Response, []byte, error) {
	resp, body, err := k.send(d, req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && k.tokens != nil {
		k.tokens.drop(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
		resp, body, err = k.send(d, req)
	}
	return resp, body, err
}

// send sends a request once, and returns the answer, whose body was read. An error that wraps client.ErrUnready says that nothing was sent.
func (k *sink) send(d *sinks.Delivery, req *http.Request) (*http.Response, []byte, error) {
	by, err := k.clients.Get()
	if err != nil {
		return nil, nil, err
	}
	if err := k.prove(d, req); errors.Is(err, client.ErrUnready) {
		return nil, nil, err
	} else if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", client.ErrUnready, err)
	}
	if h := k.s.Handshake; h != nil {
		if err := k.agree(req.Context(), by); err != nil {
			return nil, nil, err
		}
		req.Header.Set("WebHook-Request-Origin", h.Origin)
	}
	resp, err := by.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if k.s.Handshake != nil && resp.StatusCode == http.StatusGone {
		return nil, nil, k.left()
	}
	var body bytes.Buffer
	body.Grow(bytes.MinRead + int(min(max(resp.ContentLength, 0), roomAtOnce)))
	_, err = body.ReadFrom(io.LimitReader(resp.Body, contract.MaxResponse+1))
	return resp, body.Bytes(), err
}

// roomAtOnce is how much room is made for an answer because its head says so. A longer one has to come first.
const roomAtOnce = 1 << 20

// noAnswer tells a try whose time is over from a delivery that may not have arrived, and from one that was not sent.
func (k *sink) noAnswer(d *sinks.Delivery, err error) sinks.Result {
	if gone := d.Context.Err(); gone != nil && !(errors.Is(gone, context.DeadlineExceeded) && errors.Is(err, client.ErrUnready)) {
		return sinks.Ended(d.Context, "no answer from "+k.url.Host)
	}
	return k.unanswered(err)
}

// unanswered is the result of what may not have arrived, or was not sent.
func (k *sink) unanswered(err error) sinks.Result {
	r := k.clients.Unanswered(k.url.Host, err)
	switch {
	case r.Err.Type != "unreachable":
	case errors.Is(err, errRefused):
		r.Err = &sinks.Error{Type: "handshake_refused", Message: r.Err.Message, Class: "platform"}
	case errors.Is(err, errGone):
		r.Err = &sinks.Error{Type: "http_410", Message: r.Err.Message, Class: "platform"}
	}
	return r
}

func (k *sink) request(d *sinks.Delivery) (*http.Request, error) {
	body := d.Event().Data()
	if k.s.Mode == "structured" {
		b, err := envelope.Marshal(d.Event())
		if err != nil {
			return nil, err
		}
		body = b
	} else if k.s.Body == "empty" {
		body = nil
	}
	to, headers, err := k.fill(d)
	if err != nil {
		return nil, err
	}
	req := k.bare(d.Context, to, body)
	if k.s.Mode == "structured" {
		req.Header["Content-Type"] = []string{event.ApplicationCloudEventsJSON}
	} else {
		envelope.WriteHeaders(req.Header, d.Event())
	}
	if c, ok := envelope.Traced(d.Event()); ok {
		if req.Header[envelope.HeaderParent] = []string{c.Parent}; c.State != "" {
			req.Header[envelope.HeaderState] = []string{c.State}
		}
	}
	return req, k.addHeaders(req, headers)
}

// addHeaders adds those of the settings.
func (k *sink) addHeaders(req *http.Request, filled map[string]string) error {
	for name, h := range k.s.Headers {
		v, err := h.Read()
		if text, is := filled[name]; is {
			v = text
		}
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		if err := setHeader(req.Header, name, v); err != nil {
			return err
		}
		if strings.EqualFold(name, "Host") {
			req.Host = v
			req.Header.Del(name)
		}
	}
	return nil
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "http", 1, "Sends by HTTP; the response to an invocation is its completion.", New)
}
