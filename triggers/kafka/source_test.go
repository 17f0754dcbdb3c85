package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	triggerkafka "github.com/onward-router/onward/triggers/kafka"
	"github.com/onward-router/onward/triggers/triggertest"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

var serial atomic.Int64

func settings(t testing.TB, doc string) *triggerkafka.Settings {
	t.Helper()
	n, err := lang.ParseJSONNode([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	s := new(triggerkafka.Settings)
	if findings := lang.Decode(n, s, new(plugin.Registry)); len(findings) > 0 {
		t.Fatal(findings)
	}
	s.Session, s.Rebalance = plugin.Duration(2*time.Second), plugin.Duration(3*time.Second)
	return s
}

func source(t testing.TB, doc string) *triggerkafka.Source {
	t.Helper()
	s, err := triggerkafka.New("inbox", settings(t, doc))
	if err != nil {
		t.Fatal(err)
	}
	return s.(*triggerkafka.Source)
}

// record writes an event as a foreign producer would, in one of the modes.
func record(mode, topic, key string, events ...event.Event) []*kgo.Record {
	var out []*kgo.Record
	switch mode {
	case "batched":
		b, _ := json.Marshal(events)
		return []*kgo.Record{{Topic: topic, Key: []byte(key), Value: b, Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents-batch+json")}}}}
	case "structured":
		for i := range events {
			b, _ := json.Marshal(events[i])
			out = append(out, &kgo.Record{Topic: topic, Key: []byte(key), Value: b, Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}})
		}
		return out
	}
	for i := range events {
		e := &events[i]
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: e.Data()}
		add := func(name, v string) {
			if v != "" {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
			}
		}
		add("ce_specversion", "1.0")
		add("ce_id", e.ID())
		add("ce_source", e.Source())
		add("ce_type", e.Type())
		add("ce_subject", e.Subject())
		add("ce_dataschema", e.DataSchema())
		add("content-type", e.DataContentType())
		if !e.Time().IsZero() {
			add("ce_time", types.FormatTime(e.Time()))
		}
		for name, v := range e.Extensions() {
			text, _ := types.Format(v)
			add("ce_"+name, text)
		}
		out = append(out, r)
	}
	return out
}

// A far is who produces, and what can be seen of the group.
type far struct {
	t        testing.TB
	producer *kgo.Client
	client   *kafka.Client
	topic    string
	group    string

	mu     sync.Mutex
	places map[string]*kgo.Record // by event id
	wait   sync.WaitGroup
}

func newFar(t testing.TB, c *kafkatest.Cluster, partitions int) *far {
	t.Helper()
	f := &far{t: t, topic: c.Topic(t, partitions), group: fmt.Sprintf("g%d-%d", os.Getpid(), serial.Add(1)), places: make(map[string]*kgo.Record)}
	var err error
	if f.producer, err = kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ProducerLinger(0)); err != nil {
		t.Fatal(err)
	}
	if f.client, err = kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "far", kafka.Limits{}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *far) close() {
	f.wait.Wait()
	f.producer.Close()
	f.client.Close()
}

func (f *far) send(mode, key string, events ...event.Event) {
	records := record(mode, f.topic, key, events...)
	for i, r := range records {
		f.wait.Add(1)
		f.producer.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			defer f.wait.Done()
			if err != nil {
				f.t.Error(err)
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(records) == len(events) {
				f.places[events[i].ID()] = r
				return
			}
			for k := range events { // A batch is one record.
				f.places[events[k].ID()] = r
			}
		})
	}
}

// committed reports whether the group has committed beyond an event's record.
func (f *far) committed(id string) bool {
	f.mu.Lock()
	r := f.places[id]
	f.mu.Unlock()
	if r == nil {
		return false
	}
	had, err := f.client.Committed(context.Background(), f.group, f.topic, int(r.Partition))
	return err == nil && had[int(r.Partition)].Offset > r.Offset
}

