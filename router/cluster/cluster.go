package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// maxPeerAnswer bounds what is taken of an answer.
const maxPeerAnswer = 64 << 20

// peerPatience is how long a peer may take to answer for a list.
const peerPatience = 2 * time.Second

// deedPatience is how long one may take to do something that is asked of all, such as sending a dead letter again.
const deedPatience = 40 * time.Second

// Shards know which runs' partitions are here.
type Shards interface {
	Has(id journal.RunID) bool
}

// Options are what a cluster is made of.
type Options struct {
	Journal journal.Shared // nil: this router is alone
	Layout  journal.Layout
	Shards  Shards
	// Addresses are those at which the others ask this router; a request that was made for another one is not taken.
	Addresses func() []string
	// TLS is how the others' listeners are spoken to; nil: plain HTTP.
	TLS func() (*tls.Config, error)
	Now func() time.Time // nil: the system's
}

// A Cluster is the other routers. Its methods may be called concurrently.
type Cluster struct {
	Options
	prover *prover
	client *http.Client
	loads  loads
}

// New makes a cluster; it asks nobody yet.
func New(o Options) *Cluster {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cluster{Options: o, prover: &prover{key: o.Layout.Derive("requests between routers"), now: o.Now}}
	c.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DialContext: c.dial, DialTLSContext: c.dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Check reports whether a request is another router's, and gives it back with that known, and for whom it asks. The error is for one that says so and cannot prove it.
func (c *Cluster) Check(q *http.Request) (*http.Request, bool, error) {
	if c.Journal == nil {
		return q, false, nil
	}
	x, to, has, err := c.prover.check(q, c.Addresses())
	if !has || err != nil {
		return q, false, err
	}
	who, err := callerOf(q)
	if err != nil {
		return q, false, err
	}
	return q.WithContext(access.With(context.WithValue(q.Context(), peerKey{}, provedBy{nonce: x.nonce, to: to, passedOn: q.Header.Get(passedHeader) != ""}), who)), true, nil
}

// Prove answers a router that asks who is here. The request was checked.
func (c *Cluster) Prove(w http.ResponseWriter, q *http.Request) {
	if by, ok := q.Context().Value(peerKey{}).(provedBy); ok {
		w.Header().Set(proofHeader, c.prover.answer(by.nonce, by.to))
		return
	}
	w.WriteHeader(http.StatusNotFound) // For nobody else is there anything here.
}

// Close gives connections up that nobody uses.
func (c *Cluster) Close() {
	c.loads.end()
	c.client.CloseIdleConnections()
}

// peer returns the router that owns a run's partition, or an error that says to ask again.
func (c *Cluster) peer(ctx context.Context, id journal.RunID) (journal.Peer, error) {
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return journal.Peer{}, fmt.Errorf("%w: %w", journal.ErrMoving, err)
	}
	return c.owner(peers, id)
}

// owner is the one of peers that owns a run's partition.
func (c *Cluster) owner(peers []journal.Peer, id journal.RunID) (journal.Peer, error) {
	p := c.Layout.Partition(id.Route())
	for _, peer := range peers {
		if slices.Contains(peer.Partitions, p) && !peer.Self {
			if !isAddress(peer.Address) {
				return peer, fmt.Errorf("run %s is with router %s, which tells %q as its address; set advertise there to host:port", id, peer.ID, peer.Address)
			}
			return peer, nil
		}
	}
	return journal.Peer{}, fmt.Errorf("partition %d: %w", p, journal.ErrMoving)
}

// Forward passes a request for a run on to the router that owns its partition. False: it is to be answered here. An owner that does not answer is told
// by fail.
func (c *Cluster) Forward(w http.ResponseWriter, q *http.Request, id journal.RunID, fail func(http.ResponseWriter, error)) (bool, error) {
	if c.Journal == nil || c.Shards.Has(id) || isPeer(q.Context()) {
		return false, nil
	}
	peer, err := c.peer(q.Context(), id)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxPeerBody))
	if err != nil {
		return false, err
	}
	to := &url.URL{Scheme: c.scheme(), Host: peer.Address}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			own := make(http.Header) // What the caller proved himself with stays here.
			for _, name := range []string{"Accept", "Content-Type", "Idempotency-Key"} {
				if v := p.In.Header.Get(name); v != "" {
					own.Set(name, v)
				}
			}
			own.Set(passedHeader, "1")
			p.Out.Header, p.Out.Body, p.Out.ContentLength = own, io.NopCloser(bytes.NewReader(body)), int64(len(body))
			c.prover.sign(p.Out, peer.Address, body)
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode == http.StatusUnauthorized { // It is we who are refused, not the caller.
				return refused(resp)
			}
			return nil
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
	return c.put(ctx, peer, http.MethodGet, path, nil, into)
}

// put sends a request with a body to a peer and decodes its answer.
func (c *Cluster) put(ctx context.Context, peer journal.Peer, method, path string, body []byte, into any) (found bool, err error) {
	if !isAddress(peer.Address) {
		return false, fmt.Errorf("router %s tells %q as its address; set advertise there to host:port", peer.ID, peer.Address)
	}
	q, err := http.NewRequestWithContext(ctx, method, c.scheme()+"://"+peer.Address+path, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/octet-stream")
	}
	c.prover.sign(q, peer.Address, body)
	resp, err := c.client.Do(q)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	case resp.StatusCode/100 != 2:
		return false, refused(resp)
	}
	return true, json.NewDecoder(io.LimitReader(resp.Body, maxPeerAnswer)).Decode(into)
}

