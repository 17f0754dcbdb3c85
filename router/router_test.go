package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	triggers.Register(r)
	return r
}

// A running is a router at work in a test.
type running struct {
	*router.Router
	t    testing.TB
	stop func() error
}

func start(t testing.TB, dir, doc string) *running {
	t.Helper()
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(doc), reg, nil)
	for _, f := range findings {
		t.Error(f)
	}
	if len(findings) > 0 {
		t.FailNow()
	}
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	return runIt(t, router.Options{Set: set, Registry: reg, Journal: j, Listen: "127.0.0.1:0", SnapshotEvery: 500, Dir: dir})
}

// runIt runs a router until the test stops it, or ends.
func runIt(t testing.TB, o router.Options) *running {
	t.Helper()
	r, err := router.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		err := <-ran
		return errorsJoin(err, o.Journal.Close())
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	<-r.Ready()
	return &running{r, t, stop}
}

func errorsJoin(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (r *running) run(trigger, id, data string) *router.Finished {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType("test")
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data)); err != nil {
		r.t.Fatal(err)
	}
	run, err := r.Start(ctx, trigger, &e)
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := r.Wait(ctx, run)
	if err != nil {
		lines, _ := r.Explain(context.Background(), run)
		r.t.Fatalf("%v; %s", err, strings.Join(lines, "\n"))
	}
	return f
}

