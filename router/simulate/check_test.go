package simulate_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/engine/enginetest"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// A report is what a check counted.
type report struct {
	invocations, repeated, failed, stale, parts, dead, chained, signals, held, told int
	tidied, cancelled                                                               int // frames that tidied up, cancelled runs
	tried, silent                                                                   int // records of calls that were not answered, or fell silent
	children, across                                                                int // runs that steps have started, those in another partition
	redriven                                                                        int // ends of runs that went on after their end
	reached                                                                         map[string]int
	began                                                                           []journal.RunID // runs of the clients' trigger
	seen                                                                            map[string]int  // kinds of changes, and types of the errors that steps ended with
}

// A fence is DESIGN 2 once more, by itself: a claim counts when its epoch is the next one, and a negative fact when its epoch is the current one.
type fence struct{ epoch uint64 }

func (f *fence) allows(r *journal.Record) bool {
	switch r.Kind {
	case journal.Claim:
		if r.Epoch != f.epoch+1 {
			return false
		}
		f.epoch = r.Epoch
	case journal.Fired, journal.TimedOut, journal.GaveUp, journal.Skip, journal.Release, journal.More:
		return r.Epoch == f.epoch
	}
	return true
}

type sendKey struct {
	run journal.RunID
	n   uint32
}

// check holds a play against what must be true of it, by the log, by what was sent and by the oracle alone: one outcome a run, each join with the
// right members, no branch lost, nothing sent before its cause was durable, no id with two meanings, replay equal to the live states, nothing left.
func (p *play) check(t *testing.T, reg *plugin.Registry) (r report) {
	t.Helper()
	emitted := make(map[sendKey]*engine.Invocation)
	dropped, told := make(map[sendKey]bool), make(map[string]int)
	offsets := make(map[sendKey]int64)
	outcomes, ended := make(map[journal.RunID]lang.Outcome), make(map[string]lang.Outcome) // The last one of a run that was redriven; each, by the id of its event.
	ends, kin, met := newDeliveries(), newKin(), newAssemblies()
	pauses := make(pauses)
	var replays []*engine.State
	for _, log := range p.w.Logs() {
		replay := engine.New(reg, r.see)
		replay.Bound(p.limits)
		replays = append(replays, replay)
		var out engine.Effects
		var f fence
		steps := enginetest.NewSteps()
		for i := range log {
			reason, err := replay.Fold(&log[i], &out)
			if err != nil {
				t.Fatalf("seed %d: replay: %v", p.seed, err)
			}
			r.count(&log[i], reason)
			if !f.allows(&log[i]) {
				r.stale++
				if reason != engine.Stale || len(out.Send)+len(out.Ended) > 0 {
					t.Errorf("seed %d: record %d, a %s of epoch %d in epoch %d, is %s", p.seed, i, log[i].Kind, log[i].Epoch, f.epoch, reason)
				}
			} else if reason == engine.Stale {
				t.Errorf("seed %d: record %d, a %s of the current epoch %d, is refused", p.seed, i, log[i].Kind, f.epoch)
			}
			over := sendKey{log[i].Run, outcomeOf(&log[i])}
			for _, inv := range out.Stop {
				if k := (sendKey{inv.Run, inv.N}); log[i].Kind != journal.Completion || k != over {
					dropped[k] = true
				}
			}
			if log[i].Kind == journal.GaveUp && reason == engine.Applied {
				dropped[over] = true
			}
			ends.see(&log[i], reason, &out)
			kin.see(&log[i], reason, &out)
			met.see(&log[i], reason, &out)
			steps.See(&out)
			for _, h := range out.Halts {
				pauses.see(h, int64(i))
			}
			for _, inv := range out.Send {
				k := sendKey{inv.Run, inv.N}
				if emitted[k] != nil && inv.Starts == nil {
					t.Errorf("seed %d: number %d of run %s is used twice", p.seed, inv.N, inv.Run)
				}
				emitted[k], offsets[k] = inv, int64(i)
				if inv.Purpose == engine.Cancel && inv.ToTrigger == "" {
					told[inv.Cause]++
				}
			}
			for _, e := range out.Ended {
				if _, twice := ended[e.EventID]; twice {
					t.Errorf("seed %d: run %s ends twice", p.seed, e.Run)
				}
				outcomes[e.Run], ended[e.EventID] = e.Outcome, e.Outcome
				if e.Redrives > 0 {
					r.redriven++
				}
			}
		}
		for _, wrong := range steps.Faults() {
			t.Errorf("seed %d: %s", p.seed, wrong)
		}
	}
	p.resolve(r.began, outcomes)
	ends.check(t, p, &r)
	met.check(t, p)
	p.checkSends(t, emitted, offsets, &r)
	for _, s := range p.w.Sent {
		pauses.check(t, p, s, offsets[sendKey{s.Inv.Run, s.Inv.N}], &r)
	}
	p.checkCancels(t, emitted, dropped, told, &r)
	p.checkStates(t, replays)
	for _, wrong := range kin.faults(len(replays)) {
		t.Errorf("seed %d: %s", p.seed, wrong)
	}
	r.children, r.across = kin.children, kin.across
	for _, e := range p.w.Ended {
		if o := ended[e.EventID]; o.Verdict != e.Outcome.Verdict || o.Value != e.Outcome.Value {
			t.Errorf("seed %d: tenure %d saw run %s end as %v, and the log says %v", p.seed, e.Tenure, e.Run, e.Outcome, o)
		}
	}
	for i, run := range p.runs {
		p.checkRun(t, run, p.story[i], outcomes, &r)
	}
	return r
}

