// Package bench measures a router on the machine it runs on: journal with fsync, functions and load in processes of their own.
//
// The workloads are those of Triggerflow's and the WOSC papers' measurements; each says in one Result what was done and what it took.
package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
)

// Options are what every workload needs.
type Options struct {
	Registry *plugin.Registry
	// Runs is how often each workload is repeated; the median counts.
	Runs int
	// SnapshotEvery is the number of records between snapshots of a partition; 0 is the router's own.
	SnapshotEvery int
	// NoLimit leaves out what this machine gives at best, and with it the shares.
	NoLimit bool
	// Profile is the file for a CPU profile of this process while it measures; empty is none.
	Profile string
	// Say is told of progress, a line at a time.
	Say func(format string, args ...any)
	Log *slog.Logger
}

// A Result is one line of a benchmark. Durations are in nanoseconds in JSON.
type Result struct {
	Workload    string        `json:"workload"`
	N           int           `json:"n"`
	Unit        string        `json:"unit"` // what EACH and PER SECOND count
	Median      time.Duration `json:"medianNs"`
	Least       time.Duration `json:"leastNs"`
	Most        time.Duration `json:"mostNs"`
	Each        time.Duration `json:"eachNs"`
	PerSecond   float64       `json:"perSecond"`
	AtBest      float64       `json:"atBestPerSecond,omitempty"` // what bare HTTP and commits would give; 0 is not measured
	Share       float64       `json:"shareOfBest,omitempty"`     // the median of the repetitions' own, each with what was at best just before and after it
	CPU         time.Duration `json:"routerCpuEachNs"`
	Latency     string        `json:"latencyOf,omitempty"` // what P50 and P99 are of
	P50         time.Duration `json:"p50Ns,omitempty"`
	P99         time.Duration `json:"p99Ns,omitempty"`
	Bytes       int           `json:"eventBytes"` // of data
	Durability  string        `json:"durability"`
	Concurrency int           `json:"concurrency,omitempty"` // of functions, or clients
	RSSBefore   int64         `json:"rssBeforeBytes,omitempty"`
	RSSPeak     int64         `json:"rssPeakBytes,omitempty"`
	Stop        time.Duration `json:"stopNs,omitempty"` // from being told to stop until it has
}

