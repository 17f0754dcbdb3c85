package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
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

// TestRefused comes in wrong ways: each ends within seconds, for good, with what to do about it.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	topic := s.Topic(t, 1)
	trust := &kafka.TLS{CA: s.CA}
	strangers, stranger := certificates(t)
	cert, key := write(t, &stranger.Certificates[0])
	old, oldKey := s.Certificate(t, kafkatest.Router, time.Now().Add(-time.Minute))
	const wrong = "wrong-secret"
	router := login(t, "scram-sha-512", kafkatest.Router, kafkatest.Password)
	at := func(address string, tls *kafka.TLS, sasl *kafka.SASL) *kafka.Cluster {
		return &kafka.Cluster{Brokers: []string{address}, TLS: tls, SASL: sasl}
	}
	secretIn := func(path string) *kafka.SASL {
		return &kafka.SASL{Mechanism: "plain", Username: kafkatest.Router, Password: plugin.Secret{File: path}}
	}
	list := map[string]struct {
		c    *kafka.Cluster
		want string
	}{
		"in the clear to TLS":         {at(s.SSL, nil, nil), "; the brokers' listener encrypts; add tls: {}"},
		"in the clear to SASL on TLS": {at(s.SASLSSL, nil, router), "; the brokers' listener encrypts; add tls: {}"},
		"TLS to a plain listener":     {at(s.Brokers()[0], trust, nil), "; the listener may not encrypt: leave tls out, or name another listener's port"},
		"SASL on TLS to SASL":         {at(s.SASL, trust, router), "; the listener may not encrypt: leave tls out, or name another listener's port"},
		"SASL to a plain listener":    {at(s.Brokers()[0], nil, router), "; the brokers' listener does not ask who we are; leave sasl out, or name another listener's port"},
		"SASL to TLS":                 {at(s.SSL, trust, router), "; the brokers' listener does not ask who we are; leave sasl out, or name another listener's port"},
		"nobody to SASL":              {at(s.SASL, nil, nil), "; the listener may ask for it: add sasl, or name another listener's port"},
		"nobody to SASL on TLS":       {at(s.SASLSSL, trust, nil), "; the listener may ask for it: add sasl, or name another listener's port"},
		"no authority":                {at(s.SSL, &kafka.TLS{}, nil), "; set tls.ca to the authority of the brokers' certificates"},
		"another authority":           {at(s.SSL, &kafka.TLS{CA: strangers}, nil), "; set tls.ca to the authority of the brokers' certificates"},
		"another name":                {at(s.SSL, &kafka.TLS{CA: s.CA, ServerName: "else.test"}, nil), "not else.test; set tls.serverName to a name that the brokers' certificates have"},
		"no certificate":              {at(s.Mutual, trust, nil), "; set tls.cert and tls.key to a certificate that the brokers trust"},
		"a stranger's certificate":    {at(s.Mutual, &kafka.TLS{CA: s.CA, Cert: cert, Key: key}, nil), "; set tls.cert and tls.key to a certificate that the brokers trust"},
		"an expired certificate":      {at(s.Mutual, &kafka.TLS{CA: s.CA, Cert: old, Key: oldKey}, nil), "; renew it"},
		"another's key":               {at(s.Mutual, &kafka.TLS{CA: s.CA, Cert: cert, Key: oldKey}, nil), "read tls.cert and tls.key: tls: private key does not match public key"},
		"an empty secret":             {at(s.SASL, nil, secretIn(secretFile(t, ""))), "is empty"},
		"no secret":                   {at(s.SASL, nil, secretIn(s.CA+"x")), "no such file or directory"},
		"a user without rights":       {at(s.SASL, nil, login(t, "plain", kafkatest.Guest, kafkatest.Password)), "; give this user the right on the topic (ACL)"},
	}
	for _, m := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		list["wrong password, "+m] = struct {
			c    *kafka.Cluster
			want string
		}{at(s.SASLSSL, trust, login(t, m, kafkatest.Router, wrong)), "; check sasl.username, and the password that sasl.password names"}
		list["unknown user, "+m] = struct {
			c    *kafka.Cluster
			want string
		}{at(s.SASL, nil, login(t, m, "nobody", wrong)), "; check sasl.username, and the password that sasl.password names"}
	}
	for name, x := range list {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			err := lookUp(t, x.c, topic)
			if !kafka.Final(err) || !strings.HasSuffix(err.Error(), x.want) || strings.Contains(err.Error(), kafkatest.Password) || strings.Contains(err.Error(), wrong) {
				t.Errorf("%v\nwant %s", err, x.want)
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// lookUp asks for a topic as a router does that begins.
func lookUp(t *testing.T, c *kafka.Cluster, topic string) error {
	k, err := kafka.Open(c, "onward-test", kafka.Limits{})
	if err != nil {
		return err
	}
	defer k.Close()
	_, err = k.Topic(limited(t), topic)
	return err
}

// write puts a certificate into files.
func write(t *testing.T, c *tls.Certificate) (cert, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	replace(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return cert, key
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRenewedPassword changes a password under a client at work: its connections stay, and new ones use what the file has then.
func TestRenewedPassword(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	user := s.User(t, "first-secret")
	topic := s.Topic(t, 1)
	s.Allow(t, "User:"+user, kgo.ResourceTypeTopic, topic, kgo.ACLOperationTypeRead, kgo.ACLOperationTypeWrite)
	file := secretFile(t, "first-secret")
	k, err := kafka.Open(&kafka.Cluster{Brokers: []string{s.SASLSSL}, TLS: &kafka.TLS{CA: s.CA}, SASL: &kafka.SASL{Mechanism: "scram-sha-512", Username: user, Password: plugin.Secret{File: file}}}, "x", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p := producer(t, k, kafka.ProducerOptions{})
	put := func() error {
		_, err := p.Write(limited(t), topic, 0, text("x"))
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	s.SetPassword(t, user, "second-secret")
	if err := put(); err != nil {
		t.Errorf("on the connection that there was: %v", err)
	}
	k.Close()
	if err := put(); !kafka.Final(err) || !errors.Is(err, kgo.SASLAuthenticationFailed) || strings.Contains(err.Error(), "-secret") {
		t.Errorf("the old password: %v", err)
	}
	replace(t, file, []byte("second-secret\r\n"))
	if err := put(); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// TestRenewedCertificates replaces all the files of a client at work: its next connections use them.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	topic := s.Topic(t, 1)
	cert, key := s.Certificate(t, "somebody", time.Now().Add(time.Hour))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace(t, ca, content(t, s.CA))
	k, err := kafka.Open(&kafka.Cluster{Brokers: []string{s.Mutual}, TLS: &kafka.TLS{CA: ca, Cert: cert, Key: key}}, "x", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	look := func() error {
		k.Close() // The next connection is a new one.
		_, err := k.Topic(limited(t), topic)
		return err
	}
	defer k.Close()
	if err := look(); !errors.Is(err, kgo.TopicAuthorizationFailed) {
		t.Errorf("the certificate of somebody: %v", err)
	}
	cert2, key2 := s.Certificate(t, kafkatest.Router, time.Now().Add(time.Hour))
	replace(t, cert, content(t, cert2))
	replace(t, key, content(t, key2))
	if err := look(); err != nil {
		t.Errorf("the certificate of the router: %v", err)
	}
	strangers, _ := certificates(t)
	replace(t, ca, content(t, strangers))
	var unknown x509.UnknownAuthorityError
	if err := look(); !errors.As(err, &unknown) || !kafka.Final(err) {
		t.Errorf("another authority: %v", err)
	}
	replace(t, ca, nil)
	k.Close()
	// It tries for as long as it may, and says then what kept it; on a busy machine that may be longer than half a second.
	for patience := 500 * time.Millisecond; ; patience *= 2 {
		halfway, cancel := context.WithTimeout(context.Background(), patience)
		_, err := k.Topic(halfway, topic)
		cancel()
		if err == nil || kafka.Final(err) || patience > 20*time.Second {
			t.Errorf("a file that is being written: %v", err)
			break
		}
		if strings.Contains(err.Error(), "holds no certificate") {
			break
		}
	}
	replace(t, ca, content(t, s.CA))
	if err := look(); err != nil {
		t.Errorf("the authority again: %v", err)
	}
}

// TestRights lacks one right at a time: each is refused for good, with what is to be given.
func TestRights(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	topic := s.Topic(t, 1)
	user := s.User(t, "a-secret")
	s.Allow(t, "User:"+user, kgo.ResourceTypeTopic, topic, kgo.ACLOperationTypeDescribe)
	s.Allow(t, "User:"+user, kgo.ResourceTypeGroup, "its-own", kgo.ACLOperationTypeRead)
	k, err := kafka.Open(&kafka.Cluster{Brokers: []string{s.SASL}, SASL: login(t, "scram-sha-256", user, "a-secret")}, "x", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := k.Topic(limited(t), topic); err != nil {
		t.Fatal(err)
	}
	const onTopic, onGroup = "; give this user the right on the topic (ACL)", "; give this user the right on the group (ACL)"
	for name, x := range map[string]struct {
		do   func(ctx context.Context) error
		want string
	}{
		"write": {func(ctx context.Context) error {
			_, err := producer(t, k, kafka.ProducerOptions{}).Write(ctx, topic, 0, text("x"))
			return err
		}, "; give this user the right IdempotentWrite on the cluster, or Write on the topic (ACL)"},
		"read": {func(ctx context.Context) error {
			_, err := k.Fetch(ctx, kafka.Fetch{Topic: topic})
			return err
		}, onTopic},
		"create":   {func(ctx context.Context) error { return k.CreateTopic(ctx, topic+"2", 1, 1, nil) }, onTopic},
		"settings": {func(ctx context.Context) error { _, err := k.TopicSettings(ctx, topic); return err }, onTopic},
		"delete":   {func(ctx context.Context) error { _, err := k.DeleteRecords(ctx, topic, 0, 0); return err }, onTopic},
		"offsets":  {func(ctx context.Context) error { _, err := k.Committed(ctx, "anothers", topic, 0); return err }, onGroup},
		"members":  {func(ctx context.Context) error { _, err := k.Members(ctx, "anothers"); return err }, onGroup},
		"another topic": {func(ctx context.Context) error {
			_, _, err := k.Range(ctx, topic+"2", 0)
			return err
		}, onTopic},
		"join": {func(ctx context.Context) error { return join(ctx, k, "anothers", topic) }, onGroup},
		// The group may be joined, and what it reads may not.
		"commit": {func(ctx context.Context) error {
			err := join(ctx, k, "its-own", topic)
			for isStarting(err) {
				err = join(ctx, k, "its-own", topic)
			}
			return err
		}, onTopic},
	} {
		t.Run(name, func(t *testing.T) {
			if err := x.do(limited(t)); !kafka.Final(err) || !strings.HasSuffix(err.Error(), x.want) {
				t.Errorf("%v\nwant %s", err, x.want)
			}
		})
	}
}

// join joins a group and commits.
func join(ctx context.Context, k *kafka.Client, id, topic string) error {
	group, err := kgo.NewConsumerGroup(kgo.ConsumerGroupConfig{ID: id, Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{topic}})
	if err != nil {
		return err
	}
	defer group.Close()
	generation, err := group.Next(ctx)
	if err != nil {
		return kafka.Judge("join group "+id, err)
	}
	return k.Commit(ctx, generation, topic, map[int]kafka.Commit{0: {Offset: 1}})
}
