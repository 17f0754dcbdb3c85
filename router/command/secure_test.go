package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
	segmentio "github.com/segmentio/kafka-go"
)

// A visitor is somebody who comes to a secured node: the program's settings and the keys of a document for one way.
type visitor struct {
	s         *kafkatest.Secured
	principal string
	env       []string // settings
	source    string   // keys of a document's source, and of its sink
	sink      string
	password  string // file of it
	secret    string // which nothing may say
	prefix    string
}

// bySCRAM comes over TLS with a password, which the settings and the source find in a file, and the sink in a variable.
func bySCRAM(t *testing.T, s *kafkatest.Secured) *visitor {
	t.Helper()
	c := &visitor{s: s, secret: "open-sesame", prefix: s.Name(t)}
	user := s.User(t, c.secret)
	c.principal = "User:" + user
	c.password = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(c.password, []byte(c.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = []string{
		"ONWARD_KAFKA_BROKERS=" + s.SASLSSL, "ONWARD_KAFKA_TLS_CA=" + s.CA, "ONWARD_KAFKA_SASL_MECHANISM=scram-sha-512",
		"ONWARD_KAFKA_SASL_USERNAME=" + user, "ONWARD_KAFKA_SASL_PASSWORD_FILE=" + c.password, "SECRET=" + c.secret,
	}
	c.sink = fmt.Sprintf(`brokers: [%q], tls: { ca: %q }, sasl: { mechanism: scram-sha-512, username: %s, password: { env: SECRET } }`, s.SASLSSL, s.CA, user)
	c.source = strings.Replace(c.sink, "env: SECRET", fmt.Sprintf("file: %q", c.password), 1)
	return c
}

// byCertificate comes by a certificate alone; the sink inherits the settings.
func byCertificate(t *testing.T, s *kafkatest.Secured) *visitor {
	t.Helper()
	c := &visitor{s: s, secret: "PRIVATE KEY", prefix: s.Name(t)}
	c.principal = "User:CN=" + c.prefix
	cert, key := s.Certificate(t, c.prefix, time.Now().Add(time.Hour))
	c.env = []string{"ONWARD_KAFKA_BROKERS=" + s.Mutual, "ONWARD_KAFKA_TLS_CA=" + s.CA, "ONWARD_KAFKA_TLS_CERT=" + cert, "ONWARD_KAFKA_TLS_KEY=" + key}
	c.source = fmt.Sprintf(`brokers: [%q], tls: { ca: %q, cert: %q, key: %q }`, s.Mutual, s.CA, cert, key)
	return c
}

// allow gives the rights that deploy/README.md asks for, for the journal, and what the document's source and sink need.
func (c *visitor) allow(t *testing.T) {
	t.Helper()
	c.s.Allow(t, c.principal, segmentio.ResourceTypeTopic, c.prefix+".*", segmentio.ACLOperationTypeRead, segmentio.ACLOperationTypeWrite,
		segmentio.ACLOperationTypeDescribe, segmentio.ACLOperationTypeDescribeConfigs, segmentio.ACLOperationTypeDelete, segmentio.ACLOperationTypeCreate)
	for _, group := range []string{c.prefix, c.prefix + ".in"} {
		c.s.Allow(t, c.principal, segmentio.ResourceTypeGroup, group, segmentio.ACLOperationTypeRead)
	}
	c.s.Allow(t, c.principal, segmentio.ResourceTypeCluster, "kafka-cluster", segmentio.ACLOperationTypeDescribeConfigs)
}

// run runs the program to its end, and looks that it says no secret.
func (c *visitor) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], args...)
	child.Env = c.environment()
	b, err := child.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s", args, err, b)
	}
	c.silent(t, string(b))
	return string(b), child.ProcessState.ExitCode()
}

func (c *visitor) environment() []string {
	return append(append(os.Environ(), childVariable+"=1", "ONWARD_JOURNAL=kafka", "ONWARD_KAFKA_PREFIX="+c.prefix), c.env...)
}

func (c *visitor) silent(t *testing.T, out string) {
	t.Helper()
	if strings.Contains(out, c.secret) {
		t.Errorf("a secret is said:\n%s", out)
	}
}