func refused(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(b)))
}

// handful bounds the records of one request, in bytes; one record may be larger.
const handful = maxPeerBody - 1<<20

// Hand gives facts about runs to the routers that fold them, which make them durable and say what became of each; empty for those that nobody took. The
// error says why not.
func (c *Cluster) Hand(ctx context.Context, facts []journal.Record) (became []string, err error) {
	became = make([]string, len(facts))
	err = c.toOwners(ctx, len(facts), func(i int) journal.RunID { return facts[i].Run }, func(peer journal.Peer, list []int) error {
		return c.handTo(ctx, peer, facts, list, became)
	})
	return became, err
}

// Beat gives heartbeats to the routers that have sent their invocations, which say what they know of those; empty where nobody was reached.
func (c *Cluster) Beat(ctx context.Context, beats []engine.Beat) (became []string, err error) {
	became = make([]string, len(beats))
	err = c.toOwners(ctx, len(beats), func(i int) journal.RunID { return beats[i].Run }, func(peer journal.Peer, list []int) error {
		for len(list) > 0 {
			n, size := 0, 0
			var some []engine.Beat
			for n < len(list) && (n == 0 || size+beats[list[n]].Data.Size() <= handful) {
				some = append(some, beats[list[n]])
				size += beats[list[n]].Data.Size() + 64
				n++
			}
			if err := c.putAll(ctx, peer, "/v1/beats", engine.AppendBeats(nil, some), list[:n], became); err != nil {
				return err
			}
			list = list[n:]
		}
		return nil
	})
	return became, err
}

// toOwners does something for each router that owns some of n runs, all at a time.
func (c *Cluster) toOwners(ctx context.Context, n int, runOf func(int) journal.RunID, do func(peer journal.Peer, list []int) error) error {
	if c.Journal == nil {
		return journal.ErrMoving
	}
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", journal.ErrMoving, err)
	}
	whose := make(map[string][]int) // of the routers by name
	byName := make(map[string]journal.Peer)
	var reasons []error
	for i := range n {
		peer, err := c.owner(peers, runOf(i))
		if err != nil {
			reasons = append(reasons, err)
			continue
		}
		whose[peer.ID], byName[peer.ID] = append(whose[peer.ID], i), peer
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for name, list := range whose {
		wait.Go(func() {
			if err := do(byName[name], list); err != nil {
				mu.Lock()
				reasons = append(reasons, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(reasons...)
}

// putAll puts a part of a list to a router, which says of each what became of it.
func (c *Cluster) putAll(ctx context.Context, peer journal.Peer, path string, body []byte, list []int, became []string) error {
	var said struct {
		Became []string `json:"became"`
	}
	found, err := c.put(ctx, peer, http.MethodPost, path, body, &said)
	switch {
	case err != nil:
		return err
	case !found || len(said.Became) != len(list):
		return fmt.Errorf("router %s: %w", peer.ID, journal.ErrMoving)
	}
	for k, i := range list {
		became[i] = said.Became[k]
	}
	return nil
}

// handTo gives one router its facts, in their order; after one request that it does not answer it is not asked again.
func (c *Cluster) handTo(ctx context.Context, peer journal.Peer, facts []journal.Record, list []int, became []string) error {
	for len(list) > 0 {
		n, size := 0, 0
		var some []journal.Record
		for n < len(list) && (n == 0 || size+len(facts[list[n]].Payload) <= handful) {
			some = append(some, facts[list[n]])
			size += len(facts[list[n]].Payload) + 256 // What is around it.
			n++
		}
		if err := c.putAll(ctx, peer, "/v1/facts", journal.AppendRecords(nil, some), list[:n], became); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// askAll puts a request to all other routers at a time, and returns those that did not answer.
func (c *Cluster) askAll(ctx context.Context, method, path string, decode func() (into any, done func())) (unanswered []string) {
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return []string{"all: " + err.Error()}
	}
	patience := peerPatience
	if method == http.MethodPost {
		patience = deedPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, peer := range peers {
		if peer.Self {
			continue
		}
		wait.Go(func() {
			into, done := decode()
			found, err := c.put(ctx, peer, method, path, nil, into)
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

// Gather puts a request without a body to all other routers, unless one of them gathers by it: one that was passed on to here is still its asker's. Their
// answers are decoded into what decode gives, and done is called for each, one at a time. It returns who did not answer.
func (c *Cluster) Gather(q *http.Request, decode func() (into any, done func())) (unanswered []string) {
	by, gathers := q.Context().Value(peerKey{}).(provedBy)
	if c.Journal == nil || gathers && !by.passedOn {
		return nil
	}
	return c.askAll(q.Context(), q.Method, q.URL.RequestURI(), decode)
}

// Find looks for an ended run in the other routers' histories: its partition may have moved since.
func (c *Cluster) Find(ctx context.Context, id journal.RunID) *engine.Ending {
	if c.Journal == nil {
		return nil
	}
	var out *engine.Ending
	c.askAll(ctx, http.MethodGet, "/v1/runs/"+id.String()+"/ended", func() (any, func()) {
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
