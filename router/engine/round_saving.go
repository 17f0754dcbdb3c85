package engine

// The flags of a round in a snapshot.
const (
	roundOpen = 1 << iota
	roundArrived
	roundKept
)

func (w *writer) round(x *round) {
	w.text(x.key)
	w.flags(flag{roundOpen, x.open}, flag{roundArrived, len(x.arrived) > 0}, flag{roundKept, len(x.kept) > 0})
	w.uint(uint64(x.timer))
	if x.open {
		for _, n := range x.known {
			w.int(int64(n))
		}
	}
	if len(x.arrived) > 0 {
		w.uint(uint64(len(x.arrived)))
		for i := range x.arrived {
			y := &x.arrived[i]
			w.id(y.id)
			w.uint(uint64(y.kind))
			w.value(y.event)
			w.value(y.data)
			w.flush(64 << 10)
		}
	}
	if len(x.kept) > 0 {
		w.uint(uint64(len(x.kept)))
		for i := range x.kept {
			w.id(x.kept[i].id)
			w.text(string(x.kept[i].fact.Append(nil)))
			w.flush(64 << 10)
		}
	}
}

// loadRound reads a round; its run has its definition, event and data.
func (s *State) loadRound(l *loader, r *run) *round {
	a := r.def.Await
	x := &round{key: l.text()}
	flags := l.flags(roundOpen | roundArrived | roundKept)
	x.open, x.timer = flags&roundOpen != 0, l.number()
	if a == nil {
		l.fail(errSnapshot)
		return x
	}
	x.known, x.have = make([]int32, len(a.Events)), make([]int32, len(a.Events))
	if x.open {
		for i := range x.known {
			x.known[i] = int32(l.int())
		}
	}
	if flags&roundArrived != 0 {
		for range l.count() {
			y := arrival{id: l.id(), kind: int32(l.uint()), event: l.value(), data: l.value()}
			if l.err != nil || int(y.kind) >= len(x.have) || y.kind < 0 {
				l.fail(errSnapshot)
				return x
			}
			x.arrived = append(x.arrived, y)
			x.have[y.kind]++
			x.bytes += size(y.data)
			if len(x.arrived) > 1 {
				s.hold(r, size(y.event)+size(y.data))
			}
		}
	}
	if flags&roundKept != 0 {
		for range l.count() {
			k := keptEvent{id: l.id()}
			var err error
			if k.fact, err = DecodeStart([]byte(l.text())); err != nil || l.err != nil {
				l.fail(errSnapshot)
				return x
			}
			x.kept = append(x.kept, k)
			x.keptBytes += k.weight()
			s.hold(r, k.weight())
		}
	}
	return x
}

// loadRounds makes the table of the rounds of what the runs say.
func (s *State) loadRounds(l *loader) {
	for _, r := range s.order {
		if r.rare().round == nil {
			continue
		}
		name := r.roundName()
		if s.rounds[name] != nil {
			l.fail(errSnapshot)
			return
		}
		s.rounds[name] = r
	}
}
