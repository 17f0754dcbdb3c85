package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/onward-router/onward/config/lang"
)

// A few has things by their numbers. Nearly always it is one, which takes no memory of its own; of a wide run there may be thousands.
type few[V any] struct {
	n    uint32 // of one
	one  *V
	many map[uint32]*V // all of them, once they were two
}

func (f *few[V]) get(n uint32) *V {
	if f.many != nil {
		return f.many[n]
	}
	if f.n == n {
		return f.one
	}
	return nil
}

func (f *few[V]) put(n uint32, v *V) {
	switch {
	case f.many != nil:
		f.many[n] = v
	case f.one == nil || f.n == n:
		f.n, f.one = n, v
	default:
		f.many = map[uint32]*V{f.n: f.one, n: v}
		f.n, f.one = 0, nil
	}
}

func (f *few[V]) remove(n uint32) {
	if f.many != nil {
		if delete(f.many, n); len(f.many) == 0 {
			f.many = nil
		}
	} else if f.n == n {
		f.n, f.one = 0, nil
	}
}

func (f *few[V]) len() int {
	if f.many == nil && f.one != nil {
		return 1
	}
	return len(f.many)
}

// numbers are those that there are, in order.
func (f *few[V]) numbers() []uint32 {
	if f.many == nil {
		if f.one == nil {
			return nil
		}
		return []uint32{f.n}
	}
	return slices.Sorted(maps.Keys(f.many))
}

// A seldom is what few runs have: it takes memory once there is something in it.
type seldom struct {
	pauses     map[uint32]pause // of destinations, by the timer
	superseded []uint32         // the latest invocations that were replaced, to tell a late result from a repeated one

	seen  map[signalKey]uint64 // of the signals kept, which are 0, and taken: their places
	kept  keptList
	taken takenList

	lent    map[*task][]keptSignal // taken ones, by the step that gives them back when it is tried again; never ranged over
	lending int                    // how many

	waits  waitList
	halt   *halt  // it is paused
	place  *place // of a run that has a key, until it has ended
	parent string // the invocation that waits for its end
	subs   int    // what its subruns have taken of its fuel

	round   *round     // the events of its key that it gathers, or takes
	arrived lang.Value // those that its round had

	spared int32 // tries of which the function saw nothing that the run ended with, or that failed last

	redrives     uint32          // how many there were
	recollection *recollection   // of the last one; nil is nothing of it
	windows      []changedWindow // that somebody has given to steps, by path

	result *lang.Outcome // of a run that was cancelled and cleans up

	owed    []debt // slots that owe openings, the oldest first, with some that no longer do
	entered uint32 // debts so far; not state
}

// none is what a run has that has nothing of it. It is read only.
var none seldom

// rare is what r has of the seldom, to read.
func (r *run) rare() *seldom {
	if r.seldom == nil {
		return &none
	}
	return r.seldom
}

// own is the same, to change.
func (r *run) own() *seldom {
	if r.seldom == nil {
		r.seldom = new(seldom)
	}
	return r.seldom
}

// A waitList has who waits for which signal; of one name, who asked first is first.
type waitList struct {
	few  []wait
	many map[string][]*frame // in place of few, once it is long; frames that have closed are passed over
	n    int                 // that stand
	dead int                 // of many, about: those of closed frames
}

// waitsFew is how many are looked through one by one.
const waitsFew = 16

func (l *waitList) add(name string, f *frame) {
	if l.n++; f.awaits == 1 {
		f.lone = name
	} else {
		f.lone = ""
	}
	if l.many == nil && len(l.few) < waitsFew {
		l.few = append(l.few, wait{name, f})
		return
	}
	if l.many == nil {
		l.many = make(map[string][]*frame)
		for _, w := range l.few {
			l.many[w.name] = append(l.many[w.name], w.frame)
		}
		l.few = nil
	}
	l.many[name] = append(l.many[name], f)
}

// first is who is to get a signal of a name; nil when nobody waits for one.
func (l *waitList) first(name string) *frame {
	for _, w := range l.few {
		if w.name == name {
			return w.frame
		}
	}
	frames := l.many[name]
	for len(frames) > 0 && frames[0].closed() {
		frames = frames[1:]
	}
	if l.many != nil {
		l.set(name, frames)
	}
	if len(frames) == 0 {
		return nil
	}
	return frames[0]
}

func (l *waitList) set(name string, frames []*frame) {
	if len(frames) == 0 {
		delete(l.many, name)
	} else {
		l.many[name] = frames
	}
}

// take is first, which then waits no longer.
func (l *waitList) take(name string) *frame {
	f := l.first(name)
	if f == nil {
		return nil
	}
	l.n--
	if l.many != nil {
		l.set(name, l.many[name][1:])
		return f
	}
	i := slices.IndexFunc(l.few, func(w wait) bool { return w.name == name })
	l.few = slices.Delete(l.few, i, i+1)
	return f
}

