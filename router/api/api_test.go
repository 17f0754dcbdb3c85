package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// A house is all the rooms that an API asks, each with one answer.
type house struct {
	asked  []string
	err    error
	ended  *engine.Ending
	passed bool
	fate   triggers.Fate

	definitions map[lang.Digest][]byte // by which runs have ended
}

func (h *house) Start(_ context.Context, trigger string, e *event.Event) (journal.RunID, error) {
	h.asked = append(h.asked, "start "+trigger+" "+string(e.Data()))
	return journal.RunID{1}, h.err
}

func (h *house) Signal(_ context.Context, _ journal.RunID, f engine.SignalFact) (triggers.Fate, error) {
	h.asked = append(h.asked, "signal "+f.Name+" "+f.Source+" "+f.ID+" "+f.Data.JSON())
	return h.fate, h.err
}

func (h *house) Facts(_ context.Context, facts []journal.Record) (fates []triggers.Fate, err error) {
	for _, rec := range facts {
		said := "fact " + rec.Kind.String() + " " + string(rec.Payload)
		if rec.Kind == journal.Cancel {
			f, err := engine.DecodeCancel(rec.Payload)
			if err != nil {
				return nil, err
			}
			said = "cancel " + f.Reason + " " + f.ID
		}
		h.asked = append(h.asked, said)
		fates = append(fates, h.fate)
	}
	return fates, h.err
}

var myRun, theirRun = journal.RunID{1}.String(), journal.RunID{2}.String()

type peerMark struct{}

// Check takes the word of who says that he is a router, or that he is none.
func (h *house) Check(q *http.Request) (*http.Request, bool, error) {
	switch q.Header.Get("Onward-Peer") {
	case "":
		return q, false, nil
	case "true":
		return q.WithContext(context.WithValue(q.Context(), peerMark{}, true)), true, nil
	}
	return q, false, errors.New("the proof does not hold")
}

func (h *house) Prove(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Onward-Peer", "proved")
}

func (h *house) IsPeer(ctx context.Context) bool { return ctx.Value(peerMark{}) != nil }

func (h *house) Has(journal.RunID) bool { return true }

func (h *house) Ask(_ context.Context, _ journal.RunID, f func(*engine.State)) error {
	f(engine.New(new(plugin.Registry), nil))
	return h.err
}

func (h *house) List(context.Context, engine.Listing, func(*engine.Listing)) error { return h.err }

func (h *house) Watch(context.Context, journal.RunID) <-chan engine.Change { return nil }

func (h *house) Beat(context.Context, string, lang.Value) (triggers.Fate, error) {
	return triggers.Applied, h.err
}

func (h *house) Progress(journal.RunID, uint32) (time.Time, lang.Value) {
	return time.Time{}, lang.Null
}

func (h *house) Standing(_ journal.RunID, numbers []uint32) []engine.StepState {
	return make([]engine.StepState, len(numbers))
}

func (h *house) Unsent(string, string, journal.RunID) int { return 0 }

func (h *house) Explain(journal.RunID, uint32) (string, time.Time, time.Time) {
	return "", time.Time{}, time.Time{}
}

func (h *house) Forward(w http.ResponseWriter, _ *http.Request, _ journal.RunID, _ func(http.ResponseWriter, error)) (bool, error) {
	if h.passed {
		fmt.Fprint(w, `"elsewhere"`)
	}
	return h.passed, nil
}

func (h *house) Gather(_ *http.Request, decode func() (any, func())) []string {
	into, done := decode()
	if json.Unmarshal([]byte(`{"runs":[{"run":"`+theirRun+`","state":"running"}],"total":1,"waits":[{"run":"`+theirRun+`","signal":"go"}]}`), into) == nil {
		done()
	}
	return []string{"10.0.0.7:8080"}
}

func (h *house) Wait(context.Context, journal.RunID) *engine.Ending { return nil }

func (h *house) Find(context.Context, journal.RunID) *engine.Ending { return nil }

// A past has the steps that failed of whichever run.
type past struct {
	Past
	failed *engine.Timeline
}

func (p past) Strips(journal.RunID, time.Time, time.Time, int, int) (*engine.Strips, error) {
	return &engine.Strips{Strips: []*engine.Strip{}}, nil
}

