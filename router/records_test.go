package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
)

// An awsRecord is what AWS tells a destination.
type awsRecord struct {
	Version        string
	RequestContext struct {
		RequestID, FunctionArn, Condition string
		ApproximateInvokeCount            int
	}
	RequestPayload, ResponsePayload, ResponseContext json.RawMessage
}

// A reader has what destinations were told, by path, and how often each was asked.
type reader struct {
	mu    sync.Mutex
	told  map[string][]string
	asked map[string]int
}

func (d *reader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // Of a test.
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[r.URL.Path]++
	switch n := d.asked[r.URL.Path]; {
	case r.URL.Path == "/busy" && n <= 3:
		w.WriteHeader(http.StatusTooManyRequests)
	case r.URL.Path == "/busy" && n == 4, r.URL.Path == "/fail":
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"errorType":"ValueError","errorMessage":"boom","requestId":"r","stackTrace":[]}`)
	case strings.HasPrefix(r.URL.Path, "/told/"):
		d.told[r.URL.Path[6:]] = append(d.told[r.URL.Path[6:]], string(b))
	default:
		_, _ = w.Write(b) // It answers what it was sent.
	}
}

func (d *reader) of(path string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.told[path]...)
}

// TestWhoIsTold: a function's destinations are told of each call by itself, whether somebody waits for it or not, as AWS tells of asynchronous invocations alone and
// says nothing of the others (DST-8 of the checklists); a call of a flow is told of by the flow's trigger. Throttled tries and those that the platform failed are
// no invocations (DST-6), a record that is too large for its reader leaves out what was asked, then what was answered (DST-13), and an event that cannot be made
// is a dead letter at once.
func TestWhoIsTold(t *testing.T) {
	t.Parallel()
	d := &reader{told: make(map[string][]string), asked: make(map[string]int)}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	doc := fmt.Sprintf(`
version: 1
functions:
  echo: { http: { url: "%[1]s/echo" }, onSuccess: { http: { url: "%[1]s/told/echo" }, format: aws, bytes: 4KiB } }
  fail: { http: { url: "%[1]s/fail" }, retry: { attempts: 2, backoff: 1ms }, onFailure: { http: { url: "%[1]s/told/fail" }, format: aws } }
  busy:
    http: { url: "%[1]s/busy" }
    resends: 0
    retry: [{ on: [function, timeout], attempts: 3, backoff: 1ms }, { on: [throttle, platform], attempts: 9, backoff: 1ms }]
    onSuccess: { http: { url: "%[1]s/told/busy" }, format: aws }
triggers:
  flow: { flow: { function: echo }, onSuccess: { http: { url: "%[1]s/told/flow" } } }
  event: { onSuccess: { log: x, event: { subject: "${ data.s }" }, retry: { attempts: 9, backoff: 1h } } }
  url: { onSuccess: { http: { url: "%[1]s/told/${ data.id }" }, retry: { attempts: 9, backoff: 1h } } }
  header: { onSuccess: { http: { url: "%[1]s/told/x", headers: { X: "${ data.h }" } }, retry: { attempts: 9, backoff: 1h } } }
`, srv.URL)
	r := startWith(t, doc, func(o *router.Options) { o.Journal, o.Dir = memory.New(memory.Options{Partitions: 4}), t.TempDir() })
	invoke := func(name, data string, wait bool) {
		t.Helper()
		resp, err := http.Post("http://"+r.Addr()+"/v1/functions/"+name+"/invoke", "application/json", strings.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var said struct{ Run string }
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %d %+v %v", name, resp.StatusCode, said, err)
		}
		run, err := journal.ParseRunID(said.Run)
		if err == nil && wait {
			_, err = r.Wait(t.Context(), run)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	large := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	invoke("echo", `{"n":1}`, true)
	invoke("echo", `{"n":2}`, false)
	invoke("echo", large(3000), false)
	invoke("echo", large(5000), false)
	invoke("fail", `3`, true)
	invoke("busy", `4`, false)
	r.run("flow", "f", `{"n":5}`)
	comes(t, func() bool {
		return len(d.of("echo")) == 4 && len(d.of("fail")) == 1 && len(d.of("busy")) == 1 && len(d.of("flow")) == 1
	})
	records := make(map[string]awsRecord)
	for _, path := range []string{"echo", "fail", "busy"} {
		for _, text := range d.of(path) {
			var x awsRecord
			if err := json.Unmarshal([]byte(text), &x); err != nil || len(text) > 4096 {
				t.Fatalf("%d bytes, %v: %s", len(text), err, text)
			}
			records[fmt.Sprintf("%s %.10s %.20s %d", path, x.RequestPayload, x.ResponsePayload, len(x.ResponsePayload))] = x
		}
	}
	for what, want := range map[string]string{
		`echo {"n":1} {"n":1} 7`:          "Success 1", // somebody waited for it
		`echo {"n":2} {"n":2} 7`:          "Success 1",
		`echo  "xxxxxxxxxxxxxxxxxxx 3002`: "Success 1", // the request is left out
		`echo   0`:                        "Success 1", // and the response
		`busy 4 4 1`:                      "Success 2", // three of five tries were throttled
		`fail 3 {"errorType":"ValueE 80`:  "RetriesExhausted 2",
	} {
		x, is := records[what]
		if got := fmt.Sprint(x.RequestContext.Condition, " ", x.RequestContext.ApproximateInvokeCount); !is || got != want || x.ResponseContext == nil {
			t.Errorf("%s: %s; want %s", what, got, want)
		}
		delete(records, what)
	}
	for what := range records {
		t.Errorf("a record of %s", what)
	}
	for _, c := range []struct{ trigger, data, want string }{
		{"event", `{"s":""}`, "bad_event: subject is empty"}, {"event", `{"s":[1]}`, "bad_event: subject is [1]"}, {"event", `{"s":"a\nb"}`, "bad_event: subject has a control character"},
		{"event", `{}`, "expression_error: event: "}, {"url", `{"id":null}`, "expression_error: url: null is no text"}, {"url", `{"id":".."}`, "expression_error: url: "},
		{"url", `{}`, "expression_error: url: "}, {"header", `{"h":"a\r\nX-Evil: 1"}`, "expression_error: header X: its value has a control character"}, {"header", `{"h":null}`, "expression_error: header X: null"},
	} {
		r.run(c.trigger, c.data, c.data)
		comes(t, func() bool {
			var said struct {
				Letters []struct {
					Error struct{ Type, Message string }
				}
			}
			r.get("/v1/dead?trigger="+c.trigger, &said)
			for _, l := range said.Letters {
				if strings.HasPrefix(l.Error.Type+": "+l.Error.Message, c.want) {
					return true
				}
			}
			return false
		})
	}
}
