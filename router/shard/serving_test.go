package shard

import (
	"errors"
	"testing"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestNotFoldedYet: before a shard is claimed it has not folded all that was acknowledged. It is here, and neither says that a run is unknown nor what it was.
func TestNotFoldedYet(t *testing.T) {
	t.Parallel()
	set := &Set{Options: Options{Layout: journal.Layout{Partitions: 1}}, shards: []*Shard{{}}}
	err := set.Ask(t.Context(), journal.RunID{1}, func(*engine.State) { t.Error("it was asked") })
	if !errors.Is(err, journal.ErrMoving) || !set.Has(journal.RunID{1}) {
		t.Error(err)
	}
}