func (p past) Below(journal.RunID, string, int) ([]*engine.PastStep, bool, error) {
	return nil, false, nil
}

func (p past) Timeline(journal.RunID, string, int, bool) (*engine.Timeline, error) {
	if p.failed == nil {
		return new(engine.Timeline), nil
	}
	return p.failed, nil
}

func (p past) Within(journal.RunID, string, time.Time, time.Time, func(int)) error { return nil }

func (p past) Slowest(journal.RunID, int) ([]*engine.PastStep, error) { return nil, nil }

func (p past) Mark() string { return "" }

func (p past) Became(journal.RunID, string, string, func([]byte, int, engine.StepState, bool)) (bool, error) {
	return false, nil
}

// ends are the house's ended runs, whose Find is another's too.
type ends struct{ *house }

func (e ends) Find(journal.RunID) *engine.Ending { return e.ended }

func (e ends) Get(journal.RunID) (*engine.Ending, <-chan *engine.Ending, func()) {
	return e.ended, make(chan *engine.Ending), func() {}
}

func (e ends) Next(journal.RunID) (<-chan *engine.Ending, func()) {
	return make(chan *engine.Ending), func() {}
}

func (e ends) Past(journal.RunID) ([]engine.Past, error) { return nil, nil }

func (e ends) Heads(event string, choose func(tenant, trigger, state, failure string) bool, yield func(*engine.EndHead) bool) error {
	if f := e.ended; f != nil && (event == "" || engine.EventID(f.Event) == event) && choose(f.Tenant, f.Trigger, f.State, typeOf(f.Error)) {
		id, _ := journal.ParseRunID(f.ID)
		yield(&engine.EndHead{Run: id, Tenant: f.Tenant, Trigger: f.Trigger, State: f.State, Started: f.Started.UnixNano(), Ended: f.Ended.UnixNano()})
	}
	return nil
}

func (e ends) Definition(d lang.Digest) ([]byte, error) { return e.definitions[d], nil }

func (e ends) Reader() func(*engine.EndHead, func([]byte) bool) (*engine.Ending, error) {
	return func(*engine.EndHead, func([]byte) bool) (*engine.Ending, error) { return e.ended, nil }
}

