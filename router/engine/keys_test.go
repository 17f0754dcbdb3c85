package engine_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Of one key so many wait, and one record begins so many of them; the owner's records begin the others, also when another owner has to ask for them.
func TestKeysAreBoundedWork(t *testing.T) {
	t.Parallel()
	set, findings := config.Parse("t.yaml", []byte(`version: 1
functions: { f: { exec: cat } }
triggers: { t: { concurrency: { key: "${ data }" }, flow: { function: f, when: "${ data == 0 }" } } }
`), registry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	def := set.Triggers["t"].Definition
	limits := func(level uint8) engine.Limits {
		l := engine.LimitsOf(level)
		l.Queue, l.Begins = 7, 2
		return l
	}
	p := newPayer(t, limits)
	p.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
	for i := range 9 { // The first calls, seven wait and end at once when their turn comes, and there is no place for the last.
		p.fold(engine.Record(journal.Start, journal.RunID{byte(i + 1)}, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Of(i), Key: "k"}))
	}
	if len(p.ended) != 1 || p.ended[0].Outcome.Err == nil || p.ended[0].Outcome.Err.Type != "queue_limit" || p.ended[0].Run != (journal.RunID{9}) {
		t.Fatalf("ended: %+v", p.ended)
	}
	p.fold(engine.Record(journal.Completion, journal.RunID{1}, &engine.CompletionFact{N: p.open[0].N, Outcome: lang.Success(lang.Null)}))
	p.open = nil
	if len(p.ended) != 4 {
		t.Fatalf("one record ends %d runs, and two may begin by it", len(p.ended)-1)
	}
	owed := p.state.Owing(10)
	if len(owed) != 1 || owed[0].Run != (journal.RunID{4}) || len(p.state.Owing(10)) != 0 {
		t.Fatalf("owed: %v", owed)
	}
	// Its owner dies before it writes; the next one claims, from a snapshot and from this state alike.
	var saved bytes.Buffer
	if err := p.state.Save(&saved); err != nil {
		t.Fatal(err)
	}
	next := newPayer(t, limits)
	if err := next.state.Load(&saved); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*payer{p, next} {
		claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("n")})
		claim.Epoch = 1
		p.fold(claim)
		for owed := p.state.Owing(10); len(owed) > 0; owed = p.state.Owing(10) {
			for _, o := range owed {
				rec := engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part})
				rec.Epoch = 1
				before := len(p.ended)
				if reason := p.fold(rec); reason != engine.Applied || len(p.ended) > before+2 {
					t.Fatalf("%v, %d ended", reason, len(p.ended)-before)
				}
			}
		}
		if st := p.state.Stats(); len(p.ended) < 5 || st.Runs != 9 { // Their ends are still to be delivered.
			t.Errorf("%d ended; %+v", len(p.ended), st)
		}
		for _, e := range p.ended[len(p.ended)-5:] {
			if e.Outcome.Verdict != lang.Skipped {
				t.Errorf("%s: %+v", e.Run, e.Outcome)
			}
		}
	}
}

// What binaries wrote that knew no keys is read, and what nobody writes is not.
func TestStartWithAndWithoutAKey(t *testing.T) {
	t.Parallel()
	f := engine.StartFact{Trigger: "t", Event: lang.Of(1), Data: lang.Of(2), Spent: 3}
	old := f.Append(nil)
	f.Key = "k"
	for _, want := range []string{"", "k"} {
		b := old
		if want != "" {
			b = f.Append(nil)
		}
		if got, err := engine.DecodeStart(b); err != nil || got.Key != want || got.Spent != 3 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	f.Overlap = engine.OverlapCancel
	whole := f.Append(nil)
	if got, err := engine.DecodeStart(whole); err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("%+v, %v; want %+v", got, err, f)
	}
	f.Overlap = 0
	for _, bad := range [][]byte{append(bytes.Clone(old), 0), append(bytes.Clone(old), 2, 'k'), append(f.Append(nil), 'x'), append(whole[:len(whole)-1:len(whole)-1], 0), append(whole[:len(whole)-1:len(whole)-1], 3), append(whole[:len(whole):len(whole)], 0)} {
		if got, err := engine.DecodeStart(bad); err == nil {
			t.Errorf("%x is read as %+v", bad, got)
		}
	}
}
