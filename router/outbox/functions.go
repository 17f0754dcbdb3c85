package outbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/sinks"
)

// bound are the functions with their sinks.
type bound struct {
	functions atomic.Pointer[functions]
	mu        sync.Mutex
	former    []*functions // what reloads have replaced: deliveries may be under way in them
}

type functions struct{ byName map[string]*function }

type function struct {
	*config.Function
	sink sinks.Sink
}

// get returns a function; nil while the documents do not have it.
func (b *bound) get(name string) *function { return b.functions.Load().byName[name] }

// Load makes the sinks of a set's functions and puts them into force.
func (o *Outbox) Load(set *config.Set) error {
	next := &functions{byName: make(map[string]*function)}
	for _, name := range slices.Sorted(maps.Keys(set.Functions)) {
		f := set.Functions[name]
		host := o.Host
		host.Concurrency = f.Concurrency
		sink, err := f.Sink.Make.(sinks.Factory)(name, f.Settings, host)
		if err != nil {
			return fmt.Errorf("function %q: %w", name, err)
		}
		next.byName[name] = &function{f, sink}
	}
	o.bound.mu.Lock()
	if was := o.bound.functions.Swap(next); was != nil {
		o.bound.former = append(o.bound.former, was)
	}
	o.bound.mu.Unlock()
	o.rebind()
	return nil
}

// Close closes all sinks. Nothing may be under way.
func (o *Outbox) Close() (err error) {
	o.bound.mu.Lock()
	defer o.bound.mu.Unlock()
	for _, f := range append(o.bound.former, o.bound.functions.Load()) {
		for _, name := range slices.Sorted(maps.Keys(f.byName)) {
			err = errors.Join(err, f.byName[name].sink.Close())
		}
	}
	return err
}

// rebind looks all functions up anew after a reload. One that is held is tried at once: its address may be another.
func (o *Outbox) rebind() {
	o.mu.Lock()
	now := time.Now()
	o.metrics.state.Reset()
	for name := range o.bound.functions.Load().byName {
		o.metrics.show(name, up)
	}
	for name, l := range o.lanes {
		if l.bind(o.bound.get(name)); l.fn != nil {
			o.metrics.show(name, l.is)
		}
		l.until = now
	}
	for _, it := range o.items {
		if it.state == queued && it.timer != nil {
			it.timer.Stop()
		}
		if it.state == queued && it.lane.fn == nil {
			o.watchMissing(it)
		}
		if it.age != nil {
			o.watchAge(it)
		}
	}
	for _, l := range o.lanes {
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}
