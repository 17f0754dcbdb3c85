package router_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
)

// A cluster is routers that own a log in memory together, and what they would learn of one another from a group.
type cluster struct {
	t       *testing.T
	mu      sync.Mutex
	members []*member
	owner   []int // by partition, the member
	started int
}

type member struct {
	*memory.Journal
	c       *cluster
	n       int
	Router  *router.Router
	address string
	stop    func() error
}

func (m *member) Assigned() (partitions []int, ok bool) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	for p, owner := range m.c.owner {
		if owner == m.n {
			partitions = append(partitions, p)
		}
	}
	return partitions, true
}

func (m *member) Peers(context.Context) ([]journal.Peer, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	var out []journal.Peer
	for _, x := range m.c.members {
		peer := journal.Peer{ID: fmt.Sprint("router-", x.n), Address: x.address, Self: x == m}
		for p, owner := range m.c.owner {
			if owner == x.n {
				peer.Partitions = append(peer.Partitions, p)
			}
		}
		out = append(out, peer)
	}
	return out, nil
}

// give makes a member the owner of a partition.
func (c *cluster) give(partition, n int) {
	c.t.Helper()
	c.mu.Lock()
	c.owner[partition] = n
	to := c.members[n]
	c.mu.Unlock()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		err := to.Move(partition, to.Journal, true)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

func openCluster(t *testing.T, n int, doc string, change ...func(n int, o *router.Options)) *cluster {
	c := &cluster{t: t, owner: make([]int, 4)}
	first := memory.New(memory.Options{Partitions: 4})
	for i := range n {
		j := first
		if i > 0 {
			j = first.Peer()
		}
		c.open(j, doc, change...)
	}
	for p := range c.owner {
		c.give(p, p%n)
	}
	for _, m := range c.members {
		<-m.Router.Ready()
	}
	return c
}

// open begins one more member.
func (c *cluster) open(j *memory.Journal, doc string, change ...func(n int, o *router.Options)) *member {
	t, m := c.t, &member{Journal: j, c: c, n: len(c.members)}
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(doc), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	o := router.Options{Set: set, Registry: reg, Journal: m, Listen: "127.0.0.1:0", Drain: -1}
	for _, f := range change {
		f(m.n, &o)
	}
	var err error
	if m.Router, err = router.Open(o); err != nil {
		t.Fatal(err)
	}
	m.address = m.Router.Addr()
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- m.Router.Run(ctx) }()
	m.stop = sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
	t.Cleanup(func() {
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// again has a new member own everything, once all others have ended.
func (c *cluster) again(doc string) *member {
	m := c.open(c.members[0].Journal.Peer(), doc)
	for p := range c.owner {
		c.give(p, m.n)
	}
	<-m.Router.Ready()
	return m
}

// get asks a member's API.
func (m *member) get(path string, into any) (*http.Response, error) {
	resp, err := http.Get("http://" + m.address + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		err = fmt.Errorf("%s %q: %w", resp.Status, b, err)
	}
	return resp, err
}

// asks starts runs that wait for a signal until one is in a partition of that member.
func (c *cluster) asks(n int) journal.RunID {
	c.t.Helper()
	for range 100 {
		c.started++
		e := startEvent(fmt.Sprint("asks-", c.started))
		id, err := c.members[0].Router.Start(context.Background(), "asks", e)
		if err != nil {
			c.t.Fatal(err)
		}
		if c.owner[c.members[0].Layout().Partition(id.Route())] == n {
			return id
		}
	}
	c.t.Fatal("no run came to that member")
	return journal.RunID{}
}

const peersDocument = `
version: 1
triggers:
  asks: { flow: { signal: go } }
  fails: { flow: { choice: [{ if: "${ data == 1 }", wait: 1ms }] } }
`

// TestAnyRouterAnswersForAll: a request for a run goes to the one that folds it, whoever is asked.
func TestAnyRouterAnswersForAll(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, peersDocument)
	asked, id := c.members[0], c.asks(1)
	path := "/v1/runs/" + id.String()
	var explained router.Explanation
	eventually(t, func() error {
		if _, err := asked.get(path+"/explain", &explained); err != nil || !strings.Contains(strings.Join(explained.Lines(), " "), `the signal "go"`) {
			return fmt.Errorf("explain: %v, %v", explained, err)
		}
		return nil
	})
	watching, err := http.Get("http://" + asked.address + path + "/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Body.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	waited := make(chan *router.Finished, 1)
	go func() {
		f, _ := asked.Router.Wait(ctx, id) // Of another's run; nil when the test fails below.
		waited <- f
	}()
	resp, err := http.Post("http://"+asked.address+path+"/signals/go", "application/json", strings.NewReader(`{"by":"Ada"}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if f := <-waited; f == nil || f.Result.JSON() != `{"by":"Ada"}` || f.EventType != "dev.onward.run.succeeded" || f.Data != f.Result {
		t.Errorf("waited: %+v", f)
	}
	seen, lines := "", bufio.NewScanner(watching.Body)
	for lines.Scan() {
		seen += lines.Text() + "\n"
	}
	if !strings.Contains(seen, "event: signal-taken") || !strings.Contains(seen, "event: ended") {
		t.Errorf("watch: %q", seen)
	}
	eventually(t, func() error {
		var ended router.Finished
		if _, err := asked.get(path, &ended); err != nil || ended.State != "succeeded" {
			return fmt.Errorf("%+v, %w", ended, err)
		}
		return nil
	})
	cancelled := c.asks(1)
	resp, err = http.Post("http://"+asked.address+"/v1/runs/"+cancelled.String()+"/cancel", "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if f, err := asked.Router.Wait(ctx, cancelled); err != nil || f.State != "cancelled" {
		t.Errorf("%+v, %v", f, err)
	}
	if resp, err := asked.get("/v1/runs/"+strings.Repeat("0", 26), nil); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown run: %v, %v", resp.Status, err)
	}
}

// TestListsAreGathered from all routers, and say who did not answer.
func TestListsAreGathered(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, peersDocument)
	mine, theirs := c.asks(0), c.asks(1)
	var said router.RunList
	has := func(id journal.RunID) bool {
		return slices.ContainsFunc(said.Runs, func(l router.RunLine) bool { return l.Run == id.String() })
	}
	eventually(t, func() error {
		resp, err := c.members[0].get("/v1/runs?state=waiting&limit=1000", &said)
		if err != nil || resp.Header.Get("Onward-Unanswered") != "" || !has(mine) || !has(theirs) {
			return fmt.Errorf("%d lines, %v", len(said.Runs), err)
		}
		return nil
	})
	if err := c.members[1].stop(); err != nil {
		t.Fatal(err)
	}
	said = router.RunList{}
	resp, err := c.members[0].get("/v1/runs?limit=1000", &said)
	if err != nil || resp.Header.Get("Onward-Unanswered") != c.members[1].address || !has(mine) {
		t.Errorf("%d lines, unanswered %q, %v", len(said.Runs), resp.Header.Get("Onward-Unanswered"), err)
	}
	// Its partitions have passed on, and with them its runs.
	eventually(t, func() error {
		if resp, err := c.members[0].get("/v1/runs/"+theirs.String(), nil); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("a run whose router has gone: %v, %v", resp.Status, err)
		}
		return nil
	})
}

// TestHistoryIsFoundElsewhere: a run ended with one router, and its partition has moved on.
func TestHistoryIsFoundElsewhere(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, peersDocument)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	id, err := c.members[1].Router.Start(ctx, "fails", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.members[1].Router.Wait(ctx, id)
	if err != nil || f.Error == nil {
		t.Fatal(f, err)
	}
	p := c.members[0].Layout().Partition(id.Route())
	c.give(p, 1-c.owner[p])
	for _, m := range c.members {
		eventually(t, func() error {
			var got router.Finished
			if resp, err := m.get("/v1/runs/"+id.String(), &got); err != nil || resp.StatusCode != 200 || got.State != "failed" || *got.Error != *f.Error {
				return fmt.Errorf("router %d: %+v, %v", m.n, got, err)
			}
			return nil
		})
	}
}

// eventually repeats what is to become true.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Error(err)
}
