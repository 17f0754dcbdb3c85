package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router"
	journalkafka "github.com/onward-router/onward/router/journal/kafka"
	"github.com/onward-router/onward/sinks"
	triggerkafka "github.com/onward-router/onward/triggers/kafka"
)

// A KafkaShape says how events go from topic to topic.
type KafkaShape struct {
	Cluster     kafka.Cluster
	Replicas    int // routers
	Replication int // copies of each partition
	Partitions  int
	Joins       int
	Width       int
	// Rate and For measure latency: so many events a second, straight from topic to topic, for a while.
	Rate int
	For  time.Duration
}

const kafkaDocument = `version: 1
functions: { wait: { accept: {}, timeout: 0s, concurrency: 1000 } }
triggers:
  bench: { filters: [{ exact: { type: com.example.bench } }], flow: { map: { items: "${ data }", results: count, window: 10000, do: { function: wait } } }, onSuccess: { kafka: { brokers: %[1]q, topic: %[2]q } } }
  straight: { filters: [{ exact: { type: com.example.straight } }], onSuccess: { kafka: { brokers: %[1]q, topic: %[2]q, linger: 1ms } } }
`

// Kafka is events from topic to topic, with the journal on the same cluster: completions of joins until the last join's event is in the topic out, or
// events at a steady rate.
func Kafka(ctx context.Context, o Options, shape KafkaShape) ([]Result, error) {
	if err := fits(shape.Width); err != nil {
		return nil, err
	}
	bare, err := o.bareKafka(ctx, shape)
	if err != nil {
		return nil, err
	}
	defer bare.client.Close()
	name := fmt.Sprintf("kafka join %d x %d, %d routers", shape.Joins, shape.Width, shape.Replicas)
	join, err := o.measure(ctx, name, "event", shape.Joins*shape.Width, false, bare.copied, func() (sample, error) {
		return o.kafkaRig(ctx, shape, func(g *kafkaRig) (sample, error) { return g.join(ctx) })
	})
	if err != nil {
		return nil, err
	}
	join.Durability, join.Bytes = fmt.Sprintf("%d in-sync replicas", shape.Replication), len(`{"result":1000,"worker":"worker-000001"}`)
	n := (&Stream{Rate: shape.Rate, For: shape.For}).events()
	if o.Profile != "" {
		o.Profile += ".steady" // Each has its own.
	}
	steady, err := o.measure(ctx, fmt.Sprintf("kafka, %d events a second, %d routers", shape.Rate, shape.Replicas), "event", n, false, nil, func() (sample, error) {
		return o.kafkaRig(ctx, shape, func(g *kafkaRig) (sample, error) { return g.steady(ctx) })
	})
	if err != nil {
		return nil, err
	}
	steady.Latency, steady.Durability, steady.Bytes = "topic to topic", join.Durability, len(loadData)
	if !o.NoLimit {
		once, err := bare.passed(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s, at best: %w", steady.Workload, err)
		}
		steady.Share = float64(2*once) / float64(steady.P50) // Into a topic and out again, twice.
	}
	return []Result{*join, *steady}, nil
}

// A kafkaRig is routers on a cluster, with topics of their own.
type kafkaRig struct {
	o        *Options
	shape    KafkaShape
	client   *kafka.Client
	prefix   string
	in, out  string
	accepted *ids
	routers  []*router.Router
	sources  []func(context.Context) error
}

