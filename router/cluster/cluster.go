package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// forwarded is the header between routers: a request that a peer has passed on is not passed on again.
const forwarded = "Onward-Forwarded"

// peerPatience is how long a peer may take to answer for a list.
const peerPatience = 2 * time.Second

// Shards know which runs' partitions are here.
type Shards interface {
	Has(id journal.RunID) bool
}

// Options are what a cluster is made of.
type Options struct {
	Journal journal.Shared // nil: this router is alone
	Layout  journal.Layout
	Shards  Shards
	Token   plugin.Secret // shown to the others, where it is set
}

// A Cluster is the other routers. Its methods may be called concurrently.
type Cluster struct {
	Options
	client *http.Client
}

// New makes a cluster; it asks nobody yet.
func New(o Options) *Cluster {
	return &Cluster{Options: o, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}}
}

// Close gives connections up that nobody uses.
func (c *Cluster) Close() { c.client.CloseIdleConnections() }

// peer returns the router that owns a run's partition, or an error that says to ask again.
func (c *Cluster) peer(ctx context.Context, id journal.RunID) (journal.Peer, error) {
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return journal.Peer{}, fmt.Errorf("%w: %w", journal.ErrMoving, err)
	}
	p := c.Layout.Partition(id.Route())
	for _, peer := range peers {
		if slices.Contains(peer.Partitions, p) && !peer.Self {
			if peer.Address == "" {
				return peer, fmt.Errorf("run %s is with router %s, which tells no address; set advertise there", id, peer.ID)
			}
			return peer, nil
		}
	}
	return journal.Peer{}, fmt.Errorf("partition %d: %w", p, journal.ErrMoving)
}

// Forward passes a request for a run on to the router that owns its partition. False: it is to be answered here. An owner that does not answer is told
// by fail.
func (c *Cluster) Forward(w http.ResponseWriter, q *http.Request, id journal.RunID, fail func(http.ResponseWriter, error)) (bool, error) {
	if c.Journal == nil || c.Shards.Has(id) || q.Header.Get(forwarded) != "" {
		return false, nil
	}
	peer, err := c.peer(q.Context(), id)
	if err != nil {
		return false, err
	}
	to := &url.URL{Scheme: "http", Host: peer.Address}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Header.Set(forwarded, "1")
		},
		Transport:     c.client.Transport,
		FlushInterval: -1, // Changes of a run are sent as they come.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			fail(w, fmt.Errorf("router %s at %s does not answer: %w", peer.ID, peer.Address, err))
		},
	}
	proxy.ServeHTTP(w, q)
	return true, nil
}

// ask sends a request to a peer and decodes its answer. found is false when the peer has none.
func (c *Cluster) ask(ctx context.Context, peer journal.Peer, path string, into any) (found bool, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer.Address+path, nil)
	if err != nil {
		return false, err
	}
	q.Header.Set(forwarded, "1")
	if !c.Token.IsZero() {
		token, err := c.Token.Read()
		if err != nil {
			return false, err
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.client.Do(q)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	case resp.StatusCode != http.StatusOK:
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return false, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(b)))
	}
	return true, json.NewDecoder(resp.Body).Decode(into)
}

// askAll asks all other routers at a time, and returns those that did not answer.
func (c *Cluster) askAll(ctx context.Context, path string, decode func() (into any, done func())) (unanswered []string) {
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return []string{"all: " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, peer := range peers {
		if peer.Self {
			continue
		}
		wait.Go(func() {
			into, done := decode()
			found, err := c.ask(ctx, peer, path, into)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				unanswered = append(unanswered, cmp.Or(peer.Address, peer.ID))
			case found:
				done()
			}
		})
	}
	wait.Wait()
	slices.Sort(unanswered)
	return unanswered
}

// Gather puts a request to all other routers, unless one of them has asked it. Their answers are decoded into what decode gives, and done is called
// for each, one at a time. It returns who did not answer.
func (c *Cluster) Gather(q *http.Request, decode func() (into any, done func())) (unanswered []string) {
	if c.Journal == nil || q.Header.Get(forwarded) != "" {
		return nil
	}
	return c.askAll(q.Context(), q.URL.RequestURI(), decode)
}

// Find looks for an ended run in the other routers' histories: its partition may have moved since.
func (c *Cluster) Find(ctx context.Context, id journal.RunID) *engine.Ending {
	if c.Journal == nil {
		return nil
	}
	var out *engine.Ending
	c.askAll(ctx, "/v1/runs/"+id.String()+"/ended", func() (any, func()) {
		var k engine.Kept
		return &k, func() {
			if k.Ending != nil {
				out = k.Whole()
			}
		}
	})
	return out
}

// Wait waits for the end of a run that another router folds, until ctx ends: then, or when this router is alone, it returns nil.
func (c *Cluster) Wait(ctx context.Context, id journal.RunID) *engine.Ending {
	if c.Journal == nil {
		return nil
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		pause.Reset(200 * time.Millisecond)
		if c.Shards.Has(id) {
			continue // It has come to us, and our fold tells.
		}
		peer, err := c.peer(ctx, id)
		if err != nil {
			continue
		}
		var k engine.Kept
		if found, err := c.ask(ctx, peer, "/v1/runs/"+id.String()+"/ended?wait=30s", &k); found && err == nil && k.Ending != nil {
			return k.Whole()
		}
	}
}
