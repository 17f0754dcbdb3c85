package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// A whisk is a sink that is asked for results by tickets.
type whisk struct{ sinkFunc }

func (whisk) Fetches() string { return "activation" }

// fetching has the bench's function be one that is asked for results.
func fetching(t *testing.T, fn config.Function, behave func(b *bench, n int, d *sinks.Delivery)) (*bench, func()) {
	b, leave := newBench(t, fn, behave)
	f := b.bound.get("f")
	f.sink = whisk{f.sink.(sinkFunc)}
	return b, leave
}

// before says that a former owner had it accepted so long ago, under a ticket.
func before(ago time.Duration, ticket string) func(*engine.Invocation) {
	return func(inv *engine.Invocation) {
		inv.Timeout, inv.Before = 5*time.Minute, &engine.Before{Accepted: time.Now().Add(-ago), Ticket: ticket}
	}
}

func everybody(string) bool { return true }

// TestTicketIsJournaledOnce: what a delivery tells is written down once and at once; its room stays taken, and its outcome is that of any other.
func TestTicketIsJournaledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, leave := fetching(t, config.Function{Concurrency: 1}, nil)
		defer leave()
		b.put(nil)
		second := b.put(nil)
		b.pump()
		d := b.sent(0)
		if d.Ticket != "" || d.Took == nil || d.News == nil {
			t.Fatalf("%+v", d)
		}
		for _, ticket := range []string{"", "a\nb", strings.Repeat("x", 129), "act-1", "act-1", "act-2"} {
			d.Took(ticket)
		}
		facts := b.take()
		if len(facts) != 1 {
			t.Fatalf("%v", kinds(facts))
		}
		if f, err := engine.DecodeAccepted(facts[0].Payload); err != nil || !slices.Equal(f.Tickets, []string{"act-1"}) {
			t.Errorf("%+v, %v", f, err)
		}
		if why, since, _ := b.Explain(b.items[itemKey{facts[0].Run, 1}].inv.Run, 1); why != "function f is at work: activation act-1, started at "+since.Format(time.RFC3339) {
			t.Error(why)
		}
		if b.count() != 1 {
			t.Error("a call that is at work has given its room away")
		}
		d.Done(sinks.Complete([]byte("1")))
		d.Took("late")
		if got := b.kinds(); !slices.Equal(got, []journal.Kind{journal.Completion}) || b.count() != 2 || len(b.tickets) != 0 {
			t.Errorf("%v, %d sent, %v", got, b.count(), b.tickets)
		}
		// What was stopped has no use for one.
		b.stop([]*engine.Invocation{second}, second.Run, engine.Answer{})
		b.sent(1).Took("act-3")
		b.sent(1).Done(sinks.Ended(b.sent(1).Context, "no result"))
		if got := b.kinds(); len(got) != 0 || len(b.tickets) != 0 {
			t.Errorf("%v, %v", got, b.tickets)
		}
	})
}

// TestSuccessorGoesOn: what a former owner has a ticket of is asked for at once - beyond the concurrency, past a pause, whatever state the function is in - and
// counts as at work; nothing new goes before there is room for it.
func TestSuccessorGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, leave := fetching(t, config.Function{Concurrency: 2, Rate: config.Rate{N: 1, Per: time.Hour}, Burst: 1}, nil)
		defer leave()
		b.Govern([]control.Control{{Kind: control.Function, Name: "f", Paused: true}})
		for i := range 3 {
			b.put(before(time.Second, fmt.Sprint("act-", i)))
		}
		fresh := b.put(nil)
		b.pump()
		if b.count() != 3 || b.sent(2).Ticket != "act-2" {
			t.Fatalf("%d were sent", b.count())
		}
		b.Govern([]control.Control{{Kind: control.Function, Name: "f"}})
		b.sent(0).Done(sinks.Complete([]byte("1")))
		if b.count() != 3 {
			t.Error("a new one goes beyond the concurrency")
		}
		b.sent(1).Done(sinks.Complete([]byte("1")))
		if b.count() != 4 || b.sent(3).Ticket != "" {
			t.Fatalf("%d were sent: what goes on has used up the rate, or its room", b.count())
		}
		// A delivery that could not tell goes on by its ticket, whatever it says.
		b.sent(2).Done(sinks.Again(0, away))
		time.Sleep(time.Second)
		if b.count() != 5 || b.sent(4).Ticket != "act-2" {
			t.Fatalf("%d were sent", b.count())
		}
		b.sent(4).Done(sinks.Complete([]byte("1")))
		b.sent(3).Done(sinks.Complete([]byte("1")))
		if got := b.kinds(); !slices.Equal(got, []journal.Kind{journal.Completion, journal.Completion, journal.Completion, journal.Completion}) || len(b.items) != 0 {
			t.Errorf("%v, %d items, %v", got, len(b.items), fresh.N)
		}
		if st := b.state(); st.InFlight != 0 || st.State != "up" {
			t.Errorf("%+v", st)
		}
	})
}

