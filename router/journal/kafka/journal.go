// Package kafka is the journal on a Kafka cluster: a topic of records, a topic of snapshots, and one for the layout.
//
// Several routers own its partitions together, as members of one consumer group. What a shard writes is never state but for a snapshot, so that a
// router which does not know yet that its partition has passed on can repeat, and never contradict.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// Options say where and how.
type Options struct {
	Client *kafka.Client // the caller's; Close leaves it open
	// Prefix begins the names of the topics, and is the name of the group. Default "onward".
	Prefix string
	// Address is where the other routers reach this one's API; it is told to the group.
	Address string
	// Dir is the folder for local copies of snapshots, from which a router resumes a partition that comes back to it. Empty keeps none.
	Dir string
	// Session is how long a router may be silent before its partitions are given to others; Heartbeat, how often it is heard. Defaults 10 s and 500 ms.
	Session, Heartbeat time.Duration
	// Rebalance is how long the others wait for a router to take its new share. Default 10 s.
	Rebalance time.Duration
	// Delivery bounds one Append, with all its tries. Default 30 s.
	Delivery time.Duration
	// Pause is how long a partition whose fold failed rests before its next tenure. Default 1 s.
	Pause    time.Duration
	Log      *slog.Logger
	Observer Observer
}

// An Observer is told what the journal does. Nil functions are left out.
type Observer struct {
	Sync       func(d time.Duration, records int, bytes int) // an append became durable
	Lag        func(partition int, records int64)            // records that the fold has not read
	Generation func(mine []int, of int)                      // the group was formed anew, and these are this router's, of all partitions
}

// Topics are the names of a journal's topics.
type Topics struct{ Journal, Snapshots, Meta string }

// TopicsOf returns the names that follow from a prefix.
func TopicsOf(prefix string) Topics {
	prefix = cmp.Or(prefix, DefaultPrefix)
	return Topics{prefix + ".journal", prefix + ".snapshots", prefix + ".meta"}
}

// DefaultPrefix is the prefix where none is said.
const DefaultPrefix = "onward"

