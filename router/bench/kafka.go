package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
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
	name := fmt.Sprintf("kafka join %d x %d, %d routers", shape.Joins, shape.Width, shape.Replicas)
	join, err := o.measure(name, "event", shape.Joins*shape.Width, false, func() (sample, error) {
		return o.kafkaRig(ctx, shape, func(g *kafkaRig) (sample, error) { return g.join(ctx) })
	})
	if err != nil {
		return nil, err
	}
	join.Durability, join.Bytes = fmt.Sprintf("%d in-sync replicas", shape.Replication), len(`{"result":1000,"worker":"worker-000001"}`)
	n := int(shape.For.Seconds() * float64(shape.Rate))
	steady, err := o.measure(fmt.Sprintf("kafka, %d events a second, %d routers", shape.Rate, shape.Replicas), "event", n, false, func() (sample, error) {
		return o.kafkaRig(ctx, shape, func(g *kafkaRig) (sample, error) { return g.steady(ctx) })
	})
	if err != nil {
		return nil, err
	}
	steady.Latency, steady.Durability, steady.Bytes = "topic to topic", join.Durability, len(loadData)
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

// write puts events into the topic in, a batch of each partition at a time.
func (g *kafkaRig) write(ctx context.Context, p *kafka.Producer, events []event.Event) error {
	byPartition := make([][]kafka.Record, g.shape.Partitions)
	for i := range events {
		e := &events[i]
		r := kafka.Record{Value: e.Data()}
		add := func(name, v string) { r.Headers = append(r.Headers, kafka.Header{Key: name, Value: []byte(v)}) }
		add("ce_specversion", "1.0")
		add("ce_id", e.ID())
		add("ce_source", e.Source())
		add("ce_type", e.Type())
		add("content-type", event.ApplicationJSON)
		if cause, ok := e.Extensions()["causationid"].(string); ok {
			add("ce_causationid", cause)
		}
		byPartition[i%len(byPartition)] = append(byPartition[i%len(byPartition)], r)
	}
	done := make(chan error, len(byPartition))
	for partition, list := range byPartition {
		p.Produce(ctx, g.in, partition, list, func(_ kafka.Ack, err error) { done <- err })
	}
	var err error
	for range byPartition {
		err = errors.Join(err, <-done)
	}
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
	list, err := g.accepted.wait(ctx, g.shape.Joins*g.shape.Width)
	if err != nil {
		return s, err
	}
	p := g.client.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	events := completions(list, g.shape.Joins)
	for rest := events; len(rest) > 0; {
		n := min(len(rest), 10_000)
		if err := g.write(ctx, p, rest[:n]); err != nil {
			return s, err
		}
		rest = rest[n:]
	}
	time.Sleep(2 * time.Second) // What the preparation has left to do is not measured.
	return g.o.timed(func() error {
		return g.feed(ctx, func() error { return g.arrived(ctx, g.shape.Joins) })
	})
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

// steady sends events at a rate and measures each from before it is produced until it is read from the topic out.
func (g *kafkaRig) steady(ctx context.Context) (s sample, err error) {
	p := g.client.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	total := int(g.shape.For.Seconds() * float64(g.shape.Rate))
	ctx, cancel := context.WithTimeout(ctx, g.shape.For+time.Minute)
	defer cancel()
	var mu sync.Mutex
	var latencies []time.Duration
	all := make(chan struct{})
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for partition := range g.shape.Partitions {
		readers.Go(func() {
			for at := int64(0); ; {
				f, err := g.client.Fetch(reading, kafka.Fetch{Topic: g.out, Partition: partition, Offset: at})
				if err != nil {
					return
				}
				now := time.Now()
				at = f.Next
				mu.Lock()
				for _, r := range f.Records {
					if sent, err := strconv.ParseInt(string(r.Value), 10, 64); err == nil && sent > 0 {
						latencies = append(latencies, now.Sub(time.Unix(0, sent)))
					}
				}
				if len(latencies) == total {
					close(all)
				}
				mu.Unlock()
			}
		})
	}
	err = g.feed(ctx, func() (err error) {
		time.Sleep(3 * time.Second) // The sources join their group.
		s, err = g.o.timed(func() error { return g.pace(ctx, p, total, all) })
		return err
	})
	stop()
	readers.Wait()
	slices.Sort(latencies)
	s.latencies = latencies
	return s, err
}

// pace produces total events at the rate, and waits until all have come.
func (g *kafkaRig) pace(ctx context.Context, p *kafka.Producer, total int, all <-chan struct{}) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for sent := 0; sent < total; {
		<-tick.C
		var events []event.Event
		for ; sent < total && float64(sent) < time.Since(begin).Seconds()*float64(g.shape.Rate); sent++ {
			e := event.New()
			e.SetID(strconv.Itoa(sent))
			e.SetSource("/bench")
			e.SetType("com.example.straight")
			e.DataEncoded = strconv.AppendInt(nil, time.Now().UnixNano(), 10)
			events = append(events, e)
		}
		if err := g.write(ctx, p, events); err != nil {
			return err
		}
	}
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("not all events arrived: %w", ctx.Err())
	}
}
