package router

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

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Several routers that own a journal together answer for one another: a request for a run goes to the one that folds it, a list is gathered from all.

// The headers between routers: a request that a peer has passed on is not passed on again; what a list lacks is named.
const (
	forwardedHeader  = "Onward-Forwarded"
	unansweredHeader = "Onward-Unanswered"
)

// peerPatience is how long a peer may take to answer for a list.
const peerPatience = 2 * time.Second

// shared returns the journal where several routers own it; nil otherwise.
func (r *Router) shared() journal.Shared {
	s, _ := r.o.Journal.(journal.Shared)
	return s
}

// peer returns the router that owns a run's partition, or an error that says to ask again.
func (r *Router) peer(ctx context.Context, id journal.RunID) (journal.Peer, error) {
	s := r.shared()
	if s == nil {
		return journal.Peer{}, journal.ErrMoving
	}
	peers, err := s.Peers(ctx)
	if err != nil {
		return journal.Peer{}, fmt.Errorf("%w: %w", journal.ErrMoving, err)
	}
	p := r.layout.Partition(id.Route())
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

// atOwner passes a request for a run on to the router that owns its partition.
func (r *Router) atOwner(h func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, q *http.Request) error {
		id, err := runOf(q)
		if err != nil {
			return err
		}
		if r.shared() == nil || r.shards.Has(id) || q.Header.Get(forwardedHeader) != "" {
			return h(w, q)
		}
		peer, err := r.peer(q.Context(), id)
		if err != nil {
			return err
		}
		to := &url.URL{Scheme: "http", Host: peer.Address}
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(to)
				p.Out.Header.Set(forwardedHeader, "1")
			},
			Transport:     r.peers.Transport,
			FlushInterval: -1, // Changes of a run are sent as they come.
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				fail(w, fmt.Errorf("router %s at %s does not answer: %w", peer.ID, peer.Address, err))
			},
		}
		proxy.ServeHTTP(w, q)
		return nil
	}
}

// ask sends a request to a peer and decodes its answer. found is false when the peer has none.
func (r *Router) ask(ctx context.Context, peer journal.Peer, path string, into any) (found bool, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer.Address+path, nil)
	if err != nil {
		return false, err
	}
	q.Header.Set(forwardedHeader, "1")
	if !r.o.Token.IsZero() {
		token, err := r.o.Token.Read()
		if err != nil {
			return false, err
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.peers.Do(q)
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
func (r *Router) askAll(ctx context.Context, path string, decode func(peer journal.Peer) (into any, done func())) (unanswered []string) {
	peers, err := r.shared().Peers(ctx)
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
			into, done := decode(peer)
			found, err := r.ask(ctx, peer, path, into)
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

// gather adds the runs that the other routers list, each run once, and returns who did not answer.
func (r *Router) gather(ctx context.Context, query url.Values, lines []RunLine, limit int) ([]RunLine, []string) {
	if r.shared() == nil {
		return lines, nil
	}
	var theirs []RunLine
	unanswered := r.askAll(ctx, "/v1/runs?"+query.Encode(), func(journal.Peer) (any, func()) {
		var some []RunLine
		return &some, func() { theirs = append(theirs, some...) }
	})
	known := make(map[string]int, len(lines))
	for i, l := range lines {
		known[l.Run] = i
	}
	for _, l := range theirs {
		if i, double := known[l.Run]; !double {
			known[l.Run] = len(lines)
			lines = append(lines, l)
		} else if lines[i].Ended == nil && l.Ended != nil {
			lines[i] = l // Who folded it last knows best.
		}
	}
	slices.SortStableFunc(lines, func(a, b RunLine) int {
		if (a.Ended == nil) != (b.Ended == nil) {
			return map[bool]int{true: -1, false: 1}[a.Ended == nil]
		}
		return b.Started.Compare(a.Started)
	})
	return lines[:min(len(lines), limit)], unanswered
}

// elsewhere looks for an ended run in the other routers' histories: its partition may have moved since.
func (r *Router) elsewhere(ctx context.Context, id journal.RunID) *Finished {
	if r.shared() == nil {
		return nil
	}
	var out *Finished
	r.askAll(ctx, "/v1/runs/"+id.String()+"/ended", func(journal.Peer) (any, func()) {
		var k engine.Kept
		return &k, func() {
			if k.Ending != nil {
				out = k.Whole()
			}
		}
	})
	return out
}

// waitAtOwner waits for the end of a run that another router folds.
func (r *Router) waitAtOwner(ctx context.Context, id journal.RunID, ended chan<- *Finished) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		pause.Reset(200 * time.Millisecond)
		if r.shards.Has(id) {
			continue // It has come to us, and our fold tells.
		}
		peer, err := r.peer(ctx, id)
		if err != nil {
			continue
		}
		var k engine.Kept
		if found, err := r.ask(ctx, peer, "/v1/runs/"+id.String()+"/ended?wait=30s", &k); found && err == nil && k.Ending != nil {
			select {
			case ended <- k.Whole():
			case <-ctx.Done():
			}
			return
		}
	}
}
