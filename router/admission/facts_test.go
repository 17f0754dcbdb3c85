package admission

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

var call = &engine.Invocation{Run: journal.RunID{1}, N: 7, Path: "orders", Purpose: engine.Call, Trigger: "orders", Type: engine.TypeInvoke}

// TestOnlyWhoWasSentAnInvocationEndsIt: an attacker knows the run, the path and the number, and many other ids; none of them completes anything.
func TestOnlyWhoWasSentAnInvocationEndsIt(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	sent := sentAs(t, g, call)
	if !strings.HasPrefix(sent, call.ID()+".") || len(sent) > len(call.ID())+12 {
		t.Fatalf("the invocation is sent as %q", sent)
	}
	tag := strings.TrimPrefix(sent, call.ID()+".")
	next := *call
	next.N++
	other := New(Options{Journal: d, Layout: journal.Layout{Partitions: 4, Key: [32]byte{2}}, Runs: d, Log: g.Log}, g.Set())
	for name, forged := range map[string]string{
		"without a tag": call.ID(), "as the past had it": call.Run.String() + "~anything.7", "the next number": next.ID() + "." + tag, "another path": call.Run.String() + "~x.7." + tag,
		"another run": (journal.RunID{2}).String() + sent[26:], "a guess": call.ID() + ".0000000000", "another journal's": sentAs(t, other, call), "cut": sent[:len(sent)-1],
		"longer": sent + "0", "huge": call.ID() + strings.Repeat(".x", 1<<16), "bytes": "\xff\xfe." + tag, "no id at all": "order-7",
	} {
		for _, kind := range []string{envelope.Succeeded, envelope.Failed, envelope.Continue} {
			receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", kind, "1", "causationid", forged)})
			want := triggers.ErrRefused
			if other, is := map[string]error{"huge": triggers.ErrTooLarge, "bytes": triggers.ErrInvalid}[name]; is {
				want = other // It is no event.
			}
			if err != nil || !errors.Is(receipts[0].Err, want) || len(receipts[0].Err.Error()) > 1000 || len(d.kinds()) != 0 {
				t.Errorf("%s: %+v, %v", name, receipts, err)
			}
		}
	}
	receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", envelope.Succeeded, "1", "causationid", sent)})
	if err != nil || receipts[0].Kind != triggers.Completion || !slices.Equal(d.kinds(), []journal.Kind{journal.Completion}) {
		t.Errorf("with its tag: %+v, %v", receipts, err)
	}
}

// TestEndsHaveNoTag: what tells of a run's end is seen by many, and can be completed by nobody.
func TestEndsHaveNoTag(t *testing.T) {
	t.Parallel()
	g, _ := open(t, document)
	for _, p := range []engine.Purpose{engine.Notify, engine.Route} {
		end := *call
		end.Purpose = p
		if got := sentAs(t, g, &end); got != end.ID() {
			t.Errorf("%s: %q", p, got)
		}
	}
}

// TestAnothersOutcomeIsAnEvent: two routers may be chained by the outcomes of functions, whose causes only one of them has sent.
func TestAnothersOutcomeIsAnEvent(t *testing.T) {
	t.Parallel()
	g, d := open(t, strings.ReplaceAll(document, "type: order ", "type: dev.onward.function.succeeded "))
	receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", envelope.Succeeded, "1", "causationid", call.ID())})
	if err != nil || receipts[0].Kind != triggers.Matched || !strings.Contains(receipts[0].Note, "it completes nothing") || slices.Contains(d.kinds(), journal.Completion) {
		t.Errorf("%+v, %v", receipts, err)
	}
}

