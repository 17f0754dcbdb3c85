package outbox

import "slices"

// turns is a queue in which tenants take turns, the triggers of each take turns in its, the runs of each trigger in theirs, and of a run the first
// comes first: a run is delayed by as many as there are others beside it, not by what they have queued.
type turns struct {
	ring  []*turns
	by    map[string]*turns
	key   string
	items []*item // of a run
}

func (q *turns) push(it *item) {
	q = q.leaf(it)
	q.items = append(q.items, it)
}

// putBack undoes pop, but for the turn that its run has had.
func (q *turns) putBack(it *item) {
	q = q.leaf(it)
	q.items = slices.Insert(q.items, 0, it)
}

// leaf is the queue of an item's run.
func (q *turns) leaf(it *item) *turns {
	for _, key := range [...]string{it.inv.Tenant, it.inv.Trigger, string(it.inv.Run[:])} {
		next := q.by[key]
		if next == nil {
			next = &turns{key: key}
			if q.by == nil {
				q.by = make(map[string]*turns)
			}
			q.by[key] = next
			q.ring = append(q.ring, next)
		}
		q = next
	}
	return q
}

func (q *turns) empty() bool { return len(q.ring) == 0 && len(q.items) == 0 }

// pop takes the next in turn; nil when there is none.
func (q *turns) pop() *item {
	if len(q.items) > 0 {
		it := q.items[0]
		q.items[0] = nil
		q.items = q.items[1:]
		return it
	}
	if len(q.ring) == 0 {
		return nil
	}
	first := q.ring[0]
	q.ring[0] = nil
	q.ring = q.ring[1:]
	it := first.pop()
	if first.empty() {
		delete(q.by, first.key)
	} else {
		q.ring = append(q.ring, first)
	}
	return it
}

// of gives what a run has queued.
func (q *turns) of(keys ...string) []*item {
	for _, key := range keys {
		if q = q.by[key]; q == nil {
			return nil
		}
	}
	return q.items
}
