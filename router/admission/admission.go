package admission

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// An Appender makes records durable.
type Appender interface {
	Append(ctx context.Context, records []journal.Record) error
}

// Runs are what a gate has to know of the runs that there are.
type Runs interface {
	// Load returns what is open here.
	Load() Load
	// Full says why the other router that folds a run takes no starts; empty when it does, as far as is known, or the run is folded here.
	Full(id journal.RunID) string
	// Wait returns how a run ended, once it has. The error is the context's.
	Wait(ctx context.Context, id journal.RunID) (*engine.Ending, error)
	// Ended reports whether a run is known to have ended.
	Ended(id journal.RunID) bool
	// Has reports whether a run is folded here. Hand gives facts to the routers that fold their runs, which make them durable, and returns their fates; nil
	// for what nobody has.
	Has(id journal.RunID) bool
	Hand(ctx context.Context, facts []journal.Record) []*triggers.Fate
	// Beat gives heartbeats to the owners of their invocations, here and elsewhere, and says of each what the owner knows of its invocation.
	Beat(ctx context.Context, beats []engine.Beat) []triggers.Fate
	// Gathers reports of each key whether a run waits for its events, here or at another router; false where nobody could be asked.
	Gathers(ctx context.Context, keys []engine.RoundKey) []bool
	// Fetch has the results of calls asked for that are said to be done, by their tickets, here and at the other routers, and returns whose they are; zero for what no
	// call of whom the context asks for has.
	Fetch(ctx context.Context, tickets []string) []journal.RunID
	// Await tells, once, what the fold made of a record that is about to be appended; nil when another router folds its run. stop ends the waiting.
	Await(rec *journal.Record) (said <-chan engine.Said, stop func())
}

// A Load is what the runs that are open here come to, in their journal's present.
type Load struct {
	Runs, Children int // Children are the steps that are open in their flows
	Bytes          int // of the values that they keep
}

// Options are what a gate is made of.
type Options struct {
	Journal      Appender
	Layout       journal.Layout
	Runs         Runs
	Max          Load                                                     // refuse starts beyond it
	MaxAdmitting int                                                      // and events at a time
	MaxValue     int                                                      // bytes of a value inside a run
	Note         func(e *event.Event, source string, r *triggers.Receipt) // nil or told what became of an event that was to start something
	MaxRecord    int                                                      // bytes that the journal takes of one record's payload; 0 is any
	Dead         func(...*engine.Letter)                                  // keeps what a trigger could not take, before its sender hears that it was taken; nil keeps nothing
	Trace        func(*engine.Invocation) *traceparent.Context            // the span of what is sent, nil being none; nil: its event carries what its run was started with
	Log          *slog.Logger
	Metrics      prometheus.Registerer // nil registers nothing
}

// A Gate takes events in. Its methods may be called concurrently.
type Gate struct {
	Options
	metrics     *metrics
	tags        *journal.Tags
	ids         *journal.IDs
	rules       atomic.Pointer[rules]
	definitions *definitionLog
	draining    atomic.Bool
	admitting   atomic.Int64
	rates       rates
}

// New makes a gate for a set of documents.
func New(o Options, set *config.Set) *Gate {
	g := &Gate{Options: o, metrics: newMetrics(o.Metrics), tags: journal.NewTags(o.Layout), ids: journal.NewIDs(o.Layout), definitions: newDefinitionLog(o.Layout.Partitions)}
	g.Load(set)
	return g
}

// Load puts a set's triggers into force.
func (g *Gate) Load(set *config.Set) { g.rules.Store(newRules(set)) }

// Set returns the documents in force.
func (g *Gate) Set() *config.Set { return g.rules.Load().set }

// Drain takes nothing more in.
func (g *Gate) Drain() { g.draining.Store(true) }

// Draining reports whether Drain was called.
func (g *Gate) Draining() bool { return g.draining.Load() }

