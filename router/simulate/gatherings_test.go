package simulate_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A gathering is how events come together to a run: what its trigger says of it, and which events a client sends.
type gathering struct {
	keys    map[string]any // of the trigger
	keyed   bool           // events have the key of their run
	sends   []string       // the names of the events of one round
	rounds  int            // how many rounds the client sends, all at once
	late    string         // one more that comes when all is over, and is taken by none; empty is none
	signals bool           // what the flow waits for comes as events of the key, some of it too early
	want    map[string]int // how many events of each name arrived has, where the flow sees it
	unmet   string         // the error of the run: its events are never enough
	overlap engine.Overlap
}

// far is a deadline that never comes.
const far = "1000h"

func named(kind string, more map[string]any) map[string]any {
	doc := map[string]any{"filters": []any{map[string]any{"exact": map[string]any{"type": kind}}}}
	for k, v := range more {
		doc[k] = v
	}
	return doc
}

// gatherings are the ways in which events come together, one after the other.
func (g *garden) gatherings() []func() *gathering {
	await := func(x gathering, await map[string]any) *gathering {
		if await["deadline"] == nil {
			await["deadline"] = far
			x.rounds = 1
			if await["late"] = []string{"newRound", "buffer", "unmatched"}[g.rng.IntN(3)]; await["late"] == "unmatched" {
				x.late = x.sends[0]
			} else {
				x.rounds += g.rng.IntN(2)
			}
		} else {
			x.rounds = 1
		}
		x.keys, x.keyed = map[string]any{"correlate": "${ event.subject }", "await": await}, true
		return &x
	}
	list := func(sends, of int, join any, more map[string]any) *gathering {
		doc := map[string]any{"count": of, "join": join}
		if join == nil {
			delete(doc, "join")
		}
		for k, v := range more {
			doc[k] = v
		}
		return await(gathering{sends: make([]string, sends), want: map[string]int{"": sends}}, doc)
	}
	return []func() *gathering{
		func() *gathering {
			n, count := 2, any(2)
			if g.rng.IntN(2) == 0 {
				n, count = len(g.story.data.([]any)), "${ size(data) }"
			}
			join := []string{"all", "settled"}[g.rng.IntN(2)]
			return await(gathering{sends: append(slices.Repeat([]string{"c"}, n), "a", "b"), want: map[string]int{"a": 1, "b": 1, "c": n}}, map[string]any{
				"join": join, "events": map[string]any{"a": named("a", nil), "b": named("b", map[string]any{"correlate": "${ event.subject }"}), "c": named("c", map[string]any{"count": count})},
			})
		},
		func() *gathering {
			one := []string{"a", "b"}[g.rng.IntN(2)]
			return await(gathering{sends: []string{one}, want: map[string]int{one: 1}}, map[string]any{"join": "any", "events": map[string]any{"a": named("a", nil), "b": named("b", nil)}})
		},
		func() *gathering { return list(3, 4, map[string]any{"atLeast": 3}, nil) },
		func() *gathering { return list(2, 4, map[string]any{"percent": 50}, nil) },
		func() *gathering {
			n := 2 + g.rng.IntN(3)
			return list(n, 9, map[string]any{"until": fmt.Sprintf("${ total == %d && arrived.all(x, x.id != '') }", n)}, nil)
		},
		func() *gathering {
			return list(3, 5, nil, map[string]any{"deadline": "30s", "onDeadline": "take"})
		},
		func() *gathering {
			x := list(3, 5, nil, map[string]any{"deadline": "30s", "onDeadline": "fail"})
			x.unmet = "join_deadline"
			return x
		},
		func() *gathering {
			x := &gathering{sends: make([]string, 3), keyed: true, rounds: 1, want: map[string]int{"": 3}}
			batch := map[string]any{"every": "30s", "count": 100, "bytes": "1MiB", "key": "${ event.subject }"}
			if g.rng.IntN(2) == 0 {
				batch["every"], batch["count"], x.rounds = far, 3, 2
			}
			x.keys = map[string]any{"batch": batch}
			return x
		},
		g.signalled,
		func() *gathering { return g.limited("queue") },
		func() *gathering { return g.limited("drop") },
		func() *gathering { return g.limited("cancelRunning", "replace") },
		func() *gathering {
			return &gathering{sends: []string{""}, keyed: true, rounds: 1, overlap: engine.OverlapSkip}
		},
		func() *gathering {
			return &gathering{sends: []string{""}, keyed: true, rounds: 1, overlap: engine.OverlapCancel}
		},
	}
}

