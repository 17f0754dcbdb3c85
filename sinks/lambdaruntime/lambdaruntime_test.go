package lambdaruntime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

func open(t *testing.T, name string, s *Settings, h sinks.Host) *sink {
	t.Helper()
	k, err := New(name, s, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.(sinks.Opener).Open(); err != nil {
		t.Fatal(err)
	}
	return k.(*sink)
}

// A runtime polls as AWS's do: one connection, one call at a time.
type runtime struct {
	t      *testing.T
	client *http.Client
	base   string
}

func newRuntime(t *testing.T, address string) *runtime {
	return &runtime{t, &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}, "http://" + address + prefix}
}

// next asks for a call; nil when there is none to be had any more.
func (r *runtime) next(ctx context.Context) (http.Header, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"invocation/next", nil)
	if err != nil {
		r.t.Error(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return nil, ""
	}
	return resp.Header, string(body)
}

func (r *runtime) post(what, body string, header ...string) (code int, said string) {
	req, err := http.NewRequest(http.MethodPost, r.base+what, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func (r *runtime) answer(h http.Header, body string) (int, string) {
	return r.post("invocation/"+h.Get("Lambda-Runtime-Aws-Request-Id")+"/response", body, "Content-Type", "application/json")
}

func (r *runtime) die() { r.client.CloseIdleConnections() }

func delivery(ctx context.Context, id, data string) (*sinks.Delivery, chan sinks.Result) {
	e := event.New()
	e.SetID(id)
	e.SetSource("/onward/t")
	e.SetType("dev.onward.function.invoke")
	e.SetSubject("grüße 😀")
	e.SetExtension("idempotencykey", "key-"+id)
	e.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(data))
	done := make(chan sinks.Result, 2)
	return &sinks.Delivery{Context: ctx, Outgoing: envelope.Made(&e), Function: "f", Contract: "http", Invoke: true, Attempt: 1, Done: func(r sinks.Result) { done <- r }}, done
}

func describe(r sinks.Result) string {
	switch {
	case r.Err != nil:
		return fmt.Sprintf("%d %s %s", r.Verdict, r.Err.Class, r.Err.Type)
	case r.Completion.Err != nil:
		return fmt.Sprintf("error %s %s: %s %s", r.Completion.Err.Class, r.Completion.Err.Type, r.Completion.Err.Message, r.Completion.Err.Data)
	}
	return fmt.Sprintf("%d %s", r.Verdict, r.Completion.Data)
}

// TestLaws: runtimes that poll are the far end.
func TestLaws(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Behaviours: []sinktest.Behaviour{sinktest.Answer, sinktest.Fail, sinktest.Hang},
		Many:       60,
		New: func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End {
			address := tooltest.Address()
			k := open(t, "f", &Settings{Listen: address}, h)
			ctx, stop := context.WithCancel(context.Background())
			var all sync.WaitGroup
			var mu sync.Mutex
			var arrived []sinktest.Arrival
			for range 8 {
				all.Go(func() {
					r := newRuntime(t, address)
					defer r.die()
					for {
						head, body := r.next(ctx)
						if head == nil {
							return
						}
						var said struct{ Custom map[string]string }
						if err := json.Unmarshal([]byte(head.Get("Lambda-Runtime-Client-Context")), &said); err != nil {
							t.Errorf("%v: %s", err, head.Get("Lambda-Runtime-Client-Context"))
						}
						raw := new(strings.Builder)
						fmt.Fprintln(raw, head.Get("Lambda-Runtime-Client-Context"), head.Get("Lambda-Runtime-Invoked-Function-Arn"))
						mu.Lock()
						arrived = append(arrived, sinktest.Arrival{ID: said.Custom["id"], Raw: raw.String() + body, Attributes: said.Custom, Data: body})
						mu.Unlock()
						switch b {
						case sinktest.Answer:
							r.answer(head, body)
						case sinktest.Fail:
							r.post("invocation/"+head.Get("Lambda-Runtime-Aws-Request-Id")+"/error", `{"errorType":"E","errorMessage":"m"}`)
						}
					}
				})
			}
			return sinktest.End{Sink: k, Arrived: func() []sinktest.Arrival {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(arrived)
			}, Close: func() {
				stop()
				all.Wait()
			}}
		},
	})
}

