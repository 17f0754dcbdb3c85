package shard

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// parkedPlaces are the latest places in the journal that held no record, for people to see.
type parkedPlaces struct {
	mu   sync.Mutex
	list []triggers.Parked
}

const parkedMost = 1000

// placeOf is a place in a partition of the journal that holds no record.
func placeOf(partition int, x journal.Parked) triggers.Parked {
	return triggers.Parked{Source: "the journal", Place: fmt.Sprintf("%d/%d", partition, x.Offset), Reason: x.Reason, Time: time.Now().UTC(), Bytes: bytes.Clone(x.Bytes)}
}

// keep notes a place. False: it is known, from a tenure before.
func (p *parkedPlaces) keep(x triggers.Parked) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.list, func(y triggers.Parked) bool { return y.Place == x.Place }) {
		return false
	}
	if len(p.list) == parkedMost {
		p.list = p.list[1:]
	}
	p.list = append(p.list, x)
	return true
}

func (p *parkedPlaces) all() []triggers.Parked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}
