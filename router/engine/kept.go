package engine

import (
	"cmp"
	"slices"

	"github.com/onward-router/onward/config/lang"
)

// A keptSignal came before anything waited for it.
type keptSignal struct {
	name string
	data lang.Value
	key  signalKey
}

func (k keptSignal) weight() int { return len(k.name) + size(k.data) }

// A keptList has the signals that nobody has taken, in order. Who asks for a name looks at no other, and giving one back moves none: a run keeps thousands.
type keptList struct {
	names       map[string]*keptQueue
	n           int
	first, last int64 // the places before and behind all of them
}

type placedSignal struct {
	keptSignal
	place int64
}

// A keptQueue has the signals of one name: those in front, the last of which is the first, and then those behind, from head on.
type keptQueue struct {
	front, behind []placedSignal
	head          int
}

func (l *keptList) queue(name string) *keptQueue {
	q := l.names[name]
	if q == nil {
		if l.names == nil {
			l.names = make(map[string]*keptQueue)
		}
		q = new(keptQueue)
		l.names[name] = q
	}
	l.n++
	return q
}

// put keeps a signal behind all others.
func (l *keptList) put(k keptSignal) {
	q := l.queue(k.name)
	l.last++
	q.behind = append(q.behind, placedSignal{k, l.last})
}

// putBack keeps signals before all others, in their order.
func (l *keptList) putBack(list []keptSignal) {
	for _, k := range slices.Backward(list) {
		q := l.queue(k.name)
		q.front = append(q.front, placedSignal{k, l.first})
		l.first--
	}
}

// take takes out the first of a name; false when there is none.
func (l *keptList) take(name string) (k keptSignal, ok bool) {
	q := l.names[name]
	if q == nil {
		return k, false
	}
	l.n--
	if last := len(q.front) - 1; last >= 0 {
		k = q.front[last].keptSignal
		q.front[last] = placedSignal{}
		q.front = q.front[:last]
	} else {
		k = q.behind[q.head].keptSignal
		q.behind[q.head] = placedSignal{}
		q.head++
	}
	switch rest := len(q.behind) - q.head; {
	case len(q.front)+rest == 0:
		delete(l.names, name)
	case q.head > 16 && q.head > rest:
		q.behind, q.head = slices.Clone(q.behind[q.head:]), 0
	}
	return k, true
}

// all lists them in order.
func (l *keptList) all() []keptSignal {
	if l.n == 0 {
		return nil
	}
	placed := make([]placedSignal, 0, l.n)
	for _, q := range l.names { // They are put in order.
		placed = append(append(placed, q.front...), q.behind[q.head:]...)
	}
	slices.SortFunc(placed, func(a, b placedSignal) int { return cmp.Compare(a.place, b.place) })
	list := make([]keptSignal, len(placed))
	for i := range placed {
		list[i] = placed[i].keptSignal
	}
	return list
}

// A takenSignal is one that somebody has got: it is remembered for as long as repeats of it are refused.
type takenSignal struct {
	key signalKey
	at  int64 // below zero: it was given back
}

// A takenList has them, the oldest first, and where each stands.
type takenList struct {
	list  []takenSignal
	begin uint64 // how many have left before the first of list
	back  int    // how many in list were given back
}

// each gives those that were not given back.
func (l *takenList) each(yield func(takenSignal)) {
	for _, t := range l.list {
		if t.at >= 0 {
			yield(t)
		}
	}
}

func (l *takenList) len() int { return len(l.list) - l.back }

// see books a key that was not taken: no repeat of it counts.
func (x *seldom) see(k signalKey) {
	if x.seen == nil {
		x.seen = make(map[signalKey]uint64)
	}
	x.seen[k] = 0
}

// took books a key as the latest that was taken.
func (x *seldom) took(t takenSignal) {
	l := &x.taken
	x.see(t.key)
	l.list = append(l.list, t)
	x.seen[t.key] = l.begin + uint64(len(l.list))
}

// untake books that what was taken is not any more. Its key is known still.
func (x *seldom) untake(k signalKey) {
	l := &x.taken
	place := x.seen[k]
	if place <= l.begin {
		return
	}
	l.list[place-l.begin-1].at = -1
	x.seen[k] = 0
	if l.back++; l.back > 16 && l.back > l.len() {
		list := l.list
		*l = takenList{list: list[:0]}
		for _, t := range list {
			if t.at >= 0 {
				x.took(t)
			}
		}
	}
}

// remember keeps the key of what was taken for as long as repeats of it are refused.
func (s *State) remember(x *seldom, k signalKey) {
	x.took(takenSignal{k, s.now})
	for l := &x.taken; len(l.list) > 0; {
		switch t := l.list[0]; {
		case t.at < 0:
			l.back--
		case l.len() > s.limits.Signals || t.at < s.now-int64(s.limits.TombstoneAge):
			delete(x.seen, t.key)
		default:
			return
		}
		l.list = l.list[1:]
		l.begin++
	}
}
