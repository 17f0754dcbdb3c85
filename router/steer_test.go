package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// post asks the API, and decodes its answer.
func (r *running) post(path, body string, into any) int {
	r.t.Helper()
	resp, err := http.Post("http://"+r.Addr()+path, "application/cloudevents+json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			r.t.Fatalf("%s: %s: %v", path, b, err)
		}
	}
	return resp.StatusCode
}

// begin starts a run that is not waited for.
func (r *running) begin(trigger, id string) (explain func() string, end func() string) {
	r.t.Helper()
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType("test")
	_ = e.SetData(event.ApplicationJSON, json.RawMessage("1"))
	run, err := r.Start(context.Background(), trigger, &e)
	if err != nil {
		r.t.Fatal(err)
	}
	explain = func() string {
		lines, err := r.Explain(context.Background(), run)
		if err != nil {
			return err.Error()
		}
		return strings.Join(lines, "\n")
	}
	end = func() string {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		f, err := r.Wait(ctx, run)
		if err != nil {
			return err.Error()
		}
		return f.State
	}
	return explain, end
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func TestPausedFunctionsAndTriggersWaitAcrossRestarts(t *testing.T) {
	t.Parallel()
	address, calls := functions(t)
	dir := t.TempDir()
	doc := fmt.Sprintf(`version: 1
functions: { double: { http: { url: "%[1]s/double" }, concurrency: 8 } }
triggers:
  a: { flow: { function: double } }
  b: { flow: { function: double } }
  plain: { onSuccess: { function: double } }
`, address)
	r := start(t, dir, doc)
	if code := r.post("/v1/functions/double/pause?by=ada&reason=deploy", "", nil); code != 200 {
		t.Fatal(code)
	}
	explain, _ := r.begin("a", "1")
	until(t, "paused", func() bool { return strings.Contains(explain(), "function double is paused since") })
	if text := explain(); !strings.Contains(text, "by ada (deploy)") || !strings.Contains(text, "onward functions resume double") {
		t.Error(text)
	}
	for _, path := range []string{"/v1/functions/dubble/pause", "/v1/triggers/c/pause"} {
		if code := r.post(path, "", nil); code != 404 {
			t.Error(path, code)
		}
	}
	if code := r.post("/v1/functions/double/limit?limit=9", "", nil); code != 400 {
		t.Error(code)
	}
	if code := r.post("/v1/functions/double/limit?limit=2", "", nil); code != 200 {
		t.Error(code)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	r = start(t, dir, doc)
	explain, end := r.begin("a", "1") // The same run.
	until(t, "paused again", func() bool { return strings.Contains(explain(), "function double is paused since") })
	if n := calls.Load(); n != 0 {
		t.Fatalf("%d calls", n)
	}
	if code := r.post("/v1/triggers/a/pause", "", nil); code != 200 {
		t.Error(code)
	}
	if code := r.post("/v1/triggers/plain/pause", "", nil); code != 200 {
		t.Error(code)
	}
	var said struct {
		Functions []struct {
			Function    string
			Paused      struct{ By string }
			Limit, Held int
		}
	}
	resp, err := http.Get("http://" + r.Addr() + "/v1/functions")
	if err == nil {
		err = json.NewDecoder(resp.Body).Decode(&said)
	}
	if err != nil || said.Functions[0].Limit != 2 || said.Functions[0].Held != 1 || said.Functions[0].Paused.By != "ada" {
		t.Error(err, said)
	}
	if code := r.post("/v1/functions/double/resume", "", nil); code != 200 {
		t.Error(code)
	}
	if state := r.run("b", "1", "1").State; state != "succeeded" { // Only a is paused now.
		t.Error(state)
	}
	until(t, "the trigger", func() bool { return strings.Contains(explain(), "trigger a is paused since") })
	r.run("plain", "1", "1")
	if n := calls.Load(); n != 1 { // What of plain's destination there is waits, too.
		t.Errorf("%d calls", n)
	}
	var tried struct {
		Triggers []struct {
			Trigger       string
			Taken, Paused bool
		}
	}
	if r.post("/v1/events/test", `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, &tried); len(tried.Triggers) != 3 || !tried.Triggers[0].Taken || !tried.Triggers[0].Paused || !tried.Triggers[1].Taken || tried.Triggers[1].Paused {
		t.Error(tried)
	}
	for _, trigger := range []string{"a", "plain"} {
		if code := r.post("/v1/triggers/"+trigger+"/resume", "", nil); code != 200 {
			t.Error(code)
		}
	}
	if state := end(); state != "succeeded" {
		t.Error(state)
	}
	until(t, "the destination", func() bool { return calls.Load() == 3 })
}

func TestTriggersSayWhyNot(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), `version: 1
functions: { f: { log: f } }
triggers:
  orders: { filters: [{ exact: { type: order } }], flow: { function: f } }
  big: { filters: [{ exact: { type: order } }, { prefix: { subject: big } }], flow: { function: f } }
`)
	var said struct {
		Triggers []struct {
			Trigger, Why, Run string
			Taken             bool
		}
	}
	if code := r.post("/v1/events/test", `{"specversion":"1.0","id":"7","source":"/s","type":"order","subject":"small"}`, &said); code != 200 || len(said.Triggers) != 2 {
		t.Fatal(code, said)
	}
	tried := said.Triggers
	if x := tried[0]; x.Trigger != "big" || x.Taken || !strings.Contains(x.Why, "subject") {
		t.Error(x)
	}
	if x := tried[1]; !x.Taken || len(x.Run) != 26 {
		t.Error(x)
	}
	if code := r.post("/v1/events/test", `{"specversion":"1.0"}`, nil); code != 400 {
		t.Error(code)
	}
}
