package engine_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// remember keeps what a history would.
func (s *stage) remember(c engine.Change) {
	x := engine.Past{Path: c.Path, Call: c.Kind == engine.Answered, Began: c.Time.UnixNano(), Input: c.Input, Outcome: c.Outcome}
	switch c.Kind {
	case engine.Answered:
		if inv := s.calls[fmt.Sprint(c.Run, c.N)]; inv != nil {
			x.Input, x.Began = inv.Input, inv.Created.UnixNano()
		}
	case engine.StepEnded:
		if inv := s.lastCall(c.Run, c.Path); inv != nil {
			x.Began = inv.Created.UnixNano()
		}
	default:
		return
	}
	s.past[c.Run] = append(s.past[c.Run], x)
}

// lastCall is the last call that was sent of a path.
func (s *stage) lastCall(run journal.RunID, path string) (last *engine.Invocation) {
	for _, inv := range s.calls {
		if inv.Run == run && inv.Path == path && (last == nil || last.N < inv.N) {
			last = inv
		}
	}
	return last
}

// redrive lets a run that has ended go on with what it had done; size is how many outcomes a part has.
func (s *stage) redrive(d *datadriven.TestData) {
	run := s.run(d)
	end, start := s.ends[run], s.starts[run]
	start.Parent = ""
	def := s.defs[s.text(d, "trigger", start.Trigger)]
	start.Digest = def.Digest()
	shape, err := engine.ShapeOf(s.reg, def)
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	plan, err := engine.Remember(shape, s.past[run], s.text(d, "from", ""))
	if err != nil {
		s.say("%v", err)
		return
	}
	s.say("kept %s", strings.Join(plan.Kept, " "))
	s.say("again %s", strings.Join(plan.Again, " "))
	facts := engine.RedriveFact{
		Number: uint32(s.number(d, "number", int(end.Redrives)+1)), ID: [16]byte{byte(s.number(d, "id", 1))}, Start: start, Started: end.Started.UnixNano(),
		Next: end.Numbers, Calls: uint32(end.Calls), Told: end.Told, Memo: plan.Memo,
	}.Split(s.number(d, "size", 1<<20))
	first := s.number(d, "part", 1)
	for _, f := range facts[first-1 : s.number(d, "to", len(facts))] {
		rec := engine.Record(journal.Redrive, run, f)
		rec.Tenant = "default"
		s.fold(d, rec)
	}
}

