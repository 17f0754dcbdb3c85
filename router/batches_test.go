package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// An answered is one event of the answer to a batch.
type answered struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Cause       string `json:"causationid"`
	Data        any    `json:"data"`
}

// batchers are functions that answer batches as functions do that are not well, each by its path.
type batchers struct {
	t     *testing.T
	mu    sync.Mutex
	times map[string]int            // requests, by path
	came  map[string]map[string]int // by path and id, how often an event came
}

func (b *batchers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // What breaks off is no JSON.
	var events []struct {
		ID   string
		Data int
	}
	if err := json.Unmarshal(body, &events); err != nil || r.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		b.t.Errorf("%s: %v, %s", r.URL.Path, err, r.Header)
		return
	}
	b.mu.Lock()
	b.times[r.URL.Path]++
	n := b.times[r.URL.Path]
	if b.came[r.URL.Path] == nil {
		b.came[r.URL.Path] = make(map[string]int)
	}
	for _, e := range events {
		b.came[r.URL.Path][e.ID]++
	}
	b.mu.Unlock()
	var answers []answered
	for _, e := range events {
		answers = append(answers, answered{"1.0", "a-" + e.ID, "/f", "dev.onward.function.succeeded", e.ID, e.Data})
	}
	switch r.URL.Path {
	case "/reverse":
		slices.Reverse(answers)
	case "/twice":
		for _, a := range slices.Clone(answers) {
			a.Type, a.Data = "dev.onward.function.failed", map[string]string{"type": "Second"}
			answers = append(answers, a)
		}
	case "/foreign":
		for i, a := range slices.Clone(answers) {
			a.Cause = fmt.Sprintf("%.26s~0.%d.aaaaaaaaaa", a.Cause, i+1) // Of the same run, without the tag that it was sent with.
			answers = append([]answered{a}, answers...)
		}
	case "/leaves-out":
		if n == 1 {
			answers = answers[1:]
		}
	case "/some-fail":
		for i := range answers {
			if answers[i].Data.(int)%2 == 1 {
				answers[i].Type, answers[i].Data = "dev.onward.function.failed", map[string]string{"type": "Odd"}
			}
		}
	case "/resets":
		if n == 1 {
			text, _ := json.Marshal(answers) // It marshals.
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				b.t.Error(err)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/cloudevents-batch+json\r\nContent-Length: %d\r\n\r\n%s", len(text), text[:len(text)/2])
			_ = c.(*net.TCPConn).SetLinger(0) // The far end is reset.
			_ = c.Close()
			return
		}
	case "/too-large":
		if len(events) > 1 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
	case "/huge":
		for i := range answers {
			if answers[i].Data == 2 {
				answers[i].Data = strings.Repeat("x", 17<<20)
			}
		}
	case "/plain":
		fmt.Fprint(w, `{"n":1}`)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents-batch+json")
	_ = json.NewEncoder(w).Encode(answers) // Who has gone needs none.
}

// TestBatchesOfFunctionsThatAreNotWell: six calls go together, and each has its own outcome, once, however the answers come.
func TestBatchesOfFunctionsThatAreNotWell(t *testing.T) {
	t.Parallel()
	b := &batchers{t: t, times: make(map[string]int), came: make(map[string]map[string]int)}
	s := httptest.NewServer(b)
	defer s.Close()
	each := func(n int, outcome string) []string { return slices.Repeat([]string{outcome}, n) }
	ok := []string{"0", "1", "2", "3", "4", "5"}
	cases := map[string]struct {
		want  []string
		again int // how often an event comes at most
	}{
		"reverse": {ok, 1}, "twice": {ok, 1}, "foreign": {ok, 1}, "leaves-out": {ok, 2}, "resets": {ok, 2}, "too-large": {ok, 4}, "plain": {each(6, "no_batch"), 1},
		"some-fail": {[]string{"0", "Odd", "2", "Odd", "4", "Odd"}, 1}, "huge": {[]string{"0", "1", "too_large", "3", "4", "5"}, 4},
	}
	doc := "version: 1\nfunctions:\n"
	for name := range cases {
		doc += fmt.Sprintf("  %s: { http: { url: \"%s/%s\" }, batch: { max: 6, linger: 0s } }\n", name, s.URL, name)
	}
	doc += "triggers:\n"
	for name := range cases {
		doc += fmt.Sprintf("  %s: { flow: { map: { items: 6, join: settled, do: { function: %s } } } }\n", name, name)
	}
	r := start(t, t.TempDir(), doc)
	var all sync.WaitGroup
	for name, c := range cases {
		all.Go(func() {
			f := r.run(name, name, "1")
			var outcomes []struct {
				Value *int
				Error *struct{ Type string }
			}
			if err := f.Result.Decode(&outcomes); err != nil {
				t.Errorf("%s: %s, %v", name, f.Result.JSON(), err)
				return
			}
			var got []string
			for _, o := range outcomes {
				if o.Error != nil {
					got = append(got, o.Error.Type)
				} else if o.Value != nil {
					got = append(got, fmt.Sprint(*o.Value))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q; want %q", name, got, c.want)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if came := b.came["/"+name]; len(came) != 6 {
				t.Errorf("%s: %d events: %v", name, len(came), came)
			}
			for id, n := range b.came["/"+name] {
				if n > c.again {
					t.Errorf("%s: %s came %d times", name, id, n)
				}
			}
		})
	}
	all.Wait()
}

// TestAgeOfWhatABatchLeavesOut: what a function never answers, beside others that it does, is sent again under its id until it is too old, and then is given up
// with the reason; its function is up all the while, and nobody waits for it.
func TestAgeOfWhatABatchLeavesOut(t *testing.T) {
	inBubble(t, `
version: 1
functions: { many: { far: x, concurrency: 1, batch: { max: 4, linger: 1s }, maxAge: 1h } }
triggers:
  wide: { flow: { map: { items: [0, 1, 2, 3], join: settled, do: { function: many } } } }
  one: { flow: { function: many } }
`, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			if string(s.Event().Data()) == "2" {
				s.end(sinks.Result{Verdict: sinks.Retry, Err: &sinks.Error{Type: "batch_unanswered", Message: "the batch has none for it", Class: "platform"}, Heard: true})
				return
			}
			s.succeed()
		}
		begin := time.Now()
		run := b.start("wide", "1", "null")
		time.Sleep(30 * time.Minute)
		settle()
		b.counted(1, "onward_function_state", "function=many", "state=up")
		at := time.Now()
		if f := b.wait(b.start("one", "2", "7")); f.State != "succeeded" || time.Since(at) > 2*time.Second {
			t.Errorf("another call has waited for %s: %s", time.Since(at), f.State)
		}
		f := b.wait(run)
		if took := time.Since(begin); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("given up after %s", took)
		}
		if text := f.Result.JSON(); strings.Count(text, "undelivered") != 1 || !strings.Contains(text, "maxAge") || !strings.Contains(text, "the batch has none for it") {
			t.Error(text)
		}
		ids := make(map[string]int)
		for _, s := range b.far.sent("many") {
			ids[s.id]++
		}
		many := 0
		for _, n := range ids {
			if n > 1 {
				many++
			}
		}
		if len(ids) != 5 || many != 1 {
			t.Errorf("sent: %v", ids)
		}
		if n, sum := b.metric("onward_batch_calls", "function=many"); int(sum) != len(b.far.sent("many")) || n >= sum {
			t.Errorf("%v requests of %v calls", n, sum)
		}
		b.counted(1, "onward_records_total", "kind="+journal.GaveUp.String(), "reason=applied")
	})
}
