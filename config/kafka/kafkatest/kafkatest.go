// Package kafkatest gives tests a Kafka cluster: a real Apache Kafka of one or three nodes on loopback, or kfake, behind one face; and clients of Kafka
// in other languages.
//
// What the machine lacks is fetched once into the user's cache folder. The real Kafka needs java and mvn for that, or the address of a cluster in
// KAFKA_BROKERS. Where something is not to be had, a test that asks for it is skipped and says so; with CI=true, one that asks for a real Kafka fails instead.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Version is the Apache Kafka that is fetched.
const Version = "4.1.1"

// A Cluster is one under test. Nodes count from 0. Its methods end the test when they fail; they may be called from several tests at once, but a
// shared cluster's nodes are not to be killed.
type Cluster struct {
	brokers []string
	fake    *fake
	real    *real
	admin   *kafka.Client
}

// Each runs f as two subtests, on kfake and on a real Kafka that the tests of the binary share.
func Each(t *testing.T, f func(t *testing.T, c *Cluster)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		f(t, Fake(t, 1))
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		f(t, Shared(t))
	})
}

// Main runs a binary's tests and stops the shared nodes after them: os.Exit(kafkatest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.c != nil && shared.c.real != nil {
		shared.c.close()
	}
	secured.Lock()
	defer secured.Unlock()
	if secured.c != nil {
		secured.c.close()
	}
	return code
}

var shared struct {
	sync.Mutex
	c   *Cluster
	err error
}

// Shared returns the real node that the tests of this binary share; the first call starts it.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.c == nil && shared.err == nil {
		shared.c, shared.err = open(1, nil)
	}
	if shared.err != nil {
		notRun(t, shared.err)
	}
	return shared.c
}

// Start starts a real cluster of one or three nodes for one test.
func Start(t testing.TB, nodes int) *Cluster {
	t.Helper()
	c, err := open(nodes, nil)
	if err != nil {
		notRun(t, err)
	}
	t.Cleanup(c.close)
	return c
}

func open(nodes int, link *Link) (*Cluster, error) {
	if list := os.Getenv("KAFKA_BROKERS"); list != "" {
		return newCluster(strings.Split(list, ",")), nil
	}
	return start(nodes, link, nil)
}

func start(nodes int, link *Link, more func(*node) (string, error)) (*Cluster, error) {
	r, err := startReal(nodes, link, more)
	if err != nil {
		return nil, err
	}
	c := newCluster(r.addresses())
	c.real = r
	if err := c.await(nodes); err != nil {
		err = fmt.Errorf("%w\n%s", err, r.output())
		c.close()
		return nil, err
	}
	return c, nil
}

func notRun(t testing.TB, err error) {
	t.Helper()
	const cure = "install java 17 or later and mvn, or set KAFKA_BROKERS=host:port"
	if os.Getenv("CI") == "true" {
		t.Fatalf("tests on a real Kafka: %v; %s", err, cure)
	}
	tooltest.Lacking(t, "on a real Kafka", err, cure)
}

// Fake starts kfake with that many nodes, for one test.
func Fake(t testing.TB, nodes int, options ...kfake.Opt) *Cluster {
	t.Helper()
	f, err := newFake(nodes, options...)
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(f.cluster.ListenAddrs())
	c.fake = f
	t.Cleanup(c.close)
	return c
}

func newCluster(brokers []string) *Cluster {
	return &Cluster{brokers: brokers, admin: &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 30 * time.Second, Transport: &kafka.Transport{}}}
}

func (c *Cluster) close() {
	c.admin.Transport.(*kafka.Transport).CloseIdleConnections()
	switch {
	case c.fake != nil:
		c.fake.cluster.Close()
	case c.real != nil:
		c.real.close()
	}
}

// patience is how long a node may take to come and to go, also on a machine that is ten times slower for a while.
const patience = 4 * time.Minute

