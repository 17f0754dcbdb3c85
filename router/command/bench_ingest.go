package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/sinks"
	"github.com/spf13/cobra"
)

// An acceptor is a sink that accepts everything and remembers the ids: completions come later, as events.
type acceptor struct {
	mu  *sync.Mutex
	ids *[]string
}

func (a acceptor) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		a.mu.Lock()
		*a.ids = append(*a.ids, d.Event.ID())
		a.mu.Unlock()
		d.Done(sinks.Accept())
	}
}

func (acceptor) Close() error { return nil }

const benchIngestDoc = `version: 1
functions: { wait: { accept: {}, timeout: 0s } }
triggers: { bench: { flow: { map: { items: "${ data }", results: count, do: { function: wait } } } } }`

// benchIngest is the join's throughput: prepared completions through admission, append with fsync and fold, to the last join.
func (p *program) benchIngest() *cobra.Command {
	var joins, width, batch, runs int
	c := &cobra.Command{Use: "ingest", Short: "Joins of 1,000 completions each, as events, until the last has fired.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var rates []float64
		var cpus []time.Duration
		for i := range runs {
			fmt.Fprintf(p.errs, "ingest of %d x %d, %d of %d ...\n", joins, width, i+1, runs)
			took, cpu, err := p.ingest(c.Context(), joins, width, batch)
			if err != nil {
				return exitError{exitRun, err}
			}
			rates = append(rates, float64(joins*width)/took.Seconds())
			cpus = append(cpus, cpu/time.Duration(joins*width))
		}
		slices.Sort(rates)
		slices.Sort(cpus)
		result := map[string]any{
			"workload": "ingest join", "events": joins * width, "batch": batch, "durability": "fsync", "cpus": runtime.NumCPU(),
			"medianPerSecond": int(rates[runs/2]), "leastPerSecond": int(rates[0]), "mostPerSecond": int(rates[runs-1]), "cpuEachNs": cpus[runs/2],
		}
		return p.print(result, func(w io.Writer) {
			fmt.Fprintf(w, "%d joins of %d completions, admitted in batches of %d; journal with fsync; %d CPUs, %s\n", joins, width, batch, runtime.NumCPU(), runtime.Version())
			fmt.Fprintf(w, "median %.0f events/s, range %.0f-%.0f, %s CPU an event\n", rates[runs/2], rates[0], rates[runs-1], cpus[runs/2])
		})
	}}
	c.Flags().IntVar(&joins, "joins", 200, "number of runs")
	c.Flags().IntVar(&width, "width", 1000, "branches of each")
	c.Flags().IntVar(&batch, "batch", 500, "events of one admission")
	c.Flags().IntVar(&runs, "runs", 5, "runs of all; the median counts")
	return c
}

func (p *program) ingest(ctx context.Context, joins, width, batch int) (time.Duration, time.Duration, error) {
	reg := p.registry.Clone()
	var mu sync.Mutex
	var ids []string
	sinks.Register(reg, "accept", 1, "Accepts everything.", func(string, *struct{}, sinks.Host) (sinks.Sink, error) { return acceptor{&mu, &ids}, nil })
	set, findings := config.Parse("bench.yaml", []byte(benchIngestDoc), reg, nil)
	if len(findings) > 0 {
		return 0, 0, fmt.Errorf("%s", findings[0])
	}
	dir, err := os.MkdirTemp("", "onward-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	j, err := file.Open(file.Options{Dir: dir})
	if err != nil {
		return 0, 0, err
	}
	defer j.Close()
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j})
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	<-r.Ready()
	var done sync.WaitGroup
	for range joins {
		e := event.New()
		e.SetID(router.NewID())
		e.SetSource("/onward/bench")
		e.SetType("dev.onward.start")
		if err := e.SetData(event.ApplicationJSON, width); err != nil {
			return 0, 0, err
		}
		id, err := r.Start(ctx, "bench", &e)
		if err != nil {
			return 0, 0, err
		}
		done.Go(func() { _, _ = r.Wait(ctx, id) })
	}
	for {
		mu.Lock()
		n := len(ids)
		mu.Unlock()
		if n >= joins*width {
			break
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return feed(ctx, r, completions(ids, joins), batch, &done)
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
			if i >= len(byRun[run]) {
				continue
			}
			e := event.New()
			e.SetID(fmt.Sprint("c-", len(events)))
			e.SetSource("/functions/wait")
			e.SetType("dev.onward.function.succeeded")
			e.SetExtension("causationid", byRun[run][i])
			_ = e.SetData(event.ApplicationJSON, map[string]int{"result": i}) // It marshals.
			events = append(events, e)
		}
	}
	return events
}

// feed admits the events from four goroutines, as connections would, and waits for the last join.
func feed(ctx context.Context, r *router.Router, events []event.Event, batch int, done *sync.WaitGroup) (time.Duration, time.Duration, error) {
	batches := make(chan []event.Event, len(events)/batch+1)
	for b := range slices.Chunk(events, batch) {
		batches <- b
	}
	close(batches)
	begin, cpu := time.Now(), cpuTime()
	var feeders sync.WaitGroup
	for range 4 {
		feeders.Go(func() {
			for b := range batches {
				if _, err := r.Admit(ctx, b); err != nil {
					return
				}
			}
		})
	}
	feeders.Wait()
	done.Wait()
	return time.Since(begin), cpuTime() - cpu, ctx.Err()
}
