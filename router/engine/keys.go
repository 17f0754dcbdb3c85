package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// Runs of one trigger whose events have one key (concurrency: in a trigger, overlap: in a source) lie in one partition, so that the fold decides which of them are at work. Each
// start goes by the definition that it names: its limit, and what it does at the limit. Whoever waits begins in the order of arrival, once there are fewer
// at work than its own limit says.

// A keyName says which runs belong together.
type keyName struct{ tenant, trigger, key string }

// A keyRoom has the runs of one key that have not ended, each list by arrival. It is no state of its own: the runs say all of it.
type keyRoom struct {
	name  keyName
	work  []*run
	wait  []*run
	ready bool // it is in State.ready
	asked bool // it is in State.owingKeys; what a record does must not hang on that
}

// A place is what a run has in the room of its key.
type place struct {
	key     string
	arrival uint64
	waits   bool
}

// head is the run that begins next, when it may begin now.
func (k *keyRoom) head() *run {
	if len(k.wait) == 0 || len(k.work) >= k.wait[0].atOnce() {
		return nil
	}
	return k.wait[0]
}

// atOnce is how many runs of r's key may be at work when r begins.
func (r *run) atOnce() int {
	if r.def.Concurrency == nil { // Its start says that runs do not overlap.
		return 1
	}
	return r.def.Concurrency.Limit
}

// queued reports whether r waits for others of its key.
func (r *run) queued() bool { return r.rare().place != nil && r.rare().place.waits }

// key is by which r's trigger counts runs; empty is none.
func (r *run) key() string {
	if m := r.rare().recollection; m.gathers() {
		return m.key
	}
	if p := r.rare().place; p != nil {
		return p.key
	}
	if x := r.rare().round; x != nil {
		return x.key
	}
	return ""
}

func (s *State) roomOf(r *run) *keyRoom {
	name := keyName{r.tenant, r.def.Trigger, r.rare().place.key}
	k := s.keys[name]
	if k == nil {
		k = &keyRoom{name: name}
		s.keys[name] = k
	}
	return k
}

// admit lets a run that has a key begin, wait, or end at once, as c says.
func (s *State) admit(r *run, key string, c *lang.Concurrency) {
	s.arrivals++
	r.own().place = &place{key, s.arrivals, true}
	k := s.roomOf(r)
	full := len(k.work)+len(k.wait) >= c.Limit
	switch {
	case !full:
	case c.When == lang.WhenDrop:
		r.seldom.place = nil
		s.endRun(r, dropped(fmt.Sprintf("%d of key %q are at work or wait, and the limit is %d", len(k.work)+len(k.wait), key, c.Limit)))
		return
	case c.When == lang.WhenReplace:
		for len(k.wait) > 0 {
			x := k.wait[0]
			s.saving.before(x)
			s.endRun(x, dropped(fmt.Sprintf("run %s of key %q has taken its place", r.id, key)))
		}
	case c.When == lang.WhenCancelRunning:
		s.makeRoom(k, r)
	case len(k.wait) >= s.limits.Queue:
		r.seldom.place = nil
		s.endRun(r, lang.Failure(lang.Failf(lang.ClassPlatform, "queue_limit", "%d runs of key %q wait already; let fewer in, or write when: replace", len(k.wait), key)))
		return
	}
	k = s.roomOf(r) // The former one is gone if all that was in it is.
	k.wait = append(k.wait, r)
	if s.readyKey(k); k.head() != r {
		s.note(r, Change{Kind: RunQueued, Text: key})
	}
}

// makeRoom cancels the oldest runs of a key, until one more has a place. Those that clean up keep theirs until they have.
func (s *State) makeRoom(k *keyRoom, r *run) {
	olds := slices.Concat(k.work, k.wait)
	for _, x := range olds[:len(olds)-r.atOnce()+1] {
		if x.rare().result != nil {
			continue
		}
		s.saving.before(x)
		x.cancelled = true
		s.cancelRun(x, lang.Failure((&CancelFact{Reason: fmt.Sprintf("run %s of key %q has taken its place", r.id, k.name.key)}).error()))
	}
}

// dropped is the outcome of a run that its key left no place for. It is skipped, and says why.
func dropped(why string) lang.Outcome {
	return lang.Outcome{Verdict: lang.Skipped, Value: lang.Object(lang.Member{Key: "dropped", Value: lang.Text(why)})}
}

