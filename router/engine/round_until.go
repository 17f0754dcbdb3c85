package engine

import (
	"slices"

	"github.com/onward-router/onward/config/lang"
)

// An untilScope is what a round's until sees.
type untilScope struct {
	s    *State
	r    *run
	last *StartFact
}

func (u untilScope) Lookup(name string) (lang.Term, bool) {
	switch name {
	case "arrived":
		return u.s.decodedArrivals(u.r), true
	case "total":
		return lang.Of(len(u.r.rare().round.arrived)), true
	case "event":
		return u.last.Event, true
	case "data":
		return u.last.Data, true
	}
	return nil, false
}

// lookedAt is how many bytes of what has arrived the until of a round has looked at, if it asks for that at all.
func (x *round) lookedAt() (n int) {
	for i := range x.arrived {
		n += (len(x.arrived) - i) * (size(x.arrived[i].event) + size(x.arrived[i].data))
	}
	return n
}

func (s *State) until(r *run, last *StartFact) (bool, *lang.Error) {
	until := r.def.Await.Join.Until
	if x := r.rare().round; slices.Contains(until.Names(), "arrived") && x.lookedAt() > s.limits.UntilBytes {
		return false, lang.Failf(lang.ClassFunction, "cost_limit", "until: %s has looked at %d MiB of events, all that had come at each of %d that came; let it ask data and total only, or let an event tell the count",
			until.Source(), s.limits.UntilBytes>>20, len(x.arrived))
	}
	ok, err := until.EvalBool(untilScope{s, r, last}, s.cache)
	if err != nil {
		return false, expressionError("until", err)
	}
	return ok, nil
}

// What is decoded of a round is kept for its next event, from so many events on, up to so much text a round, and in all rounds. It is a memory only: without it
// each event decodes all that came before it, and decides the same.
const (
	decodedFrom   = 16
	decodedMost   = 8 << 20
	decodedRounds = 64 // rounds at a time
)

// decoded is what the until of a round has decoded.
type decoded struct {
	at    *lang.Gathered
	n     int // how many of what has arrived it has
	never bool
}

// decodedArrivals is arrived, as until sees it.
func (s *State) decodedArrivals(r *run) lang.Term {
	x := r.rare().round
	if len(x.arrived) < decodedFrom || x.decoded.never {
		return r.gathered()
	}
	k := &x.decoded
	if k.at == nil {
		if len(s.decoding) >= decodedRounds {
			s.forgetDecoded(x)
		}
		s.decoding = append(s.decoding, x)
		k.at, k.n = newDecoded(r), 0
	}
	for ; k.n < len(x.arrived); k.n++ {
		y := &x.arrived[k.n]
		list := int(y.kind)
		if !k.at.Add(list, y.whole()) || k.at.Size() > decodedMost {
			*k = decoded{never: true}
			return r.gathered()
		}
	}
	if s.decodedText() > decodedMost {
		s.forgetDecoded(x)
	}
	return k.at
}

func newDecoded(r *run) *lang.Gathered {
	a := r.def.Await
	if len(a.Events) == 1 && a.Events[0].Name == "" {
		return lang.NewGathered(nil, nil, r.gathered)
	}
	names, many := make([]string, len(a.Events)), make([]bool, len(a.Events))
	for i := range a.Events {
		names[i], many[i] = a.Events[i].Name, !a.Events[i].One()
	}
	return lang.NewGathered(names, many, r.gathered)
}

// decodedText is how much text of all rounds is decoded.
func (s *State) decodedText() (n int) {
	for _, x := range s.decoding {
		if x.decoded.at != nil {
			n += x.decoded.at.Size()
		}
	}
	return n
}

// forgetDecoded forgets what was decoded of all rounds but one.
func (s *State) forgetDecoded(but *round) {
	for _, x := range s.decoding {
		if x != but {
			x.decoded.at = nil
		}
	}
	s.decoding = slices.DeleteFunc(s.decoding, func(x *round) bool { return x.decoded.at == nil })
}
