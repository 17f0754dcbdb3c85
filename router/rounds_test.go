package router_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
)

const meeting = `
version: 1
functions: { f: { log: f } }
sources: { in: { webhook: { path: /events } } }
triggers:
  ship:
    correlate: "${ data.order }"
    await:
      events:
        paid: { filters: [{ exact: { type: paid } }] }
        packed: { filters: [{ exact: { type: packed } }], correlate: "${ data.of.order }" }
    flow: { pass: {}, input: "${ [arrived.paid.data.amount, arrived.packed.id] }" }
  once:
    filters: [{ exact: { type: two } }]
    correlate: "${ data.k }"
    await: { count: 2, late: unmatched }
    flow: { pass: {}, input: "${ arrived.map(x, x.data.n) }" }
  ten:
    filters: [{ exact: { type: ten } }]
    correlate: "${ data.k }"
    await: { count: 10 }
    flow: { pass: {}, input: "${ size(arrived) }" }
  batch:
    filters: [{ exact: { type: reading } }]
    batch: { every: 1h, count: 3, key: "${ event.source }" }
    flow: { pass: {}, input: "${ arrived.map(x, x.data) }" }
`

// A taken is what a webhook says of one event.
type taken struct {
	Event, Taken, Note string
	Runs               []struct{ Run, Trigger string }
}

func (x *taken) run() string {
	if len(x.Runs) != 1 {
		return ""
	}
	return x.Runs[0].Run
}

