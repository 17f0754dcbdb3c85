package router_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestReloadOfKafka: a real Kafka source under reload, while records flow to all of its topics. Topics come and go, the group changes, the source goes and comes back
// under another name; each reload hands over what the source had. What was written while nobody read a topic is taken once somebody does. A group that begins at the
// start reads everything once more, and nothing happens twice.
func TestReloadOfKafka(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	topics := []string{c.Topic(t, 2), c.Topic(t, 2), c.Topic(t, 2)}
	var mu sync.Mutex
	calls := make(map[string]int) // by what the record said
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		calls[strings.Trim(string(b), `"`)]++
	}))
	t.Cleanup(srv.Close)
	doc := func(sources string) string {
		return fmt.Sprintf("version: 1\nfunctions: { f: { http: { url: %q } } }\ntriggers: { t: { filters: [{ exact: { type: drop } }], flow: { function: f } } }\nsources: { hook: { webhook: {} }%s }\n", srv.URL, sources)
	}
	kafka := func(name, group string, topics ...string) string {
		return fmt.Sprintf(", %s: { kafka: { brokers: [%q], topics: [%s], group: %s, session: 2s, rebalance: 3s } }", name, c.Brokers()[0], strings.Join(topics, ", "), group)
	}
	metrics := prometheus.NewRegistry()
	r := startWith(t, doc(kafka("in", "g1", topics[0])), func(o *router.Options) { o.Journal, o.Metrics = memory.New(memory.Options{Partitions: 4}), metrics })
	admitted := func() (n int) {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "onward_events_total" {
					n += int(m.GetCounter().GetValue())
				}
			}
		}
		return n
	}

	producer, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	var written [3]atomic.Int64
	var flow sync.WaitGroup
	for i := range topics {
		flow.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", i, n)
				headers := []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/json")}}
				for name, v := range map[string]string{"specversion": "1.0", "id": id, "source": "/far", "type": "drop"} {
					headers = append(headers, kgo.RecordHeader{Key: "ce_" + name, Value: []byte(v)})
				}
				if err := producer.ProduceSync(context.WithoutCancel(ctx), &kgo.Record{Topic: topics[i], Key: []byte(id), Value: []byte(`"` + id + `"`), Headers: headers}).FirstErr(); err != nil {
					t.Error(err)
					return
				}
				written[i].Store(int64(n + 1))
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	seen := func(topic int) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for id := range calls {
			if strings.HasPrefix(id, fmt.Sprint(topic, "-")) {
				n++
			}
		}
		return n
	}
	// reaches waits until all that had been written to the topics by now has come.
	reaches := func(which ...int) {
		t.Helper()
		for _, i := range which {
			want := int(written[i].Load())
			comes(t, func() bool { return want > 0 && seen(i) >= want })
		}
	}
	comes(t, func() bool { return written[0].Load() > 20 })
	reaches(0)
	reload := func(sources string) {
		t.Helper()
		if err := r.Reload(parse(t, registry(), doc(sources))); err != nil {
			t.Fatal(err)
		}
	}
	reload(kafka("in", "g1", topics[0], topics[1])) // One comes,
	reaches(0, 1)
	reload(kafka("in", "g1", topics[1], topics[2])) // one comes and one goes;
	reaches(1, 2)
	missed := seen(0)
	comes(t, func() bool { return int(written[0].Load()) > missed+20 })
	if n := seen(0); n > missed+5 {
		t.Errorf("a topic that has gone was read on: %d, then %d", missed, n)
	}
	if err := r.Reload(parse(t, registry(), doc(kafka("in", "g9", topics[0])+", secret: { webhook: { path: /s, auth: { bearer: { env: RELOAD_NEVER } } } }"))); err == nil || !strings.Contains(err.Error(), "RELOAD_NEVER") {
		t.Errorf("%v", err)
	}
	reaches(1, 2)                                   // A reload that was refused changes nothing.
	reload(kafka("in", "g1", topics[0], topics[2])) // It comes back: what nobody read is read now.
	reaches(0, 2)
	reload("") // There is none for a while,
	gone := seen(2)
	comes(t, func() bool { return int(written[2].Load()) > gone+20 })
	reload(kafka("again", "g1", topics...)) // and then by another name, of the same group.
	reaches(0, 1, 2)
	before := admitted()
	again := int(written[0].Load() + written[1].Load() + written[2].Load())
	reload(kafka("again", "g2", topics...)) // Another group begins at the start: all of it comes again, and counts once.
	reload(kafka("again", "g2", topics...) + ", more: { webhook: { path: /more } }")
	comes(t, func() bool { return admitted() >= before+again })
	stop()
	flow.Wait()
	reaches(0, 1, 2)
	mu.Lock()
	defer mu.Unlock()
	for id, n := range calls {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if all := int(written[0].Load() + written[1].Load() + written[2].Load()); len(calls) != all || all < 100 {
		t.Errorf("%d of %d", len(calls), all)
	}
}
