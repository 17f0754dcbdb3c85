package cluster

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A Load is what a router says to others of the starts that it takes.
type Load struct {
	Full       string `json:"full,omitempty"`       // why it takes none; empty: it does
	Partitions []int  `json:"partitions,omitempty"` // that it has, where it takes none
}

// What is known of the others' load is asked for again after loadEvery, while somebody wants to know it, and believed for loadFor.
const (
	loadEvery = time.Second
	loadFor   = 5 * time.Second
)

// loads are what the others have said, by partition. Nobody waits for it.
type loads struct {
	mu     sync.Mutex
	full   map[int]string
	asked  time.Time
	told   time.Time
	asking bool
	closed bool
	under  sync.WaitGroup
}

// Full says why the router that folds a run takes no starts at present; empty: it takes them, or it is not known. It does not wait: the others are asked
// beside it, and what they say holds for the next one.
func (c *Cluster) Full(id journal.RunID) string {
	if c.Journal == nil {
		return ""
	}
	l, now := &c.loads, c.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asking && !l.closed && now.Sub(l.asked).Abs() >= loadEvery {
		l.asking, l.asked = true, now
		l.under.Go(c.askLoads)
	}
	if now.Sub(l.told).Abs() > loadFor {
		return ""
	}
	return l.full[c.Layout.Partition(id.Route())]
}

func (c *Cluster) askLoads() {
	full := make(map[int]string)
	c.askAll(context.Background(), http.MethodGet, "/v1/load", func() (any, func()) {
		said := new(Load)
		return said, func() {
			for _, p := range said.Partitions {
				full[p] = said.Full
			}
		}
	})
	l := &c.loads
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full, l.told, l.asking = full, c.Now(), false
}

// end waits for the last question.
func (l *loads) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.under.Wait()
}

// Gathers asks the routers that fold the rounds of some keys whether a run waits for their events; false where nobody answers.
func (c *Cluster) Gathers(ctx context.Context, keys []engine.RoundKey) (is []bool, err error) {
	is = make([]bool, len(keys))
	became := make([]string, len(keys))
	err = c.toOwners(ctx, len(keys), func(i int) journal.RunID { return keys[i].Run }, func(peer journal.Peer, list []int) error {
		for len(list) > 0 {
			n, size := 0, 0
			var some []engine.RoundKey
			for n < len(list) && (n == 0 || size < handful/2) { // A key is small.
				k := &keys[list[n]]
				size += len(k.Tenant) + len(k.Trigger) + len(k.Key) + 64
				some = append(some, *k)
				n++
			}
			if err := c.putAll(ctx, peer, "/v1/gathers", engine.AppendRoundKeys(nil, some), list[:n], became); err != nil {
				return err
			}
			list = list[n:]
		}
		return nil
	})
	for i, word := range became {
		is[i] = word == engine.Joined.String()
	}
	return is, err
}