// sendEvent posts one event and returns what is said of it.
func sendEvent(t *testing.T, addr, kind, id, data string) (x taken) {
	t.Helper()
	status, body := say(t, addr, request("POST", "/events", addr, "ce-specversion: 1.0\r\nce-source: /t\r\nce-type: "+kind+"\r\nce-id: "+id+"\r\nContent-Type: application/json\r\n", data))
	var said struct {
		Events []taken
		taken
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || !strings.HasPrefix(status, "2") {
		t.Fatalf("%s %s %v", status, body, err)
	}
	if len(said.Events) == 1 {
		return said.Events[0]
	}
	return said.taken
}

// TestEventsMeet: through the webhook, with what its senders are told, what people see of it, and a restart between.
func TestEventsMeet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, meeting)
	send := func(kind, id, data string) taken { return sendEvent(t, r.Addr(), kind, id, data) }
	get := func(path string) string {
		_, body := say(t, r.Addr(), request("GET", path, r.Addr(), "", ""))
		return body
	}
	result := func(run, want string) {
		t.Helper()
		eventually(t, func() error {
			if body := get("/v1/runs/" + run); !strings.Contains(body, `"result":`+want) {
				return fmt.Errorf("%s; want %s", body, want)
			}
			return nil
		})
	}

	paid := send("paid", "p1", `{"order":7,"amount":12}`)
	for range 10 { // Copies of one event are one.
		if again := send("paid", "p1", `{"order":7,"amount":12}`); again.run() != paid.run() {
			t.Fatalf("%+v, and before %+v", again, paid)
		}
	}
	for path, want := range map[string]string{
		"/v1/runs/" + paid.run(): `"missing":["packed"]`, "/v1/runs/" + paid.run() + "/explain": `for events of key \"7\"`, "/v1/runs?state=waiting": paid.run(),
		"/v1/waits": `"signal":"packed","round":"7"`, "/v1/events/p1": paid.run(),
	} {
		if body := get(path); !strings.Contains(body, want) {
			t.Errorf("%s: %s; want %s", path, body, want)
		}
	}
	if early := send("paid", "p2", `{"order":7,"amount":13}`); early.run() != paid.run() || !strings.Contains(early.Note, "kept for the next round") {
		t.Errorf("early: %+v", early)
	}
	if none := send("packed", "x", `{"order":7}`); len(none.Runs) != 0 || !strings.Contains(none.Note, "no key for correlate") {
		t.Errorf("without a key: %+v", none)
	}
	unasked := startEvent("u1") // As of a source whose sender asks for nothing.
	unasked.SetType("paid")
	_ = unasked.SetData("application/json", map[string]int{"order": 8}) // It marshals.
	if _, err := r.Admit(t.Context(), []event.Event{*unasked}); err != nil {
		t.Fatal(err)
	}
	if body := get("/v1/events/u1"); !strings.Contains(body, `its key is \"8\"`) {
		t.Errorf("an event of a source that does not ask: %s", body)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, meeting)
	if packed := send("packed", "k1", `{"of":{"order":7}}`); packed.run() != paid.run() {
		t.Errorf("packed: %+v; want %s", packed, paid.run())
	}
	result(paid.run(), `[12,"k1"]`)
	next := send("packed", "k2", `{"of":{"order":7}}`)
	if next.run() == paid.run() {
		t.Errorf("the next round: %+v", next)
	}
	result(next.run(), `[13,"k2"]`)
	if again := send("packed", "k1", `{"of":{"order":7}}`); len(again.Runs) != 0 || !strings.Contains(again.Note, "counts once") {
		t.Errorf("a copy of what has joined: %+v", again)
	}

	var runs []string
	for i := range 4 { // A join of two fires once for four.
		x := send("two", fmt.Sprint("two-", i), fmt.Sprintf(`{"k":"a","n":%d}`, i))
		runs = append(runs, x.run())
		if i > 1 && (x.Taken != "unmatched" || !strings.Contains(x.Note, "is over")) {
			t.Errorf("event %d: %+v", i, x)
		}
	}
	if runs[0] == "" || runs[1] != runs[0] || runs[2] != "" || runs[3] != "" {
		t.Errorf("%q", runs)
	}
	result(runs[0], `[0,1]`)

	batch := ""
	for i := range 3 {
		if x := send("reading", fmt.Sprint("r-", i), fmt.Sprint(i)); batch == "" {
			batch = x.run()
		} else if x.run() != batch {
			t.Errorf("reading %d: %+v; want run %s", i, x, batch)
		}
	}
	result(batch, `[0,1,2]`)
	status, body := say(t, r.Addr(), request("POST", "/v1/events/test", r.Addr(), "Content-Type: application/cloudevents+json\r\n", `{"specversion":"1.0","id":"q","source":"/t","type":"packed","data":{"of":{"order":9}}}`))
	if !strings.Contains(body, `"key":"9","as":"packed"`) {
		t.Errorf("a test: %s %s", status, body)
	}
	if status, body := say(t, r.Addr(), request("POST", "/v1/triggers/ship", r.Addr(), "", `{"order":1}`)); !strings.HasPrefix(status, "400") || !strings.Contains(body, "none of the events that the trigger awaits") {
		t.Errorf("a start by name: %s %s", status, body)
	}
}

// TestOneEventIsAwaitedBySeveral: a payment joins the round of one trigger and is a signal to the run of another, each by its own key; also where it comes before that run.
func TestOneEventIsAwaitedBySeveral(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), meeting+`
  order:
    filters: [{ exact: { type: placed } }]
    correlate: "${ data.id }"
    signals: { captured: { filters: [{ exact: { type: paid } }], correlate: "${ data.order }" } }
    flow: { sequence: [{ signal: captured }, { pass: {}, input: "${ [data.item, previous.amount] }" }] }
`)
	of := func(x taken, trigger string) string {
		for _, run := range x.Runs {
			if run.Trigger == trigger {
				return run.Run
			}
		}
		t.Fatalf("%+v has no run of %s", x, trigger)
		return ""
	}
	placed := of(sendEvent(t, r.Addr(), "placed", "o-1", `{"id":1,"item":"lamp"}`), "order")
	paid := sendEvent(t, r.Addr(), "paid", "p-1", `{"order":1,"amount":5}`)
	packed := sendEvent(t, r.Addr(), "packed", "k-1", `{"of":{"order":1}}`)
	if len(paid.Runs) != 2 || of(paid, "order") != placed || of(paid, "ship") != packed.run() {
		t.Errorf("%+v; want runs %s and %s", paid, placed, packed.run())
	}
	early := of(sendEvent(t, r.Addr(), "paid", "p-2", `{"order":2,"amount":6}`), "order")
	if run := of(sendEvent(t, r.Addr(), "placed", "o-2", `{"id":2,"item":"vase"}`), "order"); run != early {
		t.Errorf("%s, and what came early is in %s", run, early)
	}
	_, body := say(t, r.Addr(), request("POST", "/v1/triggers/order", r.Addr(), "", `{"id":3,"item":"rug"}`))
	var named struct{ Run string }
	if json.Unmarshal([]byte(body), &named) != nil || of(sendEvent(t, r.Addr(), "paid", "p-3", `{"order":3,"amount":7}`), "order") != named.Run {
		t.Errorf("started by name: %s", body)
	}
	for run, want := range map[string]string{placed: `["lamp",5]`, early: `["vase",6]`, packed.run(): `[5,"k-1"]`, named.Run: `["rug",7]`} {
		eventually(t, func() error {
			if _, body := say(t, r.Addr(), request("GET", "/v1/runs/"+run, r.Addr(), "", "")); !strings.Contains(body, `"result":`+want) {
				return fmt.Errorf("%s; want %s", body, want)
			}
			return nil
		})
	}
}

