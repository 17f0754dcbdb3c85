package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// An acceptor is a sink that accepts everything and remembers the ids: completions come later, as events.
type acceptor struct{ ids *ids }

// ids gathers the ids of the calls that were sent, and counts the ends of runs.
type ids struct {
	mu    sync.Mutex
	calls []string
	ends  int
	more  chan struct{}
}

func (a acceptor) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	a.ids.mu.Lock()
	for _, d := range deliveries {
		if d.Invoke {
			a.ids.calls = append(a.ids.calls, d.ID())
		} else {
			a.ids.ends++
		}
	}
	a.ids.mu.Unlock()
	for _, d := range deliveries {
		d.Done(sinks.Accept())
	}
	select {
	case a.ids.more <- struct{}{}:
	default:
	}
}

func (acceptor) Close() error { return nil }

// wait returns the calls once there are so many of them, and so many runs have ended.
func (i *ids) wait(ctx context.Context, calls, ends int) ([]string, error) {
	for {
		i.mu.Lock()
		sent, ended := i.calls, i.ends
		i.mu.Unlock()
		if len(sent) >= calls && ended >= ends {
			return sent, nil
		}
		select {
		case <-i.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// settled returns the calls once there are so many, or no further one comes: a partition opens only so many steps at a time.
func (i *ids) settled(ctx context.Context, most int) (sent []string, err error) {
	for {
		quiet, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		more, err := i.wait(quiet, min(len(sent)+1, most), 0)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return sent, nil
		case len(more) >= most:
			return more, nil
		}
		sent = more
	}
}

// An IngestShape says how many events come, and how.
type IngestShape struct {
	Joins, Width int
	// Batch is the number of events of one admission.
	Batch int
	// Noop has every event fire one destination of its own instead of joining.
	Noop bool
	// Correlate has the events meet by a key of their own, a trigger's await, instead of being the completions of calls.
	Correlate bool
}

// fits refuses joins whose completions cannot all be prepared: branches beyond the window have not been called yet.
func fits(width int) error {
	if most := engine.LimitsOf(journal.Level).Window; width < 1 || width > most {
		return fmt.Errorf("a width of %d; the completions are prepared, and from 1 to %d branches of a join are open at a time", width, most)
	}
	return nil
}

const ingestJoin = `version: 1
functions: { wait: { accept: {}, timeout: 0s, concurrency: 1000 }, out: { accept: {} } }
triggers: { bench: { filters: [{ exact: { type: com.example.bench } }], flow: { map: { items: "${ data }", results: count, window: 10000, do: { function: wait } } }, onSuccess: { function: out } } }`

const ingestNoop = `version: 1
functions: { out: { accept: {}, concurrency: 1000 } }
triggers: { bench: { filters: [{ exact: { type: com.example.bench } }], onSuccess: { function: out } } }`

const ingestCorrelate = `version: 1
functions: { out: { accept: {}, concurrency: 1000 } }
triggers: { bench: { filters: [{ exact: { type: com.example.bench } }], correlate: "${ data.join }", await: { count: %d }, flow: { pass: {}, input: "${ size(arrived) }" }, onSuccess: { function: out } } }`

// Ingest is the throughput of joins: prepared completions, as events, through admission, append with fsync and fold, until the last join has fired
// its destination. The events are made before, as a source would have parsed them.
func Ingest(ctx context.Context, o Options, shape IngestShape) (*Result, error) {
	switch err := fits(shape.Width); {
	case shape.Noop && shape.Correlate:
		return nil, errors.New("events either meet or fire each; say --noop or --correlate")
	case shape.Correlate && (shape.Width < 1 || shape.Width > lang.MaxRound):
		return nil, fmt.Errorf("a width of %d; from 1 to %d events meet", shape.Width, lang.MaxRound)
	case err != nil && !shape.Noop && !shape.Correlate:
		return nil, err
	}
	name := fmt.Sprintf("ingest join %d x %d", shape.Joins, shape.Width)
	if shape.Noop {
		name = "ingest noop"
	}
	if shape.Correlate {
		name = fmt.Sprintf("ingest correlate %d x %d", shape.Joins, shape.Width)
	}
	r, err := o.measure(ctx, name, "event", shape.Joins*shape.Width, false, commits(feeders, shape.Batch, recordBytes), func() (sample, error) { return o.ingest(ctx, shape) })
	if r != nil {
		r.Bytes = len(`{"result":1000,"worker":"worker-000001"}`)
	}
	return r, err
}

func (o *Options) ingest(ctx context.Context, shape IngestShape) (s sample, err error) {
	accepted := &ids{more: make(chan struct{}, 1)}
	with := *o
	with.Registry = o.Registry.Clone()
	sinks.Register(with.Registry, "accept", 1, "Accepts everything.", func(string, *struct{}, sinks.Host) (sinks.Sink, error) { return acceptor{accepted}, nil })
	document := ingestJoin
	if shape.Noop {
		document = ingestNoop
	}
	if shape.Correlate {
		document = fmt.Sprintf(ingestCorrelate, shape.Width)
	}
	g, err := with.open(ctx, document, "")
	if err != nil {
		return s, err
	}
	defer func() { _ = g.close() }()
	total := shape.Joins * shape.Width
	var events []event.Event
	prepared, calls, ends := 0, 0, total
	switch {
	case shape.Noop:
		for i := range total {
			events = append(events, ingestEvent(i, "com.example.bench", ""))
		}
	case shape.Correlate:
		ends = shape.Joins
		for i := range total { // Round-robin over the joins.
			e := ingestEvent(i, "com.example.bench", "")
			_ = e.SetData(event.ApplicationJSON, map[string]any{"join": fmt.Sprintf("order-%06d", i%shape.Joins), "result": i % 1000, "worker": fmt.Sprintf("worker-%06d", i%512)}) // It marshals.
			events = append(events, e)
		}
	default:
		for range shape.Joins {
			if _, _, err := g.start(ctx, shape.Width); err != nil {
				return s, err
			}
		}
		sent, err := accepted.settled(ctx, total)
		if err != nil {
			return s, err
		}
		events, prepared, calls, ends = completions(sent, 0, shape.Joins), len(sent), total, shape.Joins
	}
	return o.timed(func() error {
		if err := feed(ctx, g, events, shape.Batch); err != nil {
			return err
		}
		for prepared < calls { // What opens only when others have ended.
			sent, err := accepted.wait(ctx, prepared+1, 0)
			if err != nil {
				return err
			}
			if err := feed(ctx, g, completions(sent[prepared:], prepared, shape.Joins), shape.Batch); err != nil {
				return err
			}
			prepared = len(sent)
		}
		_, err := accepted.wait(ctx, calls, ends)
		return err
	})
}

func ingestEvent(i int, kind, cause string) event.Event {
	e := event.New()
	e.SetID(fmt.Sprint("c-", i))
	e.SetSource("/functions/wait")
	e.SetType(kind)
	e.SetTime(time.Now())
	if cause != "" {
		e.SetExtension("causationid", cause)
	}
	_ = e.SetData(event.ApplicationJSON, map[string]any{"result": i % 1000, "worker": fmt.Sprintf("worker-%06d", i%512)}) // It marshals.
	return e
}

// completions prepares an event for each invocation, round-robin over the joins; first is the number of the first event.
func completions(ids []string, first, joins int) []event.Event {
	byRun := make(map[string][]string, joins)
	var order []string
	for _, id := range ids {
		run := id[:26]
		if byRun[run] == nil {
			order = append(order, run)
		}
		byRun[run] = append(byRun[run], id)
	}
	var events []event.Event
	for i := 0; len(events) < len(ids); i++ {
		for _, run := range order {
			if i < len(byRun[run]) {
				events = append(events, ingestEvent(first+len(events), "dev.onward.function.succeeded", byRun[run][i]))
			}
		}
	}
	return events
}

// feeders are the goroutines that admit events, as connections would.
const feeders = 4

// feed admits the events.
func feed(ctx context.Context, g *rig, events []event.Event, batch int) error {
	batches := make(chan []event.Event, len(events)/batch+1)
	for b := range slices.Chunk(events, batch) {
		batches <- b
	}
	close(batches)
	var feeding sync.WaitGroup
	errs := make([]error, feeders)
	for i := range errs {
		feeding.Go(func() {
			for b := range batches {
				receipts, err := g.Admit(ctx, b)
				for k := range receipts {
					if err == nil {
						err = receipts[k].Err
					}
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	feeding.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
