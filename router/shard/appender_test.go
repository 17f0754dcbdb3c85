package shard_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
)

// TestTooLargeEndsNoTenure writes records that the journal does not take beside some that it takes: the tenure goes on, the run of a large outcome hears a
// small failure, and what nothing can stand in for is kept for people.
func TestTooLargeEndsNoTenure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := memory.New(memory.Options{Partitions: 1, MaxPayload: 4 << 10})
		r := run(t, j, "")
		var calls []*engine.Invocation
		for n := range byte(3) {
			start(t, j, n+1)
			calls = append(calls, r.calls()...)
		}
		large := strings.Repeat("x", 8<<10)
		matched := engine.Record(journal.Matched, journal.RunID{9}, &engine.CancelFact{Reason: large}) // Its payload does not matter here.
		r.owner.Write(engine.Record(journal.Completion, calls[0].Run, &engine.CompletionFact{N: calls[0].N, Outcome: lang.Success(lang.Of(large))}))
		r.owner.Write(matched)
		r.owner.Write(engine.Record(journal.GaveUp, calls[1].Run, &engine.GaveUpFact{N: calls[1].N, Err: lang.Failf(lang.ClassPlatform, "t", "%s", large)}))
		answer(t, r, calls[2])
		time.Sleep(time.Hour)
		synctest.Wait()
		after := r.calls() // The second call of the run that was answered.
		if r.left != 0 || len(after) != 1 || after[0].Run != calls[2].Run {
			t.Fatalf("%d tenures ended; %d calls after it", r.left, len(after))
		}
		if len(r.ended) != 2 {
			t.Fatalf("%d runs ended", len(r.ended))
		}
		for _, e := range r.ended {
			if e.State != "failed" || e.Error == nil || e.Error.Type != "too_large" {
				t.Errorf("%+v", e)
			}
		}
		if parked := r.set.Parked(); len(parked) != 1 || !strings.Contains(parked[0].Place, "matched of run "+matched.Run.String()) || len(parked[0].Bytes) != 1024 {
			t.Errorf("parked: %+v", parked)
		}
		r.dead = slices.DeleteFunc(r.dead, func(x *engine.Letter) bool { return x.Kind() != engine.LetterParked })
		if len(r.dead) != 1 || r.dead[0].Kind() != engine.LetterParked || r.dead[0].Event != r.set.Parked()[0].Place || r.dead[0].Error.Message == "" {
			t.Errorf("dead letters: %+v", r.dead)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}
