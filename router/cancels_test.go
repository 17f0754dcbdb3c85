package router_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/sinks"
)

const cancelsDocument = `
version: 1
functions:
  work: { far: x, concurrency: 2, timeout: 10m, cancel: true, maxAge: 1h }
  deaf: { far: x }
triggers:
  wide: { flow: { map: { items: "${ data }", do: { function: work } } } }
  tried: { flow: { function: work, timeout: 1m, retry: { attempts: 2, backoff: 1s } } }
  both: { flow: { forkjoin: [{ function: work }, { function: deaf }] } }
`

func cancelsOf(b *bubble) (calls, cancels []*sent) {
	for _, s := range b.far.sent("work") {
		if s.Event().Type() == "dev.onward.function.cancel" {
			cancels = append(cancels, s)
		} else {
			calls = append(calls, s)
		}
	}
	return calls, cancels
}

// TestCancelReachesTheFunction: what was sent is told, by an event that names the call as it was sent, also while calls that hang have all the room that there
// is; what was never sent is not; the late result is refused and counted.
func TestCancelReachesTheFunction(t *testing.T) {
	inBubble(t, cancelsDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			if s.Event().Type() == "dev.onward.function.cancel" {
				s.end(sinks.Accept())
			}
		}
		first, other := b.start("wide", "1", "[1, 2, 3, 4]"), b.start("both", "2", "1")
		calls, _ := cancelsOf(b)
		if len(calls) != 2 {
			t.Fatalf("%d calls", len(calls))
		}
		calls[0].end(sinks.Accept()) // It answers later; its place is taken by the next.
		settle()
		calls, _ = cancelsOf(b)
		if _, err := b.Cancel(t.Context(), first, "wrong input"); err != nil {
			t.Fatal(err)
		}
		settle()
		_, cancels := cancelsOf(b)
		if len(calls) != 3 || len(cancels) != 3 {
			t.Fatalf("%d calls, %d cancels", len(calls), len(cancels))
		}
		for i, s := range cancels {
			e := s.Event()
			if e.Extensions()["causationid"] != calls[i].id || e.ID() != calls[i].id+"~cancel" || e.Subject() != "work" || e.Extensions()["correlationid"] != first.String() ||
				e.Extensions()["partitionkey"] != calls[i].id || string(e.Data()) != `{"reason":"cancelled","message":"wrong input"}` || s.Invoke {
				t.Errorf("%s\n%s", e, calls[i].id)
			}
		}
		if f := b.wait(first); f.State != "cancelled" {
			t.Errorf("%+v", f)
		}
		b.event("succeeded", calls[0].id, "1")
		refused, _ := b.metric("onward_records_total", "kind=completion", "reason=superseded")
		ended, _ := b.metric("onward_records_total", "kind=completion", "reason=ended")
		if refused+ended != 1 {
			t.Errorf("the late result: %v superseded, %v ended", refused, ended)
		}
		b.counted(3, "onward_function_cancels_total", "function=work", "outcome=told")
		b.counted(1, "onward_function_cancels_total", "function=work", "outcome=not needed")

		// Of the other run's branches one fails: the other one is superseded, and told.
		b.far.open("deaf")[0].end(sinks.CompleteError(&sinks.Error{Type: "boom", Message: "it broke", Class: "function"}))
		settle()
		if _, cancels = cancelsOf(b); len(cancels) != 4 || string(cancels[3].Event().Data()) != `{"reason":"superseded"}` {
			t.Errorf("%d cancels, %s", len(cancels), cancels[len(cancels)-1].Event())
		}
		if f := b.wait(other); f.State != "failed" {
			t.Errorf("%+v", f)
		}
		rest()
		b.counted(0, "onward_runs")
	})
}

// TestCancelOutlivesItsOwner: it is sent by the next one, under the same id, until it has arrived; one that nobody takes is given up for its age, and is no
// dead letter.
func TestCancelOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := new(far)
		f.behave = func(s *sent) {
			if s.Event().Type() == "dev.onward.function.cancel" {
				s.end(sinks.Again(0, &sinks.Error{Type: "http_503", Message: "status 503", Class: "platform"}))
			}
		}
		b := enter(t, dir, cancelsDocument, f)
		run := b.start("tried", "1", "1")
		time.Sleep(time.Minute + 500*time.Millisecond) // The first try takes too long.
		settle()
		_, cancels := cancelsOf(b)
		if len(cancels) == 0 || string(cancels[0].Event().Data()) != `{"reason":"timeout"}` {
			t.Fatalf("%d cancels", len(cancels))
		}
		b.stop()
		f.change(nil)
		b = enter(t, dir, cancelsDocument, f)
		settle()
		_, again := cancelsOf(b)
		last := again[len(again)-1]
		if len(again) != len(cancels)+1 || last.bytes != cancels[0].bytes {
			t.Errorf("%d cancels and then %d: %s\n%s", len(cancels), len(again), last.bytes, cancels[0].bytes)
		}
		last.end(sinks.Again(0, &sinks.Error{Type: "http_503", Message: "status 503", Class: "platform"}))
		f.change(func(s *sent) {
			if s.Event().Type() == "dev.onward.function.cancel" {
				s.end(sinks.Again(0, &sinks.Error{Type: "http_503", Message: "status 503", Class: "platform"}))
				return
			}
			s.succeed()
		})
		time.Sleep(2 * time.Second) // The second try comes once the pause is over.
		settle()
		for _, s := range b.far.open("work") {
			s.succeed()
		}
		if got := b.wait(run); got.State != "succeeded" {
			t.Errorf("%+v", got)
		}
		lines, err := b.Explain(t.Context(), run)
		if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "succeeded") {
			t.Errorf("%q, %v", text, err)
		}
		time.Sleep(2 * time.Hour)
		settle()
		b.counted(0, "onward_runs")
		b.counted(1, "onward_function_cancels_total", "outcome=given up")
		b.counted(0, "onward_dead_letters_total")
		b.stop()
	})
}
