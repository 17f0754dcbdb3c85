package router_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
)

// TestEventsAreListedAcrossRouters: those that came to two routers, the latest first, in parts that are asked of one and of the other: each once.
func TestEventsAreListedAcrossRouters(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, attacked)
	const n = 40
	for i := range n {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"e-%d","source":"/t","type":"nothing"}`, i)
		addr := c.members[i%2].Router.Addr()
		if status, said := say(t, addr, request("POST", "/events", addr, "Content-Type: application/cloudevents+json\r\n", body)); !strings.HasPrefix(status, "20") {
			t.Fatal(status, said)
		}
	}
	var all []router.PastEvent
	for part, cursor, more := 0, "", true; more; part, more = part+1, cursor != "" {
		var said router.Events
		addr := c.members[part%2].Router.Addr()
		status, body := say(t, addr, request("GET", "/v1/events?limit=7&after="+cursor, addr, "", ""))
		if !strings.HasPrefix(status, "200") || json.Unmarshal([]byte(body), &said) != nil || len(said.Events) > 7 {
			t.Fatal(status, body)
		}
		for _, e := range said.Events {
			all = append(all, *e)
		}
		cursor = said.Next
	}
	for i, e := range all {
		if want := fmt.Sprintf("e-%d", n-1-i); e.ID != want {
			t.Errorf("event %d is %s, not %s", i, e.ID, want)
		}
	}
	addr := c.members[0].Router.Addr()
	if status, _ := say(t, addr, request("GET", "/v1/events?after=x", addr, "", "")); len(all) != n || !strings.HasPrefix(status, fmt.Sprint(http.StatusBadRequest)) {
		t.Errorf("%d events, %s", len(all), status)
	}
}
