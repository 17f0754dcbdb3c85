package command

import (
	"math"
	"testing"
)

// What is unused does not grow when the heap does not, a large heap leaves little, and a small process less.
func TestPercentFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live uint64
		most int64
		want int
	}{
		{0, math.MaxInt64, 100},
		{1, math.MaxInt64, 100},
		{256 << 20, math.MaxInt64, 100},
		{320 << 20, math.MaxInt64, 60},
		{384<<20 - 1, math.MaxInt64, 35},
		{384 << 20, math.MaxInt64, 33},
		{480 << 20, math.MaxInt64, 25},
		{512 << 20, math.MaxInt64, 20},
		{1 << 40, math.MaxInt64, 20},
		{100 << 20, 270 << 20, 100},
		{130 << 20, 270 << 20, 55},
		{160 << 20, 270 << 20, 35},
		{160 << 20, 0, 35},
	} {
		if got := percentFor(c.live, c.most); got != c.want {
			t.Errorf("%d of %d: %d, want %d", c.live, c.most, got, c.want)
		}
	}
}
