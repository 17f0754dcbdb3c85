package admission

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
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
func (in *intake) takeFact(i int, e *event.Event) (foreign bool) {
	receipt := &in.receipts[i]
	if run, f, err, ok := signalOf(in.nameOf(i, e), e); ok {
		switch {
		case !in.accepts.Signals:
			receipt.Err = in.notAccepted("a signal")
		case err != nil:
			receipt.Err = err
		default:
			in.addFact(i, engine.Record(journal.Signal, run, f), triggers.Signal)
		}
		return false
	}
	if beat, is, ours, err := in.g.beatOf(e); is {
		switch {
		case !ours:
			return true
		case !in.accepts.Completions:
			receipt.Err = in.notAccepted("the heartbeat of an invocation")
		case err != nil:
			receipt.Err = err
		default:
			in.addBeat(i, beat)
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
		f.Arrived = in.began
		in.addFact(i, engine.Record(journal.Completion, run, f), triggers.Completion)
	}
	return false
}

// takeSpoiled takes a completion whose data cannot be read. Its cause proves which invocation it answers, so that one has failed: left alone, its run would
// wait for the time-out. It starts nothing, and who sent it hears both.
func (in *intake) takeSpoiled(i int, e *event.Event) {
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
	f.Outcome, f.Arrived = unread(why), in.began
	in.receipts[i].Err = nil
	if in.addFact(i, engine.Record(journal.Completion, run, f), triggers.Completion) {
		in.receipts[i].Note = "its invocation has failed (" + f.Outcome.Err.Type + "): " + why.Error()
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

func (in *intake) addFact(i int, rec journal.Record, kind triggers.Kind) bool {
	if !in.add(rec, i) {
		return false
	}
	receipt := &in.receipts[i]
	in.runs = append(in.runs, in.g.handle(rec.Run, ""))
	*receipt = triggers.Receipt{Kind: kind, Runs: slices.Clip(in.runs[len(in.runs)-1:])}
	in.g.metrics.taken[kind].Inc()
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

// hand gives the facts of a call whose runs other routers fold to those, where they can be asked: they make them durable and say what became of them.
// The rest is appended here.
func (in *intake) hand() {
	if !in.asks {
		return
	}
	var away []journal.Record
	var at []int // in records
	for k := range in.records {
		if rec := &in.records[k]; rec.Kind != journal.Start && rec.Kind != journal.Define && !in.g.Runs.Has(rec.Run) {
			away, at = append(away, *rec), append(at, k)
		}
	}
	if len(away) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(in.ctx, patience)
	defer cancel()
	taken := make(map[int]bool, len(at))
	for i, fate := range in.g.Runs.Hand(ctx, away) {
		if fate != nil {
			in.receipts[in.whose[at[i]]].Fate = func(context.Context) triggers.Fate { return *fate }
			taken[at[i]] = true
		}
	}
	n := 0
	for k := range in.records {
		if !taken[k] {
			in.records[n], in.whose[n] = in.records[k], in.whose[k]
			n++
		}
	}
	in.records, in.whose = in.records[:n], in.whose[:n]
}

// heard waits, until some time, for what the fold made of a fact.
func (g *Gate) heard(ctx context.Context, run journal.RunID, said <-chan engine.Said, until time.Time) triggers.Fate {
	if said == nil {
		return triggers.Accepted
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case x := <-said:
		return g.fate(run, x.Reason)
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
	return g.fact(ctx, engine.Record(journal.Signal, run, &f))
}

// Cancel cancels a run, and says what became of it.
func (g *Gate) Cancel(ctx context.Context, run journal.RunID, reason string) (triggers.Fate, error) {
	return g.fact(ctx, engine.Record(journal.Cancel, run, &engine.CancelFact{Reason: reason, ID: rand.Text()}))
}

// Facts makes facts about runs durable, together, and says of each what became of it where this router folds its run.
func (g *Gate) Facts(ctx context.Context, facts []journal.Record) ([]triggers.Fate, error) {
	if g.draining.Load() {
		return nil, triggers.ErrDraining
	}
	said := make([]<-chan engine.Said, len(facts))
	for i := range facts {
		facts[i].Partition = g.Layout.Partition(facts[i].Run.Route())
		var stop func()
		said[i], stop = g.Runs.Await(&facts[i])
		defer stop()
	}
	err := g.Journal.Append(ctx, facts)
	if errors.Is(err, journal.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", triggers.ErrTooLarge, err)
	}
	if err != nil {
		return nil, err
	}
	fates, until := make([]triggers.Fate, len(facts)), time.Now().Add(patience)
	for i := range facts {
		fates[i] = g.heard(ctx, facts[i].Run, said[i], until)
	}
	return fates, nil
}

// fact is Facts of one.
func (g *Gate) fact(ctx context.Context, rec journal.Record) (triggers.Fate, error) {
	fates, err := g.Facts(ctx, []journal.Record{rec})
	if err != nil {
		return 0, err
	}
	return fates[0], nil
}
