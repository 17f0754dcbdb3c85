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
	closing   sync.WaitGroup // of sinks that reloads have replaced
}

type functions struct{ byName map[string]*function }

type function struct {
	*config.Function
	sink   sinks.Sink
	puller sinks.Puller // the sink, where its far end asks for what it does; nil for most

	// The outbox's lock guards these.
	paced  config.Rate // what the far end allows; zero: what the documents say
	uses   int         // deliveries under way, and calls of Deliver
	former bool        // a reload has replaced it: it is closed with the last of its uses
}

// room is how many invocations may be at work. One that concurrency: 0 has stopped is told of dropped calls one after the other.
func (f *function) room() int { return max(f.Concurrency, 1) }

// rate is how often it is sent to, and how much at once: what the documents say, or less where the far end allows less.
func (f *function) rate() (config.Rate, int) {
	if f.paced.IsZero() || !f.Rate.IsZero() && f.Rate.In(time.Hour) <= f.paced.In(time.Hour) {
		return f.Rate, f.Burst
	}
	return f.paced, f.paced.OneSecond()
}

// pace takes over what a function's far end allows.
func (o *Outbox) pace(f *function, perMinute int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.paced = config.Rate{N: min(perMinute, config.MostRate), Per: time.Minute}
	for _, l := range o.lanes {
		if l.fn == f {
			rate, burst := f.rate()
			l.bucket.Set(rate, burst, time.Now())
		}
	}
}

// get returns a function; nil while the documents do not have it.
func (b *bound) get(name string) *function { return b.functions.Load().byName[name] }

// wake sends what a function's far end has asked for.
func (o *Outbox) wake(name string) {
	o.mu.Lock()
	if l := o.lanes[name]; l != nil {
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}

// Load makes the sinks of a set's functions and puts them into force. Those that they replace are closed once nothing is under way in them.
func (o *Outbox) Load(set *config.Set) error {
	next := &functions{byName: make(map[string]*function)}
	for _, name := range slices.Sorted(maps.Keys(set.Functions)) {
		f := set.Functions[name]
		host := o.Host
		if host.Concurrency = max(f.Concurrency, 1); f.Cancel {
			host.Concurrency *= 2 // Calls that hang do not keep it from hearing that they are dropped.
		}
		fn := &function{Function: f}
		host.Batch = f.Batch != nil
		host.Wake = func() { o.wake(name) }
		host.Pace = func(perMinute int) { o.pace(fn, perMinute) }
		if o.Halt != nil {
			host.Halt = func(why string) { o.Halt(name, why) }
		}
		var err error
		if fn.sink, err = f.Sink.Make.(sinks.Factory)(name, f.Settings, host); err != nil {
			return errors.Join(fmt.Errorf("function %q: %w", name, err), next.close())
		}
		fn.puller, _ = fn.sink.(sinks.Puller)
		next.byName[name] = fn
	}
	for _, name := range slices.Sorted(maps.Keys(next.byName)) {
		if x, ok := next.byName[name].sink.(sinks.Opener); ok {
			if err := x.Open(); err != nil {
				return errors.Join(fmt.Errorf("function %q: %w", name, err), next.close())
			}
		}
	}
	was := o.bound.functions.Swap(next)
	o.rebind()
	if was == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range was.byName {
		f.former = true
		o.retire(f)
	}
	return nil
}

// use and unuse are around what is done with a function's sink. The outbox's lock is held around use.
func (f *function) use() { f.uses += 2 } // A delivery's end, and the return of Deliver: a sink may call Done before.

func (o *Outbox) unuse(f *function, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.uses -= n
	o.retire(f)
}

// retire closes the sink of a function that was replaced and is not used any more; beside it, since the sink may be who calls. The lock is held.
func (o *Outbox) retire(f *function) {
	if !f.former || f.uses > 0 {
		return
	}
	o.bound.closing.Go(func() {
		if err := f.sink.Close(); err != nil {
			o.Log.Warn("a sink that was replaced does not close", "function", f.Name, "error", err)
		}
	})
}

// Close closes all sinks. Nothing may be under way.
func (o *Outbox) Close() error {
	o.bound.closing.Wait()
	return o.bound.functions.Load().close()
}

func (f *functions) close() (err error) {
	for _, name := range slices.Sorted(maps.Keys(f.byName)) {
		err = errors.Join(err, f.byName[name].sink.Close())
	}
	return err
}

// rebind looks all functions up anew after a reload. One that is held is tried at once: its address may be another.
func (o *Outbox) rebind() {
	o.mu.Lock()
	now := time.Now()
	o.metrics.state.Reset()
	for name, f := range o.bound.functions.Load().byName {
		o.metrics.show(name, up)
		if f.Batch != nil {
			o.metrics.batches.Of(name) // It is there from the first.
		}
	}
	for _, l := range o.lanes {
		l.bind(o.bound.get(l.name))
		if o.limit(l); l.fn != nil && !l.cancels {
			o.metrics.show(l.name, l.is)
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
		if it.state == accepted && it.ticket != "" && it.fetcher() != nil { // It is one again that is asked for results.
			for _, t := range []*time.Timer{it.timer, it.age} {
				if t != nil {
					t.Stop()
				}
			}
			o.fetches(it)
		}
	}
	for _, l := range o.lanes {
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}
