package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router"
)

// TestDiffCountsRunsOfAllRouters: whichever is asked; those that have ended do not count.
func TestDiffCountsRunsOfAllRouters(t *testing.T) {
	t.Parallel()
	const doc = `
version: 1
functions: { f: { exec: cat }, g: { exec: cat } }
triggers:
  a: { filters: [{ exact: { type: a } }], flow: { sequence: [{ signal: go }, { function: f }] }, onFailure: { trigger: c } }
  b: { filters: [{ exact: { type: b } }], flow: { signal: go } }
  c: { filters: [{ exact: { type: c } }], flow: { function: g } }
`
	c := openCluster(t, 2, doc)
	for i := range 12 {
		if _, err := c.members[i%2].Router.Start(t.Context(), "a", startEvent(fmt.Sprint("a-", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.members[0].Router.Start(t.Context(), "c", startEvent("c")); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"documents": []config.Text{{File: "new.yaml", Text: "version: 1\nfunctions: { g: { exec: [cat] } }\ntriggers: { b: { filters: [{ exact: { type: b } }], flow: { signal: go } } }\n"}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range c.members {
		eventually(t, func() error {
			resp, err := http.Post("http://"+m.address+"/v1/diff", "application/json", strings.NewReader(string(body)))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			var said router.Difference
			if err := json.Unmarshal(b, &said); err != nil {
				return fmt.Errorf("%w: %s", err, b)
			}
			var got []string
			for _, x := range said.Changes {
				got = append(got, fmt.Sprintf("%s %s %s %d %d %v", x.How, x.Kind, x.Name, x.Runs, len(x.Some), x.Endures))
			}
			// The runs of a would start c when they fail: that hurts. Those of f would call it.
			if text := strings.Join(got, "|"); text != "removed trigger a 12 5 true|removed trigger c 12 5 false|removed function f 12 5 false" || len(said.Unanswered) > 0 {
				return fmt.Errorf("router %d: %s, %v", i, text, said.Unanswered)
			}
			return nil
		})
	}
}

// TestReloadTellsWhomItHurts: what it has changed, and which runs may still call what has gone.
func TestReloadTellsWhomItHurts(t *testing.T) {
	t.Parallel()
	log := new(logtest.Log)
	const doc = "version: 1\nfunctions: { f: { exec: cat }, g: { exec: cat } }\ntriggers: { a: { filters: [{ exact: { type: a } }], flow: { sequence: [{ signal: go }, { function: f }] } } }\n"
	r := startWith(t, doc, func(o *router.Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	run, err := r.Start(t.Context(), "a", startEvent("a"))
	if err != nil {
		t.Fatal(err)
	}
	comes(t, func() bool { f, _, err := r.Status(t.Context(), run, 0); return err == nil && f != nil })
	for _, next := range []string{doc, strings.Replace(doc, "f: { exec: cat }, ", "", 1)} {
		set, findings := config.Parse("test.yaml", []byte(strings.Replace(next, "{ function: f }", "{ function: g }", 1)), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		for range 2 {
			if err := r.Reload(set); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := log.String()
	for _, want := range []string{
		`msg="the documents have changed" documents=1 changes="~ trigger a: flow"`, `msg="nothing in the documents has changed" documents=2`, `msg="the documents have changed" documents=3 changes="- function f"`,
		`level=WARN msg="open runs may still call what has gone: that waits until it is back, or fails when its time is over" documents=3 function=f runs=1 some=` + run.String(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// TestDiffOfWrongDocuments: of thousands of things that are wrong it tells the first.
func TestDiffOfWrongDocuments(t *testing.T) {
	t.Parallel()
	r := startWith(t, "version: 1\nfunctions: { f: { exec: cat } }\n", func(*router.Options) {})
	var doc strings.Builder
	doc.WriteString("version: 1\nfunctions:\n")
	for i := range 3000 {
		fmt.Fprintf(&doc, "  f%d: { %s: 1 }\n", i, strings.Repeat("x", 500))
	}
	body, err := json.Marshal(map[string]any{"documents": []config.Text{{File: "new.yaml", Text: doc.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+r.Addr()+"/v1/diff", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusBadRequest || len(b) > 200_000 || !strings.Contains(string(b), "new.yaml:3:") || !strings.Contains(string(b), "2900 more") {
		t.Errorf("%v, %d, %d bytes: %.300s", err, resp.StatusCode, len(b), b)
	}
}
