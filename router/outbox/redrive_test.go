package outbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

func dead(purpose engine.Purpose, function, trigger string) *engine.Letter {
	return engine.LetterOf(&engine.Dead{
		Invocation: &engine.Invocation{Run: journal.RunID{9}, N: 4, Purpose: purpose, Path: "end:f", Function: function, ToTrigger: trigger, Input: lang.Of(1)},
		Err:        lang.Failf(lang.ClassFunction, "http_500", "it broke"),
	})
}

// TestRedriveSaysWhatBecameOfIt, leaves nothing behind, and goes in its function's turn.
func TestRedriveSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	answer := func(r sinks.Result) func(*bench, int, *sinks.Delivery) {
		return func(_ *bench, _ int, d *sinks.Delivery) { d.Done(r) }
	}
	for name, c := range map[string]struct {
		letter *engine.Letter
		behave func(*bench, int, *sinks.Delivery)
		want   string
	}{
		"event taken":          {dead(engine.Notify, "f", ""), answer(sinks.Accept()), ""},
		"event refused":        {dead(engine.Notify, "f", ""), answer(sinks.CompleteError(&sinks.Error{Type: "http_500", Message: "again", Class: "function"})), "http_500: again"},
		"invocation answered":  {dead(engine.Call, "f", ""), answer(sinks.Complete([]byte("1"))), ""},
		"invocation accepted":  {dead(engine.Call, "f", ""), answer(sinks.Accept()), ""},
		"invocation failed":    {dead(engine.Call, "f", ""), answer(sinks.CompleteError(&sinks.Error{Type: "boom", Message: "it broke", Class: "function"})), "boom: it broke"},
		"nobody answers":       {dead(engine.Notify, "f", ""), answer(sinks.Again(0, away)), "no answer in time: function f"},
		"silence":              {dead(engine.Call, "f", ""), func(_ *bench, _ int, d *sinks.Delivery) { go hang(d) }, "at work"},
		"function not there":   {dead(engine.Notify, "g", ""), nil, "not in the documents"},
		"trigger that is back": {dead(engine.Notify, "", "t"), nil, ""},
		"trigger that is not":  {dead(engine.Notify, "", "none"), nil, "unknown trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, config.Function{Concurrency: 1}, c.behave)
				defer leave()
				b.Intake.(*intake).start = func(inv *engine.Invocation) error {
					if inv.ToTrigger == "t" {
						return nil
					}
					return errors.New("unknown trigger")
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				err := b.Redrive(ctx, c.letter)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
				synctest.Wait()
				if l := b.lanes["f"]; len(b.items) != 0 || l != nil && l.flying != 0 || len(b.take()) != 0 {
					t.Errorf("%d items are left", len(b.items))
				}
			})
		})
	}
}

func hang(d *sinks.Delivery) {
	<-d.Context.Done()
	d.Done(sinks.Ended(d.Context, "no answer"))
}
