package shard

import (
	"log/slog"
	"testing"
)

func TestMarks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reopen := func(m *marks) *marks {
		t.Helper()
		if m != nil {
			if err := m.close(); err != nil {
				t.Fatal(err)
			}
		}
		m, err := openMarks(dir, 4, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := reopen(nil)
	m.begin(2, 77)
	m = reopen(m) // The process died in the middle of it.
	if m.skips(2, 77) {
		t.Error("skipped after one death")
	}
	m.begin(2, 77)
	m.end(2, 77)
	m.begin(2, 77)
	if m = reopen(m); m.skips(2, 77) {
		t.Error("a fold that went well did not clear it")
	}
	m.died(2, 77)
	m.died(3, 77)
	m.died(3, 78)
	m.died(3, 78)
	m = reopen(m)
	for _, c := range []struct {
		p      int
		offset int64
		want   bool
	}{{2, 77, true}, {3, 77, false}, {3, 78, true}, {2, 78, false}} {
		if got := m.skips(c.p, c.offset); got != c.want {
			t.Errorf("partition %d, offset %d: %v", c.p, c.offset, got)
		}
	}
	m.refold(2, 5)
	m.refolded()
	m.refold(2, 6)
	if m = reopen(m); m.kills(2, 6) || m.skips(2, 6) {
		t.Error("left out of the history after one death")
	}
	m.refold(2, 6)
	if m = reopen(m); !m.kills(2, 6) || m.kills(2, 5) || m.skips(2, 6) {
		t.Error("what ends the process twice is left out of the history, and of nothing else")
	}
	m.refold(1, 9)
	if m = reopen(m); m.kills(1, 9) || m.kills(2, 6) {
		t.Error("one death elsewhere counts for two")
	}
	m.covered(3, 80)
	if m.skips(3, 78) || !m.skips(2, 77) {
		t.Error("a snapshot forgets what it covers, and no more")
	}
	for i := range int64(2 * deathsMax) { // More than fit: the oldest go.
		m.died(1, 1000+i)
		m.died(1, 1000+i)
	}
	if !m.skips(1, 1000+2*deathsMax-1) || m.skips(1, 1000) {
		t.Error("the latest deaths are not the ones that are kept")
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
}
