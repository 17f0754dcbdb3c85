package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
	"github.com/onward-router/onward/sinks/sinktest"
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
	return &sinks.Delivery{Context: ctx, Outgoing: envelope.Made(&e), Function: "f", Contract: "http", Invoke: true, Attempt: 1}
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
		"says it failed":     {code: 200, header: http.Header{"Ce-Type": {envelope.Failed}}, body: `{"type":"own","message":"m"}`, want: `error function own: m `},
		"says continue":      {code: 200, header: http.Header{"Ce-Type": {envelope.Continue}}, body: `{"at":5}`, want: `continue {"at":5}`},
		"structured":         {code: 200, header: http.Header{"Content-Type": {"application/cloudevents+json"}}, body: `{"specversion":"1.0","id":"1","source":"/f","type":"` + envelope.Succeeded + `","data":[1]}`, want: `completed [1]`},
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
			if got := sinktest.Describe(deliver(t, &Settings{URL: s.URL}, d)); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

// TestHeaderEncoding follows section 3.1.3.2. (The SDK 2.16 does not decode it: it reads such a subject as it stands.)
func TestHeaderEncoding(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"plain/~x": "plain/~x", "größe \"100%\"": "gr%C3%B6%C3%9Fe%20%22100%25%22", "a\r\nb": "a%0D%0Ab"} {
		if got := envelope.EncodeHeader(in); got != want {
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
		if e.String() != d.Event().String() {
			t.Errorf("%s: the SDK read\n%s\nof\n%s", mode, e, d.Event())
		}
	}
}

// TestLaws runs in both modes: what arrives is read by the CloudEvents SDK, after the percent-decoding of header values that the SDK leaves out.
func TestLaws(t *testing.T) {
	for _, mode := range []string{"binary", "structured", "batch"} {
		t.Run(mode, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				Behaviours: []sinktest.Behaviour{sinktest.Answer, sinktest.Accept, sinktest.Fail, sinktest.Busy, sinktest.Refuse, sinktest.Hang},
				New:        func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End { return end(t, mode, b, h) },
			})
		})
	}
}

func end(t *testing.T, mode string, b sinktest.Behaviour, h sinks.Host) sinktest.End {
	var mu sync.Mutex
	var arrived []sinktest.Arrival
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // The client broke it off.
		}
		if mode == "batch" {
			events := arriveTogether(t, body)
			mu.Lock()
			arrived = append(arrived, events...)
			mu.Unlock()
			answerTogether(w, r, b, events)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		raw := new(strings.Builder)
		_ = r.Header.Write(raw) // A builder takes everything.
		for name, v := range r.Header {
			if strings.HasPrefix(name, "Ce-") {
				if v[0], err = url.PathUnescape(v[0]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Errorf("the SDK does not read it: %v\n%s", err, raw)
			return
		}
		mu.Lock()
		arrived = append(arrived, sinktest.Arrival{ID: e.ID(), Raw: raw.String() + string(body), Attributes: sinktest.Attributes(e), Data: string(e.Data())})
		mu.Unlock()
		switch b {
		case sinktest.Answer:
			_, _ = w.Write(e.Data())
		case sinktest.Accept:
			w.WriteHeader(http.StatusAccepted)
		case sinktest.Fail:
			http.Error(w, "it broke", http.StatusInternalServerError)
		case sinktest.Busy:
			http.Error(w, "later", http.StatusServiceUnavailable)
		case sinktest.Hang:
			<-r.Context().Done()
		}
	}))
	settings := &Settings{URL: s.URL, Method: "POST", Mode: mode, Body: "data"}
	if mode == "batch" {
		settings.Mode, h.Batch = "binary", true
	}
	if b == sinktest.Refuse {
		settings.Headers = map[string]client.Value{"Authorization": {Env: "ONWARD_TEST_UNSET"}}
	}
	k, err := New("f", settings, h)
	if err != nil {
		t.Fatal(err)
	}
	return sinktest.End{Sink: k, Close: s.Close, Arrived: func() []sinktest.Arrival {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(arrived)
	}}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("two\nlines"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer s.Close()
	r := deliver(t, &Settings{URL: s.URL + "/path?q=1", Method: "PUT", Headers: map[string]client.Value{
		"Authorization": {File: file}, "X-Plain": {Text: "a b"}, "Host": {Text: "other.example.com"}, "Content-Type": {Text: "application/vnd.own+json"},
	}}, invocation(t.Context()))
	if sinktest.Describe(r) != "completed null" {
		t.Fatal(sinktest.Describe(r))
	}
	req := <-got
	for name, want := range map[string]string{"Authorization": "s3cr3t", "X-Plain": "a b", "Content-Type": "application/vnd.own+json", "Ce-Id": "run~path.1", "Ce-Causationid": "c1"} {
		if v := req.Header.Get(name); v != want {
			t.Errorf("%s: %q; want %q", name, v, want)
		}
	}
	if req.Host != "other.example.com" || req.Method != "PUT" || req.RequestURI != "/path?q=1" {
		t.Errorf("%s %s of %s", req.Method, req.RequestURI, req.Host)
	}
	for name, h := range map[string]client.Value{"unset": {Env: "ONWARD_TEST_UNSET"}, "no file": {File: file + "-none"}, "two lines": {File: bad}} {
		got := sinktest.Describe(deliver(t, &Settings{URL: s.URL, Headers: map[string]client.Value{"X": h}}, invocation(t.Context())))
		if !strings.HasPrefix(got, "failed platform bad_request: header X: ") || strings.Contains(got, "lines\"") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, body, want string }{
		{"binary", "data", `{"n":1}`}, {"binary", "empty", ""}, {"structured", "data", `"data":{"n":1}`},
	} {
		got := make(chan string, 1)
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got <- string(b)
		}))
		deliver(t, &Settings{URL: s.URL, Mode: c.mode, Body: c.body}, invocation(t.Context()))
		s.Close()
		if b := <-got; b != c.want && (c.mode == "binary" || !strings.Contains(b, c.want)) {
			t.Errorf("%s, %s: %q", c.mode, c.body, b)
		}
	}
}

