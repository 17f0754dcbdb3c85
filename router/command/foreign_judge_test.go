package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A stage is what is known of the events of one of the flow's topics.
type stage struct {
	name  string
	path  string // of the invocation, a regular expression; MODE is the mode
	cause string // the event that led to it, a regular expression; RUN is the run
	byKey bool   // the record's key is the customer, not the partitionkey
	ends  bool   // its step has a deadline, which the event tells
	count int    // of events for an order
}

var stages = []stage{
	{name: "price", path: `map/price-MODE\[([0-3])\]`, cause: `(kcat|python|go)-MODE`, count: foreignParts + 1},
	{name: "label", path: `map-2/label-MODE\[([0-3])\]`, cause: `done-RUN~map/price-.*`, byKey: true, count: foreignParts},
	{name: "invoice", path: `invoice-MODE()`, cause: `done-RUN~map-2/label-.*`, ends: true, count: 1},
	{name: "invoiced", path: `end()`, cause: `done-RUN~invoice-.*`, byKey: true, count: 1},
}

// A court judges the records that a router has written.
type court struct {
	orders   map[string]string   // by run
	contents map[string]string   // by event id
	attempts map[string][]string // by idempotency key
	numbers  map[string]int      // the latest invocation's, by topic, partition and run
}

func (g *foreign) judge(records map[string][]*kgo.Record) {
	g.t.Helper()
	c := &court{orders: make(map[string]string), contents: make(map[string]string), attempts: make(map[string][]string), numbers: make(map[string]int)}
	for _, mode := range foreignModes {
		for _, s := range stages {
			before := len(c.contents)
			for _, r := range records[s.name+"-"+mode] {
				if err := c.record(s, mode, r); err != nil {
					g.t.Errorf("%s/%d/%d: %v: %v", r.Topic, r.Partition, r.Offset, err, messageOf(r))
				}
			}
			if n := len(c.contents) - before; n != 3*s.count {
				g.t.Errorf("%s-%s has %d events; want %d", s.name, mode, n, 3*s.count)
			}
		}
	}
	for key, attempts := range c.attempts {
		want := []string{"1"}
		if strings.Contains(key, "/price-") && strings.HasSuffix(key, "[1]") {
			want = append(want, "2")
		}
		slices.Sort(attempts)
		if !slices.Equal(attempts, want) {
			g.t.Errorf("%s: attempts %q; want %q", key, attempts, want)
		}
	}
	g.judgeKcat(append(slices.Clone(records["label-binary"]), records["label-structured"]...))
}

func (c *court) record(s stage, mode string, r *kgo.Record) error {
	m := messageOf(r)
	if err := checkForm(mode, r); err != nil {
		return err
	}
	attributes, data, err := m.decode()
	if err != nil {
		return err
	}
	id := attributes["id"]
	content := fmt.Sprint(m)
	if had, again := c.contents[id]; again {
		if had != content {
			return errors.New("the same id with another content")
		}
		return nil
	}
	c.contents[id] = content
	found := regexp.MustCompile(`^([0-9a-z]{26})~` + strings.ReplaceAll(s.path, "MODE", mode) + `(?:\.(\d+)\.[0-9a-z]{10})?$`).FindStringSubmatch(id)
	if found == nil || (found[3] == "") != (s.name == "invoiced") {
		return errors.New("the id is not in its form")
	}
	run, index, number := found[1], found[2], found[3]
	c.attempts[attributes["idempotencykey"]] = append(c.attempts[attributes["idempotencykey"]], attributes["onwardattempt"])
	if err := checkAttributes(s, mode, run, attributes); err != nil {
		return err
	}
	order, err := checkData(s, index, data)
	if err != nil {
		return err
	}
	if had, ok := c.orders[run]; ok && had != order {
		return fmt.Errorf("the run of %s has an event of %s", had, order)
	}
	c.orders[run] = order
	key := id
	if s.byKey {
		key = customerOf(order)
	}
	if m.Key != key {
		return fmt.Errorf("want key %q", key)
	}
	if p := kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(r, 3); int32(p) != r.Partition {
		return fmt.Errorf("franz-go puts its key into partition %d", p)
	}
	if number == "" { // It is the end of its run, which has one id.
		return nil
	}
	n, _ := strconv.Atoi(number) // The pattern has let digits through.
	at := fmt.Sprint(r.Topic, r.Partition, run)
	if n <= c.numbers[at] {
		return fmt.Errorf("it lies behind number %d", c.numbers[at])
	}
	c.numbers[at] = n
	return nil
}

