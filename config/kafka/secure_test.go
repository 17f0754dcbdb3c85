package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/plugin"
	kgo "github.com/segmentio/kafka-go"
)

// secretFile writes a secret with the newline that editors leave.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// login is how a user comes to a secured node.
func login(t *testing.T, mechanism, user, password string) *kafka.SASL {
	return &kafka.SASL{Mechanism: mechanism, Username: user, Password: plugin.Secret{File: secretFile(t, password)}}
}

// ways are all that there are of coming to a secured node, for the user who may do everything.
func ways(t *testing.T, s *kafkatest.Secured) map[string]*kafka.Cluster {
	t.Helper()
	trust := &kafka.TLS{CA: s.CA}
	cert, key := s.Certificate(t, kafkatest.Router, time.Now().Add(time.Hour))
	out := map[string]*kafka.Cluster{
		"tls":            {Brokers: []string{s.SSL}, TLS: trust},
		"tls, by a name": {Brokers: []string{s.SSL}, TLS: &kafka.TLS{CA: s.CA, ServerName: "broker.test"}},
		"mutual tls":     {Brokers: []string{s.Mutual}, TLS: &kafka.TLS{CA: s.CA, Cert: cert, Key: key}},
	}
	for _, m := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		out[m] = &kafka.Cluster{Brokers: []string{s.SASL}, SASL: login(t, m, kafkatest.Router, kafkatest.Password)}
		out[m+" over tls"] = &kafka.Cluster{Brokers: []string{s.SASLSSL}, TLS: trust, SASL: login(t, m, kafkatest.Router, kafkatest.Password)}
	}
	return out
}

