package shard

import (
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// TestParkedOnce: a place that a later tenure reads again is the same one; the oldest are forgotten.
func TestParkedOnce(t *testing.T) {
	t.Parallel()
	var p parkedPlaces
	for offset := range int64(parkedMost + 2) {
		if x := (journal.Parked{Offset: offset}); !p.keep(placeOf(1, x)) || p.keep(placeOf(1, x)) {
			t.Fatalf("offset %d", offset)
		}
	}
	if all := p.all(); len(all) != parkedMost || all[0].Place != "1/2" || !p.keep(placeOf(2, journal.Parked{Offset: 5})) {
		t.Errorf("%d, the first is %+v", len(all), all[0])
	}
}