// signalled is a trigger whose flow waits for events of its key.
func (g *garden) signalled() *gathering {
	signals := map[string]any{"unheard": named("unheard", nil)}
	for name := range g.story.signals {
		signals[name] = named(name, map[string]any{"correlate": "${ event.subject }"})
	}
	return &gathering{sends: []string{""}, keyed: true, rounds: 1, signals: true, keys: map[string]any{
		"filters": []any{map[string]any{"exact": map[string]any{"type": "placed"}}}, "correlate": "${ event.subject }", "signals": signals, "early": far,
	}}
}

// limited is a trigger whose runs are counted by their key.
func (g *garden) limited(words ...string) *gathering {
	by := map[string]any{"key": "${ event.subject }", "limit": 1 + g.rng.IntN(2), "when": words[g.rng.IntN(len(words))]}
	return &gathering{sends: []string{""}, keyed: true, rounds: 1, keys: map[string]any{"concurrency": by}}
}

// meets reports whether its events meet, so that any of them may be the one whose run it is.
func (x *gathering) meets() bool { return x.signals || x.want != nil }

// first is the step that yields what has arrived; nil where nothing does.
func (x *gathering) first() *node {
	if x.want == nil {
		return nil
	}
	return &node{doc: map[string]any{"pass": map[string]any{}, "input": "${ arrived }"}, eval: func(any, *story) (any, bool) { return arrivals(x.want), true }}
}

// arrivals stand for what has arrived: so many events of each name, each another one.
type arrivals map[string]int

func (e arrivals) met(got any) bool {
	have, seen := map[string]int{}, map[any]bool{}
	count := func(name string, v any) bool {
		event, ok := v.(map[string]any)
		if !ok || event["id"] == nil || seen[event["id"]] {
			return false
		}
		seen[event["id"]] = true
		have[name]++
		return true
	}
	each := func(name string, v any) bool {
		list, many := v.([]any)
		if !many {
			return v == nil || count(name, v)
		}
		return !slices.ContainsFunc(list, func(v any) bool { return !count(name, v) })
	}
	if byName, is := got.(map[string]any); is {
		for name, v := range byName {
			if !each(name, v) {
				return false
			}
		}
	} else if !each("", got) {
		return false
	}
	return fmt.Sprint(have) == fmt.Sprint(map[string]int(e))
}

