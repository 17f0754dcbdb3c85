package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// ProducerOptions say how records are put together. The zero value has the defaults.
type ProducerOptions struct {
	Linger      time.Duration // how long a first record waits for company; 0 sends at once. What comes while a batch is out goes together anyway
	BatchBytes  int           // default 900 KiB: below what brokers take by default
	Compression kafka.Compression
}

// A Producer writes records, each once and in order within its partition, to all in-sync replicas.
//
// Every batch carries a producer id and a sequence, one batch of a partition is out at a time, and a batch whose answer was lost is sent again byte for
// byte: the broker takes it once. When the broker has forgotten the producer, or a caller gave up on a batch that may be under way, the partition goes
// on under a new id; then, and only then, is a record of unsure fate (Error.Unsure). It may be used concurrently.
type Producer struct {
	c      *Client
	o      ProducerOptions
	ctx    context.Context
	cancel context.CancelCauseFunc
	busy   sync.WaitGroup

	mu     sync.Mutex
	lanes  map[place]*lane
	shared *stamp // the id that partitions begin with
}

type place struct {
	topic     string
	partition int
}

// An Ack tells where records came to lie.
type Ack struct {
	Offset int64     // of the first; -1 when the broker knows only that it has them
	Time   time.Time // the log's, with LogAppendTime; else zero
}

// A write is one call of Produce.
type write struct {
	ctx  context.Context
	done func(Ack, error)
	stop func() bool // no longer watch ctx

	mu    sync.Mutex
	left  int // records without an ack
	first bool
	ack   Ack
	over  bool
}

// An entry is one record that waits or is out.
type entry struct {
	*write
	record Record
	size   int
	since  time.Time
}

// A lane is a partition's queue. It has a goroutine while there is something in it.
type lane struct {
	p     *Producer
	place place

	mu      sync.Mutex
	queue   []entry
	bytes   int
	running bool
	filled  chan struct{} // has an item once there is a whole batch
	trouble error         // why the batch that is out has no answer yet

	id    *stamp // of the next batch; the goroutine's own, as is began
	began bool   // it has had the producer's first id
}

// NewProducer makes a producer. Nothing happens before the first record.
func (c *Client) NewProducer(o ProducerOptions) *Producer {
	if o.BatchBytes == 0 {
		o.BatchBytes = 900 << 10
	}
	p := &Producer{c: c, o: o, lanes: make(map[place]*lane)}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	return p
}

// Close gives up what has no answer yet (ErrClosed), and returns once every done was called.
func (p *Producer) Close() {
	p.cancel(ErrClosed)
	p.busy.Wait()
}

// Produce hands records over to a partition, in order, and returns at once; done is called once, from any goroutine, when all are acknowledged or one
// is not going to be. It must not block. The records are the producer's until then. Memory is bounded by what callers have under way.
//
// It is tried again while ctx lasts. When ctx ends, done says so at once, and the records may still be written.
func (p *Producer) Produce(ctx context.Context, topic string, partition int, records []Record, done func(Ack, error)) {
	w := &write{ctx: ctx, done: done, left: len(records), ack: Ack{Offset: -1}}
	doing := produceTo(place{topic, partition})
	switch {
	case len(records) == 0:
		done(w.ack, nil)
		return
	case context.Cause(p.ctx) != nil:
		done(w.ack, &Error{Doing: doing, Err: ErrClosed})
		return
	}
	p.mu.Lock()
	l := p.lanes[place{topic, partition}]
	if l == nil {
		l = &lane{p: p, place: place{topic, partition}, filled: make(chan struct{}, 1)}
		p.lanes[l.place] = l
	}
	p.mu.Unlock()
	w.mu.Lock()
	w.stop = context.AfterFunc(ctx, func() { w.fail(&Error{Doing: doing, Err: causeOf(ctx, l.why()), Unsure: true}) })
	w.mu.Unlock()
	l.add(w, records)
}

// Write is Produce for those who wait.
func (p *Producer) Write(ctx context.Context, topic string, partition int, records ...Record) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	done := make(chan result, 1)
	p.Produce(ctx, topic, partition, records, func(a Ack, err error) { done <- result{a, err} })
	r := <-done
	return r.ack, r.err
}

