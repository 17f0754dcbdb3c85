package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/sinks"
	segmentio "github.com/segmentio/kafka-go"
)

// A topic is what is known of one. While it is asked for, all that goes to it waits, so that events of a key keep their order.
type topic struct {
	partitions []int
	fresh      time.Time // until then the number of partitions is believed
	asking     bool
	waiting    []*parcel // in order
}

// A parcel is a delivery that waits for its topic.
type parcel struct {
	d      *sinks.Delivery
	record kafka.Record
	stop   func() bool // ends the watch over the delivery's time
}

const (
	topicFresh = time.Minute
	topicAsked = time.Minute // bounds one question; its deliveries are to be tried again then
)

// send writes a record to a topic once that is known.
func (k *sink) send(name string, d *sinks.Delivery, r kafka.Record) {
	k.mu.Lock()
	t := k.topics[name]
	if t == nil {
		t = new(topic)
		k.topics[name] = t
	}
	if !t.asking && time.Now().Before(t.fresh) {
		partitions := t.partitions
		k.mu.Unlock()
		k.produce(name, partitions, d, r)
		return
	}
	defer k.mu.Unlock()
	p := &parcel{d: d, record: r}
	p.stop = context.AfterFunc(d.Context, func() { k.leave(t, p) })
	t.waiting = append(t.waiting, p)
	if !t.asking {
		t.asking = true
		k.questions.Go(func() { k.ask(name, t) })
	}
}

// ask finds out how many partitions a topic has, and serves those that wait for that. A topic that cannot be found is forgotten.
func (k *sink) ask(name string, t *topic) {
	ctx, cancel := context.WithTimeout(k.ctx, topicAsked)
	defer cancel()
	found, err := k.client.Topic(ctx, name)
	partitions := make([]int, found.Partitions)
	for i := range partitions {
		partitions[i] = i
	}
	for {
		k.mu.Lock()
		waiting := t.waiting
		t.waiting = nil
		if len(waiting) == 0 {
			t.asking, t.partitions, t.fresh = false, partitions, time.Now().Add(topicFresh)
			if err != nil {
				delete(k.topics, name)
			}
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		for _, p := range waiting {
			p.stop()
			if err != nil {
				p.d.Done(result(p.d.Context, err))
				continue
			}
			k.produce(name, partitions, p.d, p.record)
		}
	}
}

func (k *sink) produce(name string, partitions []int, d *sinks.Delivery, r kafka.Record) {
	// As Java's clients choose, so that a key lies where other producers put it; without one, at random.
	partition := segmentio.Murmur2Balancer{}.Balance(segmentio.Message{Key: r.Key}, partitions...)
	k.producer.Produce(d.Context, name, partition, []kafka.Record{r}, func(_ kafka.Ack, err error) {
		if err != nil {
			d.Done(result(d.Context, err))
			return
		}
		d.Done(sinks.Accept())
	})
}

// leave takes a delivery whose time is over out of those that wait.
func (k *sink) leave(t *topic, p *parcel) {
	k.mu.Lock()
	i := slices.Index(t.waiting, p)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	k.mu.Unlock()
	if i >= 0 {
		p.d.Done(sinks.Ended(p.d.Context, noAck))
	}
}
