package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A SnapshotShape is how many runs are open while snapshots are taken, with how much data, and for how long.
type SnapshotShape struct {
	Runs, Bytes int
	Signal      bool // they wait for a signal in place of a timer
	For         time.Duration
}

const snapshotDocument = `version: 1
triggers:
  bench: { flow: { %s } }
  probe: { flow: { wait: 0s } }`

// Snapshot opens runs that wait, and then asks how long a run that does nothing takes from its start to its end: while nothing else happens, and while
// signals to the open runs change them and snapshots are taken all the time.
func Snapshot(ctx context.Context, o Options, shape SnapshotShape) ([]Result, error) {
	flow := "wait: 24h"
	if shape.Signal {
		flow = "signal: go"
	}
	const partitions = 16
	o.SnapshotEvery = max(shape.Runs/partitions/8, 100)
	g, err := o.open(ctx, fmt.Sprintf(snapshotDocument, flow), "")
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	runs, err := g.openMany(ctx, shape)
	if err != nil {
		return nil, err
	}
	o.Say("%d runs are open after %s", len(runs), time.Since(begin).Round(time.Second))
	time.Sleep(2 * time.Second)
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	o.Say("heap: %d MiB, %d bytes a run", m.HeapAlloc>>20, m.HeapAlloc/uint64(len(runs)))
	quiet, err := g.probe(ctx, shape, nil)
	if err != nil {
		return nil, err
	}
	busy, err := g.probe(ctx, shape, runs)
	if err != nil {
		return nil, err
	}
	if err := o.probeShares(ctx, quiet, busy); err != nil {
		return nil, err
	}
	begin = time.Now()
	if err := g.close(); err != nil {
		return nil, err
	}
	busy.Stop = time.Since(begin)
	for _, r := range []*Result{quiet, busy} {
		o.Say("%s: longest %s, RSS %d MiB before, %d MiB at most", r.Workload, round(r.Most), r.RSSBefore>>20, r.RSSPeak>>20)
	}
	o.Say("stopped after %s", busy.Stop.Round(10*time.Millisecond))
	return []Result{*quiet, *busy}, nil
}

// probeShares gives each its share of what the machine gives at best: a run that does nothing is one commit, its start's.
func (o *Options) probeShares(ctx context.Context, results ...*Result) error {
	once, err := o.least(ctx, commits(1, 1, recordBytes))
	if err != nil {
		return fmt.Errorf("at best: %w", err)
	}
	for _, r := range results {
		r.Share = float64(once) / float64(r.P50)
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// openMany opens the runs, from as many clients as keep the journal busy.
func (g *rig) openMany(ctx context.Context, shape SnapshotShape) ([]journal.RunID, error) {
	runs := make([]journal.RunID, shape.Runs)
	data := map[string]string{"text": strings.Repeat("x", max(shape.Bytes-11, 0))}
	var next atomic.Int64
	var failed error
	var once sync.Once
	var wait sync.WaitGroup
	for range 256 {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(runs)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				e := event.New()
				e.SetID(router.NewID())
				e.SetSource("/onward/bench")
				e.SetType("dev.onward.start")
				err := e.SetData(event.ApplicationJSON, data)
				if err == nil {
					runs[i], err = g.Start(ctx, "bench", &e)
				}
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
			}
		})
	}
	wait.Wait()
	return runs, failed
}

// probe starts runs that do nothing, ten at a time. With runs, signals change these meanwhile.
func (g *rig) probe(ctx context.Context, shape SnapshotShape, runs []journal.RunID) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, shape.For)
	defer cancel()
	name := fmt.Sprintf("probe beside %d runs", shape.Runs)
	if runs != nil {
		name += ", snapshots"
	}
	var mu sync.Mutex
	var latencies []time.Duration
	r := &Result{Workload: name, Unit: "run", Durability: "fsync", Latency: "run", Bytes: shape.Bytes, RSSBefore: rss()}
	var wait sync.WaitGroup
	wait.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			r.RSSPeak = max(r.RSSPeak, rss())
		}
	})
	if runs != nil {
		wait.Go(func() { g.disturb(ctx, runs) })
	}
	for range 10 {
		wait.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				if err := g.nothing(ctx); err != nil {
					return
				}
				took := time.Since(begin)
				mu.Lock()
				latencies = append(latencies, took)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wait.Wait()
	if len(latencies) == 0 {
		return nil, fmt.Errorf("%s: no run ended within %s", name, shape.For)
	}
	slices.Sort(latencies)
	n := len(latencies)
	r.N, r.Least, r.Median, r.Most, r.P50, r.P99 = n, latencies[0], latencies[n/2], latencies[n-1], latencies[n/2], latencies[n*99/100]
	r.Each, r.PerSecond = r.Median, float64(n)/shape.For.Seconds()
	return r, nil
}

// nothing starts a run without a flow and waits for its end.
func (g *rig) nothing(ctx context.Context) error {
	e := event.New()
	e.SetID(router.NewID())
	e.SetSource("/onward/bench")
	e.SetType("dev.onward.start")
	run, err := g.Start(ctx, "probe", &e)
	if err != nil {
		return err
	}
	_, err = g.Wait(ctx, run)
	return err
}

// disturb sends signals that nothing waits for to the open runs, some two thousand a second.
func (g *rig) disturb(ctx context.Context, runs []journal.RunID) {
	rng := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; <-tick.C {
		for range 10 {
			i++
			f := engine.SignalFact{Source: "/onward/bench", ID: strconv.Itoa(i), Name: "odd", Data: lang.Of(i)}
			run := runs[rng.IntN(len(runs))]
			go func() { _, _ = g.Signal(ctx, run, f) }() // One that does not arrive is one less.
		}
	}
}

// rss is the memory that this process has in RAM, in bytes; 0 where that is not known.
func rss() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
