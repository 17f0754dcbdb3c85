package http

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

// A receiver answers OPTIONS with an origin and a rate, and what is posted with a status.
type receiver struct {
	*httptest.Server
	origin, rate   string
	options, posts atomic.Int64
	status, asked  atomic.Int64
	odd            atomic.Pointer[string]
}

func newReceiver(t *testing.T, origin, rate string) *receiver {
	r := &receiver{origin: origin, rate: rate}
	r.status.Store(200)
	r.asked.Store(200)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if from := q.Header.Get("WebHook-Request-Origin"); from != "events.example.com" {
			r.odd.Store(&from)
		}
		if q.Method != http.MethodOptions {
			r.posts.Add(1)
			w.WriteHeader(int(r.status.Load()))
			return
		}
		r.options.Add(1)
		if want := q.Header.Get("WebHook-Request-Rate"); want != "" && want != "120" {
			r.odd.Store(&want)
		}
		if r.origin != "" {
			w.Header().Set("WebHook-Allowed-Origin", r.origin)
		}
		if r.rate != "" {
			w.Header().Set("WebHook-Allowed-Rate", r.rate)
		}
		w.WriteHeader(int(r.asked.Load()))
	}))
	t.Cleanup(r.Close)
	return r
}

// TestTheFarEndIsAsked once, before anything is sent, and is sent nothing when it does not agree; its rate is heeded.
func TestTheFarEndIsAsked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		origin, rate string
		asks, paced  int64
		ok           bool
	}{
		{"events.example.com", "60", 0, 60, true}, {"*", "60", 120, 60, true}, {"*", "*", 120, 0, true}, {"*", "", 120, 120, true}, {"*", "", 0, 0, true}, {"*", "many", 120, 120, true}, {"*", "-5", 0, 0, true},
		{"", "60", 0, 0, false}, {"other.example.com", "60", 0, 0, false}, {"*.example.com", "", 0, 0, false},
	} {
		r := newReceiver(t, c.origin, c.rate)
		var paced atomic.Int64
		k := makeSink(t, &Settings{URL: r.URL, Body: "data", Handshake: &Handshake{Origin: "events.example.com", Rate: int(c.asks)}}, sinks.Host{Pace: func(n int) { paced.Store(int64(n)) }})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				switch got := send(k); {
				case c.ok && (got.Verdict != sinks.Completed || got.Completion.Err != nil):
					t.Errorf("%+v: %s", c, sinktest.Describe(got))
				case !c.ok && (got.Verdict != sinks.Retry || got.Err.Type != "handshake_refused" || !strings.Contains(got.Err.Message, "let it be allowed there")):
					t.Errorf("%+v: %s", c, sinktest.Describe(got))
				}
			})
		}
		all.Wait()
		options, posts := int64(1), int64(10)
		if !c.ok {
			options, posts = 10, 0
		}
		if r.options.Load() != options || r.posts.Load() != posts || paced.Load() != c.paced {
			t.Errorf("%+v: asked %d times, sent %d, paced at %d", c, r.options.Load(), r.posts.Load(), paced.Load())
		}
		if odd := r.odd.Load(); odd != nil {
			t.Errorf("%+v: it was told %q", c, *odd)
		}
	}
	if got := send(makeSink(t, &Settings{URL: "http://127.0.0.1:1", Body: "data", Handshake: &Handshake{Origin: "x"}}, sinks.Host{})); got.Verdict != sinks.Retry || got.Err.Type != "unreachable" {
		t.Error(sinktest.Describe(got))
	}
}

// TestTheFarEndIsGone: the function is stopped, whatever heard it first, and asked anew when it goes on.
func TestTheFarEndIsGone(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"asked", "sent"} {
		r := newReceiver(t, "*", "*")
		var halts atomic.Int64
		k := makeSink(t, &Settings{URL: r.URL, Body: "data", Handshake: &Handshake{Origin: "events.example.com"}}, sinks.Host{Halt: func(why string) {
			if halts.Add(1); !strings.Contains(why, "410") {
				t.Error(why)
			}
		}})
		if when == "asked" {
			r.asked.Store(http.StatusGone)
		} else {
			send(k)
			r.status.Store(http.StatusGone)
		}
		if got := send(k); got.Verdict != sinks.Retry || got.Err.Type != "http_410" || halts.Load() != 1 {
			t.Errorf("%s: %s, stopped %d times", when, sinktest.Describe(got), halts.Load())
		}
		asked := r.options.Load()
		r.asked.Store(200)
		r.status.Store(200)
		if got := send(k); got.Verdict != sinks.Completed || r.options.Load() != asked+1 {
			t.Errorf("%s: %s after %d", when, sinktest.Describe(got), r.options.Load())
		}
	}
	// Without a handshake 410 is a function's own answer.
	r := newReceiver(t, "", "")
	r.status.Store(http.StatusGone)
	if got := send(makeSink(t, &Settings{URL: r.URL, Body: "data"}, sinks.Host{Halt: func(string) { t.Error("stopped") }})); got.Completion.Err == nil || got.Completion.Err.Type != "http_410" {
		t.Error(sinktest.Describe(got))
	}
}

func TestCheckHandshake(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]*Handshake{"is not a name": {Origin: "a b"}, "not a number of requests": {Origin: "x", Rate: -1}} {
		if got := h.Check(); len(got) != 1 || !strings.Contains(got[0].What, want) || got[0].Cure == "" {
			t.Error(got)
		}
	}
	two := &Settings{URL: "http://x/${ data.id }", Method: "POST", Mode: "binary", Body: "data", Handshake: &Handshake{Origin: "x"}}
	if got := two.Check(); len(got) != 1 || !strings.Contains(got[0].What, "agrees on one address") {
		t.Error(got)
	}
	if got := (&Handshake{Origin: "events.example.com"}).Check(); got != nil {
		t.Error(got)
	}
}
