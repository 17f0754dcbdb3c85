package kafka

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fakeBroker(t *testing.T) *kafkatest.Cluster {
	return kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
}

// staleEnd has the next question for a topic's end, once it is time, answered as by a leader that does not know of its successor. It returns whether that was.
func staleEnd(c *kafkatest.Cluster, topic string, end int64, time func() bool) *atomic.Bool {
	once := new(atomic.Bool)
	c.Fake().ControlKey(int16(kmsg.ListOffsets), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		r := q.(*kmsg.ListOffsetsRequest)
		if r.Topics[0].Topic != topic || r.Topics[0].Partitions[0].Timestamp != -1 || !time() || once.Swap(true) {
			return nil, nil, false
		}
		a := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		of := kmsg.NewListOffsetsResponseTopic()
		of.Topic = topic
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset = end
		of.Partitions = append(of.Partitions, p)
		a.Topics = append(a.Topics, of)
		return a, nil, true
	})
	return once
}

// emptyFetch answers a fetch with a code and no records; end is the high watermark.
func emptyFetch(r *kmsg.FetchRequest, code int16, end int64) kmsg.Response {
	a := r.ResponseKind().(*kmsg.FetchResponse)
	of := kmsg.NewFetchResponseTopic()
	of.Topic = r.Topics[0].Topic
	p := kmsg.NewFetchResponseTopicPartition()
	p.ErrorCode, p.HighWatermark, p.LastStableOffset = code, end, end
	of.Partitions = append(of.Partitions, p)
	a.Topics = append(a.Topics, of)
	return a
}

// TestStaleLeader: a former leader that wakes up tells of a log that ends early, once, when a partition is loaded or while it is folded. That is no loss.
func TestStaleLeader(t *testing.T) {
	t.Parallel()
	t.Run("loading", func(t *testing.T) {
		t.Parallel()
		c := fakeBroker(t)
		b := grown(t, c)
		staleEnd(c, TopicsOf(b.prefix).Journal, 6, func() bool { return true })
		if got := own(t, b.open(t, b.options())).next(0); got.snapshot != "eight" {
			t.Errorf("it began from %q", got.snapshot)
		}
	})
	t.Run("folding", func(t *testing.T) {
		t.Parallel()
		c := fakeBroker(t)
		b := grown(t, c)
		o := own(t, b.open(t, b.options()))
		o.next(0)
		var refused atomic.Bool
		asked := staleEnd(c, TopicsOf(b.prefix).Journal, 6, refused.Load)
		c.Fake().ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
			c.Fake().KeepControl()
			r := q.(*kmsg.FetchRequest)
			if r.Topics[0].Topic != TopicsOf(b.prefix).Journal || asked.Load() {
				return nil, nil, false
			}
			refused.Store(true) // Again until it looks at what there is: one may be of a reader that has gone, and still on its way.
			return emptyFetch(r, kerr.OffsetOutOfRange.Code, -1), nil, true
		})
		if got := o.next(0); got.snapshot != "eight" {
			t.Errorf("it began again from %q", got.snapshot)
		}
	})
}

// TestLaggingWatermark: a new leader of the snapshots has them, and does not know yet that all of them are on all replicas.
func TestLaggingWatermark(t *testing.T) {
	t.Parallel()
	c := fakeBroker(t)
	b := newBed(t, c, 1)
	o := own(t, b.open(t, b.options()))
	tn := o.next(0)
	put(t, o.j, 0, strings.Split("0123456789", "")...)
	if err := errors.Join(save(tn.t, 5, "six"), save(tn.t, 7, "eight"), tn.t.Trim(context.Background(), 5), o.end()); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	c.Fake().ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		r := q.(*kmsg.FetchRequest)
		// The second is of the snapshot that the first has found.
		if r.Topics[0].Topic != TopicsOf(b.prefix).Snapshots || n.Add(1) != 2 {
			return nil, nil, false
		}
		return emptyFetch(r, 0, min(1, r.Topics[0].Partitions[0].FetchOffset)), nil, true
	})
	if got := own(t, b.open(t, b.options())).next(0); got.snapshot != "eight" || n.Load() < 3 {
		t.Errorf("it began from %q after %d fetches", got.snapshot, n.Load())
	}
}

// TestEndBehindAnAbort: what lies last before the mark is a transaction that is aborted once the tenure has begun. The end is said all the same.
func TestEndBehindAnAbort(t *testing.T) {
	t.Parallel()
	c := fakeBroker(t)
	b := grown(t, c)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: TopicsOf(b.prefix).Journal, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetched := make(chan struct{}, 100)
	c.Fake().ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		if q.(*kmsg.FetchRequest).Topics[0].Topic == TopicsOf(b.prefix).Journal {
			select {
			case fetched <- struct{}{}:
			default:
			}
		}
		return nil, nil, false
	})
	o := own(t, b.open(t, b.options()))
	for range 3 { // The first has set the mark.
		<-fetched
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	o.next(0)
}

