package outbox

import "sync"

// A tally counts what is under way. Unlike of a WaitGroup, one may be waited for while others begin: a drain lets what has its place go yet. Its zero value counts
// none.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed once there is none; nil: nobody waits
}

func (t *tally) begin() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tally) end() {
	t.mu.Lock()
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
	t.mu.Unlock()
}

// ended is closed once nothing was under way.
func (t *tally) ended() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	return t.none
}
