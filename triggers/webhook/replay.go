package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
)

// isBound reports whether what tells a request's events from others, their sources and ids, is in its body, which is signed.
func isBound(head form) bool {
	switch x := head.(type) {
	case *envelope.Head:
		return x.IsWhole()
	case *foreign:
		as := &x.w.s.As.As
		return !slices.ContainsFunc(slices.Concat(as.ID.Names(), as.Source.Names()), func(name string) bool { return name == "headers" || name == "query" || name == "path" })
	}
	return false
}

// sealOf is by what the events of a signed request are known where their ids or sources stand in what is not signed: by the body, and by the name that the signature
// gives the message, where it gives one. Whatever the headers say, at whatever router it comes and however late, the same signed message is the same events. Empty:
// what they are known by is signed; or the signature has a time and no name (stripe): a sender who tries again signs anew, and only the time ends what it is good for.
func (w *Webhook) sealOf(p *proof, head form, r *http.Request, body []byte) string {
	if p.mark == "" || isBound(head) {
		return ""
	}
	name := p.by.Name(r.Header)
	if name == "" && p.by.Timed() {
		return ""
	}
	sum := sha256.Sum256(slices.Concat([]byte(p.tenant+"\x00"+name+"\x00"), body))
	return hex.EncodeToString(sum[:])
}

// isTurned reports that headers of a signed request make something else of its body than it is: they read it by a charset, or as the data of an event where it is an
// event by itself, or a batch of them, whose own ids would count for nothing.
func (w *Webhook) isTurned(head form, body []byte) bool {
	if h, is := head.(*envelope.Head); is && !h.IsBinary() {
		return !h.IsWhole()
	}
	if !bytes.Contains(body, []byte("specversion")) {
		return false
	}
	for _, mode := range []string{envelope.Structured, envelope.Batched} {
		as, err := envelope.FromHTTP(http.Header{"Content-Type": {mode}})
		if err != nil {
			continue
		}
		if events, bad, err := as.Read(body, w.limits()); err == nil && len(events)+len(bad) > 0 {
			return true
		}
	}
	return false
}

// A memory knows the signatures that were good, with the events that came under them. A signature covers the body and not the headers of which an event in binary mode,
// or one by as:, is made: whoever has heard a request could send its body again as another one, of another type. So a signature is good for the events that it came with first; for them it
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