// TestRedriveCoding holds the form of the record: what is written is read, in as many parts as it takes, and what is not of the form is refused.
func TestRedriveCoding(t *testing.T) {
	t.Parallel()
	whole := engine.RedriveFact{
		Number: 3, ID: [16]byte{7}, Start: engine.StartFact{Trigger: "t", Event: lang.Of(1), Data: lang.Of(2), Spent: 3, Key: "k"}, Started: -5, Next: 9,
		Memo: []engine.Recall{
			{Path: "a", Outcome: lang.Of(1)}, {Path: "b", Input: engine.SumOf(lang.Of(1)), Final: true, Outcome: lang.Of(2)}, {Path: "c", Mark: true},
		},
	}
	counted := whole.Split(1 << 20)[0]
	counted.Calls = 300
	if got, err := engine.DecodeRedrive(counted.Append(nil)); err != nil || got.Calls != 300 || len(got.Memo) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := engine.DecodeRedrive(append(whole.Split(1 << 20)[0].Append(nil), 0)); err == nil {
		t.Error("no calls, said twice, are taken")
	}
	told := counted
	told.Calls, told.Told = 0, slices.Concat([]byte{1}, make([]byte, 16), []byte{1, 1, 'n'}, make([]byte, 16), []byte{1, '2'})
	if got, err := engine.DecodeRedrive(told.Append(nil)); err != nil || !bytes.Equal(got.Told, told.Told) || got.Calls != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	told.Told = told.Told[:5]
	if _, err := engine.DecodeRedrive(told.Append(nil)); err == nil {
		t.Error("half of what a run was told is taken")
	}
	var memo []engine.Recall
	parts := whole.Split(20)
	for _, f := range parts {
		p := f.Append(nil)
		got, err := engine.DecodeRedrive(p)
		if err != nil || !bytes.Equal(got.Append(nil), p) || got.Parts != uint32(len(parts)) {
			t.Errorf("part %d is read as %+v, %v", f.Part, got, err)
		}
		for n := range p {
			if _, err := engine.DecodeRedrive(p[:n]); err == nil {
				t.Errorf("the first %d bytes of part %d are taken for one", n, f.Part)
			}
		}
		memo = append(memo, got.Memo...)
	}
	if len(parts) != 3 || !reflect.DeepEqual(memo, whole.Memo) {
		t.Errorf("%d parts have %+v", len(parts), memo)
	}
	for what, spoil := range map[string]func(*engine.RedriveFact){
		"no number":         func(f *engine.RedriveFact) { f.Number = 0 },
		"part 0":            func(f *engine.RedriveFact) { f.Part = 0 },
		"part 2 of 1":       func(f *engine.RedriveFact) { f.Part = 2 },
		"out of order":      func(f *engine.RedriveFact) { f.Memo = []engine.Recall{{Path: "b"}, {Path: "a"}} },
		"twice":             func(f *engine.RedriveFact) { f.Memo = []engine.Recall{{Path: "a"}, {Path: "a"}} },
		"a mark with value": func(f *engine.RedriveFact) { f.Memo = []engine.Recall{{Path: "a", Mark: true, Outcome: lang.Of(1)}} },
	} {
		f := *whole.Split(1 << 20)[0]
		spoil(&f)
		if _, err := engine.DecodeRedrive(f.Append(nil)); err == nil {
			t.Errorf("a redrive with %s is taken", what)
		}
	}
}

// TestRedriveRefused redrives what is not to be: nothing changes.
func TestRedriveRefused(t *testing.T) {
	t.Parallel()
	b := fuzzBase()
	fact := func(change func(*engine.RedriveFact)) *engine.RedriveFact {
		f := &engine.RedriveFact{Number: 1, ID: [16]byte{1}, Part: 1, Parts: 1, Start: engine.StartFact{Trigger: "t", Digest: b.digest}}
		change(f)
		return f
	}
	for _, c := range []struct {
		what string
		run  byte
		f    *engine.RedriveFact
		want engine.Reason
	}{
		{"a run that is open", 1, fact(func(*engine.RedriveFact) {}), engine.Duplicate},
		{"a second part without the first", 200, fact(func(f *engine.RedriveFact) { f.Part, f.Parts = 2, 2 }), engine.Unknown},
		{"a definition that is not there", 200, fact(func(f *engine.RedriveFact) { f.Start.Digest[0]++ }), engine.Unknown},
		{"numbers of another depth", 200, fact(func(f *engine.RedriveFact) { f.Next = 1 << 31 }), engine.Malformed},
		{"numbers at the end of theirs", 200, fact(func(f *engine.RedriveFact) { f.Next = 1<<30 - 1 }), engine.Malformed},
		{"an event that is too large", 200, fact(func(f *engine.RedriveFact) { f.Start.Data = lang.Text(strings.Repeat("x", lang.MaxValueBytes)) }), engine.Limited},
	} {
		s := loaded(t, b.snapshot)
		rec := engine.Record(journal.Redrive, journal.RunID{c.run}, c.f)
		rec.Time = s.Now()
		was := savedBytes(t, s)
		var out engine.Effects
		if reason, err := s.Fold(&rec, &out); reason != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.what, reason, err, c.want)
		}
		if len(out.Send) > 0 || !bytes.Equal(savedBytes(t, s), was) {
			t.Errorf("%s: it did something", c.what)
		}
	}
}

