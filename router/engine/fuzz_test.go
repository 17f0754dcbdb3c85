package engine_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// fuzzDocument has every policy at work when the base of the fuzz targets is taken.
const fuzzDocument = `version: 1
functions: { f: { http: { url: "http://127.0.0.1:1/f" }, retry: { attempts: 3 } } }
triggers:
  calls: { flow: { sequence: [{ name: a, function: f, deadline: 1h }, { function: f, catch: [{ do: { function: f } }] }] }, onSuccess: { log: done } }
  joins: { flow: { forkjoin: { branches: { a: { function: f }, b: { wait: 1h }, c: { signal: go } } } } }
  wide: { flow: { map: { items: "${ data }", window: 2, do: { function: f } } } }
  graph: { flow: { dag: [{ name: a, function: f }, { name: b, function: f, needs: a }] } }
  chooses: { flow: { choice: [{ if: "${ data == 1 }", function: f }, { if: true, wait: 1h }] } }
`

// A base is a state with a run of each policy under way, and the records that led to it.
type base struct {
	snapshot []byte
	log      []journal.Record
	digest   lang.Digest // of one of the definitions
}

var fuzzBase = sync.OnceValue(func() base {
	reg := registry()
	set, findings := config.Parse("fuzz.yaml", []byte(fuzzDocument), reg, nil)
	if len(findings) > 0 {
		panic(findings[0].String())
	}
	s := engine.New(reg, nil)
	b := base{digest: set.Triggers[set.TriggerNames()[0]].Digest}
	var out engine.Effects
	fold := func(rec journal.Record) {
		rec.Offset, rec.Time = int64(len(b.log)), time.Unix(1_900_000_000+int64(len(b.log)), 0).UTC()
		if reason, err := s.Fold(&rec, &out); err != nil || reason != engine.Applied {
			panic(rec.Kind.String())
		}
		b.log = append(b.log, rec)
	}
	for _, name := range set.TriggerNames() {
		fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers[name].Definition)})
	}
	claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("me")})
	claim.Epoch = 1
	fold(claim)
	for i, name := range set.TriggerNames() {
		f := engine.StartFact{Trigger: name, Digest: set.Triggers[name].Digest, Event: lang.Of(map[string]string{"id": name}), Data: lang.Of([]int{1, 2, 3})}
		rec := engine.Record(journal.Start, journal.RunID{byte(i + 1)}, &f)
		rec.Tenant = "default"
		fold(rec)
	}
	var saved bytes.Buffer
	if err := s.Save(&saved); err != nil {
		panic(err)
	}
	b.snapshot = saved.Bytes()
	return b
})

func loaded(t testing.TB, snapshot []byte) *engine.State {
	t.Helper()
	s := engine.New(registry(), nil)
	if err := s.Load(bytes.NewReader(snapshot)); err != nil {
		t.Fatal(err)
	}
	return s
}

