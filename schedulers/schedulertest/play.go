package schedulertest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A game is one seed: settings and data, played in one order and, where that must not matter, in others.
type game struct {
	registry *plugin.Registry
	policy   string
	document string
	data     lang.Value
	seed     uint64
	o        *Options
	tally    *Tally
	repeats  int // evaluations of every event beside the first
	width    int
	fuzzed   bool
}

func (g *game) play() error {
	s, err := Load(g.registry, g.policy, g.document)
	if err != nil {
		return fmt.Errorf("schedulertest: seed %d: generated settings: %w\n%s", g.seed, err, g.document)
	}
	first := g.round(s, mixed)
	p, err := first.run()
	if err != nil {
		return err
	}
	g.tally.Plays++
	g.tally.Told += len(p.Told)
	if p.Outcome.Verdict == lang.Succeeded {
		g.tally.Succeeded++
	} else {
		g.tally.Failed++
	}
	again := g.round(s, mixed)
	if _, err := again.run(); err != nil {
		return err
	}
	if a, b := first.story(), again.story(); a != b {
		return again.broken(Same, "the settings were used before, and now the play goes otherwise. It was:\n%s", a)
	}
	if err := g.kept(first, p); err != nil {
		return err
	}
	if err := g.alone(s); err != nil {
		return err
	}
	if _, err := g.round(s, eager).run(); err != nil {
		return err
	}
	if s.cleans() {
		if _, err := g.round(s, cut).run(); err != nil {
			return err
		}
	}
	if err := g.orders(s, p); err != nil {
		return err
	}
	if g.o.Want != nil {
		if want, ok := g.o.Want(p); ok {
			g.tally.Wanted++
			if show(want) != show(p.Outcome) {
				return first.broken(Wanted, "want %s\ngot  %s", show(want), show(p.Outcome))
			}
		}
	}
	return nil
}

func allSucceeded(p *Play) bool { return !p.Has(lang.Failed) && !p.Has(lang.Skipped) }

// orders plays again with the completions in other orders.
func (g *game) orders(s *Subject, p *Play) error {
	commutes := g.o.Commutes
	if commutes == nil {
		commutes = func(p *Play) bool {
			j := joinOf(p.Settings)
			return allSucceeded(p) && (j.Word == "" || !j.Early())
		}
	}
	if p.Failed || len(p.Told) < 2 || !commutes(p) {
		return nil
	}
	var want lang.Outcome
	for i, order := range []order{forward, backward, shuffled} {
		r := g.round(s, order)
		q, err := r.run()
		if err != nil {
			return err
		}
		g.tally.Reordered++
		if i == 0 {
			want = q.Outcome
		} else if show(q.Outcome) != show(want) {
			return r.broken(Commutes, "in index order the outcome is %s\nin this order it is           %s", show(want), show(q.Outcome))
		}
	}
	return nil
}

// An order says what happens next.
type order uint8

const (
	mixed    order = iota + 1 // anything that can
	shuffled                  // completions first, in any order; then signals, then timers as they are due
	forward
	backward
	eager // the child that opened last is done at once: many end as they open
	cut   // anything that can, and at some time the frame is cancelled
)

// A round is one play of a game.
type round struct {
	*game
	b     *Bench
	rng   *rand.Rand
	order order
	mood  int
	known map[Child][]lang.Outcome // of the siblings bound, when the child opened
	lines []string
	told  []Told
	of    map[Child]lang.Outcome
	peak  []int // most children of a slot open at a time
	fault bool  // the policy returned an error
	left  int   // children that had not ended when the frame did
	first int   // bytes of the state at first
	often int   // events that collected a wide frame and did not end it
	join  schedulers.Join
}

func (g *game) round(s *Subject, o order) *round {
	rng := rand.New(rand.NewPCG(g.seed, uint64(o)+10))
	r := &round{
		game: g, b: NewBench(s, drawValue(rand.New(rand.NewPCG(g.seed, 2))), g.data), rng: rng, order: o, mood: int(g.seed>>2) % len(moods),
		known: make(map[Child][]lang.Outcome), of: make(map[Child]lang.Outcome), peak: make([]int, len(s.Children)),
	}
	if r.join = joinOf(s.Settings); g.o.Loose != nil && g.o.Loose(s.Settings) {
		r.join = schedulers.Join{}
	}
	r.b.Width = g.width
	return r
}

// moods are shares of a hundred: succeeded, skipped; the rest fails.
var moods = [...][2]int{{100, 0}, {80, 20}, {85, 10}, {40, 20}, {100, 0}, {0, 100}, {30, 0}}

