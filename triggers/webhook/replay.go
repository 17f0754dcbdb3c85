package webhook

import (
	"crypto/sha256"
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// A memory knows the signatures that were good, with the events that came under them. A signature covers the body and not the headers that an event in binary mode
// is made of: whoever has heard a request could send its body again as another event. So a signature is good for the events that it came with first; for them it
// is good again, since a sender who got no answer repeats himself, and a repeat of an event does nothing more.
type memory struct {
	keep time.Duration

	mu    sync.Mutex
	known map[[32]byte]seen
	order [][32]byte // the oldest first
}

type seen struct {
	events [32]byte
	at     time.Time
}

// remembered bounds a memory: beyond it the oldest are forgotten.
const remembered = 1 << 16

func newMemory(keep time.Duration) *memory {
	return &memory{keep: keep, known: make(map[[32]byte]seen)}
}

// isOther reports whether a signature came before, with other events; it is remembered with these.
func (m *memory) isOther(mark string, events []event.Event, now time.Time) bool {
	key, digest := sha256.Sum256([]byte(mark)), digestOf(events)
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.order) > 0 && (len(m.order) >= remembered || now.Sub(m.known[m.order[0]].at) > m.keep) {
		delete(m.known, m.order[0])
		m.order = m.order[1:]
	}
	if had, is := m.known[key]; is {
		return had.events != digest
	}
	m.known[key], m.order = seen{digest, now}, append(m.order, key)
	return false
}

// digestOf is of what makes events the same, and of what filters look at first.
func digestOf(events []event.Event) (sum [32]byte) {
	h := sha256.New()
	for i := range events {
		for _, x := range []string{events[i].Source(), events[i].ID(), events[i].Type(), events[i].Subject()} {
			_, _ = h.Write([]byte(strconv.Itoa(len(x)) + ":" + x)) // A hash takes everything.
		}
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
