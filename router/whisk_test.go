package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
)

// A whisk stands in for OpenWhisk's controller: an activation has a record once a test says so.
type whisk struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	acts map[int]*act // by the parameter n
	// accepted, which may be nil, is called before a start is answered.
	accepted func(a *act)
}

type act struct {
	n, starts int
	id        string
	code      int // of the record
	ready     bool
	looks     int // questions for the record
	late      int // of them, those after which it is ready; 0: when the test says so
}

func newWhisk(t *testing.T) *whisk {
	w := &whisk{t: t, acts: make(map[int]*act)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *whisk) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodPost {
		var params struct{ N int }
		if err := json.Unmarshal(body, &params); err != nil {
			w.t.Errorf("%s: %v", body, err)
		}
		a := w.acts[params.N]
		if a == nil {
			a = &act{n: params.N}
			w.acts[params.N] = a
		}
		a.starts++
		a.id = fmt.Sprintf("%032x", 1000*params.N+a.starts)
		if w.accepted != nil {
			w.accepted(a)
		}
		out.WriteHeader(202)
		fmt.Fprintf(out, `{"activationId":%q}`, a.id)
		return
	}
	for _, a := range w.acts {
		if !strings.HasSuffix(r.URL.Path, "/activations/"+a.id) {
			continue
		}
		if a.looks++; a.late > 0 && a.looks > a.late {
			a.ready = true
		}
		if !a.ready {
			break
		}
		words := []string{"success", "application error", "action developer error", "whisk internal error"}
		result := []string{fmt.Sprintf(`{"n":%d}`, a.n), `{"error":"refused"}`, `{"error":"it threw"}`, `{"error":"no room"}`}[a.code]
		fmt.Fprintf(out, `{"activationId":%q,"response":{"statusCode":%d,"status":%q,"success":%t,"result":%s}}`, a.id, a.code, words[a.code], a.code == 0, result)
		return
	}
	out.WriteHeader(404)
}

// each looks at all activations, while no other does.
func (w *whisk) each(f func(a *act)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(w.acts)) {
		f(w.acts[n])
	}
}

// userEvent is what OpenWhisk says of an activation.
func userEvent(id string, code int) string {
	return fmt.Sprintf(`{"source":"invoker0","body":{"name":"guest/act","activationId":%q,"statusCode":%d,"duration":3,"waitTime":12,"initTime":0,"kind":"nodejs:20","conductor":false,"memory":256,"size":463},"subject":"guest","namespace":"guest","userId":"u","eventType":"Activation","timestamp":1524476122676}`, id, code)
}

const metricEvent = `{"source":"controller0","body":{"metricName":"ConcurrentInvocations","metricValue":7},"subject":"guest","namespace":"guest","userId":"u","eventType":"Metric","timestamp":1524476122676}`

