package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router"
)

// A bareKafka is two topics of the cluster, and programs that only write and read them: what a cluster gives at best.
type bareKafka struct {
	client  *kafka.Client
	shape   KafkaShape
	in, out string
	read    []int64 // how far the topic in has been copied, by partition
}

func (o *Options) bareKafka(ctx context.Context, shape KafkaShape) (*bareKafka, error) {
	client, err := kafka.Open(&shape.Cluster, "onward-bench", kafka.Limits{})
	if err != nil {
		return nil, err
	}
	prefix := "bench-" + router.NewID()
	b := &bareKafka{client: client, shape: shape, in: prefix + ".bare-in", out: prefix + ".bare-out", read: make([]int64, shape.Partitions)}
	if o.NoLimit {
		return b, nil
	}
	for _, topic := range []string{b.in, b.out} {
		if err := client.CreateTopic(ctx, topic, shape.Partitions, shape.Replication, nil); err != nil {
			client.Close()
			return nil, err
		}
	}
	return b, nil
}

// limitCopied is how many records are copied for a floor.
const limitCopied = 100_000

// copied is the time of an event that is read from one topic and written to another: the least that a router whose journal is a topic has to do.
func (b *bareKafka) copied(ctx context.Context) (time.Duration, error) {
	p := b.client.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	each := limitCopied / b.shape.Partitions
	value := make([]byte, recordBytes)
	if err := b.each(func(partition int) error {
		for rest := each; rest > 0; {
			list := make([]kafka.Record, min(rest, 1000))
			for i := range list {
				list[i].Value = value
			}
			rest -= len(list)
			if err := b.produce(ctx, p, b.in, partition, list); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	begin := time.Now()
	err := b.each(func(partition int) error { return b.carry(ctx, p, partition, b.read[partition]+int64(each)) })
	return time.Since(begin) / time.Duration(each*b.shape.Partitions), err
}

// carry copies a partition up to an offset. A batch is written while the next is read.
func (b *bareKafka) carry(ctx context.Context, p *kafka.Producer, partition int, end int64) error {
	written := make(chan error, 1)
	written <- nil
	for at := b.read[partition]; at < end; b.read[partition] = at {
		f, err := b.client.Fetch(ctx, kafka.Fetch{Topic: b.in, Partition: partition, Offset: at})
		if err != nil {
			return err
		}
		if err := <-written; err != nil {
			return err
		}
		at = f.Next
		if len(f.Records) == 0 {
			written <- nil
			continue
		}
		p.Produce(ctx, b.out, partition, f.Records, func(_ kafka.Ack, err error) { written <- err })
	}
	return <-written
}

func (b *bareKafka) produce(ctx context.Context, p *kafka.Producer, topic string, partition int, list []kafka.Record) error {
	written := make(chan error, 1)
	p.Produce(ctx, topic, partition, list, func(_ kafka.Ack, err error) { written <- err })
	return <-written
}

// each does f for all partitions at the same time.
func (b *bareKafka) each(f func(partition int) error) error {
	failed := make(chan error, b.shape.Partitions)
	for partition := range b.shape.Partitions {
		go func() { failed <- f(partition) }()
	}
	return gather(failed, b.shape.Partitions)
}

// passed is how long an event takes into a topic and out of it again (the median) at the rate of the workload.
func (b *bareKafka) passed(ctx context.Context) (time.Duration, error) {
	load, _, err := spawn(ctx, "load")
	if err != nil {
		return 0, err
	}
	defer func() { _ = load.close() }()
	l := Load{Stream: &Stream{Brokers: b.client.Brokers, In: b.out, Out: b.out, Partitions: b.shape.Partitions, Rate: b.shape.Rate, For: warming}}
	if _, err := load.generate(l); err != nil { // Brokers that have just begun are slow at first.
		return 0, err
	}
	l.Prefix = "measured-"
	r, err := load.generate(l)
	if err != nil {
		return 0, err
	}
	if len(r.Latencies) == 0 {
		return 0, fmt.Errorf("no event of %d came out of %s", l.Stream.events(), b.out)
	}
	return r.Latencies[len(r.Latencies)/2], nil
}
