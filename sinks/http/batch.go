package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/contract"
)

// Batches says why invocations do not go together.
func (s *Settings) Batches(name string) string {
	switch {
	case !contract.Named(name).Batches:
		return fmt.Sprintf("contract %q knows none, and http does", name)
	case s.Body == "empty":
		return "body: empty leaves the invocations out"
	}
	if changes := s.changes(); changes != "" {
		return changes + " changes by event, and one request has one"
	}
	return ""
}

// batchType is the media type of a batch of events.
const batchType = event.ApplicationCloudEventsBatchJSON

// A bundle is the deliveries of one request.
type bundle struct {
	mu   sync.Mutex
	of   []part
	open int                // of them, those without a result
	die  context.CancelFunc // when none is open
}

// A part is one delivery of a bundle.
type part struct {
	d     *sinks.Delivery
	off   func() bool // takes the looking out for its context's end off
	ended bool
}

// end gives a delivery its result, unless it has one.
func (b *bundle) end(p *part, r sinks.Result) {
	b.mu.Lock()
	had := p.ended
	if p.ended = true; !had {
		if b.open--; b.open == 0 {
			b.die()
		}
	}
	off := p.off
	b.mu.Unlock()
	if !had {
		off()
		p.d.Done(r)
	}
}

// afterFunc is context.AfterFunc, without a context in between where a context does it itself.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, does := ctx.(interface{ AfterFunc(f func()) func() bool }); does {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// together sends deliveries in one request. What the answer does not tell of is sent again; what is given up meanwhile ends at once, and the rest goes on.
func (k *sink) together(deliveries []*sinks.Delivery) {
	ctx, die := context.WithCancel(k.held.Life)
	b := &bundle{of: make([]part, len(deliveries)), open: len(deliveries), die: die}
	b.mu.Lock()
	for i, d := range deliveries {
		p := &b.of[i]
		p.d, p.off = d, afterFunc(d.Context, func() { b.end(p, k.noAnswer(d, d.Context.Err())) })
	}
	b.mu.Unlock()
	k.held.Go(func() {
		var results []sinks.Result
		whole := sinks.Guarded(func() (r sinks.Result) {
			results, r = k.ask(ctx, deliveries)
			return r
		})
		for i := range b.of {
			r := whole
			if results != nil {
				r = results[i]
			}
			b.end(&b.of[i], r)
		}
	})
}

// ask sends a batch and returns what became of each, or, with none, of all.
func (k *sink) ask(ctx context.Context, deliveries []*sinks.Delivery) (each []sinks.Result, all sinks.Result) {
	c := contract.Named(deliveries[0].Contract)
	body, err := batchOf(deliveries)
	if err != nil {
		return nil, sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"})
	}
	req := k.bare(ctx, k.url, body)
	req.Header["Content-Type"] = []string{batchType}
	if err := k.addHeaders(req, nil); err != nil {
		return nil, sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"})
	}
	resp, text, err := k.tryTwice(deliveries[0], req)
	switch {
	case err != nil:
		return nil, k.unanswered(err)
	case len(text) > contract.MaxResponse && len(deliveries) == 1:
		return nil, sinks.CompleteError(&sinks.Error{Type: "too_large", Message: fmt.Sprintf("the answer has more than %d bytes; pass a dataref instead", contract.MaxResponse), Class: "function"})
	case len(text) > contract.MaxResponse: // One that answers too much is no fault of those beside it: they are asked again, under their ids.
		return k.halves(ctx, deliveries)
	case resp.StatusCode == http.StatusRequestEntityTooLarge && len(deliveries) > 1:
		return k.halves(ctx, deliveries) // Nothing of it was read.
	}
	a := &contract.Answer{Code: resp.StatusCode, Header: resp.Header, Body: text}
	asked := make([]contract.Asked, len(deliveries))
	for i, d := range deliveries {
		asked[i] = contract.Asked{ID: d.ID(), Invoke: d.Invoke}
	}
	return c.ReadBatch(a, asked, k.s.Fail), sinks.Result{}
}

// halves sends a batch that was too large, or whose answer was, in two.
func (k *sink) halves(ctx context.Context, deliveries []*sinks.Delivery) ([]sinks.Result, sinks.Result) {
	out := make([]sinks.Result, 0, len(deliveries))
	for _, half := range [][]*sinks.Delivery{deliveries[:len(deliveries)/2], deliveries[len(deliveries)/2:]} {
		each, all := k.ask(ctx, half)
		for i := range half {
			if each != nil {
				all = each[i]
			}
			out = append(out, all)
		}
	}
	return out, sinks.Result{}
}

func batchOf(deliveries []*sinks.Delivery) ([]byte, error) {
	body := []byte{'['}
	var err error
	for i, d := range deliveries {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = d.AppendJSON(body); err != nil {
			return nil, err
		}
		if i == 0 { // The others are about as large.
			body = slices.Grow(body, len(deliveries)*(len(body)+len(body)/16))
		}
	}
	return append(body, ']'), nil
}

// bare is a request without headers.
func (k *sink) bare(ctx context.Context, to *url.URL, body []byte) *http.Request {
	req := (&http.Request{
		Method: k.s.Method, URL: to, Host: k.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, 20),
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	return req
}

// batching is the sink of a function that takes batches.
type batching struct{ *sink }

// Deliver sends what it gets together.
func (k batching) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	wanted := make([]*sinks.Delivery, 0, len(deliveries))
	for _, d := range deliveries {
		if d.Context.Err() != nil {
			d.Done(k.noAnswer(d, d.Context.Err()))
			continue
		}
		wanted = append(wanted, d)
	}
	if len(wanted) > 0 {
		k.together(wanted)
	}
}

// Probe asks the function with a batch of no events: who knows batches takes it, and does nothing.
func (k batching) Probe(ctx context.Context) (string, error) {
	req := k.bare(ctx, k.url, []byte("[]"))
	req.Header["Content-Type"] = []string{batchType}
	if err := k.addHeaders(req, nil); err != nil {
		return "", err
	}
	none := event.New()
	none.SetID("probe")
	resp, body, err := k.tryTwice(&sinks.Delivery{Context: ctx, Outgoing: envelope.Made(&none)}, req)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s does not answer: %w; start what serves it, or correct its url", k.url.Host, err)
	case resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusAccepted, resp.StatusCode == http.StatusOK && strings.TrimSpace(string(body)) == "[]":
		return "it takes batches: a batch of no events is answered as one", nil
	}
	return "", errors.New("it does not take batches: to a batch of no events it answers " + (&contract.Answer{Code: resp.StatusCode, Header: resp.Header}).Brief(body) + "; have it answer with a batch, or take batch: out")
}
