package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

const sagaFlow = `{ saga: [
      { name: s0, function: f, undo: { function: f } },
      { name: s1, function: f, undo: { function: f, retry: { attempts: 3, backoff: 1s } } },
      { name: s2, function: f },
      { name: s3, function: f, undo: { sequence: [{ name: u3, function: f }, { finally: { do: { function: f }, always: { function: f } } }] } },
      { name: s4, saga: [{ name: s40, function: f, undo: { function: f } }, { name: s41, function: f, undo: { function: f } }, { name: s42, function: f }], undo: { function: f } },
      { name: s5, function: f, undo: { function: f } },
    ] }`

// A trip is one saga that is killed before every record: its owner goes on from a snapshot, and all that was under way is done once more.
type trip struct {
	*life
	reg    *plugin.Registry
	log    []journal.Record
	fail   string // the step that fails
	jam    string // the undo that fails for good
	did    []string
	undone []string
	done   map[string]bool // by idempotency key: a second call changes nothing
	ended  []engine.Ended
}

func (p *trip) crash() {
	var b bytes.Buffer
	if err := p.state.Save(&b); err != nil {
		p.t.Fatal(err)
	}
	was := bytes.Clone(b.Bytes())
	p.state = engine.New(p.reg, nil)
	if err := p.state.Load(&b); err != nil {
		p.t.Fatal(err)
	}
	b.Reset()
	if err := p.state.Save(&b); err != nil || !bytes.Equal(b.Bytes(), was) {
		p.t.Fatalf("a loaded state saves other bytes (%v)", err)
	}
}

func (p *trip) append(rec journal.Record) engine.Reason {
	p.crash()
	return p.fold(rec)
}

func (p *trip) fold(rec journal.Record) engine.Reason {
	p.at = p.at.Add(1)
	rec.Time = p.at
	p.log = append(p.log, rec)
	reason, err := p.state.Fold(&rec, &p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	p.ended = append(p.ended, p.out.Ended...)
	return reason
}

// next does all that is under way, again where it was done before, and folds the answer to the first of it, twice; else it lets a timer fire.
func (p *trip) next() bool {
	var first *engine.Invocation
	p.state.Outstanding(func(inv *engine.Invocation) {
		if inv.Purpose == engine.Call && first == nil {
			first = inv
		}
	})
	if first == nil {
		at, set := p.state.NextDue()
		if !set {
			return false
		}
		p.at = at
		for _, due := range p.state.Due(at, 10) {
			p.append(engine.Record(journal.Fired, due.Run, &engine.FiredFact{Timer: due.Timer}))
		}
		return true
	}
	rec := engine.Record(journal.Completion, first.Run, &engine.CompletionFact{N: first.N, Outcome: p.call(first)})
	if reason := p.append(rec); reason != engine.Applied {
		p.t.Fatalf("%s: %s", first.Path, reason)
	}
	if reason := p.fold(rec); reason == engine.Applied {
		p.t.Fatalf("%s is applied twice", first.Path)
	}
	return true
}

// call is what the function does in the world. What fails does nothing.
func (p *trip) call(inv *engine.Invocation) lang.Outcome {
	path, undoes := inv.Path, strings.Contains(inv.Path, "undo-")
	switch {
	case undoes && strings.HasPrefix(path, p.jam) && p.jam != "", path == "undo-s1" && inv.Attempt == 1, path == p.fail:
		return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "%s broke", path))
	case p.done[inv.IdempotencyKey()]:
	case undoes:
		p.undone = append(p.undone, path)
	default:
		p.did = append(p.did, path)
	}
	p.done[inv.IdempotencyKey()] = true
	return lang.Success(lang.Text("did " + path))
}