func serve(t *testing.T, h *house, token string) func(method, path, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	o := Options{
		Intake: h, Shards: h, Endings: ends{h}, Past: past{}, Cluster: h, Outbox: h, Set: func() *config.Set { return &config.Set{} }, Load: func() any { return map[string]string{"full": "enough"} }, Functions: func() []control.FunctionStatus { return []control.FunctionStatus{{Function: "f"}} },
		Parked: func() []triggers.Parked { return nil }, Ready: func() error { return h.err }, Starts: func() error { return nil }, Metrics: prometheus.NewRegistry(), MaxBody: 64,
	}
	if token != "" {
		t.Setenv("ONWARD_TEST_TOKEN", token)
		o.Token = plugin.Secret{Env: "ONWARD_TEST_TOKEN"}
	}
	handler, err := New(o).Handler(func(h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	return asker(handler)
}

func asker(handler http.Handler) func(method, path, body string, headers ...string) (int, string, http.Header) {
	return func(method, path, body string, headers ...string) (int, string, http.Header) {
		q := httptest.NewRequest(method, path, strings.NewReader(body))
		for i := 0; i < len(headers); i += 2 {
			q.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, q)
		return w.Code, w.Body.String(), w.Header()
	}
}

// TestWhatIsAskedForIsHandedOn with the caller's key, and acknowledged.
func TestWhatIsAskedForIsHandedOn(t *testing.T) {
	t.Parallel()
	h := &house{ended: &engine.Ending{ID: "x", State: "succeeded"}}
	ask := serve(t, h, "")
	run := journal.RunID{1}.String()
	for _, c := range []struct {
		path, body, want string
		code             int
	}{
		{"/v1/triggers/t", `{"a":1}`, `start t {"a":1}`, 202},
		{"/v1/runs/" + run + "/signals/go", `7`, "signal go /v1/signals/go k 7", 202},
		{"/v1/runs/" + run + "/signals/stop", `7`, "signal stop /v1/signals/stop k 7", 202},
		{"/v1/runs/" + run + "/cancel?reason=enough", ``, "cancel enough k", 202},
		{"/v1/triggers/t", `{`, "", 400},
		{"/v1/triggers/t", `"` + strings.Repeat("x", 80) + `"`, "", 413},
		{"/v1/runs/nonsense/cancel", ``, "", 404},
	} {
		h.asked = nil
		code, body, _ := ask("POST", c.path, c.body, "Idempotency-Key", "k")
		if code != c.code || strings.Join(h.asked, ",") != c.want {
			t.Errorf("%s: %d %s, asked %v", c.path, code, body, h.asked)
		}
	}
	for path, sent := range map[string]string{"/v1/triggers/t": "1", "/v1/runs/" + run + "/signals/go": "1", "/v1/runs/" + run + "/cancel": "{}", "/v1/runs/" + run + "/pause": " null\n"} {
		if code, body, _ := ask("POST", path, sent, "Idempotency-Key", ""); code != 400 || !strings.Contains(body, "Idempotency-Key is empty") {
			t.Errorf("%s with a key that is empty: %d %s", path, code, body)
		}
	}
	// What would be passed over is refused.
	for path, takes := range map[string]string{"/v1/runs/" + run + "/cancel": "reason", "/v1/functions/f/pause": "by, reason", "/v1/runs/" + run + "/window": "path, window"} {
		h.asked = nil
		if code, body, _ := ask("POST", path, `{"reason": "a long story"}`); code != 400 || !strings.Contains(body, "this takes no body, and one came that begins with") || !strings.Contains(body, "what it takes stands in the query: "+takes+`"`) || h.asked != nil {
			t.Errorf("%s with a body: %d %s, asked %v", path, code, body, h.asked)
		}
	}
	h.passed, h.asked = true, nil
	if code, body, _ := ask("POST", "/v1/runs/"+run+"/cancel", ""); code != 200 || body != `"elsewhere"` || h.asked != nil {
		t.Errorf("another's run: %d %s, asked %v", code, body, h.asked)
	}
}

// TestWhoAsksHearsWhatBecameOfIt: the fold's word, a status for programs, and for what did nothing a cure.
func TestWhoAsksHearsWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	run := journal.RunID{1}.String()
	for _, c := range []struct {
		fate triggers.Fate
		code int
		said string
	}{
		{triggers.Accepted, 202, `"became":"accepted"`}, {triggers.Applied, 200, `"became":"applied"`}, {triggers.Repeated, 200, `"became":"repeated"`},
		{triggers.Ended, 410, `"cure":"see how it ended: onward runs get ` + run + `"`}, {triggers.Unknown, 404, `"error":{"code":"unknown","message":"there is no such run"`},
		{triggers.Superseded, 409, `"cure":`}, {triggers.Limited, 429, `"cure":`}, {triggers.Malformed, 400, `"cure":`},
	} {
		for path, sent := range map[string]string{"/v1/runs/" + run + "/signals/go": "1", "/v1/runs/" + run + "/cancel": ""} {
			code, body, _ := serve(t, &house{fate: c.fate}, "")("POST", path, sent)
			if code != c.code || !strings.Contains(body, c.said) || strings.Contains(body, " RUN") {
				t.Errorf("%s: %s: %d %s", c.fate, path, code, body)
			}
		}
	}
}

// TestErrorsSayWhetherToAskAgain by their status.
func TestErrorsSayWhetherToAskAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
		wait string
	}{
		{triggers.ErrNoTrigger, 404, ""}, {triggers.ErrInvalid, 400, ""}, {triggers.ErrBusy, 429, "1"}, {journal.ErrMoving, 503, "1"},
		{triggers.ErrFull, 507, "30"}, {triggers.ErrTooLarge, 413, ""}, {triggers.ErrSlow, 408, ""}, {errors.New("anything"), 503, ""},
	} {
		code, body, header := serve(t, &house{err: fmt.Errorf("so it is: %w", c.err)}, "")("POST", "/v1/triggers/t", "1")
		if code != c.code || header.Get("Retry-After") != c.wait || !strings.Contains(body, `"message":"so it is`) {
			t.Errorf("%v: %d %q %s", c.err, code, header.Get("Retry-After"), body)
		}
	}
}