// TestRetryAfter: a date as well.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	if r := deliver(t, &Settings{URL: s.URL}, invocation(t.Context())); r.Verdict != sinks.Retry || r.After < 59*time.Minute || r.After > time.Hour {
		t.Errorf("%s", sinktest.Describe(r))
	}
}

// TestRedirectIsNotFollowed: the data must not go where nobody said that it may.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(other.URL, code))
		if got := sinktest.Describe(deliver(t, &Settings{URL: s.URL}, invocation(t.Context()))); !strings.HasPrefix(got, fmt.Sprintf("failed platform http_%d: ", code)) || !strings.Contains(got, other.URL) {
			t.Errorf("%d: %s", code, got)
		}
		s.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestHugeResponse(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 1<<20))
		for r.Context().Err() == nil { // It goes on for ever, unless we hang up.
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	if got := sinktest.Describe(deliver(t, &Settings{URL: s.URL}, invocation(t.Context()))); !strings.HasPrefix(got, "error function too_large: ") {
		t.Errorf("%.200s", got)
	}
	exact := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `"`+strings.Repeat("x", contract.MaxResponse-2)+`"`)
	}))
	defer exact.Close()
	if r := deliver(t, &Settings{URL: exact.URL}, invocation(t.Context())); r.Verdict != sinks.Completed || len(r.Completion.Data) != contract.MaxResponse {
		t.Errorf("of the limit exactly: %.200s", sinktest.Describe(r))
	}
}

// TestConnectionsStayWithinTheConcurrency also when more is to be delivered at a time, as it is for a moment after a reload.
func TestConnectionsStayWithinTheConcurrency(t *testing.T) {
	t.Parallel()
	const n = 4
	for try := 1; ; try++ {
		most, opened := connections(t, n)
		if most > n {
			t.Fatalf("%d connections at a time, for a concurrency of %d", most, n)
		}
		if opened <= n {
			return
		}
		// net/http hangs up where a request was answered 50 ms before it was written, as may be on a machine with other things to do: then there is another one.
		if try == 10 {
			t.Fatalf("%d connections in all, for a concurrency of %d", opened, n)
		}
	}
}

