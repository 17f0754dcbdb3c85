package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/twmb/franz-go/pkg/kgo"
)

// One document has what both modes share, the other is there for each mode.
const (
	foreignSources = `version: 1
sources:
  orders: { kafka: { topics: PREFIX.orders, group: PREFIX.orders } }
  done: { kafka: { topics: PREFIX.done, group: PREFIX.done } }
`
	foreignFlow = `version: 1
functions:
  price-MODE: { kafka: { topic: PREFIX.price.MODE, mode: MODE }, timeout: 60s, retry: { attempts: 2, backoff: 10ms } }
  label-MODE: { kafka: { topic: PREFIX.label.MODE, mode: MODE, key: "${ data.customer }" }, timeout: 60s }
  invoice-MODE: { kafka: { topic: PREFIX.invoice.MODE, mode: MODE, compression: lz4 }, timeout: 60s }
triggers:
  MODE:
    filters: [{ exact: { type: com.example.ordered.MODE } }]
    flow:
      sequence:
        - map: { items: "${ data.parts }", as: n, do: { function: price-MODE, input: "${ {'order': event.id, 'customer': data.customer, 'n': n} }" } }
        - map: { items: "${ previous }", as: part, do: { function: label-MODE, input: "${ part }" } }
        - { function: invoice-MODE, deadline: 10m, input: "${ {'order': event.id, 'customer': data.customer, 'parts': previous} }" }
    onSuccess:
      - kafka: { topic: PREFIX.invoiced.MODE, mode: MODE, key: "${ data.customer }" }
      - http: { url: "URL", mode: MODE }
`
)

var foreignModes = []string{"binary", "structured"}

// foreignParts is the number of parts of each order; the second of them is priced twice.
const foreignParts = 4

// A foreign is a broker, a router, and functions behind topics that are clients of other makers.
type foreign struct {
	t        *testing.T
	ctx      context.Context
	brokers  *kafkatest.Cluster
	prefix   string
	kcat     *tooltest.Tool
	producer *kgo.Client

	giveUp func()
	addr   string // the router's

	mu      sync.Mutex
	posts   []posted  // what has come over HTTP
	printed []message // the invocations that kcat has shown
}

// A posted is an event as it comes over HTTP.
type posted struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func (g *foreign) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Error(err)
	}
	p := posted{Headers: make(map[string]string), Body: string(body)}
	for name, values := range r.Header {
		p.Headers[strings.ToLower(name)] = values[0]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.posts = append(g.posts, p)
}

// TestForeign: from topic to topic through the whole router, with the journal on the same Kafka. The orders come from kcat, confluent_kafka and franz-go;
// the functions are confluent_kafka, kcat and franz-go; franz-go and cloudevents of npm read what the router has written. In both modes of the binding.
func TestForeign(t *testing.T) {
	t.Parallel()
	python, node := kafkatest.Python(t), kafkatest.Node(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	g := &foreign{t: t, ctx: ctx, giveUp: cancel, brokers: kafkatest.Start(t, 1), prefix: fmt.Sprint("foreign.", os.Getpid()), kcat: kafkatest.Kcat(t)}
	var err error
	if g.producer, err = kgo.NewClient(kgo.SeedBrokers(g.brokers.Brokers()...), kgo.ProducerLinger(0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.producer.Close)
	g.topics()
	g.router()
	g.workPython(python)
	g.workKcat()
	g.workGo()
	for _, mode := range foreignModes {
		if err := errors.Join(g.produceKcat(g.order(mode, "kcat")), g.producePython(python, g.order(mode, "python")), g.produceGo(g.order(mode, "go"))); err != nil {
			t.Fatal(err)
		}
	}
	records := make(map[string][]*kgo.Record)
	for _, mode := range foreignModes {
		g.until(mode+" invoices", 3, func() int { return len(g.read(g.topic("invoiced", mode))) })
		for _, name := range []string{"price", "label", "invoice", "invoiced"} {
			records[name+"-"+mode] = g.read(g.topic(name, mode))
		}
	}
	g.until("events over HTTP", 3*len(foreignModes), func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.posts)
	})
	g.judge(records)
	g.judgeParked()
	g.judgeNode(node, records)
}

func (g *foreign) topic(name, mode string) string { return g.prefix + "." + name + "." + mode }

func (g *foreign) topics() {
	for _, mode := range foreignModes {
		for _, name := range []string{"price", "label", "invoice", "invoiced"} {
			g.brokers.CreateTopic(g.t, g.topic(name, mode), 3)
		}
	}
	g.brokers.CreateTopic(g.t, g.prefix+".orders", 3)
	g.brokers.CreateTopic(g.t, g.prefix+".done", 3)
}

