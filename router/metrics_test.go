package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestMetricsTellOfRunsCallsLanesAndDisk(t *testing.T) {
	t.Parallel()
	address, _ := functions(t)
	r := start(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { double: { http: { url: "%[1]s/double" } }, fail: { http: { url: "%[1]s/fail" } } }
triggers:
  good: { flow: { map: { items: "${ data }", do: { function: double, input: "${ item }" } } } }
  bad: { flow: { function: fail } }
`, address))
	f := r.run("good", "1", "[1,2,3]")
	r.run("bad", "1", "1")
	q, _ := http.NewRequest("GET", "http://"+r.Addr()+"/metrics", nil)
	q.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") {
		t.Fatal(err, resp.Header)
	}
	text := string(b)
	for _, line := range []string{
		`onward_runs_ended_total{state="failed",trigger="bad"} 1.0`, `onward_runs_ended_total{state="succeeded",trigger="good"} 1.0`,
		`onward_calls_total{function="double",outcome="succeeded"} 3.0`, `onward_calls_total{function="fail",outcome="failed"} 1.0`,
		`onward_function_calls{function="double",state="waiting"} 0.0`, `onward_function_calls{function="double",state="paused"} 0.0`,
		`onward_parked_total{source="the journal"} 0.0`,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("there is no %s", line)
		}
	}
	for _, form := range []string{
		`onward_run_seconds_bucket{trigger="good",le="[^"]+"\} 1 # \{run="` + f.ID + `"\}`, `onward_function_seconds_bucket\{function="double",le="[^"]+"\} \d # \{run="` + f.ID + `"\}`,
		`onward_queue_seconds_bucket\{le="[^"]+"\} \d # \{run="`, `onward_deliver_seconds_bucket\{sink="http",le="[^"]+"\} \d # \{run="`,
		`\nonward_disk_bytes\{what="used"\} [1-9]`, `\nonward_disk_bytes\{what="free"\} [1-9]`, `\nonward_build_info\{built="[^"]*",commit="[^"]+",go="go[^"]+",modified="(true|false)",version="[^"]+"\} 1.0`,
	} {
		if !regexp.MustCompile(strings.ReplaceAll(form, "{trigger", `\{trigger`)).MatchString(text) {
			t.Errorf("nothing is %s", form)
		}
	}
}

// TestMetricsTellOfTwins: a second try that decides, one that fails, and one that comes too late.
func TestMetricsTellOfTwins(t *testing.T) {
	t.Parallel()
	var calls sync.Map
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // The server hears of a cancel once it has read all.
		made, _ := calls.LoadOrStore(q.URL.Path, &pair{came: make(chan struct{})})
		p := made.(*pair)
		second := p.calls.Add(1) == 2
		switch {
		case q.URL.Path == "/won" && second:
		case q.URL.Path == "/won":
			<-q.Context().Done() // It is cancelled.
			return
		case q.URL.Path == "/failed" && second:
			defer close(p.came)
			w.WriteHeader(http.StatusInternalServerError)
		case second: // Of a step that the first call ends.
			close(p.came)
			<-q.Context().Done()
			return
		default:
			<-p.came
		}
		fmt.Fprint(w, "1")
	}))
	t.Cleanup(functions.Close)
	r := start(t, t.TempDir(), fmt.Sprintf(`version: 1
functions:
  won: { http: { url: "%[1]s/won" } }
  failed: { http: { url: "%[1]s/failed" } }
  late: { http: { url: "%[1]s/late" } }
triggers:
  t: { flow: { forkjoin: { branches: [{ function: won }, { function: failed }, { function: late }], speculate: 20ms } } }
`, functions.URL))
	if f := r.run("t", "1", "1"); f.State != "succeeded" {
		t.Fatalf("%+v", f)
	}
	resp, err := http.Get("http://" + r.Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`onward_twins_total{what="started"} 3`, `onward_twins_total{what="won"} 1`, `onward_twins_total{what="lost"} 2`} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}

// pair is the two calls of a function.
type pair struct {
	calls atomic.Int32
	came  chan struct{} // the second one has come
}
