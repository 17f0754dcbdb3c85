package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
)

// TestFailureIsExplainedByWhoSawIt: a run failed at one router, and its partition has moved since, by a snapshot that knows nothing of its steps. Whoever is asked why
// says which call failed, with what input, and how much of that is kept.
func TestFailureIsExplainedByWhoSawIt(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such order", http.StatusBadRequest) }))
	defer far.Close()
	c := openCluster(t, 2, fmt.Sprintf(`
version: 1
functions: { check: { http: { url: %q }, retry: { attempts: 1 } } }
triggers:
  order: { filters: [{ exact: { type: order } }], flow: { sequence: [{ name: first, function: check, input: "${ data + data }" }] } }
  ask: { filters: [{ exact: { type: ask } }], flow: { signal: go } }
`, far.URL), func(_ int, o *router.Options) { o.SnapshotEvery = 4 })
	large := startEvent("large")
	if err := large.SetData("application/json", strings.Repeat("order-7 ", 2000)); err != nil {
		t.Fatal(err)
	}
	run, err := c.members[0].Router.Start(t.Context(), "order", large)
	if err != nil {
		t.Fatal(err)
	}
	partition := int(uint64(run.Route()) * 4 >> 32)
	seen := c.members[partition%2]
	if f, err := seen.Router.Wait(t.Context(), run); err != nil || f.State != "failed" {
		t.Fatal(f, err)
	}
	for i, n := 0, 0; n < 12; i++ { // A snapshot lies behind its end.
		id, err := c.members[0].Router.Start(t.Context(), "ask", startEvent(fmt.Sprint("ask-", i)))
		if err != nil {
			t.Fatal(err)
		}
		if int(uint64(id.Route())*4>>32) == partition {
			n++
		}
	}
	c.give(partition, 1-partition%2)
	for _, m := range c.members {
		eventually(t, func() error {
			var why router.Explanation
			if _, err := m.get("/v1/runs/"+run.String()+"/explain", &why); err != nil {
				return err
			}
			text := strings.Join(why.Lines(), "\n")
			for _, part := range []string{"function check failed at try 1", "no such order", `"order-7 order-7`, "(32002 bytes; the history keeps the begin of it, up to history.value"} {
				if !strings.Contains(text, part) {
					return fmt.Errorf("%q is not in %s", part, text)
				}
			}
			return nil
		})
	}
}
