package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	sinkkafka "github.com/onward-router/onward/sinks/kafka"
	"github.com/onward-router/onward/sinks/sinktest"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// settings reads them as a document has them.
func settings(t *testing.T, doc string) *sinkkafka.Settings {
	t.Helper()
	n, err := lang.ParseJSONNode([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	s := new(sinkkafka.Settings)
	if findings := lang.Decode(n, s, new(plugin.Registry)); len(findings) > 0 {
		t.Fatal(findings)
	}
	return s
}

// consume reads a whole topic with another client.
func consume(t *testing.T, c *kafkatest.Cluster, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { out = append(out, r) })
	}
	more, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	cl.PollFetches(more).EachRecord(func(r *kgo.Record) { out = append(out, r) })
	if len(out) != n {
		t.Fatalf("%d records, want %d", len(out), n)
	}
	return out
}

// parse reads an event out of a record, by the binding's text alone.
func parse(t *testing.T, r *kgo.Record) (attributes map[string]string, data string) {
	t.Helper()
	headers := make(map[string]string)
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	attributes = make(map[string]string)
	if strings.HasPrefix(headers["content-type"], "application/cloudevents+json") {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(r.Value, &doc); err != nil {
			t.Fatal(err)
		}
		for name, raw := range doc {
			if name == "data" {
				data = string(raw)
				continue
			}
			var s string
			if json.Unmarshal(raw, &s) != nil {
				s = string(raw)
			}
			attributes[name] = s
		}
		return attributes, data
	}
	for name, v := range headers {
		if ce, ok := strings.CutPrefix(name, "ce_"); ok {
			attributes[ce] = v
		} else if name == "content-type" {
			attributes["datacontenttype"] = v
		}
	}
	return attributes, string(r.Value)
}

func TestLaws(t *testing.T) {
	for _, mode := range []string{"binary", "structured"} {
		t.Run(mode, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				Behaviours: []sinktest.Behaviour{sinktest.Accept, sinktest.Refuse},
				New: func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End {
					fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
					if err != nil {
						t.Fatal(err)
					}
					topic := "out"
					if b == sinktest.Refuse {
						topic = "is not there"
					}
					s, err := sinkkafka.New("f", settings(t, fmt.Sprintf(`{"topic": %q, "brokers": %q, "mode": %q}`, topic, fake.ListenAddrs()[0], mode)), h)
					if err != nil {
						t.Fatal(err)
					}
					var mu sync.Mutex
					var arrived []sinktest.Arrival
					cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(20*time.Millisecond))
					if err != nil {
						t.Fatal(err)
					}
					poll := func() {
						ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
						defer cancel()
						cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
							attributes, data := parse(t, r)
							arrived = append(arrived, sinktest.Arrival{ID: attributes["id"], Raw: fmt.Sprint(r.Headers, string(r.Key), string(r.Value)), Attributes: attributes, Data: data})
						})
					}
					return sinktest.End{Sink: s, Arrived: func() []sinktest.Arrival {
						mu.Lock()
						defer mu.Unlock()
						for n := -1; n < len(arrived); poll() {
							n = len(arrived)
						}
						return slices.Clone(arrived)
					}, Close: func() {
						cl.Close()
						fake.Close()
					}}
				},
			})
		})
	}
}

// deliver sends an event and returns what became of it.
func deliver(t *testing.T, s sinks.Sink, e *event.Event) sinks.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	got := make(chan sinks.Result, 1)
	s.Deliver(ctx, []*sinks.Delivery{{Context: ctx, Outgoing: envelope.Made(e), Function: "f", Invoke: true, Attempt: 1, Done: func(r sinks.Result) { got <- r }}})
	return <-got
}

func newEvent(id, data string) *event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType("com.example.test")
	e.SetExtension("partitionkey", "key-"+id)
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(data))
	return &e
}

