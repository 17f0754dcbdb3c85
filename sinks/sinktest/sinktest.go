// Package sinktest is the laws of a sink, to be run on any implementation, a third party's included.
//
//	func TestLaws(t *testing.T) { sinktest.Run(t, sinktest.Harness{New: ..., Behaviours: ...}) }
//
// The laws look for goroutines that were left behind: call Run from a test that is not parallel.
package sinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
	"go.uber.org/goleak"
)

// A Behaviour is what a far end does with what arrives.
type Behaviour uint8

// The behaviours.
const (
	Answer Behaviour = iota + 1 // takes it, and answers an invocation with its success where it answers at all
	Accept                      // takes it; the completion comes later, as an event
	Fail                        // answers that the function failed
	Busy                        // asks for it again later, or cannot be reached
	Refuse                      // cannot be sent to at all, e.g. there is no such program
	Hang                        // takes it and never answers
)

var behaviours = [...]string{Answer: "answer", Accept: "accept", Fail: "fail", Busy: "busy", Refuse: "refuse", Hang: "hang"}

// String returns the behaviour's word.
func (b Behaviour) String() string { return behaviours[b] }

// A Harness makes a sink with its far end.
type Harness struct {
	// New makes a sink whose far end behaves in one way. host has Concurrency and Log set.
	New func(t *testing.T, b Behaviour, host sinks.Host) End
	// Behaviours are those that the far end can be made to show; Answer always is.
	Behaviours []Behaviour
	// Many is how many deliveries are made at a time where many are wanted. Default 300; less for a sink that pays dearly for each.
	Many int
}

// An End is a sink and what came out at the other side.
type End struct {
	Sink sinks.Sink
	// Arrived returns what has arrived so far, in any order. It may be called at any time.
	Arrived func() []Arrival
	// Close ends the far end, once the sink is closed.
	Close func()
}

// An Arrival is one delivery as the far end sees it.
type Arrival struct {
	ID         string            // the event's
	Raw        string            // all that came of the event; equal for two deliveries of one event. What differs by nature, such as a date of sending, is left out
	Attributes map[string]string // the event's context attributes in their canonical text, extensions by their names
	Data       string
}

// Run holds a sink to the laws.
func Run(t *testing.T, h Harness) {
	if h.Many == 0 {
		h.Many = 300
	}
	l := laws{h}
	if !slices.Contains(h.Behaviours, Answer) {
		l.h.Behaviours = append(slices.Clone(h.Behaviours), Answer)
	}
	for _, b := range l.h.Behaviours {
		t.Run("an invocation ends as the far end behaves/"+b.String(), func(t *testing.T) { l.ends(t, b) })
	}
	t.Run("an event is accepted", l.accepts)
	t.Run("many at a time", l.many)
	t.Run("a context that ended before", l.endedBefore)
	t.Run("a context that ends at any moment", l.endsAnywhere)
	if slices.Contains(h.Behaviours, Hang) {
		t.Run("a context that ends during", l.endsDuring)
	}
	t.Run("the event is not changed, and twice it is the same bytes", l.same)
	t.Run("awkward texts arrive", l.awkward)
	t.Run("what has a ticket is not started again", l.fetched)
}

type laws struct{ h Harness }

// patience bounds every wait; nothing that goes well comes near it.
const patience = 10 * time.Second

// use makes a sink, lets f work with it, closes it, and looks for what was left behind.
func (l *laws) use(t *testing.T, b Behaviour, f func(e End)) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	e := l.h.New(t, b, sinks.Host{Concurrency: l.h.Many, Log: func(context.Context, string, ...any) {}})
	f(e)
	if err := e.Sink.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	e.Close()
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// A watch counts the ends of one delivery.
type watch struct {
	d     *sinks.Delivery
	times atomic.Int32
	ended chan sinks.Result // the first
}

func (w *watch) result(t *testing.T) sinks.Result {
	t.Helper()
	select {
	case r := <-w.ended:
		return r
	case <-time.After(patience):
		t.Fatalf("delivery %s did not end within %s", w.d.ID(), patience)
		return sinks.Result{}
	}
}

func (w *watch) once(t *testing.T) {
	t.Helper()
	if n := w.times.Load(); n != 1 {
		t.Errorf("Done was called %d times for delivery %s", n, w.d.ID())
	}
}

func deliveryOf(ctx context.Context, e *event.Event) *watch {
	w := &watch{ended: make(chan sinks.Result, 1)}
	w.d = &sinks.Delivery{Context: ctx, Outgoing: envelope.Made(e), Function: "f", Contract: "http", Invoke: true, Attempt: 1}
	w.d.Done = func(r sinks.Result) {
		if w.times.Add(1) == 1 {
			w.ended <- r
		}
	}
	return w
}

