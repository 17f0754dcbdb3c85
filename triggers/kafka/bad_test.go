package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/triggers"
	triggerkafka "github.com/onward-router/onward/triggers/kafka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func fake(t *testing.T) *kafkatest.Cluster {
	return kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
}

func put(t *testing.T, f *far, records ...*kgo.Record) {
	t.Helper()
	for _, r := range records {
		r.Topic = f.topic
		if err := f.producer.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBatchWithBadEvents: the good ones are taken; each bad one, and each that the router refuses, is set aside alone and whole.
func TestBatchWithBadEvents(t *testing.T) {
	t.Parallel()
	c := fake(t)
	f := newFar(t, c, 1)
	defer f.close()
	dead := c.Topic(t, 1)
	bad := `{"specversion":"1.0","id":"bad","source":"/s","type":"t","price":19.99,"data":"` + strings.Repeat("x", 100_000) + `"}`
	good := func(id string) string { return `{"specversion":"1.0","id":"` + id + `","source":"/x#","type":"t"}` }
	put(t, f, &kgo.Record{Value: []byte("[" + good("1") + "," + bad + "," + good("no") + "," + good("2") + "]"), Headers: []kgo.RecordHeader{{Key: "Content-Type", Value: []byte("Application/CloudEvents-Batch+JSON; charset=utf-8")}}})
	for _, word := range []string{`"park"`, fmt.Sprintf(`{"deadletter": %q}`, dead)} {
		k := &taker{fate: func(e *event.Event) error {
			if e.ID() == "no" {
				return fmt.Errorf("%w: no", triggers.ErrInvalid)
			}
			return nil
		}}
		s := source(t, fmt.Sprintf(`{"topics": %q, "group": "%s-%d", "brokers": %q, "onInvalid": %s}`, f.topic, f.group, serial.Add(1), c.Brokers()[0], word))
		var kept []triggers.Parked
		s.KeepParked(func(x triggers.Parked) { kept = append(kept, x) })
		metrics := prometheus.NewRegistry()
		metrics.MustRegister(s.Collectors()...)
		stop := run(t, s, k.admit)
		eventually(t, "the good ones", func() bool { return slices.Contains(k.ids(), "1") && slices.Contains(k.ids(), "2") })
		stop()
		want := 0
		if word == `"park"` {
			want = 2
		}
		text := fmt.Sprintf("# HELP onward_parked_total %s\n# TYPE onward_parked_total counter\nonward_parked_total{source=\"inbox\"} %d\n", triggers.ParkedHelp, want)
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(text), "onward_parked_total"); err != nil {
			t.Errorf("onInvalid %s: %v", word, err)
		}
		if want == 0 {
			continue
		}
		parked := s.Parked()
		if len(kept) != 2 || string(kept[1].Bytes) != string(parked[1].Bytes) {
			t.Errorf("%d were handed on", len(kept))
		}
		if len(parked) != 2 || string(parked[0].Bytes) != bad || !strings.Contains(parked[0].Reason, "event 1 of a batch: extension price") || !strings.Contains(string(parked[1].Bytes), `"id":"no","source":"/x#"`) || strings.Contains(string(parked[1].Bytes), "[") {
			t.Errorf("%d parked: %.300v", len(parked), parked)
		}
	}
	fetched, err := f.client.Fetch(context.Background(), kafka.Fetch{Topic: dead})
	if err != nil || len(fetched.Records) != 2 || string(fetched.Records[0].Value) != bad {
		t.Fatalf("%v, %v", fetched, err)
	}
	// What is in the topic of dead letters reads as the one event that it is.
	head, err := envelope.FromRecord(fetched.Records[1].Headers)
	if err != nil || head == nil {
		t.Fatal(head, err)
	}
	events, _, err := head.Read(fetched.Records[1].Value, envelope.Limits{Event: 1 << 20})
	if err != nil || events[0].ID() != "no" || events[0].Source() != "/x#" {
		t.Errorf("%v, %v", events, err)
	}
}

// TestDeadLettersRest: a topic of dead letters that a pattern takes in is refused by lint, and left out; a dead letter that is read again is not buried again.
func TestDeadLettersRest(t *testing.T) {
	t.Parallel()
	c := fake(t)
	f := newFar(t, c, 1)
	defer f.close()
	dead := f.topic + ".dead"
	c.CreateTopic(t, dead, 1)
	with := func(topics string) *triggerkafka.Settings {
		s := settings(t, fmt.Sprintf(`{"topics": %s, "group": "%s-%d", "brokers": %q}`, topics, f.group, serial.Add(1), c.Brokers()[0]))
		s.OnInvalid = triggerkafka.Invalid{Word: "deadletter", Topic: dead}
		return s
	}
	for topics, refused := range map[string]bool{fmt.Sprintf(`"/%s.*/"`, f.topic): true, fmt.Sprintf(`[%q, %q]`, f.topic, dead): true, fmt.Sprintf(`%q`, f.topic): false} {
		problems := with(topics).Check()
		if (len(problems) > 0) != refused || refused && (!strings.Contains(problems[0].What, "own dead letters") || problems[0].Cure == "") {
			t.Errorf("%s: %v", topics, problems)
		}
	}
	put(t, f, &kgo.Record{Value: []byte("garbage")}, &kgo.Record{Value: []byte("buried before"), Headers: []kgo.RecordHeader{{Key: "onward_reason", Value: []byte("elsewhere")}}})
	f.send("structured", "k", newEvent("good", "t"))
	k := new(taker)
	made, err := triggerkafka.New("inbox", with(fmt.Sprintf(`"/%s.*/"`, f.topic)))
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*triggerkafka.Source)
	run(t, s, k.admit)
	eventually(t, "the event", func() bool { return slices.Equal(k.ids(), []string{"good"}) })
	fetched, err := f.client.Fetch(context.Background(), kafka.Fetch{Topic: dead, MaxWait: time.Second})
	if err != nil || len(fetched.Records) != 1 || len(s.Parked()) != 1 || string(s.Parked()[0].Bytes) != "buried before" {
		t.Errorf("%d dead letters, %v, %v", len(fetched.Records), s.Parked(), err)
	}
}

