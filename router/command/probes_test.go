package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinkall "github.com/onward-router/onward/sinks/all"
	triggerall "github.com/onward-router/onward/triggers/all"
)

// TestLintAsksWhoTakesBatches: one that does not is a finding at its line, before anything is sent to it; those that take one, and those that nobody can ask, are none.
func TestLintAsksWhoTakesBatches(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/takes" {
			w.Header().Set("Content-Type", "application/cloudevents-batch+json")
			fmt.Fprint(w, "[]")
			return
		}
		http.Error(w, "what is that?", http.StatusUnsupportedMediaType)
	}))
	defer s.Close()
	doc := strings.ReplaceAll(`version: 1
functions:
  takes: { http: { url: "URL/takes" }, batch: 10 }
  one: { http: { url: "URL/one" } }
  does-not: { http: { url: "URL/no" }, batch: 10 }
triggers: { t: { flow: { sequence: [{ function: takes }, { function: one }, { function: does-not }] } } }
`, "URL", s.URL)
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinkall.Register(reg)
	triggerall.Register(reg)
	set, findings := config.Parse("b.yaml", []byte(doc), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	var said strings.Builder
	for _, f := range unfit(t.Context(), set) {
		fmt.Fprintln(&said, f)
	}
	want := "b.yaml:5:3: functions.does-not: it does not take batches: to a batch of no events it answers status 415, status 415: what is that?; have it answer with a batch, or take batch: out\n"
	if said.String() != want {
		t.Errorf("%s; want %s", &said, want)
	}
}