func TestLaws(t *testing.T) {
	for _, mode := range []string{"binary", "structured", "batched"} {
		t.Run(mode, func(t *testing.T) {
			triggertest.Run(t, triggertest.Harness{New: func(t *testing.T) triggertest.End {
				fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(3, "in"))
				if err != nil {
					t.Fatal(err)
				}
				f := &far{t: t, topic: "in", group: "g", places: make(map[string]*kgo.Record)}
				if f.producer, err = kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.ProducerLinger(0)); err != nil {
					t.Fatal(err)
				}
				if f.client, err = kafka.Open(&kafka.Cluster{Brokers: fake.ListenAddrs()}, "far", kafka.Limits{}); err != nil {
					t.Fatal(err)
				}
				s := source(t, fmt.Sprintf(`{"topics": "in", "group": "g", "brokers": %q}`, fake.ListenAddrs()[0]))
				return triggertest.End{
					Source: s, Open: func(triggers.Admit) {},
					Send: func(key string, events ...event.Event) { f.send(mode, key, events...) },
					Garbage: func(key string) {
						f.producer.Produce(context.Background(), &kgo.Record{Topic: "in", Key: []byte(key), Value: []byte("no event")}, nil)
					},
					Told: func(id string) triggertest.Told {
						f.mu.Lock()
						r := f.places[id]
						f.mu.Unlock()
						if r == nil {
							return triggertest.Nothing
						}
						for _, p := range s.Parked() {
							if p.Place == fmt.Sprintf("in/%d/%d", r.Partition, r.Offset) && (mode != "batched" || slices.Contains([]string{"invalid", "large", "unwanted"}, id)) {
								return triggertest.Refused
							}
						}
						if f.committed(id) {
							return triggertest.Acknowledged
						}
						return triggertest.Nothing
					},
					Close: func() {
						f.close()
						fake.Close()
					},
				}
			}})
		})
	}
}

func newEvent(id, kind string) event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType(kind)
	if strings.HasPrefix(kind, "dev.onward.function.") {
		e.SetExtension("causationid", "2k1cq175cb6ce2n6ty45nybab4~f.1")
	}
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(`{"n":1}`))
	return e
}

// A taker is the router's side: it keeps what it got, by partition order of ids.
type taker struct {
	mu   sync.Mutex
	seen []string
	fate func(e *event.Event) error
}

func (k *taker) admit(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]triggers.Receipt, len(events))
	for i := range events {
		out[i].Kind = triggers.Matched
		if k.fate != nil {
			out[i].Err = k.fate(&events[i])
		}
		if out[i].Err == nil {
			k.seen = append(k.seen, events[i].ID())
		}
	}
	return out, nil
}

func (k *taker) ids() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.seen)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// run lets a source read until the returned function is called.
func run(t *testing.T, s *triggerkafka.Source, admit triggers.Admit) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx, admit) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ran:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestMembersComeAndGo: every event is taken, in the order of its key, whoever reads; what was not committed is read again.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 4)
		defer f.close()
		k := new(taker)
		doc := fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])
		members := []func(){run(t, source(t, doc), k.admit)}
		rng := rand.New(rand.NewPCG(1, 2))
		const n, keys = 400, 7
		for i := range n {
			f.send("binary", fmt.Sprint("key-", i%keys), newEvent(fmt.Sprintf("%d/%d", i%keys, i), "t"))
			if i%100 == 50 {
				members = append(members, run(t, source(t, doc), k.admit))
			}
			if i%150 == 149 {
				members[rng.IntN(len(members)-1)]()
			}
			time.Sleep(2 * time.Millisecond) // So that there is something to read while they come and go.
		}
		eventually(t, "all events", func() bool {
			ids := k.ids()
			slices.Sort(ids)
			return len(slices.Compact(ids)) == n
		})
		last := make(map[string]int)
		seen := make(map[string]bool)
		for _, id := range k.ids() {
			key, _, _ := strings.Cut(id, "/")
			var i int
			_, _ = fmt.Sscanf(id, key+"/%d", &i)
			if !seen[id] && i < last[key] {
				t.Errorf("key %s: %d came first after %d", key, i, last[key])
			}
			seen[id] = true
			last[key] = max(last[key], i)
		}
		t.Logf("%d events were handed over %d times", n, len(k.ids()))
	})
}

