package command

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/spf13/cobra"
)

// bench measures the router with functions in a process of their own.
func (p *program) bench() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure the router on this machine: durable, with functions in a process of their own."}
	var sizes []int
	var runs int
	forkjoin := &cobra.Command{Use: "forkjoin", Short: "One run of N branches whose functions answer at once.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return p.benchRuns(c.Context(), "forkjoin", benchForkjoin, sizes, runs)
	}}
	chain := &cobra.Command{Use: "chain", Short: "One run of N steps, one after the other.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return p.benchRuns(c.Context(), "chain", benchChain, sizes, runs)
	}}
	forkjoin.Flags().IntSliceVar(&sizes, "n", []int{100, 1000, 10_000}, "numbers of branches")
	chain.Flags().IntSliceVar(&sizes, "n", []int{40, 1000}, "numbers of steps")
	c.PersistentFlags().IntVar(&runs, "runs", 5, "runs of each; the median counts")
	c.AddCommand(forkjoin, chain, p.benchIngest(), benchFunction())
	return c
}

// benchFunction is the other process: a function that answers at once.
func benchFunction() *cobra.Command {
	return &cobra.Command{Use: "function", Hidden: true, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		go func() { // It ends with the process that started it.
			_, _ = io.Copy(io.Discard, os.Stdin)
			_ = l.Close()
		}()
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") }))
		return nil
	}}
}

func benchForkjoin(url string, _ int) string {
	return fmt.Sprintf(`version: 1
functions: { nop: { http: { url: "http://%s/" } } }
triggers: { bench: { flow: { map: { items: "${ data }", results: count, do: { function: nop } } } } }`, url)
}

func benchChain(url string, n int) string {
	return fmt.Sprintf(`version: 1
functions: { nop: { http: { url: "http://%s/" } } }
triggers: { bench: { flow: { sequence: [%s] } } }`, url, strings.TrimSuffix(strings.Repeat("{ function: nop }, ", n), ", "))
}

// A measured is one line of a benchmark.
type measured struct {
	Name        string        `json:"name"`
	N           int           `json:"n"`
	Median      time.Duration `json:"medianNs"`
	Least       time.Duration `json:"leastNs"`
	Most        time.Duration `json:"mostNs"`
	Each        time.Duration `json:"eachNs"`
	CPU         time.Duration `json:"routerCpuEachNs"`
	Hop50       time.Duration `json:"hop50Ns"`
	Hop99       time.Duration `json:"hop99Ns"`
	Durability  string        `json:"durability"`
	EventBytes  int           `json:"inputBytes"`
	Concurrency int           `json:"concurrency"`
}

func (p *program) benchRuns(ctx context.Context, name string, doc func(string, int) string, sizes []int, runs int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, "bench", "function")
	in, err := child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer func() { _ = in.Close(); _ = child.Wait() }()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	var lines []measured
	for _, n := range sizes {
		fmt.Fprintf(p.errs, "%s of %d, %d times ...\n", name, n, runs)
		m, err := p.benchOne(ctx, doc(strings.TrimSpace(url), n), n, runs)
		if err != nil {
			return exitError{exitRun, err}
		}
		m.Name = name
		lines = append(lines, *m)
	}
	return p.print(map[string]any{"cpus": runtime.NumCPU(), "os": runtime.GOOS, "arch": runtime.GOARCH, "go": runtime.Version(), "results": lines}, func(w io.Writer) {
		fmt.Fprintf(w, "%d CPUs, %s/%s, %s; journal with fsync; functions in their own process\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
		fmt.Fprintln(w, "WORKLOAD\tN\tMEDIAN\tRANGE\tEACH\tROUTER CPU EACH\tHOP P50\tHOP P99")
		for _, m := range lines {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s-%s\t%s\t%s\t%s\t%s\n", m.Name, m.N, round(m.Median), round(m.Least), round(m.Most), round(m.Each), round(m.CPU), round(m.Hop50), round(m.Hop99))
		}
	})
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// benchOne measures one size: a run to warm up, then the counted ones, in one router.
func (p *program) benchOne(ctx context.Context, doc string, n, runs int) (*measured, error) {
	set, findings := config.Parse("bench.yaml", []byte(doc), p.registry, check)
	if len(findings) > 0 {
		return nil, fmt.Errorf("%s", findings[0])
	}
	dir, err := os.MkdirTemp("", "onward-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	j, err := file.Open(file.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	h := &hops{}
	r, err := router.Open(router.Options{Set: set, Registry: p.registry, Journal: j, Hop: h.add, Log: slog.New(slog.NewTextHandler(p.errs, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	<-r.Ready()
	var took []time.Duration
	var cpu time.Duration
	for i := range runs + 1 {
		if i == 1 {
			h.mu.Lock()
			h.overhead = h.overhead[:0]
			h.mu.Unlock()
			cpu = cpuTime()
		}
		begin := time.Now()
		if err := benchRun(ctx, r, n); err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, time.Since(begin))
		}
	}
	cpu = cpuTime() - cpu
	slices.Sort(took)
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.overhead)
	m := &measured{N: n, Median: took[len(took)/2], Least: took[0], Most: took[len(took)-1], CPU: cpu / time.Duration(runs*n), Durability: "fsync", EventBytes: len(fmt.Sprint(n)), Concurrency: 64}
	m.Each = m.Median / time.Duration(n)
	if k := len(h.overhead); k > 0 {
		m.Hop50, m.Hop99 = h.overhead[k/2], h.overhead[k*99/100]
	}
	return m, nil
}

func benchRun(ctx context.Context, r *router.Router, n int) error {
	e := event.New()
	e.SetID(router.NewID())
	e.SetSource("/onward/bench")
	e.SetType("dev.onward.start")
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(fmt.Sprint(n))); err != nil {
		return err
	}
	id, err := r.Start(ctx, "bench", &e)
	if err != nil {
		return err
	}
	f, err := r.Wait(ctx, id)
	if err == nil && f.Error != nil {
		err = f.Error
	}
	return err
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