// posted tells a router a user event, and returns what that was taken for; empty is no event.
func posted(t *testing.T, addr, body string) string {
	t.Helper()
	resp, err := http.Post("http://"+addr+"/whisk", "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	var said struct {
		Events []struct {
			Taken string `json:"taken"`
			Runs  []any  `json:"runs"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || resp.StatusCode/100 != 2 {
		t.Errorf("%s: %s, %v", body, resp.Status, err)
	}
	if len(said.Events) == 0 {
		return ""
	}
	if (said.Events[0].Taken == "completion") != (len(said.Events[0].Runs) == 1) {
		t.Errorf("%+v", said)
	}
	return said.Events[0].Taken
}

// whiskDocument: without an event a result is asked for once, and then in an hour.
const whiskDocument = `
version: 1
functions:
  act: { openwhisk: { host: %q, action: act, userEvents: true, poll: 1h }, timeout: 5m, retry: { attempts: 1 } }
sources:
  whisk:
    accepts: [completions]
    webhook:
      path: /whisk
      as:
        when: "${ body.eventType == 'Activation' }"
        type: org.apache.openwhisk.activation
        source: "/openwhisk/${ body.namespace }"
        id: "${ body.body.activationId }"
        ticket: "${ body.body.activationId }"
triggers:
  all: { flow: { map: { items: 20, join: settled, do: { function: act, input: "${ {'n': index} }" } } } }
  one: { flow: { function: act, input: "${ {'n': data} }" } }
`

// TestUserEventsCompleteCalls: a fork-join of 20 over two routers, with events that come early, twice, ahead of their records, forged and of others; by the router that
// does not have the run as by the one that does. Every activation is started once.
func TestUserEventsCompleteCalls(t *testing.T) {
	t.Parallel()
	w := newWhisk(t)
	c := openCluster(t, 2, fmt.Sprintf(whiskDocument, w.URL))
	addr := func(n int) string { return c.members[n%2].address }
	w.accepted = func(a *act) {
		switch a.n {
		case 0: // It is over before the controller has answered, and its record comes later.
			a.late = 3
			for n := range 2 {
				if got := posted(t, addr(n), userEvent(a.id, 0)); got != "unmatched" {
					t.Errorf("an event of a call that is not known yet: %q", got)
				}
			}
		case 1, 2, 3:
			a.code = a.n
		}
	}
	id, err := c.members[0].Router.Start(context.Background(), "all", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	looked := func(a *act) bool { return a.looks > 0 }
	eventually(t, func() error {
		n := 0
		w.each(func(a *act) {
			if looked(a) {
				n++
			}
		})
		if n < 20 {
			return fmt.Errorf("%d of 20 have been asked for", n)
		}
		return nil
	})
	// Of now on nothing is asked for but by events. Those that are forged, or of others, end nothing.
	forged := ""
	w.each(func(a *act) {
		if a.n == 7 {
			forged = a.id
		}
	})
	for n := range 20 {
		if got := posted(t, addr(n), userEvent(forged, 0)); got != "completion" {
			t.Fatalf("an event ahead of its time: %q", got)
		}
		if got := posted(t, addr(n), userEvent(fmt.Sprintf("%032x", 1<<40+n), 0)); got != "unmatched" {
			t.Fatalf("an event of others: %q", got)
		}
	}
	if got := posted(t, addr(1), metricEvent); got != "" {
		t.Errorf("a metric: %q", got)
	}
	var done []*act
	w.each(func(a *act) {
		if a.n > 0 {
			if a.ready = a.n != 5; a.n == 5 {
				a.late = a.looks + 3 // Its record is not there for a while after the event.
			}
			done = append(done, a)
		}
	})
	slices.Reverse(done)
	for i, a := range done {
		for range 1 + a.n%2 { // Copies.
			posted(t, addr(i+a.n/3), userEvent(a.id, a.code))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	f, err := c.members[1].Router.Wait(ctx, id)
	if err != nil {
		lines, _ := c.members[0].Router.Explain(context.Background(), id)
		t.Fatal(err, strings.Join(lines, "\n"))
	}
	var results []struct {
		Value struct{ N int }
		Error *struct{ Type, Class string }
	}
	if err := json.Unmarshal([]byte(f.Result.JSON()), &results); err != nil || len(results) != 20 {
		t.Fatal(f.Result, err)
	}
	failures := map[int]string{1: "application_error function", 2: "developer_error function", 3: "whisk_error platform"}
	for n, r := range results {
		got := ""
		if r.Error != nil {
			got = r.Error.Type + " " + r.Error.Class
		}
		if got != failures[n] || got == "" && r.Value.N != n {
			t.Errorf("%d: %+v, %q", n, r, got)
		}
	}
	w.each(func(a *act) {
		if a.starts != 1 || a.looks > 30 {
			t.Errorf("%d: %d starts, %d looks", a.n, a.starts, a.looks)
		}
	})
	// Late ones are events of others.
	if got := posted(t, addr(0), userEvent(done[0].id, 0)); got != "unmatched" {
		t.Errorf("a late event: %q", got)
	}
}

// TestActivationOutlivesItsRouter: the partition moves, and a router ends and begins again, between the answer of the controller and the result. The activation is the
// same, and explain says which; an event is heard wherever it comes in. What was cancelled meanwhile is nobody's.
func TestActivationOutlivesItsRouter(t *testing.T) {
	t.Parallel()
	w := newWhisk(t)
	doc := fmt.Sprintf(whiskDocument, w.URL)
	c := openCluster(t, 2, doc)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	begin := func(n int) journal.RunID {
		e := startEvent(fmt.Sprint("one-", n))
		if err := e.SetData("application/json", json.RawMessage(fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
		id, err := c.members[0].Router.Start(ctx, "one", e)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, gone := begin(0), begin(1)
	at := func(n int) (a act) {
		w.each(func(x *act) {
			if x.n == n {
				a = *x
			}
		})
		return a
	}
	known := func(m *member, id journal.RunID, n int) {
		t.Helper()
		eventually(t, func() error {
			var explained router.Explanation
			_, err := m.get("/v1/runs/"+id.String()+"/explain", &explained)
			a := at(n)
			if text := strings.Join(explained.Lines(), "\n"); err != nil || a.id == "" || !strings.Contains(text, "activation "+a.id+", started at 20") {
				return fmt.Errorf("%q, %v", text, err)
			}
			return nil
		})
	}
	known(c.members[0], first, 0)
	known(c.members[0], gone, 1)
	p := c.members[0].Layout().Partition(first.Route())
	for range 2 { // There and back.
		looks := at(0).looks
		c.give(p, 1-c.owner[p])
		eventually(t, func() error {
			if at(0).looks == looks {
				return fmt.Errorf("the new owner has not asked")
			}
			return nil
		})
		known(c.members[0], first, 0)
	}
	resp, err := http.Post("http://"+c.members[1].address+"/v1/runs/"+gone.String()+"/cancel", "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if got := posted(t, c.members[0].address, userEvent(at(1).id, 0)); got != "unmatched" {
		t.Errorf("an event of a run that was cancelled: %q", got)
	}
	// All routers end, with no word to anybody, and another one begins.
	for _, m := range c.members {
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
	}
	next := c.again(doc)
	known(next, first, 0)
	w.each(func(a *act) { a.ready = true })
	eventually(t, func() error {
		posted(t, next.address, userEvent(at(0).id, 0))
		if f, err := next.Router.Wait(ctx, first); err != nil || f.Result.JSON() != `{"n":0}` {
			return fmt.Errorf("%+v, %w", f, err)
		}
		return nil
	})
	for n := range 2 {
		if a := at(n); a.starts != 1 {
			t.Errorf("%d: %d starts", n, a.starts)
		}
	}
}