// gather has a client send the events of one key, and again what may have been lost. All of a key lie in one partition.
func (p *play) gather(i int, data lang.Value, begin time.Duration, send func(at time.Duration, records ...journal.Record)) {
	x, n := p.gathering, byte(0)
	key := fmt.Sprint("key", i)
	event := func(at time.Duration, name string, data lang.Value) {
		n++
		f := &engine.StartFact{
			Trigger: "t", Digest: p.def.Digest(), Data: data, Overlap: x.overlap,
			Event: lang.Of(map[string]string{"id": fmt.Sprint(key, "-", n), "source": "/client", "subject": key, "type": "type-" + name}),
		}
		if x.keyed {
			f.Key = key
		}
		if x.meets() {
			f.Names = []string{name}
		}
		rec := engine.Record(journal.Start, journal.RunID{byte(i * 85), 0, 0, byte(i), 'e', n}, f)
		rec.Tenant = "default"
		send(at, rec)
	}
	within := func() time.Duration { return begin + time.Duration(p.rng.Int64N(int64(8*time.Second))) }
	for range x.rounds {
		for _, name := range x.sends {
			event(within(), name, data)
		}
	}
	if x.late != "" {
		event(begin+time.Hour, x.late, data)
	}
	for k := range min(p.rng.IntN(4), 3*(p.clients-1)) { // Not of a specimen.
		// Somebody pauses it, whichever it is, and it goes on a while later.
		at, f := begin+1+time.Duration(p.rng.Int64N(int64(3*time.Minute))), engine.PauseFact{ID: fmt.Sprint(k), By: "somebody"}
		on := at + 1 + time.Duration(p.rng.Int64N(int64(time.Minute)))
		for id := byte(1); id <= n; id++ {
			run := journal.RunID{byte(i * 85), 0, 0, byte(i), 'e', id}
			p.w.After(at, func() { p.w.Append(engine.Record(journal.Pause, run, &f)) })
			p.w.After(on, func() { p.w.Append(engine.Record(journal.Resume, run, &f)) })
		}
	}
	for _, name := range p.flowSignals() {
		if x.signals {
			at := within()
			if p.rng.IntN(2) == 0 {
				at = begin + time.Duration(p.rng.Int64N(int64(time.Minute)))
			}
			event(at, name, lang.Of(p.story0.signals[name]))
			continue
		}
		for id := byte(1); id <= n; id++ { // Whichever is the run's. One that begins later gets it when it comes again.
			rec := engine.Record(journal.Signal, journal.RunID{byte(i * 85), 0, 0, byte(i), 'e', id}, &engine.SignalFact{Source: "/client", ID: name, Name: name, Data: lang.Of(p.story0.signals[name])})
			for _, after := range []time.Duration{time.Minute, 20 * time.Minute, 5 * time.Hour, 20 * time.Hour} {
				p.w.After(begin+after, func() { p.w.Append(rec) })
			}
		}
	}
}

// resolve finds out whose runs there are: any of the events of a key may be the one that has begun its run.
func (p *play) resolve(began []journal.RunID, outcomes map[journal.RunID]lang.Outcome) {
	if p.gathering == nil {
		return
	}
	p.runs, p.story = nil, nil
	for _, run := range began {
		if outcomes[run].Verdict == lang.Skipped && p.gathering.signals {
			continue // A signal that came when its run had ended, and for which no other has begun.
		}
		s := *p.story0
		p.runs, p.story = append(p.runs, run), append(p.story, &s)
	}
	if want := p.clients * p.gathering.rounds; len(p.runs) != want {
		p.t.Errorf("seed %d: %d runs have begun; want %d\n%s", p.seed, len(p.runs), want, p.doc)
	}
}

// assemblies follow what becomes of the events that meet, by the log alone: each is counted once, and nowhere else.
type assemblies struct {
	came   map[string]string // by id: what its record was, the first time that it was told
	in     map[string]string // the run that has it
	missed map[string]bool
	wrong  []string
}

func newAssemblies() *assemblies {
	return &assemblies{came: map[string]string{}, in: map[string]string{}, missed: map[string]bool{}}
}

func (a *assemblies) see(rec *journal.Record, reason engine.Reason, out *engine.Effects) {
	if f, err := engine.DecodeStart(rec.Payload); rec.Kind == journal.Start && err == nil && len(f.Names) > 0 {
		id := engine.EventID(f.Event)
		switch was := a.came[id]; {
		case reason == engine.Applied || reason == engine.Joined || reason == engine.Held || reason == engine.Waiting || reason == engine.Unmatched || reason == engine.Limited:
			if was != "" {
				a.wrong = append(a.wrong, fmt.Sprintf("event %s was %s, and comes again as %s", id, was, reason))
			}
			a.came[id] = reason.String()
		case was == "":
			a.wrong = append(a.wrong, fmt.Sprintf("event %s is %s when it comes first", id, reason))
		}
	}
	for _, m := range out.Missed {
		a.missed[engine.EventID(m.Event)] = true
	}
	for _, e := range out.Ended {
		if e.Arrived.IsNull() || e.Redrives > 0 {
			continue
		}
		var all any
		if err := e.Arrived.Decode(&all); err != nil {
			a.wrong = append(a.wrong, err.Error())
		}
		for _, id := range idsOf(all) {
			if other := a.in[id]; other != "" || a.missed[id] {
				a.wrong = append(a.wrong, fmt.Sprintf("event %s is in run %s, and in %q; missed: %t", id, e.Run, other, a.missed[id]))
			}
			a.in[id] = e.Run.String()
		}
	}
}

