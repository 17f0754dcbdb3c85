package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	franz "github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := kafkatest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func open(t *testing.T, c *kafkatest.Cluster) *kafka.Client {
	t.Helper()
	k, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "onward-test", kafka.Limits{Request: 5 * time.Second, Unknown: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func producer(t *testing.T, k *kafka.Client, o kafka.ProducerOptions) *kafka.Producer {
	p := k.NewProducer(o)
	t.Cleanup(p.Close)
	return p
}

func text(s string) kafka.Record { return kafka.Record{Value: []byte(s)} }

// read fetches n records from the beginning of a partition, and checks that there are no more.
func read(t *testing.T, k *kafka.Client, topic string, partition, n int) []kafka.Record {
	t.Helper()
	out := readAll(t, k, topic, partition)
	if len(out) != n {
		t.Fatalf("%s/%d has %d records, not %d", topic, partition, len(out), n)
	}
	return out
}

func readAll(t *testing.T, k *kafka.Client, topic string, partition int) []kafka.Record {
	t.Helper()
	ctx := limited(t)
	_, last, err := k.Range(ctx, topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	var out []kafka.Record
	for at := int64(0); at < last; {
		f, err := k.Fetch(ctx, kafka.Fetch{Topic: topic, Partition: partition, Offset: at, MaxWait: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f.Records...)
		at = f.Next
	}
	return out
}

func values(records []kafka.Record) string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return strings.Join(out, " ")
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		for _, codec := range []kgo.Compression{0, kgo.Gzip, kgo.Snappy, kgo.Lz4, kgo.Zstd} {
			topic := c.Topic(t, 1, "retention.ms", "-1") // The records are old.
			p := producer(t, k, kafka.ProducerOptions{Compression: codec})
			at := time.UnixMilli(1_600_000_000_123)
			sent := []kafka.Record{
				{Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte{}}}, Time: at},
				{Time: at.Add(-time.Hour)},
				{Key: []byte{}, Value: []byte{}, Time: at.Add(time.Second)},
				{Value: []byte(strings.Repeat("long ", 20_000)), Time: at},
			}
			ack, err := p.Write(ctx, topic, 0, sent...)
			if err != nil || ack.Offset != 0 {
				t.Fatalf("%v: %+v, %v", codec, ack, err)
			}
			for i, r := range read(t, k, topic, 0, len(sent)) {
				sent[i].Offset = int64(i)
				if got, want := fmt.Sprintf("%#v", r), fmt.Sprintf("%#v", sent[i]); got != want {
					t.Errorf("%v: record %d: %.300s\nwant %.300s", codec, i, got, want)
				}
			}
			f, err := k.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: 2, MaxWait: 100 * time.Millisecond})
			if err != nil || len(f.Records) != 2 || f.Records[0].Offset != 2 || f.Next != 4 || f.End != 4 {
				t.Errorf("%v: from the middle of a batch: %+v, %v", codec, f, err)
			}
		}
	})
}

func TestHundredThousand(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		const n, partitions = 100_000, 4
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, partitions)
		p := producer(t, k, kafka.ProducerOptions{Linger: 2 * time.Millisecond})
		var done sync.WaitGroup
		var failed atomic.Pointer[error]
		for i := range n {
			done.Add(1)
			p.Produce(ctx, topic, i%partitions, []kafka.Record{{Key: []byte("key"), Value: []byte(strconv.Itoa(i))}}, func(_ kafka.Ack, err error) {
				if err != nil {
					failed.Store(&err)
				}
				done.Done()
			})
		}
		done.Wait()
		if err := failed.Load(); err != nil {
			t.Fatal(*err)
		}
		for part := range partitions {
			for i, r := range read(t, k, topic, part, n/partitions) {
				if want := strconv.Itoa(i*partitions + part); string(r.Value) != want || r.Offset != int64(i) {
					t.Fatalf("partition %d: record %d is %s at %d, not %s", part, i, r.Value, r.Offset, want)
				}
			}
		}
	})
}