// TestWhatIsAwaitedPassesTheLimit: as many rounds as runs may be open; what they wait for comes in all the same, and they end.
func TestWhatIsAwaitedPassesTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 5
	r := startWith(t, meeting, func(o *router.Options) { o.MaxRuns = limit })
	for i := range limit {
		sendEvent(t, r.Addr(), "paid", fmt.Sprint("p", i), fmt.Sprintf(`{"order":%d,"amount":%d}`, i, i))
	}
	eventually(t, func() error {
		status, body := say(t, r.Addr(), request("POST", "/events", r.Addr(), "ce-specversion: 1.0\r\nce-source: /t\r\nce-type: paid\r\nce-id: much\r\nContent-Type: application/json\r\n", `{"order":"more"}`))
		if !strings.HasPrefix(status, "429") {
			return fmt.Errorf("%s %s", status, body)
		}
		return nil
	})
	for i := range limit {
		if x := sendEvent(t, r.Addr(), "packed", fmt.Sprint("k", i), fmt.Sprintf(`{"of":{"order":%d}}`, i)); len(x.Runs) != 1 {
			t.Fatalf("%+v", x)
		}
	}
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs?state=succeeded", r.Addr(), "", ""))
		if n := strings.Count(body, `"trigger":"ship"`); n != limit {
			return fmt.Errorf("%d have ended: %s", n, body)
		}
		return nil
	})
}

// TestARoundOfItsOwnEnds: the end of each run is an event of the next round. What one event from outside leads to is bounded, and the last run says so.
func TestARoundOfItsOwnEnds(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), `
version: 1
functions: { f: { log: f } }
sources: { in: { webhook: { path: /events } } }
triggers:
  self:
    filters: [{ any: [{ exact: { type: first } }, { all: [{ exact: { type: dev.onward.run.succeeded } }, { exact: { source: /onward/self } }] }] }]
    correlate: "${ event.type }"
    await: { count: 1 }
    flow: { pass: {} }
`)
	sendEvent(t, r.Addr(), "first", "one", `{}`)
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs?state=failed", r.Addr(), "", ""))
		if !strings.Contains(body, "chain_limit") {
			_, all := say(t, r.Addr(), request("GET", "/v1/runs?limit=1", r.Addr(), "", ""))
			return fmt.Errorf("%s; %s", body, all)
		}
		return nil
	})
	_, body := say(t, r.Addr(), request("GET", "/v1/runs?state=waiting", r.Addr(), "", ""))
	if strings.Contains(body, `"trigger":"self"`) {
		t.Errorf("it goes on: %s", body)
	}
}