func open(t *testing.T, doc string) sinks.Sink {
	t.Helper()
	s, err := sinkkafka.New("f", settings(t, doc), sinks.Host{Concurrency: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestKeysTopicsOrder: keys lie where Java's clients put them, expressions choose topic and key, and events of one key keep their order.
func TestKeysTopicsOrder(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		plain, chosen := c.Topic(t, 5), c.Topic(t, 3)
		s := open(t, fmt.Sprintf(`{"topic": %q, "brokers": %q, "headers": {"x-more": "said"}}`, plain, c.Brokers()[0]))
		for i := range 20 {
			if r := deliver(t, s, newEvent(fmt.Sprint(i), "1")); r.Verdict != sinks.Accepted {
				t.Fatal(r.Err)
			}
		}
		partitioner := kgo.StickyKeyPartitioner(nil).ForTopic(plain) // As Java's.
		for _, r := range consume(t, c, plain, 20) {
			attributes, _ := parse(t, r)
			if string(r.Key) != "key-"+attributes["id"] || int(r.Partition) != partitioner.Partition(r, 5) || !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "x-more" && string(h.Value) == "said" }) {
				t.Errorf("key %q in partition %d, headers %v", r.Key, r.Partition, r.Headers)
			}
		}
		s = open(t, fmt.Sprintf(`{"topic": "${ data.to }", "key": "${ 'user-' + string(data.user) }", "brokers": %q, "compression": "zstd"}`, c.Brokers()[0]))
		var wait sync.WaitGroup
		for i := range 300 {
			wait.Add(1)
			ctx := context.Background()
			s.Deliver(ctx, []*sinks.Delivery{{Context: ctx, Outgoing: envelope.Made(newEvent(fmt.Sprint(i), fmt.Sprintf(`{"to":%q,"user":%d}`, chosen, i%7))), Done: func(r sinks.Result) {
				defer wait.Done()
				if r.Verdict != sinks.Accepted {
					t.Error(r.Err)
				}
			}}})
		}
		wait.Wait()
		last := make(map[string]int)
		for _, r := range consume(t, c, chosen, 300) {
			attributes, _ := parse(t, r)
			var n int
			_, _ = fmt.Sscan(attributes["id"], &n)
			if before, seen := last[string(r.Key)]; seen && before > n || string(r.Key) != fmt.Sprint("user-", n%7) {
				t.Errorf("key %q: %d after %d", r.Key, n, before)
			}
			last[string(r.Key)] = n
		}
	})
}

// TestRecords holds what is written, in both modes and every compression, against the events: attributes, data, key, no header twice.
func TestRecords(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		for compression, mode := range map[string]string{"none": "binary", "gzip": "structured", "snappy": "binary", "lz4": "structured", "zstd": "binary"} {
			topic := c.Topic(t, 3)
			s := open(t, fmt.Sprintf(`{"topic": %q, "brokers": %q, "mode": %q, "compression": %q}`, topic, c.Brokers()[0], mode, compression))
			sent := make(map[string]*event.Event)
			for i := range 20 {
				e := sinktest.Awkward(fmt.Sprint("größe-", i))
				if e.SetExtension("partitionkey", nil); i%4 > 0 {
					e.SetExtension("partitionkey", fmt.Sprint("kunde-ü-", i))
				}
				sent[e.ID()] = e
				if r := deliver(t, s, e); r.Verdict != sinks.Accepted {
					t.Fatal(r.Err)
				}
			}
			for _, r := range consume(t, c, topic, len(sent)) {
				attributes, data := parse(t, r)
				e := sent[attributes["id"]]
				if e == nil {
					t.Fatalf("%s: %q has arrived twice, or was never sent", mode, attributes["id"])
				}
				delete(sent, attributes["id"])
				if want := sinktest.Attributes(e); !maps.Equal(attributes, want) || data != string(e.Data()) {
					t.Errorf("%s: %v %s\nhas arrived of %v %s", mode, attributes, data, want, e.Data())
				}
				key, has := e.Extensions()["partitionkey"].(string)
				if string(r.Key) != key || has != (r.Key != nil) {
					t.Errorf("the key of %s is %q", e.ID(), r.Key)
				}
				names := make(map[string]bool)
				for _, h := range r.Headers {
					if names[h.Key] || mode == "structured" && h.Key != "content-type" {
						t.Errorf("%s: header %s in %v", mode, h.Key, r.Headers)
					}
					names[h.Key] = true
				}
			}
		}
	})
}

