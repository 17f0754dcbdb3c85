package command

import "testing"

// What is unused does not grow when the heap does not, and a large heap leaves little.
func TestPercentFor(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 100, 64<<20 - 1: 100, 64 << 20: 70, 192 << 20: 35, 1 << 40: 35} {
		if got := percentFor(live); got != want {
			t.Errorf("%d: %d", live, got)
		}
	}
}
