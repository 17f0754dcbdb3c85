package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/bench"
	"github.com/spf13/cobra"
)

const benchHelp = "Bench measures the router on this machine: durable, with functions and load in processes of their own.\n\n" +
	"AT BEST is what the machine gives to programs that do nothing but what the workload cannot do without: bare HTTP between two processes, and commits of a\n" +
	"file that many share. It is measured before and after each repetition. SHARE is how much of it the router gives: it says the same on a machine that is slow, or\n" +
	"that others are at work on. onward bench limit measures it alone."

// bench measures the router on this machine.
func (p *program) bench() *cobra.Command {
	c := &cobra.Command{
		Use: "bench", Short: "Measure the router on this machine: durable, with functions and load in processes of their own.",
		Long:    benchHelp,
		Example: "  onward bench forkjoin --n 1000,10000\n  onward bench chain --n 10 --parallel 64\n  onward bench ingest --cpu-profile cpu.prof",
	}
	var o bench.Options
	c.PersistentFlags().IntVar(&o.Runs, "runs", 5, "repetitions of each; the median counts")
	c.PersistentFlags().StringVar(&o.Profile, "cpu-profile", "", "write the CPU profile of the router's process while it is measured, for go tool pprof; of kafka's second workload, to FILE.steady")
	c.PersistentFlags().BoolVar(&o.NoLimit, "no-limit", false, "do not measure beside each what this machine gives at best: no AT BEST, no SHARE")
	workload := func(use, short string, measure func(ctx context.Context) ([]bench.Result, error)) *cobra.Command {
		w := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return p.measure(c.Context(), &o, measure) }}
		c.AddCommand(w)
		return w
	}
	one := func(r *bench.Result, err error) ([]bench.Result, error) {
		if err != nil {
			return nil, err
		}
		return []bench.Result{*r}, nil
	}

	var sizes []int
	var together int
	forkjoin := workload("forkjoin", "One run of N branches whose functions answer at once.", func(ctx context.Context) ([]bench.Result, error) {
		return bench.Forkjoin(ctx, o, sizes, together)
	})
	forkjoin.Flags().IntSliceVar(&sizes, "n", []int{100, 1000, 10_000}, "numbers of branches")
	forkjoin.Flags().IntVar(&together, "batch", 0, "invocations of one request; 0 is one, in binary mode")

	var steps []int
	var parallel int
	chain := workload("chain", "Runs of N steps, one after the other.", func(ctx context.Context) ([]bench.Result, error) {
		return bench.Chain(ctx, o, steps, parallel)
	})
	chain.Flags().IntSliceVar(&steps, "n", []int{40, 1000}, "numbers of steps")
	chain.Flags().IntVar(&parallel, "parallel", 1, "clients, each with one run at a time")

	var n, clients int
	starts := workload("starts", "Runs that do nothing, from a POST to the answer.", func(ctx context.Context) ([]bench.Result, error) {
		return one(bench.Starts(ctx, o, n, clients))
	})
	starts.Flags().IntVar(&n, "n", 20_000, "number of runs")
	starts.Flags().IntVar(&clients, "clients", 64, "clients")

	var batch int
	webhook := workload("webhook", "Events from webhook to webhook.", func(ctx context.Context) ([]bench.Result, error) {
		return one(bench.Webhook(ctx, o, n, clients, batch))
	})
	webhook.Flags().IntVar(&n, "n", 20_000, "number of events")
	webhook.Flags().IntVar(&clients, "clients", 64, "clients that post")
	webhook.Flags().IntVar(&batch, "batch", 0, "events of one POST; 0 is one, in binary mode")

	benchIngest(&o, workload)
	benchLimit(&o, workload)
	benchSnapshot(&o, workload)
	benchKafka(&o, workload)

	c.AddCommand(&cobra.Command{Use: "function", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return bench.Function() }})
	c.AddCommand(&cobra.Command{Use: "load", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return bench.Generate(os.Stdin, p.out) }})
	return c
}

func benchIngest(o *bench.Options, workload func(use, short string, measure func(ctx context.Context) ([]bench.Result, error)) *cobra.Command) {
	var shape bench.IngestShape
	ingest := workload("ingest", "Joins of 1,000 completions each, as events, until the last has fired.", func(ctx context.Context) ([]bench.Result, error) {
		r, err := bench.Ingest(ctx, *o, shape)
		if err != nil {
			return nil, err
		}
		return []bench.Result{*r}, nil
	})
	ingest.Flags().IntVar(&shape.Joins, "joins", 200, "number of runs")
	ingest.Flags().IntVar(&shape.Width, "width", 1000, "branches of each")
	ingest.Flags().IntVar(&shape.Batch, "batch", 500, "events of one admission")
	ingest.Flags().BoolVar(&shape.Correlate, "correlate", false, "the events meet by a key of their own (a trigger with await) instead of being completions of calls")
	ingest.Flags().BoolVar(&shape.Noop, "noop", false, "every event fires a destination of its own instead of joining")
}

