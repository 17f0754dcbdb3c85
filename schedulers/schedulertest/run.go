package schedulertest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

var (
	seedFlag  = flag.Uint64("schedulertest.seed", 0, "play this seed only, and tell the whole story of a law that it breaks")
	playsFlag = flag.Int("schedulertest.plays", 0, "plays a policy; 0 is what its test says")
)

// Options say what to play with. The zero Options are complete for a policy that needs no document; all fields are optional.
type Options struct {
	// Documents are settings as a person writes them, YAML or JSON: the part under the policy's name. All are played.
	Documents []string
	// Generate makes one more such document from r, for half of the plays. It must make documents that decode without a finding.
	Generate func(r *rand.Rand) string
	// Data are JSON texts: what expressions see as data. Default: a few values of every type.
	Data []string
	// Plays is the number of plays from seeds 1, 2, ...; default 400.
	Plays int

	// Window is what the policy must set for a slot, 0 for no window. Default: the int field of the settings whose key is window, for all slots.
	Window func(settings any, slot int) int
	// Loose says of settings that more than their join decides when children are enough, so that the law Joined does not hold them to its word alone.
	Loose func(settings any) bool
	// Commutes says of a play whether the order of completions must not matter. Default: when all children succeeded, unless the join waits for fewer.
	Commutes func(p *Play) bool
	// Partial says of a play that it may succeed though a child failed, or had not ended. Default: failures where the settings have a join that is settled,
	// and either where they have one that waits for fewer than all.
	Partial func(p *Play) bool
	// Answer is how a child ends, by what it was given; false leaves it to chance.
	Answer func(c Child, given schedulers.Binding, r *rand.Rand) (lang.Outcome, bool)
	// Want is what the outcome of a play must be; false when it cannot say. It stands apart from the policy's own code, to be worth anything.
	Want func(p *Play) (lang.Outcome, bool)
}

// Never is for Options.Commutes: the order of completions always matters.
func Never(*Play) bool { return false }

// A Play is one that has ended.
type Play struct {
	Settings    any
	Input, Data lang.Value
	Told        []Told       // the children that were done before the frame ended, in order
	Outcome     lang.Outcome // of the frame
	// Left is how many children had been spawned and had not ended.
	Left int
	// Failed says that the policy itself failed: Next or Bind returned an error.
	Failed bool

	of map[Child]lang.Outcome
}

// Told is a child with its outcome.
type Told struct {
	Child
	lang.Outcome
}

// Of returns the outcome of a child; the zero Outcome when it was not done.
func (p *Play) Of(slot, index int) lang.Outcome { return p.of[Child{slot, index}] }

// Has reports whether a child ended with that verdict.
func (p *Play) Has(v lang.Verdict) bool {
	for i := range p.Told {
		if p.Told[i].Verdict == v {
			return true
		}
	}
	return false
}

// A Tally counts what was played: a law that met nothing to judge proves nothing.
type Tally struct {
	Plays, Events, Told, Succeeded, Failed int
	Cancelled                              int // times that the frame was told of a cancel
	Reordered                              int // plays repeated in another order
	Wanted                                 int // outcomes that Options.Want judged
}

// String returns the tally in one line.
func (t Tally) String() string {
	return fmt.Sprintf("%d plays with %d events: %d succeeded, %d failed, %d children done; %d cancels, %d other orders, %d outcomes as wanted",
		t.Plays, t.Events, t.Succeeded, t.Failed, t.Told, t.Cancelled, t.Reordered, t.Wanted)
}

// Run plays the policy of that name and fails t for the first law that is broken. With the flag -schedulertest.seed it plays that one and skips the
// rest of the test.
func Run(t *testing.T, r *plugin.Registry, policy string, o Options) Tally {
	t.Helper()
	if err := sourceOf(r, policy); err != nil {
		t.Fatal(err)
	}
	tally, err := check(r, policy, o)
	if err != nil {
		t.Fatal(err)
	}
	if *seedFlag != 0 {
		t.Skipf("seed %d keeps all laws: %s", *seedFlag, tally)
	}
	t.Log(tally)
	return tally
}

// check plays all seeds, or that of the flag.
func check(r *plugin.Registry, policy string, o Options) (Tally, error) {
	var tally Tally
	for _, doc := range o.Documents {
		if _, err := Load(r, policy, doc); err != nil {
			return tally, fmt.Errorf("schedulertest: settings of %q: %w\n%s", policy, err, doc)
		}
	}
	if len(o.Documents) == 0 && o.Generate == nil {
		o.Documents = []string{"{}"}
	}
	if *seedFlag != 0 {
		err := o.seed(r, policy, *seedFlag, &tally)
		return tally, err
	}
	plays := o.Plays
	if plays == 0 {
		plays = 400
	}
	if *playsFlag > 0 {
		plays = *playsFlag
	}
	for seed := range uint64(plays) {
		if err := o.seed(r, policy, seed+1, &tally); err != nil {
			return tally, err
		}
	}
	return tally, nil
}

// seed draws settings and data, and plays them.
func (o *Options) seed(r *plugin.Registry, policy string, seed uint64, tally *Tally) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	var doc string
	if n := len(o.Documents); o.Generate != nil && (n == 0 || rng.IntN(2) == 0) {
		doc = o.Generate(rng)
	} else {
		doc = o.Documents[int((seed-1)%uint64(n))]
	}
	g := game{registry: r, policy: policy, document: doc, data: o.draw(rng), seed: seed, o: o, tally: tally, repeats: 2, width: 2000}
	if seed <= 2 {
		g.repeats = 100
	}
	return g.play()
}

var someData = []string{
	`null`, `3`, `[1,"<a&b>",{"x":1.5},null]`, `{"items":["a","b","c"],"n":2,"yes":true,"text":"it is > 1"}`, `"x"`, `[]`, `{}`,
}

func (o *Options) draw(rng *rand.Rand) lang.Value {
	texts := o.Data
	if len(texts) == 0 {
		texts = someData
	}
	v, err := lang.ParseValue([]byte(texts[rng.IntN(len(texts))]))
	if err != nil {
		panic(fmt.Sprintf("schedulertest: data: %v", err))
	}
	return v
}

// Fuzz is Run for go test -fuzz: it searches settings, data and seeds for a broken law, from the documents on. What is no document, or has
// findings, is passed over. Documents are long: -fuzzminimizetime=10x keeps the search from standing still.
func Fuzz(f *testing.F, r *plugin.Registry, policy string, o Options) {
	texts := o.Data
	if len(texts) == 0 {
		texts = someData
	}
	for i, doc := range o.Documents {
		f.Add(doc, texts[i%len(texts)], uint64(i+1))
	}
	if o.Generate != nil {
		for seed := range uint64(4) {
			f.Add(o.Generate(rand.New(rand.NewPCG(seed, 2))), texts[int(seed)%len(texts)], seed+1)
		}
	}
	f.Fuzz(func(t *testing.T, document, data string, seed uint64) {
		v, err := lang.ParseValue([]byte(data))
		if err != nil {
			return
		}
		if _, err := Load(r, policy, document); errors.Is(err, errPinned) {
			t.Fatal(err)
		} else if err != nil {
			return
		}
		var tally Tally
		g := game{registry: r, policy: policy, document: document, data: v, seed: seed, o: &o, tally: &tally, repeats: 2, width: 500, fuzzed: true}
		if err := g.play(); err != nil {
			t.Fatal(err)
		}
	})
}
