package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// A traffic appends numbers to all partitions, one after the other and three at a time, until it is stopped.
type traffic struct {
	j     *Journal
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu     sync.Mutex
	acked  [][]int // by partition
	failed []error
}

func begin(j *Journal) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	w := &traffic{j: j, stop: cancel, acked: make([][]int, j.layout.Partitions)}
	for p := range j.layout.Partitions {
		w.ended.Go(func() {
			for n := 0; ctx.Err() == nil; n += 3 {
				var records []journal.Record
				for i := range 3 {
					records = append(records, journal.Record{Kind: journal.Completion, Level: journal.Level, Partition: p, Payload: strconv.AppendInt(nil, int64(n+i), 10)})
				}
				err := j.Append(context.Background(), records)
				w.mu.Lock()
				if err != nil {
					w.failed = append(w.failed, err)
				} else {
					w.acked[p] = append(w.acked[p], n, n+1, n+2)
				}
				w.mu.Unlock()
				time.Sleep(5 * time.Millisecond) // The machine has other things to do.
			}
		})
	}
	return w
}

// last returns the last number of a partition that was acknowledged; -1 before any.
func (w *traffic) last(partition int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.acked[partition]); n > 0 {
		return w.acked[partition][n-1]
	}
	return -1
}

// A folding is the state of a router's tenures: by partition, the numbers in the order in which they lie in the log.
type folding struct {
	mu      sync.Mutex
	numbers map[int][]int
	at      map[int]int64 // offset of the last one
	tenures map[int]journal.Tenure
}

func (f *folding) fold(ctx context.Context, tn journal.Tenure) error {
	p := tn.Partition()
	var numbers []int
	at := int64(-1)
	err := tn.Load(ctx, func(offset int64, r io.Reader) error {
		at = offset
		text, err := io.ReadAll(r)
		for _, s := range strings.Fields(string(text)) {
			n, _ := strconv.Atoi(s)
			numbers = append(numbers, n)
		}
		return err
	})
	if err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
		return err
	}
	f.mu.Lock()
	f.numbers[p], f.at[p], f.tenures[p] = numbers, at, tn
	f.mu.Unlock()
	for {
		b, err := tn.Read(ctx)
		f.mu.Lock()
		if err != nil {
			if f.tenures[p] == tn {
				delete(f.tenures, p)
			}
			f.mu.Unlock()
			return err
		}
		for _, r := range b.Records {
			n, _ := strconv.Atoi(string(r.Payload))
			f.numbers[p], f.at[p] = append(f.numbers[p], n), r.Offset
		}
		f.mu.Unlock()
	}
}

// save saves what a tenure of the partition has folded, if there is one.
func (f *folding) save(partition int) error {
	f.mu.Lock()
	tn, at, text := f.tenures[partition], f.at[partition], strings.Trim(fmt.Sprint(f.numbers[partition]), "[]")
	f.mu.Unlock()
	if tn == nil {
		return journal.ErrFenced
	}
	return save(tn, at, text)
}

// continues waits until traffic goes on, and owners fold and save what came after.
func continues(t *testing.T, w *traffic, owners []*folding) {
	t.Helper()
	start := time.Now()
	for p := range w.acked {
		from := w.last(p)
		until := func(what string, ok func() bool) {
			t.Helper()
			for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("partition %d: no %s", p, what)
				}
			}
		}
		until("append", func() bool { return w.last(p) > from })
		is := w.last(p)
		until("save by an owner that has what was acknowledged", func() bool {
			return slices.ContainsFunc(owners, func(f *folding) bool {
				f.mu.Lock()
				has := f.tenures[p] != nil && slices.Contains(f.numbers[p], is)
				f.mu.Unlock()
				return has && f.save(p) == nil
			})
		})
	}
	t.Logf("it goes on after %s", time.Since(start).Round(100*time.Millisecond))
}