// TestKcat has librdkafka read what is written, and say where its own partitioner of Java's kind puts the keys.
func TestKcat(t *testing.T) {
	t.Parallel()
	kcat, c := kafkatest.Kcat(t), kafkatest.Shared(t)
	topic := c.Topic(t, 5)
	s := open(t, fmt.Sprintf(`{"topic": %q, "brokers": %q, "compression": "zstd"}`, topic, c.Brokers()[0]))
	var input strings.Builder
	for i := range 20 {
		if r := deliver(t, s, newEvent(fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i))); r.Verdict != sinks.Accepted {
			t.Fatal(r.Err)
		}
		fmt.Fprintf(&input, "key-%d\tby kcat\n", i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	produce := kcat.Command(ctx, "-b", c.Brokers()[0], "-t", topic, "-P", "-K", "\t", "-X", "topic.partitioner=murmur2_random")
	produce.Stdin = strings.NewReader(input.String())
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := kcat.Command(ctx, "-b", c.Brokers()[0], "-t", topic, "-C", "-e", "-q", "-J").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := make(map[string]int), make(map[string]int)
	for line := range strings.Lines(string(out)) {
		var r struct {
			Partition    int
			Key, Payload string
			Headers      []string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err, line)
		}
		if r.Payload == "by kcat" {
			theirs[r.Key] = r.Partition
			continue
		}
		ours[r.Key] = r.Partition
		n := strings.TrimPrefix(r.Key, "key-")
		want := "ce_id " + n + " ce_partitionkey " + r.Key + " ce_source /test ce_specversion 1.0 ce_type com.example.test content-type application/json"
		if got := strings.Join(r.Headers, " "); got != want || r.Payload != `{"n":`+n+`}` {
			t.Errorf("kcat reads %s %s\nwant %s", got, r.Payload, want)
		}
	}
	if len(ours) != 20 || !maps.Equal(ours, theirs) {
		t.Errorf("keys lie in\n%v\nand kcat puts them into\n%v", ours, theirs)
	}
}

// TestAmbiguousAnswer: the broker has it, and its answer is lost; it is not there twice.
func TestAmbiguousAnswer(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	topic := c.Topic(t, 1)
	s := open(t, fmt.Sprintf(`{"topic": %q, "brokers": %q}`, topic, c.Brokers()[0]))
	lost := 0
	c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.RequestTimedOut, Count: 2})
	for i := range 5 {
		if r := deliver(t, s, newEvent(fmt.Sprint(i), "1")); r.Verdict != sinks.Accepted {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d were not accepted", lost)
	}
	consume(t, c, topic, 5)
}

// TestErrorsSayWhatToMend: what may pass is tried again, what a person has to mend is final.
func TestErrorsSayWhatToMend(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		small := c.Topic(t, 1, "max.message.bytes", "2000")
		for doc, want := range map[string]string{
			`{"topic": "nobody.made.this", "brokers": "BROKER"}`:        "unknown_topic",
			`{"topic": "` + small + `", "brokers": "BROKER"}`:           "too_large",
			`{"topic": "${ data.missing }", "brokers": "BROKER"}`:       "bad_request",
			`{"topic": "t", "brokers": "BROKER", "key": "${ data.a }"}`: "bad_request",
		} {
			s := open(t, strings.ReplaceAll(doc, "BROKER", c.Brokers()[0]))
			r := deliver(t, s, newEvent("1", `{"text":"`+strings.Repeat("x", 5000)+`"}`))
			if r.Verdict != sinks.Failed || r.Err.Type != want || r.Err.Class != "platform" {
				t.Errorf("%s: %+v", doc, r.Err)
			}
		}
	})
	s := open(t, `{"topic": "t", "brokers": "127.0.0.1:1"}`)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	got := make(chan sinks.Result, 1)
	s.Deliver(ctx, []*sinks.Delivery{{Context: ctx, Outgoing: envelope.Made(newEvent("1", "1")), Done: func(r sinks.Result) { got <- r }}})
	if r := <-got; r.Err == nil || r.Err.Class != "timeout" {
		t.Errorf("no broker: %+v", r)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"topic": "t", "mode": "odd"}`:                "unknown mode",
		`{"topic": "t", "compression": "zip"}`:         "gzip",
		`{"topic": "${ dta.x }"}`:                      `did you mean "data"?`,
		`{"topic": 7}`:                                 "not a text",
		`{"topic": "t", "brokers": "nowhere"}`:         "host:port",
		`{}`:                                           "topic is missing",
		`{"topic": "t", "sasl": {"mechanism": "odd"}}`: "username is missing",
	} {
		n, err := lang.ParseJSONNode([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if findings := fmt.Sprint(lang.Decode(n, new(sinkkafka.Settings), new(plugin.Registry))); !strings.Contains(findings, want) {
			t.Errorf("%s: %s; want %s", doc, findings, want)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	c := kafkatest.Shared(b)
	topic := c.Topic(b, 8)
	s, err := sinkkafka.New("f", &sinkkafka.Settings{Cluster: kafka.Cluster{Brokers: c.Brokers()}, Topic: lang.MustExpr(fmt.Sprintf("%q", topic)), Mode: "binary", Compression: "none"}, sinks.Host{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	e := newEvent("1", `"`+strings.Repeat("x", 1000)+`"`)
	room := make(chan struct{}, 1000)
	for b.Loop() {
		room <- struct{}{}
		s.Deliver(b.Context(), []*sinks.Delivery{{Context: b.Context(), Outgoing: envelope.Made(e), Done: func(r sinks.Result) { <-room }}})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
