package outbox

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Explain says where an invocation is, for a person: why, in words that are the same for all that wait for the same, since when, and when it is given
// up if nothing changes; zero is not by the outbox. The times are in UTC.
func (o *Outbox) Explain(run journal.RunID, n uint32) (why string, since, end time.Time) {
	why, since, end = o.explain(run, n)
	return why, since.UTC(), end.UTC()
}

func (o *Outbox) explain(run journal.RunID, n uint32) (why string, since, end time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items[itemKey{run, n}]
	if it == nil {
		return "its outcome is being journaled", time.Time{}, time.Time{}
	}
	l, now := it.lane, time.Now()
	switch {
	case l.fn == nil && it.state == queued:
		return fmt.Sprintf("function %s is not in the documents; load those that define it", l.name), it.since, it.missed()
	case it.state == held:
		why = it.by.why
	case it.state == queued && l.fn.Concurrency == 0:
		why = fmt.Sprintf("function %s is stopped by concurrency: 0; it is given up in its turn", l.name)
	case it.state == queued && l.is != up:
		why = l.words(now)
	case it.state == queued && l.rooms < l.limit && !l.asked():
		why = l.unasked()
	case it.state == queued && l.rooms < l.limit && !l.bucket.Rate().IsZero():
		why = l.rateWords()
	case it.state == queued && l.rooms < l.limit && l.fn.Batch != nil:
		why = fmt.Sprintf("function %s takes batches; it waits for others to go with it", l.name)
	case it.state == queued:
		why = fmt.Sprintf("function %s at its concurrency limit of %d", l.name, l.limit)
	case it.inv.Purpose == engine.Cancel && it.state == sending:
		why = fmt.Sprintf("function %s is being told that a call is dropped", l.name)
	case it.state == sending && it.ticket != "":
		why = fmt.Sprintf("function %s is at work: %s", l.name, it.atWork())
	case it.state == sending:
		why = fmt.Sprintf("function %s is at work", l.name)
	case it.state == accepted && it.ticket != "":
		why = fmt.Sprintf("function %s has accepted it (%s), and is none any more that is asked for results by that; its completion event has not come", l.name, it.ticket)
	case it.state == accepted:
		why = fmt.Sprintf("function %s has accepted it; its completion event has not come", l.name)
	default:
		why = fmt.Sprintf("function %s gave no answer to %s (%s); sent again in %s", l.name, tries(it.again), it.err, until(it.until, now))
	}
	if it.state != sending && it.state != held && !(it.state == accepted && it.inv.Timeout > 0) {
		end = it.end()
	}
	return why, it.since, end
}

// Standing says where each of some invocations of a run is: queued, running, or waiting to be sent again.
func (o *Outbox) Standing(run journal.RunID, numbers []uint32) []engine.StepState {
	out := make([]engine.StepState, len(numbers))
	const atOnce = 1000 // Others wait meanwhile.
	for from := 0; from < len(numbers); from += atOnce {
		o.mu.Lock()
		for i := from; i < min(from+atOnce, len(numbers)); i++ {
			out[i] = engine.StepRunning // Its outcome is being journaled.
			if it := o.items[itemKey{run, numbers[i]}]; it != nil && (it.state == queued || it.state == held) {
				out[i] = engine.StepQueued
			} else if it != nil && it.state == resending {
				out[i] = engine.StepWaiting
			}
		}
		o.mu.Unlock()
	}
	return out
}

// atWork says what an item's far end knows it by, and since when it is there.
func (it *item) atWork() string {
	what := "ticket"
	if f := it.fetcher(); f != nil {
		what = f.Fetches()
	}
	return fmt.Sprintf("%s %s, started at %s", what, it.ticket, it.since.UTC().Format(time.RFC3339))
}

func tries(n int) string {
	if n == 1 {
		return "one try"
	}
	return fmt.Sprintf("%d tries", n)
}

// until says how long it is to a time, never less than a second.
func until(at, now time.Time) time.Duration { return max(at.Sub(now).Round(time.Second), time.Second) }

// Unsent counts the calls of a run that no function has been sent yet: they wait in their lanes, or are kept back since the run, a function or a trigger is paused.
func (o *Outbox) Unsent(tenant, trigger string, run journal.RunID) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lanes {
		for _, it := range l.waiting.of(tenant, trigger, string(run[:])) {
			if it.state == queued && it.unsent() && !it.gone { // What was laid aside stands there yet.
				n++
			}
		}
	}
	if k := o.kept[run]; k != nil {
		n += k.unsent[run]
	}
	for _, k := range o.stopped {
		n += k.unsent[run]
	}
	return n
}

// Functions tells of all functions.
func (o *Outbox) Functions() []control.FunctionStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := []control.FunctionStatus{}
	all := o.bound.functions.Load().byName
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fn := all[name]
		rate, burst := fn.rate()
		st := control.FunctionStatus{Function: name, Sink: fn.Sink.Name, Concurrency: fn.Concurrency, Rate: rate.String(), Burst: burst, State: up.String()}
		if n := o.limits[name]; n > 0 {
			st.Limit = min(n, fn.Concurrency)
		}
		if k := o.stopped[control.Function+"/"+name]; k != nil {
			st.Paused = k.pause
		}
		if l := o.lanes[name]; l != nil {
			st.Ended, st.Failed, st.FailedAt = l.ended, l.broken, l.brokenAt.UTC()
			st.InFlight, st.Queued, st.Held, st.State, st.Since = l.flying, l.queue, l.held, l.is.String(), l.since.UTC()
			switch {
			case l.is != up:
				st.Error, st.Next = l.why, l.until.UTC()
			case l.queue > 0 && !l.asked():
				st.Error = l.unasked()
			}
		}
		if fn.Concurrency == 0 {
			st.State = "stopped"
		}
		out = append(out, st)
	}
	return out
}