// refused appends with little patience, and returns the error that there has to be.
func refused(t *testing.T, j *Journal) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for {
		err := j.Append(ctx, []journal.Record{{Kind: journal.Signal, Level: journal.Level, Payload: []byte("0")}})
		if err != nil {
			return err
		}
	}
}

// TestBrokers is three brokers whose leaders and coordinators move, and of which one or two die, under two routers. Each record that was acknowledged is
// there once and in order, and the owners go on.
func TestBrokers(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t, 3)
	b := bareBed(t, c)
	b.steerNone()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := Init(ctx, b.client, InitOptions{Prefix: b.prefix, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	topics := TopicsOf(b.prefix)
	o := b.options()
	o.Session, o.Rebalance, o.Delivery = 3*time.Second, 3*time.Second, time.Minute
	var owners []*folding
	for range 2 {
		f := &folding{numbers: make(map[int][]int), at: make(map[int]int64), tenures: make(map[int]journal.Tenure)}
		owners = append(owners, f)
		j := b.open(t, o)
		owning, leave := context.WithCancel(context.Background())
		owned := make(chan error, 1)
		go func() { owned <- j.Own(owning, f.fold) }()
		defer func() {
			leave()
			if err := <-owned; err != nil {
				t.Errorf("Own: %v", err)
			}
		}()
	}
	w := begin(b.open(t, o))
	defer w.ended.Wait()
	defer w.stop()
	continues(t, w, owners)

	t.Log("leaders move")
	for range 2 {
		for p := range 2 {
			c.MoveLeader(t, topics.Journal, p, (c.Leader(t, topics.Journal, p)+1)%3)
		}
	}
	continues(t, w, owners)

	t.Log("coordinators move")
	was := c.Coordinator(t, b.prefix)
	for p := range 4 { // offsets.topic.num.partitions
		c.MoveLeader(t, "__consumer_offsets", p, (was+1)%3)
	}
	coordinator := c.Coordinator(t, b.prefix)
	if coordinator != (was+1)%3 {
		t.Errorf("the coordinator was %d and is %d", was, coordinator)
	}
	continues(t, w, owners)

	t.Log("the leader and coordinator dies")
	c.MoveLeader(t, topics.Journal, 0, coordinator)
	c.Kill(t, coordinator)
	continues(t, w, owners)

	t.Log("too few replicas")
	b.alter(t, "min.insync.replicas", "3")
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := refused(t, w.j)
		if errors.Is(err, segmentio.NotEnoughReplicas) || errors.Is(err, segmentio.NotEnoughReplicasAfterAppend) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with two of three replicas: %v", err)
		}
	}
	c.Restart(t, coordinator)
	continues(t, w, owners)
	b.alter(t, "min.insync.replicas", "2")

	t.Log("two of three die")
	c.Kill(t, 0)
	c.Kill(t, 1)
	t.Logf("an append: %v", refused(t, w.j))
	c.Restart(t, 0, 1)
	continues(t, w, owners)

	w.stop()
	w.ended.Wait()
	if len(w.failed) > 0 {
		t.Errorf("%d appends failed, the first with %v", len(w.failed), w.failed[0])
	}
	b.checkLog(t, w)
}

// checkLog reads the log: what was acknowledged is there once, in order.
func (b *bed) checkLog(t *testing.T, w *traffic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for p, acked := range w.acked {
		_, last, err := b.client.Range(ctx, w.j.topics.Journal, p)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for at := int64(0); at < last; {
			f, err := b.client.Fetch(ctx, kafka.Fetch{Topic: w.j.topics.Journal, Partition: p, Offset: at})
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range f.Records {
				r, err := journal.DecodeRecord(raw.Value)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := strconv.Atoi(string(r.Payload)); err == nil && r.Kind == journal.Completion {
					got = append(got, n)
				}
			}
			at = f.Next
		}
		t.Logf("partition %d has %d records, of which %d were acknowledged", p, len(got), len(acked))
		if !slices.Equal(got, acked) || len(acked) < 100 {
			t.Errorf("partition %d has %d records, and %d were acknowledged", p, len(got), len(acked))
		}
	}
}