// leave takes a run that ends out of the room of its key; the next may begin.
func (s *State) leave(r *run) {
	if r.rare().place == nil {
		return
	}
	k := s.roomOf(r)
	list := &k.work
	if r.queued() {
		list = &k.wait
	}
	if (*list)[0] == r {
		(*list)[0] = nil
		*list = (*list)[1:]
	} else {
		*list = slices.DeleteFunc(*list, func(x *run) bool { return x == r })
	}
	r.seldom.place = nil
	if len(k.work)+len(k.wait) == 0 {
		delete(s.keys, k.name)
	}
	s.readyKey(k)
}

// readyKey enters a key of which the next run may begin.
func (s *State) readyKey(k *keyRoom) {
	if !k.ready && k.head() != nil {
		k.ready = true
		s.ready = append(s.ready, k)
	}
}

// beginReady begins the runs whose turn has come, as many as one record may; the others are asked to begin by records of their own.
func (s *State) beginReady() {
	for n := 0; len(s.ready) > 0; {
		k := s.ready[0]
		r := k.head()
		switch {
		case r == nil:
			k.ready = false
			s.ready = s.ready[1:]
			continue
		case n == s.limits.Begins:
			for _, k := range s.ready {
				k.ready = false
				s.askKey(k)
			}
			s.ready = s.ready[:0]
			return
		}
		n++
		s.saving.before(r)
		r.seldom.place.waits = false
		k.wait[0] = nil
		k.wait, k.work = k.wait[1:], append(k.work, r)
		s.note(r, Change{Kind: RunBegun, Text: k.name.key})
		s.cause = cause{event: r.event}
		s.openFlow(r)
		s.drain()
	}
	s.ready = s.ready[:0]
}

// askKey has the owner asked to begin the next run of a key.
func (s *State) askKey(k *keyRoom) {
	if !k.asked {
		k.asked = true
		s.owingKeys = append(s.owingKeys, k)
	}
}

// owedKeys takes out the runs whose turn has come and whose record may be written now.
func (s *State) owedKeys(out []Owed, limit int) []Owed {
	for len(out) < limit && len(s.owingKeys) > 0 {
		k := s.owingKeys[0]
		s.owingKeys = s.owingKeys[1:]
		k.asked = false
		if r := k.head(); r != nil {
			out = append(out, Owed{r.id, r.tenant, r.part + 1})
		}
	}
	return out
}

// askKeysAgain enters all keys of which a run may begin, as a new owner has to ask for them.
func (s *State) askKeysAgain() {
	for _, k := range s.owingKeys {
		k.asked = false
	}
	s.owingKeys = nil
	for _, r := range s.order {
		if !r.queued() {
			continue
		}
		if k := s.roomOf(r); k.head() == r {
			s.askKey(k)
		}
	}
}

// loadKeys makes the rooms of what the runs say.
func (s *State) loadKeys() {
	for _, r := range s.order {
		if r.rare().place == nil {
			continue
		}
		if k := s.roomOf(r); r.queued() {
			k.wait = append(k.wait, r)
		} else {
			k.work = append(k.work, r)
		}
	}
	for _, k := range s.keys { // Each on its own: the order does not matter.
		for _, list := range [][]*run{k.work, k.wait} {
			slices.SortFunc(list, func(a, b *run) int { return cmp.Compare(a.seldom.place.arrival, b.seldom.place.arrival) })
		}
	}
}

// A Queue is what people see of a run that waits for others of its key.
type Queue struct {
	Key    string          `json:"key"`
	Before int             `json:"before"` // how many wait that came before it
	Limit  int             `json:"limit"`
	Work   []journal.RunID `json:"work"` // the first of those at work
}

const queueShown = 5

func (s *State) queueOf(r *run) *Queue {
	if !r.queued() {
		return nil
	}
	k := s.roomOf(r)
	q := &Queue{Key: k.name.key, Before: slices.Index(k.wait, r), Limit: r.atOnce()}
	for _, x := range k.work[:min(len(k.work), queueShown)] {
		q.Work = append(q.Work, x.id)
	}
	return q
}

func (w *writer) place(p *place) {
	w.text(p.key)
	w.uint(p.arrival)
	w.bool(p.waits)
}

func (l *loader) place() *place { return &place{l.text(), l.uint(), l.bool()} }