// router runs the router's program until the test ends.
func (g *foreign) router() {
	g.t.Helper()
	web := httptest.NewServer(g)
	g.t.Cleanup(web.Close)
	documents := g.t.TempDir()
	for name, text := range map[string]string{"sources": foreignSources, "binary": foreignFlow, "structured": foreignFlow} {
		text = strings.NewReplacer("PREFIX", g.prefix, "MODE", name, "URL", web.URL).Replace(text)
		if err := os.WriteFile(filepath.Join(documents, name+".yaml"), []byte(text), 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
	child := func(args ...string) *exec.Cmd {
		c := exec.Command(os.Args[0], append(args, "--kafka-brokers", strings.Join(g.brokers.Brokers(), ","), "--kafka-prefix", g.prefix)...)
		c.Env = append(os.Environ(), childVariable+"=1", kafka.BrokersVariable+"="+strings.Join(g.brokers.Brokers(), ","))
		c.Stderr = os.Stderr
		return c
	}
	if err := child("kafka", "init", "--partitions", "4", "--replication", "1").Run(); err != nil {
		g.t.Fatal(err)
	}
	g.addr = tooltest.Address()
	serve := child("serve", documents, "--journal", "kafka", "--listen", g.addr, "--data", g.t.TempDir(), "--log-level", "error", "--drain", "1s")
	if err := serve.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
			g.t.Error(err)
		}
		if err := serve.Wait(); err != nil {
			g.t.Errorf("the router: %v", err)
		}
	})
	waitReady(g.t, g.addr)
}

// order is an order's message, as a client sends it.
func (g *foreign) order(mode, client string) message {
	parts := make([]string, foreignParts)
	for i := range parts {
		parts[i] = fmt.Sprint(i + 1)
	}
	id := client + "-" + mode
	return encode(g.prefix+".orders", mode, map[string]string{
		"specversion": "1.0", "id": id, "source": "/shops/" + client, "type": "com.example.ordered." + mode, "partitionkey": customerOf(id),
	}, fmt.Sprintf(`{"customer":%q,"parts":[%s]}`, customerOf(id), strings.Join(parts, ",")))
}

// customerOf has two orders of one customer, and one of another.
func customerOf(order string) string {
	if strings.HasPrefix(order, "go-") {
		return "Größe & Söhne"
	}
	return "kunde-✓"
}

// until waits until there are so many.
func (g *foreign) until(what string, n int, count func() int) {
	g.t.Helper()
	for {
		found := count()
		if found >= n {
			return
		}
		select {
		case <-g.ctx.Done():
			g.t.Fatalf("%d of %d %s", found, n, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// read returns what a topic has now, by partition and offset, as franz-go sees it.
func (g *foreign) read(topic string) []*kgo.Record {
	g.t.Helper()
	k, err := kafka.Open(&kafka.Cluster{Brokers: g.brokers.Brokers()}, "test", kafka.Limits{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer k.Close()
	want := 0
	for p := range 3 {
		_, last, err := k.Range(g.ctx, topic, p)
		if err != nil {
			g.t.Fatal(err)
		}
		want += int(last)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(g.brokers.Brokers()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		g.t.Fatal(err)
	}
	defer reader.Close()
	var out []*kgo.Record
	for len(out) < want {
		fetched := reader.PollFetches(g.ctx)
		if err := fetched.Err(); err != nil {
			g.t.Fatal(err)
		}
		out = append(out, fetched.Records()...)
	}
	slices.SortStableFunc(out, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return out
}

// A message is a record as the clients hand it to each other.
type message struct {
	Topic   string            `json:"topic"`
	Key     string            `json:"key"`
	Headers map[string]string `json:"headers"`
	Value   string            `json:"value"`
}

func messageOf(r *kgo.Record) message {
	m := message{Topic: r.Topic, Key: string(r.Key), Headers: make(map[string]string), Value: string(r.Value)}
	for _, h := range r.Headers {
		m.Headers[h.Key] = string(h.Value)
	}
	return m
}

// encode writes an event of JSON by the text of the Kafka binding 1.0; its key is the partitionkey.
func encode(topic, mode string, attributes map[string]string, data string) message {
	m := message{Topic: topic, Key: attributes["partitionkey"], Headers: map[string]string{"content-type": "application/json"}, Value: data}
	if mode == "binary" {
		for name, v := range attributes {
			m.Headers["ce_"+name] = v
		}
		return m
	}
	fields := map[string]any{"data": json.RawMessage(data)}
	for name, v := range attributes {
		fields[name] = v
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // Texts, and data that a test has written.
	}
	m.Headers["content-type"], m.Value = "application/cloudevents+json; charset=utf-8", string(b)
	return m
}

// decode reads an event by the text of the binding: its attributes as texts, and its data.
func (m message) decode() (attributes map[string]string, data string, err error) {
	attributes = make(map[string]string)
	if m.mode() == "structured" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(m.Value), &fields); err != nil {
			return nil, "", err
		}
		data = string(fields["data"])
		delete(fields, "data")
		return texts(fields), data, nil
	}
	for name, v := range m.Headers {
		if attribute, ok := strings.CutPrefix(name, "ce_"); ok {
			attributes[attribute] = v
		}
	}
	attributes["datacontenttype"] = m.Headers["content-type"]
	return attributes, m.Value, nil
}

// texts takes values of JSON as texts.
func texts(fields map[string]json.RawMessage) map[string]string {
	out := make(map[string]string)
	for name, raw := range fields {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		out[name] = s
	}
	return out
}

func (m message) mode() string {
	if strings.HasPrefix(m.Headers["content-type"], "application/cloudevents+json") {
		return "structured"
	}
	return "binary"
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
