package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/filter"
)

// rules are the triggers in force, with an index by the one type of events that their filters can let through.
type rules struct {
	set     *config.Set
	byType  map[string][]*config.Trigger
	anyType []*config.Trigger
}

func newRules(set *config.Set) *rules {
	r := &rules{set: set, byType: make(map[string][]*config.Trigger)}
	for _, name := range set.TriggerNames() {
		t := set.Triggers[name]
		if kind, ok := filter.Type(t.Filters); ok {
			r.byType[kind] = append(r.byType[kind], t)
		} else {
			r.anyType = append(r.anyType, t)
		}
	}
	return r
}

// isOwn reports the types of the events that runs bring about: a trigger without filters does not see them, or it would start itself again and again.
func isOwn(kind string) bool {
	return strings.HasPrefix(kind, "dev.onward.run.") || strings.HasPrefix(kind, "dev.onward.function.")
}

// match returns the triggers whose filters let an event through.
func (r *rules) match(kind string, a filter.Attributes) []*config.Trigger {
	var out []*config.Trigger
	for _, list := range [][]*config.Trigger{r.byType[kind], r.anyType} {
		for _, t := range list {
			if len(t.Filters) == 0 && isOwn(kind) {
				continue
			}
			if filter.MatchAll(t.Filters, a) {
				out = append(out, t)
			}
		}
	}
	return out
}

// why says why no trigger took an event.
func (r *rules) why(a filter.Attributes) string {
	names := r.set.TriggerNames()
	if len(names) == 0 {
		return "no trigger is configured"
	}
	note := "no trigger takes it"
	for i, name := range names {
		if i == 3 {
			note += fmt.Sprintf("; and %d more", len(names)-i)
			break
		}
		note += fmt.Sprintf("; %s: %s", name, filter.Explain(r.set.Triggers[name].Filters, a))
	}
	return note
}

// An intake is one call of Admit under way.
type intake struct {
	r        *Router
	rules    *rules
	records  []journal.Record
	receipts []triggers.Receipt
	starts   []int // per record: the receipt that it is a start for; -1 for the others
	refused  error // why no more starts are taken
}

// Admit takes events in: completions, signals, and what triggers' filters let through. It returns when all of it is durable.
func (r *Router) Admit(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
	if r.draining.Load() {
		return nil, triggers.ErrDraining
	}
	begin := time.Now()
	r.admitting.Add(int64(len(events)))
	defer r.admitting.Add(-int64(len(events)))
	in := &intake{r: r, rules: r.rules.Load(), receipts: make([]triggers.Receipt, len(events))}
	in.records, in.starts = make([]journal.Record, 0, len(events)), make([]int, 0, len(events))
	for i := range events {
		in.take(i, &events[i])
	}
	err := in.append(ctx)
	r.metrics.admit.Observe(time.Since(begin).Seconds())
	if err != nil {
		return nil, err
	}
	return in.receipts, nil
}

func (in *intake) add(rec journal.Record, start int) {
	rec.Partition = in.r.layout.Partition(rec.Run.Route())
	in.records = append(in.records, rec)
	in.starts = append(in.starts, start)
}

// take classifies event i.
func (in *intake) take(i int, e *event.Event) {
	receipt := &in.receipts[i]
	completed := false
	if run, f, ok := completionOf(e, in.r.maxValue); ok {
		in.add(engine.Record(journal.Completion, run, f), -1)
		*receipt = triggers.Receipt{Kind: triggers.Completion, Runs: []triggers.Run{in.r.handle(run, "")}}
		in.r.metrics.events.WithLabelValues("completion").Inc()
		completed = true
	} else if run, f, err, ok := signalOf(e); ok {
		if err != nil {
			receipt.Err = err
			return
		}
		in.add(engine.Record(journal.Signal, run, f), -1)
		*receipt = triggers.Receipt{Kind: triggers.Signal, Runs: []triggers.Run{in.r.handle(run, "")}}
		in.r.metrics.events.WithLabelValues("signal").Inc()
		return
	}
	a := filter.Of(e)
	matched := in.rules.match(e.Type(), a)
	if len(matched) == 0 {
		if !completed {
			receipt.Kind, receipt.Note = triggers.Unmatched, in.rules.why(a)
			in.r.metrics.unmatched(e.Type())
		}
		return
	}
	if len(e.Data()) > MaxEventBytes {
		if completed {
			receipt.Note = fmt.Sprintf("it starts nothing: it has %d bytes of data, and what starts something has at most %d", len(e.Data()), MaxEventBytes)
			return
		}
		receipt.Err = fmt.Errorf("%w: %d bytes of data, and the limit is %d; pass large data by reference (dataref)", triggers.ErrTooLarge, len(e.Data()), MaxEventBytes)
		return
	}
	if !completed && in.busy() != nil {
		receipt.Err = in.refused
		in.r.metrics.events.WithLabelValues("refused").Inc()
		return
	}
	data, err := dataOf(e)
	if err != nil {
		receipt.Err = err
		return
	}
	attrs := attributesOf(e)
	if !completed {
		receipt.Kind = triggers.Matched
		in.r.metrics.events.WithLabelValues("matched").Inc()
	}
	for _, t := range matched {
		run := in.start(t, e, attrs, data, i)
		receipt.Runs = append(receipt.Runs, in.r.handle(run, t.Name))
	}
}

