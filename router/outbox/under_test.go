package outbox

import (
	"sync"
	"testing"
)

// TestTally: who waits hears of the first time that nothing is under way, also while others begin and end; a WaitGroup would panic.
func TestTally(t *testing.T) {
	t.Parallel()
	var x tally
	<-x.ended()
	x.begin()
	x.begin()
	first := x.ended()
	x.end()
	select {
	case <-first:
		t.Error("one is under way")
	default:
	}
	x.end()
	<-first
	x.begin()
	select {
	case <-x.ended():
		t.Error("another is under way")
	default:
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				x.begin()
				x.end()
			}
		})
		all.Go(func() {
			for range 200 {
				_ = x.ended()
			}
		})
	}
	all.Wait()
	last := x.ended()
	x.end()
	<-last
}
