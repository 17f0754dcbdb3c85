package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/kafka"
)

// A Stream is a load of events at a rate from one topic, through a router, to another.
type Stream struct {
	Brokers    []string      `json:"brokers"`
	In         string        `json:"in"`
	Out        string        `json:"out"`
	Partitions int           `json:"partitions"` // of both
	Rate       int           `json:"rate"`       // events a second
	For        time.Duration `json:"forNs"`
}

func (l *Stream) events() int { return int(l.For.Seconds() * float64(l.Rate)) }

// run sends the events, and measures each from before it is produced until it is read again.
func (l *Stream) run(prefix string) *Report {
	r, err := l.measure(prefix)
	if err != nil {
		return &Report{Err: err.Error()}
	}
	return r
}

func (l *Stream) measure(prefix string) (*Report, error) {
	c, err := kafka.Open(&kafka.Cluster{Brokers: l.Brokers}, "onward-bench-load", kafka.Limits{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), l.For+time.Minute)
	defer cancel()
	e := &end{all: make(chan struct{}), left: l.events()}
	if e.left < 1 {
		return nil, fmt.Errorf("%d events a second for %s are none", l.Rate, l.For)
	}
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for partition := range l.Partitions {
		_, last, err := c.Range(ctx, l.Out, partition)
		if err != nil {
			return nil, err
		}
		readers.Go(func() {
			for at := last; ; {
				f, err := c.Fetch(reading, kafka.Fetch{Topic: l.Out, Partition: partition, Offset: at})
				if err != nil {
					return // Whoever waits for the events tells.
				}
				at = f.Next
				e.take(f.Records)
			}
		})
	}
	begin := time.Now()
	if err := l.pace(ctx, c, prefix); err != nil {
		return nil, err
	}
	select {
	case <-e.all:
	case <-ctx.Done():
		return nil, fmt.Errorf("not all events arrived: %w", ctx.Err())
	}
	slices.Sort(e.latencies)
	return &Report{Wall: time.Since(begin), Latencies: e.latencies}, nil
}

// An end is where the events arrive.
type end struct {
	mu        sync.Mutex
	left      int
	latencies []time.Duration
	all       chan struct{}
}

func (e *end) take(records []kafka.Record) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range records {
		if sent, err := strconv.ParseInt(string(r.Value), 10, 64); err == nil {
			e.latencies = append(e.latencies, now.Sub(time.Unix(0, sent)))
			if e.left--; e.left == 0 {
				close(e.all)
			}
		}
	}
}

// pace produces the events at the rate, and waits for no answer in between. Each says when it was due: one that is late in going out is late.
func (l *Stream) pace(ctx context.Context, c *kafka.Client, prefix string) error {
	p := c.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begin, total := time.Now(), l.events()
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second / time.Duration(l.Rate)) }
	written := make(chan error, total)
	batches := 0
	for sent := 0; sent < total; {
		<-tick.C
		var events []event.Event
		for ; sent < total && !due(sent).After(time.Now()); sent++ {
			e := event.New()
			e.SetID(prefix + strconv.Itoa(sent))
			e.SetSource("/bench")
			e.SetType("com.example.straight")
			e.DataEncoded = strconv.AppendInt(nil, due(sent).UnixNano(), 10)
			events = append(events, e)
		}
		batches += send(ctx, p, l.In, l.Partitions, events, written)
	}
	return gather(written, batches)
}

// gather waits for n answers.
func gather(written <-chan error, n int) error {
	var errs []error
	for range n {
		errs = append(errs, <-written)
	}
	return errors.Join(errs...)
}

// send puts events into a topic, each into any of its partitions, and returns how many answers there will be: one a partition that got some.
func send(ctx context.Context, p *kafka.Producer, topic string, partitions int, events []event.Event, written chan<- error) (answers int) {
	byPartition := make(map[int][]kafka.Record)
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
		at := rand.IntN(partitions)
		byPartition[at] = append(byPartition[at], r)
	}
	for partition, list := range byPartition {
		p.Produce(ctx, topic, partition, list, func(_ kafka.Ack, err error) { written <- err })
	}
	return len(byPartition)
}