func (o *Options) kafkaRig(ctx context.Context, shape KafkaShape, f func(*kafkaRig) (sample, error)) (s sample, err error) {
	client, err := kafka.Open(&shape.Cluster, "onward-bench", kafka.Limits{})
	if err != nil {
		return s, err
	}
	defer client.Close()
	g := &kafkaRig{o: o, shape: shape, client: client, prefix: "bench-" + router.NewID(), accepted: &ids{more: make(chan struct{}, 1)}}
	g.in, g.out = g.prefix+".in", g.prefix+".out"
	if _, err := journalkafka.Init(ctx, client, journalkafka.InitOptions{Prefix: g.prefix, Partitions: shape.Partitions, Replication: shape.Replication}); err != nil {
		return s, err
	}
	for _, t := range []string{g.in, g.out} {
		if err := client.CreateTopic(ctx, t, shape.Partitions, shape.Replication, nil); err != nil {
			return s, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	failed := make(chan error, 4*shape.Replicas)
	defer func() {
		cancel()
		running.Wait()
		for err == nil && len(failed) > 0 {
			err = <-failed
		}
	}()
	for range shape.Replicas {
		if err := g.open(ctx, &running, failed); err != nil {
			return s, err
		}
	}
	for _, r := range g.routers {
		select {
		case <-r.Ready():
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
	return f(g)
}

// open starts one router; its source is for later.
func (g *kafkaRig) open(ctx context.Context, running *sync.WaitGroup, failed chan<- error) error {
	reg := g.o.Registry.Clone()
	sinks.Register(reg, "accept", 1, "Accepts everything.", func(string, *struct{}, sinks.Host) (sinks.Sink, error) { return acceptor{g.accepted}, nil })
	set, findings := config.Parse("bench.yaml", fmt.Appendf(nil, kafkaDocument, g.client.Brokers[0], g.out), reg, nil)
	if len(findings) > 0 {
		return errors.New(findings[0].String())
	}
	dir, err := os.MkdirTemp("", "onward-bench-")
	if err != nil {
		return err
	}
	j, err := journalkafka.Open(ctx, journalkafka.Options{Client: g.client, Prefix: g.prefix, Dir: dir})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Log: g.o.Log, Dir: dir})
	if err != nil {
		return errors.Join(err, j.Close(), os.RemoveAll(dir))
	}
	running.Go(func() { failed <- errors.Join(r.Run(ctx), j.Close(), os.RemoveAll(dir)) })
	g.routers = append(g.routers, r)
	source, err := triggerkafka.New("bench", &triggerkafka.Settings{
		Cluster: g.shape.Cluster, Topics: []string{g.in}, Group: g.prefix + ".in", Start: "earliest", MaxEvent: router.MaxEventBytes,
		OnInvalid: triggerkafka.Invalid{Word: "park"}, Session: 10_000_000_000, Rebalance: 10_000_000_000,
	})
	if err != nil {
		return err
	}
	g.sources = append(g.sources, func(ctx context.Context) error { return source.Run(ctx, r.Admit) })
	return nil
}

// feed runs the sources while f does.
func (g *kafkaRig) feed(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	for _, run := range g.sources {
		feeding.Go(func() { _ = run(ctx) }) // What does not arrive is told by who waits for it.
	}
	err := f()
	cancel()
	feeding.Wait()
	return err
}

// join preloads the completions of all joins, and measures from the sources' begin to the last join's event in the topic out.
func (g *kafkaRig) join(ctx context.Context) (s sample, err error) {
	start := rig{Router: g.routers[0], o: g.o}
	for range g.shape.Joins {
		if _, _, err := start.start(ctx, g.shape.Width); err != nil {
			return s, err
		}
	}
	total := g.shape.Joins * g.shape.Width
	sent, err := g.accepted.settled(ctx, total)
	if err != nil {
		return s, err
	}
	p := g.client.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	if err := g.produce(ctx, p, completions(sent, 0, g.shape.Joins)); err != nil {
		return s, err
	}
	time.Sleep(2 * time.Second) // What the preparation has left to do is not measured.
	return g.o.timed(func() error {
		return g.feed(ctx, func() error {
			for prepared := len(sent); prepared < total; prepared = len(sent) { // What opens only when others have ended.
				if sent, err = g.accepted.wait(ctx, prepared+1, 0); err != nil {
					return err
				}
				if err := g.produce(ctx, p, completions(sent[prepared:], prepared, g.shape.Joins)); err != nil {
					return err
				}
			}
			return g.arrived(ctx, g.shape.Joins)
		})
	})
}

// produce writes events to the topic in.
func (g *kafkaRig) produce(ctx context.Context, p *kafka.Producer, events []event.Event) error {
	for rest := events; len(rest) > 0; {
		n := min(len(rest), 10_000)
		written := make(chan error, g.shape.Partitions)
		if err := gather(written, send(ctx, p, g.in, g.shape.Partitions, rest[:n], written)); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// arrived waits until so many events are in the topic out.
func (g *kafkaRig) arrived(ctx context.Context, want int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got := 0
		for p := range g.shape.Partitions {
			_, last, err := g.client.Range(ctx, g.out, p)
			if err != nil {
				return err
			}
			got += int(last)
		}
		if got >= want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events arrived: %w", got, want, ctx.Err())
		}
	}
}

// warming is how long events go before they are measured: brokers that have just begun are slow at first.
const warming = 3 * time.Second

// steady measures events that another process sends at a rate and reads again.
func (g *kafkaRig) steady(ctx context.Context) (s sample, err error) {
	load, _, err := spawn(ctx, "load")
	if err != nil {
		return s, err
	}
	defer func() { _ = load.close() }()
	l := Load{Stream: &Stream{Brokers: g.client.Brokers, In: g.in, Out: g.out, Partitions: g.shape.Partitions, Rate: g.shape.Rate, For: warming}}
	err = g.feed(ctx, func() error {
		if _, err := load.generate(l); err != nil {
			return err
		}
		l.Prefix, l.Stream.For = "measured-", g.shape.For
		var report *Report
		s, err = g.o.timed(func() (err error) {
			report, err = load.generate(l)
			return err
		})
		if err == nil {
			s.latencies = report.Latencies
		}
		return err
	})
	return s, err
}
