package admission

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/triggers"
)

// rates hold what starts something to the rates of its source and of the tenants whose triggers take it. What runs bring about, outcomes, signals and heartbeats
// pass: they are bounded by what was started, and runs would not end without them.
type rates struct {
	mu      sync.Mutex
	buckets map[string]*config.Bucket // of source/NAME and tenant/NAME
}

// A toll is a token that has to be had.
type toll struct {
	by, name string
	rate     config.Rate
	burst    int
}

// pay takes a token of each toll, or none of any: then the one that lacks, and how long it is until it is there.
func (r *rates) pay(now time.Time, tolls []toll) (lacks *toll, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var paid []*config.Bucket
	for i, t := range tolls {
		key := t.by + "/" + t.name
		b := r.buckets[key]
		if b == nil {
			if b = new(config.Bucket); r.buckets == nil {
				r.buckets = make(map[string]*config.Bucket)
			}
			r.buckets[key] = b
		}
		b.Set(t.rate, t.burst, now)
		if wait = b.Wait(now); wait > 0 {
			for _, p := range paid {
				p.Untake()
			}
			return &tolls[i], wait
		}
		b.Take()
		paid = append(paid, b)
	}
	return nil, 0
}

// pay holds an event from outside, which starts something for some tenants, to their rates and its source's. The error says when there is room.
func (g *Gate) pay(set *config.Set, source string, tenants ...string) error {
	var tolls []toll
	if s := set.Sources[source]; s != nil && !s.Rate.IsZero() {
		tolls = append(tolls, toll{"source", source, s.Rate, s.Burst})
	}
	for i, name := range tenants {
		if t := set.Tenants[name]; t != nil && !t.Rate.IsZero() && !slices.Contains(tenants[:i], name) {
			tolls = append(tolls, toll{"tenant", name, t.Rate, t.Burst})
		}
	}
	if len(tolls) == 0 {
		return nil
	}
	lacks, wait := g.rates.pay(time.Now(), tolls)
	if lacks == nil {
		return nil
	}
	return &triggers.Paced{By: lacks.by, What: fmt.Sprintf("%s %s has a rate of %s, which is used up", lacks.by, lacks.name, lacks.rate), After: wait}
}

// overRate books an event that is refused for a rate.
func (g *Gate) overRate(err error) {
	if p := (*triggers.Paced)(nil); errors.As(err, &p) {
		g.metrics.overRate.WithLabelValues(p.By).Inc()
	}
	g.metrics.refused.Inc()
}

// pay takes what it costs that an event begins something, or says what lacks; what is behind one that was refused does not pass it.
func (in *intake) pay(begins []beginning) error {
	if len(begins) == 0 {
		return nil
	}
	tenants := make([]string, len(begins))
	for i := range begins {
		tenants[i] = begins[i].tenant
	}
	for _, t := range tenants {
		if err := in.paced[t]; err != nil {
			return err
		}
	}
	source := ""
	if in.door != nil {
		source = in.door.Source
	}
	err := in.g.pay(in.rules.set, source, tenants...)
	if err != nil && in.paced == nil {
		in.paced = make(map[string]error)
	}
	for _, t := range tenants {
		if err != nil {
			in.paced[t] = err
		}
	}
	return err
}