// start adds the record that starts a run of t, and returns the run's id.
func (in *intake) start(t *config.Trigger, e *event.Event, attrs, data lang.Value, receipt int) journal.RunID {
	run := in.r.layout.RunID(t.Tenant, t.Name, e.Source(), e.ID())
	f := engine.StartFact{Trigger: t.Name, Digest: t.Digest, Event: attrs, Data: data, Hops: hopsOf(e)}
	rec := engine.Record(journal.Start, run, &f)
	rec.Tenant = t.Tenant
	p := in.r.layout.Partition(run.Route())
	if in.r.definitions.first(p, t.Digest) {
		define := journal.Record{Kind: journal.Define, Level: journal.Level, Partition: p, Payload: engine.DefinePayload(t.Definition)}
		in.records = append(in.records, define)
		in.starts = append(in.starts, -1)
	}
	in.add(rec, receipt)
	return run
}

// append makes the records durable. A full disk refuses the starts; the rest goes in.
func (in *intake) append(ctx context.Context) error {
	if len(in.records) == 0 {
		return nil
	}
	begin := time.Now()
	err := in.r.journal.Append(ctx, in.records)
	if errors.Is(err, journal.ErrFull) {
		for _, receipt := range in.starts {
			if receipt >= 0 {
				in.receipts[receipt].Err = triggers.ErrFull
				in.receipts[receipt].Runs = nil
			}
		}
		rest := in.records[:0]
		for k := range in.records {
			if in.starts[k] < 0 {
				rest = append(rest, in.records[k])
			}
		}
		if err = in.r.journal.Append(ctx, rest); errors.Is(err, journal.ErrFull) {
			err = fmt.Errorf("%w, and what is kept for the rest is used up", triggers.ErrFull)
		}
	}
	in.r.metrics.append.Observe(time.Since(begin).Seconds())
	return err
}

// busy says why no start of this call is taken any more: once one is refused, those behind it do not pass it when a run ends meanwhile.
func (in *intake) busy() error {
	if in.refused == nil {
		in.refused = in.r.busy()
	}
	return in.refused
}

// busy says why no start is taken now.
func (r *Router) busy() error {
	if n := r.openRuns.Load(); n >= int64(r.o.MaxRuns) {
		return fmt.Errorf("%w: %d runs are open, and the limit is %d", triggers.ErrBusy, n, r.o.MaxRuns)
	}
	if n := r.admitting.Load(); n > int64(r.o.MaxAdmitting) {
		return fmt.Errorf("%w: %d events are being admitted, and the limit is %d", triggers.ErrBusy, n, r.o.MaxAdmitting)
	}
	return nil
}

// handle is what a source may do with a run that it touched.
func (r *Router) handle(id journal.RunID, trigger string) triggers.Run {
	return triggers.Run{ID: id.String(), Trigger: trigger, Wait: func(ctx context.Context) (*event.Event, error) {
		f, err := r.Wait(ctx, id)
		if err != nil {
			return nil, err
		}
		return endEvent(f), nil
	}}
}

// Start starts a run of a trigger by name, whatever its filters, and returns its id. The same source and id give the same run.
func (r *Router) Start(ctx context.Context, trigger string, e *event.Event) (journal.RunID, error) {
	rl := r.rules.Load()
	t := rl.set.Triggers[trigger]
	if t == nil {
		return journal.RunID{}, fmt.Errorf("%w %q; %s", errNoTrigger, trigger, lang.Nearest(trigger, rl.set.TriggerNames()))
	}
	if r.draining.Load() {
		return journal.RunID{}, triggers.ErrDraining
	}
	if err := r.busy(); err != nil {
		return journal.RunID{}, err
	}
	data, err := dataOf(e)
	if err != nil {
		return journal.RunID{}, err
	}
	in := &intake{r: r, rules: rl, receipts: make([]triggers.Receipt, 1)}
	run := in.start(t, e, attributesOf(e), data, 0)
	if err := in.append(ctx); err != nil {
		return run, err
	}
	return run, in.receipts[0].Err
}