func produceTo(at place) string {
	return fmt.Sprintf("produce to %q, partition %d", at.topic, at.partition)
}

// fail ends a write without an ack.
func (w *write) fail(err error) {
	w.mu.Lock()
	over, stop := w.over, w.stop
	w.over = true
	w.mu.Unlock()
	if !over {
		stop()
		w.done(Ack{Offset: -1}, err)
	}
}

// acked counts one record of a write.
func (w *write) acked(a Ack) {
	w.mu.Lock()
	if !w.first {
		w.first, w.ack = true, a
	}
	w.left--
	last := w.left == 0 && !w.over
	w.over = w.over || last
	ack, stop := w.ack, w.stop
	w.mu.Unlock()
	if last {
		stop()
		w.done(ack, nil)
	}
}

func (w *write) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (l *lane) add(w *write, records []Record) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		e := entry{write: w, record: r, size: sizeOf(&r), since: now}
		l.queue = append(l.queue, e)
		l.bytes += e.size
	}
	if l.bytes >= l.p.o.BatchBytes {
		select {
		case l.filled <- struct{}{}:
		default:
		}
	}
	if !l.running {
		l.running = true
		l.p.busy.Go(l.run)
	}
}

// why returns what keeps the lane from going on; nil when nothing does.
func (l *lane) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

func (l *lane) note(trouble error) {
	l.mu.Lock()
	l.trouble = trouble
	l.mu.Unlock()
}

// sizeOf bounds what a record takes in a batch.
func sizeOf(r *Record) int {
	n := 32 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 10 + len(h.Key) + len(h.Value)
	}
	return n
}

func (l *lane) run() {
	for {
		batch := l.take()
		if batch == nil {
			return
		}
		l.deliver(batch)
	}
}

// take waits for company as long as records may linger, and takes a batch; nil ends the goroutine.
func (l *lane) take() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.running, l.queue = false, nil
		return nil
	}
	if wait := l.p.o.Linger - time.Since(l.queue[0].since); wait > 0 && l.bytes < l.p.o.BatchBytes {
		l.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.filled:
		case <-l.p.ctx.Done():
		}
		timer.Stop()
		l.mu.Lock()
	}
	n, size := 0, 0
	for n < len(l.queue) && (n == 0 || size+l.queue[n].size <= l.p.o.BatchBytes) {
		size += l.queue[n].size
		n++
	}
	batch := l.queue[:n:n]
	l.queue = l.queue[n:]
	l.bytes -= size
	return batch
}

// deliver sends a batch until it is acknowledged, nobody wants it any more, or it cannot be. What is too large together, or has one bad record in it,
// is sent in halves.
func (l *lane) deliver(batch []entry) {
	live := batch[:0:0]
	for _, e := range batch {
		if !e.isOver() {
			live = append(live, e)
		}
	}
	if len(live) == 0 {
		return
	}
	ack, err := l.send(live)
	switch {
	case err == nil:
		for i, e := range live {
			a := ack
			if a.Offset >= 0 {
				a.Offset += int64(i)
			}
			e.acked(a)
		}
	case len(live) > 1 && (errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) || errors.Is(err, kafka.InvalidRecord)):
		l.deliver(live[:len(live)/2])
		l.deliver(live[len(live)/2:])
	default:
		for _, e := range live {
			e.fail(err)
		}
	}
}

