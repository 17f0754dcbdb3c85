package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/cluster"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// peers are what a journal tells of its owners.
type peers struct {
	list []journal.Peer
	err  error
}

func (p *peers) Assigned() ([]int, bool) { return []int{0}, true }

func (p *peers) Peers(context.Context) ([]journal.Peer, error) { return p.list, p.err }

// here has the runs of partition 0.
type here struct{}

func (here) Has(id journal.RunID) bool { return id[0] < 0x80 }

var mine, theirs = journal.RunID{0x01}, journal.RunID{0x81}

// layout is what all routers of these tests have in common.
var layout = journal.Layout{Partitions: 2, Key: [32]byte{1}}

// other is another router, which has partition 1 and answers every request of a router by handler.
func other(t *testing.T, handler http.HandlerFunc) (*cluster.Cluster, *peers) {
	t.Helper()
	address := listen(t, layout, handler)
	p := &peers{list: []journal.Peer{{ID: "a", Self: true, Partitions: []int{0}}, {ID: "b", Address: address, Partitions: []int{1}}}}
	c := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}, Addresses: func() []string { return nil }})
	t.Cleanup(c.Close)
	return c, p
}

// listen serves a router of a journal, and returns its address.
func listen(t *testing.T, layout journal.Layout, handler http.HandlerFunc) string {
	t.Helper()
	var address string
	c := cluster.New(cluster.Options{Journal: new(peers), Layout: layout, Shards: here{}, Addresses: func() []string { return []string{address} }})
	s := httptest.NewServer(answering(c, handler))
	t.Cleanup(s.Close)
	t.Cleanup(c.Close)
	address = strings.TrimPrefix(s.URL, "http://")
	return address
}

// answering is what a router's API does with a proof before anything else.
func answering(c *cluster.Cluster, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		q, isPeer, err := c.Check(q)
		switch {
		case err != nil || !isPeer:
			http.Error(w, fmt.Sprint(err), http.StatusUnauthorized)
		case q.URL.Path == "/v1/peer":
			c.Prove(w, q)
		default:
			handler(w, q)
		}
	}
}

func noFail(t *testing.T) func(http.ResponseWriter, error) {
	return func(_ http.ResponseWriter, err error) { t.Error(err) }
}

// TestForwardGoesToTheOwner, once: what a router has passed on is answered where it is.
func TestForwardGoesToTheOwner(t *testing.T) {
	t.Parallel()
	c, p := other(t, func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		fmt.Fprint(w, q.URL.RequestURI(), " ", string(b), " ", q.Header.Get("Idempotency-Key"), " ", q.Header.Get("Authorization")+q.Header.Get("Cookie"))
	})
	get := func(id journal.RunID, header ...string) (passed bool, body string, err error) {
		q := httptest.NewRequest("POST", "/v1/runs/x/signals/a%2Fb?reason=a%20b&x", strings.NewReader("[7]"))
		q.Header.Set("Authorization", "Bearer hush")
		q.Header.Set("Cookie", "session=hush")
		q.Header.Set("Idempotency-Key", "k")
		for _, h := range header {
			q.Header.Set(h, "1")
		}
		w := httptest.NewRecorder()
		passed, err = c.Forward(w, q, id, noFail(t))
		return passed, w.Body.String(), err
	}
	if passed, body, err := get(theirs); !passed || body != "/v1/runs/x/signals/a%2Fb?reason=a%20b&x [7] k " || err != nil {
		t.Errorf("%v, %q, %v", passed, body, err)
	}
	if passed, _, err := get(mine); passed || err != nil {
		t.Errorf("a run that is here: %v, %v", passed, err)
	}
	if passed, _, err := get(theirs, "Onward-Passed"); !passed || err != nil {
		t.Errorf("anybody says that it was passed on: %v, %v", passed, err)
	}
	p.list = p.list[:1]
	if _, _, err := get(theirs); !errors.Is(err, journal.ErrMoving) {
		t.Errorf("nobody has it: %v", err)
	}
	p.list = append(p.list, journal.Peer{ID: "c", Partitions: []int{1}})
	if _, _, err := get(theirs); err == nil || !strings.Contains(err.Error(), "advertise") {
		t.Errorf("no address: %v", err)
	}
}

