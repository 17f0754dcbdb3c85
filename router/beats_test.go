package router_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
)

const beatsDocument = `
version: 1
functions:
  long: { far: x, heartbeat: 30s, maxAge: 1h, retry: { attempts: 2, backoff: 1s, on: [heartbeat_timeout] } }
triggers:
  one: { flow: { function: long, input: "${ data }" } }
`

func heartbeat(id, cause, data string) event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/functions")
	e.SetType("dev.onward.function.heartbeat")
	e.SetExtension("causationid", cause)
	if data != "" {
		_ = e.SetData(event.ApplicationJSON, []byte(data))
	}
	return e
}

// TestHeartbeats come as events and by HTTP: they keep a call alive beyond any age without a record, are shown, and are answered with what is known of the
// call; without them the try fails, by a type of its own that rules can name.
func TestHeartbeats(t *testing.T) {
	inBubble(t, beatsDocument, func(t *testing.T, b *bubble) {
		post := func(id string, data any) triggers.Fate {
			t.Helper()
			fate, err := b.Heartbeat(t.Context(), id, lang.Of(data))
			if err != nil {
				t.Fatal(err)
			}
			return fate
		}
		b.far.behave = func(s *sent) { s.end(sinks.Accept()) }
		run := b.start("one", "1", "7")
		rest()
		first := b.far.sent("long")[0]
		before, _ := b.metric("onward_records_total")
		for i := range 300 { // 7,500 s.
			time.Sleep(25 * time.Second)
			if i%2 == 0 {
				receipts, err := b.Admit(t.Context(), []event.Event{heartbeat(fmt.Sprint(i), first.id, fmt.Sprintf(`{"done": %d}`, i))})
				if err != nil || receipts[0].Err != nil || receipts[0].Kind != triggers.Heartbeat || receipts[0].Runs[0].ID != run.String() {
					t.Fatal(receipts, err)
				}
			} else if fate := post(first.id, map[string]int{"done": i}); fate != triggers.Applied {
				t.Fatal(fate)
			}
		}
		if after, _ := b.metric("onward_records_total"); after != before {
			t.Errorf("%v records of heartbeats", after-before)
		}
		time.Sleep(12 * time.Second)
		lines, err := b.Explain(t.Context(), run)
		if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, `its last heartbeat came 12s ago: {"done":299}`) {
			t.Errorf("%q, %v", text, err)
		}
		time.Sleep(20 * time.Second) // The first try is silent for too long; the second one comes.
		settle()
		calls := b.far.sent("long")
		if len(calls) != 2 || calls[1].id == first.id {
			t.Fatalf("%d calls", len(calls))
		}
		if fate := post(first.id, nil); fate != triggers.Superseded {
			t.Errorf("of a try that is over: %s", fate)
		}
		if _, err := b.Heartbeat(t.Context(), first.id[:len(first.id)-1], lang.Null); !errors.Is(err, triggers.ErrRefused) {
			t.Errorf("of an id that was cut: %v", err)
		}
		receipts, err := b.Admit(t.Context(), []event.Event{heartbeat("x", first.id+"0", "")})
		if err != nil || receipts[0].Err == nil {
			t.Error(receipts, err)
		}
		time.Sleep(31 * time.Second)
		settle()
		f := b.wait(run)
		if f.State != "failed" || f.Error.Type != "heartbeat_timeout" || f.Error.Class.String() != "timeout" || f.Error.Message != "neither an outcome nor a heartbeat within 30s" || f.Calls != 2 {
			t.Errorf("%+v", f)
		}
		rest()
		if fate := post(calls[1].id, nil); fate != triggers.Ended {
			t.Errorf("of a run that has ended: %s", fate)
		}
		b.counted(300, "onward_heartbeats_total")
	})
}

// TestHeartbeatsFindTheirOwner: one that comes to another router reaches the one that has sent the call.
func TestHeartbeatsFindTheirOwner(t *testing.T) {
	t.Parallel()
	far := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	server := httptest.NewServer(far)
	defer server.Close()
	doc := `
version: 1
functions: { long: { http: { url: "` + server.URL + `" }, heartbeat: 10m } }
sources: { inbox: { webhook: {} } }
triggers: { one: { flow: { function: long } } }
`
	c := openCluster(t, 2, doc)
	var run journal.RunID
	for i := 0; ; i++ { // One that the second router folds.
		e := event.New()
		e.SetID(fmt.Sprint(i))
		e.SetSource("/test")
		e.SetType("test")
		run = c.members[0].Router.RunIDOf("one", &e)
		if c.owner[int(uint64(run.Route())*4>>32)] == 1 {
			if _, err := c.members[0].Router.Start(t.Context(), "one", &e); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	invocation := func() (id, state string) {
		st, _, err := c.members[1].Router.Status(t.Context(), run, 1)
		if err != nil || st == nil || st.Root == nil || st.Root.Invocation == nil {
			return "", ""
		}
		return st.Root.Invocation.ID, st.Root.Invocation.Outbox
	}
	id := ""
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var at string
		if id, at = invocation(); strings.Contains(at, "has accepted it") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is %q", id, at)
		}
	}
	resp, err := http.Post("http://"+c.members[0].address+"/v1/invocations/"+url.PathEscape(id)+"/heartbeat", "application/json", strings.NewReader(`{"at":"half"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	st, _, err := c.members[1].Router.Status(t.Context(), run, 1)
	if resp.StatusCode != http.StatusOK || err != nil || st.Root.Invocation.Progress.JSON() != `{"at":"half"}` {
		t.Fatalf("%d %s; %+v, %v", resp.StatusCode, body, st.Root.Invocation, err)
	}
	// By its source, too: as an event that names the call.
	q, _ := http.NewRequest("POST", "http://"+c.members[0].address+"/events", strings.NewReader(`{"at":"the end"}`))
	for name, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "h", "Ce-Source": "/f", "Ce-Type": "dev.onward.function.heartbeat", "Ce-Causationid": id, "Content-Type": "application/json"} {
		q.Header.Set(name, v)
	}
	again, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	body, _ = io.ReadAll(again.Body)
	st, _, err = c.members[1].Router.Status(t.Context(), run, 1)
	if again.StatusCode != http.StatusOK || !strings.Contains(string(body), `"heartbeat"`) || err != nil || st.Root.Invocation.Progress.JSON() != `{"at":"the end"}` {
		t.Errorf("%d %s; %+v, %v", again.StatusCode, body, st.Root.Invocation, err)
	}
	for id, want := range map[string]int{id[:len(id)-1]: http.StatusForbidden, "order-7": http.StatusForbidden} {
		resp, err := http.Post("http://"+c.members[0].address+"/v1/invocations/"+url.PathEscape(id)+"/heartbeat", "application/json", strings.NewReader(`1`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("of %s: %s", id, resp.Status)
		}
	}
}