func each(t *testing.T, f func(t *testing.T, c *kafkatest.Cluster)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		f(t, kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second)))
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		f(t, kafkatest.Shared(t))
	})
}

// TestNothingIsCommittedBeforeItIsTaken: a reader dies while it hands over, and the next one reads the same.
func TestNothingIsCommittedBeforeItIsTaken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		doc := fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])
		handed := make(chan struct{}, 10)
		stop := run(t, source(t, doc), func(context.Context, []event.Event) ([]triggers.Receipt, error) {
			handed <- struct{}{}
			return nil, errors.New("the router has gone")
		})
		f.send("binary", "k", newEvent("precious", "t"))
		<-handed
		stop()
		if f.committed("precious") {
			t.Error("committed though nobody took it")
		}
		k := new(taker)
		run(t, source(t, doc), k.admit)
		eventually(t, "the event", func() bool { return slices.Contains(k.ids(), "precious") })
	})
}

// TestUnfitRecords are parked, skipped or buried, and block nothing; plain records become events by a mapping.
func TestUnfitRecords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		dead := c.Topic(t, 1)
		bad := []*kgo.Record{
			{Value: []byte("plain text")}, {Value: nil}, {Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("0.3")}}},
			{Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("\xff")}}},
			{Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json")}}, Value: []byte("{")},
			{Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents-batch+json")}}, Value: []byte("{}")},
		}
		for _, r := range bad {
			r.Topic = f.topic
			if err := f.producer.ProduceSync(context.Background(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		f.send("structured", "k", newEvent("good", "t"))
		for _, word := range []string{`"park"`, `"skip"`, fmt.Sprintf(`{"deadletter": %q}`, dead)} {
			k := new(taker)
			s := source(t, fmt.Sprintf(`{"topics": %q, "group": "%s-%d", "brokers": %q, "onInvalid": %s}`, f.topic, f.group, serial.Add(1), c.Brokers()[0], word))
			run(t, s, k.admit)
			eventually(t, "the event behind them", func() bool { return slices.Equal(k.ids(), []string{"good"}) })
			if n := len(s.Parked()); word == `"park"` && n != len(bad) || word != `"park"` && n != 0 {
				t.Errorf("%s: %d parked", word, n)
			}
		}
		_, last, err := f.client.Range(context.Background(), dead, 0)
		if err != nil || last != int64(len(bad)) {
			t.Errorf("%d dead letters, %v", last, err)
		}
		k := new(taker)
		run(t, source(t, fmt.Sprintf(`{"topics": "/%s.*/", "group": "%s-as", "brokers": %q, "as": {"type": "${ 'plain.' + string(partition) }"}}`, f.topic, f.group, c.Brokers()[0])), k.admit)
		eventually(t, "the plain records", func() bool { return slices.Contains(k.ids(), fmt.Sprintf("%s-0-0", f.topic)) })
	})
}

// TestTransactions: records of aborted transactions are no events, nor are the markers at transactions' ends; the group's position passes them.
func TestTransactions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		k := new(taker)
		s := source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0]))
		run(t, s, k.admit)
		p, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.TransactionalID(f.topic))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for i := range 6 {
			if err := p.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := p.ProduceSync(ctx, record("binary", f.topic, "k", newEvent(fmt.Sprint(i), "t"))...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := p.EndTransaction(ctx, kgo.TransactionEndTry(i%2 == 0)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the commit past the last marker", func() bool {
			had, err := f.client.Committed(ctx, f.group, f.topic, 0)
			return err == nil && had[0].Offset == 12
		})
		if got := k.ids(); !slices.Equal(got, []string{"0", "2", "4"}) || len(s.Parked()) != 0 {
			t.Errorf("%v were taken, %d are parked", got, len(s.Parked()))
		}
	})
}