// TestUnreadableRecords: what is too large, or cannot be decompressed, is set aside, and what is behind it is taken.
func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	s := source(t, `{"brokers":["127.0.0.1:1"],"topics":["t"],"group":"g","as":{"type":"t"}}`)
	if _, err := s.Decode("t", 0, &kafka.Record{Bad: kafka.ErrDamaged}); !errors.Is(err, kafka.ErrDamaged) {
		t.Error(err)
	}
	many := &kafka.Record{Headers: []kafka.Header{{Key: "content-type", Value: []byte(envelope.Batched)}}, Value: []byte("[" + strings.Repeat("1,", envelope.MaxBatchEvents) + "1]")}
	if events, err := s.Decode("t", 0, many); err == nil || !strings.Contains(err.Error(), "more than 100000 events") || events != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
	c := fake(t)
	f := newFar(t, c, 1)
	defer f.close()
	p, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(64<<20), kgo.MaxBufferedBytes(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.ProduceSync(context.Background(), &kgo.Record{Topic: f.topic, Value: make([]byte, 40<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.send("binary", "k", newEvent("good", "t"))
	k := new(taker)
	s = source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0]))
	run(t, s, k.admit)
	eventually(t, "the event behind it", func() bool { return slices.Equal(k.ids(), []string{"good"}) })
	if parked := s.Parked(); len(parked) != 1 || !strings.Contains(parked[0].Reason, "at most 33554432 are read") {
		t.Errorf("%v", parked)
	}
}

// TestMapping: null is null, bytes are base64, and a declared type counts.
func TestMapping(t *testing.T) {
	t.Parallel()
	s := source(t, `{"brokers":["127.0.0.1:1"],"topics":["t"],"group":"g","as":{"type":"${ value == null ? 'null' : key == null ? 'keyless' : type(value) == string ? 'text' : 'json' }","id":"${ key == null ? 'none' : key }"}}`)
	for name, c := range map[string]struct {
		r    kafka.Record
		want string
	}{
		"a tombstone": {kafka.Record{Key: []byte("k")}, "k null null "}, "no key": {kafka.Record{Value: []byte("1")}, "none keyless 1 application/json"}, "JSON": {kafka.Record{Key: []byte("k"), Value: []byte(`{"a":1}`)}, `k json {"a":1} application/json`},
		"key FF": {kafka.Record{Key: []byte{0xff}, Value: []byte(`{}`)}, "/w== json {} application/json"}, "key FE": {kafka.Record{Key: []byte{0xfe}, Value: []byte(`{}`)}, "/g== json {} application/json"}, "key FD": {kafka.Record{Key: []byte{0xfd}, Value: []byte(`{}`)}, "/Q== json {} application/json"},
		"a text": {kafka.Record{Key: []byte("k"), Value: []byte("hello")}, `k text "hello" text/plain`}, "bytes": {kafka.Record{Key: []byte("k"), Value: []byte{0, 0xff}}, `k text "AP8=" application/octet-stream`},
		"declared":   {kafka.Record{Key: []byte("k"), Value: []byte(`{}`), Headers: []kafka.Header{{Key: "content-type", Value: []byte("image/png")}}}, `k json "e30=" image/png`},
		"ISO-8859-1": {kafka.Record{Key: []byte("k"), Value: []byte("\xe9"), Headers: []kafka.Header{{Key: "Content-Type", Value: []byte("text/plain; charset=iso-8859-1")}}}, `k text "é" text/plain; charset=iso-8859-1`},
		"no JSON":    {kafka.Record{Key: []byte("k"), Value: []byte("{"), Headers: []kafka.Header{{Key: "content-type", Value: []byte("application/json")}}}, "!data is not JSON"},
		"a long key": {kafka.Record{Key: []byte(strings.Repeat("k", 2000)), Value: []byte("1")}, "!id has 2000 bytes"}, "an empty key": {kafka.Record{Key: []byte{}, Value: []byte("1")}, "!id is missing"},
	} {
		events, err := s.Decode("t", 0, &c.r)
		got := ""
		if err != nil {
			got = "!" + err.Error()
		} else {
			v, _ := envelope.Value(&events[0])
			got = fmt.Sprintf("%s %s %s %s", events[0].ID(), events[0].Type(), v, events[0].DataContentType())
		}
		if got != c.want && !(c.want[0] == '!' && strings.Contains(got, c.want[1:])) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}