// see counts what was decided.
func (r *report) see(c engine.Change) {
	if r.seen == nil {
		r.seen = make(map[string]int)
	}
	if c.Kind == engine.RunStarted && c.Text == "t" {
		r.began = append(r.began, c.Run)
	}
	if r.seen[c.Kind.String()]++; c.Outcome.Err != nil && (c.Kind == engine.StepEnded || c.Kind == engine.Retrying || c.Kind == engine.Caught) {
		r.seen[c.Outcome.Err.Type]++
	}
}

// count counts what a play is to have, to prove anything.
func (r *report) count(rec *journal.Record, reason engine.Reason) {
	if reason != engine.Applied {
		return
	}
	switch rec.Kind {
	case journal.More:
		r.parts++
	case journal.Tried:
		r.tried++
	case journal.TimedOut:
		if f, _ := engine.DecodeTimedOut(rec.Payload); f.Silent {
			r.silent++
		}
	}
}

// outcomeOf is the number of the invocation that a record tells the end of; 0 is none.
func outcomeOf(rec *journal.Record) uint32 {
	switch rec.Kind {
	case journal.Completion:
		f, _ := engine.DecodeCompletion(rec.Payload)
		return f.N
	case journal.GaveUp:
		f, _ := engine.DecodeGaveUp(rec.Payload)
		return f.N
	}
	return 0
}

// checkCancels: a function that wants to hear of it is told of each of its calls that was dropped without an outcome of its own, once, and of no other.
func (p *play) checkCancels(t *testing.T, emitted map[sendKey]*engine.Invocation, dropped map[sendKey]bool, told map[string]int, r *report) {
	t.Helper()
	for k, inv := range emitted {
		if inv.Purpose != engine.Call || inv.ToTrigger != "" {
			continue
		}
		want := 0
		if p.defs[inv.Trigger].Functions[inv.Function].Cancel && dropped[k] {
			want = 1
		}
		if told[inv.ID()] != want {
			t.Errorf("seed %d: %s is told of the end of %s %d times; want %d", p.seed, inv.Function, inv.ID(), told[inv.ID()], want)
		}
		r.told += want
	}
}

// pauses are when runs were paused, by the log alone: from which record to which.
type pauses map[journal.RunID][][2]int64

func (ps pauses) see(h engine.Halt, at int64) {
	if h.Paused {
		ps[h.Run] = append(ps[h.Run], [2]int64{at, 1 << 62})
	} else {
		ps[h.Run][len(ps[h.Run])-1][1] = at
	}
}

// check: what a paused run calls is sent by nobody who cannot know that it goes on.
func (ps pauses) check(t *testing.T, p *play, s simulate.Send, said int64, r *report) {
	t.Helper()
	for _, at := range ps[s.Inv.Run] {
		if s.Inv.Purpose != engine.Call || said <= at[0] || said >= at[1] {
			continue
		}
		if r.held++; s.Durable <= at[1] {
			t.Errorf("seed %d: tenure %d sent %s, which record %d says, though the run was paused from record %d to %d", p.seed, s.Tenure, s.Inv.ID(), said, at[0], at[1])
		}
	}
}