// An intake is one call of Admit under way.
type intake struct {
	g        *Gate
	ctx      context.Context
	began    time.Time
	door     *Door // nil: from inside
	accepts  config.Accepts
	asks     bool
	inside   bool      // what runs bring about: it is never refused for being too much
	until    time.Time // when those who ask for fates have waited enough
	rules    *rules
	records  []journal.Record
	receipts []triggers.Receipt
	runs     []triggers.Run   // that facts are about; of receipts
	whose    []int            // per record: the receipt that it is for; -1 for definitions
	who      access.Who       // sends the events
	refused  error            // why no more starts are taken
	paced    map[string]error // the same, of a tenant
	dead     []*engine.Letter // what a trigger could not take
	beats    []engine.Beat
	beaters  []int // per beat: its receipt
	meets    []meeting
	doubts   []doubt
	done     []done
}

// Admit takes events of any kind in, for those who do not ask what becomes of facts.
func (g *Gate) Admit(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
	return g.For(Door{Accepts: config.AcceptsAll})(ctx, events)
}

// A Door is where events come in.
type Door struct {
	Source  string // its name, for people
	Accepts config.Accepts
	Asks    bool           // the receipts of completions and signals tell their fate
	Overlap engine.Overlap // of the runs that it starts; 0 lets them
	inside  bool           // what runs bring about: it is never refused for being too much
}

// For is how a source's events are taken in: completions, signals, and what triggers' filters let through, as far as the source accepts it. It returns
// when all of it is durable.
func (g *Gate) For(d Door) triggers.Admit {
	return func(ctx context.Context, events []event.Event) (receipts []triggers.Receipt, err error) {
		if panicked := guard.Do("admission", func() { receipts, err = g.admit(ctx, &d, events) }); panicked != nil {
			return nil, panicked
		}
		g.say(&d, events, receipts)
		return receipts, err
	}
}

func (g *Gate) admit(ctx context.Context, door *Door, events []event.Event) ([]triggers.Receipt, error) {
	if g.draining.Load() && !door.inside {
		return nil, triggers.ErrDraining
	}
	in := &intake{g: g, ctx: ctx, began: time.Now(), door: door, accepts: door.Accepts, asks: door.Asks, inside: door.inside, rules: g.rules.Load(), who: access.Asking(ctx), receipts: make([]triggers.Receipt, len(events))}
	g.admitting.Add(int64(len(events)))
	defer g.admitting.Add(-int64(len(events)))
	in.records, in.whose = make([]journal.Record, 0, len(events)), make([]int, 0, len(events))
	if triggers.IsOnlyAwaited(ctx) {
		in.refused = errBehind
	}
	for i := range events {
		in.guarded(i, &events[i])
	}
	in.settleDoubts()
	in.hand()
	in.passBeats()
	in.passTickets()
	err := in.append(ctx)
	in.until, in.records = time.Now().Add(patience), nil
	g.metrics.admit.Observe(time.Since(in.began).Seconds())
	if err != nil {
		return nil, err
	}
	if len(in.dead) > 0 && g.Options.Dead != nil {
		g.Options.Dead(in.dead...)
	}
	in.met(ctx)
	return in.receipts, nil
}

// errBehind refuses what no run waits for, of OnlyAwaited.
var errBehind = fmt.Errorf("%w: others wait before it", triggers.ErrBusy)

// add has a record appended. One that the journal does not take is the receipt's error: found out in an append, it would hold up all that is beside it.
func (in *intake) add(rec journal.Record, receipt int) bool {
	if most := in.g.MaxRecord; most > 0 && len(rec.Payload) > most {
		in.receipts[receipt].Err = fmt.Errorf("%w: journaled, it has %d bytes, and a record has at most %d; pass large data by reference (dataref)", triggers.ErrTooLarge, len(rec.Payload), most)
		return false
	}
	rec.Partition = in.g.Layout.Partition(rec.Run.Route())
	in.records = append(in.records, rec)
	in.whose = append(in.whose, receipt)
	return true
}