// outcome is that of a child: the same in all orders.
func (r *round) outcome(c Child) lang.Outcome {
	if x := r.b.bound[c]; x.err != nil {
		return lang.Failure(failure(x.err))
	}
	rng := rand.New(rand.NewPCG(r.seed, uint64(c.Slot)<<32|uint64(c.Index)|1<<63))
	if r.o.Answer != nil {
		if o, ok := r.o.Answer(c, r.b.bound[c].Binding, rng); ok {
			return o
		}
	}
	switch n := rng.IntN(100); {
	case n < moods[r.mood][0]:
		return lang.Success(drawValue(rng))
	case n < moods[r.mood][0]+moods[r.mood][1]:
		return lang.Skip()
	}
	e := lang.Failf(lang.Class(1+rng.IntN(5)), []string{"boom", "cancelled", "a<b>"}[rng.IntN(3)], "child %d of slot %d: it is <broken> & \u2028 \"so\"", c.Index, c.Slot)
	if rng.IntN(2) == 0 {
		e.Data = drawValue(rng)
	}
	return lang.Failure(e)
}

var someValues = []string{`null`, `0`, `1.50`, `1e3`, `"<a> & \"b\" \u003c \\"`, `[]`, `{"z":1,"a":[{"<":">"}]}`, `true`, `""`, `"` + "\u2028" + `"`}

func drawValue(rng *rand.Rand) lang.Value {
	if rng.IntN(3) == 0 {
		return lang.Of(rng.IntN(1000))
	}
	return lang.Trusted(someValues[rng.IntN(len(someValues))])
}

func (r *round) run() (*Play, error) {
	if err := r.tell(schedulers.Event{Kind: schedulers.Started}); err != nil {
		return nil, err
	}
	for n := 0; !r.b.ended; n++ {
		if err := r.step(n); err != nil {
			return nil, err
		}
	}
	if err := r.windows(); err != nil {
		return nil, err
	}
	if err := r.places(); err != nil {
		return nil, err
	}
	if now := r.b.Subject.now(); now != r.b.Subject.canonical {
		return nil, r.broken(Pure, "the settings were\n%s\nand are\n%s", r.b.Subject.canonical, now)
	}
	input, _ := r.b.Scope.Lookup("input")
	return &Play{
		Settings: r.b.Subject.Settings, Input: input.(lang.Value), Data: r.data, Told: r.told, of: r.of, Outcome: r.b.outcome, Failed: r.fault, Left: r.left,
	}, nil
}

// step lets the next thing happen, after n others.
func (r *round) step(n int) error {
	spawned := 0
	for i := range r.b.slots {
		spawned += r.b.slots[i].spawned
	}
	if n > 2_000+4*spawned {
		return r.broken(Ends, "%d events, and no end", n)
	}
	return r.tell(r.next())
}

// next chooses what happens.
func (r *round) next() schedulers.Event {
	b := r.b
	done := func(c Child) schedulers.Event {
		return schedulers.Event{Kind: schedulers.Done, Slot: c.Slot, Index: c.Index, Outcome: r.outcome(c), Input: b.bound[c].Input}
	}
	signal := func(name string) schedulers.Event {
		return schedulers.Event{Kind: schedulers.Signalled, Name: name, Outcome: lang.Success(drawValue(rand.New(rand.NewPCG(r.seed, 3))))}
	}
	if r.order == cut && !b.cancelled && r.rng.IntN(4) == 0 {
		return schedulers.Event{Kind: schedulers.Cancelled}
	}
	if r.order == mixed || r.order == cut {
		switch n := r.rng.IntN(len(b.open) + len(b.timers) + len(b.awaits)); {
		case n < len(b.open):
			return done(b.open[n])
		case n < len(b.open)+len(b.timers):
			return schedulers.Event{Kind: schedulers.Fired, Name: b.timers[n-len(b.open)].Name}
		default:
			return signal(b.awaits[n-len(b.open)-len(b.timers)])
		}
	}
	if len(b.open) > 0 {
		return done(r.pick())
	}
	if len(b.awaits) > 0 {
		return signal(b.awaits[0])
	}
	first := b.timers[0]
	for _, t := range b.timers[1:] {
		if t.Due.Before(first.Due) {
			first = t
		}
	}
	return schedulers.Event{Kind: schedulers.Fired, Name: first.Name}
}

func (r *round) pick() Child {
	open := r.b.open
	if r.order == eager {
		return open[len(open)-1]
	}
	if r.order == shuffled {
		return open[r.rng.IntN(len(open))]
	}
	best := open[0]
	for _, c := range open[1:] {
		before := c.Slot < best.Slot || c.Slot == best.Slot && c.Index < best.Index
		if before == (r.order == forward) {
			best = c
		}
	}
	return best
}

// story is all that happened.
func (r *round) story() string { return strings.Join(r.lines, "\n") }

// broken reports a law with all that is needed to see it again.
func (r *round) broken(l Law, format string, a ...any) error {
	lines := r.lines
	if *seedFlag == 0 && len(lines) > 30 {
		lines = append([]string{fmt.Sprintf("... %d events before", len(lines)-30)}, lines[len(lines)-30:]...)
	}
	again := fmt.Sprintf("seed %d: go test -run <this test> -schedulertest.seed=%d", r.seed, r.seed)
	if r.fuzzed {
		again = fmt.Sprintf("fuzzed, with seed %d", r.seed)
	}
	return fmt.Errorf("law broken by policy %q: %s\n%s\n%s\nsettings: %s\ndata: %s\n%s",
		r.policy, l, fmt.Sprintf(format, a...), again, r.document, r.data, strings.Join(lines, "\n"))
}
