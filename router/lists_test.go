package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

func listOf(t *testing.T, address, query string) (said router.RunList, status string) {
	t.Helper()
	status, body := say(t, address, request("GET", "/v1/runs?"+query, address, "", ""))
	if strings.HasPrefix(status, "200") {
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
	}
	return said, status
}

// TestRunIsListedOnceWhileItEnds, and the total is that of all, whoever ends meanwhile.
func TestRunIsListedOnceWhileItEnds(t *testing.T) {
	t.Parallel()
	r := startWith(t, attacked, func(*router.Options) {})
	const n = 200
	var runs []journal.RunID
	for i := range n {
		run, err := r.Start(t.Context(), "ask", startEvent(fmt.Sprint("once-", i)))
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	eventually(t, func() error {
		if said, _ := listOf(t, r.Addr(), "state=waiting"); said.Total != n {
			return fmt.Errorf("%d of %d", said.Total, n)
		}
		return nil
	})
	done := make(chan error, 1)
	go func() {
		for _, run := range runs {
			resp, err := http.Post("http://"+r.Addr()+"/v1/runs/"+run.String()+"/signals/approved", "application/json", strings.NewReader("{}"))
			if err != nil {
				done <- err
				return
			}
			_ = resp.Body.Close()
		}
		done <- nil
	}()
	for open := true; open; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			open = false
		default:
		}
		said, _ := listOf(t, r.Addr(), "limit=1000")
		seen := make(map[string]bool)
		for _, l := range said.Runs {
			seen[l.Run] = true
		}
		if len(said.Runs) != n || len(seen) != n || said.Total != n || said.Next != "" {
			t.Fatalf("%d lines of %d runs, total %d, next %q", len(said.Runs), len(seen), said.Total, said.Next)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, run := range runs {
		if _, err := r.Wait(ctx, run); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{"state=succeeded&limit=7": n, "trigger=ask&limit=1": n, "event=once-7": 1, "trigger=id": 0, "error=boom": 0} {
		if said, _ := listOf(t, r.Addr(), query); said.Total != want || (said.Next != "") != (want > len(said.Runs)) {
			t.Errorf("%s: %d of %d, next %q", query, len(said.Runs), said.Total, said.Next)
		}
	}
}

// TestListRefusesWhatItDoesNotKnow: nothing is cut or passed over without a word.
func TestListRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	r := startWith(t, attacked, func(*router.Options) {})
	for _, query := range []string{"limit=100000", "limit=0", "limit=x", "sort=colour", "order=left", "since=soon", "state=lost", "after=x", "after=1.x", "colour=red", "triger=ask"} {
		if _, status := listOf(t, r.Addr(), query); !strings.HasPrefix(status, "400") {
			t.Errorf("%s: %s", query, status)
		}
	}
	for _, query := range []string{"limit=10000", "sort=ended&order=up", "since=2026-01-01T00:00:00Z"} {
		if _, status := listOf(t, r.Addr(), query); !strings.HasPrefix(status, "200") {
			t.Errorf("%s: %s", query, status)
		}
	}
}

// TestWaitsOfAllRouters are one inbox, the longest first; an answer takes one out.
func TestWaitsOfAllRouters(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, attacked)
	const n = 12
	var last journal.RunID
	for i := range n {
		run, err := c.members[i%2].Router.Start(t.Context(), "ask", startEvent(fmt.Sprint("wait-", i)))
		if err != nil {
			t.Fatal(err)
		}
		last = run
	}
	inbox := func(member int, query string) (said router.WaitList) {
		t.Helper()
		if _, err := c.members[member].get("/v1/waits?"+query, &said); err != nil {
			t.Fatal(err)
		}
		return said
	}
	for member := range c.members {
		eventually(t, func() error {
			if said := inbox(member, ""); said.Total != n || len(said.Waits) != n {
				return fmt.Errorf("%d of %d", len(said.Waits), said.Total)
			}
			return nil
		})
		all := inbox(member, "signal=approved&trigger=ask")
		for i, l := range all.Waits {
			if l.Signal != "approved" || !strings.HasPrefix(l.Event, "wait-") || i > 0 && l.Since.Before(all.Waits[i-1].Since) {
				t.Errorf("%d: %+v", i, l)
			}
		}
		if some := inbox(member, "limit=5"); some.Total != n || len(some.Waits) != 5 || some.Waits[4] != all.Waits[4] {
			t.Errorf("%d of %d", len(some.Waits), some.Total)
		}
		if none := inbox(member, "signal=other"); none.Total != 0 || none.Waits == nil {
			t.Errorf("%+v", none)
		}
	}
	if _, err := c.members[0].Router.Signal(t.Context(), last, engine.SignalFact{Source: "/test", ID: "1", Name: "approved"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if said := inbox(1, ""); said.Total != n-1 {
			return fmt.Errorf("%d", said.Total)
		}
		return nil
	})
}