// TestACall: what a runtime is told, and each way to answer.
func TestACall(t *testing.T) {
	t.Parallel()
	address := tooltest.Address()
	k := open(t, "resize", &Settings{Listen: address, Path: "/resize"}, sinks.Host{})
	defer k.Close()
	r := newRuntime(t, address+"/resize")
	give := func(timeout time.Duration, answer func(h http.Header, body string) (int, string), code int) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		d, done := delivery(ctx, "run~p.1", `{"n":1}`)
		k.Deliver(ctx, []*sinks.Delivery{d})
		h, body := r.next(t.Context())
		at, _ := ctx.Deadline()
		for name, want := range map[string]string{
			"Lambda-Runtime-Aws-Request-Id": requestID("run~p.1"), "Lambda-Runtime-Deadline-Ms": fmt.Sprint(at.UnixMilli()),
			"Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:local:000000000000:function:resize", "Content-Type": "application/json",
			"Lambda-Runtime-Trace-Id": "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %q; want %q", name, h.Get(name), want)
			}
		}
		var said struct{ Custom map[string]string }
		if err := json.Unmarshal([]byte(h.Get("Lambda-Runtime-Client-Context")), &said); err != nil || said.Custom["idempotencykey"] != "key-run~p.1" || said.Custom["subject"] != "grüße 😀" || body != `{"n":1}` {
			t.Errorf("%v: %v %s", err, said, body)
		}
		if got, text := answer(h, body); got != code {
			t.Errorf("%d: %s; want %d", got, text, code)
		}
		select {
		case got := <-done:
			return describe(got)
		case <-time.After(2 * time.Minute):
			t.Fatal("it does not end")
			return ""
		}
	}
	as := func(what, body string, header ...string) func(http.Header, string) (int, string) {
		return func(h http.Header, _ string) (int, string) {
			return r.post("invocation/"+h.Get("Lambda-Runtime-Aws-Request-Id")+"/"+what, body, header...)
		}
	}
	trailed := func(h http.Header, _ string) (int, string) {
		req, err := http.NewRequest(http.MethodPost, r.base+"invocation/"+h.Get("Lambda-Runtime-Aws-Request-Id")+"/response", io.MultiReader(strings.NewReader("half")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": {"Runtime.Panic"}, "Lambda-Runtime-Function-Error-Body": {"eyJlcnJvck1lc3NhZ2UiOiJib29tIn0="}}
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, ""
	}
	for name, c := range map[string]struct {
		answer func(http.Header, string) (int, string)
		code   int
		want   string
	}{
		"a result":             {as("response", `{"ok": true}`, "Content-Type", "application/json"), 202, `2 {"ok":true}`},
		"nothing":              {as("response", ""), 202, "2 null"},
		"NaN":                  {as("response", "NaN", "Content-Type", "application/json"), 202, "error function bad_response: the response is no answer: it is not JSON"},
		"an error":             {as("error", `{"errorType":"KeyError","errorMessage":"'id'","stackTrace":[]}`, "Lambda-Runtime-Function-Error-Type", "Unhandled"), 202, `error function KeyError: 'id' {"errorType":"KeyError","errorMessage":"'id'","stackTrace":[]}`},
		"an error, by header":  {as("error", "oops", "Lambda-Runtime-Function-Error-Type", "Runtime.ExitError"), 202, "error function Runtime.ExitError: the handler failed"},
		"an error without one": {as("error", ""), 202, "error function Unhandled: the handler failed"},
		"a stream that broke":  {trailed, 202, `error function Runtime.Panic: boom {"errorMessage":"boom"}`},
		"too much":             {as("response", strings.Repeat(" ", maxAnswer+1)), 413, "error function Function.ResponseSizeTooLarge"},
	} {
		if got := give(time.Minute, c.answer, c.code); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.300s; want %s", name, got, c.want)
		}
	}
	late := func(h http.Header, body string) (int, string) {
		for len(atWork(k)) > 0 {
			time.Sleep(time.Millisecond)
		}
		return r.answer(h, body)
	}
	if got := give(300*time.Millisecond, late, 400); got != "4 timeout timeout" {
		t.Errorf("after its deadline: %s", got)
	}
	for _, x := range [][2]string{{"invocation/no-such/response", "400"}, {"init/error", "202"}, {"invocation/next/x", "404"}, {"restore/error", "403"}} {
		if code, said := r.post(x[0], "{}"); fmt.Sprint(code) != x[1] {
			t.Errorf("%s: %d %s", x[0], code, said)
		}
	}
	if code, _ := newRuntime(t, address).post("init/error", "{}"); code != 404 {
		t.Errorf("another path: %d", code)
	}
}