// TestListIsOfAllRouters, and says who did not answer.
func TestListIsOfAllRouters(t *testing.T) {
	t.Parallel()
	ask := serve(t, &house{ended: &engine.Ending{ID: myRun, State: "succeeded", Ended: time.Unix(1, 0)}}, "")
	code, body, header := ask("GET", "/v1/runs", "")
	if code != 200 || !strings.Contains(body, `"`+myRun+`"`) || !strings.Contains(body, `"`+theirRun+`"`) || header.Get("Onward-Unanswered") != "10.0.0.7:8080" {
		t.Errorf("%d %s %v", code, body, header)
	}
	if code, body, _ := ask("GET", "/v1/runs?limit=none", ""); code != 400 {
		t.Errorf("%d %s", code, body)
	}
}

// TestRoutersProveThemselves: another router needs no token, one that cannot prove to be one gets nothing, and what is for routers is for nobody else.
func TestRoutersProveThemselves(t *testing.T) {
	h := &house{fate: triggers.Ended}
	ask := serve(t, h, "hush")
	payload := (&engine.SignalFact{Source: "/s", ID: "1", Name: "go"}).Append(nil)
	facts := func(kinds ...journal.Kind) string {
		var list []journal.Record
		for _, kind := range kinds {
			list = append(list, journal.Record{Kind: kind, Level: journal.Level, Run: journal.RunID{1}, Payload: payload})
		}
		return string(journal.AppendRecords(nil, list))
	}
	newer := string(journal.AppendRecords(nil, []journal.Record{{Kind: journal.Signal, Level: journal.Level + 1, Payload: payload}}))
	for _, c := range []struct {
		method, path, body, token, peer string
		code                            int
		want                            string
	}{
		{"GET", "/v1/runs", "", "", "true", 200, `"` + myRun + `"`}, {"GET", "/v1/runs", "", "", "forged", 401, "the proof does not hold"}, {"GET", "/v1/runs", "", "Bearer hush", "forged", 401, "the proof does not hold"},
		{"GET", "/v1/runs", "", "", "", 401, "no valid token"}, {"GET", "/v1/peer", "", "", "true", 200, ""}, {"GET", "/v1/peer", "", "", "", 401, "no valid token"},
		{"POST", "/v1/facts", facts(journal.Signal), "", "true", 200, `"became":["ended"]`}, {"POST", "/v1/facts", facts(journal.Signal), "Bearer hush", "", 404, ""},
		{"POST", "/v1/facts", facts(journal.Signal, journal.Signal), "", "true", 200, `"became":["ended","ended"]`},
		{"POST", "/v1/facts", facts(journal.Signal, journal.Completion), "", "true", 400, "does not decode"}, {"POST", "/v1/facts", facts(journal.Claim), "", "true", 400, "no fact that a source gets"},
		{"GET", "/v1/load", "", "", "true", 200, `"full":"enough"`}, {"GET", "/v1/load", "", "Bearer hush", "", 404, ""},
		{"POST", "/v1/facts", "hello", "", "true", 400, "not a record"}, {"POST", "/v1/facts", newer, "", "true", 400, "newer"},
	} {
		h.ended, h.asked = &engine.Ending{ID: myRun, State: "succeeded"}, nil
		code, body, _ := ask(c.method, c.path, c.body, "Authorization", c.token, "Onward-Peer", c.peer)
		if code != c.code || !strings.Contains(body, c.want) || (len(h.asked) > 0) != (code == 200 && c.method == "POST") {
			t.Errorf("%+v: %d %s, asked %q", c, code, body, h.asked)
		}
	}
}

// TestTokenGuardsTheAPI, and not what tells of health.
func TestTokenGuardsTheAPI(t *testing.T) {
	ask := serve(t, new(house), "hush")
	for _, c := range []struct {
		path, token string
		code        int
	}{
		{"/v1/runs", "", 401}, {"/v1/runs", "Bearer other", 401}, {"/v1/runs", "Bearer hush", 200}, {"/v1/functions", "hush", 401}, {"/healthz", "", 200}, {"/readyz", "", 200},
	} {
		if code, body, _ := ask("GET", c.path, "", "Authorization", c.token); code != c.code {
			t.Errorf("%s with %q: %d %s", c.path, c.token, code, body)
		}
	}
}
