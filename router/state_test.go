package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/sinks"
)

const stateDocument = `
version: 1
functions:
  work: { far: x, concurrency: 16, timeout: 10s, maxAge: 6h }
  one: { far: x, concurrency: 1, timeout: 8h }
  behind: { later: x, maxAge: 2h }
  alert: { far: x, timeout: 20s, maxAge: 1h, retry: { attempts: 3, backoff: 1s } }
triggers:
  wide: { tenant: a, filters: [{ exact: { type: wide } }], flow: { map: { items: 5000, do: { function: work } } } }
  single: { tenant: b, filters: [{ exact: { type: single } }], flow: { function: work } }
  slow: { filters: [{ exact: { type: slow } }], flow: { map: { items: 3, do: { function: one } } } }
  queue: { filters: [{ exact: { type: queue } }], flow: { function: behind } }
  straight: { filters: [{ exact: { type: straight } }], onSuccess: { function: alert } }
`

// TestDownAndBack: five thousand wait for a function that refuses at once, a run of another tenant beside them; when it is back that run is among the
// first, and nothing was lost.
func TestDownAndBack(t *testing.T) {
	inBubble(t, stateDocument, func(t *testing.T, b *bubble) {
		var back atomic.Bool
		b.far.behave = func(s *sent) {
			if back.Load() {
				s.succeed()
				return
			}
			s.end(sinks.Again(0, &sinks.Error{Type: "http_503", Message: "status 503", Class: "platform"}))
		}
		big := b.start("wide", "big", "null")
		time.Sleep(10 * time.Second)
		settle()
		if n := len(b.far.sent("work")); n > 16+20 {
			t.Errorf("%d sends in ten seconds", n)
		}
		small := b.start("single", "small", "1")
		before := len(b.far.sent("work"))
		b.counted(1, "onward_function_state", "function=work", "state=down")
		b.counted(0, "onward_function_state", "function=work", "state=up")
		lines, err := b.Explain(t.Context(), small)
		if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "function work is down since") || !strings.Contains(text, "one at a time finds out") {
			t.Errorf("%q, %v", lines, err)
		}
		back.Store(true)
		if f := b.wait(small); f.State != "succeeded" {
			t.Errorf("%+v", f)
		}
		for i, s := range b.far.sent("work")[before:] {
			if s.run == small.String() && i > 2+16 {
				t.Errorf("%d others were before it", i)
			}
		}
		if f := b.wait(big); f.State != "succeeded" || f.Calls != 5000 {
			t.Errorf("%s after %d calls", f.State, f.Calls)
		}
		b.counted(1, "onward_function_state", "function=work", "state=up")
	})
}

// TestOwnQueueIsNobodysFault: three calls one after the other, of 7 hours each: none is too old, and none is cut.
func TestOwnQueueIsNobodysFault(t *testing.T) {
	inBubble(t, stateDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			time.AfterFunc(7*time.Hour, s.succeed)
		}
		if f := b.wait(b.start("slow", "1", "null")); f.State != "succeeded" || f.Calls != 3 || f.Ended.Sub(f.Started) < 21*time.Hour {
			t.Errorf("%s %v after %s and %d calls", f.State, f.Error, f.Ended.Sub(f.Started), f.Calls)
		}
	})
}

// TestBacklogBehindATopicIsNoFailure: what was accepted completes long after the timeout that other functions have; what never does is given up by its
// age, and so it is by the next process.
func TestBacklogBehindATopicIsNoFailure(t *testing.T) {
	inBubble(t, stateDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) { s.end(sinks.Accept()) }
		run := b.start("queue", "1", "1")
		time.Sleep(time.Hour)
		lines, err := b.Explain(t.Context(), run)
		if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "its completion event has not come") || !strings.Contains(text, "gives up at ") {
			t.Errorf("%q, %v", lines, err)
		}
		b.event("succeeded", b.far.sent("behind")[0].id, "7")
		if f := b.wait(run); f.State != "succeeded" || f.Result.JSON() != "7" {
			t.Errorf("%+v", f)
		}
		run = b.start("queue", "2", "1")
		begun := time.Now()
		if f := b.wait(run); f.State != "failed" || f.Error.Type != "unanswered" || time.Since(begun) < 2*time.Hour {
			t.Errorf("%s %v after %s", f.State, f.Error, time.Since(begun))
		}
		time.Sleep(time.Second)
		settle()
		b.counted(1, "onward_dead_letters_kept")
		b.counted(1, "onward_dead_letters_total", "trigger=queue", "what=call")
	})
}

// TestRefusedDestinationIsTriedAgainThenKept: 500, three times, a second and two between them; the letter has the reason, and nothing is under way.
func TestRefusedDestinationIsTriedAgainThenKept(t *testing.T) {
	inBubble(t, stateDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			s.end(sinks.CompleteError(&sinks.Error{Type: "http_500", Message: "it broke", Class: "function"}))
		}
		b.start("straight", "1", `{"order":42}`)
		time.Sleep(time.Minute)
		settle()
		rest()
		sends := b.far.sent("alert")
		if len(sends) != 3 || sends[0].id != sends[2].id {
			t.Fatalf("%d sends", len(sends))
		}
		b.counted(0, "onward_runs")
		b.counted(1, "onward_dead_letters_kept")
		b.counted(1, "onward_dead_letters_total", "trigger=straight", "what=notify")
	})
}

// TestDeadLetterIsSentAgain over HTTP: what a destination refused is listed with its reason, is there after a restart, and goes when it has arrived.
func TestDeadLetterIsSentAgain(t *testing.T) {
	t.Parallel()
	var works atomic.Bool
	var got atomic.Value
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !works.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		got.Store(r.Header.Get("Ce-Id") + " " + string(body))
	}))
	defer far.Close()
	dir, doc := t.TempDir(), fmt.Sprintf(`
version: 1
functions: { hook: { http: { url: %q } } }
triggers: { straight: { onSuccess: { function: hook } } }
`, far.URL)
	r := start(t, dir, doc)
	run := r.run("straight", "1", `{"order":42}`)
	var list router.LetterList
	dead := func(method, path string, into any) int {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+r.Addr()+"/v1/dead"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	eventually(t, func() error {
		if dead("GET", "", &list); len(list.Letters) != 1 || list.Letters[0].Run != run.ID || list.Letters[0].Error.Type != "http_500" {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, doc)
	var said map[string]any
	if code := dead("POST", "/"+list.Letters[0].ID+"/redrive", &said); code != http.StatusBadGateway {
		t.Errorf("%d %v", code, said)
	}
	works.Store(true)
	if code := dead("POST", "/"+list.Letters[0].ID+"/redrive", &said); code != http.StatusOK || got.Load() != run.ID+`~end {"order":42}` {
		t.Errorf("%d %v, it got %v", code, said, got.Load())
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, doc)
	if dead("GET", "", &list); list.Total != 0 {
		t.Errorf("%+v", list)
	}
}