// TestRedriveIsCounted redrives a run again and again, over snapshots: each number counts once, and what it had is held to the run's limit.
func TestRedriveIsCounted(t *testing.T) {
	t.Parallel()
	set, findings := config.Parse("t.yaml", []byte("version: 1\ntriggers: { t: { flow: { wait: 1h } } }\n"), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	s := engine.New(registry(), nil)
	s.Bound(func(level uint8) engine.Limits {
		l := engine.LimitsOf(level)
		l.RunBytes, l.Tombstones = 10_000, 2
		return l
	})
	var out engine.Effects
	var last engine.Ended
	now := time.Unix(1_900_000_000, 0)
	fold := func(rec journal.Record) engine.Reason {
		t.Helper()
		now = now.Add(time.Second)
		rec.Time = now
		reason, err := s.Fold(&rec, &out)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Ended {
			last = e
		}
		sent := slices.Clone(out.Send)
		for _, inv := range sent {
			accepted := engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{Numbers: []uint32{inv.N}})
			accepted.Time = now
			if _, err := s.Fold(&accepted, &out); err != nil {
				t.Fatal(err)
			}
		}
		return reason
	}
	def := set.Triggers["t"].Definition
	fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
	start := engine.StartFact{Trigger: "t", Digest: def.Digest()}
	run := journal.RunID{1}
	fold(engine.Record(journal.Start, run, &start))
	fold(engine.Record(journal.Cancel, run, &engine.CancelFact{}))
	again := func(n uint32, memo ...engine.Recall) journal.Record {
		f := engine.RedriveFact{Number: n, ID: [16]byte{byte(n)}, Part: 1, Parts: 1, Start: start, Next: last.Numbers, Calls: 7 + n, Memo: memo}
		return engine.Record(journal.Redrive, run, &f)
	}
	for n := range uint32(3) {
		before := last.Numbers
		if reason := fold(again(n + 1)); reason != engine.Applied {
			t.Fatalf("redrive %d is %s", n+1, reason)
		}
		fold(engine.Record(journal.Cancel, run, &engine.CancelFact{}))
		if last.Redrives != n+1 || last.EventID != fmt.Sprintf("%s~end+%d", run, n+1) || last.Numbers <= before || last.Calls != int(8+n) {
			t.Errorf("redrive %d ends as %+v", n+1, last)
		}
		saved := savedBytes(t, s)
		if s = loaded(t, saved); !bytes.Equal(savedBytes(t, s), saved) {
			t.Error("what was saved and loaded saves other bytes")
		}
		if reason := fold(again(n + 1)); reason != engine.Duplicate || s.Redriven(run) != n+1 {
			t.Errorf("redrive %d, repeated, is %s; there were %d", n+1, reason, s.Redriven(run))
		}
	}
	s.Bound(func(level uint8) engine.Limits {
		l := engine.LimitsOf(level)
		l.RunBytes, l.Tombstones = 10_000, 2
		return l
	})
	if reason := fold(again(4, engine.Recall{Path: "p", Outcome: lang.Text(strings.Repeat("x", 20_000))})); reason != engine.Applied || last.Outcome.Err.Type != "too_large" || last.Redrives != 4 {
		t.Errorf("with more than a run may keep, it is %s and ends as %v", reason, last.Outcome.Err)
	}
	for i := range byte(3) { // The run is forgotten, all of its ends.
		fold(engine.Record(journal.Start, journal.RunID{i + 2}, &start))
		fold(engine.Record(journal.Cancel, journal.RunID{i + 2}, &engine.CancelFact{}))
	}
	if s.Ended(run) || s.Redriven(run) != 0 || s.Stats().Runs != 0 || s.Stats().Bytes != 0 {
		t.Errorf("it is still known: %+v", s.Stats())
	}
	saved := savedBytes(t, s)
	if !bytes.Equal(savedBytes(t, loaded(t, saved)), saved) {
		t.Error("what was saved and loaded saves other bytes")
	}
}
