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
)

// A timer belongs to a run. Deleting it from the run is how it is cancelled: the heap drops what its run does not know.
type timer struct {
	id   uint32
	due  int64
	kind timerKind
	task *task  // of retry, deadline, try
	of   *frame // of policy
	name string // of policy
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
	for _, id := range s.runIDs() {
		r := s.runs[id]
		for _, n := range sortedNumbers(r.timers) {
			h.push(heapItem{r.timers[n].due, n, r})
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

func (it heapItem) known() bool {
	t := it.run.timers[it.id]
	return t != nil && t.due == it.due
}

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
	t.id, t.due = r.next, s.now+int64(d)
	if t.due < s.now { // A wait beyond what the clock can say is for ever.
		t.due = 1<<63 - 1
	}
	if r.timers == nil {
		r.timers = make(map[uint32]*timer)
	}
	r.timers[t.id] = &t
	s.timers.live++
	s.timers.push(heapItem{t.due, t.id, r})
	if len(s.timers.items) > 2*s.timers.live+1024 {
		s.timers.rebuild(s)
	}
	return t.id
}

// dropTimer cancels a timer; number 0 is none.
func (s *State) dropTimer(r *run, id uint32) {
	if id == 0 || r.timers[id] == nil {
		return
	}
	delete(r.timers, id)
	s.timers.live--
}

func (s *State) foldFired(r *run, payload []byte) Reason {
	f, err := DecodeFired(payload)
	if err != nil {
		return Malformed
	}
	t := r.timers[f.Timer]
	if t == nil {
		return Duplicate
	}
	if t.due > s.now {
		s.timers.push(heapItem{t.due, t.id, r})
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
		s.deadline(t.task)
	case timerTry:
		t.task.tryTimer = 0
		s.tryTimedOut(t.task)
	case timerPolicy:
		t.of.forget(t.id)
		s.queue = append(s.queue, work{frame: t.of, event: frameEvent{kind: evFired, name: t.name}})
	}
	return Applied
}
