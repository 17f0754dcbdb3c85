package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// write puts what nobody asked for into a topic.
func (b *bed) write(t *testing.T, topic string, records ...kafka.Record) {
	t.Helper()
	p := b.client.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := p.Write(ctx, topic, 0, records...); err != nil {
		t.Fatal(err)
	}
}

// fails waits for the end of Own.
func (o *owner) fails() error {
	o.t.Helper()
	select {
	case err := <-o.ran:
		o.ran <- err
		return err
	case <-time.After(time.Minute):
		o.t.Fatal("Own goes on")
		return nil
	}
}

// TestForeign: what others wrote by mistake into any of the topics is passed over, and parked in the journal's. A record of a newer version ends Own, so
// that the partition goes to who can read it.
func TestForeign(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		topics := TopicsOf(b.prefix)
		j := b.open(t, b.options())
		o := own(t, j)
		tn := o.next(0)
		put(t, j, 0, "a")
		large := strings.Repeat("x", 2*chunkBytes)
		if err := save(tn.t, 0, large); err != nil {
			t.Fatal(err)
		}
		if err := o.end(); err != nil {
			t.Fatal(err)
		}
		f, err := b.client.Fetch(context.Background(), kafka.Fetch{Topic: topics.Snapshots, MaxBytes: 8 << 20})
		if err != nil || len(f.Records) != 2 {
			t.Fatal(len(f.Records), err)
		}
		b.write(t, topics.Snapshots, f.Records[0], kafka.Record{Value: []byte("\x01\x00 hello")}, f.Records[0], kafka.Record{}, f.Records[1], kafka.Record{Value: f.Records[0].Value[:10]})
		for _, r := range f.Records { // Another journal's, of the second record.
			other := bytes.Clone(r.Value)
			other[len(chunkMagic)+2] ^= 1
			other[chunkHead-5]++
			b.write(t, topics.Snapshots, kafka.Record{Value: other})
		}
		elsewhere := journal.Record{Kind: journal.Completion, Level: journal.Level, Partition: 1}
		foreign := [][]byte{[]byte("\x02\x01\x01 of whom?"), bytes.Repeat([]byte{255}, 3000), nil, []byte(`{"specversion":"1.0"}`), elsewhere.Append(nil)}
		for _, value := range foreign {
			b.write(t, topics.Journal, kafka.Record{Value: value})
		}
		put(t, j, 0, "b")
		again := own(t, b.open(t, b.options()))
		got := again.next(0)
		if got.snapshot != large || got.records != 1 || len(got.parked) != len(foreign) {
			t.Fatalf("%d bytes, %d records, %d parked", len(got.snapshot), got.records, len(got.parked))
		}
		for i, p := range got.parked {
			if p.Offset != int64(1+i) || !bytes.Equal(p.Bytes, foreign[i][:min(len(foreign[i]), 1024)]) || p.Reason == "" {
				t.Errorf("%+v", p)
			}
		}
		newer := journal.Record{Kind: journal.Completion, Level: journal.Level}
		value := newer.Append(nil)
		value[bytes.IndexByte(value, journal.Format)]++
		b.write(t, topics.Journal, kafka.Record{Value: value})
		if err := again.fails(); !errors.Is(err, journal.ErrNewer) {
			t.Errorf("after a newer record: %v", err)
		}
	})
}

// TestForeignLayout: what is no layout does not stand in the way of the first one.
func TestForeignLayout(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := bareBed(t, c)
		meta := TopicsOf(b.prefix).Meta
		c.CreateTopic(t, meta, 1, "cleanup.policy", "compact", "unclean.leader.election.enable", "false")
		b.write(t, meta, kafka.Record{Key: []byte("x"), Value: []byte(`{"version":9}`)})
		for i, text := range []string{"hello", "{}", `{"version":1,"partitions":1,"hash":"hmac-sha256","key":"00"}`, `{"version":1,"partitions":0,"hash":"hmac-sha256","key":"` + strings.Repeat("00", 32) + `"}`} {
			b.write(t, meta, kafka.Record{Key: fmt.Append(nil, layoutKey, i), Value: []byte(text)})
		}
		b.write(t, meta, kafka.Record{Key: []byte(layoutKey)})
		if did, err := b.init(); err != nil {
			t.Fatal(did, err)
		}
		if l := b.open(t, b.options()).Layout(); l.Partitions != 1 || l.Key == [32]byte{} {
			t.Errorf("%+v", l)
		}
	})
}

// grown makes a journal of one partition with ten records, of which a snapshot has six and another one, the latest, eight. Its routers have left.
func grown(t *testing.T, c *kafkatest.Cluster) *bed {
	t.Helper()
	b := newBed(t, c, 1)
	o := own(t, b.open(t, b.options()))
	tn := o.next(0)
	put(t, o.j, 0, strings.Split("0123456789", "")...)
	if err := errors.Join(save(tn.t, 5, "six"), save(tn.t, 7, "eight"), o.end()); err != nil {
		t.Fatal(err)
	}
	return b
}

// commit sets the group's position, as who has the right to can while no router runs.
func (b *bed) commit(t *testing.T, offset int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.client.Commit(ctx, &segmentio.Generation{GroupID: b.prefix, ID: -1}, TopicsOf(b.prefix).Journal, map[int]kafka.Commit{0: {Offset: offset}}); err != nil {
		t.Fatal(err)
	}
}

