package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	"github.com/onward-router/onward/triggers"
	sources "github.com/onward-router/onward/triggers/all"
)

// A desk is what a gate has beside it in these tests: a journal that keeps records, and runs that are counted by hand.
type desk struct {
	records []journal.Record
	full    bool // refuses starts
	load    Load
	panics  int           // which time that it is asked for its load; 0: never
	folds   engine.Reason // what the fold makes of facts; 0: another router folds them
	ended   bool          // what the histories know
	other   bool          // another router that folds call's run
	handed  []journal.Kind
	others  string // why the router that has the runs takes no starts
	beats   []engine.Beat
	gathers []string                 // keys for whose events runs wait
	calls   map[string]journal.RunID // by their tickets
	asked   [][]string               // tickets
}

func (d *desk) Append(_ context.Context, records []journal.Record) error {
	refusable := func(r journal.Record) bool { row, _ := journal.Of(r.Kind); return row.Refusable }
	if d.full && slices.ContainsFunc(records, refusable) {
		return journal.ErrFull
	}
	d.records = append(d.records, records...)
	return nil
}

func (d *desk) Load() Load {
	if d.panics--; d.panics == 0 {
		panic("the desk fell over")
	}
	return d.load
}

func (d *desk) Full(journal.RunID) string { return d.others }

func (d *desk) Ended(journal.RunID) bool { return d.ended }

func (d *desk) Has(journal.RunID) bool { return d.folds != 0 }

// Hand is another router, where the test says that there is one.
func (d *desk) Hand(_ context.Context, facts []journal.Record) []*triggers.Fate {
	fates := make([]*triggers.Fate, len(facts))
	for i := range facts {
		if d.other && facts[i].Run == call.Run {
			fates[i] = new(triggers.Fate)
			*fates[i] = triggers.Superseded
			d.handed = append(d.handed, facts[i].Kind)
		}
	}
	return fates
}

// Beat tells what the test says of every heartbeat.
func (d *desk) Beat(_ context.Context, beats []engine.Beat) []triggers.Fate {
	d.beats = append(d.beats, beats...)
	fates := make([]triggers.Fate, len(beats))
	for i := range fates {
		fates[i] = triggers.Superseded
	}
	return fates
}

// Gathers: the rounds of some keys are open.
func (d *desk) Gathers(_ context.Context, keys []engine.RoundKey) []bool {
	is := make([]bool, len(keys))
	for i := range keys {
		is[i] = slices.Contains(d.gathers, keys[i].Key)
	}
	return is
}

// Fetch knows the calls that the test says.
func (d *desk) Fetch(_ context.Context, tickets []string) []journal.RunID {
	d.asked = append(d.asked, tickets)
	runs := make([]journal.RunID, len(tickets))
	for i := range tickets {
		runs[i] = d.calls[tickets[i]]
	}
	return runs
}

// Await tells at once what the test says that the fold makes of everything.
func (d *desk) Await(*journal.Record) (<-chan engine.Said, func()) {
	if d.folds == 0 {
		return nil, func() {}
	}
	said := make(chan engine.Said, 1)
	said <- engine.Said{Reason: d.folds}
	return said, func() {}
}