// TestWhatASourceAccepts: each kind of event at each kind of source.
func TestWhatASourceAccepts(t *testing.T) {
	t.Parallel()
	all := config.AcceptsAll
	starts, completions, signals := config.Accepts{Starts: true}, config.Accepts{Completions: true}, config.Accepts{Signals: true}
	g, d := open(t, strings.ReplaceAll(document, "type: order ", "type: order } }, { exact: { source: /test ")+`
  chain: { filters: [{ exact: { type: dev.onward.function.succeeded } }], flow: { function: f } }
`)
	signal := eventFor(t, "s", "dev.onward.signal", "1", "correlationid", call.Run.String())
	signal.SetSubject("approved")
	unnamed := eventFor(t, "s", "dev.onward.signal", "1", "correlationid", call.Run.String())
	order, bill := eventFor(t, "o", "order", "1"), eventFor(t, "b", "bill", "1")
	done := eventFor(t, "c", envelope.Failed, "1", "causationid", g.Seal(call.ID()))
	chained := eventFor(t, "c", envelope.Succeeded, "1", "causationid", g.Seal(call.ID()))
	foreign := eventFor(t, "f", envelope.Failed, "1", "causationid", call.ID())
	for i, c := range []struct {
		accepts config.Accepts
		event   event.Event
		kind    triggers.Kind
		err     error
		records []journal.Kind
	}{
		{all, signal, triggers.Signal, nil, []journal.Kind{journal.Signal}}, {signals, signal, triggers.Signal, nil, []journal.Kind{journal.Signal}},
		{starts, signal, 0, triggers.ErrRefused, nil}, {completions, signal, 0, triggers.ErrRefused, nil}, {starts, unnamed, 0, triggers.ErrRefused, nil}, {signals, unnamed, 0, triggers.ErrInvalid, nil},
		{all, order, triggers.Matched, nil, []journal.Kind{journal.Define, journal.Start}}, {starts, order, triggers.Matched, nil, []journal.Kind{journal.Start}},
		{completions, order, 0, triggers.ErrRefused, nil}, {signals, order, 0, triggers.ErrRefused, nil},
		{starts, bill, triggers.Unmatched, nil, nil}, {completions, bill, 0, triggers.ErrRefused, nil},
		{all, done, triggers.Completion, nil, []journal.Kind{journal.Completion}}, {completions, done, triggers.Completion, nil, []journal.Kind{journal.Completion}},
		{starts, done, 0, triggers.ErrRefused, nil}, {signals, done, 0, triggers.ErrRefused, nil},
		{completions, chained, triggers.Completion, nil, []journal.Kind{journal.Completion}}, {starts, chained, 0, triggers.ErrRefused, nil},
		{all, chained, triggers.Completion, nil, []journal.Kind{journal.Completion, journal.Define, journal.Start}},
		{all, foreign, 0, triggers.ErrRefused, nil}, {completions, foreign, 0, triggers.ErrRefused, nil}, {config.Accepts{}, order, 0, triggers.ErrRefused, nil},
	} {
		receipts, err := g.For(Door{Source: "inbox", Accepts: c.accepts})(t.Context(), []event.Event{c.event})
		if err != nil {
			t.Fatal(i, err)
		}
		if r, got := receipts[0], d.kinds(); r.Kind != c.kind || !errors.Is(r.Err, c.err) || !slices.Equal(got, c.records) || r.Fate != nil {
			t.Errorf("%d: %s at a source that accepts %+v: %+v, %v", i, c.event.Type(), c.accepts, r, got)
		}
	}
}

