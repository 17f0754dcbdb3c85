package engine

import (
	"slices"

	"github.com/onward-router/onward/router/journal"
)

// What one record opens is bounded. A slot whose children may not open now is entered as owing, and a record of its own, More, lets it open the next
// ones: the owner writes it for every run that Owing tells of. So a map of a million items is a million openings in many short Folds.
//
// How many children are open at a time is bounded, too. Each run has a share, and beyond the shares there is room for so many in the partition. A
// slot with no open child may always open one: whatever is open waits for what is below it, which therefore can go on.

// A debt is a slot that owes openings. It stands while the slot says so.
type debt struct {
	frame *frame
	slot  int
	n     uint32
}

func (d debt) stands() bool { return !d.frame.closed() && d.frame.slots[d.slot].owes == d.n }

// mayOpen reports whether a slot may open a child now.
func (s *State) mayOpen(r *run, sl *slot) bool {
	return s.budget > 0 && (len(sl.tasks) == 0 || s.room(r))
}

func (s *State) room(r *run) bool { return int(r.open) < s.limits.Share || s.surplus < s.limits.Open }

// occupy books that n more children of r are open.
func (s *State) occupy(r *run, n int) {
	before := max(0, int(r.open)-s.limits.Share)
	r.open += int32(n)
	s.children += n
	s.surplus += max(0, int(r.open)-s.limits.Share) - before
}

// vacate takes a child out of its slot.
func (s *State) vacate(sl *slot, t *task) {
	delete(sl.tasks, t.index)
	s.occupy(t.run, -1)
	s.hold(t.run, -t.weight())
}

// owe enters a slot as owing. The entry that it may have stays where it is.
func (s *State) owe(f *frame, at int) {
	r, sl := f.owner.run, &f.slots[at]
	if s.budget <= 0 {
		r.stuck = false // It may be a slot without an open child, which waits for nothing but the next part.
	}
	if sl.owes != 0 {
		return
	}
	x := r.own()
	if len(x.owed) > 64 && len(x.owed) > 2*int(r.debts) {
		x.owed = slices.DeleteFunc(x.owed, func(d debt) bool { return !d.stands() })
	}
	x.entered++
	sl.owes = x.entered
	r.debts++
	x.owed = append(x.owed, debt{f, at, sl.owes})
	if !r.asked {
		r.asked = true
		s.owing = append(s.owing, r)
	}
}

// forgive strikes a slot's debt: all its children that may be open are, or its frame has closed.
func (s *State) forgive(f *frame, sl *slot) {
	if sl.owes != 0 {
		sl.owes = 0
		f.owner.run.debts--
	}
}

// foldMore pays a part of what a run owes, the oldest debts first.
func (s *State) foldMore(r *run, payload []byte) Reason {
	f, err := DecodeMore(payload)
	if err != nil {
		return Malformed
	}
	if f.Part != r.part+1 {
		return Duplicate
	}
	r.part++
	s.cause = cause{event: r.event}
	if r.queued() {
		s.readyKey(s.roomOf(r))
		return Applied
	}
	begin := s.budget
	x := r.own()
	for range len(x.owed) {
		if s.budget == 0 || len(x.owed) == 0 {
			break
		}
		d := x.owed[0]
		x.owed = x.owed[1:]
		if d.stands() {
			s.forgive(d.frame, &d.frame.slots[d.slot])
			s.fill(d.frame, d.slot)
		}
	}
	r.asked, r.stuck = r.debts > 0, s.budget == begin
	if r.asked {
		s.owing = append(s.owing, r)
	}
	return Applied
}

// Owed is a run that may do more of what it owes: the owner writes a More record for it.
type Owed struct {
	Run    journal.RunID
	Tenant string
	Part   uint32
}

// Owing takes out the runs that can pay a part of what they owe, at most limit of them. Each comes once a part; all come again once a claim is folded.
func (s *State) Owing(limit int) []Owed {
	var out []Owed
	for len(out) < limit && len(s.owingStarts) > 0 {
		if w := s.owingStarts[0]; s.waitingRuns[w.run] == w {
			out = append(out, Owed{w.run, w.tenant, 1})
		}
		s.owingStarts[0] = nil
		s.owingStarts = s.owingStarts[1:]
	}
	out = s.owedKeys(out, limit)
	waiting := s.owing[:0]
	for _, r := range s.owing {
		switch {
		case r.debts == 0 || r.outcome != nil:
			r.asked = false
		case len(out) == limit || r.stuck && !s.roomAgain(r):
			waiting = append(waiting, r)
		default:
			out = append(out, Owed{r.id, r.tenant, r.part + 1})
		}
	}
	clear(s.owing[len(waiting):])
	s.owing = waiting
	return out
}

// roomAgain reports whether there is room for a good few: a record for each one that ends would be too many.
func (s *State) roomAgain(r *run) bool {
	return int(r.open) < s.limits.Share || s.surplus < s.limits.Open && s.surplus <= s.limits.Open-s.limits.Open/8
}

// askAgain enters all runs that owe anew, as a new owner has to ask them.
func (s *State) askAgain() {
	clear(s.owing)
	s.owing, s.owingStarts = s.owing[:0], nil
	s.askKeysAgain()
	for _, d := range s.waitingDigests() {
		if s.definitions[d] != nil {
			s.owingStarts = append(s.owingStarts, s.waiting[d]...)
		}
	}
	for _, r := range s.order {
		r.asked, r.stuck = r.debts > 0, false
		if r.asked {
			s.owing = append(s.owing, r)
		}
	}
}