// takeBack takes one wait of a frame back, the last that it began, and reports whether there was one.
func (l *waitList) takeBack(f *frame, name string) bool {
	for i, w := range slices.Backward(l.few) {
		if w.name == name && w.frame == f {
			l.few = slices.Delete(l.few, i, i+1)
			l.n--
			return true
		}
	}
	frames := l.many[name]
	for i, x := range slices.Backward(frames) {
		if x == f {
			l.set(name, slices.Delete(frames, i, i+1))
			l.n--
			return true
		}
	}
	return false
}

// drop takes out what a frame waits for, as it closes.
func (l *waitList) drop(f *frame) {
	l.n -= f.awaits
	if l.many == nil {
		l.few = slices.DeleteFunc(l.few, func(w wait) bool { return w.frame == f })
		return
	}
	if f.info.cleans != nil { // It goes on, and is not told from others by being closed.
		for name, frames := range l.many { // Each on its own: the order does not matter.
			l.set(name, slices.DeleteFunc(frames, func(x *frame) bool { return x == f }))
		}
		return
	}
	if l.dead += f.awaits; l.dead > l.n+waitsFew {
		l.dead = 0
		for name, frames := range l.many { // Each on its own: the order does not matter.
			l.set(name, slices.DeleteFunc(frames, func(f *frame) bool { return f.closed() }))
		}
	}
}

// all lists who waits, by name and then in the order they asked.
func (l *waitList) all() []wait {
	out := l.standing()
	slices.SortStableFunc(out, func(a, b wait) int { return cmp.Compare(a.name, b.name) })
	return out
}

// standing lists who waits; of one name in the order they asked.
func (l *waitList) standing() []wait {
	out := slices.Clone(l.few)
	if l.many != nil {
		out = make([]wait, 0, l.n+l.dead)
	}
	for name, frames := range l.many {
		for _, f := range frames {
			if !f.closed() {
				out = append(out, wait{name, f})
			}
		}
	}
	return out
}

// tell enters what each of some frames waits for, by name.
func (l *waitList) tell(frames map[*frame]*StepStatus) {
	left := 0
	for f, st := range frames { // Each on its own: the order does not matter.
		if f.awaits == 1 && f.lone != "" {
			st.Awaits = []string{f.lone}
			delete(frames, f)
			continue
		}
		left += f.awaits
	}
	if len(frames) == 0 {
		return
	}
	for _, w := range l.few {
		if st := frames[w.frame]; st != nil {
			st.Awaits = append(st.Awaits, w.name)
		}
	}
	for name, all := range l.many { // They are put in order.
		for _, f := range all {
			if left == 0 {
				break
			}
			if st := frames[f]; st != nil {
				st.Awaits = append(st.Awaits, name)
				left--
			}
		}
	}
	for _, st := range frames { // Each on its own: the order does not matter.
		slices.Sort(st.Awaits)
	}
}

// timerNames are the timers that a policy has set, by its names for them.
type timerNames struct {
	few  []namedTimer
	many map[string]uint32 // in place of few, once it is long
}

// put enters a name that has no timer.
func (t *timerNames) put(name string, id uint32) {
	switch {
	case t.many != nil:
		t.many[name] = id
	case len(t.few) < waitsFew:
		t.few = append(t.few, namedTimer{name, id})
	default:
		t.many = map[string]uint32{name: id}
		for _, x := range t.few {
			t.many[x.name] = x.id
		}
		t.few = nil
	}
}

// take takes a name out and returns its timer; 0 is none.
func (t *timerNames) take(name string) uint32 {
	if t.many != nil {
		id := t.many[name]
		delete(t.many, name)
		return id
	}
	for i, x := range t.few {
		if x.name == name {
			t.few = slices.Delete(t.few, i, i+1)
			return x.id
		}
	}
	return 0
}

func (t *timerNames) len() int { return len(t.few) + len(t.many) }

// all lists them, by name.
func (t *timerNames) all() []namedTimer {
	if t.len() == 0 {
		return nil
	}
	out := slices.Clone(t.few)
	for name, id := range t.many {
		out = append(out, namedTimer{name, id})
	}
	slices.SortFunc(out, func(a, b namedTimer) int { return cmp.Compare(a.name, b.name) })
	return out
}

// An early has the children that were cancelled before they opened, a bit each.
type early struct{ bits []uint64 }

func (e *early) has(i int) bool {
	return e != nil && i>>6 < len(e.bits) && e.bits[i>>6]&(1<<(i&63)) != 0
}

func (e *early) set(i int) {
	if n := i>>6 + 1; n > len(e.bits) {
		e.bits = append(e.bits, make([]uint64, n-len(e.bits))...)
	}
	e.bits[i>>6] |= 1 << (i & 63)
}

// from lists those from an index on, in order: those before have been passed.
func (e *early) from(first int) (all []int) {
	if e == nil {
		return nil
	}
	for i := first; i < len(e.bits)<<6; i++ {
		if e.bits[i>>6]>>(i&63) == 0 {
			i |= 63
		} else if e.has(i) {
			all = append(all, i)
		}
	}
	return all
}