// connections is how many there were at a time, and in all, for 300 calls of a function, n of them at a time.
func connections(t *testing.T, n int32) (int32, int32) {
	t.Helper()
	var open, most, opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		switch st {
		case http.StateNew:
			opened.Add(1)
			now := open.Add(1)
			for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.Start()
	defer s.Close()
	k, err := New("f", &Settings{URL: s.URL, Method: "POST", Mode: "binary", Body: "data"}, sinks.Host{Concurrency: int(n)})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var all sync.WaitGroup
	batch := make([]*sinks.Delivery, 300)
	for i := range batch {
		all.Add(1)
		batch[i] = invocation(t.Context())
		batch[i].Done = func(r sinks.Result) {
			if r.Verdict != sinks.Completed {
				t.Error(sinktest.Describe(r))
			}
			all.Done()
		}
	}
	k.Deliver(t.Context(), batch)
	all.Wait()
	return most.Load(), opened.Load()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := Settings{URL: "http://127.0.0.1:1/x", Method: "POST", Mode: "binary", Body: "data"}
	if p := good.Check(); len(p) > 0 {
		t.Error(p)
	}
	for name, change := range map[string]func(*Settings){
		"no url": func(s *Settings) { s.URL = "" }, "ftp": func(s *Settings) { s.URL = "ftp://a/b" }, "no host": func(s *Settings) { s.URL = "http:///x" },
		"mode": func(s *Settings) { s.Mode = "batched" }, "body": func(s *Settings) { s.Body = "all" }, "method": func(s *Settings) { s.Method = "PO ST" },
		"header":                   func(s *Settings) { s.Headers = map[string]client.Value{"a b": {Text: "x"}} },
		"a rule with another name": func(s *Settings) { s.Fail = expr(t, "${ code >= 400 }") }, "a rule that is none": func(s *Settings) { s.Fail = expr(t, "yes") },
		"a rule that is a number": func(s *Settings) { s.Fail = expr(t, "${ status + 1 }") }, "a rule with a text around it": func(s *Settings) { s.Fail = expr(t, "${ status } >= 400") },
	} {
		s := good
		change(&s)
		if len(s.Check()) != 1 {
			t.Errorf("%s: %v", name, s.Check())
		}
	}
}

func expr(t *testing.T, text string) lang.Expr {
	e, err := lang.ParseExpr(lang.Text(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWholeCalls: a call of Lambda that is given up is not broken off, and says when the runtime has let go of it; Close breaks it off.
func TestWholeCalls(t *testing.T) {
	t.Parallel()
	answer, came := make(chan struct{}), make(chan context.Context, 2)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		came <- r.Context()
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	k, err := New("f", &Settings{URL: s.URL, Method: "POST", Mode: "binary", Body: "data"}, sinks.Host{Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	give := func() sinks.Result {
		ctx, cancel := context.WithCancel(t.Context())
		d, done := invocation(ctx), make(chan sinks.Result, 1)
		d.Contract, d.Done = "lambda", func(r sinks.Result) { done <- r }
		k.Deliver(ctx, []*sinks.Delivery{d})
		at := <-came
		cancel()
		r := <-done
		select {
		case <-r.Busy:
			t.Error("it has let go at once")
		case <-at.Done():
			t.Error("it was broken off")
		default:
		}
		return r
	}
	r := give()
	if r.Verdict != sinks.Failed || r.Err.Class != "cancelled" {
		t.Error(sinktest.Describe(r))
	}
	answer <- struct{}{}
	<-r.Busy
	r = give()
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	<-r.Busy
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	if got := sinktest.Describe(deliver(t, &Settings{URL: "http://" + tooltest.Address()}, invocation(context.Background()))); got != "retry 0s platform unreachable" {
		t.Errorf("nobody listens: %s", got)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if got := sinktest.Describe(deliver(t, &Settings{URL: s.URL}, invocation(ctx))); !strings.HasPrefix(got, "failed timeout timeout: no answer from 127.0.0.1:") {
		t.Errorf("no answer in time: %s", got)
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}))
	defer broken.Close()
	if got := sinktest.Describe(deliver(t, &Settings{URL: broken.URL}, invocation(context.Background()))); got != "retry 0s platform unreachable" {
		t.Errorf("half an answer: %s", got)
	}
}