// deliver gives the sink deliveries in one call, which has to return though the far end may be at work, and takes the slice back at once.
func deliver(t *testing.T, s sinks.Sink, ws ...*watch) {
	t.Helper()
	batch := make([]*sinks.Delivery, len(ws))
	for i, w := range ws {
		batch[i] = w.d
	}
	returned := make(chan struct{})
	go func() {
		s.Deliver(context.Background(), batch)
		clear(batch)
		close(returned)
	}()
	select {
	case <-returned:
	case <-time.After(patience):
		t.Errorf("Deliver did not return within %s", patience)
	}
}

func invocation(id string) *event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/onward/laws")
	e.SetType("dev.onward.function.invoke")
	e.SetSubject("f")
	e.SetTime(time.Unix(1_700_000_000, 123_456_000).UTC())
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(`{"n":1}`)) // JSON as it is marshals.
	return &e
}

// wellFormed says what is wrong with a result.
func wellFormed(r sinks.Result) string {
	complain := func(e *sinks.Error) string {
		switch {
		case e == nil:
			return "no error"
		case e.Type == "" || e.Message == "":
			return fmt.Sprintf("an error without type or message: %+v", e)
		case !slices.Contains([]string{"function", "throttle", "platform", "timeout", "cancelled"}, e.Class):
			return fmt.Sprintf("an error of the unknown class %q", e.Class)
		case e.Data != nil && !json.Valid(e.Data):
			return fmt.Sprintf("an error whose data is not JSON: %q", e.Data)
		}
		return ""
	}
	switch {
	case r.After < 0:
		return "a pause below zero"
	case r.Verdict == sinks.Accepted:
		return ""
	case r.Verdict == sinks.Retry, r.Verdict == sinks.Failed:
		return complain(r.Err)
	case r.Verdict != sinks.Completed:
		return fmt.Sprintf("verdict %d", r.Verdict)
	case r.Completion.Err != nil:
		return complain(r.Completion.Err)
	case !json.Valid(r.Completion.Data):
		return fmt.Sprintf("completed with what is not JSON: %q", r.Completion.Data)
	}
	return ""
}

// ends: an invocation ends by the verdict that the far end's behaviour stands for.
func (l *laws) ends(t *testing.T, b Behaviour) {
	l.use(t, b, func(e End) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := deliveryOf(ctx, invocation("one"))
		deliver(t, e.Sink, w)
		if b == Hang {
			waitFor(t, "the delivery to arrive", func() bool { return len(e.Arrived()) == 1 })
			cancel()
		}
		r := w.result(t)
		if wrong := wellFormed(r); wrong != "" {
			t.Errorf("%s: %s", b, wrong)
		}
		completed := r.Verdict == sinks.Completed
		failed := completed && r.Completion.Err != nil
		ok := map[Behaviour]bool{
			Answer: completed && !failed || r.Verdict == sinks.Accepted, Accept: r.Verdict == sinks.Accepted, Fail: failed,
			Busy: r.Verdict == sinks.Retry, Refuse: r.Verdict == sinks.Failed, Hang: r.Verdict == sinks.Failed,
		}[b]
		if !ok {
			t.Errorf("%s: verdict %d, completion %+v, error %v", b, r.Verdict, r.Completion, r.Err)
		}
		w.once(t)
	})
}

// accepts: for an event all that counts is that it arrived.
func (l *laws) accepts(t *testing.T) {
	l.use(t, Answer, func(e End) {
		w := deliveryOf(context.Background(), invocation("event"))
		w.d.Invoke = false
		deliver(t, e.Sink, w)
		if r := w.result(t); r.Verdict != sinks.Accepted {
			t.Errorf("verdict %d, error %v", r.Verdict, r.Err)
		}
		if a := e.Arrived(); len(a) != 1 || a[0].ID != "event" {
			t.Errorf("arrived: %+v", a)
		}
	})
}

// many: deliveries that come from many goroutines, one by one and in batches, all arrive and each ends once.
func (l *laws) many(t *testing.T) {
	l.use(t, Answer, func(e End) {
		ws := make([]*watch, l.h.Many)
		for i := range ws {
			ws[i] = deliveryOf(context.Background(), invocation(fmt.Sprint("many-", i)))
		}
		var callers sync.WaitGroup
		for i := 0; i < len(ws); {
			n := min(1+i%7, len(ws)-i)
			batch := ws[i : i+n]
			callers.Go(func() { deliver(t, e.Sink, batch...) })
			i += n
		}
		callers.Wait()
		for _, w := range ws {
			if r := w.result(t); r.Verdict != sinks.Completed && r.Verdict != sinks.Accepted {
				t.Errorf("%s: verdict %d, error %v", w.d.ID(), r.Verdict, r.Err)
			}
		}
		seen := make(map[string]int)
		for _, a := range e.Arrived() {
			seen[a.ID]++
		}
		for _, w := range ws {
			w.once(t)
			if seen[w.d.ID()] != 1 {
				t.Errorf("%s arrived %d times", w.d.ID(), seen[w.d.ID()])
			}
		}
	})
}

