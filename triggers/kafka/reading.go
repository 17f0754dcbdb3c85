package kafka

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/guard"
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

	stream    *stream
	next      int64     // the offset after the last record that was read
	waiting   waiting   // what was refused for now
	over      *passed   // what was read over; nil when nothing was
	end       int64     // of the partition, when it was last asked
	stuck     bool      // the last admission took nothing at all, or not even completions
	since     time.Time // when it began to be stuck
	pause     time.Duration
	due       time.Time // when what waits is tried again
	looked    time.Time // when it was last looked for what runs wait for
	committed int64
	commits   time.Time
}

const commitEvery = 500 * time.Millisecond

// guarded is run. What panics ends this reading alone, and what was not committed is read again.
func (p *reading) guarded(ctx context.Context) (err error) {
	panicked := guard.Do("source", func() { err = p.run(ctx) })
	if panicked == nil {
		return err
	}
	if p.stream != nil {
		p.stream.close()
	}
	return panicked
}

// run reads until ctx ends, and commits then what is durable: the coordinator takes it while the generation is being wound up.
func (p *reading) run(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	p.seek(ctx, p.next)
	err := p.loop(ctx)
	p.stream.close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := p.commit(last); e != nil && err == nil && !isOver(e) {
		err = e
	}
	p.s.setAside.DeleteLabelValues(p.topic, strconv.Itoa(p.partition))
	p.s.lag.DeleteLabelValues(p.topic, strconv.Itoa(p.partition))
	p.s.stuck.DeleteLabelValues(p.topic, strconv.Itoa(p.partition))
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

// A stream is what a partition holds from an offset on, one fetch ahead.
type stream struct {
	out    chan *kafka.Fetched
	failed chan error
	cancel context.CancelFunc
	done   chan struct{}
}

// seek goes on reading at another offset.
func (p *reading) seek(ctx context.Context, at int64) {
	if p.stream != nil {
		p.stream.close()
	}
	p.next = at
	s := &stream{out: make(chan *kafka.Fetched), failed: make(chan error, 1), done: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	p.stream = s
	p.start(ctx, at, s)
}

// start fetches beside whoever reads.
func (p *reading) start(ctx context.Context, at int64, s *stream) {
	go func() {
		defer close(s.done)
		if err := guard.Do("source", func() { p.fetch(ctx, at, s) }); err != nil {
			s.failed <- err
		}
	}()
}

func (s *stream) close() {
	s.cancel()
	<-s.done
}

func (p *reading) fetch(ctx context.Context, at int64, s *stream) {
	for {
		f, err := p.s.client.Fetch(ctx, kafka.Fetch{Topic: p.topic, Partition: p.partition, Offset: at, Lenient: true})
		var gone *kafka.OutOfRange
		if errors.As(err, &gone) && gone.Offset < gone.First {
			p.s.invalid.WithLabelValues(p.topic, "expired").Add(float64(gone.First - at))
			at = gone.First
			continue
		}
		if err != nil {
			s.failed <- err
			return
		}
		at = f.Next
		select {
		case s.out <- f:
		case <-ctx.Done():
			return
		}
	}
}

func (p *reading) loop(ctx context.Context) error {
	retry := time.NewTicker(waitingPause)
	defer retry.Stop()
	for {
		from := p.stream.out
		if p.stuck && p.waiting.full() {
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
		case err := <-p.stream.failed:
			return err
		case <-ctx.Done():
			return nil
		}
		p.measure()
		if time.Since(p.commits) > commitEvery {
			if err := p.commit(ctx); err != nil && ctx.Err() == nil && !isOver(err) {
				return err
			}
		}
	}
}

// tell says that nothing goes on, once that has lasted; why may be nil.
func (p *reading) tell(why error) {
	now := time.Now()
	switch {
	case !p.stuck:
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = now
	case now.Sub(p.since) > stuckFor:
		p.s.logs().Warn("source: the router takes nothing of a partition", "source", p.s.name, "topic", p.topic, "partition", p.partition, "offset", p.position(), "for", now.Sub(p.since).Round(time.Second), "error", why)
	}
	stuck := 0.0
	if !p.since.IsZero() && now.Sub(p.since) > stuckFor {
		stuck = 1
	}
	p.s.stuck.WithLabelValues(p.topic, strconv.Itoa(p.partition)).Set(stuck)
}

// What is stuck for a moment is only back-pressure.
const stuckFor = 10 * time.Second

func (p *reading) measure() {
	partition := strconv.Itoa(p.partition)
	aside := p.waiting.len()
	if p.over != nil {
		aside += p.over.count
	}
	p.s.setAside.WithLabelValues(p.topic, partition).Set(float64(aside))
	p.s.lag.WithLabelValues(p.topic, partition).Set(float64(max(p.end-p.furthest(), 0)))
}

// furthest is the offset up to which the partition was read at least once.
func (p *reading) furthest() int64 {
	if p.over != nil {
		return max(p.next, p.over.to)
	}
	return p.next
}

// position is the offset before which all is durable.
func (p *reading) position() int64 {
	at := p.next
	if p.over != nil && !p.over.again {
		at = p.over.from
	}
	return p.waiting.first(at)
}

// commit publishes the position, by this generation.
func (p *reading) commit(ctx context.Context) error {
	position := p.position()
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
