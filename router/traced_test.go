package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	parentOfAll = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	garbage     = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"
)

// A mailbox is a function that keeps the headers of its calls.
type mailbox struct {
	url  string
	mu   sync.Mutex
	came []http.Header
}

func newMailbox(t *testing.T) *mailbox {
	m := new(mailbox)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.came = append(m.came, r.Header.Clone())
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

// event sends an event to a webhook and waits for its run's end.
func (r *running) event(id string, header map[string]string) {
	r.t.Helper()
	q, err := http.NewRequest("POST", "http://"+r.Addr()+"/in", strings.NewReader("1"))
	if err != nil {
		r.t.Fatal(err)
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/s", "Ce-Type": "t", "Prefer": "wait=30"} {
		q.Header.Set(k, v)
	}
	for k, v := range header {
		q.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s", resp.Status, b)
	}
}

// TestTraceContextIsPassedOn where nothing is traced: a function gets what the run was started with, by HTTP as header and as attribute, as a program by
// its environment; nobody sees garbage, and nobody is refused for it.
func TestTraceContextIsPassedOn(t *testing.T) {
	t.Parallel()
	m, file := newMailbox(t), filepath.Join(t.TempDir(), "seen")
	r := start(t, t.TempDir(), fmt.Sprintf(`version: 1
functions:
  http: { http: { url: "%s/" } }
  exec: { exec: { command: [sh, -c, 'printf "%%s" "$TRACEPARENT $TRACESTATE $CE_TRACEPARENT" > %s'] } }
sources: { in: { webhook: { path: /in } } }
triggers: { t: { filters: [{ exact: { type: t } }], flow: { sequence: [{ function: http }, { function: exec }] } } }`, m.url, file))
	for i, c := range []struct{ header, state, own, want, wantState string }{
		{header: parentOfAll, state: "a=1", want: parentOfAll, wantState: "a=1"},
		{own: parentOfAll, want: parentOfAll},
		{header: garbage, state: "a=1"},
		{own: garbage},
		{},
	} {
		header := make(map[string]string)
		for k, v := range map[string]string{"Traceparent": c.header, "Tracestate": c.state, "Ce-Traceparent": c.own} {
			if v != "" {
				header[k] = v
			}
		}
		r.event(fmt.Sprint(i), header)
		got := m.came[i]
		if got.Get("Traceparent") != c.want || got.Get("Ce-Traceparent") != c.want || got.Get("Tracestate") != c.wantState {
			t.Errorf("%+v: %v", c, got)
		}
		want := fmt.Sprintf("%s %s %s", c.want, c.wantState, c.want)
		if seen, err := os.ReadFile(file); err != nil || string(seen) != want {
			t.Errorf("%+v: a program gets %q, %v", c, seen, err)
		}
	}
}