// checkSends: what an owner sent is what the log says, and was durable before.
func (p *play) checkSends(t *testing.T, emitted map[sendKey]*engine.Invocation, offsets map[sendKey]int64, r *report) {
	t.Helper()
	times := make(map[sendKey]int)
	for _, s := range p.w.Sent {
		k := sendKey{s.Inv.Run, s.Inv.N}
		times[k]++
		said := emitted[k]
		switch {
		case said == nil:
			t.Errorf("seed %d: tenure %d sent %s, which does not follow from the log", p.seed, s.Tenure, s.Inv.ID())
		case offsets[k] >= s.Durable:
			t.Errorf("seed %d: tenure %d sent %s before record %d was durable", p.seed, s.Tenure, s.Inv.ID(), offsets[k])
		case said.ID() != s.Inv.ID() || said.Function != s.Inv.Function || said.Input != s.Inv.Input || said.Attempt != s.Inv.Attempt || !said.Expires.Equal(s.Inv.Expires) || said.Cause != s.Inv.Cause:
			t.Errorf("seed %d: tenure %d sent %s with another meaning than the log's", p.seed, s.Tenure, s.Inv.ID())
		}
	}
	r.invocations = len(times)
	for _, n := range times {
		if n > 1 {
			r.repeated++
		}
	}
}

// checkStates: whoever has folded a whole log saves the bytes of a replay, and nothing is left behind.
func (p *play) checkStates(t *testing.T, replays []*engine.State) {
	t.Helper()
	owners := make([]int, len(replays))
	p.w.States(func(partition, tenure int, s *engine.State) {
		owners[partition]++
		if !bytes.Equal(saved(t, s), saved(t, replays[partition])) {
			t.Errorf("seed %d: the state of tenure %d differs from a replay", p.seed, tenure)
		}
	})
	for n, replay := range replays {
		if owners[n] == 0 {
			t.Errorf("seed %d: nobody owns partition %d at the end", p.seed, n)
		}
		if st := replay.Stats(); st.Runs+st.Invocations+st.Timers+st.Waiting > 0 {
			t.Errorf("seed %d: partition %d is left with %+v\n%s", p.seed, n, st, p.doc)
		}
	}
}

func saved(t *testing.T, s *engine.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkRun: it has ended as the oracle says, and all its branches were called.
func (p *play) checkRun(t *testing.T, run journal.RunID, s *story, outcomes map[journal.RunID]lang.Outcome, r *report) {
	t.Helper()
	o, ended := outcomes[run]
	if !ended {
		t.Errorf("seed %d: run %s hangs", p.seed, run)
		return
	}
	for path := range p.called[run] {
		at := strings.LastIndex(path, "/opens")
		if at < 0 {
			continue
		}
		frame, number := path[:strings.LastIndexByte(path[:at], '/')+1], path[at+len("/opens"):]
		if r.tidied++; !p.called[run][frame+"closes"+number] {
			t.Errorf("seed %d: run %s: %s was called, and nothing tidied up\n%s", p.seed, run, path, p.doc)
		}
	}
	if s.cancel && o.Verdict == lang.Failed && o.Err.Class == lang.ClassCancelled {
		r.cancelled++
		return
	}
	if p.gathering != nil {
		p.gathering.reach(s)
		if r.reached = s.reached; p.gathering.unmet != "" {
			if r.failed++; o.Err == nil || o.Err.Type != p.gathering.unmet || len(p.called[run]) > 0 {
				t.Errorf("seed %d: run %s: %v, and %d functions were called; want %s", p.seed, run, o, len(p.called[run]), p.gathering.unmet)
			}
			return
		}
	}
	want, ok := p.flow.eval(s.data, s)
	r.reached = s.reached // Of all runs of the play.
	if !ok {
		r.failed++
		if o.Verdict != lang.Failed {
			t.Errorf("seed %d: run %s %v, and was to fail", p.seed, run, o)
		}
		return
	}
	var got any
	if err := o.Value.Decode(&got); err != nil || o.Verdict != lang.Succeeded || !same(got, want) {
		t.Errorf("seed %d: run %s: %s %s %v; want %v\n%s", p.seed, run, o.Verdict, o.Value, o.Err, want, p.doc)
	}
	if s.exact && len(p.called[run]) != s.calls {
		t.Errorf("seed %d: run %s: %d functions were called, want %d\n%s", p.seed, run, len(p.called[run]), s.calls, p.doc)
	}
}