// document writes one that takes events from one topic and sends their runs' ends to another.
func (c *visitor) document(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secured.yaml")
	text := strings.NewReplacer("SOURCE", c.source, "SINK", c.sink, "PREFIX", c.prefix).Replace(`version: 1
functions: { echo: { log: echo } }
sources: { in: { kafka: { topics: [PREFIX.in], group: PREFIX.in, session: 3s, SOURCE } } }
triggers:
  pass:
    filters: [{ exact: { type: pass } }]
    flow: { function: echo }
    onSuccess: { kafka: { topic: PREFIX.out, SINK } }
`)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a router, and stops it with the test; it returns where it listens, and the file of what it says.
func (c *visitor) serve(t *testing.T, args ...string) (addr, log string) {
	t.Helper()
	addr, log = tooltest.Address(), filepath.Join(t.TempDir(), "log")
	said, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close() // The child has its own.
	child := exec.Command(os.Args[0], append([]string{"serve", "--listen", addr, "--data", t.TempDir(), "--kafka-session", "3s"}, args...)...)
	child.Env = c.environment()
	child.Stdout, child.Stderr = said, said
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Signal(syscall.SIGTERM)
		err := child.Wait()
		out, e := os.ReadFile(log)
		if err != nil || e != nil || t.Failed() {
			t.Errorf("%v, %v\n%s", err, e, out)
		}
		c.silent(t, string(out))
	})
	return addr, log
}

// TestSecured takes the whole program through a secured cluster, with the rights that deploy/README.md asks for and no other.
func TestSecured(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	for name, by := range map[string]func(*testing.T, *kafkatest.Secured) *visitor{"SCRAM over TLS": bySCRAM, "a certificate": byCertificate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := by(t, s)
			doc := c.document(t)
			doctor := []string{"doctor", doc, "--listen", "127.0.0.1:0", "--data", t.TempDir()}
			for _, args := range [][]string{{"kafka", "init", "--replication", "1"}, doctor, {"serve", doc, "--listen", "127.0.0.1:0", "--data", t.TempDir()}} {
				if out, code := c.run(t, args...); code == exitOK || !strings.Contains(out, "; give this user the right on the topic (ACL)\n") {
					t.Errorf("%q without rights: %d\n%s", args, code, out)
				}
			}
			c.allow(t)
			if out, code := c.run(t, "kafka", "init", "--partitions", "2", "--replication", "1"); code != exitOK {
				t.Fatalf("%d\n%s", code, out)
			}
			for _, topic := range []string{".in", ".out"} {
				s.CreateTopic(t, c.prefix+topic, 1)
			}
			addr, _ := c.serve(t, doc)
			waitReady(t, addr)
			pass(t, s, "pass", c.prefix+".in", c.prefix+".out")
			if out, code := c.run(t, doctor...); code != exitOK || !strings.Contains(out, `" is Stable: `) || !strings.Contains(out, "positions are kept for") {
				t.Errorf("%d\n%s", code, out)
			}
			if out, code := c.run(t, "settings"); code != exitOK || !strings.Contains(out, s.CA) {
				t.Errorf("%d\n%s", code, out)
			}
		})
	}
}

// pass writes an event of a type to a topic, and waits for what becomes of it on another.
func pass(t *testing.T, s *kafkatest.Secured, kind, in, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	k, err := kafka.Open(&kafka.Cluster{Brokers: s.Brokers()}, "test", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p := k.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	event := kafka.Record{
		Value:   fmt.Appendf(nil, `{"specversion":"1.0","id":"1","source":"/test","type":%q,"data":"hello"}`, kind),
		Headers: []kafka.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
	}
	if _, err := p.Write(ctx, in, 0, event); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := k.Fetch(ctx, kafka.Fetch{Topic: out})
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Records) == 1 {
			return
		}
	}
}

