package dag

import (
	"container/heap"
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// maxElements bounds the elements of a step that need elements: unlike those of a step that only follows others, each has a place in the state.
const maxElements = 100_000

// Wide is how far a step with over is.
//
// Children open in the order of their indexes, and elements that need elements become runnable in any order: child k of such a step is the element that
// was the k-th to become so. Its cells say which: the first N which child each element is (1 and up; 0 while it waits, -1 when it is skipped, -2-k when it
// cannot run because of cause k), the next N which element each child is.
type Wide struct {
	N       int32 // elements; 0 until it opens
	Ready   int32 // children that may run
	Sent    int32 // of them that were spawned
	Ended   int32 // elements
	Blocked int32 // elements that cannot run because of a failure
	Base    int32 // where its cells begin
	Queued  bool  // it is among the runnable
	Window  int32 `json:",omitempty"` // of an expression
}

// A Cause is what failed and kept elements from running: child Index of a step, or the step as a whole (-1).
type Cause struct{ Slot, Index int32 }

const cellSkipped, cellBlocked = -1, -2

// wide is the state of a step with over; nil of any other.
func (t *turn) wide(slot int) *Wide { return t.wideOf(t.s, slot) }

func (p *DAG) wideOf(s *State, slot int) *Wide {
	if at := p.graph.wide[slot]; at > 0 && len(s.Wide) > 0 {
		return &s.Wide[at-1]
	}
	return nil
}

// elementOf is the element that a child of a step is.
func (p *DAG) elementOf(s *State, slot, child int) int {
	if x := p.wideOf(s, slot); x != nil && len(p.graph.pairs[slot]) > 0 && child < int(x.Ready) {
		return int(s.Cells[int(x.Base+x.N)+child])
	}
	return child
}

// expand opens the elements of a step.
func (t *turn) expand(slot int) {
	n, err := t.width(slot)
	switch {
	case err != nil:
		t.fault(slot, err)
		t.end(slot, failed)
		return
	case n == 0:
		t.end(slot, skipped)
		return
	}
	x := t.wide(slot)
	x.N = int32(n)
	if _, known := t.Steps[slot].window(); !known {
		window, err := schedulers.Window(t.Steps[slot].Window, func(e lang.Expr) (lang.Value, error) { return t.f.EvalBeside(e, t.siblings(t.s, slot), nil) })
		if err != nil {
			x.N = 0 // It has not opened.
			t.fault(slot, asError(err, fmt.Sprintf("step %q: ", t.Steps[slot].Name)))
			t.end(slot, failed)
			return
		}
		x.Window = int32(window)
	}
	if len(t.graph.pairs[slot]) == 0 {
		t.admit(slot, n)
	} else {
		x.Base = int32(len(t.s.Cells))
		t.s.Cells = append(t.s.Cells, make([]int32, 2*n)...)
		for i := range n {
			t.considerElement(slot, i)
		}
	}
	for i := range t.graph.paired[slot] {
		t.consider(t.graph.paired[slot][i].slot)
	}
}

// width is how many elements a step has, or why it cannot be run.
func (t *turn) width(slot int) (int, *lang.Error) {
	step := &t.Steps[slot]
	items, err := t.items(t.f, t.s, slot)
	n := 0
	if err == nil {
		n, err = schedulers.Width(t.f, "over", step.Over, items)
	}
	if err != nil {
		return 0, asError(err, fmt.Sprintf("step %q: ", step.Name))
	}
	most := lang.MaxWidth
	if len(t.graph.pairs[slot]) > 0 {
		most = maxElements
	}
	if n > most {
		return 0, lang.Failf(lang.ClassFunction, "bad_items", "step %q: over yields %d items, and %d are the most", step.Name, n, most)
	}
	for i := range t.graph.pairs[slot] {
		pair := &t.graph.pairs[slot][i]
		if from := t.wide(pair.slot); pair.slot != slot && pair.same() && from.N > 0 && int(from.N) != n && n > 0 {
			return 0, lang.Failf(lang.ClassFunction, "bad_items", "step %q: over yields %d items, and step %q has %d: an element needs the one of the same index",
				step.Name, n, t.Steps[pair.slot].Name, from.N)
		}
	}
	return n, nil
}

// asError is an error of an expression of the dag's own, with what it is of.
func asError(err error, of string) *lang.Error {
	e, ok := err.(*lang.Error)
	if !ok {
		e = lang.Failf(lang.ClassFunction, "expression_error", "%s", err)
	}
	return &lang.Error{Type: e.Type, Message: of + e.Message, Class: e.Class}
}

// items are what a step is run over. They are seen as an element sees them, and do not change.
func (p *DAG) items(f schedulers.Scope, s *State, slot int) (lang.Value, error) {
	return f.EvalBeside(p.Steps[slot].Over, p.siblings(s, slot), nil)
}

// element is how an element of a step has ended; pending or running when it has not.
func (p *DAG) element(f schedulers.Scope, s *State, slot, i int) (status uint8, o lang.Outcome) {
	child := i
	if len(p.graph.pairs[slot]) > 0 {
		switch cell := s.Cells[int(p.wideOf(s, slot).Base)+i]; {
		case cell == 0:
			return pending, o
		case cell == cellSkipped:
			return skipped, lang.Skip()
		case cell <= cellBlocked:
			return upstreamFailed, o
		default:
			child = int(cell) - 1
		}
	}
	o = f.Outcome(slot, child)
	return statusOf(o.Verdict), o
}

// considerElement opens an element that may run now, and ends one that will not. One that cannot run waits for all that it needs, so that the failure
// that it tells of is the first of its needs, and not the first in time.
func (t *turn) considerElement(slot, i int) {
	s, x := t.s, t.wide(slot)
	cell := &s.Cells[int(x.Base)+i]
	if *cell != 0 {
		return
	}
	var tally Tally
	n, cause := int32(0), Cause{Slot: -1}
	count := func(status uint8, of func() Cause) {
		n++
		tally.add(status)
		if cause.Slot < 0 && (status == failed || status == upstreamFailed) {
			cause = of()
		}
	}
	for k := range t.graph.pairs[slot] {
		pair := &t.graph.pairs[slot][k]
		from := t.wide(pair.slot)
		if from.N == 0 { // It ended as a whole.
			count(s.Status[pair.slot], func() Cause { return Cause{int32(pair.slot), -1} })
			continue
		}
		for _, offset := range pair.offsets {
			if j := i + offset; j >= 0 && j < int(from.N) {
				status, _ := t.element(t.f, s, pair.slot, j)
				count(status, func() Cause { return t.causeOf(pair.slot, j) })
			}
		}
	}
	verdict := running
	if n > 0 {
		verdict = decide(t.Steps[slot].Rule, tally, n)
	}
	switch {
	case verdict == running:
		s.Cells[int(x.Base+x.N+x.Ready)] = int32(i)
		*cell = x.Ready + 1
		t.admit(slot, 1)
	case verdict == skipped:
		*cell = cellSkipped
		t.queue = append(t.queue, ended{slot, i})
	case verdict == upstreamFailed && tally.ended() == n:
		*cell = cellBlocked - t.note(cause)
		x.Blocked++
		t.queue = append(t.queue, ended{slot, i})
	}
}

// causeOf is what failed where an element did, or could not run.
func (t *turn) causeOf(slot, i int) Cause {
	if len(t.graph.pairs[slot]) == 0 {
		return Cause{int32(slot), int32(i)}
	}
	cell := t.s.Cells[int(t.wide(slot).Base)+i]
	if cell <= cellBlocked {
		return t.s.Causes[cellBlocked-cell]
	}
	return Cause{int32(slot), cell - 1}
}

// note keeps a cause and returns its place; neighbours mostly have the same.
func (t *turn) note(c Cause) int32 {
	if last := len(t.s.Causes) - 1; last >= 0 && t.s.Causes[last] == c {
		return int32(last)
	}
	t.s.Causes = append(t.s.Causes, c)
	return int32(len(t.s.Causes) - 1)
}

func (t *turn) elementEnded(slot, i int) {
	for k := range t.graph.paired[slot] {
		next := &t.graph.paired[slot][k]
		x := t.wide(next.slot)
		if x.N == 0 {
			continue // It looks at all elements when it opens.
		}
		for _, offset := range next.offsets {
			if j := i - offset; j >= 0 && j < int(x.N) {
				t.considerElement(next.slot, j)
			}
		}
	}
	x := t.wide(slot)
	if x.Ended++; x.Ended < x.N {
		return
	}
	counts, status := t.f.Counts(slot), skipped
	switch {
	case counts.Failed > 0:
		status = failed
	case x.Blocked > 0:
		status = upstreamFailed
	case counts.Succeeded > 0:
		status = succeeded
	}
	t.end(slot, status)
}

// admit lets n more children of a step run: at once, or as concurrency and window allow.
func (t *turn) admit(slot, n int) {
	if x := t.wide(slot); x != nil {
		x.Ready += int32(n)
	} else if t.s.Limit == 0 {
		t.f.Spawn(slot, 1)
		return
	}
	t.enqueue(slot)
}

// enqueue enters a step among those that have children to open, if it has any.
func (t *turn) enqueue(slot int) {
	if x := t.wide(slot); x != nil {
		if x.Queued || t.room(slot) == 0 {
			return
		}
		x.Queued = true
	}
	heap.Push((*places)(&t.s.Runnable), int32(slot))
}

// room is how many children of a runnable step may open, as far as the step itself is concerned.
func (t *turn) room(slot int) int {
	x := t.wide(slot)
	if x == nil {
		return 1
	}
	n := int(x.Ready - x.Sent)
	window, known := t.Steps[slot].window()
	if !known {
		window = int(x.Window)
	}
	if window > 0 {
		n = min(n, window-int(x.Sent)+t.f.Counts(slot).Done())
	}
	return n
}

// window is how many elements may be open at a time, where the document says it; 0 is the engine's own limit.
func (p *Step) window() (n int, known bool) {
	if p.Window.IsZero() {
		return 0, true
	}
	v, constant := p.Window.Const()
	if !constant {
		return 0, false
	}
	n, _ = schedulers.Whole(v)
	return n, true
}

// drain opens children, those of the first steps of the document first, as many as concurrency allows.
func (t *turn) drain() {
	s := t.s
	for len(s.Runnable) > 0 && (s.Limit == 0 || s.Running < s.Limit) {
		slot := int(s.Runnable[0])
		room := t.room(slot)
		n := room
		if s.Limit > 0 {
			n = min(n, s.Limit-s.Running)
			s.Running += n
		}
		if n == room {
			heap.Pop((*places)(&s.Runnable))
		}
		if x := t.wide(slot); x == nil {
			s.Opens[slot] = s.Done // What has ended while it stood in line, it sees.
			t.f.Spawn(slot, 1)
		} else {
			x.Queued = n < room
			t.f.Spawn(slot, n)
			x.Sent += int32(n)
		}
	}
}

// places is a heap of slots.
type places []int32

func (h places) Len() int           { return len(h) }
func (h places) Less(i, j int) bool { return h[i] < h[j] }
func (h places) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *places) Push(x any)        { *h = append(*h, x.(int32)) }
func (h *places) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