// givenUp checks the end of a delivery whose context ended.
func givenUp(t *testing.T, ctx context.Context, r sinks.Result) {
	t.Helper()
	want := "cancelled"
	if ctx.Err() == context.DeadlineExceeded {
		want = "timeout"
	}
	if wrong := wellFormed(r); wrong != "" {
		t.Error(wrong)
	} else if r.Verdict != sinks.Failed || r.Err.Class != want {
		t.Errorf("verdict %d, error %+v; want Failed of class %s", r.Verdict, r.Err, want)
	}
}

func (l *laws) endedBefore(t *testing.T) {
	l.use(t, Answer, func(e End) {
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel()
		for _, ctx := range []context.Context{cancelled, late} {
			w := deliveryOf(ctx, invocation("never"))
			deliver(t, e.Sink, w)
			givenUp(t, ctx, w.result(t))
			w.once(t)
		}
		if a := e.Arrived(); len(a) > 0 {
			t.Errorf("what was given up before it was sent has arrived: %+v", a)
		}
	})
}

// endsAnywhere: wherever its context ends, a delivery ends once, well or given up.
func (l *laws) endsAnywhere(t *testing.T) {
	l.use(t, Answer, func(e End) {
		begin := time.Now()
		first := deliveryOf(context.Background(), invocation("first"))
		deliver(t, e.Sink, first)
		first.result(t)
		span := max(2*time.Since(begin), time.Millisecond)
		var ws []*watch
		for i := range 40 {
			ctx, cancel := context.WithTimeout(context.Background(), span*time.Duration(i)/40)
			defer cancel()
			w := deliveryOf(ctx, invocation(fmt.Sprint("any-", i)))
			done := w.d.Done
			w.d.Done = func(r sinks.Result) {
				cancel() // The context's end after a delivery's own is of no consequence.
				done(r)
			}
			ws = append(ws, w)
			deliver(t, e.Sink, w)
		}
		for _, w := range ws {
			r := w.result(t)
			if wrong := wellFormed(r); wrong != "" {
				t.Errorf("%s: %s", w.d.ID(), wrong)
			}
			if r.Verdict == sinks.Failed && r.Err.Class != "timeout" {
				t.Errorf("%s: %+v", w.d.ID(), r.Err)
			}
		}
		for _, w := range ws {
			w.once(t)
		}
	})
}

// endsDuring: while the far end is silent, Deliver returns, and each delivery ends with its own context.
func (l *laws) endsDuring(t *testing.T) {
	l.use(t, Hang, func(e End) {
		cancelled, cancel := context.WithCancel(context.Background())
		defer cancel()
		one, two := deliveryOf(cancelled, invocation("cancelled")), deliveryOf(cancelled, invocation("too"))
		deliver(t, e.Sink, one, two)
		waitFor(t, "both to arrive", func() bool { return len(e.Arrived()) == 2 })
		timed, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer stop()
		late := deliveryOf(timed, invocation("late"))
		deliver(t, e.Sink, late)
		givenUp(t, timed, late.result(t))
		if n := one.times.Load() + two.times.Load(); n != 0 {
			t.Errorf("%d deliveries ended with the context of another", n)
		}
		cancel()
		for _, w := range []*watch{one, two} {
			givenUp(t, cancelled, w.result(t))
			w.once(t)
		}
		late.once(t)
	})
}

// Awkward is an event with texts that a wire may garble, and with extensions that nobody knows.
func Awkward(id string) *event.Event {
	e := invocation(id)
	e.SetSubject("größe \"100%\" 雪 %41 a=b; c, d")
	e.SetDataSchema("https://example.com/schema?a=b%20c#d")
	for name, v := range map[string]any{
		"plain": "text", "quoted": `"quoted"`, "spaces": "  two  spaces  ", "lines": "one\ntwo\ttab", "percent": "%e2%82%ac 100%", "snow": "☃ 雪 🙂",
		"backslash": `a\b\"c`, "dollar": "$HOME `id` ${data}", "number": int32(-7), "flag": true, "equals": "a=b=c", "comma": "a, b;c",
	} {
		e.SetExtension(name, v)
	}
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(`{"text":"größe 雪 \" \\ \n 100%","n":12345678901234567890,"list":[1,null,true]}`)) // As above.
	return e
}

// Attributes returns an event's context attributes in their canonical text.
func Attributes(e *event.Event) map[string]string {
	a := map[string]string{
		"specversion": e.SpecVersion(), "id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(),
		"datacontenttype": e.DataContentType(), "dataschema": e.DataSchema(),
	}
	if !e.Time().IsZero() {
		a["time"] = types.FormatTime(e.Time())
	}
	for name, v := range e.Extensions() {
		a[name], _ = types.Format(v) // What has no text is none of the types of an attribute.
	}
	for name, v := range a {
		if v == "" {
			delete(a, name)
		}
	}
	return a
}

