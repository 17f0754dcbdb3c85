package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The events of a join come from a topic whose partitions two routers share, so that most of them are folded where they were not read. Width is how many a join has.
const joinsDocument = `version: 1
sources:
  inbox: { webhook: {} }
  in: { kafka: { topics: [in], group: in, session: 3s } }
triggers:
  sum:
    filters: [{ exact: { type: part } }]
    correlate: "${ data.k }"
    await: { count: WIDTH }
    flow: { pass: {}, input: "${ {'key': data.k, 'n': arrived.map(x, x.data.n).sort()} }" }
    onSuccess: { kafka: { topic: out }, data: "${ output }" }
  order:
    filters: [{ exact: { type: placed } }]
    correlate: "${ data.id }"
    signals: { paid: { filters: [{ exact: { type: paid } }], correlate: "${ data.order }" } }
    flow: { sequence: [{ signal: paid }, { pass: {}, input: "${ {'key': data.id, 'n': [data.item, previous.amount]} }" }] }
    onSuccess: { kafka: { topic: out }, data: "${ output }" }
  end: # One event of each partition, behind all others: when it fires, they have been taken.
    filters: [{ exact: { type: end } }]
    correlate: "${ data }"
    await: { count: 6 }
    flow: { pass: {}, input: "${ {'key': data, 'n': size(arrived)} }" }
    onSuccess: { kafka: { topic: out }, data: "${ output }" }
`

// A joining is one broker, two routers whose journal it has, and a client of it.
type joining struct {
	rig
	client *kgo.Client
	fired  map[string]map[string]string // by key: the runs that fired, with what
	copies int
}

func newJoining(t *testing.T, document string, arguments ...string) *joining {
	g := &joining{rig: rig{t: t, brokers: kafkatest.Start(t, 1), dir: t.TempDir(), more: arguments}, fired: make(map[string]map[string]string)}
	g.doc = filepath.Join(g.dir, "joins.yaml")
	if err := os.WriteFile(g.doc, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	g.brokers.CreateTopic(t, "in", 6)
	g.brokers.CreateTopic(t, "out", 1)
	init := exec.Command(os.Args[0], "kafka", "init", "--partitions", "6", "--replication", "1", "--kafka-brokers", strings.Join(g.brokers.Brokers(), ","))
	init.Env = append(os.Environ(), childVariable+"=1")
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var err error
	g.client, err = kgo.NewClient(kgo.SeedBrokers(g.brokers.Brokers()...), kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.client.Close)
	for n := range 2 {
		r := &replica{name: fmt.Sprint("replica-", n), addr: tooltest.Address(), brokers: g.brokers.Brokers()}
		g.start(r)
		g.replicas = append(g.replicas, r)
		t.Cleanup(func() { g.stop(r) })
	}
	return g
}

// An arriving is an event of the topic.
type arriving struct{ kind, id, data string }

// produce writes events, one after the other over the partitions.
func (g *joining) produce(events []arriving) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	for some := range slices.Chunk(events, 5000) {
		records := make([]*kgo.Record, len(some))
		for i, e := range some {
			records[i] = &kgo.Record{
				Topic: "in", Partition: int32(g.serial.Add(1) % 6), Value: []byte(e.data),
				Headers: headers("ce_specversion", "1.0", "ce_id", e.id, "ce_source", "/joins", "ce_type", e.kind, "content-type", "application/json"),
			}
		}
		if err := g.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			g.t.Fatal(err)
		}
	}
}

// end writes the last event of each partition.
func (g *joining) end() {
	g.t.Helper()
	var last []arriving
	for n := range 6 {
		last = append(last, arriving{"end", fmt.Sprint("end-", n), `"end"`})
	}
	g.produce(last)
}

// until reads what has fired until so many joins have, and nothing is open any more.
func (g *joining) until(joins int, patience time.Duration) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(g.t.Context(), 200*time.Millisecond)
		g.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			id := ""
			for _, h := range r.Headers {
				if h.Key == "ce_id" {
					id = string(h.Value)
				}
			}
			var said struct {
				Key json.RawMessage
				N   json.RawMessage
			}
			if err := json.Unmarshal(r.Value, &said); err != nil {
				g.t.Errorf("%s: %v", r.Value, err)
			}
			of := g.fired[string(said.Key)]
			if of == nil {
				of = make(map[string]string)
				g.fired[string(said.Key)] = of
			}
			if _, again := of[id]; again {
				g.copies++
			}
			of[id] = string(said.N)
		})
		cancel()
		open := -1
		if len(g.fired) == joins {
			if open = g.open(); open == 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			for _, r := range g.all() {
				log, _ := os.ReadFile(filepath.Join(g.dir, r.name+".log"))
				g.t.Logf("%s: %s", r.name, log[max(0, len(log)-4000):])
			}
			g.t.Fatalf("%d of %d joins have fired, and %d runs are open", len(g.fired), joins, open)
		}
	}
}

