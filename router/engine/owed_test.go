package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A payer folds records, and as an owner does lets the runs pay what they owe. It holds each Fold to what one may do.
type payer struct {
	*life
	changes int // of the present Fold
	most    int // of any Fold
	open    []*engine.Invocation
	peak    int // of open children
	parts   int
	ended   []engine.Ended
}

func newPayer(t *testing.T, limits func(uint8) engine.Limits) *payer {
	p := &payer{life: begun(t, registry())}
	p.state = engine.New(registry(), func(engine.Change) { p.changes++ })
	if limits != nil {
		p.state.Bound(limits)
	}
	return p
}

func (p *payer) fold(rec journal.Record) engine.Reason {
	p.t.Helper()
	p.changes = 0
	reason, err := p.life.fold(rec)
	if err != nil {
		p.t.Fatal(err)
	}
	p.most = max(p.most, p.changes)
	for _, inv := range p.out.Send {
		if inv.Purpose == engine.Call {
			p.open = append(p.open, inv)
		}
	}
	p.peak = max(p.peak, p.state.Stats().Open)
	p.ended = append(p.ended, p.out.Ended...)
	return reason
}

// settle pays and answers until nothing is left; the first invocation is answered first.
func (p *payer) settle() {
	p.t.Helper()
	for {
		owed := p.state.Owing(10)
		for _, o := range owed {
			p.parts++
			p.fold(engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part}))
		}
		if len(owed) > 0 {
			continue
		}
		if len(p.open) == 0 {
			return
		}
		inv := p.open[0]
		p.open = p.open[1:]
		p.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(1))}))
	}
}

// However wide a run is, and however deep its width lies, no record does more than its part, and no more is open than there is room for.
func TestOneRecordIsBoundedWork(t *testing.T) {
	t.Parallel()
	limits := engine.LimitsOf(journal.Level)
	for name, c := range map[string]struct {
		flow string
		want string
	}{
		"calls":            {"{ map: { items: 50000, results: count, do: { function: f } } }", `{"failed":0,"skipped":0,"succeeded":50000}`},
		"waits of no time": {"{ map: { items: 100000, results: count, do: { wait: 0s } } }", `{"failed":0,"skipped":0,"succeeded":100000}`},
		"skipped":          {"{ map: { items: 100000, results: count, do: { function: f, when: \"${ item < 0 }\" } } }", `{"failed":0,"skipped":100000,"succeeded":0}`},
		"rounds":           {"{ loop: { times: 10000, do: { pass: \"${ round }\" } } }", `9999`},
		"nested":           {"{ map: { items: 300, results: count, do: { map: { items: 300, results: count, do: { function: f } } } } }", `{"failed":0,"skipped":0,"succeeded":300}`},
		"nested, nothing":  {"{ map: { items: 300, results: count, do: { map: { items: 300, results: none, do: { sequence: [ { wait: 0s }, { wait: 0s } ] } } } } }", `{"failed":0,"skipped":0,"succeeded":300}`},
		"branches":         {"{ forkjoin: [" + strings.Repeat("{ map: { items: 3000, results: none, do: { function: f } } },", 20) + "] }", "[" + strings.TrimSuffix(strings.Repeat("null,", 20), ",") + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, nil)
			def := defined(t, registry(), c.flow)
			p.fold(defineRecord(def))
			p.fold(startRecord(1, def, lang.Null))
			p.settle()
			if len(p.ended) != 1 || strings.ReplaceAll(p.ended[0].Outcome.Value.JSON(), " ", "") != c.want {
				t.Fatalf("ended: %+v", p.ended)
			}
			// A child that opens and ends at once is two changes, and so is what is around it.
			if p.most > 8*limits.Openings || p.parts < 3 {
				t.Errorf("one record made %d changes; %d parts", p.most, p.parts)
			}
			if p.peak > limits.Open+limits.Share+limits.Openings {
				t.Errorf("%d children were open", p.peak)
			}
			if st := p.state.Stats(); st.Open != 0 {
				t.Errorf("left: %+v", st)
			}
		})
	}
}