// guarded takes event i. Whatever panics over it ends it, and nothing beside it.
func (in *intake) guarded(i int, e *event.Event) {
	n, met := len(in.records), len(in.meets)
	if err := guard.Do("admission", func() { in.take(i, e) }); err != nil {
		in.takeBack(n, met)
		in.receipts[i] = triggers.Receipt{Err: fmt.Errorf("%w: %w", triggers.ErrPanicked, err)}
	}
}

// take classifies event i.
func (in *intake) take(i int, e *event.Event) {
	receipt := &in.receipts[i]
	if receipt.Err = check(e); receipt.Err != nil {
		in.takeSpoiled(i, e)
		return
	}
	if receipt.Err = in.another(e); receipt.Err != nil {
		return
	}
	foreign := in.takeFact(i, e)
	if receipt.Err != nil || receipt.Kind == triggers.Signal || receipt.Kind == triggers.Heartbeat {
		return
	}
	completed, done := receipt.Kind == triggers.Completion, in.addTicket(i, e)
	a := filter.Of(e)
	matched, c := in.owned(in.rules.match(e.Type(), a, in.g.metrics)), &content{e: e}
	var nos []no
	if in.accepts.Starts && len(e.Data()) <= MaxEventBytes {
		matched, nos = wanted(matched, c, in.g.metrics)
	}
	switch {
	case len(matched) > 0 && completed && !in.accepts.Starts:
		receipt.Note = "it starts nothing: this source does not accept starts"
	case len(matched) > 0 && in.accepts.Starts:
		if foreign {
			receipt.Note = "it completes nothing: its causationid is no id of an invocation that this router sent"
		}
		in.takeStarts(i, c, matched)
	case completed:
	case foreign:
		receipt.Err = fmt.Errorf("%w: causationid %q is no id of an invocation that this router sent; send back the id as it came, to its last character", triggers.ErrRefused, clip(envelope.Extension(e, extCausation)))
	case !in.accepts.Starts && done:
		receipt.Kind, receipt.Note = triggers.Unmatched, "no call of this router's has its ticket; others' calls are nothing to it"
	case !in.accepts.Starts:
		receipt.Err = in.notAccepted("events that start something")
	default:
		if receipt.Kind, receipt.Note = triggers.Unmatched, fmt.Sprintf("no trigger of tenant %s takes it", clip(in.who.Tenant)); in.who.Tenant == "" {
			receipt.Note = in.rules.why(e.Type(), a, nos)
		}
		in.g.metrics.unmatched(e.Type())
	}
}

// another refuses a tick of a schedule of ours that somebody else sends: its id can be guessed, and the true one would count as its repeat.
func (in *intake) another(e *event.Event) error {
	name, is := strings.CutPrefix(envelope.SourceOf(e), "/schedule/")
	if !is || in.inside || in.door == nil || in.door.Source == name || in.door.Source == deadLetters {
		return nil
	}
	if s := in.rules.set.Sources[name]; s == nil || s.Type.Name != "schedule" {
		return nil
	}
	return fmt.Errorf("%w: events from /schedule/%s are made by the schedule %q alone; send it under a source of your own", triggers.ErrRefused, clip(name), clip(name))
}

// deadLetters is the door of events that are sent again from there.
const deadLetters = "dead letters"

// owned are the triggers that events of whoever sends them may start.
func (in *intake) owned(matched []*config.Trigger) []*config.Trigger {
	if in.who.Tenant == "" {
		return matched
	}
	return slices.DeleteFunc(slices.Clone(matched), func(t *config.Trigger) bool { return !in.who.Owns(t.Tenant) })
}

// clip is a text of the outside, as far as it goes into a message.
func clip(s string) string { return s[:min(len(s), 200)] }

