package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// TestLargest: a payload as large as the topic lets it be comes through, and so does a state of any number of chunks.
func TestLargest(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		b.alter(t, "max.message.bytes", strconv.Itoa(MinMessageBytes))
		j := b.open(t, b.options())
		largest := journal.Record{Kind: journal.Completion, Level: journal.Level, Tenant: strings.Repeat("t", 500), Payload: make([]byte, j.MaxPayload())}
		appendAll(t, j, largest)
		largest.Payload = append(largest.Payload, 0)
		if err := j.Append(context.Background(), []journal.Record{largest}); err == nil || !strings.Contains(err.Error(), "max.message.bytes") {
			t.Errorf("one byte more: %v", err)
		}
		o := own(t, j)
		tn := o.next(0)
		if tn.records != 1 {
			t.Fatalf("%d records", tn.records)
		}
		for _, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 7} {
			state := strings.Repeat("abcdefg", size/7+1)[:size]
			if err := save(tn.t, 0, state); err != nil {
				t.Fatal(err)
			}
			if got := own(t, b.second(t)); got.next(0).snapshot != state || got.end() != nil {
				t.Errorf("a state of %d bytes is another one", size)
			}
		}
	})
}

// second opens the journal for a group of its own, which has committed nothing.
func (b *bed) second(t *testing.T) *Journal {
	t.Helper()
	j := b.open(t, b.options())
	j.steer = nil
	j.o.Prefix += "-" + strconv.FormatInt(serial.Add(1), 10)
	return j
}

// TestTrim: what the snapshot before the newest covers is gone from both topics, and nothing else; a copy that only this router has lets go of nothing.
func TestTrim(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := grown(t, c)
		topics := TopicsOf(b.prefix)
		starts := func(records, snapshots int64) {
			t.Helper()
			for topic, want := range map[string]int64{topics.Journal: records, topics.Snapshots: snapshots} {
				if first, _, err := b.client.Range(context.Background(), topic, 0); err != nil || first != want {
					t.Errorf("%s begins at %d, and not at %d: %v", topic, first, want, err)
				}
			}
		}
		b.dirs = true
		j := b.open(t, b.options())
		former := tenure{j: j, h: &holder{}, ended: true}
		if err := save(&former, 8, "nine"); !errors.Is(err, journal.ErrFenced) {
			t.Fatal(err)
		}
		o := own(t, j)
		tn := o.next(0)
		if tn.snapshot != "nine" {
			t.Errorf("it began with %q", tn.snapshot)
		}
		if err := tn.t.Trim(context.Background(), 8); err == nil {
			t.Error("trimmed at a snapshot that others do not have")
		}
		starts(0, 0)
		if err := tn.t.Trim(context.Background(), 5); err != nil {
			t.Fatal(err)
		}
		starts(0, 0)
		if err := errors.Join(save(tn.t, 9, "ten"), tn.t.Trim(context.Background(), 7)); err != nil {
			t.Fatal(err)
		}
		starts(8, 1)
	})
}

// TestMorePartitions: those beyond the layout's are ignored, loudly.
func TestMorePartitions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		topics := TopicsOf(b.prefix)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := b.client.API.CreatePartitions(ctx, &segmentio.CreatePartitionsRequest{Topics: []segmentio.TopicPartitionsConfig{{Name: topics.Journal, Count: 4}}}); err != nil {
			t.Fatal(err)
		}
		for n := 0; n != 4 && ctx.Err() == nil; {
			topic, err := b.client.Topic(ctx, topics.Journal)
			if err != nil {
				t.Fatal(err)
			}
			n = topic.Partitions
		}
		var log strings.Builder
		o := b.options()
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		j := b.open(t, o)
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "more partitions") {
			t.Errorf("it was said: %s", log.String())
		}
		j.o.Log = slog.New(slog.DiscardHandler) // Own logs from other goroutines.
		own(t, j).share(2)
		if err := j.Append(ctx, []journal.Record{{Kind: journal.Signal, Level: journal.Level, Partition: 2}}); err == nil {
			t.Error("a record of a partition that the layout has not")
		}
	})
}

// TestRefusedMember: what time does not heal ends Own: members of another kind in the group, or a session that the brokers do not take.
func TestRefusedMember(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		j := b.open(t, b.options())
		none := func(context.Context, journal.Tenure) error { return nil }
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		o := own(t, j)
		o.next(0)
		if err := j.Own(ctx, none); err == nil || !strings.Contains(err.Error(), "running already") {
			t.Errorf("a second Own: %v", err)
		}
		short := b.open(t, b.options())
		short.o.Session = 10 * time.Millisecond
		if err := short.Own(ctx, none); !kafka.Final(err) || !errors.Is(err, segmentio.InvalidSessionTimeout) {
			t.Errorf("a session that is too short: %v", err)
		}
		if err := o.end(); err != nil {
			t.Fatal(err)
		}
		others, err := segmentio.NewConsumerGroup(segmentio.ConsumerGroupConfig{
			ID: b.prefix, Brokers: b.client.Brokers, Dialer: b.client.Dialer(), Topics: []string{j.topics.Journal}, SessionTimeout: 5 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer others.Close()
		if _, err := others.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if err := j.Own(ctx, none); !kafka.Final(err) || !errors.Is(err, segmentio.InconsistentGroupProtocol) {
			t.Errorf("a group with others in it: %v", err)
		}
	})
}
