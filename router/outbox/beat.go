package outbox

import (
	"context"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// progressMost bounds the data that is kept of a heartbeat: it is for people to look at.
const progressMost = 16 << 10

// A pulse is what is known of a call's heartbeat: nothing of it is journaled.
type pulse struct {
	last     time.Time // when it came, or when the call was sent or taken over
	came     bool      // one came
	progress lang.Value
	timer    *time.Timer // the call is timed out; one timer, however many come
}

// Beat takes a heartbeat of a call that was sent, and reports whether there is one.
func (o *Outbox) Beat(b *engine.Beat) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items[itemKey{b.Run, b.N}]
	if it == nil || it.inv.Purpose != engine.Call || it.tries == 0 && it.state != accepted {
		return false
	}
	it.pulse.last, it.pulse.came = time.Now(), true
	if it.pulse.progress = b.Data; b.Data.Size() > progressMost {
		it.pulse.progress = lang.Null
	}
	o.metrics.beats.Inc()
	return true
}

// Progress tells of the last heartbeat of a call; the time is zero when none has come.
func (o *Outbox) Progress(run journal.RunID, n uint32) (last time.Time, progress lang.Value) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if it := o.items[itemKey{run, n}]; it != nil && it.pulse.came {
		return it.pulse.last, it.pulse.progress
	}
	return time.Time{}, lang.Null
}

// listen times a call out that is silent for too long, from now on. The lock is held.
func (o *Outbox) listen(it *item) {
	if it.inv.Purpose != engine.Call || it.inv.Heartbeat <= 0 {
		return
	}
	it.pulse.last = time.Now()
	if it.pulse.timer != nil {
		it.pulse.timer.Stop()
	}
	it.pulse.timer = time.AfterFunc(it.inv.Heartbeat, func() { o.silent(it) })
}

// silent times a call out, unless a heartbeat has come meanwhile: then it listens on. What waits to be sent is not at work.
func (o *Outbox) silent(it *item) {
	o.mu.Lock()
	if !o.isCurrent(it) || it.state != sending && it.state != accepted {
		o.mu.Unlock()
		return
	}
	if left := it.inv.Heartbeat - time.Since(it.pulse.last); left > 0 {
		it.pulse.timer = time.AfterFunc(left, func() { o.silent(it) })
		o.mu.Unlock()
		return
	}
	o.forget(it)
	try := it.try
	o.mu.Unlock()
	o.timed(it, wasTimedOut)
	it.timedOut(true, time.Now())
	if try != nil {
		try.end(context.Canceled)
	}
}
