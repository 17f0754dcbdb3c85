package http

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
	"github.com/onward-router/onward/sinks/sinktest"
)

// arriveTogether reads a batch with the CloudEvents SDK.
func arriveTogether(t *testing.T, body []byte) (out []sinktest.Arrival) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	for _, text := range raw {
		var e event.Event
		if err := e.UnmarshalJSON(text); err != nil {
			t.Errorf("the SDK does not read it: %v\n%s", err, text)
			continue
		}
		out = append(out, sinktest.Arrival{ID: e.ID(), Raw: string(text), Attributes: sinktest.Attributes(&e), Data: string(e.Data())})
	}
	return out
}

type oneAnswer struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Cause       string          `json:"causationid,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

func reply(to, kind, data string) oneAnswer {
	return oneAnswer{"1.0", "a-" + to, "/f", kind, to, json.RawMessage(data)}
}

func writeBatch(w http.ResponseWriter, answers []oneAnswer) {
	w.Header().Set("Content-Type", batchType)
	_ = json.NewEncoder(w).Encode(answers) // A client that has gone needs none.
}

func answerTogether(w http.ResponseWriter, r *http.Request, b sinktest.Behaviour, events []sinktest.Arrival) {
	switch b {
	case sinktest.Answer:
		answers := []oneAnswer{}
		for _, e := range events {
			answers = append(answers, reply(e.ID, "dev.onward.function.succeeded", e.Data))
		}
		slices.Reverse(answers)
		writeBatch(w, answers)
	case sinktest.Accept:
		w.WriteHeader(http.StatusAccepted)
	case sinktest.Fail:
		http.Error(w, "it broke", http.StatusInternalServerError)
	case sinktest.Busy:
		http.Error(w, "later", http.StatusServiceUnavailable)
	case sinktest.Hang:
		<-r.Context().Done()
	}
}

// TestBatches: each of a batch has its own outcome, whatever becomes of those beside it.
func TestBatches(t *testing.T) {
	t.Parallel()
	ours := func(what string) string { return "dev.onward.function." + what }
	for name, c := range map[string]struct {
		fail   string
		answer func(w http.ResponseWriter, ids []string)
		want   []string // of run~a, run~b, run~c
	}{
		"each its own": {answer: func(w http.ResponseWriter, ids []string) {
			writeBatch(w, []oneAnswer{reply(ids[2], "com.example.done", "3"), reply(ids[1], ours("failed"), `{"type":"E","message":"m"}`), reply(ids[0], ours("continue"), `{"at":1}`), reply(ids[0], ours("succeeded"), "9"), reply("another", ours("succeeded"), "9")})
		}, want: []string{`continue {"at":1}`, "error function E: m", "completed 3"}},
		"one is missing": {answer: func(w http.ResponseWriter, ids []string) {
			writeBatch(w, []oneAnswer{reply(ids[0], ours("succeeded"), "1"), reply(ids[2], ours("succeeded"), "3")})
		}, want: []string{"completed 1", "retry 0s platform batch_unanswered", "completed 3"}},
		"none": {answer: func(w http.ResponseWriter, _ []string) { writeBatch(w, []oneAnswer{}) }, want: []string{"retry 0s platform batch_unanswered", "retry 0s platform batch_unanswered", "retry 0s platform batch_unanswered"}},
		"by a rule": {fail: "${ body.error != null }", answer: func(w http.ResponseWriter, ids []string) {
			writeBatch(w, []oneAnswer{reply(ids[0], "t", `{"error":"boom"}`), reply(ids[1], "t", `{"n":1}`), reply(ids[2], "t", "")})
		}, want: []string{`error function failed: boom {"error":"boom"}`, `completed {"n":1}`, "completed null"}},
		"all fail":  {answer: func(w http.ResponseWriter, _ []string) { http.Error(w, "it broke", 500) }, want: []string{"error function http_500: status 500: it broke", "error function http_500", "error function http_500"}},
		"all again": {answer: func(w http.ResponseWriter, _ []string) { w.Header().Set("Retry-After", "2"); w.WriteHeader(503) }, want: []string{"retry 2s platform http_503", "retry 2s", "retry 2s"}},
		"all later": {answer: func(w http.ResponseWriter, _ []string) { w.WriteHeader(202) }, want: []string{"accepted", "accepted", "accepted"}},
		"a list": {answer: func(w http.ResponseWriter, _ []string) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `[{"n":1}]`)
		}, want: []string{`error function no_batch: a batch was answered by status 200, and its Content-Type "application/json" is not application/cloudevents-batch+json`, "error function no_batch", "error function no_batch"}},
		"no event": {answer: func(w http.ResponseWriter, _ []string) {
			w.Header().Set("Content-Type", "application/cloudevents-batch+json")
			fmt.Fprint(w, `[{"specversion":"1.0","id":""}]`)
		}, want: []string{"retry 0s platform batch_unanswered", "retry 0s platform batch_unanswered", "retry 0s platform batch_unanswered"}},
		"not a batch": {answer: func(w http.ResponseWriter, _ []string) { fmt.Fprint(w, `{"n":1}`) }, want: []string{"error function no_batch: a batch was answered by status 200, and it is no batch", "error function no_batch", "error function no_batch"}},
		"nothing":     {answer: func(http.ResponseWriter, []string) {}, want: []string{"error function no_batch", "error function no_batch", "error function no_batch"}},
		"not JSON": {answer: func(w http.ResponseWriter, _ []string) {
			w.Header().Set("Content-Type", batchType)
			fmt.Fprint(w, "[{")
		}, want: []string{"error function no_batch", "error function no_batch", "error function no_batch"}},
		"twice, and of others": {answer: func(w http.ResponseWriter, ids []string) {
			writeBatch(w, []oneAnswer{reply("another", ours("succeeded"), "9"), reply(ids[1], ours("succeeded"), "2"), reply(ids[1], ours("failed"), `{"message":"no"}`), reply(ids[2], ours("failed"), `{"type":"E","message":"m"}`), reply(ids[2], ours("succeeded"), "9"), reply("", ours("succeeded"), "9"), reply(ids[0], ours("succeeded"), "1")})
		}, want: []string{"completed 1", "completed 2", "error function E: m"}},
		"some are no events": {answer: func(w http.ResponseWriter, ids []string) {
			w.Header().Set("Content-Type", batchType)
			fmt.Fprintf(w, `[5, {"id":1}, null, {"specversion":"1.0","id":"x","source":"/f","type":"t","causationid":%q,"data":1}, {"specversion":"1.0","id":"y","source":"/f","type":"dev.onward.function.succeeded","causationid":%q,"data_base64":"!"}, {"specversion":"2.0","id":"z","causationid":%q}]`, ids[0], ids[1], ids[2])
		}, want: []string{"completed 1", "error function bad_response: the response is no answer: data_base64", "retry 0s platform batch_unanswered"}},
		"half, then reset": {answer: func(w http.ResponseWriter, ids []string) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n[{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/f\",\"type\":\"t\",\"causationid\":%q,\"data\":1},", batchType, ids[0])
			_ = c.(*net.TCPConn).SetLinger(0) // The far end is reset.
			_ = c.Close()
		}, want: []string{"retry 0s platform unreachable", "retry 0s platform unreachable", "retry 0s platform unreachable"}},
		"too large an answer": {answer: func(w http.ResponseWriter, ids []string) {
			var answers []oneAnswer
			for _, id := range ids {
				data := `"small"`
				if id == "run~b" {
					data = `"` + strings.Repeat("x", contract.MaxResponse) + `"`
				}
				answers = append(answers, reply(id, ours("succeeded"), data))
			}
			writeBatch(w, answers)
		}, want: []string{`completed "small"`, "error function too_large: the answer has more than", `completed "small"`}},
		"too large a batch": {answer: func(w http.ResponseWriter, ids []string) {
			if len(ids) > 1 {
				w.WriteHeader(413)
				return
			}
			writeBatch(w, []oneAnswer{reply(ids[0], "t", `"alone"`)})
		}, want: []string{`completed "alone"`, `completed "alone"`, `completed "alone"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Header.Get("Content-Type") != batchType || r.Header.Get("X-Key") != "k" {
					t.Errorf("%s", r.Header)
				}
				var ids []string
				for _, e := range arriveTogether(t, body) {
					ids = append(ids, e.ID)
				}
				c.answer(w, ids)
			}))
			defer s.Close()
			settings := &Settings{URL: s.URL, Method: "POST", Mode: "binary", Body: "data", Headers: map[string]client.Value{"X-Key": {Text: "k"}}}
			if c.fail != "" {
				settings.Fail = expr(t, c.fail)
			}
			k, err := New("f", settings, sinks.Host{Concurrency: 1, Batch: true})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			got, all := make([]sinks.Result, 3), sync.WaitGroup{}
			var list []*sinks.Delivery
			for i, id := range []string{"run~a", "run~b", "run~c"} {
				d := invocation(t.Context())
				d.Event().SetID(id)
				all.Add(1)
				d.Done = func(r sinks.Result) { got[i] = r; all.Done() }
				list = append(list, d)
			}
			k.Deliver(t.Context(), list)
			all.Wait()
			for i, want := range c.want {
				if text := sinktest.Describe(got[i]); !strings.HasPrefix(text, want) {
					t.Errorf("%d: %s; want %s", i, text, want)
				}
			}
		})
	}
}

