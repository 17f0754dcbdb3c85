package engine

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
)

// standing says for people how many of each event have come, and what is missing.
func (x *round) standing(a *lang.Await) (arrived, missing []string) {
	for i := range a.Events {
		name, have, want := a.Events[i].Name, x.have[i], x.known[i]
		one := a.Events[i].One()
		if a.Signals && i == 0 {
			missing = append(missing, "the event that begins the run")
			continue
		}
		if name == "" {
			name = "events"
		}
		switch {
		case one && have > 0:
			arrived = append(arrived, name)
		case one:
			missing = append(missing, name)
		case a.Signals:
			if have > 0 {
				arrived = append(arrived, fmt.Sprintf("%d %s", have, name))
			}
		case want < 0:
			arrived = append(arrived, fmt.Sprintf("%d %s", have, name))
			missing = append(missing, name+", of which no event has told how many")
		default:
			arrived = append(arrived, fmt.Sprintf("%d of %d %s", have, want, name))
			if have < want {
				missing = append(missing, fmt.Sprintf("%d %s", want-have, name))
			}
		}
	}
	return arrived, missing
}

// roundStatus is where r's round stands; nil when it has none.
func (r *run) roundStatus() *RoundStatus {
	x := r.rare().round
	if x == nil {
		return nil
	}
	st := &RoundStatus{Key: x.key, Open: x.open, Events: len(x.arrived), Kept: len(x.kept)}
	if x.open {
		st.Arrived, st.Missing = x.standing(r.def.Await)
		switch {
		case r.def.Await.Signals:
			st.Then = "end"
		case r.def.Await.Takes():
			st.Then = "take"
		default:
			st.Then = "fail"
		}
	}
	if d := r.timers.get(x.timer); d != nil {
		st.Deadline = timeOf(d.due)
	}
	return st
}