func atWork(k *sink) []string {
	k.at.mu.Lock()
	defer k.at.mu.Unlock()
	return slices.Collect(maps.Keys(k.at.at))
}

// TestARuntimeThatDies has lost its call at once, unless it has had it for so long that a client may have put the connection away.
func TestARuntimeThatDies(t *testing.T) {
	t.Parallel()
	address := tooltest.Address()
	k := open(t, "f", &Settings{Listen: address}, sinks.Host{})
	defer k.Close()
	for _, long := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		d, done := delivery(ctx, "run~p.1", "1")
		r := newRuntime(t, address)
		k.Deliver(ctx, []*sinks.Delivery{d})
		h, _ := r.next(t.Context())
		if long {
			k.at.mu.Lock()
			for _, c := range k.at.at {
				c.handed = c.handed.Add(-idleAtLeast)
			}
			k.at.mu.Unlock()
		}
		r.die()
		if !long {
			if got := describe(<-done); got != "3 platform runtime_died" {
				t.Error(got)
			}
		} else if code, said := newRuntime(t, address).answer(h, "7"); code != 202 || describe(<-done) != "2 7" {
			t.Errorf("%d: %s", code, said)
		}
		cancel()
	}
}

// TestWaiting: the sink tells how much is asked for, and wakes the router.
func TestWaiting(t *testing.T) {
	t.Parallel()
	address, woken := tooltest.Address(), make(chan struct{}, 10)
	k := open(t, "f", &Settings{Listen: address}, sinks.Host{Wake: func() { woken <- struct{}{} }})
	defer k.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan http.Header, 2)
	r := newRuntime(t, address)
	go func() {
		h, _ := r.next(ctx)
		asked <- h
	}()
	<-woken
	if n := k.Waiting(); n != 1 {
		t.Errorf("%d are asked for", n)
	}
	a, doneA := delivery(ctx, "a", "1")
	b, doneB := delivery(ctx, "b", "2")
	k.Deliver(ctx, []*sinks.Delivery{a, b})
	if n := k.Waiting(); n != -1 {
		t.Errorf("%d are asked for", n)
	}
	r.answer(<-asked, "1")
	<-doneA
	gone, leave := context.WithCancel(ctx)
	h, _ := r.next(gone)
	r.answer(h, "2")
	<-doneB
	go func() { r.next(gone) }()
	<-woken
	leave()
	for k.Waiting() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestReload: a sink takes over its function's address while the other is open; another function does not get it.
