package simulate_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
)

var (
	seeds = flag.Int("seeds", 600, "plays of TestPlays")
	first = flag.Uint64("seed", 0, "the first seed of TestPlays")
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	schedulers.Register[tidy, struct{}](r, "tidy", 1, "Runs a step, and another one after it in any case.")
	schedulers.Register[racer, struct{}](r, "racer", 1, "Runs steps side by side, each with a twin, and yields the first success.")
	return r
}

// A play is one seed: a flow, a few runs of it, clients that send what they send again, and faults of all kinds.
type play struct {
	seed   uint64
	w      *simulate.World
	rng    *rand.Rand
	flow   node
	doc    string
	def    *lang.Definition
	next   *lang.Definition // what the end of each run starts
	defs   map[string]*lang.Definition
	runs   []journal.RunID
	story  []*story
	called map[journal.RunID]map[string]bool // paths
	t      testing.TB
	reg    *plugin.Registry
	asked  uint64 // redrives
	mends  bool   // a run fails until it is redriven
	died   int    // senders of redrives, between two parts

	gathering *gathering // nil: each start is a run
	story0    *story     // of all its runs
	clients   int
}

var allFaults = map[simulate.Fault]float64{
	simulate.Crash: 0.004, simulate.Restart: 0.002, simulate.TakeOver: 0.004, simulate.Duplicate: 0.1, simulate.Reorder: 0.2, simulate.Delay: 0.02,
	simulate.LostAck: 0.02, simulate.LostAnswer: 0.05, simulate.Skew: 0.5, simulate.OldSave: 0.3, simulate.Outage: 0.001,
}

func newPlay(t testing.TB, reg *plugin.Registry, seed uint64, faults map[simulate.Fault]float64) *play {
	return newPlayOf(t, reg, seed, plot{faults: faults})
}

// A plot is what a play is made by beside its seed.
type plot struct {
	faults  map[simulate.Fault]float64
	flow    func(g *garden) node                // nil is a large one, and two or three runs of it with clients
	gathers func(g *garden) *gathering          // of a flow; nil: each start is a run
	durable func(w *simulate.World, record int) // it may strike, when so many records are durable
}