// TestTimeOfWhatWentOn: a try's time counts from where the call was taken; a successor asks for a while at least. No function is held for what takes long.
func TestTimeOfWhatWentOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(_ *bench, _ int, d *sinks.Delivery) {
			go func() {
				<-d.Context.Done()
				d.Done(sinks.Ended(d.Context, "no result of activation "+d.Ticket))
			}()
		}
		b, leave := fetching(t, config.Function{Concurrency: 8, MaxAge: time.Hour}, wait)
		defer leave()
		for i, left := range []time.Duration{4*time.Minute + 30*time.Second, time.Minute} { // Of five minutes each; the second is long over.
			b.put(before([]time.Duration{30 * time.Second, 10 * time.Hour}[i], fmt.Sprint("act-", i)))
			b.pump()
			began := time.Now()
			for len(b.owner.kept()) == i {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took < left-time.Second || took > left+time.Second {
				t.Errorf("%d: timed out after %s", i, took)
			}
		}
		b.put(func(inv *engine.Invocation) { // Without a timeout its age ends it.
			inv.Before = &engine.Before{Accepted: time.Now().Add(-30 * time.Minute), Ticket: "old"}
		})
		b.pump()
		time.Sleep(31 * time.Minute)
		if got := b.kinds(); !slices.Equal(got, []journal.Kind{journal.TimedOut, journal.TimedOut, journal.GaveUp}) || b.state().State != "up" {
			t.Errorf("%v, %+v", got, b.state())
		}
	})
}

// TestNews: who says that a result is there is heard by the delivery that has the ticket, also if it was said first; a tenant hears nothing of another one's.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, leave := fetching(t, config.Function{}, nil)
		defer leave()
		told := func(d *sinks.Delivery) bool {
			select {
			case <-d.News:
				return true
			default:
				return false
			}
		}
		inv := b.put(nil)
		b.pump()
		b.sent(0).Took("act-1")
		if told(b.sent(0)) {
			t.Error("told of nothing")
		}
		nobody := func(string) bool { return false }
		if runs := b.Fetch([]string{"act-1"}, nobody); !runs[0].IsZero() || told(b.sent(0)) {
			t.Error("another tenant's event is heard")
		}
		for range 3 { // Copies are one.
			if runs := b.Fetch([]string{"none", "act-1", "act-1"}, everybody); !runs[0].IsZero() || runs[1] != inv.Run || runs[2] != inv.Run {
				t.Error(runs)
			}
		}
		if !told(b.sent(0)) || told(b.sent(0)) {
			t.Error("it is told once")
		}
		b.sent(0).Done(sinks.Complete([]byte("1")))
		if runs := b.Fetch([]string{"act-1"}, everybody); !runs[0].IsZero() {
			t.Error("what has its outcome is found", runs)
		}
		// Early, and too early.
		for i, pause := range []time.Duration{time.Second, 2 * time.Minute} {
			ticket := fmt.Sprint("early-", i)
			b.Fetch([]string{ticket}, everybody)
			time.Sleep(pause)
			b.put(nil)
			b.pump()
			d := b.sent(1 + i)
			d.Took(ticket)
			if told(d) != (i == 0) {
				t.Error(ticket, "after", pause)
			}
			d.Done(sinks.Complete([]byte("1")))
		}
		// However many are named that nobody has, a bounded number is remembered: the latest.
		for i := range 3 * earlyMost {
			b.Fetch([]string{fmt.Sprint("many-", i)}, everybody)
		}
		now := time.Now()
		if n := len(b.early.at); n != earlyMost || len(b.early.ring) != earlyMost || !b.early.has(fmt.Sprint("many-", 3*earlyMost-1), now) || b.early.has("many-0", now) {
			t.Error(n, len(b.early.ring))
		}
	})
}

