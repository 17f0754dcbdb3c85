package engine

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A keptEvent waits for the next round of its key.
type keptEvent struct {
	id   journal.RunID
	fact StartFact
}

func (k *keptEvent) weight() int { return size(k.fact.Event) + size(k.fact.Data) + 64 }

// keepEvent keeps an event for the next round.
func (s *State) keepEvent(r *run, id journal.RunID, f *StartFact) Reason {
	x, k := r.rare().round, keptEvent{id, *f}
	if len(x.kept) >= s.limits.Kept || x.keptBytes+k.weight() > s.limits.KeptBytes {
		return s.miss(id, r.roundName(), f, fmt.Sprintf("%d events of %d bytes of its key are kept for the next round already", len(x.kept), x.keptBytes), true)
	}
	x.kept = append(x.kept, k)
	x.keptBytes += k.weight()
	s.hold(r, k.weight())
	s.note(r, Change{Kind: EventKept, Text: called(f.Names)})
	s.out.Met = Met{Run: r.id, Why: "it is kept for the next round of its key"}
	if x.open {
		s.out.Met.Why += ": this one has its " + called(f.Names) + " already"
	}
	return Held
}

// openKept opens the next rounds of the keys whose round is over by this record, with what was kept for them: as many as one record may begin.
func (s *State) openKept() {
	if len(s.reopened) == 0 {
		return
	}
	met := s.out.Met // Of the record's own event.
	for most := s.limits.Begins; len(s.reopened) > 0; {
		next := s.reopened[0]
		s.reopened = s.reopened[1:]
		most = s.openNext(next.name, next.kept, most)
	}
	s.out.Met = met
}

// openNext gives what was kept to the next rounds of its key, in order, and returns how many events the record may give to rounds yet. What is beyond comes by
// records of its own.
func (s *State) openNext(name keyName, kept []keptEvent, most int) int {
	var aside []keptEvent // that the round which gathers has already
	for {
		r := s.rounds[name]
		if r == nil { // It is over: they are the first for the next.
			kept, aside = append(aside, kept...), nil
		}
		if len(kept) == 0 {
			break
		}
		k := &kept[0]
		if r != nil && r.leaves(k) {
			aside, kept = append(aside, *k), kept[1:]
			continue
		}
		if most == 0 || s.cache.Left() < lang.EvalCost || s.definitions[k.fact.Digest] == nil {
			s.putOff(name.tenant, kept)
			break
		}
		most--
		if s.cause = (cause{event: k.fact.Event}); r == nil {
			s.begin(k.id, name.tenant, s.definitions[k.fact.Digest], &k.fact, nil)
		} else {
			s.saving.before(r)
			s.toRound(r, k.id, &k.fact)
		}
		kept = kept[1:]
		s.drain()
	}
	if len(aside) > 0 {
		s.keepAll(s.rounds[name], aside)
	}
	return most
}

// leaves reports whether an event is not for the round of r's key, but for the next one.
func (r *run) leaves(k *keptEvent) bool {
	a, x := r.def.Await, r.rare().round
	if !x.open {
		return !a.Signals
	}
	return a.Late != lang.LateUnmatched && x.kind(a, k.fact.Names) < 0
}

// putOff lets kept events come by records of their own, as starts do that have waited for their definition.
func (s *State) putOff(tenant string, kept []keptEvent) {
	for i := range kept {
		w := &waitingRun{run: kept[i].id, tenant: tenant, fact: kept[i].fact}
		if s.arrive(w); s.definitions[w.fact.Digest] == nil {
			s.out.Need = append(s.out.Need, w.fact.Digest)
		} else {
			s.owingStarts = append(s.owingStarts, w)
		}
	}
}

// keepAll has a run keep all that a former one did.
func (s *State) keepAll(r *run, kept []keptEvent) {
	s.saving.before(r)
	x := r.rare().round
	x.kept = append(x.kept, kept...)
	for i := range kept {
		x.keptBytes += kept[i].weight()
		s.hold(r, kept[i].weight())
	}
}