// idsOf are the ids of the events in arrived.
func idsOf(v any) (ids []string) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			ids = append(ids, idsOf(x)...)
		}
	case map[string]any:
		if id, is := v["id"].(string); is {
			return []string{id}
		}
		for _, x := range v {
			ids = append(ids, idsOf(x)...)
		}
	}
	return ids
}

// check: whatever met others in a round is in one run, or missed; nothing is lost.
func (a *assemblies) check(t *testing.T, p *play) {
	t.Helper()
	for id := range a.came {
		if p.gathering != nil && p.gathering.want != nil && p.gathering.unmet == "" && a.in[id] == "" && !a.missed[id] {
			a.wrong = append(a.wrong, fmt.Sprintf("event %s is in no run", id))
		}
	}
	for _, wrong := range a.wrong {
		t.Errorf("seed %d: %s\n%s", p.seed, wrong, p.doc)
	}
}

// triggerKeys lists what a trigger may say of how events come together, and the words of it, as the schema of the documents has them: a new one that no garden
// grows is found. Which events it takes at all is asked at the door, and where their runs' ends go is in every play.
var triggerKeys = sync.OnceValue(func() (keys []string) {
	schema, err := config.Schema(registry(), "triggers")
	if err != nil {
		panic(err)
	}
	var all map[string]any
	if err := lang.Of(schema).Decode(&all); err != nil {
		panic(err)
	}
	defs := all["$defs"].(map[string]any)
	elsewhere := []string{"trigger.tenant", "trigger.filters", "trigger.when", "trigger.flow", "trigger.onSuccess", "trigger.onFailure"}
	var walk func(path string, form map[string]any)
	walk = func(path string, form map[string]any) {
		if ref, is := form["$ref"].(string); is {
			if name := strings.TrimPrefix(ref, "#/$defs/"); strings.HasPrefix(name, "config.") || name == "enough" {
				walk(path, defs[name].(map[string]any))
			}
			return
		}
		words, _ := form["enum"].([]any)
		for _, word := range words {
			keys = append(keys, fmt.Sprint(path, "=", word))
		}
		forms, _ := form["anyOf"].([]any)
		for _, one := range forms {
			if object := one.(map[string]any); object["required"] == nil {
				walk(path, object)
			}
		}
		if of, is := form["additionalProperties"].(map[string]any); is {
			walk(path, of)
		}
		properties, _ := form["properties"].(map[string]any)
		for key, of := range properties {
			if at := path + "." + key; !slices.Contains(elsewhere, at) {
				keys = append(keys, at)
				walk(at, of.(map[string]any))
			}
		}
	}
	walk("trigger", all["additionalProperties"].(map[string]any))
	keys = append(keys, "overlap skip", "overlap cancel")
	slices.Sort(keys)
	return slices.Compact(keys)
})

// reach counts what of a trigger a run has come to.
func (x *gathering) reach(s *story) {
	keys := triggerKeys()
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, of := range v {
				at := path + "." + key
				if slices.Contains(keys, at) {
					s.reached[at]++
				} else {
					at = path // A name.
				}
				walk(at, of)
			}
		case string:
			if at := path + "=" + v; slices.Contains(keys, at) {
				s.reached[at]++
			}
		}
	}
	walk("trigger", x.keys)
	switch x.overlap {
	case engine.OverlapSkip:
		s.reached["overlap skip"]++
	case engine.OverlapCancel:
		s.reached["overlap cancel"]++
	}
}
