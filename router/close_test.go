package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/triggers"
)

// TestARouterThatNeverRanIsClosed: its address and its folder are free again, and closing it twice, or after it ran, is nothing.
func TestARouterThatNeverRanIsClosed(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(attacked), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	dir := t.TempDir()
	open := func(listen string) *router.Router {
		t.Helper()
		r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: memory.New(memory.Options{Partitions: 4}), Listen: listen, Dir: dir, Drain: -1})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open("127.0.0.1:0")
	address := r.Addr()
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
	r = open(address)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	<-r.Ready()
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error("after it ran:", err)
	}
}

// broken is a source that panics by itself.
type broken struct{}

type brokenSettings struct{}

func (broken) Run(context.Context, triggers.Admit) error { panic("it fell over") }

// TestASourceThatPanicsEndsTheRouterInGoodOrder: it may have left anything behind; the error names it.
func TestASourceThatPanicsEndsTheRouterInGoodOrder(t *testing.T) {
	t.Parallel()
	reg := registry()
	triggers.Register(reg, "broken", 1, "Breaks.", func(string, *brokenSettings) (triggers.Source, error) { return broken{}, nil })
	set, findings := config.Parse("test.yaml", []byte("version: 1\nfunctions: { f: { log: f } }\nsources: { bad: { broken: {} } }\ntriggers: { t: { filters: [{ exact: { type: t } }], flow: { function: f } } }\n"), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: memory.New(memory.Options{Partitions: 4}), Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `source "bad": the router failed at it (source): it fell over`) {
		t.Errorf("%v", err)
	}
}

// TestRunsInPages: who asks for runs after the last one that he has gets each run once, the latest first, from one router and from any of several.
func TestRunsInPages(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, attacked)
	const n = 25
	var want []string
	for i := range n {
		run, err := c.members[i%2].Router.Start(t.Context(), "ask", startEvent(fmt.Sprint("page-", i)))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, run.String())
	}
	slices.Sort(want)
	page := func(member, limit int, after string) (ids []string, next string) {
		t.Helper()
		status, body := say(t, c.members[member].address, request("GET", fmt.Sprintf("/v1/runs?limit=%d&after=%s", limit, after), "localhost", "", ""))
		var said router.RunList
		if err := json.Unmarshal([]byte(body), &said); err != nil || status != "200 OK" || said.Total != n && len(said.Runs) > 0 && after != "" {
			t.Fatalf("%s %s: %v", status, body, err)
		}
		for i, l := range said.Runs {
			if ids = append(ids, l.Run); i > 0 && l.Started.After(said.Runs[i-1].Started) {
				t.Errorf("%v comes after %v", l.Started, said.Runs[i-1].Started)
			}
		}
		return ids, said.Next
	}
	eventually(t, func() error {
		if got, _ := page(0, 100, ""); len(got) != n {
			return fmt.Errorf("%d runs", len(got))
		}
		return nil
	})
	for member := range c.members {
		for _, limit := range []int{1, 7, n, 2 * n} {
			var got []string
			for after, more := "", true; more; more = after != "" {
				some, next := page(member, limit, after)
				if len(some) > limit || len(some) == 0 {
					t.Fatalf("%d of %d", len(some), limit)
				}
				got, after = append(got, some...), next
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("router %d, %d at a time: %d runs, want %d", member, limit, len(got), n)
			}
		}
	}
	if status, body := say(t, c.members[0].address, request("GET", "/v1/runs?after=x", "localhost", "", "")); !strings.HasPrefix(status, "400") {
		t.Errorf("%s %s", status, body)
	}
}
