package router_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
)

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
	resp, err := http.Get("http://" + r.Addr() + "/v1/runs/" + done.ID + "/steps?summary=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said router.RunSteps
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
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