// TestGatherNamesWhoDoesNotAnswer and takes what the others say.
func TestGatherNamesWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c, p := other(t, func(w http.ResponseWriter, q *http.Request) { fmt.Fprintf(w, "[%q]", q.URL.RawQuery) })
	p.list = append(p.list, journal.Peer{ID: "gone", Address: "127.0.0.1:1"})
	var got []string
	decode := func() (any, func()) {
		var some []string
		return &some, func() { got = append(got, some...) }
	}
	unanswered := c.Gather(httptest.NewRequest("GET", "/v1/runs?limit=3", nil), decode)
	if !slices.Equal(got, []string{"limit=3"}) || !slices.Equal(unanswered, []string{"127.0.0.1:1"}) {
		t.Errorf("%v, unanswered %v", got, unanswered)
	}
	var asked *http.Request
	inside := listen(t, layout, func(_ http.ResponseWriter, q *http.Request) { asked = q })
	p.list[1].Address = inside
	c.Gather(httptest.NewRequest("GET", "/v1/runs?limit=3", nil), decode)
	if unanswered := c.Gather(asked, decode); len(got) != 1 || unanswered != nil {
		t.Errorf("a router's request is put to others: %v", got)
	}
	if passed, err := c.Forward(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/runs/x/steps?limit=3", nil), theirs, noFail(t)); !passed || err != nil {
		t.Fatal(passed, err)
	}
	p.list[1].Address = listen(t, layout, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["what it had"]`) })
	asked = asked.WithContext(context.WithoutCancel(asked.Context())) // It was answered.
	if c.Gather(asked, decode); !slices.Equal(got[1:], []string{"what it had"}) {
		t.Errorf("what a router passed on is answered without what others had: %v", got)
	}
	p.err = errors.New("no broker answers")
	if unanswered := c.Gather(httptest.NewRequest("GET", "/v1/runs", nil), decode); len(unanswered) != 1 || !strings.Contains(unanswered[0], "no broker") {
		t.Errorf("%v", unanswered)
	}
}

// TestEndsAreFoundElsewhere, and waited for where the run is folded; who is alone asks nobody.
func TestEndsAreFoundElsewhere(t *testing.T) {
	t.Parallel()
	end := &engine.Ending{ID: theirs.String(), State: "succeeded", Result: lang.Of(7), Data: lang.Of(7), EventType: "dev.onward.run.succeeded"}
	c, _ := other(t, func(w http.ResponseWriter, q *http.Request) {
		if !strings.HasPrefix(q.URL.Path, "/v1/runs/"+theirs.String()) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(end.Keep())
	})
	for how, got := range map[string]*engine.Ending{"found": c.Find(t.Context(), theirs), "waited for": c.Wait(t.Context(), theirs)} {
		if got == nil || got.Data != end.Data || got.EventType != end.EventType {
			t.Errorf("%s: %+v", how, got)
		}
	}
	if got := c.Find(t.Context(), mine); got != nil {
		t.Errorf("%+v", got)
	}
	alone := cluster.New(cluster.Options{Layout: layout, Shards: here{}})
	if alone.Find(t.Context(), theirs) != nil || alone.Wait(t.Context(), theirs) != nil {
		t.Error("who is alone finds something")
	}
}

// TestFactsOfManyRuns: each owner is asked once for all that is his, in order; what nobody owns, or who does not answer, is told apart from the rest.
func TestFactsOfManyRuns(t *testing.T) {
	t.Parallel()
	var asked [][]journal.Record
	var mu sync.Mutex
	address := listen(t, layout, func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		facts, err := journal.DecodeRecords(b)
		if err != nil || q.URL.Path != "/v1/facts" {
			t.Errorf("%s: %v", q.URL, err)
		}
		mu.Lock()
		asked = append(asked, facts)
		mu.Unlock()
		became := make([]string, len(facts))
		for i := range facts {
			became[i] = "applied " + string(facts[i].Payload[:1])
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"became": became})
	})
	silent := layout
	silent.Partitions = 4
	p := &peers{list: []journal.Peer{{ID: "a", Self: true, Partitions: []int{0}}, {ID: "b", Address: address, Partitions: []int{1}}, {ID: "c", Address: "nowhere", Partitions: []int{2}}}}
	c := cluster.New(cluster.Options{Journal: p, Layout: silent, Shards: here{}})
	defer c.Close()
	fact := func(route byte, payload string) journal.Record {
		return journal.Record{Kind: journal.Signal, Level: journal.Level, Run: journal.RunID{route}, Payload: []byte(payload)}
	}
	large := strings.Repeat("x", 9<<20)
	became, err := c.Hand(t.Context(), []journal.Record{fact(0x40, "1"), fact(0x80, "2"), fact(0x41, "3"+large), fact(0xc0, "4"), fact(0x40, "5"+large)})
	if want := []string{"applied 1", "", "applied 3", "", "applied 5"}; !slices.Equal(became, want) || err == nil || !strings.Contains(err.Error(), "advertise") {
		t.Errorf("%q, %v", became, err)
	}
	if len(asked) != 2 || len(asked[0]) != 2 || len(asked[1]) != 1 {
		t.Errorf("%d requests", len(asked))
	}
}

// TestLoadOfOthers: what a router says of its starts holds for the runs that it folds, a while; nobody waits for it, and it is asked once a while.
func TestLoadOfOthers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	said, asked, now := `{"full":"1000 runs are open","partitions":[1]}`, 0, time.Now()
	address := listen(t, layout, func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		fmt.Fprint(w, said)
	})
	p := &peers{list: []journal.Peer{{ID: "a", Self: true, Partitions: []int{0}}, {ID: "b", Address: address, Partitions: []int{1}}}}
	c := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	defer c.Close()
	later := func(d time.Duration, says string) {
		mu.Lock()
		defer mu.Unlock()
		now, said = now.Add(d), says
	}
	until := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); c.Full(theirs) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q", c.Full(theirs))
			}
		}
	}
	if why := c.Full(theirs); why != "" {
		t.Errorf("before anybody was asked: %q", why)
	}
	until("1000 runs are open")
	for range 100 {
		if c.Full(mine) != "" || c.Full(theirs) == "" {
			t.Error("whose it is")
		}
	}
	mu.Lock()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	mu.Unlock()
	later(time.Second, `{}`)
	until("")
	later(time.Second, `{"full":"it is full again","partitions":[1]}`)
	until("it is full again")
	later(10*time.Second, "")
	if why := c.Full(theirs); why != "" {
		t.Errorf("long ago: %q", why)
	}
	alone := cluster.New(cluster.Options{Layout: layout, Shards: here{}})
	if alone.Full(theirs) != "" {
		t.Error("a router that is alone")
	}
}