func (d *desk) Wait(ctx context.Context, _ journal.RunID) (*engine.Ending, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (d *desk) kinds() (out []journal.Kind) {
	for _, r := range d.records {
		out = append(out, r.Kind)
	}
	d.records = nil
	return out
}

const document = `
version: 1
functions: { f: { log: f } }
triggers:
  orders: { filters: [{ exact: { type: order } }], flow: { function: f } }
  ends: { filters: [{ exact: { type: dev.onward.run.succeeded, source: /onward/orders } }], flow: { function: f } }
`

func open(t testing.TB, doc string) (*Gate, *desk) {
	t.Helper()
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinks.Register(reg)
	sources.Register(reg)
	set, findings := config.Parse("test.yaml", []byte(doc), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	d := new(desk)
	return New(Options{
		Journal: d, Layout: journal.Layout{Partitions: 4, Key: [32]byte{1}}, Runs: d, Max: Load{Runs: 10, Children: 100, Bytes: 1000}, MaxAdmitting: 10, MaxValue: MaxValueBytes,
		Log: slog.New(slog.DiscardHandler),
	}, set), d
}

func eventFor(t *testing.T, id, kind, data string, more ...string) event.Event {
	t.Helper()
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType(kind)
	for i := 0; i < len(more); i += 2 {
		e.SetExtension(more[i], more[i+1])
	}
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data)); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWhatAnEventIs: one of each sort in one call, and what was journaled for it.
func TestWhatAnEventIs(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	inv := &engine.Invocation{Run: journal.RunID{1}, N: 7, Path: "orders", Purpose: engine.Call, Trigger: "orders"}
	signal := eventFor(t, "3", "dev.onward.signal", "1", "correlationid", inv.Run.String())
	signal.SetSubject("go")
	receipts, err := g.Admit(t.Context(), []event.Event{
		eventFor(t, "1", "order", `{"a":1}`), eventFor(t, "2", "dev.onward.function.succeeded", "1", "causationid", g.Seal(inv.ID())), signal,
		eventFor(t, "4", "bill", "1"), eventFor(t, "5", "bill", "1", "causationid", inv.ID()),
		eventFor(t, "6", "order", `"`+strings.Repeat("x", MaxEventBytes)+`"`),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []triggers.Kind
	for _, r := range receipts {
		got = append(got, r.Kind)
	}
	if want := []triggers.Kind{triggers.Matched, triggers.Completion, triggers.Signal, triggers.Unmatched, triggers.Unmatched, 0}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	if !strings.Contains(receipts[3].Note, "no trigger takes it") || !errors.Is(receipts[5].Err, triggers.ErrTooLarge) {
		t.Errorf("%+v, %+v", receipts[3], receipts[5])
	}
	if got := d.kinds(); !slices.Equal(got, []journal.Kind{journal.Define, journal.Start, journal.Completion, journal.Signal}) {
		t.Errorf("%v", got)
	}
	// The definition is there already.
	again, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", "order", `{"a":1}`)})
	if err != nil || again[0].Runs[0].ID != receipts[0].Runs[0].ID || !slices.Equal(d.kinds(), []journal.Kind{journal.Start}) {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestOnlyStartsAreRefused when too many runs are open, or the disk is full.
func TestOnlyStartsAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		desk desk
		want error
	}{"busy": {desk{load: Load{Runs: 10}}, triggers.ErrBusy}, "wide": {desk{load: Load{Children: 100}}, triggers.ErrBusy},
		"heavy": {desk{load: Load{Bytes: 1000}}, triggers.ErrBusy}, "full": {desk{full: true}, triggers.ErrFull}} {
		g, d := open(t, document)
		*d = c.desk
		done := eventFor(t, "2", "dev.onward.function.succeeded", "1", "causationid", g.Seal((&engine.Invocation{Run: journal.RunID{1}, N: 7, Path: "x"}).ID()))
		receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", "order", "1"), done})
		if err != nil || !errors.Is(receipts[0].Err, c.want) || len(receipts[0].Runs) != 0 || receipts[1].Err != nil {
			t.Errorf("%s: %+v, %v", name, receipts, err)
		}
		if got := d.kinds(); !slices.Contains(got, journal.Completion) || slices.Contains(got, journal.Start) {
			t.Errorf("%s: %v", name, got)
		}
	}
	g, _ := open(t, document)
	g.Drain()
	if _, err := g.Admit(t.Context(), nil); !errors.Is(err, triggers.ErrDraining) {
		t.Errorf("draining: %v", err)
	}
}

// TestRefusalLasts: a run that ends while events are taken in lets none of the later starts pass one that was refused.
func TestRefusalLasts(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	in := &intake{g: g}
	if err := in.busy(); err != nil {
		t.Fatal(err)
	}
	d.load.Runs = 10
	if err := in.busy(); !errors.Is(err, triggers.ErrBusy) {
		t.Fatalf("at the limit: %v", err)
	}
	d.load.Runs = 0
	if err := in.busy(); !errors.Is(err, triggers.ErrBusy) {
		t.Errorf("a later start of the same call: %v", err)
	}
	if err := (&intake{g: g}).busy(); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestEndsAreMatchedThenStarted: what is started does not change when it is started again, and a trigger that has gone is left out.
func TestEndsAreMatchedThenStarted(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	end := &engine.Invocation{Run: journal.RunID{1}, N: 2, Path: "end", Purpose: engine.Route, Trigger: "orders", Type: "dev.onward.run.succeeded", Input: lang.Of(3)}
	if g.Match(&engine.Invocation{Trigger: "other", Purpose: engine.Route, Type: "dev.onward.run.succeeded"}) != nil {
		t.Error("the end of another trigger's run matches")
	}
	matched := *end
	said := g.Match(end)
	if said == nil || said.Count != 1 || said.N != end.N {
		t.Fatalf("it matches %+v", said)
	}
	matched.Starts, matched.Fuel = said.Starts, 7
	var runs []journal.RunID
	for range 2 {
		if err := g.StartFor(t.Context(), &matched); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, d.records[len(d.records)-1].Run)
	}
	if runs[0] != runs[1] || len(d.kinds()) != 3 {
		t.Errorf("%v", runs)
	}
	g.Load(&config.Set{})
	if err := g.StartFor(t.Context(), &matched); err != nil || len(d.records) != 0 {
		t.Errorf("%d records, %v", len(d.records), err)
	}
	if err := g.StartFor(t.Context(), &engine.Invocation{ToTrigger: "gone"}); !errors.Is(err, triggers.ErrNoTrigger) {
		t.Errorf("%v", err)
	}
}

// TestWhoseEvents: whoever is a tenant starts his own triggers, and hears nothing of others'.
func TestWhoseEvents(t *testing.T) {
	t.Parallel()
	g, _ := open(t, `
version: 1
functions: { f: { log: f } }
triggers:
  shop: { tenant: shop, filters: [{ exact: { type: order } }], flow: { function: f } }
  bank: { tenant: bank, filters: [{ exact: { type: order } }], flow: { function: f } }
  secret: { tenant: bank, filters: [{ exact: { type: bill } }], flow: { function: f } }
`)
	for tenant, want := range map[string]string{"": "bank shop", "shop": "shop", "bank": "bank", "nobody": ""} {
		ctx := context.Background()
		if tenant != "" {
			ctx = access.With(ctx, access.Who{Right: access.Operate, Tenant: tenant})
		}
		receipts, err := g.Admit(ctx, []event.Event{eventFor(t, "of-"+tenant, "order", "1"), eventFor(t, "b-"+tenant, "other", "1")})
		if err != nil {
			t.Fatal(err)
		}
		var started []string
		for _, run := range receipts[0].Runs {
			started = append(started, run.Trigger)
		}
		if got := strings.Join(started, " "); got != want || (want == "") != (receipts[0].Kind == triggers.Unmatched) {
			t.Errorf("%q starts %q; want %q", tenant, got, want)
		}
		if note := receipts[1].Note; receipts[1].Kind != triggers.Unmatched || strings.Contains(note, "secret") != (tenant == "") {
			t.Errorf("%q hears %q", tenant, note)
		}
	}
}

// TestRates: starts beyond a source's or a tenant's rate are refused with the time to wait; outcomes, signals, and what comes from inside are not, and of a batch
// what goes before the limit is taken.
func TestRates(t *testing.T) {
	t.Parallel()
	g, d := open(t, `
version: 1
functions: { f: { log: f } }
sources:
  slow: { webhook: { path: /slow }, rate: 2/h }
  fast: { webhook: { path: /fast }, rate: 3600/h, burst: 3 }
  free: { webhook: { path: /free } }
tenants:
  shop: { rate: 1/h, burst: 4 }
  slow: { rate: 1/h }
  default: { rate: 1/h }
triggers:
  shop: { tenant: shop, filters: [{ exact: { type: order } }], flow: { function: f } }
  shop2: { tenant: shop, filters: [{ exact: { type: order } }], flow: { function: f } }
  bank: { tenant: bank, filters: [{ exact: { type: bill } }], flow: { function: f } }
  round: { tenant: slow, correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } } }, flow: { function: f } }
`)
	n := 0
	admit := func(source string, kinds ...string) (refused []bool) {
		t.Helper()
		var events []event.Event
		for _, kind := range kinds {
			n++
			events = append(events, eventFor(t, fmt.Sprint("e", n), kind, "1"))
		}
		receipts, err := g.For(Door{Source: source, Accepts: config.AcceptsAll})(context.Background(), events)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			var paced *triggers.Paced
			if r.Err != nil && (!errors.As(r.Err, &paced) || !errors.Is(r.Err, triggers.ErrBusy) || paced.After <= 0 || len(r.Runs) > 0) {
				t.Errorf("%s: %v", source, r.Err)
			}
			refused = append(refused, r.Err != nil)
		}
		return refused
	}
	no, yes := false, true
	for i, c := range []struct {
		source string
		kinds  []string
		want   []bool
	}{
		{"slow", []string{"bill"}, []bool{no}}, {"slow", []string{"bill"}, []bool{yes}}, // A rate of less than one a second has room for one.
		{"slow", []string{"unmatched"}, []bool{no}}, // It starts nothing.
		{"fast", []string{"bill", "bill", "bill", "bill", "bill"}, []bool{no, no, no, yes, yes}},
		{"free", []string{"order", "order"}, []bool{no, no}}, {"free", []string{"order", "bill", "order"}, []bool{no, no, no}},
		{"free", []string{"order", "bill", "order"}, []bool{yes, no, yes}}, {"slow", []string{"order"}, []bool{yes}},
		{"unknown", []string{"bill", "bill"}, []bool{no, no}},
	} {
		if got := admit(c.source, c.kinds...); !slices.Equal(got, c.want) {
			t.Errorf("case %d: refused %v; want %v", i, got, c.want)
		}
	}
	e := eventFor(t, "by name", "any", "1")
	if _, err := g.Start(context.Background(), "shop", &e); !errors.Is(err, triggers.ErrBusy) || triggers.RetryAfter(err) < 3000 {
		t.Errorf("by name, beyond the tenant's rate: %v", err)
	}
	if _, err := g.StartInside(context.Background(), "shop", &e); err != nil {
		t.Errorf("from inside: %v", err)
	}
	for i, want := range []bool{no, yes} { // A function that is called by itself is its tenant's.
		if _, err := g.Start(context.Background(), "function.f", &e); errors.Is(err, triggers.ErrBusy) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	// What a run waits for comes to it, whatever else of its batch is beyond the rate; what would begin another one does not.
	d.gathers = []string{"k1"}
	rounds := []event.Event{eventFor(t, "r0", "a", `{"k":"k0"}`), eventFor(t, "r1", "a", `{"k":"k2"}`), eventFor(t, "r2", "b", `{"k":"k1"}`), eventFor(t, "r3", "a", `{"k":"k3"}`), eventFor(t, "r4", "a", `{"k":"k1"}`)}
	receipts, err := g.For(Door{Source: "free", Accepts: config.AcceptsAll})(context.Background(), rounds)
	for i, want := range []bool{no, yes, no, yes, no} {
		if err != nil || errors.Is(receipts[i].Err, triggers.ErrBusy) != want {
			t.Errorf("event %d of rounds: %v, %v", i, receipts[i].Err, err)
		}
	}
	// An outcome and a signal by a source whose rate is used up.
	d.kinds() // What came before.
	outcome := eventFor(t, "outcome", "dev.onward.function.succeeded", "1", "causationid", g.Seal(call.ID()))
	signal := eventFor(t, "signal", "dev.onward.signal", "1", "correlationid", call.Run.String())
	signal.SetSubject("go")
	receipts, err = g.For(Door{Source: "slow", Accepts: config.AcceptsAll})(context.Background(), []event.Event{outcome, signal})
	if err != nil || receipts[0].Err != nil || receipts[1].Err != nil || len(d.kinds()) != 2 {
		t.Errorf("%v, %v", receipts, err)
	}
	// Of two tolls one is not taken when the other lacks.
	r, now := new(rates), time.Unix(1e9, 0)
	a, b := toll{"source", "a", config.Rate{N: 1, Per: time.Hour}, 1}, toll{"tenant", "b", config.Rate{N: 1, Per: time.Hour}, 1}
	if lacks, _ := r.pay(now, []toll{b}); lacks != nil {
		t.Error(lacks)
	}
	if lacks, wait := r.pay(now, []toll{a, b}); lacks == nil || lacks.name != "b" || wait < 59*time.Minute || wait > time.Hour+time.Second {
		t.Error(lacks, wait)
	}
	if lacks, _ := r.pay(now, []toll{a}); lacks != nil {
		t.Error("a token was taken for nothing:", lacks)
	}
	if lacks, _ := r.pay(now.Add(time.Hour), []toll{a, b}); lacks != nil {
		t.Error("tokens do not come back:", lacks)
	}
}