// await waits until all nodes are members and lead.
func (c *Cluster) await(nodes int) error {
	deadline := time.Now().Add(patience)
	for {
		probe := &kafka.Client{Addr: kafka.TCP(c.brokers...), Timeout: 5 * time.Second, Transport: &kafka.Transport{}}
		res, err := probe.Metadata(context.Background(), &kafka.MetadataRequest{})
		probe.Transport.(*kafka.Transport).CloseIdleConnections()
		if err == nil && len(res.Brokers) >= nodes {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the cluster is not up after %s: %w", patience, err)
		}
		if c.real.dead() {
			return errors.New("a node has ended")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Brokers returns the addresses of all nodes.
func (c *Cluster) Brokers() []string { return c.brokers }

// Fake returns the kfake cluster, for faults; nil on a real one.
func (c *Cluster) Fake() *kfake.Cluster {
	if c.fake == nil {
		return nil
	}
	return c.fake.cluster
}

// IsReal reports whether the brokers are Apache Kafka's.
func (c *Cluster) IsReal() bool { return c.fake == nil }

var topics atomic.Int64

// Name returns a name that no other test has.
func (c *Cluster) Name(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("%s.%d.%d", name, os.Getpid(), topics.Add(1))
}

// Topic creates a topic under a name that no other test has, and returns the name. Configs are key, value, key, value ...
func (c *Cluster) Topic(t testing.TB, partitions int, configs ...string) string {
	t.Helper()
	name := c.Name(t)
	c.CreateTopic(t, name, partitions, configs...)
	return name
}

// CreateTopic creates a topic, replicated to all nodes.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int, configs ...string) {
	t.Helper()
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: -1}
	for i := 0; i+1 < len(configs); i += 2 {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: configs[i], ConfigValue: configs[i+1]})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		res, err := c.admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err == nil {
			err = res.Errors[name]
		}
		if err == nil || errors.Is(err, kafka.TopicAlreadyExists) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("topic %s: %v", name, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Leader returns the node that leads a partition now.
func (c *Cluster) Leader(t testing.TB, topic string, partition int) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		probe := &kafka.Client{Addr: kafka.TCP(c.brokers...), Timeout: 5 * time.Second, Transport: &kafka.Transport{}}
		res, err := probe.Metadata(context.Background(), &kafka.MetadataRequest{Topics: []string{topic}})
		probe.Transport.(*kafka.Transport).CloseIdleConnections()
		if err == nil {
			for _, p := range res.Topics[0].Partitions {
				if p.ID == partition && p.Error == nil {
					return p.Leader.ID
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s/%d has no leader: %v", topic, partition, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A control is what can be done to the nodes of a cluster.
type control interface {
	kill(node int) error
	pause(node int) error
	resume(node int) error
	restart(node int) error
}

func (c *Cluster) control(t testing.TB) control {
	t.Helper()
	switch {
	case c.fake != nil:
		return c.fake
	case c.real == nil:
		t.Skip("NOT RUN: the nodes of KAFKA_BROKERS are not ours to stop; unset it")
	}
	return c.real
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Kill ends a node at once, without a goodbye.
func (c *Cluster) Kill(t testing.TB, node int) { t.Helper(); must(t, c.control(t).kill(node)) }

// Pause stops a node from doing anything, with its connections open.
func (c *Cluster) Pause(t testing.TB, node int) { t.Helper(); must(t, c.control(t).pause(node)) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(t testing.TB, node int) { t.Helper(); must(t, c.control(t).resume(node)) }

// Restart starts nodes again that were killed, with their data and addresses; a living one is killed first. It returns when all nodes are up.
func (c *Cluster) Restart(t testing.TB, nodes ...int) {
	t.Helper()
	for _, node := range nodes {
		must(t, c.control(t).restart(node))
	}
	if c.real != nil {
		if err := c.await(len(c.brokers)); err != nil {
			t.Fatalf("%v\n%s", err, c.real.output())
		}
	}
}