// A wide run does not keep a narrow one from its share, and what a run could not open it opens once there is room.
func TestShares(t *testing.T) {
	t.Parallel()
	limits := func(level uint8) engine.Limits {
		l := engine.LimitsOf(level)
		l.Open, l.Share, l.Openings = 16, 4, 8
		return l
	}
	p := newPayer(t, limits)
	wide, narrow := defined(t, registry(), "{ map: { items: 100, do: { function: f } } }"), defined(t, registry(), "{ map: { items: 4, do: { function: f } } }")
	p.fold(defineRecord(wide))
	p.fold(defineRecord(narrow))
	p.fold(startRecord(1, wide, lang.Null))
	for p.state.Stats().Open < 20 {
		o := p.state.Owing(1)
		if len(o) != 1 {
			t.Fatalf("%d are open and nothing is owed", p.state.Stats().Open)
		}
		p.fold(engine.Record(journal.More, o[0].Run, &engine.MoreFact{Part: o[0].Part}))
	}
	if p.fold(startRecord(2, narrow, lang.Null)); len(p.out.Send) != 4 {
		t.Errorf("the narrow run has %d open", len(p.out.Send))
	}
	p.settle()
	if len(p.ended) != 2 || p.peak > 32 {
		t.Errorf("%d ended, %d were open", len(p.ended), p.peak)
	}
}

// A part that was paid is paid once, and what is owed outlives a restart.
func TestPartsArePaidOnce(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	def := defined(t, registry(), "{ map: { items: 5000, do: { function: f } } }")
	p.fold(defineRecord(def))
	p.fold(startRecord(1, def, lang.Null))
	before := len(p.open)
	p.saved(registry())
	next, err := p.under(registry())
	if err != nil {
		t.Fatal(err)
	}
	if reason, err := next.fold(engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})); err != nil || reason != engine.Stale {
		t.Fatal(reason, err)
	}
	claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})
	claim.Epoch = 1
	next.must(claim)
	owed := next.state.Owing(10)
	if len(owed) != 1 || owed[0].Part != 1 || len(next.state.Owing(10)) != 0 {
		t.Fatalf("owed: %+v", owed)
	}
	more := engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: 1})
	if reason, _ := next.fold(more); reason != engine.Stale {
		t.Errorf("of another epoch: %s", reason)
	}
	more.Epoch = 1
	next.must(more)
	if n := len(next.out.Send); before+n > 5000 || n != engine.LimitsOf(journal.Level).Openings {
		t.Errorf("the part has %d", n)
	}
	if reason, _ := next.fold(more); reason != engine.Duplicate || len(next.out.Send) != 0 {
		t.Errorf("again: %s, %d sent", reason, len(next.out.Send))
	}
	next.saved(registry())
}

// What can no longer be taken together fails as it comes, not once all is there; what nobody can ask for is not kept.
func TestWhatARunKeepsIsBounded(t *testing.T) {
	t.Parallel()
	mega := lang.Text(strings.Repeat("m", 1<<20))
	for name, c := range map[string]struct {
		flow     string
		min, max int // results until the end
		fails    string
		bytes    int // kept at most
	}{
		"map":                   {"{ map: { items: 399, do: { function: f } } }", 15, 17, "too_large", 20 << 20},
		"map without results":   {"{ map: { items: 399, results: none, do: { function: f } } }", 399, 399, "", 4 << 20},
		"forkjoin":              {"{ forkjoin: [" + strings.Repeat("{ function: f },", 399) + "] }", 60, 66, "too_large", 70 << 20},
		"dag":                   {"{ dag: [" + numbered(399, "{ name: s%d, function: f }") + "] }", 60, 66, "too_large", 70 << 20},
		"sequence":              {"{ sequence: [" + strings.Repeat("{ function: f },", 199) + "] }", 199, 199, "", 8 << 20},
		"sequence of the named": {"{ sequence: [" + numbered(199, "{ name: s%d, function: f }") + "] }", 60, 66, "too_large", 70 << 20},
		"maps that hold maps":   {"{ forkjoin: [" + strings.Repeat("{ map: { items: 15, do: { function: f } } },", 30) + "] }", 70, 80, "too_large", 80 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			l := begun(t, registry())
			def := defined(t, registry(), c.flow)
			l.must(defineRecord(def))
			l.must(startRecord(1, def, lang.Null))
			open := append([]*engine.Invocation{}, l.out.Send...)
			answered, peak := 0, 0
			for len(l.out.Ended) == 0 {
				inv := open[0]
				open = open[1:]
				l.must(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(mega)}))
				open = append(open, l.out.Send...)
				answered++
				peak = max(peak, l.state.Stats().Bytes)
			}
			got := ""
			if e := l.out.Ended[0].Outcome.Err; e != nil {
				got = e.Type
			}
			if got != c.fails || answered < c.min || answered > c.max || peak > c.bytes {
				t.Errorf("it ended with %q after %d results, and kept %d bytes", got, answered, peak)
			}
			for _, inv := range l.out.Send {
				l.must(engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{Numbers: []uint32{inv.N}}))
			}
			if st := l.state.Stats(); st.Bytes != 0 || st.Open != 0 || st.Runs != 0 {
				t.Errorf("left: %+v", st)
			}
		})
	}
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+",", i)
	}
	return b.String()
}

