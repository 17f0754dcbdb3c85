package outbox

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A try is the context of one sending. It ends with its owner's tenure, when its time is over, or by end. Most have their answer before, and nobody has waited for
// the end of many: a channel and a timer are made for those who do.
type try struct {
	owner context.Context
	due   time.Time // zero: it has all the time

	mu    sync.Mutex
	err   error
	done  chan struct{} // nil: nobody has asked for it
	timer *time.Timer   // of due; nil: nobody waits
	told  []*func()     // those who wait by AfterFunc
}

// Deadline, Done, Err and Value are a context's.
func (t *try) Deadline() (time.Time, bool) { return t.due, !t.due.IsZero() }

func (t *try) Value(key any) any { return t.owner.Value(key) }

func (t *try) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look(time.Now())
	return t.err
}

func (t *try) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.err != nil {
			close(t.done)
		}
		t.watch()
	}
	return t.done
}

// AfterFunc is what context.AfterFunc, and contexts made of this one, use in place of a goroutine.
func (t *try) AfterFunc(f func()) (stop func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watch()
	if t.err != nil {
		go f()
		return func() bool { return false }
	}
	t.told = append(t.told, &f)
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		at := slices.Index(t.told, &f)
		if at < 0 {
			return false
		}
		t.told = slices.Delete(t.told, at, at+1)
		return true
	}
}

// watch has those told who wait, when the time is over. The lock is held.
func (t *try) watch() {
	if t.look(time.Now()); t.err == nil && t.timer == nil && !t.due.IsZero() {
		t.timer = time.AfterFunc(time.Until(t.due), func() { t.end(context.DeadlineExceeded) })
	}
}

// look ends it where that is due. The lock is held.
func (t *try) look(now time.Time) {
	switch {
	case t.err != nil:
	case t.owner.Err() != nil:
		t.over(t.owner.Err())
	case !t.due.IsZero() && !now.Before(t.due):
		t.over(context.DeadlineExceeded)
	}
}

// close ends it since its delivery has, and returns why it had ended before; nil where it had not.
func (t *try) close(now time.Time) (before error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look(now)
	before = t.err
	t.over(context.Canceled)
	return before
}

// end ends it, unless it has ended.
func (t *try) end(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(why)
}

func (t *try) over(why error) {
	if t.err != nil {
		return
	}
	t.err = why
	if t.done != nil {
		close(t.done)
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	for _, f := range t.told {
		go (*f)()
	}
	t.told = nil
}

// endsWith has the tries of an owner end with its tenure. The lock is held.
func (o *Outbox) endsWith(s Owner) {
	if o.owners[s] != nil {
		return
	}
	o.owners[s] = context.AfterFunc(s.Context(), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.owners, s)
		for _, it := range o.items {
			if it.owner == s && it.try != nil {
				it.try.end(s.Context().Err())
			}
		}
	})
}
