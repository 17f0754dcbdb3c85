package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// trigger folds the definition of a trigger as a document has it now.
func (x *tale) trigger(text string) *lang.Definition {
	x.t.Helper()
	set, findings := config.Parse("t.yaml", []byte("version: 1\nfunctions: { f: { exec: cat } }\ntriggers: { t: { "+text+" } }\n"), registry(), nil)
	for _, f := range findings {
		x.t.Fatal(f)
	}
	def := set.Triggers["t"].Definition
	x.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
	return def
}

// send folds event n of a kind by a definition.
func (x *tale) send(def *lang.Definition, n int, kind string) (journal.RunID, engine.Reason) {
	id := journal.RunID{7, byte(n >> 8), byte(n)}
	return id, x.fold(engine.Record(journal.Start, id, &engine.StartFact{
		Trigger: "t", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n), "source": "/t", "type": kind}), Data: lang.Of(map[string]any{"n": n}), Key: "k", Names: []string{kind},
	}))
}

// pay does what is owed, as the owner would, and returns the most that one record has begun.
func (x *tale) pay() (most int) {
	for {
		owed := x.state.Owing(100)
		for _, o := range owed {
			rec := engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part})
			rec.Epoch = x.state.Epoch()
			x.fold(rec)
			most = max(most, len(x.out.Send))
		}
		if len(owed) == 0 {
			return most
		}
	}
}

const (
	pairOf  = `correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } }, late: buffer }`
	anyOf   = `correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } }, join: any }`
	untilIt = `correlate: "${ data.k }", await: { join: { until: "${ lists.range(40).all(i, !arrived[0].data.s.contains('y')) && arrived.exists(x, has(x.data.last)) }" }, late: buffer }`
)

// TestOneRecordOpensSoManyRounds: a thousand events are kept, and the document that they come by has each of them begin a run. The record that ends the round
// begins some, and the others come by records of their own: all of them, once, in order, also where the owner changes in between.
func TestOneRecordOpensSoManyRounds(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	limits := engine.LimitsOf(journal.Level)
	before, after := x.trigger(pairOf+", flow: { function: f }"), x.trigger(anyOf+", flow: { function: f }")
	x.send(before, 0, "a")
	for n := 1; n <= limits.Kept; n++ {
		if _, reason := x.send(after, n, "a"); reason != engine.Held {
			t.Fatalf("event %d: %s", n, reason)
		}
	}
	x.send(before, limits.Kept+1, "b")
	x.fold(engine.Record(journal.Cancel, journal.RunID{7}, &engine.CancelFact{}))
	if begun := x.state.Stats().Invocations - 2; begun > limits.Begins { // The end of the first run is told of yet, and its call.
		t.Errorf("one record has begun %d runs", begun)
	}
	x.reload()
	x.fold(journal.Record{Kind: journal.Claim, Level: journal.Level, Epoch: 1, Payload: (&engine.ClaimFact{Level: journal.Level}).Append(nil)})
	if _, reason := x.send(after, 900, "a"); reason != engine.Duplicate { // It waits for its record.
		t.Errorf("a copy of what was kept is %s", reason)
	}
	if most := x.pay(); most != 1 {
		t.Errorf("a further record begins %d runs", most)
	}
	var calls int
	for _, inv := range x.calls {
		if inv.Purpose == engine.Call {
			calls++
		}
	}
	if st := x.state.Stats(); calls != limits.Kept || st.Waiting != 0 {
		t.Errorf("%d of %d events have begun a run; %+v", calls, limits.Kept, st)
	}
	x.reload()
}

// TestWhatIsKeptCostsNoMore: a join that looks at all that has arrived may cost so much for each event; events that were kept do not cost it together, in one record.
func TestWhatIsKeptCostsNoMore(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	first, def := x.trigger(pairOf+", flow: { function: f }"), x.trigger(untilIt+", flow: { function: f }")
	x.send(first, 0, "a")
	x.send(first, 1, "b")
	for n := range 20 { // While its run is at work. Each costs some four million steps.
		id := journal.RunID{8, byte(n)}
		data := map[string]any{"n": n}
		switch n {
		case 0:
			data["s"] = strings.Repeat("x", 1_000_000)
		case 19:
			data["last"] = true
		}
		f := &engine.StartFact{Trigger: "t", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n)}), Data: lang.Of(data), Key: "k", Names: []string{""}}
		if reason := x.fold(engine.Record(journal.Start, id, f)); reason != engine.Held {
			t.Fatalf("event %d: %s", n, reason)
		}
	}
	x.fold(engine.Record(journal.Cancel, journal.RunID{7}, &engine.CancelFact{}))
	x.pay()
	if st, open := x.state.Status(journal.RunID{8}, 1); !open || st.State != "running" || len(x.ended) != 1 {
		t.Errorf("%t %+v; %d have ended", open, st, len(x.ended))
	}
}

// TestWhatIsKeptStaysInOrder: rounds that end at once leave what they have not taken before what came later.
func TestWhatIsKeptStaysInOrder(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	slow, quick := x.trigger(pairOf+", flow: { function: f }"), x.trigger(pairOf+`, flow: { pass: {}, input: "${ [arrived.a.id, arrived.b.id] }" }`)
	x.send(slow, 0, "a")
	x.send(slow, 1, "b")
	for i, kind := range strings.Split("aaababbb", "") {
		x.send(quick, 10+i, kind)
	}
	x.fold(engine.Record(journal.Cancel, journal.RunID{7}, &engine.CancelFact{}))
	for id, want := range map[byte]string{10: `["10","13"]`, 11: `["11","15"]`, 12: `["12","16"]`, 14: `["14","17"]`} {
		if e := x.ended[journal.RunID{7, 0, id}]; e.Outcome.Value.JSON() != want {
			t.Errorf("run %d: %v; want %s", id, e.Outcome, want)
		}
	}
	if len(x.ended) != 5 {
		t.Errorf("%d runs have ended", len(x.ended))
	}
}

// TestRoundKeysPass: what routers ask one another comes as it was sent, and what is no such question is refused.
func TestRoundKeysPass(t *testing.T) {
	t.Parallel()
	keys := []engine.RoundKey{{Run: journal.RunID{1, 2}, Tenant: "default", Trigger: "t", Key: "ä"}, {Run: journal.RunID{3}, Key: strings.Repeat("k", 1024)}}
	b := engine.AppendRoundKeys(nil, keys)
	if got, err := engine.DecodeRoundKeys(b); err != nil || !slices.Equal(got, keys) {
		t.Errorf("%v %v", got, err)
	}
	for n := range b {
		if got, err := engine.DecodeRoundKeys(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are %v", n, len(b), got)
		}
	}
	if _, err := engine.DecodeRoundKeys(append(b, 0)); err == nil {
		t.Error("more bytes are taken")
	}
}
