package webhook

import (
	"net/http"
	"sync"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/triggers/mapping"
	"golang.org/x/sync/semaphore"
)

// What bodies may become at a time: an event of fifty bytes in a batch is some kilobyte, and a few bytes that are compressed may be all that an event or a batch may
// have. Who sends little does not wait for those who send much.
const (
	inflating  = 4       // events that were compressed; batches are half as many
	roomLarge  = 200_000 // events of batches that are large
	roomSmall  = 100_000 // events of batches that are not
	largeBatch = 10_000
	leastEvent = 50 // bytes
	leastItem  = 2
)

// A becoming is what the bodies of requests become.
type becoming struct{ inflated, large, small *semaphore.Weighted }

func newBecoming() becoming {
	return becoming{semaphore.NewWeighted(inflating), semaphore.NewWeighted(roomLarge), semaphore.NewWeighted(roomSmall)}
}

// weigh is how much of which room a request takes, which it may not exceed; nil: none, since requests are counted.
func (w *Webhook) weigh(r *http.Request, head form, body []byte) (of *semaphore.Weighted, n int64) {
	h, isEvent := head.(*envelope.Head)
	many := isEvent && h.IsBatch() || !isEvent && !w.s.As.Each.IsZero()
	switch compressed := r.Header.Get("Content-Encoding") != ""; {
	case compressed && many:
		return w.becoming.inflated, inflating / 2
	case compressed:
		return w.becoming.inflated, 1
	case !many:
		return nil, 0
	case isEvent:
		n = int64(min(len(body)/leastEvent+1, envelope.MaxBatchEvents))
	default:
		n = int64(min(len(body)/leastItem+1, mapping.MostItems))
	}
	if n > largeBatch {
		return w.becoming.large, n
	}
	return w.becoming.small, n
}

// room waits for room for what a body becomes, and returns what gives it back, which may be called twice; nil: the client has gone meanwhile.
func (w *Webhook) room(r *http.Request, head form, body []byte) (leave func()) {
	of, n := w.weigh(r, head, body)
	if of == nil {
		return func() {}
	}
	if of.Acquire(r.Context(), n) != nil {
		return nil
	}
	return sync.OnceFunc(func() { of.Release(n) })
}