// TestFates: what the fold made of a fact, in words for those who ask; a run that it has forgotten may have ended.
func TestFates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		folds engine.Reason
		ended bool
		want  triggers.Fate
	}{
		{0, false, triggers.Accepted}, {engine.Applied, false, triggers.Applied}, {engine.Waiting, false, triggers.Applied}, {engine.Duplicate, false, triggers.Repeated},
		{engine.Finished, false, triggers.Ended}, {engine.Unknown, false, triggers.Unknown}, {engine.Unknown, true, triggers.Ended}, {engine.Superseded, false, triggers.Superseded},
		{engine.Limited, false, triggers.Limited}, {engine.Malformed, false, triggers.Malformed}, {engine.Stale, false, triggers.Accepted},
	} {
		g, d := open(t, document)
		d.folds, d.ended = c.folds, c.ended
		if fate, err := g.Signal(t.Context(), call.Run, engine.SignalFact{Name: "go"}); fate != c.want || err != nil {
			t.Errorf("signal, %s: %s, %v", c.folds, fate, err)
		}
		if fate, err := g.Cancel(t.Context(), call.Run, "enough"); fate != c.want || err != nil {
			t.Errorf("cancel, %s: %s, %v", c.folds, fate, err)
		}
		receipts, err := g.For(Door{Source: "inbox", Accepts: config.AcceptsAll, Asks: true})(t.Context(), []event.Event{eventFor(t, "c", envelope.Failed, "1", "causationid", g.Seal(call.ID())), eventFor(t, "b", "bill", "1")})
		if err != nil || receipts[0].Fate == nil || receipts[0].Fate(t.Context()) != c.want || receipts[0].Fate(t.Context()) != c.want || receipts[1].Fate != nil {
			t.Errorf("completion, %s: %+v, %v", c.folds, receipts, err)
		}
		g.Drain()
		if _, err := g.Cancel(t.Context(), call.Run, ""); !errors.Is(err, triggers.ErrDraining) {
			t.Error(err)
		}
	}
}

// TestNobodyWaitsForever: a fold that says nothing, and a caller who has gone.
func TestNobodyWaitsForever(t *testing.T) {
	t.Parallel()
	g, _ := open(t, document)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	g.Runs = silent{g.Runs}
	if fate, err := g.Signal(gone, call.Run, engine.SignalFact{Name: "go"}); fate != triggers.Accepted || err != nil {
		t.Errorf("%s, %v", fate, err)
	}
	if fate, err := g.Signal(t.Context(), call.Run, engine.SignalFact{Name: "go"}); fate != triggers.Accepted || err != nil {
		t.Errorf("%s, %v", fate, err)
	}
}

type silent struct{ Runs }

func (silent) Await(*journal.Record) (<-chan engine.Said, func()) {
	return make(chan engine.Said), func() {}
}

// TestWhatRunsBringAboutIsNeverTooMuch: the limit of runs is for those who come from outside.
func TestWhatRunsBringAboutIsNeverTooMuch(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	d.load = g.Max
	e := eventFor(t, "1", "order", "1")
	if _, err := g.Start(t.Context(), "orders", &e); !errors.Is(err, triggers.ErrBusy) {
		t.Error(err)
	}
	if _, err := g.StartInside(t.Context(), "orders", &e); err != nil {
		t.Error(err)
	}
	end := *call
	end.Purpose, end.ToTrigger = engine.Notify, "orders"
	if err := g.StartFor(t.Context(), &end); err != nil {
		t.Error("a destination:", err)
	}
	end.ToTrigger, end.Type = "", engine.TypeSucceeded
	end.Starts = g.Match(&end).Starts
	if err := g.StartFor(t.Context(), &end); end.Starts == nil || err != nil {
		t.Error("what was matched of an end:", err)
	}
}

// TestAnotherRouterHasEnough: what would start a run there is refused here, completions are not, nor what runs bring about.
func TestAnotherRouterHasEnough(t *testing.T) {
	t.Parallel()
	g, d := open(t, document+`
  chain: { filters: [{ exact: { type: dev.onward.function.succeeded } }], flow: { function: f } }
`)
	d.others = "1000 runs are open"
	e := eventFor(t, "1", "order", "1")
	receipts, err := g.Admit(t.Context(), []event.Event{e, eventFor(t, "c", envelope.Succeeded, "1", "causationid", g.Seal(call.ID()))})
	if err != nil || !errors.Is(receipts[0].Err, triggers.ErrBusy) || !strings.Contains(receipts[0].Err.Error(), d.others) || len(receipts[0].Runs) > 0 || receipts[1].Err != nil {
		t.Errorf("%+v, %v", receipts, err)
	}
	if got := d.kinds(); !slices.Equal(got, []journal.Kind{journal.Completion, journal.Define, journal.Start}) {
		t.Errorf("journaled: %v", got)
	}
	if _, err := g.Start(t.Context(), "orders", &e); !errors.Is(err, triggers.ErrBusy) || !strings.Contains(err.Error(), d.others) {
		t.Errorf("by name: %v", err)
	}
	if _, err := g.StartInside(t.Context(), "orders", &e); err != nil || len(d.kinds()) != 2 {
		t.Errorf("from inside: %v", err)
	}
}