// TestAJoinKilledAtFiveFiresAtTen: the process is killed, with what it had not said; it fires at ten, once, and never before.
func TestAJoinKilledAtFiveFiresAtTen(t *testing.T) {
	if dir := os.Getenv("ONWARD_TEST_ROUNDS"); dir != "" {
		roundsChild(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // Killed at five, and once more after all five have come again.
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAJoinKilledAtFiveFiresAtTen$")
		child.Env = append(os.Environ(), "ONWARD_TEST_ROUNDS="+dir)
		out, err := child.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "five are in") {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r := start(t, dir, meeting)
	run := ""
	for i := range 10 {
		x := sendEvent(t, r.Addr(), "ten", fmt.Sprint("e", i), `{"k":"j"}`)
		if i == 9 {
			run = x.run()
		} else if _, body := say(t, r.Addr(), request("GET", "/v1/runs?state=succeeded", r.Addr(), "", "")); strings.Contains(body, `"trigger":"ten"`) {
			t.Fatalf("it fired at %d: %s", i+1, body)
		}
	}
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs", r.Addr(), "", ""))
		if !strings.Contains(body, run) || strings.Count(body, `"trigger":"ten"`) != 1 || !strings.Contains(body, `"state":"succeeded"`) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}

// roundsChild is the process that dies.
func roundsChild(t *testing.T, dir string) {
	set, findings := config.Parse("test.yaml", []byte(meeting), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	r := runIt(t, router.Options{Set: set, Registry: registry(), Journal: j, Listen: "127.0.0.1:0", SnapshotEvery: 3, Dir: dir})
	var wait sync.WaitGroup
	for i := range 5 {
		wait.Go(func() { sendEvent(t, r.Addr(), "ten", fmt.Sprint("e", i), `{"k":"j"}`) })
	}
	wait.Wait()
	fmt.Println("five are in")
	p, _ := os.FindProcess(os.Getpid())
	_ = p.Kill()
	select {}
}

// TestManyJoinsThroughTheWebhook: batches of events of 200 keys, round-robin, each batch twice, by several senders: each join fires once, with each of its events once.
func TestManyJoinsThroughTheWebhook(t *testing.T) {
	t.Parallel()
	const joins, width = 200, 20
	r := start(t, t.TempDir(), fmt.Sprintf(`
version: 1
functions: { f: { log: f } }
sources: { in: { webhook: { path: /events } } }
triggers:
  sum:
    filters: [{ exact: { type: part } }]
    correlate: "${ data.k }"
    await: { count: %d, late: unmatched }
    flow: { pass: {}, input: "${ {'k': data.k, 'n': arrived.map(x, x.data.n).sort()} }" }
`, width))
	var batches []string
	for n := range width {
		var events []string
		for k := range joins {
			events = append(events, fmt.Sprintf(`{"specversion":"1.0","id":"%d-%d","source":"/t","type":"part","data":{"k":"key-%d","n":%d}}`, k, n, k, n))
		}
		batches = append(batches, "["+strings.Join(events, ",")+"]")
	}
	var senders sync.WaitGroup
	next := make(chan string, 2*len(batches))
	for range 2 {
		for _, b := range batches {
			next <- b
		}
	}
	close(next)
	for range 4 {
		senders.Go(func() {
			for b := range next {
				if status, body := say(t, r.Addr(), request("POST", "/events", r.Addr(), "content-type: application/cloudevents-batch+json\r\n", b)); !strings.HasPrefix(status, "2") {
					t.Errorf("%s %.500s", status, body)
				}
			}
		})
	}
	senders.Wait()
	var want []string
	for n := range width {
		want = append(want, fmt.Sprint(n))
	}
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs?limit=1000", r.Addr(), "", ""))
		if n := strings.Count(body, `"state":"succeeded"`); n != joins || strings.Count(body, `"trigger":"sum"`) != joins {
			return fmt.Errorf("%d of %d have succeeded: %.300s", n, joins, body)
		}
		return nil
	})
	_, body := say(t, r.Addr(), request("GET", "/v1/runs?limit=1000", r.Addr(), "", ""))
	var list struct{ Runs []struct{ Run string } }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	for _, run := range list.Runs[:20] {
		if _, body := say(t, r.Addr(), request("GET", "/v1/runs/"+run.Run, r.Addr(), "", "")); !strings.Contains(body, `"n":[`+strings.Join(want, ",")+`]`) {
			t.Errorf("%s", body)
		}
	}
}
