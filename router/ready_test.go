package router_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
)

// TestReadySaysWhyNothingStarts: with a disk that is nearly full, or with as many runs as there may be, a router is not out of service: what runs wait for is taken.
// It says that it is degraded, and why.
func TestReadySaysWhyNothingStarts(t *testing.T) {
	t.Parallel()
	j := memory.New(memory.Options{Partitions: 1})
	r := startWith(t, "version: 1\nsources: { in: { webhook: { path: /in } } }\ntriggers: { t: { filters: [{ exact: { type: a } }], flow: { signal: go } } }\n", func(o *router.Options) {
		o.Journal, o.Listen, o.MaxRuns = j, "127.0.0.1:0", 1
	})
	ask := func(method, path, body string, header ...string) (int, string) {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+r.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			q.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var said struct{ Status, Starts string }
		_ = json.NewDecoder(resp.Body).Decode(&said) // Not all answers are of that form.
		return resp.StatusCode, said.Status + " " + said.Starts
	}
	ready := func(want string) {
		t.Helper()
		if code, said := ask("GET", "/readyz", ""); code != http.StatusOK || !strings.HasPrefix(said, want) {
			t.Errorf("%d %s; want %s", code, said, want)
		}
	}
	send := func(id string, want int) {
		t.Helper()
		if code, said := ask("POST", "/in", "1", "Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Source", "/s", "Ce-Type", "a"); code != want {
			t.Errorf("%d %s; want %d", code, said, want)
		}
	}
	<-r.Ready()
	ready("ready")
	j.Fill(true)
	ready("degraded journal: the disk is nearly full")
	send("1", http.StatusInsufficientStorage)
	j.Fill(false)
	ready("ready")
	send("2", http.StatusAccepted)
	comes(t, func() bool { _, said := ask("GET", "/readyz", ""); return strings.Contains(said, "1 runs are open") })
	send("3", http.StatusTooManyRequests)
}
