package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// An acceptor is a sink that accepts everything and remembers the ids: completions come later, as events.
type acceptor struct{ ids *ids }

// ids gathers the ids of what was sent.
type ids struct {
	mu   sync.Mutex
	list []string
	more chan struct{}
}

func (a acceptor) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	a.ids.mu.Lock()
	for _, d := range deliveries {
		a.ids.list = append(a.ids.list, d.Event.ID())
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

// wait returns the ids once there are n of them.
func (i *ids) wait(ctx context.Context, n int) ([]string, error) {
	for {
		i.mu.Lock()
		list := i.list
		i.mu.Unlock()
		if len(list) >= n {
			return list, nil
		}
		select {
		case <-i.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// An IngestShape says how many events come, and how.
type IngestShape struct {
	Joins, Width int
	// Batch is the number of events of one admission.
	Batch int
	// Noop has every event fire one destination of its own instead of joining.
	Noop bool
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

// Ingest is the throughput of joins: prepared completions, as events, through admission, append with fsync and fold, until the last join has fired
// its destination. The events are made before, as a source would have parsed them.
func Ingest(ctx context.Context, o Options, shape IngestShape) (*Result, error) {
	if err := fits(shape.Width); err != nil && !shape.Noop {
		return nil, err
	}
	name := fmt.Sprintf("ingest join %d x %d", shape.Joins, shape.Width)
	if shape.Noop {
		name = "ingest noop"
	}
	r, err := o.measure(name, "event", shape.Joins*shape.Width, false, func() (sample, error) { return o.ingest(ctx, shape) })
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
	g, err := with.open(ctx, document, "")
	if err != nil {
		return s, err
	}
	defer func() { _ = g.close() }()
	total := shape.Joins * shape.Width
	var events []event.Event
	fired := total // what the destination gets
	if shape.Noop {
		for i := range total {
			events = append(events, ingestEvent(i, "com.example.bench", ""))
		}
	} else {
		for range shape.Joins {
			if _, _, err := g.start(ctx, shape.Width); err != nil {
				return s, err
			}
		}
		list, err := accepted.wait(ctx, total)
		if err != nil {
			return s, err
		}
		events, fired = completions(list, shape.Joins), total+shape.Joins
	}
	return o.timed(func() error {
		if err := feed(ctx, g, events, shape.Batch); err != nil {
			return err
		}
		_, err := accepted.wait(ctx, fired)
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

// completions prepares an event for each invocation, round-robin over the joins.
func completions(ids []string, joins int) []event.Event {
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
				events = append(events, ingestEvent(len(events), "dev.onward.function.succeeded", byRun[run][i]))
			}
		}
	}
	return events
}

// feed admits the events from four goroutines, as connections would.
func feed(ctx context.Context, g *rig, events []event.Event, batch int) error {
	batches := make(chan []event.Event, len(events)/batch+1)
	for b := range slices.Chunk(events, batch) {
		batches <- b
	}
	close(batches)
	var feeders sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		feeders.Go(func() {
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
	feeders.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
