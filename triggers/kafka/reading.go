package kafka

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/triggers"
	segmentio "github.com/segmentio/kafka-go"
)

// A reading is one partition in one generation: events are handed over in order, one admission at a time.
type reading struct {
	s         *Source
	topic     string
	partition int
	gen       *segmentio.Generation
	admit     triggers.Admit

	waiting   []waiting // starts that were refused for now, in order
	bytes     int       // of them
	next      int64     // the offset after the last record that was read
	committed int64
	commits   time.Time
}

// waiting is an event that was refused for now, with its record.
type waiting struct {
	e event.Event
	r kafka.Record
}

// The bounds of what waits before the partition pauses, and the pause between tries.
const (
	waitingMost  = 10_000
	waitingBytes = 16 << 20
	waitingPause = 200 * time.Millisecond
	commitEvery  = 500 * time.Millisecond
)

// run reads until ctx ends, and commits then what is durable: the coordinator takes it while the generation is being wound up.
func (p *reading) run(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	fetched := make(chan *kafka.Fetched)
	failed := make(chan error, 1)
	fetching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.fetch(fetching, fetched, failed)
	}()
	err := p.loop(ctx, fetched, failed)
	stop()
	<-done
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := p.commit(last); e != nil && err == nil && !isOver(e) {
		err = e
	}
	p.s.setAside.DeleteLabelValues(p.topic, strconv.Itoa(p.partition))
	p.s.lag.DeleteLabelValues(p.topic, strconv.Itoa(p.partition))
	return err
}

// isOver reports a commit that was refused because another generation has begun: whoever has the partition now reads from the commit before.
func isOver(err error) bool {
	return errors.Is(err, segmentio.IllegalGeneration) || errors.Is(err, segmentio.UnknownMemberId) || errors.Is(err, segmentio.RebalanceInProgress)
}

// begin finds where to read on: asked now, not what the group knew when it was being formed.
func (p *reading) begin(ctx context.Context) error {
	had, err := p.s.client.Committed(ctx, p.s.s.Group, p.topic, p.partition)
	if err != nil {
		return err
	}
	first, last, err := p.s.client.Range(ctx, p.topic, p.partition)
	if err != nil {
		return err
	}
	c, found := had[p.partition]
	switch {
	case found && c.Offset >= first:
		p.next = c.Offset
	case found:
		// Retention was faster than we: it is said, and what is left is read.
		p.next = first
		p.s.invalid.WithLabelValues(p.topic, "expired").Add(float64(first - c.Offset))
	case p.s.s.Start == "latest":
		p.next = last
	default:
		p.next = first
	}
	p.committed = p.next
	if !found {
		p.committed = -1 // The first commit is worth making: where latest was is remembered.
		return p.commit(ctx)
	}
	return nil
}

func (p *reading) fetch(ctx context.Context, out chan<- *kafka.Fetched, failed chan<- error) {
	for at := p.next; ; {
		f, err := p.s.client.Fetch(ctx, kafka.Fetch{Topic: p.topic, Partition: p.partition, Offset: at})
		var gone *kafka.OutOfRange
		if errors.As(err, &gone) && gone.Offset < gone.First {
			p.s.invalid.WithLabelValues(p.topic, "expired").Add(float64(gone.First - at))
			at = gone.First
			continue
		}
		if err != nil {
			failed <- err
			return
		}
		at = f.Next
		select {
		case out <- f:
		case <-ctx.Done():
			return
		}
	}
}

func (p *reading) loop(ctx context.Context, fetched <-chan *kafka.Fetched, failed <-chan error) error {
	retry := time.NewTicker(waitingPause)
	defer retry.Stop()
	for {
		from := fetched
		if len(p.waiting) >= waitingMost || p.bytes >= waitingBytes {
			from = nil
		}
		select {
		case f := <-from:
			if err := p.take(ctx, f); err != nil {
				return err
			}
		case <-retry.C:
			if err := p.again(ctx); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		if time.Since(p.commits) > commitEvery {
			if err := p.commit(ctx); err != nil && ctx.Err() == nil && !isOver(err) {
				return err
			}
		}
	}
}

// take hands over what was fetched. While starts wait, further starts wait behind them, so that they keep their order; the rest goes ahead.
func (p *reading) take(ctx context.Context, f *kafka.Fetched) error {
	var events []event.Event
	var records []kafka.Record
	if err := p.again(ctx); err != nil {
		return err
	}
	for i := range f.Records {
		r := &f.Records[i]
		some, err := p.s.decode(p.topic, p.partition, r)
		if err != nil {
			if err := p.s.unfit(ctx, p.topic, p.partition, r, err); err != nil {
				return err
			}
			continue
		}
		for _, e := range some {
			if len(p.waiting) > 0 && !isInner(e.Type()) {
				p.wait(e, *r)
				continue
			}
			events, records = append(events, e), append(records, *r)
		}
	}
	if err := p.hand(ctx, events, records); err != nil {
		return err
	}
	p.next = f.Next
	p.s.lag.WithLabelValues(p.topic, strconv.Itoa(p.partition)).Set(float64(max(f.End-f.Next, 0)))
	return nil
}

func (p *reading) wait(e event.Event, r kafka.Record) {
	p.waiting = append(p.waiting, waiting{e, r})
	p.bytes += len(r.Value)
}

// again tries what waits, in order; the first that is refused again stops it.
func (p *reading) again(ctx context.Context) error {
	if len(p.waiting) == 0 {
		return nil
	}
	list := p.waiting
	p.waiting, p.bytes = nil, 0
	events, records := make([]event.Event, len(list)), make([]kafka.Record, len(list))
	for i := range list {
		events[i], records[i] = list[i].e, list[i].r
	}
	err := p.hand(ctx, events, records)
	if err != nil {
		p.waiting = list // Their offsets are not to be committed.
	}
	p.s.setAside.WithLabelValues(p.topic, strconv.Itoa(p.partition)).Set(float64(len(p.waiting)))
	return err
}

// handing bounds one admission.
const handing = 30 * time.Second

// hand gives events to the router, and deals with those that it did not take. What is handed over is waited for, also when ctx ends.
func (p *reading) hand(ctx context.Context, events []event.Event, records []kafka.Record) error {
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
	defer cancel()
	receipts, err := p.admit(ctx, events)
	if err != nil {
		// The router takes nothing now: what was read waits, and its offsets with it.
		for i := range events {
			p.wait(events[i], records[i])
		}
		return nil
	}
	for i := range receipts {
		r := &receipts[i]
		switch {
		case r.Err == nil:
			p.s.taken.WithLabelValues(p.topic, r.Kind.String()).Inc()
		case errors.Is(r.Err, triggers.ErrInvalid), errors.Is(r.Err, triggers.ErrTooLarge):
			if err := p.s.unfit(ctx, p.topic, p.partition, &records[i], r.Err); err != nil {
				return err
			}
		default:
			p.wait(events[i], records[i])
		}
	}
	p.s.setAside.WithLabelValues(p.topic, strconv.Itoa(p.partition)).Set(float64(len(p.waiting)))
	return nil
}

// commit publishes up to where all is durable, by this generation.
func (p *reading) commit(ctx context.Context) error {
	position := p.next
	if len(p.waiting) > 0 {
		position = p.waiting[0].r.Offset
	}
	p.commits = time.Now()
	if position <= p.committed {
		return nil
	}
	if err := p.s.client.Commit(ctx, p.gen, p.topic, map[int]kafka.Commit{p.partition: {Offset: position}}); err != nil {
		return err
	}
	p.committed = position
	return nil
}