// TestTicketOfAnotherSink: a function that is none any more that is asked for results is not called again: the call waits for its completion or its time. Once it is one
// again, it is asked; and what has no function waits until the documents have it.
func TestTicketOfAnotherSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{MaxAge: time.Hour}, nil)
		defer leave()
		inv := b.put(before(time.Second, "act-1"))
		b.pump()
		why, _, _ := b.Explain(inv.Run, inv.N)
		if b.count() != 0 || !strings.Contains(why, "has accepted it (act-1), and is none any more that is asked for results") {
			t.Fatal(b.count(), why)
		}
		plain := b.bound.get("f")
		asked := &function{Function: plain.Function, sink: whisk{plain.sink.(sinkFunc)}}
		load := func(f *function) {
			all := map[string]*function{}
			if f != nil {
				all["f"] = f
			}
			b.bound.functions.Store(&functions{byName: all})
			b.rebind()
		}
		load(asked)
		if b.count() != 1 || b.sent(0).Ticket != "act-1" {
			t.Fatal(b.count())
		}
		b.sent(0).Done(sinks.Complete([]byte("1")))
		time.Sleep(2 * time.Hour)
		if got := b.kinds(); !slices.Equal(got, []journal.Kind{journal.Completion}) {
			t.Error(got)
		}
		load(nil)
		b.put(before(time.Second, "act-2"))
		b.pump()
		time.Sleep(time.Second)
		if b.count() != 1 {
			t.Error("it went to no function")
		}
		load(asked)
		if b.count() != 2 || b.sent(1).Ticket != "act-2" {
			t.Fatal(b.count())
		}
		b.sent(1).Done(sinks.Complete([]byte("1")))
		// A shard that leaves takes its tickets along: its successor asks.
		b.put(before(time.Second, "act-3"))
		b.pump()
		b.leave(b.owner)
		if len(b.tickets) != 0 || len(b.Fetch([]string{"act-3"}, everybody)) != 1 || !b.Fetch([]string{"act-3"}, everybody)[0].IsZero() {
			t.Error(b.tickets)
		}
		b.sent(2).Done(sinks.Ended(context.Background(), "x"))
	})
}

// TestRedriveWaitsForATicketsResult: a dead letter that is sent again has not arrived with its ticket.
func TestRedriveWaitsForATicketsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(Options{Intake: new(intake), MaxValue: 16 << 20, Log: slog.New(slog.DiscardHandler)})
		sink := whisk{func(d *sinks.Delivery) {
			go func() {
				d.Took("act-1")
				time.Sleep(time.Minute)
				d.Done(sinks.CompleteError(&sinks.Error{Type: "boom", Message: "it broke", Class: "function"}))
			}()
		}}
		o.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &config.Function{Name: "f", Concurrency: 1, Sink: plugin.Component{Name: "far"}}, sink: sink}}})
		began := time.Now()
		if err := o.Redrive(t.Context(), dead(engine.Call, "f", "")); err == nil || !strings.Contains(err.Error(), "it broke") || time.Since(began) < time.Minute {
			t.Error(err, time.Since(began))
		}
		o.Wait()
	})
}