// functions is a server: /double doubles a number, /flaky fails twice for each, /fail fails, /slow never answers.
func functions(t testing.TB) (string, *atomic.Int64) {
	var calls atomic.Int64
	tries := make(map[string]int)
	var mu sync.Mutex
	mux := http.NewServeMux()
	number := func(r *http.Request) (n int) {
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &n)
		calls.Add(1)
		return n
	}
	mux.HandleFunc("/double", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, 2*number(r)) })
	mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) {
		number(r)
		w.WriteHeader(500)
		fmt.Fprint(w, `{"type":"boom","message":"it broke"}`)
	})
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		n := number(r)
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Ce-Idempotencykey")
		if tries[key]++; tries[key] < 3 {
			w.WriteHeader(500)
			return
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		n := number(r)
		mu.Lock()
		defer mu.Unlock()
		if id := r.Header.Get("Ce-Id"); tries[id] == 0 {
			tries[id]++
			w.WriteHeader(503)
			return
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		number(r) // The server sees that the client has gone once the body was read.
		<-r.Context().Done()
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, &calls
}

const document = `
version: 1
functions:
  double: { http: { url: "URL/double" } }
  fail: { http: { url: "URL/fail" } }
  flaky: { http: { url: "URL/flaky" }, retry: { attempts: 3, backoff: 1ms } }
  busy: { http: { url: "URL/busy" } }
  slow: { http: { url: "URL/slow" }, timeout: 50ms }
sources:
  inbox: { webhook: { path: /events } }
flows:
  twice: { sequence: [{ function: double }, { function: double }] }
triggers:
  wide:
    filters: [{ exact: { type: wide } }]
    flow: { map: { items: "${ data }", do: { function: double } } }
  fork:
    flow: { forkjoin: { branches: { a: { function: double }, b: { flow: twice } } } }
    filters: [{ exact: { type: fork } }]
  failing:
    flow: { function: fail }
    filters: [{ exact: { type: failing } }]
  caught:
    flow: { sequence: [{ function: fail, catch: [{ errors: [boom], do: { function: double, input: "${ size(error.message) }" } }] }] }
    filters: [{ exact: { type: caught } }]
  flaky: { flow: { function: flaky }, filters: [{ exact: { type: flaky } }] }
  busy: { flow: { function: busy }, filters: [{ exact: { type: busy } }] }
  slow: { flow: { function: slow }, filters: [{ exact: { type: slow } }] }
  settled:
    flow: { map: { items: 3, join: settled, do: { choice: [{ if: "${ item == 1 }", function: fail }], } } }
    filters: [{ exact: { type: settled } }]
  graph:
    filters: [{ exact: { type: graph } }]
    flow:
      dag:
        - { name: a, function: double }
        - { name: b, function: double, needs: a, input: "${ steps.a }" }
        - { name: c, function: double, needs: a, input: "${ steps.a + 1 }" }
        - { name: d, function: double, needs: [b, c], input: "${ steps.b + steps.c }" }
  waits: { flow: { wait: 20ms }, filters: [{ exact: { type: waits } }] }
  asks: { flow: { signal: { name: approved, within: 1m } }, filters: [{ exact: { type: asks } }] }
  late: { flow: { signal: { name: approved, within: 10ms } }, filters: [{ exact: { type: late } }] }
  chained: { filters: [{ exact: { type: dev.onward.run.succeeded, source: /onward/waits } }], flow: { function: double, input: 21 } }
`

func TestPolicies(t *testing.T) {
	t.Parallel()
	url, _ := functions(t)
	r := start(t, t.TempDir(), strings.ReplaceAll(document, "URL", url))
	for _, c := range []struct{ trigger, data, want string }{
		{"wide", `[1,2,3]`, `[2,4,6]`},
		{"wide", `[]`, `[]`},
		{"fork", `3`, `{"a":6,"b":12}`},
		{"caught", `1`, `16`},
		{"flaky", `7`, `7`},
		{"busy", `7`, `7`},
		{"graph", `1`, `{"d":20}`},
		{"waits", `{"x":1}`, `{"x":1}`},
	} {
		f := r.run(c.trigger, "policies-"+c.trigger+c.data, c.data)
		if f.State != "succeeded" || f.Result.JSON() != c.want {
			t.Errorf("%s of %s: %s %s %v; want %s", c.trigger, c.data, f.State, f.Result, f.Error, c.want)
		}
	}
	for trigger, kind := range map[string]string{"failing": "boom", "slow": "timeout", "late": "signal_deadline"} {
		f := r.run(trigger, "fails", "1")
		if f.State != "failed" || f.Error == nil || f.Error.Type != kind {
			t.Errorf("%s: %s %v; want %s", trigger, f.State, f.Error, kind)
		}
	}
	f := r.run("settled", "settled", "null")
	var results []struct{ Error *lang.Error }
	if err := f.Result.Decode(&results); err != nil || len(results) != 3 || results[1].Error == nil || results[1].Error.Type != "boom" || results[0].Error.Type != "no_choice_matched" {
		t.Errorf("settled: %s, %v", f.Result, err)
	}
}

func TestWideMapJoinsOnceWithTheRightMembers(t *testing.T) {
	t.Parallel()
	url, calls := functions(t)
	r := start(t, t.TempDir(), strings.ReplaceAll(document, "URL", url))
	const n = 2000
	items, want := make([]int, n), make([]int, n)
	for i := range n {
		items[i], want[i] = i, 2*i
	}
	f := r.run("wide", "wide", lang.Of(items).JSON())
	if f.Result != lang.Of(want) || calls.Load() != n {
		t.Errorf("%.60s..., %d calls", f.Result, calls.Load())
	}
	// The same event again is the same run: nothing is called twice.
	if again := r.run("wide", "wide", lang.Of(items).JSON()); again.ID != f.ID || calls.Load() != n {
		t.Errorf("run %s, then %s; %d calls", f.ID, again.ID, calls.Load())
	}
}

func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	url, _ := functions(t)
	dir := t.TempDir()
	doc := strings.ReplaceAll(document, "URL", url)
	r := start(t, dir, doc)
	ctx := context.Background()
	e := event.New()
	e.SetID("asks")
	e.SetSource("/test")
	e.SetType("asks")
	id, err := r.Start(ctx, "asks", &e)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, doc)
	lines, err := r.Explain(ctx, id)
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), `waiting for the signal "approved"`) {
		t.Errorf("explain: %q, %v", lines, err)
	}
	resp, err := http.Post("http://"+r.Addr()+"/v1/runs/"+id.String()+"/signals/approved", "application/json", strings.NewReader(`{"by":"Ada"}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	f, err := r.Wait(wait, id)
	if err != nil || f.Result.JSON() != `{"by":"Ada"}` {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	url, _ := functions(t)
	r := start(t, t.TempDir(), strings.ReplaceAll(document, "URL", url))
	post := func(headers map[string]string, body string) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequest("POST", "http://"+r.Addr()+"/events", strings.NewReader(body))
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	ce := func(kind string, more ...string) map[string]string {
		h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/t", "Ce-Type": kind, "Content-Type": "application/json"}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	for range 2 { // A repeated post of a run that is done is answered alike.
		resp, body := post(ce("wide", "Prefer", "wait=20"), "[1,2]")
		if resp.StatusCode != 200 || body != "[2,4]" || resp.Header.Get("Ce-Type") != "dev.onward.run.succeeded" {
			t.Errorf("wait: %s %q %v", resp.Status, body, resp.Header)
		}
	}
	for name, c := range map[string]struct {
		headers map[string]string
		body    string
		code    int
		want    string
	}{
		"accepted":       {ce("wide", "Ce-Id", "2"), "[1]", 202, `"trigger":"wide"`},
		"unmatched":      {ce("nobody"), "1", 202, "no trigger takes it"},
		"structured":     {map[string]string{"Content-Type": "application/cloudevents+json"}, `{"specversion":"1.0","id":"3","source":"/t","type":"wide","data":[1],"custom":"kept"}`, 202, "matched"},
		"batch":          {map[string]string{"Content-Type": "application/cloudevents-batch+json"}, `[{"specversion":"1.0","id":"4","source":"/t","type":"wide","data":[1]},{"specversion":"1.0","id":"5","source":"/t","type":"x"}]`, 202, "unmatched"},
		"no id":          {map[string]string{"Ce-Specversion": "1.0", "Ce-Source": "/t", "Ce-Type": "x"}, "", 400, "id"},
		"bad time":       {ce("wide", "Ce-Time", "yesterday"), "1", 400, "time"},
		"bad JSON":       {ce("wide"), "{", 400, "JSON"},
		"no event":       {map[string]string{"Content-Type": "application/json"}, "{}", 415, "ce-specversion"},
		"avro":           {map[string]string{"Content-Type": "application/cloudevents+avro"}, "", 415, "not supported"},
		"too large":      {ce("wide"), `"` + strings.Repeat("x", 2<<20) + `"`, 413, "by reference"},
		"batch, no list": {map[string]string{"Content-Type": "application/cloudevents-batch+json"}, `{}`, 400, "list"},
		"bad wait":       {ce("wide", "Prefer", "wait=soon"), "1", 400, "seconds"},
	} {
		if resp, body := post(c.headers, c.body); resp.StatusCode != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s %q; want %d %q", name, resp.Status, body, c.code, c.want)
		}
	}
	// A browser that asks at the webhook's path gets the page of that name; anything else is told what is taken there.
	for method, code := range map[string]int{http.MethodGet: 200, http.MethodPut: 405} {
		q, err := http.NewRequest(method, "http://"+r.Addr()+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil || resp.StatusCode != code || code == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: %v, %v", method, resp, err)
		}
		_ = resp.Body.Close()
	}
}

func TestRunsEndStartsAnotherRun(t *testing.T) {
	t.Parallel()
	url, calls := functions(t)
	r := start(t, t.TempDir(), strings.ReplaceAll(document, "URL", url))
	r.run("waits", "chain", "1")
	for deadline := time.Now().Add(20 * time.Second); calls.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestTriggerWithoutFiltersDoesNotStartItself(t *testing.T) {
	t.Parallel()
	url, calls := functions(t)
	r := start(t, t.TempDir(), "version: 1\nfunctions: { double: { http: { url: \""+url+"/double\" } } }\ntriggers: { all: { flow: { function: double } } }\n")
	if f := r.run("all", "1", "1"); f.State != "succeeded" {
		t.Fatal(f)
	}
	for range 3 { // Each later run comes after what an earlier end would have started.
		r.run("all", fmt.Sprint("again", calls.Load()), "1")
	}
	if calls.Load() != 4 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestListenerStaysOnLoopback(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte("version: 1\nsources: { in: { webhook: {} } }\n"), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j, err := file.Open(file.Options{Dir: filepath.Join(t.TempDir(), "j"), LowWater: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, token := range []plugin.Secret{{}, {Env: "HOME"}} {
		if _, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Listen: "0.0.0.0:0", Token: token}); err == nil || !strings.Contains(err.Error(), "leaves this machine") {
			t.Errorf("token %v: %v", token, err)
		}
	}
}
