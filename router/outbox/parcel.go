package outbox

import "time"

// A parcel is the invocations that go to a function in one request. It takes one room of the function's concurrency, until the last of them has ended.
type parcel struct {
	left    int
	refused bool // there was no answer to one of them, which is booked
}

// gone takes one out, and reports whether it was the last.
func (p *parcel) gone() bool {
	p.left--
	return p.left == 0
}

// refusedBefore reports whether one of a parcel was refused before: what became of a request is booked once.
func (p *parcel) refusedBefore() bool {
	if p == nil {
		return false
	}
	was := p.refused
	p.refused = true
	return was
}

// parcels is what a lane of a function that takes batches keeps beside its queue.
type parcels struct {
	since     time.Time   // the first came that waits for a parcel; zero: none does
	timer     *time.Timer // it has waited for long enough
	gathering bool        // it is among those that the next pump looks at
}

// gather books that something has come to a lane whose function takes batches: what comes together goes together, so the next pump fills it. The lock is held.
func (o *Outbox) gather(l *lane) {
	if l.parcels.since.IsZero() {
		l.parcels.since = time.Now()
	}
	if !l.parcels.gathering {
		l.parcels.gathering = true
		o.gathering = append(o.gathering, l)
	}
}

// gathered fills the lanes to which something has come. The lock is held.
func (o *Outbox) gathered() {
	for _, l := range o.gathering {
		l.parcels.gathering = false
		o.fill(l)
	}
	o.gathering = o.gathering[:0]
}

// lingers reports whether what waits in a lane is to wait for more: there are too few for a parcel, and the first has not waited for long. A lane that is held
// sends its probe at once. The lock is held.
func (o *Outbox) lingers(l *lane, now time.Time) bool {
	if l.fn == nil || l.fn.Batch == nil || l.queue == 0 || l.is != up || l.queue >= l.fn.Batch.Max {
		return false
	}
	if l.parcels.since.IsZero() {
		l.parcels.since = now
	}
	left := l.parcels.since.Add(l.fn.Batch.Linger.D()).Sub(now)
	if left <= 0 {
		return false
	}
	if l.parcels.timer == nil {
		l.parcels.timer = time.AfterFunc(left, func() {
			o.mu.Lock()
			l.parcels.timer = nil
			o.fill(l)
			o.mu.Unlock()
			o.pump()
		})
	}
	return true
}

// around is what an invocation has beside its input, at most nearly: its attributes, as JSON.
const around = 700

// pack takes, behind the first of a parcel, those that go with it: in turn, as many as the function takes at a time and as its rate lets through. A probe goes
// alone. The lock is held.
func (o *Outbox) pack(l *lane, first *item, now time.Time) {
	p, b := &parcel{left: 1}, l.fn.Batch
	first.parcel = p
	bytes := first.inv.Input.Size() + around
	for !first.probe && p.left < b.Max && l.bucket.Wait(now) == 0 {
		it := o.next(l)
		if it == nil {
			break
		}
		if bytes += it.inv.Input.Size() + around; bytes > int(b.Bytes) {
			l.waiting.putBack(it) // It is the first of another one, when its run has its turn again.
			l.queue++
			break
		}
		it.parcel = p
		p.left++
		o.place(l, it, now)
	}
	if l.parcels.since = now; l.queue == 0 {
		l.parcels.since = time.Time{}
	}
}