// TestLostAnswers loses the answers to batches that were written: each record is there once and in order.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, lost := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend} {
		c := kafkatest.Fake(t, 1)
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1)
		p := producer(t, k, kafka.ProducerOptions{})
		var want []string
		for i := range 10 {
			faults := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: lost, Count: 2})
			if ack, err := p.Write(ctx, topic, 0, text(fmt.Sprint("a", i)), text(fmt.Sprint("b", i))); err != nil || ack.Offset != int64(2*i) {
				t.Fatalf("%+v, %v", ack, err)
			}
			if faults.Hits() != 2 {
				t.Fatalf("%d faults", faults.Hits())
			}
			want = append(want, fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		if got := values(read(t, k, topic, 0, 20)); got != strings.Join(want, " ") {
			t.Errorf("%v: %s", lost, got)
		}
	}
}

// TestForgottenProducer has the broker forget the producer's id: it goes on under another, and says so when it cannot know.
func TestForgottenProducer(t *testing.T) {
	t.Parallel()
	for _, forgot := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch} {
		c := kafkatest.Fake(t, 1)
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1)
		p := producer(t, k, kafka.ProducerOptions{})
		write := func(s string) error {
			_, err := p.Write(ctx, topic, 0, text(s))
			return err
		}
		if err := write("1"); err != nil {
			t.Fatal(err)
		}
		c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: forgot, Count: 1})
		if err := write("2"); err != nil {
			t.Fatalf("%v: %v", forgot, err)
		}
		c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.RequestTimedOut, Count: 1})
		c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: forgot, Count: 1})
		err := write("3")
		var e *kafka.Error
		if !errors.As(err, &e) || !e.Unsure || e.Final {
			t.Fatalf("%v: %v", forgot, err)
		}
		if err := write("4"); err != nil {
			t.Fatal(err)
		}
		if got := values(read(t, k, topic, 0, 4)); got != "1 2 3 4" {
			t.Error(got)
		}
	}
}

// TestLogAppendTime needs the real one: kfake does not heed the topic's setting.
func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	c := kafkatest.Shared(t)
	k, ctx := open(t, c), limited(t)
	topic := c.Topic(t, 1, "message.timestamp.type", "LogAppendTime")
	p := producer(t, k, kafka.ProducerOptions{})
	begin := time.Now().Add(-time.Second)
	ack, err := p.Write(ctx, topic, 0, kafka.Record{Time: time.Now().Add(-48 * time.Hour)}, kafka.Record{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range read(t, k, topic, 0, 2) {
		if !r.Appended || r.Time.Before(begin) || r.Time.After(time.Now().Add(time.Second)) || !r.Time.Equal(ack.Time) {
			t.Errorf("the log's time is %s (%v), acknowledged as %s", r.Time, r.Appended, ack.Time)
		}
	}
	settings, err := k.TopicSettings(ctx, topic, "message.timestamp.type", "cleanup.policy")
	if err != nil || len(settings) != 2 || settings["message.timestamp.type"] != "LogAppendTime" || settings["cleanup.policy"] != "delete" {
		t.Errorf("%v, %v", settings, err)
	}
}

// TestTooLarge sends small records with a large one among them: it alone is refused.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1, "max.message.bytes", "1000")
		p := producer(t, k, kafka.ProducerOptions{Linger: 50 * time.Millisecond})
		results := make(chan string, 20)
		for i := range 20 {
			size := 100
			if i == 7 {
				size = 2000
			}
			p.Produce(ctx, topic, 0, []kafka.Record{text(strings.Repeat(string(rune('a'+i)), size))}, func(_ kafka.Ack, err error) {
				if err != nil {
					results <- fmt.Sprintf("%d final=%v: %v", i, kafka.Final(err), err)
					return
				}
				results <- ""
			})
		}
		var refused []string
		for range 20 {
			if r := <-results; r != "" {
				refused = append(refused, r)
			}
		}
		if len(refused) != 1 || !strings.HasPrefix(refused[0], "7 final=true: produce to ") || !strings.HasSuffix(refused[0], "; raise the topic's max.message.bytes, or pass large data by reference (dataref)") {
			t.Errorf("%q", refused)
		}
		for i, r := range read(t, k, topic, 0, 19) {
			if i >= 7 {
				i++
			}
			if r.Value[0] != byte('a'+i) {
				t.Errorf("record %d is %c", i, r.Value[0])
			}
		}
	})
}