// TestSecured comes in all ways: it writes, reads, joins a group, commits and reads what was committed.
func TestSecured(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	for name, c := range ways(t, s) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := live(t, s, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// live does all that a router does to a cluster.
func live(t *testing.T, s *kafkatest.Secured, c *kafka.Cluster) error {
	t.Helper()
	k, err := kafka.Open(c, "onward-test", kafka.Limits{})
	if err != nil {
		return err
	}
	defer k.Close()
	ctx := limited(t)
	topic := s.Topic(t, 1)
	p := k.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	if _, err := p.Write(ctx, topic, 0, text("a"), text("b")); err != nil {
		return err
	}
	if got := values(read(t, k, topic, 0, 2)); got != "a b" {
		return fmt.Errorf("%q", got)
	}
	group, err := kgo.NewConsumerGroup(kgo.ConsumerGroupConfig{ID: topic, Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{topic}})
	if err != nil {
		return err
	}
	defer group.Close()
	generation, err := group.Next(ctx)
	for isStarting(err) {
		generation, err = group.Next(ctx)
	}
	if err != nil {
		return err
	}
	if err := k.Commit(ctx, generation, topic, map[int]kafka.Commit{0: {Offset: 2, Metadata: "m"}}); err != nil {
		return err
	}
	had, err := k.Committed(ctx, topic, topic, 0)
	if err == nil && had[0] != (kafka.Commit{Offset: 2, Metadata: "m"}) {
		err = fmt.Errorf("%v", had)
	}
	return err
}

// isStarting reports that the node makes its own topics first, with the first group.
func isStarting(err error) bool {
	return errors.Is(err, kgo.GroupCoordinatorNotAvailable) || errors.Is(err, kgo.NotCoordinatorForGroup) || errors.Is(err, kgo.GroupLoadInProgress)
}

var _ = context.Background
var _ = strings.Contains

func TestExplore(t *testing.T) {
	s := kafkatest.Secure(t)
	topic := s.Topic(t, 1)
	cert, key := s.Certificate(t, kafkatest.Router, time.Now().Add(time.Hour))
	old, oldKey := s.Certificate(t, kafkatest.Router, time.Now().Add(-time.Minute))
	otherCA, _ := certificates(t)
	_, _ = cert, key
	empty := filepath.Join(t.TempDir(), "empty")
	os.WriteFile(empty, []byte("\n"), 0o600)
	trust := &kafka.TLS{CA: s.CA}
	host := "localhost" + s.SASLSSL[strings.Index(s.SASLSSL, ":"):]
	m := map[string]*kafka.Cluster{
		"plaintext to tls": {Brokers: []string{s.SSL}},
		"sasl plaintext to sasl tls": {Brokers: []string{s.SASLSSL}, SASL: login(t, "plain", "router", kafkatest.Password)},
		"tls to plaintext": {Brokers: s.Brokers(), TLS: trust},
		"sasl tls to sasl plaintext": {Brokers: []string{s.SASL}, TLS: trust, SASL: login(t, "plain", "router", kafkatest.Password)},
		"sasl to plaintext": {Brokers: s.Brokers(), SASL: login(t, "plain", "router", kafkatest.Password)},
		"no sasl to sasl": {Brokers: []string{s.SASL}},
		"no sasl to sasl tls": {Brokers: []string{s.SASLSSL}, TLS: trust},
		"sasl tls to ssl": {Brokers: []string{s.SSL}, TLS: trust, SASL: login(t, "plain", "router", kafkatest.Password)},
		"no client cert": {Brokers: []string{s.Mutual}, TLS: trust},
		"expired client cert": {Brokers: []string{s.Mutual}, TLS: &kafka.TLS{CA: s.CA, Cert: old, Key: oldKey}},
		"other ca": {Brokers: []string{s.SSL}, TLS: &kafka.TLS{CA: otherCA}},
		"system ca": {Brokers: []string{s.SSL}, TLS: &kafka.TLS{}},
		"other name": {Brokers: []string{s.SSL}, TLS: &kafka.TLS{CA: s.CA, ServerName: "else.test"}},
		"localhost": {Brokers: []string{host}, TLS: trust, SASL: login(t, "plain", "router", kafkatest.Password)},
		"empty secret": {Brokers: []string{s.SASL}, SASL: &kafka.SASL{Mechanism: "plain", Username: "router", Password: plugin.Secret{File: empty}}},
		"missing secret": {Brokers: []string{s.SASL}, SASL: &kafka.SASL{Mechanism: "plain", Username: "router", Password: plugin.Secret{File: empty+"x"}}},
		"guest": {Brokers: []string{s.SASL}, SASL: login(t, "plain", "guest", kafkatest.Password)},
	}
	for _, me := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		m["wrong password "+me] = &kafka.Cluster{Brokers: []string{s.SASLSSL}, TLS: trust, SASL: login(t, me, "router", "wrong")}
		m["unknown user "+me] = &kafka.Cluster{Brokers: []string{s.SASLSSL}, TLS: trust, SASL: login(t, me, "nobody", "wrong")}
	}
	for name, c := range m {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			k, err := kafka.Open(c, "x", kafka.Limits{})
			if err == nil {
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				defer cancel()
				defer k.Close()
				_, err = k.Topic(ctx, topic)
				t.Logf("TOPIC %v final=%v %v", time.Since(begin).Round(time.Millisecond), kafka.Final(err), err)
				begin = time.Now()
				p := k.NewProducer(kafka.ProducerOptions{})
				_, err = p.Write(ctx, topic, 0, text("a"))
				p.Close()
				t.Logf("WRITE %v final=%v %v", time.Since(begin).Round(time.Millisecond), kafka.Final(err), err)
				begin = time.Now()
				_, err = k.Committed(ctx, "g", topic, 0)
				t.Logf("COMMITTED %v final=%v %v", time.Since(begin).Round(time.Millisecond), kafka.Final(err), err)
				begin = time.Now()
				group, _ := kgo.NewConsumerGroup(kgo.ConsumerGroupConfig{ID: topic, Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{topic}})
				_, err = group.Next(ctx)
				group.Close()
			}
			t.Logf("LAST %v final=%v %v", time.Since(begin).Round(time.Millisecond), kafka.Final(err), err)
		})
	}
}
