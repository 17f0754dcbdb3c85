package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

// quiet swallows what net/http says of connections that our own faults break.
var quiet = log.New(io.Discard, "", 0)

// A door is the router's listener, as honest clients use it.
type door struct {
	addr   string
	client *http.Client
}

func newDoor() (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil { // The router listens there each time that it starts.
		return nil, err
	}
	return &door{addr: addr, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}}}, nil
}

func (d *door) url(path string) string { return "http://" + d.addr + path }

// An event is what we send of one.
type event struct {
	ID, Source, Type, Subject, Cause, Run string
	Data                                  []byte
}

func (e *event) attributes() map[string]string {
	a := map[string]string{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.Type}
	for name, v := range map[string]string{"subject": e.Subject, "causationid": e.Cause, "correlationid": e.Run} {
		if v != "" {
			a[name] = v
		}
	}
	return a
}

func (e *event) structured() []byte {
	m := map[string]any{"datacontenttype": "application/json", "data": json.RawMessage(e.Data)}
	for name, v := range e.attributes() {
		m[name] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // Our own events marshal.
	}
	return b
}

// The ways of an event into the webhook.
const (
	binary = iota
	structured
	batch
)

// A receipt is what the webhook says of one event.
type receipt struct {
	ID    string                   `json:"event"`
	Taken string                   `json:"taken"`
	Error struct{ Message string } `json:"error"`
	Runs  []struct {
		ID      string `json:"run"`
		Trigger string `json:"trigger"`
	} `json:"runs"`
}

// post sends events to the webhook, more than one as a batch. Receipts are there with every answer below 300.
func (d *door) post(ctx context.Context, mode int, events ...event) (code int, receipts []receipt, err error) {
	header := http.Header{}
	var body []byte
	switch {
	case mode == batch || len(events) > 1:
		header.Set("Content-Type", "application/cloudevents-batch+json")
		parts := make([][]byte, len(events))
		for i := range events {
			parts[i] = events[i].structured()
		}
		body = append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
	case mode == structured:
		header.Set("Content-Type", "application/cloudevents+json")
		body = events[0].structured()
	default:
		header.Set("Content-Type", "application/json")
		for name, v := range events[0].attributes() {
			header.Set("Ce-"+name, v)
		}
		body = events[0].Data
	}
	code, answer, err := d.send(ctx, "POST", "/events", header, body)
	if err == nil && code < 300 {
		var said struct{ Events []receipt }
		if err := json.Unmarshal(answer, &said); err != nil || len(said.Events) != len(events) {
			return code, nil, fmt.Errorf("the receipt of %d events is %.200q", len(events), answer)
		}
		receipts = said.Events
	}
	return code, receipts, err
}

// send does one request and reads the answer.
func (d *door) send(ctx context.Context, method, path string, header http.Header, body []byte) (code int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, d.url(path), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, v := range header {
		req.Header[http.CanonicalHeaderKey(name)] = v
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	return resp.StatusCode, answer, err
}

// get asks the API and decodes the answer.
func (d *door) get(ctx context.Context, path string, into any) (int, error) {
	code, b, err := d.send(ctx, "GET", path, nil, nil)
	if err != nil || code != http.StatusOK {
		return code, err
	}
	return code, json.Unmarshal(b, into)
}

// gauge reads a metric without labels; -1 when it is not there.
func (d *door) gauge(ctx context.Context, name string) float64 {
	code, b, err := d.send(ctx, "GET", "/metrics", nil, nil)
	if err != nil || code != http.StatusOK {
		return -1
	}
	for line := range strings.Lines(string(b)) {
		var v float64
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(text, &v); err == nil {
				return v
			}
		}
	}
	return -1
}

// probe sends an event and waits for the end of its run.
func (d *door) probe(ctx context.Context, e event) (int, error) {
	header := http.Header{"Content-Type": {"application/json"}, "Prefer": {"wait=25"}}
	for name, v := range e.attributes() {
		header.Set("Ce-"+name, v)
	}
	code, _, err := d.send(ctx, "POST", "/events", header, e.Data)
	return code, err
}