func newPlayOf(t testing.TB, reg *plugin.Registry, seed uint64, of plot) *play {
	p := &play{t: t, reg: reg, seed: seed, mends: seed%8 == 3, rng: rand.New(rand.NewPCG(seed, 2)), called: make(map[journal.RunID]map[string]bool)}
	data := make([]any, 1+p.rng.IntN(8))
	text := make([]lang.Value, len(data))
	for i := range data {
		data[i], text[i] = float64(i*i), lang.Of(i*i)
	}
	g := newGarden(reg, p.rng, &story{data: data, signals: make(map[string]any), reached: make(map[string]int), exact: true})
	p.story0 = g.story
	var parts []node
	switch {
	case of.flow != nil:
		p.mends = false
		parts = []node{of.flow(g)}
	case p.mends:
		g.inside++ // A signal that comes between two lives of a run is lost.
		parts = []node{g.mapping(1), g.flow(2), g.mended(1)}
	case p.rng.IntN(10) == 0:
		parts = []node{g.mapping(2), g.flow(3), g.failing(2)}
	default:
		parts = []node{g.mapping(2), g.flow(3), g.forkjoin(1)}
	}
	waits := strings.Contains(fmt.Sprint(parts), "signal:")
	switch ways := g.gatherings(); {
	case of.gathers != nil:
		p.gathering = of.gathers(g)
	case of.flow == nil && p.rng.IntN(2) == 0:
		way := ways[p.rng.IntN(len(ways))]
		if waits && p.rng.IntN(3) == 0 {
			way = g.signalled
		}
		if p.gathering = way(); p.gathering.signals && !waits {
			p.gathering = nil // Nothing waits for them.
		}
	}
	if g.gathering = p.gathering; p.gathering != nil {
		if first := p.gathering.first(); first != nil {
			parts = append([]node{*first}, parts...)
		}
	}
	docs := make([]any, len(parts))
	for i := range parts {
		docs[i] = parts[i].doc
	}
	p.flow = node{doc: map[string]any{"sequence": docs}, eval: func(in any, s *story) (any, bool) {
		for _, part := range parts {
			var ok bool
			if in, ok = part.eval(in, s); !ok {
				return nil, false
			}
		}
		return in, true
	}}
	p.doc = document(t, p.flow.doc, g)
	set, findings := config.Parse("play.yaml", []byte(p.doc), reg, nil)
	for _, f := range findings {
		t.Fatalf("seed %d: %s\n%s", seed, f, p.doc)
	}
	p.defs = make(map[string]*lang.Definition)
	for name, trigger := range set.Triggers {
		p.defs[name] = trigger.Definition
	}
	p.def, p.next = p.defs["t"], p.defs["next"]
	records := 0
	p.w = simulate.New(simulate.Options{
		Durable: func(*journal.Record) {
			if records++; of.durable != nil {
				of.durable(p.w, records)
			}
		},
		Registry: reg, Seed: seed, Partitions: 1 + int(seed%3), Function: p.function, Faults: simulate.Faults{Rate: of.faults}, Limits: p.limits, Deliver: deliver, Starts: p.starts,
		Observe: p.observe,
	})
	for _, name := range set.TriggerNames() {
		if name != "t" {
			p.w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(p.defs[name])})
		}
	}
	if of.flow != nil && p.gathering != nil {
		p.clients = 1
		p.w.After(time.Second, func() {
			p.w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(p.def)})
		})
		p.gather(0, lang.List(text...), time.Second, func(at time.Duration, records ...journal.Record) {
			p.w.After(at, func() { p.w.Append(records...) })
		})
		return p
	}
	if of.flow != nil {
		run, s := journal.RunID{200, 7}, g.story
		p.runs, p.story = append(p.runs, run), append(p.story, s)
		start := engine.Record(journal.Start, run, &engine.StartFact{Trigger: "t", Digest: p.def.Digest(), Data: lang.List(text...)})
		p.w.After(time.Second, func() {
			p.w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(p.def)}, start)
		})
		for _, name := range slices.Sorted(maps.Keys(s.signals)) {
			p.w.After(2*time.Second, func() {
				p.w.Append(engine.Record(journal.Signal, run, &engine.SignalFact{Source: "/client", ID: name, Name: name, Data: lang.Of(s.signals[name])}))
			})
		}
		return p
	}
	p.clients = 2 + p.rng.IntN(2)
	for i := range p.clients {
		if p.gathering != nil {
			p.gatherer(i, lang.List(text...))
			continue
		}
		run := journal.RunID{byte(i * 85), 0, 0, byte(i), 7}
		p.runs = append(p.runs, run)
		s := *g.story
		p.story = append(p.story, &s)
		p.client(run, lang.List(text...), &s)
	}
	return p
}

// limits are the level's, or, in a quarter of the plays, so tight that nearly everything is owed and paid in parts.
func (p *play) limits(level uint8) engine.Limits {
	l := engine.LimitsOf(level)
	if p.seed%4 == 1 {
		l.Openings, l.Share, l.Open, l.Begins = 1+int(p.seed/4%3), 2, 1+int(p.seed/12%4), 1+int(p.seed/4%3)
	}
	return l
}

// client starts a run and sends its signals; what may have been lost is sent again.
func (p *play) client(run journal.RunID, data lang.Value, s *story) {
	f := engine.StartFact{Trigger: "t", Digest: p.def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint("event of ", run)}), Data: data}
	start := engine.Record(journal.Start, run, &f)
	start.Tenant = "default"
	define := journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(p.def)}
	begin := time.Duration(p.rng.Int64N(int64(10 * time.Second)))
	send := func(at time.Duration, records ...journal.Record) {
		for again := range 1 + p.rng.IntN(3) {
			p.w.After(at+time.Duration(again)*time.Duration(p.rng.Int64N(int64(30*time.Second))), func() { p.w.Append(records...) })
		}
	}
	if p.rng.IntN(2) == 0 {
		send(begin, define, start)
	} else {
		// The start comes first and waits for its definition.
		send(begin, start)
		send(begin+time.Second, define)
	}
	for n := range p.rng.IntN(4) {
		// Somebody pauses it, and it goes on a while later; what is sent again does nothing.
		at := begin + 1 + time.Duration(p.rng.Int64N(int64(3*time.Minute)))
		f := engine.PauseFact{ID: fmt.Sprint(n), By: "somebody"}
		send(at, engine.Record(journal.Pause, run, &f))
		send(at+1+time.Duration(p.rng.Int64N(int64(time.Minute))), engine.Record(journal.Resume, run, &f))
	}
	if s.cancel = p.rng.IntN(8) == 0; s.cancel {
		send(begin+time.Duration(p.rng.Int64N(int64(5*time.Minute))), engine.Record(journal.Cancel, run, &engine.CancelFact{Reason: "enough"}))
	}
	for _, name := range slices.Sorted(maps.Keys(s.signals)) {
		// Its id is also that of a signal that nobody waits for.
		for _, sent := range []engine.SignalFact{{Source: "/client", ID: name, Name: name, Data: lang.Of(s.signals[name])}, {Source: "/client", ID: name, Name: "unheard"}} {
			at := begin + time.Duration(p.rng.Int64N(int64(3*time.Minute)))
			if sent.Name == name {
				at = max(at, begin+time.Minute)
			}
			send(at, engine.Record(journal.Signal, run, &sent))
		}
	}
}