// checkForm holds a record to the text of the Kafka binding 1.0, sections 3.2 and 3.3.
func checkForm(mode string, r *kgo.Record) error {
	m := messageOf(r)
	if len(m.Headers) != len(r.Headers) {
		return errors.New("a header is there twice")
	}
	if mode == "structured" {
		if len(r.Headers) != 1 || m.Headers["content-type"] != "application/cloudevents+json" {
			return errors.New("the content-type of a structured event is missing, or not alone")
		}
		return nil
	}
	for name, v := range m.Headers {
		if name != "content-type" && !regexp.MustCompile(`^ce_[a-z0-9]+$`).MatchString(name) || name == "ce_datacontenttype" || name == "ce_data" || !utf8.ValidString(v) {
			return fmt.Errorf("header %s=%q is none of a binary event", name, v)
		}
	}
	return nil
}

// checkAttributes holds an event's attributes against what they have to be: all of them, and no other.
func checkAttributes(s stage, mode, run string, got map[string]string) error {
	id := got["id"]
	want := map[string]string{
		"specversion": "1.0", "id": id, "source": "/onward/" + mode, "type": "dev.onward.function.invoke", "subject": s.name + "-" + mode, "datacontenttype": "application/json",
		"correlationid": run, "partitionkey": id, "idempotencykey": regexp.MustCompile(`\.\d+\.[0-9a-z]{10}$`).ReplaceAllString(id, ""), "onwardfuel": "128", "onwardattempt": got["onwardattempt"],
		"time": got["time"], "causationid": got["causationid"],
	}
	if s.ends {
		want["expirytime"] = got["expirytime"]
	}
	if s.name == "invoiced" {
		want["type"], want["subject"], want["onwardfuel"] = "dev.onward.run.succeeded", run, "448"
		want["idempotencykey"] = regexp.MustCompile(`^` + id + `:kafka-[0-9a-f]{8}$`).FindString(got["idempotencykey"])
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("its attributes are\n%v; want\n%v", got, want)
	}
	if !regexp.MustCompile("^" + strings.NewReplacer("RUN", run, "MODE", mode).Replace(s.cause) + "$").MatchString(got["causationid"]) {
		return errors.New("another event has led to it")
	}
	at, err := time.Parse(time.RFC3339Nano, got["time"])
	if err != nil {
		return err
	}
	if since := time.Since(at); since < 0 || since > time.Hour {
		return errors.New("it is of another time")
	}
	if until, err := time.Parse(time.RFC3339Nano, got["expirytime"]); s.ends && (err != nil || !until.After(at)) {
		return errors.New("it does not say until when its step waits")
	}
	return nil
}

// checkData holds an event's data against what the functions make of an order, and returns the order.
func checkData(s stage, index, data string) (order string, err error) {
	var got map[string]any
	if err := json.Unmarshal([]byte(data), &got); err != nil {
		return "", err
	}
	order, _ = got["order"].(string)
	want := map[string]any{"order": order, "customer": customerOf(order)}
	part := func(i int, with ...string) map[string]any {
		p := map[string]any{"order": order, "customer": customerOf(order), "n": float64(i + 1), "price": float64((i + 1) * (i + 1)), "label": fmt.Sprint("part ", i+1)}
		maps.DeleteFunc(p, func(k string, _ any) bool { return k != "order" && k != "customer" && !slices.Contains(with, k) })
		return p
	}
	i, _ := strconv.Atoi(index) // The pattern has let digits through, or nothing.
	switch s.name {
	case "price":
		want = part(i, "n")
	case "label":
		want = part(i, "n", "price")
	case "invoice":
		var parts []any
		for i := range foreignParts {
			parts = append(parts, part(i, "n", "price", "label"))
		}
		want["parts"] = parts
	case "invoiced":
		want["total"], want["labels"] = 1.0+4+9+16, []any{"part 1", "part 2", "part 3", "part 4"}
	}
	if !reflect.DeepEqual(got, want) {
		return order, fmt.Errorf("want data %v", want)
	}
	return order, nil
}