func (l *laws) same(t *testing.T) {
	l.use(t, Answer, func(e End) {
		ev := Awkward("same")
		before := ev.Clone()
		one, two := deliveryOf(context.Background(), ev), deliveryOf(context.Background(), ev)
		two.d.Attempt = 1
		deliver(t, e.Sink, one, two) // Both at a time: the race detector sees who writes to what is shared.
		one.result(t)
		two.result(t)
		if ev.String() != before.String() || string(ev.Data()) != string(before.Data()) || fmt.Sprint(ev.Extensions()) != fmt.Sprint(before.Extensions()) {
			t.Errorf("the event is now\n%s\nand was\n%s", ev, before)
		}
		a := e.Arrived()
		if len(a) != 2 {
			t.Fatalf("%d arrived", len(a))
		}
		if a[0].Raw != a[1].Raw {
			t.Errorf("two deliveries of one event differ:\n%q\n%q", a[0].Raw, a[1].Raw)
		}
	})
}

// awkward: every attribute that the far end gets has the event's value, unknown extensions are among them, and the data is the event's.
func (l *laws) awkward(t *testing.T) {
	l.use(t, Answer, func(e End) {
		ev := Awkward("awkward ✓ \"id\" 100%")
		w := deliveryOf(context.Background(), ev)
		deliver(t, e.Sink, w)
		w.result(t)
		a := e.Arrived()
		if len(a) != 1 {
			t.Fatalf("%d arrived", len(a))
		}
		want := Attributes(ev)
		for name, v := range a[0].Attributes {
			if want[name] != v {
				t.Errorf("%s: %q has arrived of %q", name, v, want[name])
			}
		}
		for name := range ev.Extensions() {
			if _, ok := a[0].Attributes[name]; !ok {
				t.Errorf("extension %s has not arrived", name)
			}
		}
		for _, name := range []string{"id", "source", "type", "subject"} {
			if _, ok := a[0].Attributes[name]; !ok {
				t.Errorf("%s has not arrived", name)
			}
		}
		if strings.TrimSpace(a[0].Data) != string(ev.Data()) {
			t.Errorf("data: %q has arrived of %q", a[0].Data, ev.Data())
		}
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// Describe says what became of a delivery, for tests that compare it.
func Describe(r sinks.Result) string {
	switch r.Verdict {
	case sinks.Accepted:
		return "accepted"
	case sinks.Retry:
		return fmt.Sprintf("retry %s %s %s", r.After, r.Err.Class, r.Err.Type)
	case sinks.Failed:
		return fmt.Sprintf("failed %s %s: %s", r.Err.Class, r.Err.Type, r.Err.Message)
	}
	if e := r.Completion.Err; e != nil {
		return fmt.Sprintf("error %s %s: %s %s", e.Class, e.Type, e.Message, e.Data)
	}
	if r.Completion.Continue {
		return "continue " + string(r.Completion.Data)
	}
	return "completed " + string(r.Completion.Data)
}

// fetched: a Fetcher tells the ticket of what it has started while the delivery is under way, and asks for the result of what has one. The others do neither.
func (l *laws) fetched(t *testing.T) {
	l.use(t, Answer, func(e End) {
		_, fetches := e.Sink.(sinks.Fetcher)
		var tickets []string
		w := deliveryOf(t.Context(), invocation("run~p.1"))
		w.d.Took = func(ticket string) { tickets = append(tickets, ticket) }
		deliver(t, e.Sink, w)
		first := w.result(t)
		if !fetches {
			if len(tickets) > 0 {
				t.Errorf("it tells tickets %q, and takes none: it is no Fetcher", tickets)
			}
			return
		}
		if len(tickets) != 1 || !isTicket(tickets[0]) {
			t.Fatalf("tickets %q", tickets)
		}
		arrived := len(e.Arrived())
		news := make(chan struct{}, 1)
		news <- struct{}{}
		again := deliveryOf(t.Context(), invocation("run~p.1"))
		again.d.Ticket, again.d.News = tickets[0], news
		again.d.Took = func(ticket string) { t.Errorf("another ticket: %q", ticket) }
		deliver(t, e.Sink, again)
		if got := again.result(t); got.Verdict != first.Verdict || string(got.Completion.Data) != string(first.Completion.Data) || len(e.Arrived()) != arrived {
			t.Errorf("%+v, was %+v; %d have arrived", got, first, len(e.Arrived()))
		}
		again.once(t)
	})
}

// isTicket is what the router keeps.
func isTicket(s string) bool {
	return s != "" && len(s) <= 128 && strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, unicode.IsControl)
}