// A Machine says what the results were measured on.
type Machine struct {
	CPUs  int    `json:"cpus"`
	Model string `json:"model,omitempty"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Go    string `json:"go"`
}

// ThisMachine describes it.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	text, _ := os.ReadFile("/proc/cpuinfo") // Only Linux has it.
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			m.Model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
			break
		}
	}
	return m
}

// A rig is a router at work on a journal in a temporary folder.
type rig struct {
	*router.Router
	o      *Options
	cancel context.CancelFunc
	ran    chan error
	j      *file.Journal
	dir    string

	mu   sync.Mutex
	hops []time.Duration
}

func (o *Options) open(ctx context.Context, document string, listen string) (*rig, error) {
	set, findings := config.Parse("bench.yaml", []byte(document), o.Registry, nil)
	if len(findings) > 0 {
		return nil, fmt.Errorf("%s", findings[0])
	}
	dir, err := os.MkdirTemp("", "onward-bench-")
	if err != nil {
		return nil, err
	}
	j, err := file.Open(file.Options{Dir: dir})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	g := &rig{o: o, j: j, dir: dir, ran: make(chan error, 1)}
	g.Router, err = router.Open(router.Options{Set: set, Registry: o.Registry, Journal: j, Hop: g.hop, Log: o.Log, Listen: listen, Dir: dir, SnapshotEvery: o.SnapshotEvery})
	if err != nil {
		return nil, errors.Join(err, j.Close(), os.RemoveAll(dir))
	}
	ctx, g.cancel = context.WithCancel(ctx)
	go func() { g.ran <- g.Run(ctx) }()
	select {
	case <-g.Ready():
		return g, nil
	case err := <-g.ran:
		g.ran <- err
		return nil, errors.Join(err, g.close())
	}
}

func (g *rig) close() error {
	g.cancel()
	return errors.Join(<-g.ran, g.j.Close(), os.RemoveAll(g.dir))
}

func (g *rig) hop(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hops = append(g.hops, d)
}

func (g *rig) forgetHops() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hops = g.hops[:0]
}

// start starts the trigger "bench" with data, and returns the run's id.
func (g *rig) start(ctx context.Context, data any) (id string, wait func() error, err error) {
	e := event.New()
	e.SetID(router.NewID())
	e.SetSource("/onward/bench")
	e.SetType("dev.onward.start")
	if err := e.SetData(event.ApplicationJSON, data); err != nil {
		return "", nil, err
	}
	run, err := g.Start(ctx, "bench", &e)
	if err != nil {
		return "", nil, err
	}
	return run.String(), func() error {
		f, err := g.Wait(ctx, run)
		if err == nil && f.Error != nil {
			err = f.Error
		}
		return err
	}, nil
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A sample is what one repetition took.
type sample struct {
	wall, cpu time.Duration
	latencies []time.Duration
}

// measure repeats f, once to warm up when warm is set, and makes a Result of n units each. best, if there is one, is the floor of a unit: it is measured before
// and after each repetition.
func (o *Options) measure(ctx context.Context, name, unit string, n int, warm bool, best floor, f func() (sample, error)) (*Result, error) {
	var walls, cpus, latencies, floors []time.Duration
	var shares []float64
	total := o.Runs
	if warm {
		total++
	}
	least, err := time.Duration(0), error(nil)
	if !warm {
		if least, err = o.least(ctx, best); err != nil {
			return nil, fmt.Errorf("%s, at best: %w", name, err)
		}
	}
	for i := range total {
		o.Say("%s, %d of %d", name, i+1, total)
		s, err := f()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		before := least
		if least, err = o.least(ctx, best); err != nil {
			return nil, fmt.Errorf("%s, at best: %w", name, err)
		}
		if warm && i == 0 {
			continue
		}
		walls, cpus, latencies = append(walls, s.wall), append(cpus, s.cpu), append(latencies, s.latencies...)
		if least > 0 {
			d := (before + least) / 2
			floors, shares = append(floors, d), append(shares, float64(d)*float64(n)/float64(s.wall))
		}
	}
	slices.Sort(walls)
	slices.Sort(cpus)
	slices.Sort(latencies)
	slices.Sort(floors)
	slices.Sort(shares)
	r := &Result{Workload: name, N: n, Unit: unit, Median: walls[len(walls)/2], Least: walls[0], Most: walls[len(walls)-1], Durability: "fsync"}
	r.Each, r.CPU = r.Median/time.Duration(n), cpus[len(cpus)/2]/time.Duration(n)
	r.PerSecond = float64(n) / r.Median.Seconds()
	if k := len(floors); k > 0 {
		r.AtBest, r.Share = 1/floors[k/2].Seconds(), shares[k/2]
	}
	if k := len(latencies); k > 0 {
		r.P50, r.P99 = latencies[k/2], latencies[k*99/100]
	}
	return r, nil
}

// least is a floor, or 0 where there is none.
func (o *Options) least(ctx context.Context, best floor) (time.Duration, error) {
	if best == nil || o.NoLimit {
		return 0, nil
	}
	return best(ctx)
}

// timed runs f, with the CPU profile when one is asked for: each repetition writes it anew, so the last one stays.
func (o *Options) timed(f func() error) (s sample, err error) {
	if o.Profile != "" {
		stop, err := startProfile(o.Profile)
		if err != nil {
			return s, err
		}
		defer func() { _ = stop() }()
	}
	begin, cpu := time.Now(), cpuTime()
	err = f()
	s.wall, s.cpu = time.Since(begin), cpuTime()-cpu
	return s, err
}

func startProfile(name string) (stop func() error, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// A child is another process of this program, which ends when its standard input does.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// spawn starts this program with "bench" and args. Its first line of output says that it is ready, or what of.
func spawn(ctx context.Context, args ...string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, append([]string{"bench"}, args...)...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, "", err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("bench %s said nothing: %w", args[0], err), c.close())
	}
	return c, strings.TrimSpace(line), nil
}

func (c *child) close() error {
	_ = c.in.Close() // It may have ended before.
	return c.cmd.Wait()
}