func savedBytes(t testing.TB, s *engine.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzFold folds a record that anybody may have written on a state with a run of each policy: it does not panic, what it leaves can be saved and loaded
// again, a second state decides the same, and the record repeated changes nothing.
func FuzzFold(f *testing.F) {
	for _, rec := range fuzzBase().log {
		f.Add(uint8(rec.Kind), rec.Run[0], rec.Epoch, rec.Payload)
	}
	for _, rec := range []journal.Record{
		engine.Record(journal.Completion, journal.RunID{1}, &engine.CompletionFact{N: 2, Outcome: lang.Success(lang.Of(7)), Cause: "c"}),
		engine.Record(journal.Completion, journal.RunID{5}, &engine.CompletionFact{N: 2, Outcome: lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))}),
		engine.Record(journal.Accepted, journal.RunID{1}, &engine.AcceptedFact{Numbers: []uint32{1, 2, 3}}),
		engine.Record(journal.Accepted, journal.RunID{1}, &engine.AcceptedFact{Numbers: []uint32{1, 2, 3}, Tickets: []string{"", "a", "b"}}),
		engine.Record(journal.TimedOut, journal.RunID{1}, &engine.NumbersFact{Numbers: []uint32{2}}),
		engine.Record(journal.GaveUp, journal.RunID{1}, &engine.GaveUpFact{N: 2, Err: lang.Failf(lang.ClassPlatform, "undelivered", "no")}),
		engine.Record(journal.Signal, journal.RunID{4}, &engine.SignalFact{Source: "/s", ID: "1", Name: "go", Data: lang.Of(1)}),
		engine.Record(journal.Cancel, journal.RunID{4}, &engine.CancelFact{Reason: "no more"}),
		engine.Record(journal.Pause, journal.RunID{4}, &engine.PauseFact{ID: "1", By: "ada", Reason: "wrong input"}),
		engine.Record(journal.Resume, journal.RunID{4}, &engine.PauseFact{ID: "1", By: "ada"}),
		engine.Record(journal.Resize, journal.RunID{4}, &engine.WindowFact{ID: "1", Path: "map", Window: 3}),
		engine.Record(journal.Redrive, journal.RunID{200}, &engine.RedriveFact{
			Number: 1, ID: [16]byte{1}, Part: 1, Parts: 1, Start: engine.StartFact{Trigger: "t", Digest: fuzzBase().digest}, Next: 9,
			Memo: []engine.Recall{{Path: "a", Outcome: lang.Of(1)}, {Path: "b", Input: engine.SumOf(lang.Of(1)), Final: true, Outcome: lang.Of(2)}, {Path: "c", Mark: true}},
		}),
		engine.Record(journal.Redrive, journal.RunID{200}, &engine.RedriveFact{Number: 1, ID: [16]byte{1}, Part: 1, Parts: 2, Start: engine.StartFact{Trigger: "t", Digest: fuzzBase().digest}}),
		engine.Record(journal.Fired, journal.RunID{4}, &engine.FiredFact{Timer: 3}),
		engine.Record(journal.Matched, journal.RunID{4}, &engine.MatchedFact{N: 4, Starts: []byte("x")}),
		engine.Record(journal.Skip, journal.RunID{4}, &engine.SkipFact{Offset: 1, Reason: "died"}),
	} {
		f.Add(uint8(rec.Kind), rec.Run[0], uint64(1), rec.Payload)
	}
	f.Fuzz(func(t *testing.T, kind, run uint8, epoch uint64, payload []byte) {
		rec := journal.Record{Kind: journal.Kind(kind), Level: journal.Level, Epoch: epoch, Tenant: "default", Run: journal.RunID{run}, Payload: payload, Offset: 100, Time: time.Unix(1_900_000_100, 0)}
		one, two := loaded(t, fuzzBase().snapshot), loaded(t, fuzzBase().snapshot)
		var out, same engine.Effects
		reason, err := one.Fold(&rec, &out)
		if reason2, err2 := two.Fold(&rec, &same); reason2 != reason || (err2 == nil) != (err == nil) || len(out.Send) != len(same.Send) {
			t.Fatalf("it is %v (%v), and then %v (%v)", reason, err, reason2, err2)
		}
		if err != nil {
			return // The partition is given up, with the reason.
		}
		saved := savedBytes(t, one)
		if !bytes.Equal(saved, savedBytes(t, two)) {
			t.Fatal("two states that folded the same save other bytes")
		}
		again := loaded(t, saved)
		if !bytes.Equal(saved, savedBytes(t, again)) {
			t.Fatal("what was saved and loaded saves other bytes")
		}
		if reason, err := again.Fold(&rec, &out); err != nil || reason == engine.Applied && rec.Kind != journal.Skip && rec.Kind != journal.Release {
			t.Fatalf("a %s that is repeated is %v, %v", rec.Kind, reason, err)
		}
	})
}

// FuzzLoad loads bytes that are no snapshot, or nearly one: it refuses them, or has a state that can be saved.
func FuzzLoad(f *testing.F) {
	f.Add(fuzzBase().snapshot)
	f.Add(savedBytes(f, engine.New(registry(), nil)))
	f.Add(fuzzBase().snapshot[:len(fuzzBase().snapshot)/2])
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		s := engine.New(registry(), nil)
		if s.Load(bytes.NewReader(snapshot)) != nil {
			return
		}
		saved := savedBytes(t, s)
		if !bytes.Equal(saved, savedBytes(t, loaded(t, saved))) {
			t.Fatal("what was saved and loaded saves other bytes")
		}
	})
}
