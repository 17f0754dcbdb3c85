package router_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
)

// steps are what the history has of a run.
func (r *running) steps(id string) (said router.RunSteps) {
	r.t.Helper()
	resp, err := http.Get("http://" + r.Addr() + "/v1/runs/" + id + "/steps?summary=true")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		r.t.Fatal(err)
	}
	return said
}

// TestTimesApart: of three calls of a slow function, one at a time, the first has no queue and the last waits for both others; what they took is told apart,
// comes to the whole of each, and the sums are those of the calls.
func TestTimesApart(t *testing.T) {
	t.Parallel()
	const slow = 60 * time.Millisecond
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(slow)
		fmt.Fprint(w, `"ok"`)
	}))
	t.Cleanup(f.Close)
	r := start(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { slow: { http: { url: "%s/" }, concurrency: 1 } }
triggers: { three: { flow: { map: { items: "${ data }", do: { function: slow, timeout: 20s } } } } }`, f.URL))
	done := r.run("three", "1", "[1, 2, 3]")
	said := r.steps(done.ID)
	var sum router.Times
	var calls []*router.PastStep
	for _, s := range said.Steps {
		if s.Function == "" {
			if s.Times != nil {
				t.Errorf("%s is no call: %+v", s.Path, s.Times)
			}
			continue
		}
		calls = append(calls, s)
		if s.Times == nil || s.Times.Function.D() < slow || s.Times.Router < 0 || (s.Times.Queue+s.Times.Function+s.Times.Router).D() != s.Ended.Sub(s.Queued) {
			t.Fatalf("%s took %+v of %s", s.Path, s.Times, s.Ended.Sub(s.Queued))
		}
		sum.Add(*s.Times)
	}
	if len(calls) != 3 || calls[2].Times.Queue.D() < 2*slow || calls[0].Times.Queue > calls[1].Times.Queue || calls[1].Times.Queue.D() < slow {
		t.Errorf("%d calls, %+v, %+v, %+v", len(calls), calls[0].Times, calls[1].Times, calls[2].Times)
	}
	if said.Times == nil || *said.Times != sum || len(said.Summary) != 2 {
		t.Errorf("together %+v; want %+v; %d paths", said.Times, sum, len(said.Summary))
	}
}

// TestTimesApartByEvent: the same of a function that takes what it is sent and tells the outcome later, by an event: what it needs to take it is its own time, what
// the others wait for meanwhile is the queue's, and what is left once the event has come is the router's.
func TestTimesApartByEvent(t *testing.T) {
	t.Parallel()
	const slow = 40 * time.Millisecond
	var r *running
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(slow)
		cause := req.Header.Get("Ce-Id")
		time.AfterFunc(slow, func() {
			q, err := http.NewRequest("POST", "http://"+r.Addr()+"/in", strings.NewReader(`"ok"`))
			if err != nil {
				t.Error(err)
				return
			}
			for k, v := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": "of " + cause, "Ce-Source": "/f", "Ce-Type": "dev.onward.function.succeeded", "Ce-Causationid": cause} {
				q.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			if resp.Body.Close(); resp.StatusCode/100 != 2 {
				t.Error(resp.Status)
			}
		})
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(f.Close)
	r = start(t, t.TempDir(), fmt.Sprintf(`version: 1
functions: { slow: { http: { url: "%s/" }, concurrency: 1 } }
sources: { in: { webhook: { path: /in } } }
triggers: { three: { flow: { map: { items: "${ data }", do: { function: slow, timeout: 60s } } } } }`, f.URL))
	said := r.steps(r.run("three", "1", "[1, 2, 3]").ID)
	n, queue := 0, time.Duration(0)
	for _, s := range said.Steps {
		if s.Function == "" {
			continue
		}
		n++
		if s.Times == nil || s.Times.Function.D() < 2*slow || s.Times.Router <= 0 || s.Sent.IsZero() || (s.Times.Queue+s.Times.Function+s.Times.Router).D() != s.Ended.Sub(s.Queued) {
			t.Fatalf("%s took %+v of %s", s.Path, s.Times, s.Ended.Sub(s.Queued))
		}
		queue = max(queue, s.Times.Queue.D())
	}
	if n != 3 || queue < 2*slow {
		t.Errorf("%d calls, %s in the queue at most", n, queue)
	}
}