// audience returns a context that ends with the last of those who wait for a batch, or with the producer.
func (l *lane) audience(batch []entry) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(l.p.ctx)
	var mu sync.Mutex
	left := 0
	var stops []func() bool
	var last *write
	for _, e := range batch {
		if e.write == last {
			continue
		}
		last = e.write
		left++
	}
	last = nil
	for _, e := range batch {
		if e.write == last {
			continue
		}
		last = e.write
		w := e.write
		stops = append(stops, context.AfterFunc(w.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel(context.Cause(w.ctx))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// send brings one batch to an end. On success the lane's sequence moves on; an error that leaves the broker's view of it open drops the lane's id.
func (l *lane) send(batch []entry) (Ack, error) {
	ctx, leave := l.audience(batch)
	defer leave()
	defer l.note(nil)
	records := make([]Record, len(batch))
	for i, e := range batch {
		records[i] = e.record
	}
	doing := produceTo(l.place)
	encoded, err := encode(records, l.p.o.Compression)
	if err != nil {
		return Ack{}, &Error{Doing: doing, Err: err, Final: true}
	}
	unsure := false
	stamped := (*stamp)(nil)
	p := patience{c: l.p.c, topic: l.place.topic, doing: doing}
	defer p.end()
	for {
		var ack Ack
		if l.id == nil {
			err = l.identify(ctx)
		}
		if l.id != nil {
			if stamped != l.id {
				stamped = l.id
				stamped.put(encoded)
			}
			ack, err = l.request(ctx, encoded)
			if err == nil || errors.Is(err, kafka.DuplicateSequenceNumber) {
				l.id = &stamp{l.id.producer, l.id.epoch, l.id.after(len(batch))}
				p.well = true
				return ack, nil
			}
			if isForgotten(err) {
				l.id = nil
				if unsure {
					return Ack{}, &Error{Doing: doing, Err: err, Cure: "send them again", Unsure: true}
				}
			} else if !isUnsent(err) && !isRefusal(err) {
				unsure = true
			}
		}
		l.note(p.reason(err))
		if err := p.after(ctx, err); err != nil {
			if unsure {
				l.id = nil
				var e *Error
				if errors.As(err, &e) {
					e.Unsure = true
				}
			}
			return Ack{}, err
		}
	}
}

// isForgotten reports an answer that ends a producer's id.
func isForgotten(err error) bool {
	for _, code := range []kafka.Error{
		kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId, kafka.InvalidProducerEpoch, kafka.InvalidProducerIDMapping, kafka.ProducerFenced,
		kafka.InvalidTransactionState,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// isRefusal reports an answer of a broker that has looked at the records and taken none.
func isRefusal(err error) bool {
	_, final := cureOf(err)
	return final || errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.ThrottlingQuotaExceeded)
}

// identify gives the lane an id: the producer's first one, or a new one for a lane that lost its own.
func (l *lane) identify(ctx context.Context) error {
	p := l.p
	p.mu.Lock()
	shared := p.shared
	if shared == nil {
		p.mu.Unlock()
		id, err := p.newID(ctx)
		if err != nil {
			return err
		}
		p.mu.Lock()
		if p.shared == nil {
			p.shared = id
		}
		shared = p.shared
	}
	p.mu.Unlock()
	if !l.began {
		l.began = true
		l.id = &stamp{producer: shared.producer, epoch: shared.epoch}
		return nil
	}
	id, err := p.newID(ctx)
	l.id = id
	return err
}

// An idRequest is kafka-go's without a transactional id: that one would be looked up first.
type idRequest initproducerid.Request

func (*idRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

func (p *Producer) newID(ctx context.Context) (*stamp, error) {
	m, err := p.c.call(ctx, 0, &idRequest{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return nil, err
	}
	r := m.(*initproducerid.Response)
	if err := answer(r.ErrorCode, ""); err != nil {
		return nil, err
	}
	return &stamp{producer: r.ProducerID, epoch: r.ProducerEpoch}, nil
}

// request sends a batch once.
func (l *lane) request(ctx context.Context, encoded []byte) (Ack, error) {
	limit := l.p.c.limits.Request
	m, err := l.p.c.call(ctx, 0, &rawproduce.Request{
		Acks: int16(kafka.RequireAll), Timeout: int32((limit * 8 / 10) / time.Millisecond),
		Topics: []rawproduce.RequestTopic{{Topic: l.place.topic, Partitions: []rawproduce.RequestPartition{{
			Partition: int32(l.place.partition), RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(encoded)},
		}}}},
	})
	if err != nil {
		return Ack{}, err
	}
	topics := m.(*produce.Response).Topics
	if len(topics) == 0 || len(topics[0].Partitions) == 0 {
		return Ack{}, errors.New("the answer names no partition")
	}
	r := topics[0].Partitions[0]
	ack := Ack{Offset: r.BaseOffset}
	if r.LogAppendTime > 0 {
		ack.Time = time.UnixMilli(r.LogAppendTime)
	}
	return ack, answer(r.ErrorCode, r.ErrorMessage)
}
