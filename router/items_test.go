package router_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
)

const items = `
version: 1
functions: { f: { log: f } }
sources: { in: { webhook: { path: /events } } }
triggers:
  parcels:
    filters: [{ exact: { type: packed } }]
    correlate: "${ data.orders }"
    await: { count: 2 }
    flow: { pass: {}, input: "${ arrived.map(x, x.id) }" }
  order:
    filters: [{ exact: { type: placed } }]
    flow: { map: { items: "${ data.items }", as: item, join: settled, do: { subrun: shipment, input: "${ {'id': item} }" } } }
  patient:
    filters: [{ exact: { type: patient } }]
    flow: { subrun: shipment, input: "${ data }", retry: { attempts: 9, backoff: 50ms, on: [key_taken] } }
  shipment:
    correlate: "${ data.id }"
    signals:
      shipped: { filters: [{ exact: { type: shipped } }], correlate: "${ data.items }" }
      lost: { filters: [{ exact: { type: lost } }], correlate: "${ data.items }" }
    flow: { sequence: [{ signal: { name: shipped, fails: lost } }, { pass: {}, input: "${ [data.id, previous.by] }" }] }
`

// seen gets a page of the API, until it has a text.
func seen(t *testing.T, r *running, path, want string) (body string) {
	t.Helper()
	eventually(t, func() error {
		if _, body = say(t, r.Addr(), request("GET", path, r.Addr(), "", "")); !strings.Contains(body, want) {
			return fmt.Errorf("%s: %s; want %s", path, body, want)
		}
		return nil
	})
	return body
}

func runOf(x taken) string { return x.run() }

// TestAnEventMeetsEachOfItsKeys: it is in the round of each, copies of it are none, and of what it may be told of two keys its sender is told of both.
func TestAnEventMeetsEachOfItsKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, items)
	runs := func(x taken) (all []string) {
		for _, run := range x.Runs {
			all = append(all, run.Run)
		}
		return all
	}
	send := func(id, data string) []string { return runs(sendEvent(t, r.Addr(), "packed", id, data)) }
	one := send("one", `{"orders":["a","b","a"]}`)
	if len(one) != 2 || !slices.Equal(send("one", `{"orders":["a","b"]}`), one) {
		t.Fatalf("two keys: %q", one)
	}
	if again := send("one", `{"orders":["b","c"]}`); len(again) != 2 || again[0] != one[1] || slices.Contains(one, again[1]) {
		t.Errorf("the same event with another list of keys: %q; before %q", again, one)
	}
	if body := seen(t, r, "/v1/waits", `"round":"a"`); !strings.Contains(body, `"round":"b"`) || !strings.Contains(body, `"round":"c"`) {
		t.Errorf("waits: %s", body)
	}
	for _, data := range []string{`{"orders":[]}`, `{"orders":["a",null]}`, `{"orders":[["a"]]}`} {
		if x := sendEvent(t, r.Addr(), "packed", "none", data); len(x.Runs) != 0 || !strings.Contains(x.Note, "no key for correlate") {
			t.Errorf("%s: %+v", data, x)
		}
	}
	seen(t, r, "/v1/dead", `no_key`)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, items)
	if two := send("two", `{"orders":["b","d"]}`); len(two) != 2 || two[0] != one[1] {
		t.Errorf("another one: %q; want %s first", two, one[1])
	}
	seen(t, r, "/v1/runs/"+one[1], `"result":["one","two"]`)
	seen(t, r, "/v1/runs/"+one[0], `"missing":["1 events"]`)
	three := sendEvent(t, r.Addr(), "packed", "two", `{"orders":["b","a"]}`) // Of b it is a copy.
	if got := runs(three); len(got) != 1 || got[0] != one[0] || !strings.Contains(three.Note, `key "b": it has come before`) {
		t.Errorf("a copy of one key, and another: %+v", three)
	}
	seen(t, r, "/v1/runs/"+one[0], `"result":["one","two"]`)
	seen(t, r, "/v1/events/two", one[0])
	_, body := say(t, r.Addr(), request("POST", "/v1/events/test", r.Addr(), "Content-Type: application/cloudevents+json\r\n", `{"specversion":"1.0","id":"q","source":"/t","type":"packed","data":{"orders":["x",7]}}`))
	if !strings.Contains(body, `"keys":["x","7"]`) {
		t.Errorf("a test: %s", body)
	}
}