// judgeKcat: what kcat has printed is what franz-go reads.
func (g *foreign) judgeKcat(records []*kgo.Record) {
	g.t.Helper()
	var want, got []string
	for _, r := range records {
		want = append(want, fmt.Sprint(messageOf(r)))
	}
	g.mu.Lock()
	for _, m := range g.printed {
		got = append(got, fmt.Sprint(m))
	}
	g.mu.Unlock()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		g.t.Errorf("kcat reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// judgeParked: the router has understood all that the clients have sent.
func (g *foreign) judgeParked() {
	g.t.Helper()
	resp, err := http.Get("http://" + g.addr + "/v1/parked")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.TrimSpace(string(body)) != `{"parked":[]}` {
		g.t.Errorf("parked: %s, %v", body, err)
	}
}

// judgeNode: cloudevents of npm reads the same attributes and data, from Kafka and over HTTP.
func (g *foreign) judgeNode(node *tooltest.Tool, records map[string][]*kgo.Record) {
	g.t.Helper()
	var lines bytes.Buffer
	var want []message
	ask := func(kind string, as any, m message) {
		if err := json.NewEncoder(&lines).Encode(map[string]any{kind: as}); err != nil {
			g.t.Fatal(err)
		}
		want = append(want, m)
	}
	for _, list := range records {
		for _, r := range list {
			ask("kafka", messageOf(r), messageOf(r))
		}
	}
	g.mu.Lock()
	for _, p := range g.posts {
		m := message{Headers: make(map[string]string), Value: p.Body}
		for name, v := range p.Headers {
			m.Headers[strings.Replace(name, "ce-", "ce_", 1)] = v
		}
		ask("http", p, m)
	}
	g.mu.Unlock()
	c := node.Command(g.ctx, "testdata/foreign/events.js")
	var said bytes.Buffer
	c.Stdin, c.Stderr = &lines, &said
	out, err := c.Output()
	if err != nil {
		g.t.Fatalf("%v: %s", err, &said)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(want) {
		g.t.Fatalf("cloudevents of npm makes %d events of %d messages: %s", len(got), len(want), &said)
	}
	for i, line := range got {
		if err := sameEvent(line, want[i]); err != nil {
			g.t.Errorf("%v: cloudevents of npm reads %s of %v", err, line, want[i])
		}
	}
}

// sameEvent compares what npm has printed with a message. It takes a record's key for the partitionkey, and keeps milliseconds of the time.
func sameEvent(printed string, m message) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(printed), &fields); err != nil {
		return err
	}
	data := fields["data"]
	delete(fields, "data")
	got := texts(fields)
	want, wantData, err := m.decode()
	if err != nil {
		return err
	}
	if m.Topic != "" {
		want["partitionkey"] = m.Key
	}
	at, err := time.Parse(time.RFC3339Nano, want["time"])
	if err != nil {
		return err
	}
	want["time"] = at.UTC().Format("2006-01-02T15:04:05.000Z")
	if !maps.Equal(got, want) {
		return fmt.Errorf("attributes %v", want)
	}
	var x, y any
	if err := errors.Join(json.Unmarshal(data, &x), json.Unmarshal([]byte(wantData), &y)); err != nil {
		return err
	}
	if !reflect.DeepEqual(x, y) {
		return errors.New("other data")
	}
	return nil
}