func TestUnknownTopic(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		p := producer(t, k, kafka.ProducerOptions{})
		_, err := p.Write(ctx, "no-such-topic", 0, text("x"))
		_, err2 := k.Fetch(ctx, kafka.Fetch{Topic: "no-such-topic"})
		_, err3 := k.Topic(ctx, "no-such-topic")
		for _, err := range []error{err, err2, err3} {
			if !kafka.Final(err) || !strings.HasSuffix(fmt.Sprint(err), "; create the topic, or correct its name") {
				t.Error(err)
			}
		}
		if _, err := p.Write(ctx, "b\x00d", 0, text("x")); !kafka.Final(err) {
			t.Error(err)
		}
		// A topic that comes while it is asked for is found.
		name := c.Topic(t, 1) + "-later"
		wrote := make(chan error)
		go func() {
			_, err := p.Write(ctx, name, 0, text("x"))
			wrote <- err
		}()
		c.CreateTopic(t, name, 1)
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

func TestOutOfRange(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1)
		p := producer(t, k, kafka.ProducerOptions{})
		for i := range 10 {
			if _, err := p.Write(ctx, topic, 0, text(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		if low, err := k.DeleteRecords(ctx, topic, 0, 6); err != nil || low != 6 {
			t.Fatal(low, err)
		}
		if _, err := k.DeleteRecords(ctx, topic, 0, 60); !kafka.Final(err) {
			t.Error(err)
		}
		for _, at := range []int64{0, 5, 11} {
			_, err := k.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: at})
			var e *kafka.OutOfRange
			if !errors.As(err, &e) || e.First != 6 || e.Last != 10 || e.Offset != at {
				t.Errorf("%d: %v", at, err)
			}
		}
		f, err := k.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: 6})
		if err != nil || values(f.Records) != "6 7 8 9" || f.Start != 6 {
			t.Errorf("%+v, %v", f, err)
		}
		f, err = k.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: 10, MaxWait: 50 * time.Millisecond})
		if err != nil || len(f.Records) != 0 || f.Next != 10 {
			t.Errorf("at the end: %+v, %v", f, err)
		}
	})
}

// TestTransactions reads what another client wrote in transactions: the committed ones, and no markers.
func TestTransactions(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1)
		f, err := franz.NewClient(franz.SeedBrokers(c.Brokers()...), franz.TransactionalID(topic), franz.DefaultProduceTopic(topic), franz.RecordPartitioner(franz.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := producer(t, k, kafka.ProducerOptions{})
		want := ""
		for i := range 6 {
			if err := f.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				if err := f.ProduceSync(ctx, &franz.Record{Value: fmt.Append(nil, i, ".", n)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				// A record outside of any transaction stands between.
				if _, err := p.Write(ctx, topic, 0, text(fmt.Sprint("plain", i, n))); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					want += fmt.Sprint(i, ".", n, " ")
				}
				want += fmt.Sprint("plain", i, n, " ")
			}
			if err := f.EndTransaction(ctx, franz.TransactionEndTry(i%2 == 0)); err != nil {
				t.Fatal(err)
			}
		}
		if got := values(read(t, k, topic, 0, 6*3+3*3)); got != strings.TrimSpace(want) {
			t.Errorf("%s\nwant %s", got, want)
		}
		if err := f.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := f.ProduceSync(ctx, &franz.Record{Value: []byte("open")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		_, last, err := k.Range(ctx, topic, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: last - 1, MaxWait: 100 * time.Millisecond})
		if err != nil || len(got.Records) != 0 || got.Next != last-1 {
			t.Errorf("a record of an open transaction: %+v, %v", got, err)
		}
		if err := f.EndTransaction(ctx, franz.TryAbort); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLeadersMove produces while leaders change: each record is there once and in order.
func TestLeadersMove(t *testing.T) {
	t.Parallel()
	const n = 300
	run := func(t *testing.T, c *kafkatest.Cluster, disturb func(topic string, i int)) {
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 1)
		p := producer(t, k, kafka.ProducerOptions{})
		var done sync.WaitGroup
		for i := range n {
			done.Add(1)
			p.Produce(ctx, topic, 0, []kafka.Record{text(strconv.Itoa(i))}, func(_ kafka.Ack, err error) {
				if err != nil {
					t.Errorf("record %d: %v", i, err)
				}
				done.Done()
			})
			if i%5 == 0 {
				done.Wait()
			}
			disturb(topic, i)
		}
		done.Wait()
		for i, r := range read(t, k, topic, 0, n) {
			if string(r.Value) != strconv.Itoa(i) {
				t.Fatalf("record %d is %s", i, r.Value)
			}
		}
	}
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		c := kafkatest.Fake(t, 3)
		run(t, c, func(_ string, i int) {
			if i%20 == 0 {
				c.Fake().ShufflePartitionLeaders()
			}
		})
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		c := kafkatest.Start(t, 3)
		dead := -1
		run(t, c, func(topic string, i int) {
			switch i {
			case n / 3:
				dead = c.Leader(t, topic, 0)
				c.Kill(t, dead)
			case 2 * n / 3:
				c.Restart(t, dead)
			}
		})
	})
}