// TestFactsGoToWhoFoldsTheirRuns: the other router makes them durable and says what became of each; what nobody can be asked for this one makes durable,
// with what else is of the call.
func TestFactsGoToWhoFoldsTheirRuns(t *testing.T) {
	t.Parallel()
	nobodys := *call
	nobodys.Run = journal.RunID{2}
	const done, other, order = "done", "other", "order"
	for name, c := range map[string]struct {
		other, asks bool
		events      []string
		want        []triggers.Fate
		here        []journal.Kind
		handed      int
	}{
		"one": {true, true, []string{done}, []triggers.Fate{triggers.Superseded}, nil, 1}, "nobody to ask": {false, true, []string{done}, []triggers.Fate{triggers.Accepted}, []journal.Kind{journal.Completion}, 0},
		"nobody asks": {true, false, []string{done}, nil, []journal.Kind{journal.Completion}, 0},
		"a batch":     {true, true, []string{done, other, order, done}, []triggers.Fate{triggers.Superseded, triggers.Accepted, triggers.Superseded}, []journal.Kind{journal.Completion, journal.Define, journal.Start}, 2},
	} {
		g, d := open(t, document)
		d.other = c.other
		var events []event.Event
		for _, kind := range c.events {
			events = append(events, map[string]event.Event{
				done: eventFor(t, "c", envelope.Failed, "1", "causationid", g.Seal(call.ID())), other: eventFor(t, "c", envelope.Failed, "1", "causationid", g.Seal(nobodys.ID())), order: eventFor(t, "o", "order", "1"),
			}[kind])
		}
		receipts, err := g.For(Door{Source: "inbox", Accepts: config.AcceptsAll, Asks: c.asks})(t.Context(), events)
		if err != nil {
			t.Fatal(err)
		}
		var fates []triggers.Fate
		for i := range receipts {
			if receipts[i].Err != nil {
				t.Errorf("%s: %v", name, receipts[i].Err)
			}
			if receipts[i].Fate != nil {
				fates = append(fates, receipts[i].Fate(t.Context()))
			}
		}
		if here := d.kinds(); !slices.Equal(fates, c.want) || !slices.Equal(here, c.here) || len(d.handed) != c.handed {
			t.Errorf("%s: %v, journaled here %v, handed %v", name, fates, here, d.handed)
		}
	}
}

