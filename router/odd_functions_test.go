package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oddities are functions that do what functions do when they are not well. Their events go to the router at addr.
type oddities struct {
	t    *testing.T
	addr atomic.Pointer[string]
	mu   sync.Mutex
	ids  map[string][]string // by path, the ids under which it was called
}

// called books a call, and returns which one of its path it is.
func (o *oddities) called(r *http.Request) int {
	_, _ = io.Copy(io.Discard, r.Body) // The server sees that the client has gone once the body was read.
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids[r.URL.Path] = append(o.ids[r.URL.Path], r.Header.Get("Ce-Id"))
	return len(o.ids[r.URL.Path])
}

// first is the id of the first call of a path; empty while there is none.
func (o *oddities) first(path string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.ids[path]) == 0 {
		return ""
	}
	return o.ids[path][0]
}

// complete sends the event that tells an outcome, and returns what the router says of it.
func (o *oddities) complete(id, call, data string) (status int, became string) {
	req, err := http.NewRequest("POST", "http://"+*o.addr.Load()+"/done", strings.NewReader(data))
	if err != nil {
		o.t.Error(err)
		return 0, ""
	}
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/odd", "Ce-Type": "dev.onward.function.succeeded", "Ce-Causationid": call, "Content-Type": "application/json"} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	var said struct{ Events []struct{ Became string } }
	_ = json.NewDecoder(resp.Body).Decode(&said) // Of no answer nothing is known.
	if len(said.Events) == 1 {
		became = said.Events[0].Became
	}
	return resp.StatusCode, became
}

func (o *oddities) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, id := o.called(r), r.Header.Get("Ce-Id")
	hijack := func() net.Conn {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			o.t.Error(err)
			return nil
		}
		return c
	}
	switch r.URL.Path {
	case "/hangs":
		<-r.Context().Done()
	case "/resets":
		if n > 2 {
			fmt.Fprint(w, `"well again"`)
			return
		}
		c := hijack()
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	case "/breaks-off":
		if n > 2 {
			fmt.Fprint(w, `"whole"`)
			return
		}
		c := hijack()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n\"half")
		_ = c.Close()
	case "/drips":
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	case "/is-late":
		if n == 1 {
			<-r.Context().Done() // Its time is over.
			return
		}
		// The first call answers now, by an event, while the second is at work.
		if status, became := o.complete("late", o.first(r.URL.Path), `"late"`); status != http.StatusConflict || became != "superseded" {
			o.t.Errorf("what comes after its time is %d %s", status, became)
		}
		fmt.Fprint(w, `"in time"`)
	case "/event-first":
		if status, became := o.complete("first", id, `"by event"`); status != http.StatusOK || became != "applied" {
			o.t.Errorf("an outcome before the reply is %d %s", status, became)
		}
		fmt.Fprint(w, `"by reply"`)
	case "/later":
		w.WriteHeader(http.StatusAccepted)
	case "/gone":
		fmt.Fprint(w, `"by reply"`)
	}
}

const oddDocument = `
version: 1
functions:
  hangs: { http: { url: "URL/hangs" }, timeout: 100ms }
  resets: { http: { url: "URL/resets" } }
  breaks: { http: { url: "URL/breaks-off" } }
  drips: { http: { url: "URL/drips" }, timeout: 200ms }
  late: { http: { url: "URL/is-late" }, timeout: 200ms, retry: { attempts: 2, backoff: 1ms } }
  event: { http: { url: "URL/event-first" } }
  later: { http: { url: "URL/later" } }
  reply: { http: { url: "URL/gone" } }
sources: { done: { webhook: { path: /done } } }
triggers:
  hangs: { flow: { function: hangs } }
  resets: { flow: { function: resets } }
  breaks: { flow: { function: breaks } }
  drips: { flow: { function: drips } }
  late: { flow: { function: late } }
  event: { flow: { sequence: [{ name: first, function: event }, { pass: { value: "${ steps.first }" } }] } }
  later: { flow: { function: later } }
  reply: { flow: { function: reply } }
`