// TestSecuredExample runs what deploy/README.md shows, with the rights that it names.
func TestSecuredExample(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	page, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	const password = "open-sesame-example"
	user := s.User(t, password)
	dir := t.TempDir()
	for file, text := range map[string]string{
		"password":      password,
		"settings.yaml": example(t, page, "settings.yaml", "kafka-1:9093,kafka-2:9093", s.SASLSSL, "/etc/onward/ca.pem", s.CA, "username: onward", "username: "+user, "/etc/onward-secret/kafka-password", filepath.Join(dir, "password")),
		"orders.yaml":   example(t, page, "documents/orders.yaml", "other-1:9093", s.SASLSSL, "/etc/onward/ca.pem", s.CA, "username: onward", "username: "+user),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read, write, describe, configs := segmentio.ACLOperationTypeRead, segmentio.ACLOperationTypeWrite, segmentio.ACLOperationTypeDescribe, segmentio.ACLOperationTypeDescribeConfigs
	remove, create := segmentio.ACLOperationTypeDelete, segmentio.ACLOperationTypeCreate
	c := &visitor{s: s, principal: "User:" + user, secret: "open-sesame", prefix: "onward", env: []string{"OTHER_PASSWORD=" + password}}
	s.Allow(t, c.principal, segmentio.ResourceTypeTopic, "onward.*", read, write, describe, configs, remove, create)
	s.Allow(t, c.principal, segmentio.ResourceTypeGroup, "onward", read)
	s.Allow(t, c.principal, segmentio.ResourceTypeTopic, "orders", read)
	s.Allow(t, c.principal, segmentio.ResourceTypeGroup, "onward-orders", read)
	s.Allow(t, c.principal, segmentio.ResourceTypeTopic, "shipments", write)
	s.CreateTopic(t, "orders", 1)
	s.CreateTopic(t, "shipments", 1)
	settings, doc := []string{"--settings", filepath.Join(dir, "settings.yaml")}, filepath.Join(dir, "orders.yaml")
	if out, code := c.run(t, append([]string{"kafka", "init", "--partitions", "2", "--replication", "1"}, settings...)...); code != exitOK {
		t.Fatalf("%d\n%s", code, out)
	}
	addr, _ := c.serve(t, append(settings, doc)...)
	waitReady(t, addr)
	pass(t, s, "com.example.order", "orders", "shipments")
	if out, code := c.run(t, append([]string{"doctor", "--listen", addr, doc}, settings...)...); code != exitOK {
		t.Errorf("%d\n%s", code, out)
	}
}

// example cuts a file out of a page, and replaces texts that it has by others.
func example(t *testing.T, page []byte, name string, replace ...string) string {
	t.Helper()
	_, after, found := strings.Cut(string(page), "```yaml\n# "+name)
	text, _, ended := strings.Cut(after, "```")
	if !found || !ended {
		t.Fatalf("the page has no %s", name)
	}
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s has no %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return "#" + text
}

// TestSecuredRefuses: what is wrong with how a router comes is said within seconds, with the cure.
func TestSecuredRefuses(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	c := bySCRAM(t, s)
	s.Allow(t, c.principal, segmentio.ResourceTypeTopic, c.prefix+".*", segmentio.ACLOperationTypeAll)
	if out, code := c.run(t, "kafka", "init", "--partitions", "2", "--replication", "1"); code != exitOK {
		t.Fatalf("%d\n%s", code, out)
	}
	s.CreateTopic(t, c.prefix+".in", 1)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("no-sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := c.document(t)
	serve := []string{"serve", doc, "--listen", "127.0.0.1:0", "--data", t.TempDir()}
	stranger := *c
	stranger.source = strings.Replace(c.source, c.password, wrong, 1)
	for name, x := range map[string]struct {
		args []string
		env  []string
		code int
		want string
	}{
		"password of the journal": {serve, []string{"ONWARD_KAFKA_SASL_PASSWORD_FILE=" + wrong}, exitUsage, "; check sasl.username, and the password that sasl.password names"},
		"password at init":        {[]string{"kafka", "init"}, []string{"ONWARD_KAFKA_SASL_PASSWORD_FILE=" + wrong}, exitRun, "; check sasl.username, and the password that sasl.password names"},
		"password at the doctor":  {[]string{"doctor", "--listen", "127.0.0.1:0"}, []string{"ONWARD_KAFKA_SASL_PASSWORD_FILE=" + wrong}, exitRun, "; check sasl.username, and the password that sasl.password names"},
		"password of the source":  {[]string{"serve", stranger.document(t), "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--journal", "file"}, nil, exitRun, "; check sasl.username, and the password that sasl.password names"},
		"no password":             {serve, []string{"ONWARD_KAFKA_SASL_PASSWORD_FILE=" + wrong + "er"}, exitUsage, "no such file or directory"},
		"authority":               {serve, []string{"ONWARD_KAFKA_TLS_CA=", "ONWARD_KAFKA_TLS_ENABLED=true"}, exitUsage, "; set tls.ca to the authority of the brokers' certificates"},
		"port":                    {serve, []string{"ONWARD_KAFKA_BROKERS=" + s.SASL}, exitUsage, "; the listener may not encrypt: leave tls out, or name another listener's port"},
		"group of the source":     {append(serve, "--journal", "file", "--data", t.TempDir()), nil, exitRun, "; give this user the right on the group (ACL)"},
		"group of the journal":    {append(serve, "--data", t.TempDir()), nil, exitRun, "; give this user the right on the group (ACL)"},
		"group at the doctor":     {[]string{"doctor", "--listen", "127.0.0.1:0"}, nil, exitRun, "; give this user the right on the group (ACL)"},
		"plain in the clear": {[]string{"doctor", "--listen", "127.0.0.1:0"}, []string{"ONWARD_KAFKA_BROKERS=" + s.SASL, "ONWARD_KAFKA_TLS_CA=", "ONWARD_KAFKA_SASL_MECHANISM=plain"},
			exitRun, "plain sends the password itself, and without TLS whoever is on the way reads it; set kafka.tls.enabled or kafka.tls.ca"},
		"in the clear": {[]string{"doctor", "--listen", "127.0.0.1:0"}, []string{"ONWARD_KAFKA_BROKERS=" + s.SASL, "ONWARD_KAFKA_TLS_CA="}, exitRun, "; set kafka.tls.enabled or kafka.tls.ca, and name the port of a listener with TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := *c
			c.env = append(slices.Clone(c.env), x.env...)
			out, code := c.run(t, x.args...)
			if code != x.code || !strings.Contains(out, x.want) || strings.Contains(out, "no-sesame") {
				t.Errorf("it exits with %d, and %d is due\n%s\nwant %s", code, x.code, out, x.want)
			}
		})
	}
}

// TestRenewedPasswordOfRouters changes the password under routers at work. They go on, and join the group again with what the file has by then.
func TestRenewedPasswordOfRouters(t *testing.T) {
	t.Parallel()
	s := kafkatest.Secure(t)
	c := bySCRAM(t, s)
	c.allow(t)
	if out, code := c.run(t, "kafka", "init", "--partitions", "2", "--replication", "1"); code != exitOK {
		t.Fatalf("%d\n%s", code, out)
	}
	for _, topic := range []string{".in", ".out"} {
		s.CreateTopic(t, c.prefix+topic, 1)
	}
	first, log := c.serve(t, c.document(t))
	owns(t, first, 2)
	pass(t, s, "pass", c.prefix+".in", c.prefix+".out") // The source has joined its group, too.
	s.SetPassword(t, strings.TrimPrefix(c.principal, "User:"), "open-sesame-next")
	fresh := *c
	fresh.password = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(fresh.password, []byte("open-sesame-next\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh.source = strings.Replace(c.source, c.password, fresh.password, 1)
	fresh.env = append(slices.Clone(c.env), "ONWARD_KAFKA_SASL_PASSWORD_FILE="+fresh.password)
	second, _ := fresh.serve(t, fresh.document(t)) // It makes the first one join again.
	awaitLine(t, log, "the group cannot be joined now", "SASL Authentication Failed")
	if err := os.WriteFile(c.password, []byte("open-sesame-next\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	owns(t, first, 1)
	owns(t, second, 1)
}

// awaitLine waits until a file has a line with both texts.
func awaitLine(t *testing.T, path, a, b string) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, a) && strings.Contains(line, b) {
				return
			}
		}
	}
	t.Fatalf("no line has %q and %q", a, b)
}

// owns waits until a router owns so many partitions.
func owns(t *testing.T, addr string, n int) {
	t.Helper()
	want := fmt.Sprintf("\nonward_journal_partitions %d\n", n)
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if strings.Contains(string(b), want) {
			return
		}
	}
	t.Fatalf("%s does not come to own %d partitions", addr, n)
}
