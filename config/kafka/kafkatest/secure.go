package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// A Secured is a real node that asks who comes. Its certificates are from an authority of its own; the server's is for 127.0.0.1 and broker.test.
//
// Whoever comes by the plain listener or by SSL may do everything, as may the user Router and the bearer of a certificate for Router; all others may
// do what Allow gives them.
type Secured struct {
	*Cluster
	CA string // file of the authority (PEM)

	// Addresses of the listeners: TLS, TLS that demands a client's certificate, SASL in the clear, SASL over TLS.
	SSL, Mutual, SASL, SASLSSL string

	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	dir       string
}

// The user that every mechanism knows, and who may do everything; and one that PLAIN knows, and who may do nothing.
const (
	Router   = "router"
	Guest    = "guest"
	Password = "open-sesame-7f3a" // of both
)

var secured struct {
	sync.Mutex
	c   *Secured
	err error
}

// Secure returns the node with security that the tests of this binary share; the first call starts it. It is always one of ours: KAFKA_BROKERS does not
// say how a cluster is secured.
func Secure(t testing.TB) *Secured {
	t.Helper()
	secured.Lock()
	defer secured.Unlock()
	if secured.c == nil && secured.err == nil {
		secured.c, secured.err = newSecured()
	}
	if secured.err != nil {
		notRun(t, secured.err)
	}
	return secured.c
}

func newSecured() (*Secured, error) {
	dir, err := os.MkdirTemp("", "onward-secured-")
	if err != nil {
		return nil, err
	}
	s := &Secured{dir: dir, CA: filepath.Join(dir, "ca.pem")}
	if err := s.found(); err != nil {
		return nil, err
	}
	if s.Cluster, err = start(1, nil, s.properties); err != nil {
		_ = os.RemoveAll(dir) // What is left lies in the folder for temporary files.
		return nil, err
	}
	if err := s.setPassword(Router, Password); err != nil {
		s.close()
		return nil, fmt.Errorf("%w\n%s", err, s.real.output())
	}
	return s, nil
}

func (s *Secured) close() {
	s.Cluster.close()
	_ = os.RemoveAll(s.dir)
}