// undos are the calls that undo what was done, as DESIGN has it: exactly what has succeeded, the last first. The inner saga is one step once it has ended.
func undos(did []string, jam string) (all []string) {
	of := map[string][]string{
		"s0": {"undo-s0"}, "s1": {"undo-s1"}, "s3": {"undo-s3/u3", "undo-s3/finally/f", "undo-s3/finally/always"}, "s5": {"undo-s5"},
		"s4/s40": {"s4/undo-s40"}, "s4/s41": {"s4/undo-s41"}, "s4/s42": {"undo-s4"},
	}
	whole := slices.Contains(did, "s4/s42")
	for _, step := range slices.Backward(did) {
		if whole && (step == "s4/s40" || step == "s4/s41") {
			continue
		}
		for _, call := range of[step] {
			if jam == "" || !strings.HasPrefix(call, jam) {
				all = append(all, call)
			}
		}
	}
	return all
}

// TestSagaKilledAtEveryRecord: whichever step fails, whichever undo fails, whenever it is cancelled, and though its owner dies before every record and all that
// was under way is done again, exactly what had succeeded is undone, once, in reverse order.
func TestSagaKilledAtEveryRecord(t *testing.T) {
	t.Parallel()
	reg := registry()
	def := defined(t, reg, sagaFlow)
	plays, cancelled, jammed := 0, 0, 0
	for _, fail := range []string{"", "s0", "s1", "s2", "s3", "s4/s40", "s4/s41", "s4/s42", "s5"} {
		for _, jam := range []string{"", "undo-s0", "undo-s1", "undo-s4", "undo-s5", "s4/undo-s41"} {
			step := 1
			if jam != "" {
				step = 7
			}
			for cancel := -1; cancel < 24; cancel += step {
				p := &trip{life: begun(t, reg), reg: reg, fail: fail, jam: jam, done: make(map[string]bool)}
				p.append(defineRecord(def))
				p.append(startRecord(1, def, lang.Text("go")))
				was := false
				for i := 0; i == cancel || p.next(); i++ {
					if i == cancel && p.append(engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{})) == engine.Applied {
						was = true
					}
				}
				plays++
				if was {
					cancelled++
				}
				if p.judge(was) {
					jammed++
				}
			}
		}
	}
	if cancelled < plays/4 || jammed < 40 {
		t.Errorf("%d plays, %d cancelled, %d with an undo that failed", plays, cancelled, jammed)
	}
}

func (p *trip) judge(cancelled bool) (jammed bool) {
	p.t.Helper()
	story := fmt.Sprintf("%q fails, %q jams, cancelled %t: did %v, undone %v", p.fail, p.jam, cancelled, p.did, p.undone)
	if len(p.ended) != 1 {
		p.t.Fatalf("%s: ended %d times", story, len(p.ended))
	}
	o := p.ended[0].Outcome
	if o.Verdict == lang.Succeeded {
		if len(p.undone) > 0 || len(p.did) != 8 {
			p.t.Errorf("%s: it succeeded", story)
		}
		return false
	}
	if want := undos(p.did, p.jam); !slices.Equal(p.undone, want) {
		p.t.Errorf("%s: want %v", story, want)
	}
	jammed = p.jam != "" && len(undos(p.did, "")) > len(p.undone)
	switch kind := o.Err.Type; {
	case cancelled && kind != "cancelled", !cancelled && !jammed && kind != "boom":
		p.t.Errorf("%s: it ended by %s", story, o.Err)
	case !cancelled && jammed && (kind != "compensation_failed" || !strings.Contains(o.Err.Data.JSON(), p.fail+" broke")):
		p.t.Errorf("%s: it ended by %s, %s", story, o.Err, o.Err.Data)
	}
	replay := engine.New(p.reg, nil)
	var out engine.Effects
	for i := range p.log {
		if _, err := replay.Fold(&p.log[i], &out); err != nil {
			p.t.Fatal(err)
		}
	}
	var a, b bytes.Buffer
	if replay.Save(&a) != nil || p.state.Save(&b) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		p.t.Errorf("%s: a replay differs", story)
	}
	return jammed
}
