package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A collector keeps what is posted to it.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		if q.URL.Path == "/v1/traces" {
			c.got.Write(b)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) has(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.got.Bytes(), []byte(text))
}

// TestRunIsTraced as serve's runs are, where the environment names a collector.
func TestRunIsTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	doc := filepath.Join(t.TempDir(), "doc.yaml")
	if err := os.WriteFile(doc, []byte("version: 1\nfunctions: { parent: { exec: [sh, -c, 'printf \"\\\"$TRACEPARENT\\\"\"'] } }\ntriggers: { shown: { flow: { function: parent } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(env ...string) (string, error) {
		child := exec.Command(os.Args[0], "run", doc)
		child.Env = append(append(os.Environ(), childVariable+"=1"), env...)
		out, err := child.Output()
		return strings.TrimSpace(string(out)), err
	}
	out, err := run("OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL)
	if err != nil || !strings.HasPrefix(out, "00-") || !c.has("shown") || !c.has("call parent") {
		t.Errorf("%q, %v; the collector has the run: %v, the call: %v", out, err, c.has("shown"), c.has("call parent"))
	}
	if out, err := run(); err != nil || out != "" {
		t.Errorf("without a collector: %q, %v", out, err)
	}
	if _, err := run("ONWARD_TRACES_ENDPOINT=nowhere"); err == nil {
		t.Error("an endpoint that is none is taken")
	}
}

// TestTraceContextGoesThroughKafka: what stands in a record's headers is the run's parent, and a record that goes out says the same, or the span that it is of.
func TestTraceContextGoesThroughKafka(t *testing.T) {
	t.Parallel()
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c := kafkatest.Fake(t, 1)
	for _, traced := range []bool{false, true} {
		in, out := c.Topic(t, 1), c.Topic(t, 1)
		dir := t.TempDir()
		doc := filepath.Join(dir, "doc.yaml")
		text := fmt.Sprintf("version: 1\nsources: { in: { kafka: { topics: [%q], group: g-%[1]s, start: earliest } } }\ntriggers: { passes: { filters: [{ exact: { type: t } }], flow: { pass: '${ data }' }, onSuccess: { kafka: { topic: %q } } } }\n", in, out)
		if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		addr := tooltest.Address()
		child := exec.Command(os.Args[0], "serve", doc, "--listen", addr, "--data", filepath.Join(dir, "data"), "--kafka-brokers", strings.Join(c.Brokers(), ","), "--durability", "os", "--disk-low-water", "1", "--log-level", "error")
		child.Env, child.Stderr = append(os.Environ(), childVariable+"=1"), os.Stderr
		far := newCollector(t)
		if traced {
			child.Env = append(child.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+far.URL)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
		waitReady(t, addr)
		client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumeTopics(out))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		r := &kgo.Record{Topic: in, Value: []byte("7")}
		for _, h := range [][2]string{{"ce_specversion", "1.0"}, {"ce_id", "1"}, {"ce_source", "/s"}, {"ce_type", "t"}, {"content-type", "application/json"}, {"traceparent", parent}, {"tracestate", "a=1"}} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil || fetched.NumRecords() == 0 {
			t.Fatal(fetched.NumRecords(), err)
		}
		got := make(map[string]string)
		for _, h := range fetched.Records()[0].Headers {
			got[h.Key] = string(h.Value)
		}
		is := got["traceparent"]
		if got["tracestate"] != "a=1" || !traced && is != parent || traced && (!strings.HasPrefix(is, "00-"+trace+"-") || is == parent) {
			t.Errorf("traced %v: %v", traced, got)
		}
	}
}
