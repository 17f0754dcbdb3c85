package kafka

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/journaltest"
	segmentio "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := kafkatest.Main(m)
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*connPool).discover"), goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*conn).run")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var serial atomic.Int64

// A bed is one journal on a cluster, and the routers that the test opens on it.
type bed struct {
	t       *testing.T
	cluster *kafkatest.Cluster
	client  *kafka.Client
	prefix  string
	dirs    bool

	mu    sync.Mutex
	free  bool             // the balancer does as it does
	owner map[int]*Journal // whom the test has partitions moved to
	all   []*Journal
}

func newBed(t *testing.T, c *kafkatest.Cluster, partitions int) *bed {
	t.Helper()
	b := bareBed(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Init(ctx, b.client, InitOptions{Prefix: b.prefix, Partitions: partitions, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	return b
}

// bareBed is one whose journal has still to be made.
func bareBed(t *testing.T, c *kafkatest.Cluster) *bed {
	t.Helper()
	client, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "test", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &bed{t: t, cluster: c, client: client, prefix: fmt.Sprintf("j%d-%d", os.Getpid(), serial.Add(1)), owner: make(map[int]*Journal)}
}

func (b *bed) options() Options {
	o := Options{
		Client: b.client, Prefix: b.prefix, Session: 2 * time.Second, Heartbeat: 200 * time.Millisecond, Rebalance: 3 * time.Second, Pause: time.Millisecond,
	}
	if b.dirs {
		o.Dir = b.t.TempDir()
	}
	return o
}

func (b *bed) open(t *testing.T, o Options) *Journal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	j, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	j.producerTime = !b.cluster.IsReal()
	if !b.free {
		j.steer = b.steer
	}
	t.Cleanup(func() { _ = j.Close() })
	b.mu.Lock()
	b.all = append(b.all, j)
	b.mu.Unlock()
	return j
}

// steer says which router is to own a partition: by the id of its present life.
func (b *bed) steer(partition int) string {
	b.mu.Lock()
	j := b.owner[partition]
	b.mu.Unlock()
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.group == nil {
		return ""
	}
	return j.group.id
}

// reform has the group formed anew. All ask for it: to one that is not its leader and tells nothing new, the group just says what it has.
func (b *bed) reform() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, j := range b.all {
		j.mu.Lock()
		if j.group != nil {
			select {
			case j.group.rejoin <- struct{}{}:
			default:
			}
		}
		j.mu.Unlock()
	}
}

// move has the group give a partition to a router.
func (b *bed) move(t *testing.T, partition int, to *Journal) {
	t.Helper()
	b.mu.Lock()
	b.owner[partition] = to
	b.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if mine, ok := to.Assigned(); ok && slices.Contains(mine, partition) {
			return
		}
		if _, joined := to.Assigned(); joined {
			b.reform()
			time.Sleep(300 * time.Millisecond) // A rebalance is under way.
		}
		if time.Now().After(deadline) {
			t.Fatalf("partition %d does not move", partition)
		}
	}
}

// spoil flips a byte of the newest snapshot's first chunk, by writing the same chunks again after a damaged one: an honest broker does not let a record
// be changed, so the newest is taken away and a spoiled one put in its place.
func (b *bed) spoil(t *testing.T, j *Journal, partition int) {
	t.Helper()
	ctx := context.Background()
	first, last, err := b.client.Range(ctx, j.topics.Snapshots, partition)
	if err != nil {
		t.Fatal(err)
	}
	found, err := j.scanSnapshots(ctx, partition, first, last)
	if err != nil || len(found) == 0 {
		t.Fatal(len(found), err)
	}
	var values [][]byte
	for at := first; at < last; {
		f, err := b.client.Fetch(ctx, kafka.Fetch{Topic: j.topics.Snapshots, Partition: partition, Offset: at})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Records {
			v := slices.Clone(r.Value)
			if r.Offset == found[len(found)-1].From {
				v[chunkHead] ^= 1
			}
			values = append(values, v)
		}
		at = f.Next
	}
	for _, v := range values {
		if _, err := j.producer.Write(ctx, j.topics.Snapshots, partition, kafka.Record{Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.client.DeleteRecords(ctx, j.topics.Snapshots, partition, last); err != nil {
		t.Fatal(err)
	}
}

// each runs f on kfake and on a real Kafka, which both let sessions be short.
func each(t *testing.T, f func(t *testing.T, c *kafkatest.Cluster)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		f(t, kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second)))
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		f(t, kafkatest.Shared(t))
	})
}

func TestSuite(t *testing.T) {
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		journaltest.Run(t, func(t *testing.T) journaltest.Harness {
			b := newBed(t, c, 3)
			j := b.open(t, b.options())
			return journaltest.Harness{
				Journal: j,
				Reopen: func(t *testing.T, was journal.Journal) journal.Journal {
					if err := was.Close(); err != nil {
						t.Fatal(err)
					}
					return b.open(t, b.options())
				},
				Peer:           func(t *testing.T) journal.Journal { return b.open(t, b.options()) },
				Move:           func(t *testing.T, partition int, to journal.Journal) { b.move(t, partition, to.(*Journal)) },
				DamageSnapshot: func(t *testing.T, partition int) { b.spoil(t, j, partition) },
			}
		})
	})
}

// TestInit is done once, however many do it at a time.
func TestInit(t *testing.T) {
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		client, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "test", kafka.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		prefix := fmt.Sprintf("i%d-%d", os.Getpid(), serial.Add(1))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := Open(ctx, Options{Client: client, Prefix: prefix}); err == nil || !strings.Contains(err.Error(), "onward kafka init") {
			t.Errorf("without an init: %v", err)
		}
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				if _, err := Init(ctx, client, InitOptions{Prefix: prefix, Partitions: 2, Replication: 1}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		var layouts []journal.Layout
		for range 2 {
			j, err := Open(ctx, Options{Client: client, Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			layouts = append(layouts, j.Layout())
			_ = j.Close()
		}
		if layouts[0] != layouts[1] || layouts[0].Partitions != 2 {
			t.Errorf("%+v", layouts)
		}
		if _, err := Init(ctx, client, InitOptions{Prefix: prefix, Partitions: 3, Replication: 1}); err == nil || !strings.Contains(err.Error(), "keep it") {
			t.Errorf("another number of partitions: %v", err)
		}
	})
}

// steerNone lets the balancer do what it does.
func (b *bed) steerNone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = true
}

// alter changes a setting of the journal's topic, and waits until it is seen.
func (b *bed) alter(t *testing.T, setting, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	topic := TopicsOf(b.prefix).Journal
	res, err := b.client.API.IncrementalAlterConfigs(ctx, &segmentio.IncrementalAlterConfigsRequest{Resources: []segmentio.IncrementalAlterConfigsRequestResource{{
		ResourceType: segmentio.ResourceTypeTopic, ResourceName: topic,
		Configs: []segmentio.IncrementalAlterConfigsRequestConfig{{Name: setting, Value: value, ConfigOperation: segmentio.ConfigOperationSet}},
	}}})
	if err == nil {
		err = res.Resources[0].Error
	}
	for err == nil && ctx.Err() == nil {
		var s map[string]string
		if s, err = b.client.TopicSettings(ctx, topic, setting); err == nil && s[setting] == value {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(setting, value, err)
}