// TestGivenUp ends a caller's context while the broker is silent: it is told at once, others go on, and nothing of theirs is lost or doubled.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	topic := c.Topic(t, 1)
	k, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "onward-test", kafka.Limits{Request: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	p := producer(t, k, kafka.ProducerOptions{})
	ctx := limited(t)
	if _, err := p.Write(ctx, topic, 0, text("first")); err != nil {
		t.Fatal(err)
	}
	c.Pause(t, 0)
	brief, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = p.Write(brief, topic, 0, text("given up"))
	var e *kafka.Error
	if !errors.As(err, &e) || !e.Unsure || e.Final || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	p.Produce(ctx, topic, 0, []kafka.Record{text("second")}, func(_ kafka.Ack, err error) { wrote <- err })
	c.Resume(t, 0)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(strings.ReplaceAll(values(readAll(t, k, topic, 0)), "given up", "given-up")) // It may come late, or never.
	slices.Sort(got)
	if s := strings.Join(slices.DeleteFunc(got, func(s string) bool { return s == "given-up" }), " "); s != "first second" || len(got) > 3 {
		t.Errorf("%q", got)
	}
	p.Close()
	if _, err := p.Write(ctx, topic, 0, text("late")); !errors.Is(err, kafka.ErrClosed) {
		t.Error(err)
	}
}

func TestGroupOffsets(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, ctx := open(t, c), limited(t)
		topic := c.Topic(t, 2)
		group, err := kgo.NewConsumerGroup(kgo.ConsumerGroupConfig{ID: topic, Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{topic}, HeartbeatInterval: 100 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()
		var g *kgo.Generation
		for g == nil && ctx.Err() == nil {
			g, err = group.Next(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if had, err := k.Committed(ctx, topic, topic, 0, 1); err != nil || len(had) != 0 {
			t.Fatal(had, err)
		}
		if err := k.Commit(ctx, g, topic, map[int]kafka.Commit{1: {Offset: 7, Metadata: "snap@5"}}); err != nil {
			t.Fatal(err)
		}
		stale := kgo.Generation{ID: g.ID, GroupID: g.GroupID, MemberID: g.MemberID}
		stale.ID--
		if err := k.Commit(ctx, &stale, topic, map[int]kafka.Commit{1: {Offset: 3}}); !kafka.Final(err) || !errors.Is(err, kgo.IllegalGeneration) {
			t.Error(err)
		}
		if had, err := k.Committed(ctx, topic, topic, 0, 1); err != nil || len(had) != 1 || had[1] != (kafka.Commit{Offset: 7, Metadata: "snap@5"}) {
			t.Error(had, err)
		}
	})
}
