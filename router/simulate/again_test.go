package simulate_test

import (
	"encoding/binary"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// mended is a step that fails until its run is redriven, with others beside it, before it and in it.
func (g *garden) mended(depth int) node {
	one, two, n := g.flow(depth), g.flow(depth), 1+g.rng.IntN(4)
	mend := map[string]any{"function": "mend"}
	first := node{doc: map[string]any{"sequence": []any{one.doc, mend}}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return one.eval(in, s)
	}}
	switch g.rng.IntN(5) {
	case 0:
		return node{doc: map[string]any{"forkjoin": []any{first.doc, two.doc}}, eval: func(in any, s *story) (any, bool) {
			a, _ := first.eval(in, s)
			b, _ := two.eval(in, s)
			s.exact = false // What ran beside it was cancelled.
			return []any{a, b}, true
		}}
	case 1:
		return node{doc: map[string]any{"map": map[string]any{"items": n, "do": first.doc, "join": map[string]any{"percent": 100}, "window": 1 + g.rng.IntN(3)}}, eval: func(_ any, s *story) (any, bool) {
			values := make([]any, n)
			for i := range values {
				v, _ := first.eval(float64(i), s)
				values[i] = map[string]any{"outcome": "succeeded", "value": v}
			}
			return values, true
		}}
	case 2:
		a, b, c := g.name("step"), g.name("step"), g.name("step")
		steps := []any{g.with(two, map[string]any{"name": a}), g.with(first, map[string]any{"name": b, "needs": a}), map[string]any{"name": c, "function": "f0", "needs": []any{a, b}, "rule": "all_success"}}
		return node{doc: map[string]any{"dag": steps}, eval: func(in any, s *story) (any, bool) {
			s.calls++
			before, _ := two.eval(in, s)
			behind, _ := first.eval(map[string]any{a: before}, s)
			return map[string]any{c: []any{0.0, map[string]any{a: before, b: behind}}}, true
		}}
	case 3:
		return node{doc: map[string]any{"saga": []any{map[string]any{"function": "f1", "undo": map[string]any{"function": "f2"}}, first.doc}}, eval: func(in any, s *story) (any, bool) {
			s.exact = false // It was undone, and is done again.
			return first.eval([]any{1.0, in}, s)
		}}
	}
	return node{doc: map[string]any{"loop": map[string]any{"times": n, "do": first.doc}}, eval: func(in any, s *story) (any, bool) {
		for range n {
			in, _ = first.eval(in, s)
			s.calls--
		}
		s.exact = false
		return in, true
	}}
}

// observe has somebody look at a run that failed, soon or late: what its clients had sent it before may come again once it goes on.
func (p *play) observe(at time.Duration, c engine.Change) {
	if p.mends && c.Kind == engine.RunEnded && c.Outcome.Verdict == lang.Failed && c.Outcome.Err.Class != lang.ClassCancelled {
		p.w.After(time.Second+time.Duration(p.rng.Int64N(int64(max(6*time.Minute-at, time.Minute)))), func() { p.redrive(c.Run, 20) })
	}
}

// redrive lets a run go on that has failed, in parts. Who sends them may die in between, and then somebody looks again.
func (p *play) redrive(run journal.RunID, looks int) {
	if looks == 0 || !p.isTop(run) {
		return
	}
	logs := p.w.Logs()
	s := newChronicle(p.limits)
	s.read(p.t, logs[int(uint64(run.Route())*uint64(len(logs))>>32)])
	st, open := s.state.Status(run, 1)
	end, ended := s.ends[run]
	if open && st.State != "redriving" || !ended || end.Outcome.Verdict != lang.Failed || end.Cancelled || end.Redrives >= 6 {
		if ended && end.Outcome.Verdict == lang.Failed && !end.Cancelled && end.Redrives < 6 {
			p.w.After(40*time.Second, func() { p.redrive(run, looks-1) }) // Its end is still being told, or it is at work.
		}
		return
	}
	shape, err := engine.ShapeOf(p.reg, p.def)
	if err != nil {
		p.t.Fatal(err)
	}
	plan, err := engine.Remember(shape, s.past[run], "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.asked++
	start := s.starts[run]
	if p.gathering != nil && p.gathering.meets() {
		start.Event, start.Data, start.Arrived, start.Names = end.Event, end.Input, end.Arrived, nil
		if p.gathering.unmet != "" {
			return // Its flow never began.
		}
	}
	f := engine.RedriveFact{Number: end.Redrives + 1, Start: start, Started: end.Started.UnixNano(), Next: end.Numbers, Told: end.Told, Memo: plan.Memo}
	binary.BigEndian.PutUint64(f.ID[:], p.asked)
	var at time.Duration
	for k, part := range f.Split(1 + p.rng.IntN(400)) {
		if k > 0 && p.rng.IntN(8) == 0 {
			p.died++
			break
		}
		rec := engine.Record(journal.Redrive, run, part)
		rec.Tenant = "default"
		p.w.After(at, func() { p.w.Append(rec) })
		at += time.Duration(p.rng.Int64N(int64(2 * time.Second)))
	}
	p.w.After(40*time.Second, func() { p.redrive(run, looks-1) })
}