// found makes the authority.
func (s *Secured) found() (err error) {
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	s.authority = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafkatest"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, s.authority, s.authority, &s.key.PublicKey, s.key)
	if err != nil {
		return err
	}
	return os.WriteFile(s.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// issue makes a certificate, and the key that belongs to it.
func (s *Secured) issue(name string, until time.Time) (cert, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"broker.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.authority, &own.PublicKey, s.key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}

// Certificate writes the certificate of a user, CN=name, that is good until then, and its key, to files of the test.
func (s *Secured) Certificate(t testing.TB, name string, until time.Time) (cert, key string) {
	t.Helper()
	c, k, err := s.issue(name, until)
	must(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, c, 0o600))
	must(t, os.WriteFile(key, k, 0o600))
	return cert, key
}

// properties gives a node the further listeners.
func (s *Secured) properties(n *node) (string, error) {
	cert, key, err := s.issue("broker", time.Now().Add(12*time.Hour))
	if err != nil {
		return "", err
	}
	store := filepath.Join(s.dir, "broker.pem")
	if err := os.WriteFile(store, append(key, cert...), 0o600); err != nil {
		return "", err
	}
	listeners := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", n.broker)
	for _, l := range []struct {
		name string
		at   *string
	}{{"SSL", &s.SSL}, {"MUTUAL", &s.Mutual}, {"SASL", &s.SASL}, {"SASLSSL", &s.SASLSSL}} {
		*l.at = tooltest.Address()
		listeners += fmt.Sprintf(",%s://%s", l.name, *l.at)
	}
	var logins strings.Builder
	for _, l := range []string{"sasl", "saslssl"} {
		fmt.Fprintf(&logins, "listener.name.%s.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=\"%s\" user_%s=\"%[3]s\";\n",
			l, Router, Password, Guest)
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			fmt.Fprintf(&logins, "listener.name.%s.%s.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n", l, m)
		}
	}
	return fmt.Sprintf(`listeners=%[1]s,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=%[1]s
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,MUTUAL:SSL,SASL:SASL_PLAINTEXT,SASLSSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location=%[3]s
ssl.truststore.type=PEM
ssl.truststore.location=%[4]s
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:%[5]s;User:CN=%[5]s
%[6]s`, listeners, n.quorum, store, s.CA, Router, &logins), nil
}

// User makes a user that both SCRAM mechanisms know, and returns the name. It may do what Allow gives it.
func (s *Secured) User(t testing.TB, password string) string {
	t.Helper()
	name := fmt.Sprintf("user-%d", topics.Add(1))
	s.SetPassword(t, name, password)
	return name
}

// SetPassword changes the password of a SCRAM user; when it returns, the node takes it.
func (s *Secured) SetPassword(t testing.TB, name, password string) {
	t.Helper()
	must(t, s.setPassword(name, password))
}

func (s *Secured) setPassword(name, password string) error {
	const iterations = 4096 // the fewest that Kafka takes
	salt := []byte(rand.Text())
	short, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return err
	}
	long, err := pbkdf2.Key(sha512.New, password, salt, iterations, sha512.Size)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, c := range []kafka.UserScramCredentialsUpsertion{
		{Name: name, Mechanism: kafka.ScramMechanismSha256, Iterations: iterations, Salt: salt, SaltedPassword: short},
		{Name: name, Mechanism: kafka.ScramMechanismSha512, Iterations: iterations, Salt: salt, SaltedPassword: long},
	} {
		res, err := s.admin.AlterUserScramCredentials(ctx, &kafka.AlterUserScramCredentialsRequest{Upsertions: []kafka.UserScramCredentialsUpsertion{c}})
		if err == nil {
			err = res.Results[0].Error
		}
		if err != nil {
			return fmt.Errorf("the password of %s: %w", name, err)
		}
	}
	for _, a := range []scram.Algorithm{scram.SHA256, scram.SHA512} {
		if err := s.awaitLogin(ctx, a, name, password); err != nil {
			return err
		}
	}
	return nil
}

// awaitLogin waits until the broker has heard from the controller.
func (s *Secured) awaitLogin(ctx context.Context, a scram.Algorithm, name, password string) error {
	m, err := scram.Mechanism(a, name, password)
	if err != nil {
		return err
	}
	for {
		conn, err := (&kafka.Dialer{SASLMechanism: m}).DialContext(ctx, "tcp", s.SASL)
		switch {
		case err == nil:
			return conn.Close()
		case ctx.Err() != nil:
			return fmt.Errorf("%s cannot log in: %w", name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Allow gives a principal, such as User:x, rights; when it returns, the node heeds them. Resources are literal unless they end in *, which is a prefix.
func (s *Secured) Allow(t testing.TB, principal string, kind kafka.ResourceType, resource string, rights ...kafka.ACLOperationType) {
	t.Helper()
	prefix, is := strings.CutSuffix(resource, "*")
	pattern := kafka.PatternTypeLiteral
	if is {
		pattern = kafka.PatternTypePrefixed
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, r := range rights {
		res, err := s.admin.CreateACLs(ctx, &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{{
			ResourceType: kind, ResourceName: prefix, ResourcePatternType: pattern, Principal: principal, Host: "*", Operation: r, PermissionType: kafka.ACLPermissionTypeAllow,
		}}})
		if err == nil {
			err = res.Errors[0]
		}
		must(t, err)
		filter := kafka.ACLFilter{
			ResourceTypeFilter: kind, ResourceNameFilter: prefix, ResourcePatternTypeFilter: pattern, PrincipalFilter: principal, HostFilter: "*", Operation: r,
			PermissionType: kafka.ACLPermissionTypeAllow,
		}
		for {
			res, err := s.admin.DescribeACLs(ctx, &kafka.DescribeACLsRequest{Filter: filter})
			if err == nil && res.Error == nil && len(res.Resources) == 1 {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("the rights of %s: %v", principal, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