// gatherer is a client whose events come together; what may have been lost is sent again.
func (p *play) gatherer(i int, data lang.Value) {
	begin := time.Duration(p.rng.Int64N(int64(10 * time.Second)))
	define, behind := journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(p.def)}, time.Duration(p.rng.Int64N(int64(5*time.Second)))
	p.w.After(begin+behind, func() { p.w.Append(define) }) // What comes before it waits for it.
	p.gather(i, data, begin, func(at time.Duration, records ...journal.Record) {
		p.w.After(at, func() { p.w.Append(records...) })
		for range p.rng.IntN(3) {
			p.w.After(at+time.Duration(p.rng.Int64N(int64(30*time.Second))), func() { p.w.Append(records...) })
		}
	})
}

// flowSignals are the names that the flow waits for, in order.
func (p *play) flowSignals() []string { return slices.Sorted(maps.Keys(p.story0.signals)) }

// isTop reports whether a run is of the trigger that the clients send events to.
func (p *play) isTop(run journal.RunID) bool {
	return slices.Contains(p.runs, run) || p.gathering != nil && run[4] == 'e' && [10]byte(run[6:]) == [10]byte{}
}

// deliver is what the destinations do: one refuses the first two tries, one refuses all.
func deliver(inv *engine.Invocation) *lang.Error {
	if inv.Path == "end:hopeless" || inv.Path == "end:flaky" && inv.Attempt <= 2 {
		return lang.Failf(lang.ClassFunction, "status", "500")
	}
	return nil
}

// starts is what the end of a run starts, by the filters and by a destination that names it.
func (p *play) starts(inv *engine.Invocation) []*lang.Definition {
	if inv.Purpose == engine.Call {
		return []*lang.Definition{p.defs[inv.ToTrigger]}
	}
	if inv.Type == engine.TypeSkipped {
		return nil // Events that came too early, and whose run has never begun.
	}
	if inv.Trigger == "t" && (inv.ToTrigger == "next" || inv.Purpose == engine.Route && p.seed%2 == 0) {
		return []*lang.Definition{p.next}
	}
	return nil
}

// function answers; which answers are slow, late or missing follows from the invocation alone.
func (p *play) function(inv *engine.Invocation, _ int) simulate.Answer {
	if p.called[inv.Run] == nil {
		p.called[inv.Run] = make(map[string]bool)
	}
	p.called[inv.Run][inv.Path] = true
	a := simulate.Answer{Outcome: answer(inv), After: time.Duration(inv.N%7) * 100 * time.Millisecond}
	switch chance := (uint64(inv.N)*2654435761 + p.seed) % 20; {
	case inv.Function == "mute" && inv.Attempt < 3:
		a.Never = true
	case chance == 0 && inv.Attempt < 3 && inv.Function != "boom":
		a.Never, a.Beats = true, int(inv.N%4) // It dies on the way.
	case inv.Function == "slow", inv.Function == "long":
		a.Later, a.After, a.Beats = true, 30*time.Second, 20
	case chance < 5:
		a.Later = true
	case chance < 8:
		a.Ticket, a.After = true, time.Duration(inv.N%5)*10*time.Second
	}
	return a
}

