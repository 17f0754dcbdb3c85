package command

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
)

// A probed is what a function or a source of documents says of itself.
type probed struct {
	name  string // with what it is: function count
	path  string
	pos   lang.Pos
	found string
	err   error // ends in a cure
}

// probing bounds the look at one sink or source.
const probing = 10 * time.Second

// probeFunctions asks those of a set's functions that can be asked, where the policy lets it.
func probeFunctions(ctx context.Context, set *config.Set, to *egress.Policy) []probed {
	var all []probed
	var by []plugin.Prober
	for _, name := range slices.Sorted(maps.Keys(set.Functions)) {
		f := set.Functions[name]
		sink, err := f.Sink.Make.(sinks.Factory)(name, f.Settings, sinks.Host{Concurrency: 1, Batch: f.Batch != nil, Egress: to})
		if err != nil {
			continue // What cannot be made is lint's to find.
		}
		defer sink.Close()
		if p, ok := sink.(plugin.Prober); ok {
			all, by = append(all, probed{name: "function " + name, path: "functions." + name, pos: f.Pos}), append(by, p)
		}
	}
	return askAll(ctx, all, by)
}

// probeSources asks those of a set's sources that can be asked, where the policy lets it.
func probeSources(ctx context.Context, set *config.Set, to *egress.Policy) []probed {
	var all []probed
	var by []plugin.Prober
	for _, name := range slices.Sorted(maps.Keys(set.Sources)) {
		s := set.Sources[name]
		if source, err := s.Type.Make.(triggers.Factory)(name, s.Settings); err == nil {
			if p, ok := source.(triggers.Placed); ok {
				p.Place(triggers.Place{Egress: to})
			}
			if p, ok := source.(plugin.Prober); ok {
				all, by = append(all, probed{name: "source " + name, path: "sources." + name, pos: s.Pos}), append(by, p)
			}
		}
	}
	return askAll(ctx, all, by)
}

// A ticking is a schedule of documents, with its next ticks.
type ticking struct {
	source, said string
	next         []time.Time
}

// ticks are the schedules of a set, by name.
func ticks(ctx context.Context, set *config.Set) (all []ticking) {
	for _, name := range slices.Sorted(maps.Keys(set.Sources)) {
		s := set.Sources[name]
		source, err := s.Type.Make.(triggers.Factory)(name, s.Settings)
		if err != nil {
			continue // What cannot be made is lint's to find.
		}
		t, ticks := source.(triggers.Ticking)
		p, says := source.(plugin.Prober)
		if !ticks || !says {
			continue
		}
		if said, err := p.Probe(ctx); err == nil {
			all = append(all, ticking{name, said, append([]time.Time{}, t.Ticks(3)...)})
		}
	}
	return all
}

// askAll asks all at once, each within its bound.
func askAll(ctx context.Context, all []probed, by []plugin.Prober) []probed {
	var asking sync.WaitGroup
	for i := range all {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probing)
			defer cancel()
			all[i].found, all[i].err = by[i].Probe(ctx)
		})
	}
	asking.Wait()
	return all
}

// unfit are the functions of a set that do not take what they would be sent.
func unfit(ctx context.Context, set *config.Set) (findings []lang.Finding) {
	for _, x := range probeFunctions(ctx, set, nil) {
		if x.err == nil {
			continue
		}
		what, cure := x.err.Error(), ""
		if at := strings.LastIndex(what, "; "); at >= 0 {
			what, cure = what[:at], what[at+2:]
		}
		findings = append(findings, lang.Finding{Pos: x.pos, Path: x.path, What: what, Cure: cure})
	}
	slices.SortStableFunc(findings, func(a, b lang.Finding) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
	return findings
}

// probes lets the sinks and sources look for their far ends that can.
func (d *doctor) probes(ctx context.Context) {
	if d.set == nil {
		return
	}
	to, err := egress.New(d.s.Egress.Allow, d.s.Egress.Deny)
	if err != nil {
		return // The settings were refused for it.
	}
	for _, x := range append(probeFunctions(ctx, d.set, to), probeSources(ctx, d.set, to)...) {
		if x.err != nil {
			d.fail(x.name, "", "%v", x.err)
			continue
		}
		d.ok(x.name, "%s", x.found)
	}
}