func benchLimit(o *bench.Options, workload func(use, short string, measure func(ctx context.Context) ([]bench.Result, error)) *cobra.Command) {
	var clients int
	limit := workload("limit", "What this machine gives at best: bare HTTP between two processes, and bare commits.", func(ctx context.Context) ([]bench.Result, error) {
		return bench.Limit(ctx, *o, clients)
	})
	limit.Flags().IntVar(&clients, "clients", 64, "clients, and writers")
}

func benchSnapshot(o *bench.Options, workload func(use, short string, measure func(ctx context.Context) ([]bench.Result, error)) *cobra.Command) {
	var idle bench.SnapshotShape
	snapshot := workload("snapshot", "Runs that do nothing, beside many that are open, while snapshots are taken: latency, memory, and how long it takes to stop.", func(ctx context.Context) ([]bench.Result, error) {
		return bench.Snapshot(ctx, *o, idle)
	})
	snapshot.Flags().IntVar(&idle.Runs, "n", 500_000, "number of open runs")
	snapshot.Flags().IntVar(&idle.Bytes, "bytes", 300, "data of each event")
	snapshot.Flags().BoolVar(&idle.Signal, "signal", false, "the runs wait for a signal in place of a timer")
	snapshot.Flags().DurationVar(&idle.For, "for", 30*time.Second, "for how long, each")
}

func benchKafka(o *bench.Options, workload func(use, short string, measure func(ctx context.Context) ([]bench.Result, error)) *cobra.Command) {
	var k bench.KafkaShape
	onKafka := workload("kafka", "Events from Kafka topic to Kafka topic, with the journal on the same cluster.", func(ctx context.Context) ([]bench.Result, error) {
		return bench.Kafka(ctx, *o, k)
	})
	onKafka.Flags().StringSliceVar(&k.Cluster.Brokers, "kafka-brokers", nil, "host:port of brokers; default: KAFKA_BROKERS")
	onKafka.Flags().IntVar(&k.Replicas, "replicas", 1, "routers")
	onKafka.Flags().IntVar(&k.Replication, "replication", 1, "copies of each partition")
	onKafka.Flags().IntVar(&k.Partitions, "partitions", 8, "partitions of each topic")
	onKafka.Flags().IntVar(&k.Joins, "joins", 200, "number of runs")
	onKafka.Flags().IntVar(&k.Width, "width", 1000, "branches of each")
	onKafka.Flags().IntVar(&k.Rate, "rate", 1000, "events a second, where latency is measured")
	onKafka.Flags().DurationVar(&k.For, "for", 10*time.Second, "for how long")
}

func (p *program) measure(ctx context.Context, o *bench.Options, measure func(ctx context.Context) ([]bench.Result, error)) error {
	if o.Runs < 1 {
		return fmt.Errorf("--runs %d; at least one is needed", o.Runs)
	}
	o.Registry = p.registry
	o.Say = func(format string, args ...any) { fmt.Fprintf(p.errs, format+"\n", args...) }
	o.Log = logger(config.Settings{LogLevel: "info"}, p.errs) // As serve's: what it costs is measured, too.
	asked := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go spareMemory(ctx)
	results, err := measure(ctx)
	if len(results) > 0 { // What was measured before something went wrong stands.
		if printed := p.printBench(results); err == nil {
			err = printed
		}
	}
	switch {
	case err != nil && asked.Err() != nil:
		return exitError{exitRun, fmt.Errorf("stopped after %d measurements; what was under way is not counted", len(results))}
	case err != nil:
		return exitError{exitRun, err}
	}
	return nil
}

func (p *program) printBench(results []bench.Result) error {
	m := bench.ThisMachine()
	return p.print(map[string]any{"machine": m, "results": results}, func(w io.Writer) {
		fmt.Fprintf(w, "%d CPUs (%s), %s/%s, %s; durable: %s\n", m.CPUs, m.Model, m.OS, m.Arch, m.Go, results[0].Durability)
		fmt.Fprintln(w, "WORKLOAD\tMEDIAN\tRANGE\tPER SECOND\tAT BEST\tSHARE\tEACH\tROUTER CPU EACH\tP50\tP99\tOF")
		for _, r := range results {
			fmt.Fprintf(w, "%s\t%s\t%s-%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Workload, round(r.Median), round(r.Least), round(r.Most), r.PerSecond,
				known(r.AtBest, "%.0f"), known(100*r.Share, "%.0f %%"), round(r.Each), round(r.CPU), round(r.P50), round(r.P99), r.Latency)
		}
	})
}

// known is a number that was measured, or a dash.
func known(x float64, format string) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf(format, x)
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