// takeStarts takes event i as what starts a run of each trigger that it matched.
func (in *intake) takeStarts(i int, c *content, matched []*config.Trigger) {
	receipt, e := &in.receipts[i], c.e
	completed := receipt.Kind == triggers.Completion
	if len(e.Data()) > MaxEventBytes {
		if completed {
			receipt.Note = fmt.Sprintf("it starts nothing: it has %d bytes of data, and what starts something has at most %d", len(e.Data()), MaxEventBytes)
			return
		}
		receipt.Err = fmt.Errorf("%w: %d bytes of data, and the limit is %d; pass large data by reference (dataref)", triggers.ErrTooLarge, len(e.Data()), MaxEventBytes)
		return
	}
	busy := !completed && !in.inside && in.busy() != nil
	if busy && !slices.ContainsFunc(matched, (*config.Trigger).Gathers) {
		receipt.Err = in.refused
		in.g.metrics.refused.Inc()
		return
	}
	if receipt.Err = c.read(); receipt.Err != nil {
		return
	}
	attrs, data := c.attrs, c.data
	if !completed {
		receipt.Kind = triggers.Matched
	}
	fuel, outside := in.g.fuelOf(e)
	begins, without := in.beginnings(matched, in.nameOf(i, e), e, attrs, data)
	if receipt.Note = cmp.Or(receipt.Note, without); len(begins) == 0 && !completed {
		receipt.Kind = triggers.Unmatched
		in.g.metrics.unmatched(e.Type())
		return
	}
	if !completed && !in.inside {
		if why, doubts := in.crowded(begins); doubts {
			in.doubts = append(in.doubts, doubt{i, c, begins, shares(begins, fuel, outside), why})
			return
		} else if why != nil {
			receipt.Err = why
			in.g.metrics.refused.Inc()
			return
		}
		if err := in.pay(begins); err != nil {
			if slices.ContainsFunc(begins, func(b beginning) bool { return b.names != nil }) {
				in.doubts = append(in.doubts, doubt{i, c, begins, shares(begins, fuel, outside), err})
				return
			}
			*receipt = triggers.Receipt{Err: err}
			in.g.overRate(err)
			return
		}
	}
	in.begin(i, attrs, data, begins, shares(begins, fuel, outside))
	if !completed {
		in.g.metrics.taken[triggers.Matched].Inc()
	}
}

// begin lets event i begin what it begins, all of it or nothing, each with its share of the chain's fuel.
func (in *intake) begin(i int, attrs, data lang.Value, begins []beginning, fuel []int) {
	receipt, n, met := &in.receipts[i], len(in.records), len(in.meets)
	runs := receipt.Runs
	for k := range begins {
		b := &begins[k]
		if !in.start(b, attrs, data, fuel[k], i) {
			in.takeBack(n, met)
			receipt.Runs = runs
			return
		}
		run := in.g.handle(b.run, b.trigger.Name)
		if b.names != nil {
			run.Key = b.key
		}
		receipt.Runs = append(receipt.Runs, run)
	}
}

// takeBack drops the records from n on, and the meetings from met on. Definitions stay: they are booked as appended.
func (in *intake) takeBack(n, met int) {
	k := n
	for at := n; at < len(in.records); at++ {
		if in.records[at].Kind == journal.Define {
			in.records[k], in.whose[k] = in.records[at], in.whose[at]
			k++
		}
	}
	in.records, in.whose = in.records[:k], in.whose[:k]
	for i := range in.meets[met:] {
		in.meets[met+i].stop()
	}
	in.meets = in.meets[:met]
}

