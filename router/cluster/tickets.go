package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Fetch asks all other routers at a time to look after the calls that are said to be done, by their tickets, in one question each, and returns whose they are; zero for
// what no router that answers has. Nobody can tell from a ticket who has the call.
func (c *Cluster) Fetch(ctx context.Context, tickets []string) ([]journal.RunID, error) {
	runs := make([]journal.RunID, len(tickets))
	if c.Journal == nil {
		return runs, nil
	}
	peers, err := c.Journal.Peers(ctx)
	if err != nil {
		return runs, fmt.Errorf("%w: %w", journal.ErrMoving, err)
	}
	body := engine.AppendTickets(nil, tickets)
	var mu sync.Mutex
	var wait sync.WaitGroup
	var reasons []error
	for _, peer := range peers {
		if peer.Self {
			continue
		}
		wait.Go(func() {
			list, became := make([]int, len(tickets)), make([]string, len(tickets))
			for i := range list {
				list[i] = i
			}
			err := c.putAll(ctx, peer, "/v1/tickets", body, list, became)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				reasons = append(reasons, fmt.Errorf("router %s: %w", peer.ID, err))
				return
			}
			for i, text := range became {
				if run, err := journal.ParseRunID(text); err == nil {
					runs[i] = run
				}
			}
		})
	}
	wait.Wait()
	return runs, errors.Join(reasons...)
}
