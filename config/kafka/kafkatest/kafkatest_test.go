package kafkatest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/segmentio/kafka-go"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

func client(t *testing.T, c *kafkatest.Cluster) *kafka.Client {
	transport := &kafka.Transport{MetadataTTL: 500 * time.Millisecond, DialTimeout: time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(c.Brokers()...), Transport: transport}
}

// produce writes one record and reports whether it was acknowledged.
func produce(t *testing.T, k *kafka.Client, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	res, err := k.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("x"))}),
	})
	if err == nil {
		err = res.Error
	}
	return err
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// suite holds what both kinds of cluster must do when their nodes come and go.
func suite(t *testing.T, c *kafkatest.Cluster) {
	topic := c.Topic(t, 1, "retention.ms", "-1")
	k := client(t, c)
	eventually(t, "produce", func() error { return produce(t, k, topic) })
	led := c.Leader(t, topic, 0)
	c.Pause(t, led)
	if err := produce(t, k, topic); err == nil && c.Leader(t, topic, 0) == led {
		t.Error("a paused node answered")
	}
	c.Resume(t, led)
	eventually(t, "produce after the pause", func() error { return produce(t, k, topic) })
	led = c.Leader(t, topic, 0)
	c.Kill(t, led)
	if len(c.Brokers()) > 1 {
		eventually(t, "produce to another leader", func() error { return produce(t, k, topic) })
	} else if err := produce(t, k, topic); err == nil {
		t.Error("a dead node answered")
	}
	c.Restart(t, led)
	eventually(t, "produce after the restart", func() error { return produce(t, k, topic) })
}

func TestNodes(t *testing.T) {
	t.Parallel()
	t.Run("kfake, one", func(t *testing.T) { t.Parallel(); suite(t, kafkatest.Fake(t, 1)) })
	t.Run("kfake, three", func(t *testing.T) { t.Parallel(); suite(t, kafkatest.Fake(t, 3)) })
	t.Run("kafka, three", func(t *testing.T) { t.Parallel(); suite(t, kafkatest.Start(t, 3)) })
}

// TestLink: who comes by a link is cut off with it, others are not, and what was stuck arrives.
func TestLink(t *testing.T) {
	t.Parallel()
	c, link := kafkatest.StartLinked(t, 1)
	topic := c.Topic(t, 1)
	near := client(t, c)
	transport := &kafka.Transport{MetadataTTL: 500 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	far := &kafka.Client{Addr: kafka.TCP(link.Brokers()...), Transport: transport}
	eventually(t, "produce by the link", func() error { return produce(t, far, topic) })
	link.Cut()
	if err := produce(t, far, topic); err == nil {
		t.Error("a record passed a link that is cut")
	}
	eventually(t, "produce past the link", func() error { return produce(t, near, topic) })
	link.Mend()
	eventually(t, "the record that was stuck, one past the link and one after it", func() error {
		if err := produce(t, far, topic); err != nil {
			return err
		}
		res, err := near.ListOffsets(context.Background(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}}})
		if err != nil {
			return err
		}
		if last := res.Topics[topic][0].LastOffset; last < 4 {
			return fmt.Errorf("%d records", last)
		}
		return nil
	})
}

func TestShared(t *testing.T) {
	t.Parallel()
	a, b := kafkatest.Shared(t), kafkatest.Shared(t)
	if !slices.Equal(a.Brokers(), b.Brokers()) || !a.IsReal() {
		t.Error("two shared nodes")
	}
	if x, y := a.Topic(t, 3), b.Topic(t, 3); x == y {
		t.Errorf("two topics %s", x)
	}
}

// TestForeign: the clients in other languages run.
func TestForeign(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T) *exec.Cmd{
		"kcat": func(t *testing.T) *exec.Cmd { return kafkatest.Kcat(t).Command(t.Context(), "-V") },
		"python": func(t *testing.T) *exec.Cmd {
			return kafkatest.Python(t).Command(t.Context(), "-c", "import confluent_kafka as k; k.Producer({})")
		},
		"node": func(t *testing.T) *exec.Cmd {
			return kafkatest.Node(t).Command(t.Context(), "-e", "require('cloudevents').Kafka.toEvent.name || process.exit(1)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := run(t).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestLacking: on a machine that has nothing, the tests that want it are skipped and noted for the last line of make test; with CI=true, a real Kafka has to be had.
func TestLacking(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	bare := func(env ...string) ([]byte, error) {
		c := exec.Command(os.Args[0], "-test.run", "TestShared|TestForeign", "-test.v")
		c.Env = append([]string{"HOME=" + dir, "PATH=" + dir, "TOOLTEST_NOTES=" + notes}, env...)
		return c.CombinedOutput()
	}
	out, err := bare()
	if err != nil || strings.Count(string(out), "NOT RUN: ") < 3 {
		t.Errorf("%v: %s", err, out)
	}
	text, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"the tests on a real Kafka: it is not to be had: java is not installed; install java 17 or later and mvn, or set KAFKA_BROKERS=host:port",
		"the tests with kcat: it is not to be had: ", "the tests with Node: it is not to be had: ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if out, err := bare("CI=true"); err == nil || strings.Contains(string(out), "NOT RUN: TestShared") || !strings.Contains(string(out), "NOT RUN: TestForeign") {
		t.Errorf("with CI=true: %v: %s", err, out)
	}
}