// Signal sends a signal to a run. The same source and id count once.
func (r *Router) Signal(ctx context.Context, run journal.RunID, f engine.SignalFact) error {
	return r.fact(ctx, engine.Record(journal.Signal, run, &f))
}

// Cancel cancels a run.
func (r *Router) Cancel(ctx context.Context, run journal.RunID, reason string) error {
	return r.fact(ctx, engine.Record(journal.Cancel, run, &engine.CancelFact{Reason: reason}))
}

func (r *Router) fact(ctx context.Context, rec journal.Record) error {
	rec.Partition = r.layout.Partition(rec.Run.Route())
	return r.journal.Append(ctx, []journal.Record{rec})
}

// Match returns what the filters let through of a run's end, in the form in which a Matched record keeps it; nil is nothing.
func (r *Router) Match(inv *engine.Invocation) []byte {
	matched := r.rules.Load().match(inv.Type, routed(inv))
	if len(matched) == 0 {
		return nil
	}
	var starts startsPayload
	for _, t := range matched {
		starts = append(starts, matchedStart{t.Name, t.Digest})
	}
	return starts.encode()
}

// Event makes the event of an invocation.
func (r *Router) Event(inv *engine.Invocation) *event.Event { return eventOf(inv) }

// routed reads the attributes of a run's end event without making the event.
func routed(inv *engine.Invocation) filter.Attributes {
	return func(name string) (string, bool) {
		switch name {
		case "id":
			return inv.ID(), true
		case "source":
			return "/onward/" + inv.Trigger, true
		case "type":
			return inv.Type, true
		case "subject", extCorrelation:
			return inv.Run.String(), true
		case "specversion":
			return event.CloudEventsVersionV1, true
		case "datacontenttype":
			return event.ApplicationJSON, true
		}
		return "", false
	}
}

// StartFor starts what was matched of a run's end, or the trigger that a destination names: repeated, under the same run ids. A *lang.Error is final.
func (r *Router) StartFor(ctx context.Context, inv *engine.Invocation) error {
	if inv.ToTrigger != "" {
		_, err := r.Start(ctx, inv.ToTrigger, eventOf(inv))
		if errors.Is(err, errNoTrigger) {
			return &lang.Error{Type: "unknown_trigger", Message: err.Error(), Class: lang.ClassPlatform}
		}
		return err
	}
	starts, err := decodeStarts(inv.Starts)
	if err != nil {
		return &lang.Error{Type: "bad_matches", Message: err.Error(), Class: lang.ClassPlatform}
	}
	e := eventOf(inv)
	rl := r.rules.Load()
	for _, m := range starts {
		t := rl.set.Triggers[m.Trigger]
		if t == nil {
			r.o.Log.Warn("a trigger that was matched has gone; its start is left out", "trigger", m.Trigger, "run", inv.Run)
			continue
		}
		in := &intake{r: r, rules: rl, receipts: make([]triggers.Receipt, 1)}
		in.start(t, e, attributesOf(e), inv.Input, 0)
		if err := errors.Join(in.append(ctx), in.receipts[0].Err); err != nil {
			return err
		}
	}
	return nil
}

// definitionLog remembers which definitions this process has appended to which partition.
type definitionLog struct{ partitions []digestSet }

type digestSet struct {
	mu   sync.Mutex
	have []lang.Digest
}

func newDefinitionLog(partitions int) *definitionLog {
	return &definitionLog{partitions: make([]digestSet, partitions)}
}

// first reports whether the definition has not been appended yet, and books it as appended.
func (d *definitionLog) first(partition int, digest lang.Digest) bool {
	p := &d.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.have, digest) {
		return false
	}
	p.have = append(p.have, digest)
	return true
}

// RunIDOf returns the id of the run that Start makes of an event.
func (r *Router) RunIDOf(trigger string, e *event.Event) journal.RunID {
	tenant := config.DefaultTenant
	if t := r.rules.Load().set.Triggers[trigger]; t != nil {
		tenant = t.Tenant
	}
	return r.layout.RunID(tenant, trigger, e.Source(), e.ID())
}
