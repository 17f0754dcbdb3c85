package engine

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A Place is where a run stands in a list: by its rank, and among those of one rank by its id.
type Place struct {
	Rank int64
	Run  journal.RunID
}

// Compare orders places.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Rank, o.Rank), bytes.Compare(p.Run[:], o.Run[:]))
}

// A Listing looks for the first runs behind a place. It is made in parts, so that none takes long however many runs there are.
type Listing struct {
	After *Place // nil: from the begin
	Limit int
	Want  func(*Summary) (rank int64, want bool)
	Waits bool // only runs that wait for signals, with these

	seen    []Summary // that were gathered, and not looked at yet
	partial *partial
	found   []listed               // a heap, the last first
	kept    map[journal.RunID]bool // of those that were looked at
	all     []Seen
	next    int // runs that are still to be looked at lie below
	begun   bool
}

// awaitsAtOnce is how many signals that are waited for take as long to look at as a run.
const awaitsAtOnce = 4

type listed struct {
	place Place
	run   Summary
}

// A partial is a run that waits for more signals than are looked at at once.
type partial struct {
	run     *run
	summary *Summary
	left    []wait
}

// List gathers the next runs, at most so many, and reports whether there are more. Look then looks at them, which need not be where the state is. A run that
// is open all the time is found.
func (s *State) List(l *Listing, most int) (more bool) {
	if p := l.partial; p != nil && (s.runs[p.run.id] != p.run || p.run.outcome != nil) {
		l.partial = nil // It has ended meanwhile.
	}
	if !l.begun {
		l.begun, l.next = true, len(s.order)
	}
	// From the end: whatever leaves meanwhile is replaced by one that was looked at already, or that lies lower.
	l.next = min(l.next, len(s.order))
	for ; most > 0 && (l.next > 0 || l.partial != nil); most-- {
		if l.partial == nil {
			l.next--
			r := s.order[l.next]
			if !l.Waits {
				l.seen = append(l.seen, *r.summary())
				continue
			}
			if r.rare().waits.n == 0 && !r.gathers() {
				continue
			}
			l.partial = &partial{r, r.summary(), r.rare().waits.standing()}
			l.partial.summary.Awaits = r.roundAwaits()
		}
		p := l.partial
		n := min(len(p.left), most*awaitsAtOnce)
		for _, w := range p.left[:n] {
			if w.frame.awaits > 0 && !w.frame.closed() { // It may have been answered since.
				p.summary.Awaits = append(p.summary.Awaits, p.run.await(w))
			}
		}
		most -= n / awaitsAtOnce
		if p.left = p.left[n:]; len(p.left) == 0 {
			l.seen = append(l.seen, *p.summary)
			l.partial = nil
		}
	}
	return l.next > 0 || l.partial != nil
}

// Look looks at what was gathered.
func (l *Listing) Look() {
	for i := range l.seen {
		x := &l.seen[i]
		slices.SortStableFunc(x.Awaits, func(a, b Await) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Signal, b.Signal))
		})
		rank, want := l.Want(x)
		if want || x.Redrives > 0 {
			l.all = append(l.all, Seen{x.Run, x.Redrives, want})
		}
		if !want {
			continue
		}
		place := Place{rank, x.Run}
		if (l.After == nil || place.Compare(*l.After) > 0) && !l.kept[x.Run] {
			if l.kept == nil {
				l.kept = make(map[journal.RunID]bool)
			}
			l.kept[x.Run] = true
			l.keep(listed{place, *x})
		}
	}
	clear(l.seen)
	l.seen = l.seen[:0]
}

func (r *run) summary() *Summary {
	x := &Summary{
		Run: r.id, Tenant: r.tenant, Trigger: r.def.Trigger, Definition: r.def.digest, State: r.phase(), Paused: r.rare().halt.pause(), Started: time.Unix(0, r.started).UTC(),
		Parent: ParentOf(r.event), Open: r.live.len(), Calls: int(r.calls), Signals: r.rare().waits.n, Event: r.event, Input: r.data, Redrives: r.rare().redrives,
	}
	if r.outcome != nil {
		x.Error = r.outcome.Err
	}
	return x
}

// await is a signal that a run waits for.
func (r *run) await(w wait) Await {
	t := w.frame.owner
	x := Await{Signal: w.name, Path: t.path(), Since: time.Unix(0, t.opened).UTC()}
	timers := []uint32{t.deadlineTimer}
	for _, named := range w.frame.timers.all() {
		timers = append(timers, named.id)
	}
	for _, id := range timers {
		if d := r.timers.get(id); d != nil && (x.Expires.IsZero() || d.due < x.Expires.UnixNano()) {
			x.Expires = time.Unix(0, d.due).UTC()
		}
	}
	return x
}

// roundAwaits are the events of its round that a run waits for.
func (r *run) roundAwaits() (all []Await) {
	if !r.gathers() {
		return nil
	}
	st := r.roundStatus()
	for _, what := range st.Missing {
		all = append(all, Await{Signal: what, Round: st.Key, Since: time.Unix(0, r.started).UTC(), Expires: st.Deadline})
	}
	return all
}

func (l *Listing) keep(x listed) {
	if len(l.found) == l.Limit {
		if x.place.Compare(l.found[0].place) > 0 {
			return
		}
		heap.Pop((*lastFirst)(&l.found))
	}
	heap.Push((*lastFirst)(&l.found), x)
}

// Runs returns what was found, in order.
func (l *Listing) Runs() []Summary {
	slices.SortFunc(l.found, func(a, b listed) int { return a.place.Compare(b.place) })
	runs := make([]Summary, len(l.found))
	for i := range l.found {
		runs[i] = l.found[i].run
	}
	return runs
}

// A Seen is an open run that was looked at.
type Seen struct {
	Run      journal.RunID
	Redrives uint32 // an end of fewer is that of a life before this one
	Want     bool   // else it is told for that end only
}

// Compare orders by run.
func (x Seen) Compare(run journal.RunID) int { return bytes.Compare(x.Run[:], run[:]) }

// All returns all runs that are wanted, those before the place and beyond the limit too, and those that are at work once more; one may be there twice.
func (l *Listing) All() []Seen { return l.all }

// EventID is the id of the event that started a run.
func EventID(event lang.Value) string { return attribute(event, "id") }

type lastFirst []listed

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return h[i].place.Compare(h[j].place) > 0 }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastFirst) Push(x any)        { *h = append(*h, x.(listed)) }
func (h *lastFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