// TestForeignProducer: what kcat sends, in both modes and every compression that it has, is read as it was sent.
func TestForeignProducer(t *testing.T) {
	t.Parallel()
	kcat, c := kafkatest.Kcat(t), kafkatest.Shared(t)
	f := newFar(t, c, 1)
	defer f.close()
	k, texts := new(taker), make(map[string]string)
	k.fate = func(e *event.Event) error {
		texts[e.ID()] = fmt.Sprint(e.Source(), e.Type(), e.Subject(), e.DataContentType(), e.Extensions(), string(e.Data()))
		return nil
	}
	run(t, source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])), k.admit)
	data := fmt.Sprintf(`{"text":"größe ✓","long":%q}`, strings.Repeat("again ", 200)) // Compressible: else librdkafka leaves it as it is.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var want []string
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		for mode, args := range map[string][]string{
			"binary": {"-H", "ce_specversion=1.0", "-H", "ce_id=binary-" + codec, "-H", "ce_source=/kcat", "-H", "ce_type=t", "-H", "ce_subject=s ✓", "-H", "ce_causationid=c",
				"-H", "content-type=application/json"},
			"structured": {"-H", "content-type=application/cloudevents+json"},
		} {
			value := data
			if mode == "structured" {
				value = fmt.Sprintf(`{"specversion":"1.0","id":"structured-%s","source":"/kcat","type":"t","subject":"s ✓","causationid":"c","datacontenttype":"application/json","data":%s}`, codec, data)
			}
			cmd := kcat.Command(ctx, append([]string{"-P", "-b", c.Brokers()[0], "-t", f.topic, "-p", "0", "-X", "compression.codec=" + codec}, args...)...)
			cmd.Stdin = strings.NewReader(value)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s, %s: %v: %s", mode, codec, err, out)
			}
			want = append(want, mode+"-"+codec)
		}
	}
	eventually(t, "the events", func() bool { return len(k.ids()) == len(want) })
	if got := k.ids(); !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	for id, codec := range codecs(t, c, f.topic, len(want)) {
		if !strings.HasSuffix(id, "-"+codec) {
			t.Errorf("%s was written with %s", id, codec)
		}
	}
	for id, text := range texts {
		if text != "/kcat"+"t"+"s ✓"+"application/json"+"map[causationid:c]"+data {
			t.Errorf("%s: %.200s", id, text)
		}
	}
}

// codecs returns how the records of a topic's first partition are compressed, by the ids of their events.
func codecs(t *testing.T, c *kafkatest.Cluster, topic string, n int) map[string]string {
	t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out := make(map[string]string)
	for len(out) < n && ctx.Err() == nil {
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			var e struct{ ID string }
			for _, h := range r.Headers {
				if h.Key == "ce_id" {
					e.ID = string(h.Value)
				}
			}
			if e.ID == "" {
				_ = json.Unmarshal(r.Value, &e) // Without an id it is missed below.
			}
			out[e.ID] = []string{"none", "gzip", "snappy", "lz4", "zstd"}[r.Attrs.CompressionType()]
		})
	}
	if len(out) != n {
		t.Fatalf("%d of %d records", len(out), n)
	}
	return out
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"group": "g"}`:                                               "topics is missing",
		`{"topics": "t"}`:                                              "group is missing",
		`{"topics": "/(/", "group": "g"}`:                              "missing closing",
		`{"topics": "t", "group": "g", "start": "noon"}`:               "earliest or latest",
		`{"topics": "t", "group": "g", "onInvalid": "drop"}`:           "park, skip or",
		`{"topics": "t", "group": "g", "as": {"type": "${ valu.x }"}}`: `did you mean "value"?`,
	} {
		n, err := lang.ParseJSONNode([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if findings := fmt.Sprint(lang.Decode(n, new(triggerkafka.Settings), new(plugin.Registry))); !strings.Contains(findings, want) {
			t.Errorf("%s: %s; want %s", doc, findings, want)
		}
	}
}