// The counts of what is open and kept are the same after a load as they were, in the middle of anything.
func TestGaugesAfterALoad(t *testing.T) {
	t.Parallel()
	doc := `{ sequence: [ { function: f, name: a, input: "${ {'x': data} }" }, { forkjoin: [ { map: { items: 9, window: 2, do: { function: f } } }, { signal: s },
	  { sequence: [ { function: f, catch: [ { do: { function: f, input: "${ 'handler' }" } } ] }, { function: f } ] } ], name: j } ] }`
	def := defined(t, registry(), doc)
	l := begun(t, registry())
	l.must(defineRecord(def))
	l.must(startRecord(1, def, lang.Text(strings.Repeat("d", 100))))
	open := append([]*engine.Invocation{}, l.out.Send...)
	for i := 0; len(open) > 0; i++ {
		inv := open[0]
		open = open[1:]
		o := lang.Success(lang.Text(strings.Repeat("r", i)))
		if i%3 == 1 {
			o = lang.Failure(lang.Failf(lang.ClassFunction, "x", "no"))
		}
		l.must(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: o}))
		open = append(open, l.out.Send...)
		if i == 2 {
			l.must(engine.Record(journal.Signal, inv.Run, &engine.SignalFact{Source: "s", ID: "1", Name: "early", Data: lang.Of("kept")}))
		}
		next, err := l.under(registry())
		if err != nil {
			t.Fatal(err)
		}
		if was, is := l.state.Stats(), next.state.Stats(); was != is {
			t.Fatalf("after %d results: %+v, loaded %+v", i, was, is)
		}
		if len(l.out.Ended) > 0 {
			break
		}
	}
}

// Definitions that no run needs go, the one that has been idle for longest first; a start that names one of them waits until it comes again.
func TestDefinitionsAreDropped(t *testing.T) {
	t.Parallel()
	l := begun(t, registry())
	most := engine.LimitsOf(journal.Level).Definitions
	var defs []*lang.Definition
	busy := defined(t, registry(), "{ function: f, timeout: 1h }")
	l.must(defineRecord(busy))
	l.must(startRecord(250, busy, lang.Null))
	for i := range most + 10 {
		def := defined(t, registry(), fmt.Sprintf("{ function: f, timeout: %ds }", i+1))
		defs = append(defs, def)
		l.must(defineRecord(def))
		l.must(startRecord(byte(i+1), def, lang.Null))
		l.answer()
		l.must(engine.Record(journal.Accepted, journal.RunID{byte(i + 1)}, &engine.AcceptedFact{Numbers: []uint32{l.out.Send[0].N}}))
	}
	if n := l.state.Stats().Definitions; n != most+1 {
		t.Errorf("%d definitions are kept, the limit is %d", n, most)
	}
	if _, there := l.state.Definition(busy.Digest()); !there {
		t.Error("a definition went under an open run")
	}
	l.saved(registry())
	if reason, _ := l.fold(startRecord(200, defs[0], lang.Null)); reason != engine.Waiting || len(l.out.Need) != 1 {
		t.Errorf("a start of what went is %s", reason)
	}
	l.must(defineRecord(defs[0]))
	if len(l.out.Send) != 1 {
		t.Error("it did not begin")
	}
}

// Starts that wait for one definition begin in parts, each once, and also after a restart.
func TestWaitingStartsBeginInParts(t *testing.T) {
	t.Parallel()
	def := defined(t, registry(), "{ function: f }")
	p := newPayer(t, nil)
	const starts = 5000
	for i := range starts {
		rec := startRecord(0, def, lang.Null)
		rec.Run = journal.RunID{1, byte(i >> 8), byte(i)}
		if reason := p.fold(rec); reason != engine.Waiting {
			t.Fatal(reason)
		}
		if reason := p.fold(rec); reason != engine.Duplicate {
			t.Fatal(reason)
		}
	}
	p.fold(engine.Record(journal.Cancel, journal.RunID{1, 4, 7}, &engine.CancelFact{}))
	p.fold(defineRecord(def))
	if n := len(p.out.Send); n != engine.LimitsOf(journal.Level).Begins {
		t.Errorf("%d began at once", n)
	}
	p.saved(registry())
	if needed := p.state.Needed(); len(needed) != 0 {
		t.Errorf("still needed: %d", len(needed))
	}
	p.settle()
	if len(p.ended) != starts || p.state.Stats().Waiting != 0 {
		t.Errorf("%d ended, %d wait", len(p.ended), p.state.Stats().Waiting)
	}
}