// TestFunctionsThatAreNotWell: each call has one outcome, the first one that counts, whatever its function does besides.
func TestFunctionsThatAreNotWell(t *testing.T) {
	t.Parallel()
	o := &oddities{t: t, ids: make(map[string][]string)}
	s := httptest.NewServer(o)
	defer s.Close()
	r := start(t, t.TempDir(), strings.ReplaceAll(oddDocument, "URL", s.URL))
	addr := r.Addr()
	o.addr.Store(&addr)
	var all sync.WaitGroup
	for trigger, want := range map[string]string{
		"hangs": "failed timeout", "drips": "failed timeout", "resets": `succeeded "well again"`, "breaks": `succeeded "whole"`, "late": `succeeded "in time"`, "event": `succeeded "by event"`, "reply": `succeeded "by reply"`,
	} {
		all.Go(func() {
			f := r.run(trigger, trigger, "1")
			got := f.State + " " + f.Result.JSON()
			if f.Error != nil {
				got = f.State + " " + f.Error.Type
			}
			if got != want {
				t.Errorf("%s: %s; want %s", trigger, got, want)
			}
		})
	}
	all.Wait()
	o.mu.Lock()
	for path, n := range map[string]int{"/hangs": 1, "/drips": 1, "/resets": 3, "/breaks-off": 3, "/is-late": 2, "/event-first": 1} {
		ids := o.ids[path]
		if len(ids) != n || (n == 3 && (ids[0] != ids[1] || ids[1] != ids[2])) || (n == 2 && ids[0] == ids[1]) {
			t.Errorf("%s was called as %v", path, ids)
		}
	}
	o.mu.Unlock()
	replied := o.first("/gone")
	// One that answers again: its reply counted, or the first of its events did.
	if status, _ := o.complete("again", replied, `"again"`); status != http.StatusGone && status != http.StatusConflict {
		t.Errorf("a second answer, by an event: %d", status)
	}
	_, end := r.begin("later", "later")
	var call string
	for deadline := time.Now().Add(20 * time.Second); call == ""; time.Sleep(time.Millisecond) {
		call = o.first("/later")
		if time.Now().After(deadline) {
			t.Fatal("it is not called")
		}
	}
	if status, became := o.complete("a", call, `"a"`); status != http.StatusOK || became != "applied" {
		t.Errorf("%d %s", status, became)
	}
	if status, _ := o.complete("b", call, `"b"`); status != http.StatusGone && status != http.StatusConflict {
		t.Errorf("a second outcome: %d", status)
	}
	if got := end(); got != "succeeded" {
		t.Error(got)
	}
}

// TestADestinationThatIsGone is stopped, loudly, and what is for it waits until somebody lets it go on.
func TestADestinationThatIsGone(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	var options, posts, got atomic.Int64
	gone.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			options.Add(1)
			w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
			return
		}
		if posts.Add(1); gone.Load() {
			w.WriteHeader(http.StatusGone)
			return
		}
		got.Add(1)
	}))
	defer s.Close()
	r := start(t, t.TempDir(), strings.ReplaceAll(`
version: 1
functions: { hook: { http: { url: "URL", handshake: events.example.com }, concurrency: 1 } }
triggers: { t: { flow: { pass: { value: 1 } }, onSuccess: { function: hook } } }
`, "URL", s.URL))
	for i := range 3 {
		r.run("t", fmt.Sprint(i), "1")
	}
	type status struct {
		Functions []struct {
			Function string
			Paused   *struct{ By, Reason string }
		}
	}
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what + ": not within 20 s")
			}
		}
	}
	wait("the function is stopped", func() bool {
		var said status
		r.get("/v1/functions", &said)
		return len(said.Functions) == 1 && said.Functions[0].Paused != nil && strings.Contains(said.Functions[0].Paused.Reason, "410")
	})
	if n := posts.Load(); n != 1 {
		t.Errorf("%d events went to one that is gone", n)
	}
	gone.Store(false)
	if code := r.post("/v1/functions/hook/resume", "", nil); code/100 != 2 {
		t.Fatal(code)
	}
	wait("what waited arrives", func() bool { return got.Load() == 3 })
	if options.Load() != 2 {
		t.Errorf("it was asked %d times", options.Load())
	}
}