func (o Options) withDefaults() Options {
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	o.Session = cmp.Or(o.Session, 10*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, 500*time.Millisecond)
	o.Rebalance = cmp.Or(o.Rebalance, 10*time.Second)
	o.Delivery = cmp.Or(o.Delivery, 30*time.Second)
	o.Pause = cmp.Or(o.Pause, time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// A Journal is a journal.Journal on a cluster.
type Journal struct {
	o        Options
	topics   Topics
	layout   journal.Layout
	name     layoutName
	max      int // bytes of a record's value
	producer *kafka.Producer
	local    *localSnapshots
	lock     *folder.Lock // of Dir; nil without one
	kept     kept

	mu     sync.Mutex
	group  *group // while Own runs
	closed bool

	tenuresLock sync.Mutex
	tenures     map[*tenure]struct{} // at work

	// What tests set: steer says which router is to own a partition; producerTime is for kfake, which does not heed LogAppendTime.
	steer        func(partition int) string
	producerTime bool
}

var (
	_ journal.Journal = (*Journal)(nil)
	_ journal.Sized   = (*Journal)(nil)
	_ journal.Shared  = (*Journal)(nil)

	_ journal.Troubled = (*Journal)(nil)
)

// recordRoom is what a record has around its payload.
const recordRoom = 1 << 10

// Open opens the journal that Init made. It refuses topics whose settings could lose what was acknowledged.
func Open(ctx context.Context, o Options) (*Journal, error) {
	o = o.withDefaults()
	j := &Journal{o: o, topics: TopicsOf(o.Prefix), tenures: make(map[*tenure]struct{}), kept: kept{turn: make(chan struct{}, 1)}}
	problems, err := Check(ctx, o.Client, o.Prefix)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range problems {
		if p.Loses {
			errs = append(errs, errors.New(p.String()))
		} else {
			o.Log.Warn("journal: " + p.String())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("journal: the topics can lose what was acknowledged: %w", err)
	}
	if j.layout, err = readLayout(ctx, o.Client, j.topics.Meta); err != nil {
		return nil, err
	}
	j.name = nameOf(j.layout)
	topic, err := o.Client.Topic(ctx, j.topics.Journal)
	if err != nil {
		return nil, err
	}
	switch n := j.layout.Partitions; {
	case topic.Partitions < n:
		return nil, fmt.Errorf("%w: topic %q has %d partitions, and the journal was made with %d; run ids follow from their number, so bring the topic back",
			journal.ErrLayout, j.topics.Journal, topic.Partitions, n)
	case topic.Partitions > n:
		o.Log.Error("journal: the topic has more partitions than the journal was made with; those beyond stay empty", "topic", j.topics.Journal, "has", topic.Partitions, "layout", n)
	}
	if j.max, err = maxMessage(ctx, o.Client, j.topics.Journal); err != nil {
		return nil, err
	}
	if err := j.openDir(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.producer = o.Client.NewProducer(kafka.ProducerOptions{})
	return j, nil
}

// openDir takes the folder for copies of snapshots: two routers in one would sweep each other's away.
func (j *Journal) openDir() (err error) {
	if j.o.Dir == "" {
		j.local = &localSnapshots{have: make(map[int][]localSnapshot)}
		return nil
	}
	if err := folder.Make(j.o.Dir); err != nil {
		return err
	}
	if j.lock, err = folder.Take(j.o.Dir, "LOCK"); err != nil {
		return err
	}
	if said := folder.Exposed(j.o.Dir); said != "" {
		j.o.Log.Warn("journal: " + said)
	}
	if j.local, err = openLocal(j.o.Dir, j.layout); err != nil {
		j.lock.Release()
	}
	return err
}

// Layout returns what was written when the journal was made.
func (j *Journal) Layout() journal.Layout { return j.layout }

// MaxPayload is what the topic's max.message.bytes leaves to a payload.
func (j *Journal) MaxPayload() int { return j.max - recordRoom }

// Trouble says what the brokers do not do.
func (j *Journal) Trouble() error { return j.o.Client.Trouble() }

// Append writes records and returns when all in-sync replicas have them.
func (j *Journal) Append(ctx context.Context, records []journal.Record) error {
	if err := j.check(records); err != nil || len(records) == 0 {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, j.o.Delivery)
	defer cancel()
	begin := time.Now()
	byPartition := make(map[int][]kafka.Record)
	bytes := 0
	for i := range records {
		r := records[i]
		r.Time = time.Unix(0, 0) // The log's own counts.
		value := r.Append(make([]byte, 0, len(r.Payload)+len(r.Tenant)+64))
		bytes += len(value)
		byPartition[r.Partition] = append(byPartition[r.Partition], kafka.Record{Value: value})
	}
	done := make(chan error, len(byPartition))
	for p, list := range byPartition {
		j.producer.Produce(ctx, j.topics.Journal, p, list, func(_ kafka.Ack, err error) { done <- err })
	}
	var errs []error
	for range byPartition {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		if errors.Is(err, kafka.ErrClosed) {
			return journal.ErrClosed
		}
		if errors.Is(err, segmentio.MessageSizeTooLarge) || errors.Is(err, segmentio.RecordListTooLarge) {
			return fmt.Errorf("%w: %w", journal.ErrTooLarge, err) // The topic takes less than it did when the journal was opened.
		}
		return fmt.Errorf("journal: %w", err)
	}
	if j.o.Observer.Sync != nil {
		j.o.Observer.Sync(time.Since(begin), len(records), bytes)
	}
	return nil
}

func (j *Journal) check(records []journal.Record) error {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return journal.ErrClosed
	}
	for i := range records {
		r := &records[i]
		if r.Partition < 0 || r.Partition >= j.layout.Partitions {
			return fmt.Errorf("journal: partition %d of %d", r.Partition, j.layout.Partitions)
		}
		if _, known := journal.Of(r.Kind); !known {
			return fmt.Errorf("journal: a record of an unknown kind, %d", uint8(r.Kind))
		}
		if len(r.Payload) > j.MaxPayload() {
			return fmt.Errorf("%w: a payload of %d bytes, and the limit is %d; raise max.message.bytes of topic %q, or pass large data by reference",
				journal.ErrTooLarge, len(r.Payload), j.MaxPayload(), j.topics.Journal)
		}
	}
	return nil
}

// Close gives up what is being appended. The client stays open.
func (j *Journal) Close() error {
	j.mu.Lock()
	was := j.closed
	j.closed = true
	j.mu.Unlock()
	if !was {
		j.producer.Close()
		j.lock.Release()
	}
	return nil
}
