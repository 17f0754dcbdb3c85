package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"brokers":"127.0.0.1:9092"}`:                 "",
		`{"brokers":["a:1","[::1]:2"],"tls":{}}`:       "",
		`{}`:                                           "",
		`{"brokers":["a:1","kafka://b:2"]}`:            `brokers.1: "kafka://b:2" is not the address of a broker; write host:port, e.g. 127.0.0.1:9092`,
		`{"brokers":["a"]}`:                            `brokers.0: "a" is not the address of a broker; write host:port, e.g. 127.0.0.1:9092`,
		`{"brokers":["a:0"]}`:                          `brokers.0: "a:0" is not the address of a broker; write host:port, e.g. 127.0.0.1:9092`,
		`{"broker":["a:1"]}`:                           `broker: unknown key "broker"; did you mean "brokers"?`,
		`{"tls":{"cert":"c.pem"}}`:                     `tls: a certificate and its key come together; write both cert: and key:, or neither`,
		`{"tls":{"insecureSkipVerify":true,"ca":"x"}}`: `tls.insecureSkipVerify: a certificate that is not checked needs no ca and no serverName; leave insecureSkipVerify out`,
		`{"sasl":{"mechanism":"scram","username":"u","password":{"env":"X"}}}`:   `sasl.mechanism: unknown mechanism "scram"; write plain, scram-sha-256 or scram-sha-512`,
		`{"sasl":{"mechanism":"plain","username":"u","password":"hunter2"}}`:     `sasl.password: the text "hunter2" where a mapping is due; write { env: ... }`,
		`{"sasl":{"mechanism":"plain","password":{"env":"X"}}}`:                  `sasl: username is missing; add username: ...`,
		`{"sasl":{"mechanism":"plain","username":"u","password":{"file":"/x"}}}`: "",
	} {
		n, err := lang.ParseJSONNode([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range lang.Decode(n, new(kafka.Cluster), new(plugin.Registry)) {
			got = append(got, f.String())
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s: %q\nwant %q", doc, got, want)
		}
	}
}

func TestBrokersFromEnvironment(t *testing.T) {
	t.Setenv(kafka.BrokersVariable, " a:1, b:2 ,")
	k, err := kafka.Open(new(kafka.Cluster), "x", kafka.Limits{})
	if err != nil || strings.Join(k.Brokers, " ") != "a:1 b:2" {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"":  `connect to Kafka: no brokers are named; write brokers: ["host:port"], or set the router's kafka.brokers, or KAFKA_BROKERS`,
		"a": `read KAFKA_BROKERS: "a" is not the address of a broker; write host:port, with commas between several`,
	} {
		t.Setenv(kafka.BrokersVariable, value)
		if _, err := kafka.Open(new(kafka.Cluster), "x", kafka.Limits{}); !kafka.Final(err) || err.Error() != want {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestInherit: who names brokers of its own has nothing of another's.
func TestInherit(t *testing.T) {
	t.Parallel()
	from := kafka.Cluster{Brokers: []string{"theirs:1"}, TLS: &kafka.TLS{CA: "theirs"}, SASL: &kafka.SASL{Username: "theirs"}}
	bare, partly, own := kafka.Cluster{}, kafka.Cluster{SASL: &kafka.SASL{Username: "mine"}}, kafka.Cluster{Brokers: []string{"mine:1"}}
	for _, c := range []*kafka.Cluster{&bare, &partly, &own} {
		c.Inherit(from)
	}
	if bare.Brokers[0] != "theirs:1" || bare.TLS != from.TLS || bare.SASL != from.SASL {
		t.Errorf("%+v", bare)
	}
	if partly.Brokers[0] != "theirs:1" || partly.TLS != from.TLS || partly.SASL.Username != "mine" {
		t.Errorf("%+v", partly)
	}
	if own.Brokers[0] != "mine:1" || own.TLS != nil || own.SASL != nil {
		t.Errorf("%+v", own)
	}
}

// certificates writes an authority's and a server's certificate, and returns the authority's file and the server's side.
func certificates(t *testing.T) (ca string, server *tls.Config) {
	t.Helper()
	return certificatesUntil(t, time.Now().Add(time.Hour))
}

func certificatesUntil(t *testing.T, until time.Time) (ca string, server *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"broker.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// use opens a client and writes a record; the topic is created through it.
func use(t *testing.T, c *kafka.Cluster) error {
	t.Helper()
	k, err := kafka.Open(c, "onward-test", kafka.Limits{Request: 3 * time.Second, Dial: 2 * time.Second, Unknown: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	defer k.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := k.CreateTopic(ctx, "t", 1, 1, nil); err != nil {
		return err
	}
	p := k.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	if _, err := p.Write(ctx, "t", 0, text("x")); err != nil {
		return err
	}
	f, err := k.Fetch(ctx, kafka.Fetch{Topic: "t"})
	if err == nil && len(f.Records) != 1 {
		err = fmt.Errorf("%d records", len(f.Records))
	}
	return err
}

func secret(t *testing.T, text string) plugin.Secret {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugin.Secret{File: path}
}

func TestTLSAndSASL(t *testing.T) {
	t.Parallel()
	const password = "correct-horse-battery"
	for _, m := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(m, func(t *testing.T) {
			t.Parallel()
			ca, server := certificates(t)
			c := kafkatest.Fake(t, 1, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(m), "router", password))
			sasl := func(user, p string) *kafka.SASL {
				return &kafka.SASL{Mechanism: m, Username: user, Password: secret(t, p)}
			}
			if err := use(t, &kafka.Cluster{Brokers: c.Brokers(), TLS: &kafka.TLS{CA: ca, ServerName: "broker.test"}, SASL: sasl("router", password)}); err != nil {
				t.Error(err)
			}
			for name, x := range map[string]struct {
				c    kafka.Cluster
				want string
			}{
				"wrong password": {kafka.Cluster{TLS: &kafka.TLS{CA: ca}, SASL: sasl("router", "wrong-secret")}, "; check sasl.username, and the password that sasl.password names"},
				"unknown user":   {kafka.Cluster{TLS: &kafka.TLS{CA: ca}, SASL: sasl("nobody", "wrong-secret")}, "; check sasl.username, and the password that sasl.password names"},
				"no password":    {kafka.Cluster{TLS: &kafka.TLS{CA: ca}, SASL: &kafka.SASL{Mechanism: m, Username: "u", Password: plugin.Secret{Env: "ONWARD_TEST_UNSET"}}}, `environment variable "ONWARD_TEST_UNSET" is empty or not set`},
				"no authority":   {kafka.Cluster{TLS: &kafka.TLS{}, SASL: sasl("router", password)}, "; set tls.ca to the authority of the brokers' certificates"},
				"another name":   {kafka.Cluster{TLS: &kafka.TLS{CA: ca, ServerName: "else.test"}, SASL: sasl("router", password)}, "; set tls.serverName to a name that the brokers' certificates have"},
				"no file":        {kafka.Cluster{TLS: &kafka.TLS{CA: ca + "x"}}, "no such file or directory"},
			} {
				x.c.Brokers = c.Brokers()
				err := use(t, &x.c)
				if !kafka.Final(err) || !strings.HasSuffix(err.Error(), x.want) || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wrong-secret") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestListeners meets what takes connections and is not what the settings say.
func TestListeners(t *testing.T) {
	t.Parallel()
	ca, server := certificates(t)
	old := server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	shakes := func(config *tls.Config) func(net.Conn) {
		return func(c net.Conn) { _ = tls.Server(c, config).Handshake() }
	}
	says := func(b ...byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = c.Write(b)
		}
	}
	for name, x := range map[string]struct {
		does func(net.Conn)
		tls  *kafka.TLS
		want string
	}{
		"a TLS alert":              {says(0x15, 3, 3, 0, 2, 2, 70), nil, "; the brokers' listener encrypts; add tls: {}"},
		"no TLS":                   {says([]byte("HTTP/1.1 400 Bad Request")...), &kafka.TLS{CA: ca}, "; the brokers' listener does not encrypt; leave tls out, or name another listener's port"},
		"old TLS":                  {shakes(old), &kafka.TLS{CA: ca}, "; the brokers and the router have no version of TLS, or cipher, in common"},
		"a hand shaken, no answer": {shakes(server), &kafka.TLS{CA: ca}, "; set tls.cert and tls.key to a certificate that the brokers trust"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					x.does(conn)
					conn.Close()
				}
			}()
			if err := use(t, &kafka.Cluster{Brokers: []string{l.Addr().String()}, TLS: x.tls}); !kafka.Final(err) || !strings.HasSuffix(err.Error(), x.want) {
				t.Error(err)
			}
		})
	}
}

// TestExpired meets brokers whose certificate is of yesterday.
func TestExpired(t *testing.T) {
	t.Parallel()
	ca, server := certificatesUntil(t, time.Now().Add(-time.Minute))
	c := kafkatest.Fake(t, 1, kfake.TLS(server))
	if err := use(t, &kafka.Cluster{Brokers: c.Brokers(), TLS: &kafka.TLS{CA: ca}}); !kafka.Final(err) || !strings.HasSuffix(err.Error(), "; renew the brokers' certificates, or set this machine's clock") {
		t.Error(err)
	}
}

// TestHangUps: brokers that have answered once may hang up for long; that is no word on how we come.
func TestHangUps(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.SeedTopics(1, "t"))
	k := open(t, c)
	if _, err := k.Topic(limited(t), "t"); err != nil {
		t.Fatal(err)
	}
	var shut atomic.Bool
	shut.Store(true)
	c.Fake().Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		return nil, io.EOF, shut.Load() && r.Key() != int16(kmsg.ApiVersions)
	})
	for name, x := range map[string]struct {
		k     *kafka.Client
		final bool
	}{"known": {k, false}, "new": {open(t, c), true}} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if _, _, err := x.k.Range(ctx, "t", 0); kafka.Final(err) != x.final || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	shut.Store(false)
	if _, _, err := k.Range(limited(t), "t", 0); err != nil {
		t.Error(err)
	}
}

// TestHangUpsAmidSASL: brokers that have let us in once may go away while we say who we are; that is no wrong password.
func TestHangUpsAmidSASL(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.SeedTopics(1, "t"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "router", "pw"))
	come := func() *kafka.Client {
		k, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers(), SASL: &kafka.SASL{Mechanism: "plain", Username: "router", Password: secret(t, "pw")}}, "x", kafka.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		return k
	}
	known := come()
	if _, err := known.Topic(limited(t), "t"); err != nil {
		t.Fatal(err)
	}
	var shut atomic.Bool
	shut.Store(true)
	c.Fake().ControlKey(int16(kmsg.SASLAuthenticate), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		return nil, io.EOF, shut.Load()
	})
	known.Close() // Its idle connections; new ones are needed.
	for name, x := range map[string]struct {
		k     *kafka.Client
		final bool
	}{"known": {known, false}, "new": {come(), true}} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if _, _, err := x.k.Range(ctx, "t", 0); kafka.Final(err) != x.final || err == nil || x.k.Refused(err) != x.final {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	shut.Store(false)
	if _, _, err := known.Range(limited(t), "t", 0); err != nil {
		t.Error(err)
	}
}

// TestForbidden lacks the right to write.
func TestForbidden(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "t"), kfake.Superuser("PLAIN", "admin", "admin"),
		kfake.User("PLAIN", "reader", "pw", kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "t", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true}))
	k, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers(), SASL: &kafka.SASL{Mechanism: "plain", Username: "reader", Password: secret(t, "pw")}}, "x", kafka.Limits{Unknown: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p := k.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	if _, err := p.Write(limited(t), "t", 0, text("x")); !kafka.Final(err) || !strings.Contains(err.Error(), "(ACL)") {
		t.Error(err)
	}
}
