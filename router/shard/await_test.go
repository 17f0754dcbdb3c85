package shard

import (
	"testing"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

func signalRecord(run byte, id string) *journal.Record {
	rec := engine.Record(journal.Signal, journal.RunID{run}, &engine.SignalFact{Source: "/s", ID: id, Name: "go"})
	return &rec
}

// TestAwait: who waits hears of his record and of no other, each once, in the order in which they came.
func TestAwait(t *testing.T) {
	t.Parallel()
	set := new(Set)
	hears := func(c <-chan engine.Said) engine.Reason {
		select {
		case r := <-c:
			return r.Reason
		default:
			return 0
		}
	}
	first, stop := set.Await(signalRecord(1, "a"))
	defer stop()
	second, stopSecond := set.Await(signalRecord(1, "a"))
	defer stopSecond()
	gone, stopGone := set.Await(signalRecord(1, "b"))
	stopGone()
	stopGone()
	set.awaits.tell(signalRecord(2, "a"), engine.Applied, engine.Met{})
	set.awaits.tell(signalRecord(1, "b"), engine.Applied, engine.Met{})
	cancel := engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{})
	cancel.Payload = signalRecord(1, "a").Payload
	set.awaits.tell(&cancel, engine.Applied, engine.Met{})
	if hears(first) != 0 || hears(second) != 0 || hears(gone) != 0 {
		t.Error("somebody heard of a record that is not his")
	}
	set.awaits.tell(signalRecord(1, "a"), engine.Applied, engine.Met{})
	set.awaits.tell(signalRecord(1, "a"), engine.Duplicate, engine.Met{})
	set.awaits.tell(signalRecord(1, "a"), engine.Unknown, engine.Met{})
	if a, b := hears(first), hears(second); a != engine.Applied || b != engine.Duplicate || hears(first) != 0 {
		t.Errorf("%s, then %s", a, b)
	}
	if n := set.awaits.any.Load(); n != 0 || len(set.awaits.runs) != 0 {
		t.Errorf("%d wait still, of %d runs", n, len(set.awaits.runs))
	}
}

// TestAFactThatComesAgainIsKnown though its run has ended since; a cancel has no id by which it could be.
func TestAFactThatComesAgainIsKnown(t *testing.T) {
	t.Parallel()
	set := new(Set)
	asked := func(rec *journal.Record, folded engine.Reason) engine.Reason {
		said, stop := set.Await(rec)
		defer stop()
		set.awaits.tell(rec, folded, engine.Met{})
		return (<-said).Reason
	}
	cancel := engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{})
	done := engine.Record(journal.Completion, journal.RunID{1}, &engine.CompletionFact{N: 1, Cause: "c"})
	for i, c := range []struct {
		rec          *journal.Record
		folded, want engine.Reason
	}{
		{signalRecord(1, "a"), engine.Applied, engine.Applied}, {signalRecord(1, "a"), engine.Finished, engine.Duplicate},
		{signalRecord(1, "b"), engine.Finished, engine.Finished}, {signalRecord(1, "b"), engine.Finished, engine.Finished},
		{&done, engine.Applied, engine.Applied}, {&done, engine.Superseded, engine.Duplicate}, {&done, engine.Unknown, engine.Unknown},
		{&cancel, engine.Applied, engine.Applied}, {&cancel, engine.Finished, engine.Finished},
	} {
		if got := asked(c.rec, c.folded); got != c.want {
			t.Errorf("%d: %s; want %s", i, got, c.want)
		}
	}
	for i := range 2 * doneMost {
		rec := engine.Record(journal.Signal, journal.RunID{2}, &engine.SignalFact{ID: string(rune(i + 1))})
		asked(&rec, engine.Applied)
	}
	if len(set.awaits.done) != doneMost || asked(signalRecord(1, "a"), engine.Finished) != engine.Finished {
		t.Errorf("%d are remembered", len(set.awaits.done))
	}
}