// TestPlays runs many seeds with every kind of fault; what the checkers hold against each play is in check_test.go.
func TestPlays(t *testing.T) {
	t.Parallel()
	reg := registry()
	total, reached, seen := make(map[simulate.Fault]int), make(map[string]int), make(map[string]int)
	var steps, repeated, records, invocations, failed, stale, parts, dead, chained, signals, held, told, tidied, cancelled, children, across, tried, silent, redriven, died, goneOn int
	var mu sync.Mutex
	var wait sync.WaitGroup
	const workers = 4
	for worker := range workers {
		wait.Go(func() {
			for seed := *first + uint64(worker); seed < *first+uint64(*seeds); seed += workers {
				p := newPlay(t, reg, seed, allFaults)
				if err := p.w.Run(200_000); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					continue
				}
				r := p.check(t, reg)
				if p.w.Steps() < 50 {
					t.Errorf("seed %d: %d steps only", seed, p.w.Steps())
				}
				mu.Lock()
				for f, n := range p.w.Faults() {
					total[f] += n
				}
				for key := range r.reached {
					reached[key]++
				}
				for what, n := range r.seen {
					seen[what] += n
				}
				steps, records = steps+p.w.Steps(), records+len(p.w.Logs()[0])
				invocations, repeated, failed = invocations+r.invocations, repeated+r.repeated, failed+r.failed
				stale += r.stale
				redriven, died = redriven+r.redriven, died+p.died
				parts, goneOn = parts+r.parts, goneOn+p.w.GoneOn
				held, told = held+r.held, told+r.told
				children, across, tried, silent = children+r.children, across+r.across, tried+r.tried, silent+r.silent
				tidied, cancelled = tidied+r.tidied, cancelled+r.cancelled
				dead, chained, signals = dead+r.dead, chained+r.chained, signals+r.signals
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	t.Logf("%d seeds: %d steps, %d records, %d invocations, %d of them sent more than once, %d failed runs, %d stale records; faults: %v; %v", *seeds, steps, records, invocations, repeated, failed, stale, total, seen)
	if failed == 0 || stale < *seeds/20 || parts < *seeds {
		t.Errorf("%d failed runs, %d stale records and %d parts that were owed prove nothing", failed, stale, parts)
	}
	if tidied < *seeds/4 || cancelled < *seeds/8 {
		t.Errorf("%d frames that tidied up and %d cancelled runs prove nothing", tidied, cancelled)
	}
	if held < *seeds/2 || told < *seeds/2 {
		t.Errorf("%d calls that pauses held and %d that functions were told of prove nothing", held, told)
	}
	if rare := settingsOf(reg).missing(triggerKeys(), reached, *seeds/100); len(rare) > 0 {
		t.Errorf("keys of policies that too few plays come to: %s", strings.Join(rare, ", "))
	}
	for _, what := range []string{"timeout", "deadline", "heartbeat_timeout", "join_deadline", "join_unreachable", "too_many_failed", "loop_limit", "twinned", "cleaning-up", "run-redriven", "recalled"} {
		if seen[what] < *seeds/50 {
			t.Errorf("%s: %d times only; it proves nothing", what, seen[what])
		}
	}
	if across < *seeds/4 || tried < *seeds/4 || silent < *seeds/4 {
		t.Errorf("%d children, %d of them in another partition, %d calls that were not answered and %d that fell silent prove nothing", children, across, tried, silent)
	}
	if goneOn < *seeds/10 {
		t.Errorf("%d calls that a successor has the ticket of prove nothing", goneOn)
	}
	if redriven < *seeds/5 || died < *seeds/100 {
		t.Errorf("%d ends of runs that were redriven and %d senders that died prove nothing", redriven, died)
	}
	if dead < 2**seeds || chained < 2**seeds || signals < *seeds {
		t.Errorf("%d dead letters, %d runs that ends have started and %d signals prove nothing", dead, chained, signals)
	}
	for _, f := range simulate.AllFaults() {
		if total[f] < *seeds/20 {
			t.Errorf("%s: %d times only; it proves nothing", f, total[f])
		}
	}
}

// TestSameSeedSamePlay is what makes a seed worth printing.
func TestSameSeedSamePlay(t *testing.T) {
	t.Parallel()
	reg := registry()
	for seed := range uint64(20) {
		var logs [2][]byte
		for i := range logs {
			p := newPlay(t, reg, seed, allFaults)
			if err := p.w.Run(200_000); err != nil {
				t.Fatal(err)
			}
			for _, r := range p.w.Logs()[0] {
				logs[i] = r.Append(logs[i])
			}
		}
		if !bytes.Equal(logs[0], logs[1]) {
			t.Errorf("seed %d: two plays differ", seed)
		}
	}
}