// check refuses an event that no reader of ours would have let through: sources are anybody's.
func check(e *event.Event) error {
	err := envelope.Check(e)
	if err == nil {
		return nil
	}
	if r := (*envelope.Refusal)(nil); errors.As(err, &r) && r.Reason == envelope.TooLarge {
		return fmt.Errorf("%w: %w", triggers.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", triggers.ErrInvalid, err)
}

// elsewhere is the refusal of a start because another router has enough.
func elsewhere(why string) error {
	return fmt.Errorf("%w at the router that has the run's partition: %s", triggers.ErrBusy, why)
}

// bury makes a dead letter of an event that a trigger could not take.
func (in *intake) bury(t *config.Trigger, e *event.Event, why error) {
	text, err := json.Marshal(e)
	if err != nil {
		in.g.Log.Error("an event that a trigger could not take cannot be kept", "trigger", t.Name, "type", clip(e.Type()), "id", clip(e.ID()), "error", err)
		return
	}
	whole, err := lang.ParseValue(text)
	if err != nil {
		in.g.Log.Error("an event that a trigger could not take cannot be kept", "trigger", t.Name, "type", clip(e.Type()), "id", clip(e.ID()), "error", err)
		return
	}
	fault := lang.Failf(lang.ClassFunction, "no_key", "%v", why)
	in.dead = append(in.dead, engine.LetterOfEvent(t.Name, t.Tenant, e.Source(), e.ID(), e.Type(), whole, fault, time.Now().UTC()))
}

// Again takes an event of a dead letter in once more: the runs that it started before are the same.
func (g *Gate) Again(ctx context.Context, l *engine.Letter) error {
	var e event.Event
	if err := json.Unmarshal([]byte(l.Data.JSON()), &e); err != nil {
		return fmt.Errorf("its event cannot be read: %w", err)
	}
	receipts, err := g.For(Door{Source: deadLetters, Accepts: config.Accepts{Starts: true}})(ctx, []event.Event{e})
	switch {
	case err != nil:
		return err
	case receipts[0].Err != nil:
		return receipts[0].Err
	case receipts[0].Note != "" || receipts[0].Kind == triggers.Unmatched:
		return errors.New(receipts[0].Note)
	}
	return nil
}

// append makes the records durable. A full disk refuses the starts; the rest goes in.
func (in *intake) append(ctx context.Context) error {
	if len(in.records) == 0 {
		return nil
	}
	err := in.g.Journal.Append(ctx, in.records)
	if errors.Is(err, journal.ErrFull) {
		rest := in.records[:0]
		for k, rec := range in.records {
			if rec.Kind != journal.Start {
				rest = append(rest, rec)
				continue
			}
			in.receipts[in.whose[k]].Err = triggers.ErrFull
			in.receipts[in.whose[k]].Runs = nil
		}
		if err = in.g.Journal.Append(ctx, rest); errors.Is(err, journal.ErrFull) {
			err = fmt.Errorf("%w, and what is kept for the rest is used up", triggers.ErrFull)
		}
	}
	return err
}

// busy says why no start of this call is taken any more: once one is refused, those behind it do not pass it when a run ends meanwhile.
func (in *intake) busy() error {
	if in.refused == nil {
		in.refused = in.g.busy(int64(len(in.receipts)))
	}
	return in.refused
}

// busy says why no start is taken now. Of those being admitted the call's own do not count: a batch above the limit is taken once there is room.
func (g *Gate) busy(own int64) error {
	if err := g.Full(); err != nil {
		return err
	}
	if n := g.admitting.Load() - own; n > int64(g.MaxAdmitting) {
		return fmt.Errorf("%w: %d events are being admitted, and the limit is %d", triggers.ErrBusy, n, g.MaxAdmitting)
	}
	return nil
}

// Full says why the runs that are folded here are enough, and no start is taken; nil when it is.
func (g *Gate) Full() error {
	switch load := g.Runs.Load(); {
	case load.Runs >= g.Max.Runs:
		return fmt.Errorf("%w: %d runs are open, and the limit is %d", triggers.ErrBusy, load.Runs, g.Max.Runs)
	case load.Children >= g.Max.Children:
		return fmt.Errorf("%w: the runs have %d steps open, and the limit is %d", triggers.ErrBusy, load.Children, g.Max.Children)
	case load.Bytes >= g.Max.Bytes:
		return fmt.Errorf("%w: the runs keep %d bytes, and the limit is %d", triggers.ErrBusy, load.Bytes, g.Max.Bytes)
	}
	return nil
}
