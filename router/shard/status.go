package shard

import "github.com/onward-router/onward/router/engine"

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
			Partition: p, Serving: s.serving, Offset: next, Lag: s.lag.Load(), Unsaved: max(next-s.saved.Load()-1, 0), Runs: st.Runs + st.Waiting, Paused: st.Paused, Calls: st.Invocations,
		})
	}
	return all
}
