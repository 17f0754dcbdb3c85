package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/onward-router/onward/sinks"
)

func invocation(ctx context.Context) *sinks.Delivery {
	e := event.New()
	e.SetID("run~path.1")
	e.SetSource("/onward/t")
	e.SetType("dev.onward.function.invoke")
	e.SetSubject("f")
	e.SetExtension("causationid", "c1")
	e.SetTime(time.Unix(1e9, 5e6))
	_ = e.SetData(event.ApplicationJSON, map[string]int{"n": 1})
	return &sinks.Delivery{Context: ctx, Event: &e, Function: "f", Contract: "http", Invoke: true, Attempt: 1}
}

func deliver(t *testing.T, s *Settings, d *sinks.Delivery) sinks.Result {
	t.Helper()
	if s.Method == "" {
		s.Method = "POST"
	}
	if s.Mode == "" {
		s.Mode = "binary"
	}
	k, err := New("f", s, sinks.Host{Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	results := make(chan sinks.Result, 2)
	d.Done = func(r sinks.Result) { results <- r }
	k.Deliver(context.Background(), []*sinks.Delivery{d})
	r := <-results
	select {
	case <-results:
		t.Error("done twice")
	default:
	}
	return r
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code     int
		header   http.Header
		body     string
		contract string
		notify   bool
		want     string
	}{
		"JSON":               {code: 200, body: `{"a":1}`, want: `completed {"a":1}`},
		"a text":             {code: 200, body: "hello", want: `completed "hello"`},
		"nothing":            {code: 204, want: `completed null`},
		"later":              {code: 202, body: "ignored", want: `accepted`},
		"an event's success": {code: 200, body: "1", notify: true, want: `accepted`},
		"busy":               {code: 429, header: http.Header{"Retry-After": {"7"}}, want: `retry 7s throttle http_429`},
		"away":               {code: 503, want: `retry 0s platform http_503`},
		"bad gateway":        {code: 502, want: `retry 0s platform http_502`},
		"broken":             {code: 500, body: `{"type":"boom","message":"it broke","data":{"x":1}}`, want: `error function boom: it broke {"x":1}`},
		"broken, enveloped":  {code: 500, body: `{"error":{"type":"boom"}}`, want: `error function boom: status 500: {"error":{"type":"boom"}} `},
		"not found":          {code: 404, body: "no such thing", want: `error function http_404: status 404: no such thing `},
		"moved":              {code: 302, header: http.Header{"Location": {"/there"}}, want: `failed platform http_302: it redirects to "/there"; put that address into url`},
		"says it failed":     {code: 200, header: http.Header{"Ce-Type": {typeFailed}}, body: `{"type":"own","message":"m"}`, want: `error function own: m `},
		"says continue":      {code: 200, header: http.Header{"Ce-Type": {typeContinue}}, body: `{"at":5}`, want: `continue {"at":5}`},
		"structured":         {code: 200, header: http.Header{"Content-Type": {"application/cloudevents+json"}}, body: `{"specversion":"1.0","id":"1","source":"/f","type":"` + typeSucceeded + `","data":[1]}`, want: `completed [1]`},
		"structured garbage": {code: 200, header: http.Header{"Content-Type": {"application/cloudevents+json"}}, body: `{`, want: `error function bad_response`},
		"lambda's failure":   {code: 200, contract: "lambda", body: `{"errorType":"E","errorMessage":"m"}`, want: `error function E: m {"errorType":"E","errorMessage":"m"}`},
		"lambda by header":   {code: 200, contract: "lambda", header: http.Header{"X-Amz-Function-Error": {"Unhandled"}}, body: `null`, want: `error function lambda_unhandled:  null`},
		"lambda's success":   {code: 200, contract: "lambda", body: `{"ok":true}`, want: `completed {"ok":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			d := invocation(context.Background())
			d.Contract, d.Invoke = c.contract, !c.notify
			if got := describe(deliver(t, &Settings{URL: s.URL}, d)); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

func describe(r sinks.Result) string {
	switch r.Verdict {
	case sinks.Accepted:
		return "accepted"
	case sinks.Retry:
		return fmt.Sprintf("retry %s %s %s", r.After, r.Err.Class, r.Err.Type)
	case sinks.Failed:
		return fmt.Sprintf("failed %s %s: %s", r.Err.Class, r.Err.Type, r.Err.Message)
	}
	if e := r.Completion.Err; e != nil {
		return fmt.Sprintf("error %s %s: %s %s", e.Class, e.Type, e.Message, e.Data)
	}
	if r.Completion.Continue {
		return "continue " + string(r.Completion.Data)
	}
	return "completed " + string(r.Completion.Data)
}

// TestHeaderEncoding follows section 3.1.3.2. (The SDK 2.16 does not decode it: it reads such a subject as it stands.)
func TestHeaderEncoding(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"plain/~x": "plain/~x", "größe \"100%\"": "gr%C3%B6%C3%9Fe%20%22100%25%22", "a\r\nb": "a%0D%0Ab"} {
		if got := encodeHeader(in); got != want {
			t.Errorf("%q: %q; want %q", in, got, want)
		}
	}
}

// TestTheSDKReadsWhatWeSend holds our headers against the CloudEvents SDK.
func TestTheSDKReadsWhatWeSend(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"binary", "structured"} {
		got := make(chan *event.Event, 1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e, err := cehttp.NewEventFromHTTPRequest(r)
			if err != nil {
				t.Error(err)
			}
			got <- e
		}))
		d := invocation(context.Background())
		deliver(t, &Settings{URL: s.URL, Mode: mode}, d)
		e := <-got
		s.Close()
		if e.String() != d.Event.String() {
			t.Errorf("%s: the SDK read\n%s\nof\n%s", mode, e, d.Event)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	if got := describe(deliver(t, &Settings{URL: "http://" + addr}, invocation(context.Background()))); got != "retry 0s platform unreachable" {
		t.Errorf("nobody listens: %s", got)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if got := describe(deliver(t, &Settings{URL: s.URL}, invocation(ctx))); !strings.HasPrefix(got, "failed timeout") {
		t.Errorf("no answer in time: %s", got)
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}))
	defer broken.Close()
	if got := describe(deliver(t, &Settings{URL: broken.URL}, invocation(context.Background()))); got != "retry 0s platform unreachable" {
		t.Errorf("half an answer: %s", got)
	}
}
