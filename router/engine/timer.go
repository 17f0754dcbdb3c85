package engine

import (
	"time"

	"github.com/onward-router/onward/router/journal"
)

// A timerKind says what happens when a timer fires.
type timerKind uint8

const (
	timerRetry    timerKind = iota + 1 // begin the next try
	timerDeadline                      // the step's time is over
	timerTry                           // a policy's try took too long
	timerPolicy                        // the policy's own
	timerDelivery                      // begin the next try of a destination
	timerRound                         // the round has gathered for long enough
)

// A timer belongs to a run. Deleting it from the run is how it is cancelled: the heap drops what its run does not know.
type timer struct {
	id    uint32
	due   int64
	kind  timerKind
	early uint8  // how often it was fired before it was due; no state, only when it is fired next follows from it
	task  *task  // of retry, deadline, try; of policy, the one whose frame has set it
	name  string // of policy
}

// Due is a timer that is due: the owner writes a Fired record for it.
type Due struct {
	Run    journal.RunID
	Tenant string
	Timer  uint32
}

// A timerHeap orders the timers of all runs by due time. It is an index over the runs' timers, not state: a snapshot leaves it out.
type timerHeap struct {
	items []heapItem
	live  int // timers that runs know
}

type heapItem struct {
	due int64
	id  uint32
	run *run
}

func (a heapItem) before(b heapItem) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	return a.id < b.id
}

func (h *timerHeap) push(it heapItem) {
	h.items = append(h.items, it)
	i := len(h.items) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !it.before(h.items[parent]) {
			break
		}
		h.items[i] = h.items[parent]
		i = parent
	}
	h.items[i] = it
}

func (h *timerHeap) pop() heapItem {
	top := h.items[0]
	last := h.items[len(h.items)-1]
	h.items[len(h.items)-1] = heapItem{}
	h.items = h.items[:len(h.items)-1]
	if len(h.items) > 0 {
		h.sink(0, last)
	}
	return top
}

func (h *timerHeap) sink(i int, it heapItem) {
	for {
		least := 4*i + 1
		if least >= len(h.items) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h.items)); c++ {
			if h.items[c].before(h.items[least]) {
				least = c
			}
		}
		if !h.items[least].before(it) {
			break
		}
		h.items[i] = h.items[least]
		i = least
	}
	h.items[i] = it
}

// rebuild makes the heap anew from the runs, so that timers that a former owner took out come again.
func (h *timerHeap) rebuild(s *State) {
	clear(h.items)
	h.items = h.items[:0]
	h.live = 0
	for _, r := range s.order {
		for _, n := range r.timers.numbers() {
			h.push(heapItem{r.timers.get(n).due, n, r})
			h.live++
		}
	}
}

// NextDue returns when the earliest timer is due.
func (s *State) NextDue() (time.Time, bool) {
	h := &s.timers
	for len(h.items) > 0 && !h.items[0].known() {
		h.pop()
	}
	if len(h.items) == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, h.items[0].due).UTC(), true
}

// after is a time d later; beyond what the clock can say it is for ever.
func after(at int64, d time.Duration) int64 {
	if later := at + int64(d); later >= at {
		return later
	}
	return 1<<63 - 1
}

func (it heapItem) known() bool { return it.run.timers.get(it.id) != nil }

// How much later than it is due a timer is fired that was fired too early.
const (
	earlyFirst = 10 * time.Millisecond
	earlyMost  = time.Minute
)

// Due takes out the timers that are due at now, at most limit of them, earliest first. Each comes once; one that fires too early for the fold, and
// all that are pending when a claim is folded, come again.
func (s *State) Due(now time.Time, limit int) []Due {
	var due []Due
	for len(due) < limit {
		at, ok := s.NextDue()
		if !ok || at.After(now) {
			break
		}
		it := s.timers.pop()
		due = append(due, Due{Run: it.run.id, Tenant: it.run.tenant, Timer: it.id})
	}
	return due
}

// setTimer sets a timer of r, d from now, and returns its number.
func (s *State) setTimer(r *run, d time.Duration, t timer) uint32 {
	r.next++
	t.id, t.due = r.next, after(s.now, d)
	r.timers.put(t.id, &t)
	s.timers.live++
	s.timers.push(heapItem{t.due, t.id, r})
	if len(s.timers.items) > 2*s.timers.live+1024 {
		s.timers.rebuild(s)
	}
	return t.id
}

// dropTimer cancels a timer; number 0 is none.
func (s *State) dropTimer(r *run, id uint32) {
	if id == 0 || r.timers.get(id) == nil {
		return
	}
	r.timers.remove(id)
	s.timers.live--
}

// How the fold's time goes on while the journal's clock is behind it.
const (
	slower   = 16               // the part of passing time by which it waits
	mostTick = 10 * time.Minute // by one record: a clock that is set to and fro is not followed
)

// tick moves the fold's time to a record's. It never goes back; where the records' times do - the journal's clock was ahead and was set right, or another
// broker leads with another one - it goes on as they do from there, a little slower, until they have caught up.
func (s *State) tick(at int64) {
	at = max(at, 0)
	if passed := at - s.seen; passed > 0 && (at < s.now || passed <= int64(mostTick)) {
		passed = min(passed, int64(mostTick))
		s.now += passed - passed/slower
	}
	s.now, s.seen = max(s.now, at), at
}

func (s *State) foldFired(r *run, payload []byte) Reason {
	f, err := DecodeFired(payload)
	if err != nil {
		return Malformed
	}
	t := r.timers.get(f.Timer)
	if t == nil {
		return Duplicate
	}
	if t.due > s.now {
		// By the owner's clock it was due: each time it is fired later, or a clock that does not go as the journal's would write without end.
		s.timers.push(heapItem{after(t.due, min(earlyFirst<<t.early, earlyMost)), t.id, r})
		t.early = min(t.early+1, 31)
		return Early
	}
	s.dropTimer(r, t.id)
	s.cause = cause{event: r.event}
	switch t.kind {
	case timerRetry:
		t.task.retryTimer = 0
		s.attempt(t.task)
	case timerDeadline:
		t.task.deadlineTimer = 0
		s.deadline(t.task, t.due)
	case timerTry:
		t.task.tryTimer = 0
		s.tryTimedOut(t.task)
	case timerDelivery:
		s.deliverAgain(r, t.id)
	case timerRound:
		s.roundDue(r)
	case timerPolicy:
		of := t.task.body
		of.timers.take(t.name)
		s.fired = of
		s.queue = append(s.queue, work{frame: of, event: frameEvent{kind: evFired, name: t.name}})
	}
	return Applied
}