// TestOneOfABatchIsGivenUp: the rest has its answer.
func TestOneOfABatchIsGivenUp(t *testing.T) {
	t.Parallel()
	came, letGo := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		close(came)
		<-letGo
		answerTogether(w, r, sinktest.Answer, arriveTogether(t, body))
	}))
	defer s.Close()
	k, err := New("f", &Settings{URL: s.URL, Method: "POST", Mode: "binary", Body: "data"}, sinks.Host{Concurrency: 1, Batch: true})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ctx, cancel := context.WithCancel(t.Context())
	one, two, done := invocation(ctx), invocation(t.Context()), make(chan string, 2)
	two.Event().SetID("run~two")
	one.Done = func(r sinks.Result) { done <- sinktest.Describe(r) }
	two.Done = one.Done
	k.Deliver(ctx, []*sinks.Delivery{one, two})
	<-came
	cancel()
	if got := <-done; !strings.HasPrefix(got, "failed cancelled") {
		t.Error(got)
	}
	close(letGo)
	if got := <-done; got != `completed {"n":1}` {
		t.Error(got)
	}
}

// TestProbeOfBatches: a function that does not know batches is found before anything is sent to it.
func TestProbeOfBatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code int
		body string
		want string
	}{
		"it does": {200, "[]", ""}, "it says nothing": {204, "", ""}, "later": {202, "", ""},
		"a handler that answers anything": {200, `{"n":1}`, "it does not take batches: to a batch of no events it answers status 200, {"}, "Express": {400, "bad", "it does not take batches: to a batch of no events it answers status 400, status 400: bad; have it"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != "[]" || r.Header.Get("Content-Type") != batchType {
				t.Errorf("%s: %s", body, r.Header)
			}
			w.WriteHeader(c.code)
			fmt.Fprint(w, c.body)
		}))
		k, err := New("f", &Settings{URL: s.URL, Method: "POST", Mode: "binary", Body: "data"}, sinks.Host{Concurrency: 1, Batch: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = k.(interface {
			Probe(context.Context) (string, error)
		}).Probe(ctx)
		if cancel(); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = k.Close()
		s.Close()
	}
}