// remove deletes a topic, and waits until it is gone.
func (b *bed) remove(t *testing.T, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if res, err := b.client.API.DeleteTopics(ctx, &segmentio.DeleteTopicsRequest{Topics: []string{topic}}); err != nil || res.Errors[topic] != nil {
		t.Fatal(res, err)
	}
	for ctx.Err() == nil {
		list, err := b.client.Topics(ctx)
		if err == nil && !slices.ContainsFunc(list, func(x kafka.Topic) bool { return x.Name == topic }) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s stays", topic)
}

func (b *bed) init() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Init(ctx, b.client, InitOptions{Prefix: b.prefix, Partitions: 1, Replication: 1})
}

// TestLogBehind: a log that ends before what was committed, or before a snapshot, is another one or has lost records.
func TestLogBehind(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		lost := func(t *testing.T, o *owner, witness string) {
			t.Helper()
			if err := o.fails(); !errors.Is(err, journal.ErrLost) || !strings.Contains(err.Error(), witness) || !strings.Contains(err.Error(), "onward kafka init") {
				t.Errorf("Own ended with %v", err)
			}
		}
		t.Run("committed", func(t *testing.T) {
			t.Parallel()
			b := grown(t, c)
			b.commit(t, 10)
			if got := own(t, b.open(t, b.options())); got.next(0).snapshot != "eight" || got.end() != nil {
				t.Error("a position at the log's end")
			}
			b.commit(t, 11)
			lost(t, own(t, b.open(t, b.options())), "has committed 11")
		})
		t.Run("a snapshot", func(t *testing.T) {
			t.Parallel()
			b := grown(t, c)
			b.remove(t, TopicsOf(b.prefix).Journal)
			if _, err := b.init(); err != nil {
				t.Fatal(err)
			}
			j := b.open(t, b.options())
			j.o.Prefix += "-anew" // Its offsets go with the topic, or later.
			put(t, j, 0, "another")
			lost(t, own(t, j), "reaches to 8")
		})
		t.Run("a snapshot on this machine", func(t *testing.T) {
			t.Parallel()
			b := grown(t, c)
			o := b.options()
			o.Dir = t.TempDir()
			j := b.open(t, o)
			j.o.Prefix += "-anew"
			local := tenure{j: j, h: &holder{}, ended: true}
			if err := save(&local, 10, "eleven"); !errors.Is(err, journal.ErrFenced) {
				t.Fatal(err)
			}
			lost(t, own(t, j), "on this machine reaches to 11")
		})
		t.Run("under an owner", func(t *testing.T) {
			t.Parallel()
			b := grown(t, c)
			o := own(t, b.open(t, b.options()))
			o.next(0)
			b.remove(t, TopicsOf(b.prefix).Journal)
			if _, err := b.init(); err != nil {
				t.Fatal(err)
			}
			if err := o.fails(); !errors.Is(err, journal.ErrLost) {
				t.Errorf("Own ended with %v", err)
			}
		})
	})
}

// TestLogAhead: of a log that begins after what was committed, what a snapshot covers is not missed.
func TestLogAhead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := grown(t, c)
		b.commit(t, 2)
		begin := func(first int64) *owner {
			if _, err := b.client.DeleteRecords(context.Background(), TopicsOf(b.prefix).Journal, 0, first); err != nil {
				t.Fatal(err)
			}
			return own(t, b.open(t, b.options()))
		}
		for _, first := range []int64{5, 8} {
			o := begin(first)
			if got := o.next(0); got.snapshot != "eight" || got.records != 2 {
				t.Errorf("from %d: %q and %d records", first, got.snapshot, got.records)
			}
			if err := o.end(); err != nil {
				t.Fatal(err)
			}
		}
		if err := begin(9).fails(); !errors.Is(err, journal.ErrLost) || !strings.Contains(err.Error(), "begins at 9") {
			t.Errorf("Own ended with %v", err)
		}
	})
}

// TestLayoutMadeAnew: a layout that is not the one under which the records were written is neither made nor worked with.
func TestLayoutMadeAnew(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := grown(t, c)
		meta := TopicsOf(b.prefix).Meta
		b.remove(t, meta)
		if did, err := b.init(); !errors.Is(err, journal.ErrLayout) || !strings.Contains(err.Error(), "bring that topic back") {
			t.Fatalf("a new layout for old records: %q, %v", did, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := writeLayout(ctx, b.client, meta, 1); err != nil {
			t.Fatal(err)
		}
		if err := own(t, b.open(t, b.options())).fails(); !errors.Is(err, journal.ErrLayout) || !strings.Contains(err.Error(), meta) {
			t.Errorf("Own ended with %v", err)
		}
	})
}

// TestNotTheOwner: what the next owner has trimmed is no loss to a former one.
func TestNotTheOwner(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		j := b.open(t, b.options())
		o := own(t, j)
		tn := o.next(0).t.(*tenure)
		loss := errors.New("what is missing")
		if err := tn.confirmed(context.Background(), loss); err != loss {
			t.Errorf("the owner's: %v", err)
		}
		former := &tenure{j: j, h: &holder{by: tn.h.membership(), ctx: context.Background()}}
		former.h.by.generation--
		if err := former.confirmed(context.Background(), loss); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("a former generation's: %v", err)
		}
		if err := o.end(); err != nil {
			t.Fatal(err)
		}
		if err := tn.confirmed(context.Background(), loss); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("of one who has left: %v", err)
		}
	})
}
