package shard

import (
	"time"

	"github.com/onward-router/onward/router/engine"
)

// Partitions tells of the partitions that are here, by their numbers.
func (set *Set) Partitions() []engine.PartitionStatus {
	set.mu.Lock()
	defer set.mu.Unlock()
	all := []engine.PartitionStatus{}
	for p, s := range set.shards {
		if s == nil {
			continue
		}
		st, next := set.stats[p], s.next.Load()
		all = append(all, engine.PartitionStatus{
			Partition: p, Serving: s.serving, Offset: next, Lag: s.lag.Load(), Unsaved: s.saved.since.Load(), Runs: st.Runs + st.Waiting, Paused: st.Paused, Calls: st.Invocations,
		})
		if at := s.saved.at.Load(); at > 0 {
			all[len(all)-1].Saved = time.Unix(0, at).UTC()
		}
	}
	return all
}