// waits waits until a router has rounds that gather.
func (g *joining) waits(r *replica) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + r.addr + "/v1/runs?state=waiting&limit=1")
		if err != nil {
			continue
		}
		var said struct{ Runs []struct{ Run string } }
		err = json.NewDecoder(resp.Body).Decode(&said)
		_ = resp.Body.Close()
		if err == nil && len(said.Runs) > 0 {
			return
		}
	}
	g.t.Fatal("no round gathers")
}

// TestJoinsOverKafka: 200 joins whose events come from a topic, each twice, over a journal in Kafka and two routers of which first one and then the other is
// killed amid it: each join fires once, with all of its events. The long form has joins of 1,000.
func TestJoinsOverKafka(t *testing.T) {
	t.Parallel()
	const joins = 200
	width, patience := 20, 2*time.Minute
	if *longFaults {
		width, patience = 1000, 20*time.Minute
	}
	g := newJoining(t, strings.ReplaceAll(joinsDocument, "WIDTH", fmt.Sprint(width)))
	var events []arriving
	for n := range width {
		for k := range joins {
			events = append(events, arriving{"part", fmt.Sprint(k, "-", n), fmt.Sprintf(`{"k":%d,"n":%d}`, k, n)})
		}
		if n < 50 { // And orders, which are paid before they are placed, or after.
			pair := []arriving{{"placed", fmt.Sprint("o-", n), fmt.Sprintf(`{"id":"o%d","item":%d}`, n, n)}, {"paid", fmt.Sprint("p-", n), fmt.Sprintf(`{"order":"o%d","amount":%d}`, n, 2*n)}}
			if n%2 == 0 {
				slices.Reverse(pair)
			}
			events = append(events, pair...)
		}
	}
	events = append(events, events...)
	begin := time.Now()
	third := len(events) / 6 // Of the first time.
	g.produce(events[:third])
	for i, r := range g.all() {
		g.waits(r)
		g.kill(r)
		g.produce(events[(i+1)*third : (i+2)*third])
		g.start(r)
	}
	g.produce(events[3*third:])
	g.end()
	g.until(joins+min(width, 50)+1, patience)
	delete(g.fired, `"end"`)
	took := time.Since(begin)
	var all []string
	for n := range width {
		all = append(all, fmt.Sprint(n))
	}
	for key, runs := range g.fired {
		want := "[" + strings.Join(all, ",") + "]"
		if order, is := strings.CutPrefix(key, `"o`); is {
			n := 0
			_, _ = fmt.Sscan(order, &n) // It is what was sent.
			want = fmt.Sprintf("[%d,%d]", n, 2*n)
		}
		if len(runs) != 1 {
			t.Errorf("join %s has fired %d times: %v", key, len(runs), runs)
		}
		for _, got := range runs {
			if got != want {
				t.Errorf("join %s has fired with %.200s", key, got)
			}
		}
	}
	t.Logf("%d joins of %d events, each twice, and %d orders, in %s; %d results came twice", joins, width, min(width, 50), took.Round(10*time.Millisecond), g.copies)
}

// TestFullRoutersOverKafka: two routers that take no more starts, each full of rounds whose missing events come to either of them, behind starts that are refused:
// they are taken, and make room. Nothing is lost, and all fires once.
func TestFullRoutersOverKafka(t *testing.T) {
	const keys = 300
	t.Setenv("ONWARD_LIMITS_RUNS", "25")
	g := newJoining(t, strings.ReplaceAll(joinsDocument, "WIDTH", "2"))
	var events []arriving
	for n := range 2 {
		for k := range keys {
			events = append(events, arriving{"part", fmt.Sprint(k, "-", n), fmt.Sprintf(`{"k":%d,"n":%d}`, k, n)})
		}
	}
	g.produce(events)
	g.end()
	g.until(keys+1, 2*time.Minute)
	for key, runs := range g.fired {
		for _, got := range runs {
			if key != `"end"` && got != "[0,1]" || len(runs) != 1 {
				t.Errorf("join %s has fired %d times, with %s", key, len(runs), got)
			}
		}
	}
}
