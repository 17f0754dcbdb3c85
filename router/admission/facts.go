package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// patience is how long one who asks what became of a fact waits for its fold.
const patience = 2 * time.Second

// takeFact takes an event that is a fact about a run. foreign says that it looks like an outcome, and not of an invocation that this router sent.
func (in *intake) takeFact(e *event.Event, receipt *triggers.Receipt) (foreign bool) {
	if run, f, err, ok := signalOf(e); ok {
		switch {
		case !in.accepts.Signals:
			receipt.Err = in.notAccepted("a signal")
		case err != nil:
			receipt.Err = err
		default:
			in.addFact(engine.Record(journal.Signal, run, f), triggers.Signal, receipt)
		}
		return false
	}
	run, f, is, ours := in.g.completionOf(e)
	switch {
	case !is || !ours:
		return is
	case !in.accepts.Completions:
		receipt.Err = in.notAccepted("the outcome of an invocation")
	default:
		in.addFact(engine.Record(journal.Completion, run, f), triggers.Completion, receipt)
	}
	return false
}

// takeSpoiled takes a completion whose data cannot be read. Its cause proves which invocation it answers, so that one has failed: left alone, its run would
// wait for the time-out. It starts nothing, and who sent it hears both.
func (in *intake) takeSpoiled(e *event.Event, receipt *triggers.Receipt) {
	why := envelope.Spoiled(e)
	if why == nil {
		return
	}
	mended := envelope.Mended(e)
	if check(&mended) != nil {
		return
	}
	run, f, _, ours := in.g.completionOf(&mended)
	if !ours || !in.accepts.Completions {
		return // It is bad, and nothing else.
	}
	f.Outcome = unread(why)
	receipt.Err = nil
	if in.addFact(engine.Record(journal.Completion, run, f), triggers.Completion, receipt) {
		receipt.Note = "its invocation has failed (" + f.Outcome.Err.Type + "): " + why.Error()
	}
}

// unread is the outcome of an invocation whose completion cannot be read.
func unread(why error) lang.Outcome {
	kind := "bad_response"
	if r := (*envelope.Refusal)(nil); errors.As(why, &r) && r.Reason == envelope.TooLarge {
		kind = "too_large"
	}
	return lang.Failure(&lang.Error{Type: kind, Message: "the completion is no answer: " + why.Error(), Class: lang.ClassFunction})
}

func (in *intake) notAccepted(what string) error {
	return fmt.Errorf("%w: this source does not take %s; send it to one that does, or change accepts: of the source", triggers.ErrRefused, what)
}

func (in *intake) addFact(rec journal.Record, kind triggers.Kind, receipt *triggers.Receipt) bool {
	if !in.add(rec, receipt, -1) {
		return false
	}
	*receipt = triggers.Receipt{Kind: kind, Runs: []triggers.Run{in.g.handle(rec.Run, "")}}
	in.g.metrics.events.WithLabelValues(kind.String()).Inc()
	if in.asks {
		receipt.Fate = in.fateOf(rec)
	}
	return true
}

// fateOf arranges that what becomes of a record can be asked for, once it is appended. Nobody waits beyond the call's context, and all of a call together
// no longer than patience.
func (in *intake) fateOf(rec journal.Record) func(context.Context) triggers.Fate {
	said, stop := in.g.Runs.Await(&rec)
	context.AfterFunc(in.ctx, stop)
	fate, asked, run := triggers.Accepted, false, rec.Run // Not the record: who waits may wait long.
	return func(ctx context.Context) triggers.Fate {
		if !asked {
			asked, fate = true, in.g.heard(ctx, run, said, in.until)
			stop()
		}
		return fate
	}
}

// hand gives the one fact of a call to the router that folds its run, if another one does and can be asked: then that one has made it durable.
func (in *intake) hand() bool {
	if !in.asks || len(in.receipts) != 1 || len(in.records) != 1 || in.receipts[0].Fate == nil || in.g.Runs.Has(in.records[0].Run) {
		return false
	}
	ctx, cancel := context.WithTimeout(in.ctx, patience)
	defer cancel()
	fate, ok := in.g.Runs.Hand(ctx, &in.records[0])
	if ok {
		in.receipts[0].Fate = func(context.Context) triggers.Fate { return fate }
	}
	return ok
}

// heard waits, until some time, for what the fold made of a fact.
func (g *Gate) heard(ctx context.Context, run journal.RunID, said <-chan engine.Reason, until time.Time) triggers.Fate {
	if said == nil {
		return triggers.Accepted
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case reason := <-said:
		return g.fate(run, reason)
	case <-late.C:
	case <-ctx.Done():
	}
	return triggers.Accepted
}

// fate says a fold's reason in the words of those who ask. A run that the fold has forgotten may have ended all the same.
func (g *Gate) fate(run journal.RunID, reason engine.Reason) triggers.Fate {
	switch reason {
	case engine.Applied, engine.Waiting:
		return triggers.Applied
	case engine.Duplicate:
		return triggers.Repeated
	case engine.Finished:
		return triggers.Ended
	case engine.Unknown:
		if g.Runs.Ended(run) {
			return triggers.Ended
		}
		return triggers.Unknown
	case engine.Superseded:
		return triggers.Superseded
	case engine.Limited:
		return triggers.Limited
	case engine.Malformed:
		return triggers.Malformed
	}
	return triggers.Accepted // Of a fact nobody is Stale or Early.
}

// Signal sends a signal to a run, and says what became of it. The same source and id count once.
func (g *Gate) Signal(ctx context.Context, run journal.RunID, f engine.SignalFact) (triggers.Fate, error) {
	return g.Fact(ctx, engine.Record(journal.Signal, run, &f))
}

// Cancel cancels a run, and says what became of it.
func (g *Gate) Cancel(ctx context.Context, run journal.RunID, reason string) (triggers.Fate, error) {
	return g.Fact(ctx, engine.Record(journal.Cancel, run, &engine.CancelFact{Reason: reason}))
}

// Fact makes a fact about a run durable, and says what became of it where this router folds the run.
func (g *Gate) Fact(ctx context.Context, rec journal.Record) (triggers.Fate, error) {
	if g.draining.Load() {
		return 0, triggers.ErrDraining
	}
	rec.Partition = g.Layout.Partition(rec.Run.Route())
	said, stop := g.Runs.Await(&rec)
	defer stop()
	err := g.Journal.Append(ctx, []journal.Record{rec})
	if errors.Is(err, journal.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", triggers.ErrTooLarge, err)
	}
	if err != nil {
		return 0, err
	}
	return g.heard(ctx, rec.Run, said, time.Now().Add(patience)), nil
}