// slowLog holds up whoever says a thing, once.
type slowLog struct {
	slog.Handler
	on         string
	held, goOn chan struct{}
	once       *sync.Once
}

func (h slowLog) Enabled(context.Context, slog.Level) bool { return true }

func (h slowLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.on) {
		h.once.Do(func() {
			close(h.held)
			<-h.goOn
		})
	}
	return nil
}

func (h slowLog) WithAttrs([]slog.Attr) slog.Handler { return h }

// TestWordAtTheLastMoment: the coordinator is heard again while the partitions are being given up for want of it. They are kept.
func TestWordAtTheLastMoment(t *testing.T) {
	t.Parallel()
	c := fakeBroker(t)
	b := newBed(t, c, 1)
	o := b.options()
	o.Session, o.Rebalance = time.Second, time.Second
	h := slowLog{on: "no word from", held: make(chan struct{}), goOn: make(chan struct{}), once: new(sync.Once)}
	o.Log = slog.New(h)
	w := own(t, b.open(t, o))
	w.next(0)
	var down atomic.Bool
	down.Store(true)
	c.Fake().ControlKey(int16(kmsg.JoinGroup), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		if !down.Load() {
			return nil, nil, false
		}
		a := q.ResponseKind().(*kmsg.JoinGroupResponse)
		a.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return a, nil, true
	})
	w.j.mu.Lock()
	g := w.j.group
	w.j.mu.Unlock()
	now := func() (generation, holders int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.now.generation, len(g.holders)
	}
	was, _ := now()
	b.reform()
	<-h.held
	down.Store(false)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if is, _ := now(); is != was {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no generation")
		}
	}
	close(h.goOn)
	time.Sleep(200 * time.Millisecond) // Whoever was held up does what he had in mind.
	if _, holders := now(); holders != 1 {
		t.Error("the group has given the partition to this router, and nobody folds it")
	}
}

// TestLeaveWithoutCoordinator: a router that stops when the coordinator is away does not wait for it to save its last snapshot.
func TestLeaveWithoutCoordinator(t *testing.T) {
	t.Parallel()
	c := fakeBroker(t)
	b := newBed(t, c, 1)
	j := b.open(t, b.options())
	ctx, cancel := context.WithCancel(context.Background())
	ready, ran := make(chan struct{}), make(chan error, 1)
	saved := make(chan error, 1)
	go func() {
		ran <- j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			_ = tn.Load(ctx, func(int64, io.Reader) error { return nil }) // There is none.
			close(ready)
			<-ctx.Done()
			saved <- save(tn, 0, "x")
			return context.Cause(ctx)
		})
	}()
	<-ready
	put(t, j, 0, "a")
	c.Fake().ControlKey(int16(kmsg.OffsetCommit), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		r := q.(*kmsg.OffsetCommitRequest)
		a := r.ResponseKind().(*kmsg.OffsetCommitResponse)
		of := kmsg.NewOffsetCommitResponseTopic()
		of.Topic = r.Topics[0].Topic
		p := kmsg.NewOffsetCommitResponseTopicPartition()
		p.ErrorCode = kerr.CoordinatorNotAvailable.Code
		of.Partitions = append(of.Partitions, p)
		a.Topics = append(a.Topics, of)
		return a, nil, true
	})
	cancel()
	select {
	case <-ran:
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for the coordinator")
	}
	if err := <-saved; err == nil {
		t.Error("a snapshot counts that nobody has committed")
	}
}

// TestLocalCopyLetsGoOfNothing: a partition is begun from this machine's copy of a snapshot that is not in the cluster. The next snapshot trims only up to
// one that is.
func TestLocalCopyLetsGoOfNothing(t *testing.T) {
	t.Parallel()
	c := fakeBroker(t)
	b := newBed(t, c, 1)
	opt := b.options()
	opt.Dir = t.TempDir()
	o := own(t, b.open(t, opt))
	tn := o.next(0)
	put(t, o.j, 0, strings.Split("0123456789", "")...)
	if err := errors.Join(save(tn.t, 5, "six"), o.end()); err != nil {
		t.Fatal(err)
	}
	late := tenure{j: o.j, h: &holder{}, ended: true}
	if err := save(&late, 7, "eight"); !errors.Is(err, journal.ErrFenced) {
		t.Fatal(err)
	}
	o = own(t, o.j)
	if tn = o.next(0); tn.snapshot != "eight" {
		t.Fatalf("it began from %q", tn.snapshot)
	}
	if err := errors.Join(save(tn.t, 9, "ten"), tn.t.Trim(context.Background(), 7), o.end()); err != nil {
		t.Fatal(err)
	}
	b.spoil(t, o.j, 0)
	if got := own(t, b.open(t, b.options())).next(0); got.snapshot != "six" {
		t.Errorf("without the newest it began from %q", got.snapshot)
	}
}