// TestItemsAwaitEventsOfTheirOwn: each item of a map is a run with a key of its own, and has the events of that: those that came before it as well, one for several
// items, also behind a restart. A key that another run has is an error that can be tried again.
func TestItemsAwaitEventsOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, items)
	early := runOf(sendEvent(t, r.Addr(), "shipped", "s-1", `{"items":["a"],"by":"bike"}`))
	seen(t, r, "/v1/runs/"+early, `"missing":["the event that begins the run"]`)
	order := runOf(sendEvent(t, r.Addr(), "placed", "o-1", `{"items":["a","b","c","d"]}`))
	seen(t, r, "/v1/runs/"+early, `was kept for the run that begins`)
	seen(t, r, "/v1/waits?signal=shipped", `"total":3`)
	explained := seen(t, r, "/v1/runs/"+order+"/explain", `"path":"subrun[3]"`)
	for _, want := range []string{`of trigger shipment, for which it waits: it is the one that events of key \"d\" come to; signal: waiting for the signal \"`, `"kind":"run"`} {
		if !strings.Contains(explained, want) {
			t.Errorf("%s; want %s", explained, want)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, items)
	if x := sendEvent(t, r.Addr(), "shipped", "s-2", `{"items":["b","c"],"by":"ship"}`); len(x.Runs) != 2 || !strings.Contains(explained, x.Runs[0].Run) {
		t.Errorf("%+v; the run explains itself by %s", x, explained)
	}
	sendEvent(t, r.Addr(), "shipped", "s-3", `{"items":["b"],"by":"nobody"}`) // It opens a round, which nothing begins.
	taken := runOf(sendEvent(t, r.Addr(), "placed", "o-2", `{"items":["d"]}`))
	seen(t, r, "/v1/runs/"+taken, `"type":"key_taken"`)
	patient := runOf(sendEvent(t, r.Addr(), "patient", "o-3", `{"id":"d"}`))
	seen(t, r, "/v1/runs/"+patient+"/explain", "key_taken")
	sendEvent(t, r.Addr(), "lost", "s-4", `{"items":["d"]}`)
	seen(t, r, "/v1/runs/"+order, `{"outcome":"succeeded","value":["c","ship"]},{"outcome":"failed","error":{"type":"lost"`)
	seen(t, r, "/v1/waits?signal=shipped", `"total":1`)
	sendEvent(t, r.Addr(), "shipped", "s-5", `{"items":["d"],"by":"air"}`)
	seen(t, r, "/v1/runs/"+patient, `"result":["d","air"]`)
}

// TestItemsThatNobodyWaitsForHaveNoKey: a run that is cancelled gives back the keys of what it has started, and one that is redriven starts those anew.
func TestItemsThatNobodyWaitsForHaveNoKey(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), items)
	run := runOf(sendEvent(t, r.Addr(), "placed", "o-1", `{"items":["a","b"]}`))
	seen(t, r, "/v1/waits?signal=shipped", `"total":2`)
	sendEvent(t, r.Addr(), "shipped", "s-1", `{"items":["a"],"by":"bike"}`)
	seen(t, r, "/v1/waits?signal=shipped", `"total":1`)
	if status, body := say(t, r.Addr(), request("POST", "/v1/runs/"+run+"/cancel", r.Addr(), "", "")); !strings.HasPrefix(status, "2") {
		t.Fatalf("%s %s", status, body)
	}
	seen(t, r, "/v1/runs/"+run, `"state":"cancelled"`)
	seen(t, r, "/v1/waits?signal=shipped", `"total":0`)
	early := sendEvent(t, r.Addr(), "shipped", "s-2", `{"items":["b"],"by":"ship"}`)
	seen(t, r, "/v1/runs/"+early.run(), `"state":"waiting"`)
	eventually(t, func() error { // Its end may be on its way yet.
		if status, body := say(t, r.Addr(), request("POST", "/v1/runs/"+run+"/redrive", r.Addr(), "", "")); !strings.HasPrefix(status, "2") {
			return fmt.Errorf("%s %s", status, body)
		}
		return nil
	})
	seen(t, r, "/v1/runs/"+run, `"value":["b","ship"]}]`)

	// A run by itself has the events of its key again, too, and what came for it while it had ended.
	_, body := say(t, r.Addr(), request("POST", "/v1/triggers/shipment", r.Addr(), "", `{"id":"z"}`))
	var alone struct{ Run string }
	if err := json.Unmarshal([]byte(body), &alone); err != nil {
		t.Fatal(err, body)
	}
	redrive := func() {
		eventually(t, func() error {
			if status, body := say(t, r.Addr(), request("POST", "/v1/runs/"+alone.Run+"/redrive", r.Addr(), "", "")); !strings.HasPrefix(status, "2") {
				return fmt.Errorf("%s %s", status, body)
			}
			return nil
		})
	}
	sendEvent(t, r.Addr(), "lost", "l-1", `{"items":["z"]}`)
	seen(t, r, "/v1/runs/"+alone.Run, `"state":"failed"`)
	redrive()
	seen(t, r, "/v1/waits?signal=shipped", alone.Run)
	if x := sendEvent(t, r.Addr(), "lost", "l-2", `{"items":["z"]}`); x.run() != alone.Run {
		t.Errorf("an event of the key of a run that was redriven: %+v", x)
	}
	seen(t, r, "/v1/runs/"+alone.Run, `"state":"failed"`)
	sendEvent(t, r.Addr(), "shipped", "s-3", `{"items":["z"],"by":"mule"}`)
	redrive()
	seen(t, r, "/v1/runs/"+alone.Run, `"result":["z","mule"]`)
}

// TestWhoOverfillsARoundIsTold: the event came to a run, and that has failed by it.
func TestWhoOverfillsARoundIsTold(t *testing.T) {
	t.Parallel()
	r := startWith(t, `
version: 1
sources: { in: { webhook: { path: /events } } }
triggers: { t: { filters: [{ exact: { type: a } }], correlate: "${ data.k }", await: { count: "${ data.total }" }, flow: { pass: {} } } }
`, func(*router.Options) {})
	sendEvent(t, r.Addr(), "a", "1", `{"k":1}`)
	x := sendEvent(t, r.Addr(), "a", "2", `{"k":1,"total":-5}`)
	if x.Taken != "matched" || len(x.Runs) != 1 || !strings.Contains(x.Note, "its run fails: count:") {
		t.Errorf("%+v", x)
	}
	if x := sendEvent(t, r.Addr(), "a", "3", `{"k":2,"total":-5}`); len(x.Runs) != 1 || !strings.Contains(x.Note, "its run fails: count:") {
		t.Errorf("the first of a round: %+v", x)
	}
}