func TestReload(t *testing.T) {
	t.Parallel()
	address := tooltest.Address()
	k := open(t, "f", &Settings{Listen: address}, sinks.Host{})
	d, done := delivery(t.Context(), "a", "1")
	k.Deliver(t.Context(), []*sinks.Delivery{d})
	r := newRuntime(t, address)
	h, _ := r.next(t.Context())
	next := open(t, "f", &Settings{Listen: address, ARN: "arn:x"}, sinks.Host{})
	other, _ := New("g", &Settings{Listen: address}, sinks.Host{})
	if err := other.(sinks.Opener).Open(); err == nil || !strings.Contains(err.Error(), `function "f" is served at `) {
		t.Error(err)
	}
	beside := open(t, "g", &Settings{Listen: address, Path: "/g"}, sinks.Host{})
	if code, said := r.answer(h, "5"); code != 202 || describe(<-done) != "2 5" {
		t.Error(code, said)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	d, done = delivery(t.Context(), "b", "1")
	next.Deliver(t.Context(), []*sinks.Delivery{d})
	if h, _ = r.next(t.Context()); h.Get("Lambda-Runtime-Invoked-Function-Arn") != "arn:x" {
		t.Error(h)
	}
	r.answer(h, "6")
	<-done
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if h, _ := r.next(t.Context()); h != nil {
		t.Error("a function that is closed is served")
	}
	if err := beside.Close(); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := open2(address); err == nil || !strings.Contains(err.Error(), "the Runtime API cannot listen") {
		t.Error(err)
	}
}

func open2(address string) error {
	k, _ := New("f", &Settings{Listen: address}, sinks.Host{})
	return k.(sinks.Opener).Open()
}

// TestNoWebPage: a page in a browser on this machine is no runtime, nor one whose name was made to point here.
func TestNoWebPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address, host, header string
		ok                    bool
	}{
		{"127.0.0.1:9001", "127.0.0.1:9001", "", true}, {"127.0.0.1:9001", "LocalHost:9001", "", true}, {"[::1]:9001", "[::1]:9001", "", true}, {"127.0.0.1:80", "[::1]", "", true},
		{"127.0.0.1:9001", "evil.example.com:9001", "", false}, {"127.0.0.1:9001", "10.0.0.1:9001", "", false}, {"localhost:9001", "", "", false},
		{"127.0.0.1:9001", "127.0.0.1:9001", "Origin", false}, {"127.0.0.1:9001", "127.0.0.1:9001", "Sec-Fetch-Site", false},
		{"0.0.0.0:9001", "router:9001", "", true}, {"0.0.0.0:9001", "router:9001", "Origin", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, "null")
		}
		w := httptest.NewRecorder()
		(&hub{address: c.address}).ServeHTTP(w, r)
		if got := w.Code != http.StatusForbidden; got != c.ok {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}

// TestAnAnswerThatNeverEnds is waited for as long as its call has, and no longer: its connection ends too.
func TestAnAnswerThatNeverEnds(t *testing.T) {
	t.Parallel()
	s := &Settings{Listen: tooltest.Address()}
	k := open(t, "f", s, sinks.Host{})
	defer k.Close()
	r := newRuntime(t, s.Listen)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	d, done := delivery(ctx, "1", "1")
	k.Deliver(t.Context(), []*sinks.Delivery{d})
	h, _ := r.next(t.Context())
	body, more := io.Pipe()
	defer more.Close()
	req, err := http.NewRequest(http.MethodPost, r.base+"invocation/"+h.Get("Lambda-Runtime-Aws-Request-Id")+"/response", body)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := r.client.Do(req); err == nil {
			if resp.Body.Close(); resp.StatusCode/100 == 2 {
				t.Error(resp.Status)
			}
		}
	}()
	if _, err := more.Write([]byte(`{"a":`)); err != nil {
		t.Fatal(err)
	}
	if got := describe(<-done); got != "4 timeout timeout" {
		t.Error(got)
	}
	<-ended
	// Of an answer that nobody asked for the body is not waited for.
	if code, _ := newRuntime(t, s.Listen).post("invocation/nobody/response", "1"); code != http.StatusBadRequest {
		t.Error(code)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s Settings
		n int
	}{
		{Settings{Listen: "127.0.0.1:9001"}, 0}, {Settings{Listen: "[::1]:9001", Path: "/a/b"}, 0}, {Settings{Listen: "localhost:9001"}, 0}, {Settings{Listen: "0.0.0.0:1", Insecure: true}, 0},
		{Settings{Listen: "9001"}, 1}, {Settings{Listen: ":9001"}, 1}, {Settings{Listen: "10.0.0.1:9001"}, 1}, {Settings{Listen: "127.0.0.1:1", Path: "a"}, 1}, {Settings{Listen: "127.0.0.1:1", Path: "/2018 06"}, 1},
	} {
		if got := c.s.Check(); len(got) != c.n {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
	if got := clientContext(func() *event.Event { d, _ := delivery(t.Context(), "x", "1"); return d.Event() }()); strings.ContainsFunc(got, func(c rune) bool { return c >= 0x7f }) || !strings.Contains(got, `gr\u00fc\u00dfe \ud83d\ude00`) {
		t.Error(got)
	}
}
