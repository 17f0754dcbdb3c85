package command

import "testing"

// What is unused does not grow when the heap does not, and a large heap leaves little.
func TestPercentFor(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 100, 1: 100, 104 << 20: 100, 130 << 20: 60, 160 << 20: 35, 384<<20 - 1: 35, 384 << 20: 25, 512 << 20: 20, 1 << 40: 20} {
		if got := percentFor(live); got != want {
			t.Errorf("%d: %d", live, got)
		}
	}
}