// TestSpoiledCompletions: a completion whose data cannot be read fails its invocation, with what is wrong, where its tag proves which one it answers.
func TestSpoiledCompletions(t *testing.T) {
	t.Parallel()
	g, d := open(t, document+`
  chain: { filters: [{ exact: { type: dev.onward.function.succeeded } }], flow: { function: f } }
`)
	read := func(cause, kind, content, body string) event.Event {
		head, err := envelope.FromHTTP(http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/f"}, "Ce-Type": {kind}, "Ce-Causationid": {cause}, "Content-Type": {content}})
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := head.Read([]byte(body), envelope.Limits{Event: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return events[0]
	}
	sealed := g.Seal(call.ID())
	for name, c := range map[string]struct {
		e    event.Event
		want string
	}{
		"cut short": {read(sealed, envelope.Succeeded, "application/json", `{"a":`), "bad_response"}, "a failure": {read(sealed, envelope.Failed, "application/json", "NaN"), "bad_response"},
		"text": {read(sealed, envelope.Continue, "text/plain", "\xff"), "bad_response"}, "large": {read(sealed, envelope.Succeeded, "text/plain", strings.Repeat("x", envelope.MaxCompletion+1)), "too_large"},
	} {
		d.records, d.folds = nil, engine.Applied
		receipts, err := g.For(Door{Source: "inbox", Accepts: config.AcceptsAll, Asks: true})(t.Context(), []event.Event{c.e})
		if err != nil || receipts[0].Err != nil || receipts[0].Kind != triggers.Completion || !strings.Contains(receipts[0].Note, "("+c.want+")") || receipts[0].Fate(t.Context()) != triggers.Applied || !slices.Equal(d.kinds(), []journal.Kind{journal.Completion}) {
			t.Errorf("%s: %+v, %v", name, receipts, err)
			continue
		}
		d.records = nil
		if _, err := g.Admit(t.Context(), []event.Event{c.e}); err != nil {
			t.Fatal(err)
		}
		f, err := engine.DecodeCompletion(d.records[0].Payload)
		if err != nil || f.N != call.N || f.Outcome.Verdict != lang.Failed || f.Outcome.Err.Type != c.want || !strings.Contains(receipts[0].Note, strings.TrimPrefix(f.Outcome.Err.Message, "the completion is no answer: ")) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	d.records = nil
	for name, e := range map[string]event.Event{"no tag": read(call.ID(), envelope.Succeeded, "application/json", "{"), "a domain event's type": read(sealed, "dev.onward.function.done", "application/json", "{")} {
		if receipts, err := g.Admit(t.Context(), []event.Event{e}); err != nil || !errors.Is(receipts[0].Err, triggers.ErrInvalid) || len(d.records) > 0 {
			t.Errorf("%s: %+v, %v", name, receipts, err)
		}
	}
	e := read(sealed, envelope.Succeeded, "application/json", "{")
	if receipts, err := g.For(Door{Source: "inbox", Accepts: config.Accepts{Starts: true}})(t.Context(), []event.Event{e}); err != nil || !errors.Is(receipts[0].Err, triggers.ErrInvalid) || len(d.records) > 0 {
		t.Errorf("at a source that takes no completions: %+v, %v", receipts, err)
	}
}

// TestHeartbeatsAreNotJournaled: they go to their owners with the call that brought them, all together, and who asks hears what is known of the invocation. One
// of an invocation that nobody was sent is refused.
func TestHeartbeatsAreNotJournaled(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	sent := sentAs(t, g, call)
	beat := func(id, data, cause string) event.Event {
		return eventFor(t, id, "dev.onward.function.heartbeat", data, "causationid", cause)
	}
	receipts, err := g.For(Door{Source: "inbox", Accepts: config.AcceptsAll, Asks: true})(t.Context(), []event.Event{
		beat("1", `{"at":1}`, sent), beat("2", "2", sent[:len(sent)-1]), eventFor(t, "3", envelope.Succeeded, "1", "causationid", sent), beat("4", "null", sent),
	})
	if err != nil || len(d.beats) != 2 || d.beats[0].Run != call.Run || d.beats[0].N != call.N || d.beats[0].Data.JSON() != `{"at":1}` || !slices.Equal(d.kinds(), []journal.Kind{journal.Completion}) {
		t.Fatalf("%+v, %v; %+v", receipts, err, d.beats)
	}
	if r := receipts[0]; r.Kind != triggers.Heartbeat || r.Err != nil || r.Fate(t.Context()) != triggers.Superseded || r.Runs[0].ID != call.Run.String() {
		t.Errorf("%+v", r)
	}
	if !errors.Is(receipts[1].Err, triggers.ErrRefused) || receipts[2].Kind != triggers.Completion || receipts[3].Kind != triggers.Heartbeat {
		t.Errorf("%+v", receipts)
	}
	for _, accepts := range []config.Accepts{{Starts: true}, {Signals: true}} {
		receipts, err := g.For(Door{Source: "inbox", Accepts: accepts})(t.Context(), []event.Event{beat("5", "1", sent)})
		if err != nil || !errors.Is(receipts[0].Err, triggers.ErrRefused) || len(d.beats) != 2 {
			t.Errorf("%+v: %+v, %v", accepts, receipts, err)
		}
	}
	if fate, err := g.Beat(t.Context(), sent, lang.Of(3)); err != nil || fate != triggers.Superseded || len(d.beats) != 3 {
		t.Error(fate, err)
	}
	if _, err := g.Beat(t.Context(), "order-7", lang.Null); !errors.Is(err, triggers.ErrRefused) {
		t.Error(err)
	}
}

// FuzzBeats reads what a router may be sent by one that is none of ours.
func FuzzBeats(f *testing.F) {
	f.Add(engine.AppendBeats(nil, []engine.Beat{{Run: call.Run, N: 7, Data: lang.Of(1)}, {Run: call.Run, N: 8}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		beats, err := engine.DecodeBeats(b)
		if err != nil {
			return
		}
		again, err := engine.DecodeBeats(engine.AppendBeats(nil, beats))
		if err != nil || !slices.Equal(again, beats) {
			t.Fatalf("%+v, and again %+v, %v", beats, again, err)
		}
	})
}

// TestReplies: an event that a function has answered goes on as it is, under the invocation's id, with its fuel, and never is too much. Repeated, it starts the
// same run.
func TestReplies(t *testing.T) {
	t.Parallel()
	g, d := open(t, strings.Replace(document, "orders: {", "paid: { filters: [{ exact: { type: com.example.paid, region: eu } }], flow: { function: f } }\n  orders: {", 1))
	d.others = "full"
	g.Max.Runs, d.folds = 1, 1
	reply := eventFor(t, "7", "com.example.paid", `{"paid":true}`, "region", "eu", "causationid", "of-its-own")
	g.Drain()
	for range 2 {
		if err := g.Reply(t.Context(), call, &reply); err != nil {
			t.Fatal(err)
		}
	}
	var starts []engine.StartFact
	var runs []journal.RunID
	for _, rec := range d.records {
		if rec.Kind == journal.Start {
			f, err := engine.DecodeStart(rec.Payload)
			if err != nil {
				t.Fatal(err)
			}
			starts, runs = append(starts, f), append(runs, rec.Run)
		}
	}
	if len(starts) != 2 || runs[0] != runs[1] {
		t.Fatalf("%d starts of %v", len(starts), runs)
	}
	for _, want := range []string{`"type":"com.example.paid"`, `"region":"eu"`, `"causationid":"` + g.Seal(call.ID()) + `"`, `"id":"` + g.Seal(call.ID()) + `~reply"`, `"correlationid":"` + call.Run.String() + `"`} {
		if !strings.Contains(starts[0].Event.JSON(), want) {
			t.Errorf("%s is not in %s", want, starts[0].Event.JSON())
		}
	}
	if starts[0].Spent == 0 {
		t.Error("it brings fuel of its own")
	}
	other := eventFor(t, "8", "com.example.unknown", "1")
	if err := g.Reply(t.Context(), call, &other); err != nil {
		t.Errorf("one that nobody waits for: %v", err)
	}
}

// TestTicksAreTheSchedulesOwn: nobody else sends what the ids of say that it is a tick of a schedule here, since the true one would count as a repeat.
func TestTicksAreTheSchedulesOwn(t *testing.T) {
	t.Parallel()
	g, _ := open(t, `version: 1
sources: { night: { schedule: { every: 1h } } }
triggers: { nightly: { filters: [{ exact: { type: dev.onward.schedule.tick } }], flow: { pass: 1 } } }`)
	for door, sources := range map[string]map[string]bool{
		"inbox":     {"/schedule/night": false, "/schedule/another": true, "/schedule": true, "/s": true},
		"night":     {"/schedule/night": true},
		deadLetters: {"/schedule/night": true},
	} {
		for source, taken := range sources {
			e := eventFor(t, "night/2030-01-01T00:00:00Z"+door, "dev.onward.schedule.tick", "1")
			e.SetSource(source)
			receipts, err := g.For(Door{Source: door, Accepts: config.AcceptsAll})(t.Context(), []event.Event{e})
			if err != nil || (receipts[0].Err == nil) != taken || !taken && !errors.Is(receipts[0].Err, triggers.ErrRefused) {
				t.Errorf("%s by %s: %+v, %v", source, door, receipts[0], err)
			}
		}
	}
}
