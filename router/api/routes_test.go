package api

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// A town is a house with something of tenant a in every room, and something of nobody's.
type town struct {
	*house
	letters map[string]*engine.Letter
}

func (t *town) Get(id string) (*engine.Letter, error) { return t.letters[id], nil }

func (t *town) Page(q *engine.LetterQuery) (*engine.FoundLetters, error) {
	return findIn(slices.Collect(maps.Values(t.letters)), q)
}

func (t *town) Causes(q *engine.LetterQuery) ([]*engine.LetterCause, error) {
	return causesIn(slices.Collect(maps.Values(t.letters)), q)
}

func (t *town) Remove(id string) (bool, error) {
	was := t.letters[id] != nil
	delete(t.letters, id)
	return was, nil
}

func (t *town) Gone(string) (bool, error) { return true, nil }

func (t *town) Replace(*engine.Letter) error { return nil }

// Gather finds nobody else.
func (t *town) Gather(*http.Request, func() (any, func())) []string { return nil }

// events came: one started a run of a's and one of another's, one started nothing.
type events struct{ past }

func (events) all() []*engine.PastEvent {
	return []*engine.PastEvent{
		{ID: "e", Runs: []engine.PastRun{{Run: myRun, Trigger: "mine"}, {Run: theirRun, Trigger: "theirs"}}}, {ID: "u", Taken: "unmatched"},
	}
}

func (e events) Event(id string) (all []*engine.PastEvent, _ error) {
	for _, x := range e.all() {
		if x.ID == id {
			all = append(all, x)
		}
	}
	return all, nil
}

func (e events) Events(string, int, string) ([]*engine.PastEvent, string, error) {
	return e.all(), "", nil
}

// held are controls of nothing.
type heldBack struct{}

func (heldBack) Get(string, string) control.Control { return control.Control{} }

func (heldBack) Set(_ context.Context, kind, name string, change func(*control.Control)) (control.Control, error) {
	c := control.Control{Kind: kind, Name: name}
	change(&c)
	return c, nil
}

func (t *town) open(tokens *access.Tokens) *API {
	set := &config.Set{
		Calls:     map[string]*config.Trigger{lang.InvokePrefix + "f": {Name: lang.InvokePrefix + "f", Tenant: config.DefaultTenant}},
		Triggers:  map[string]*config.Trigger{"mine": {Name: "mine", Tenant: "a", Definition: &lang.Definition{Trigger: "mine", Tenant: "a"}}, "theirs": {Name: "theirs", Tenant: "b"}},
		Functions: map[string]*config.Function{"f": {Name: "f", Concurrency: 8}},
	}
	metrics := prometheus.NewRegistry()
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ended"}, []string{"trigger"})
	metrics.MustRegister(ended, prometheus.NewCounter(prometheus.CounterOpts{Name: "all"}))
	ended.WithLabelValues("mine").Inc()
	ended.WithLabelValues("theirs").Inc()
	return New(Options{
		Intake: t, Shards: t, Endings: ends{t.house}, Past: events{}, Cluster: t, Outbox: t, Letters: t, Controls: heldBack{}, Tokens: tokens, Metrics: metrics, MaxBody: 1 << 10,
		Set: func() *config.Set { return set }, Functions: func() []control.FunctionStatus { return nil }, Load: func() any { return 0 }, Parked: func() []triggers.Parked { return nil }, Ready: func() error { return nil }, Starts: func() error { return nil },
		Self: func() RouterLine { return RouterLine{Name: "it", Partitions: []engine.PartitionStatus{}} },
		Test: func(*event.Event) []triggers.Tried { return []triggers.Tried{{Trigger: "mine"}, {Trigger: "theirs"}} }, Redrive: func(context.Context, *engine.Letter) error { return nil },
		Build: "1", Backup: func(_ context.Context, to io.Writer) error {
			_, err := io.WriteString(to, "all of it")
			return err
		},
	})
}

type operation struct {
	pattern, path, body string
	code, foreign       int
	secret              string
}

// operations say for each route how it is asked, with what success, and with what by a token of another tenant: 404 for what is of a tenant, 403 for what is of
// the whole router, 200 for a list, which must not have the words that are not to be told.
var operations = []operation{
	{"GET /v1/openapi.json", "", "", 200, 200, "mine"},
	{"GET /v1/whoami", "", "", 200, 200, `"a"`},
	{"GET /v1/version", "", "", 200, 200, `"a"`},
	{"GET /v1/backup", "", "", 200, 403, "all of it"},
	{"GET /v1/runs", "", "", 200, 200, "mine"},
	{"POST /v1/runs/redrive", "/v1/runs/redrive?trigger=mine", "", 200, 200, "mine"},
	{"POST /v1/runs/rerun", "/v1/runs/rerun?trigger=mine&dryRun=true", "", 200, 200, "mine"},
	{"POST /v1/runs/cancel", "/v1/runs/cancel?trigger=mine", "", 200, 200, "mine"},
	{"POST /v1/runs/signal", "/v1/runs/signal?trigger=mine&signal=go", "1", 200, 200, "mine"},
	{"GET /v1/runs/{run}", "/v1/runs/" + myRun, "", 200, 404, "mine"},
	{"GET /v1/runs/{run}/steps", "/v1/runs/" + myRun + "/steps", "", 200, 404, "mine"},
	{"GET /v1/runs/{run}/counts", "/v1/runs/" + myRun + "/counts", "", 200, 404, "steps"},
	{"GET /v1/runs/{run}/field", "/v1/runs/" + myRun + "/field?step=f", "", 200, 404, "words"},
	{"GET /v1/runs/{run}/flow", "/v1/runs/" + myRun + "/flow", "", 409, 404, "mine"},
	{"GET /v1/runs/{run}/strips", "/v1/runs/" + myRun + "/strips", "", 200, 404, "strips"},
	{"GET /v1/runs/{run}/live", "/v1/runs/" + myRun + "/live?step=f", "", 200, 404, "mine"},
	{"GET /v1/runs/{run}/explain", "/v1/runs/" + myRun + "/explain", "", 200, 404, "mine"},
	{"GET /v1/runs/{run}/watch", "/v1/runs/" + myRun + "/watch", "", 200, 404, "mine"},
	{"GET /v1/runs/{run}/ended", "/v1/runs/" + myRun + "/ended", "", 200, 404, "mine"},
	{"POST /v1/runs/{run}/cancel", "/v1/runs/" + myRun + "/cancel", "", 202, 404, "mine"},
	{"POST /v1/runs/{run}/redrive", "/v1/runs/" + myRun + "/redrive", "", 409, 404, "mine"},
	{"POST /v1/runs/{run}/rerun", "/v1/runs/" + myRun + "/rerun?input=given", "1", 200, 404, "mine"},
	{"POST /v1/runs/{run}/pause", "/v1/runs/" + myRun + "/pause", "", 202, 404, "mine"},
	{"POST /v1/runs/{run}/resume", "/v1/runs/" + myRun + "/resume", "", 202, 404, "mine"},
	{"POST /v1/runs/{run}/window", "/v1/runs/" + myRun + "/window?path=flow&window=1", "", 202, 404, "mine"},
	{"POST /v1/runs/{run}/signals/{name}", "/v1/runs/" + myRun + "/signals/go", "1", 202, 404, "mine"},
	{"POST /v1/invocations/{id}/heartbeat", "/v1/invocations/" + myRun + "~flow.1/heartbeat", "", 200, 404, "mine"},
	{"GET /v1/waits", "", "", 200, 200, "mine"},
	{"GET /v1/events", "", "", 200, 200, "mine"},
	{"GET /v1/events/{id}", "/v1/events/e", "", 200, 200, "mine"},
	{"POST /v1/events/test", "", `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, 200, 200, "mine"},
	{"GET /v1/dead", "", "", 200, 200, "mine"},
	{"GET /v1/dead/{id}", "/v1/dead/" + myRun + ".1", "", 200, 404, "mine"},
	{"DELETE /v1/dead/{id}", "/v1/dead/" + myRun + ".1", "", 200, 404, "mine"},
	{"POST /v1/dead/{id}/redrive", "/v1/dead/" + myRun + ".1/redrive", "", 200, 404, "mine"},
	{"GET /v1/triggers", "", "", 200, 200, "mine"},
	{"GET /v1/triggers/{trigger}", "/v1/triggers/mine", "", 200, 404, "digest"},
	{"POST /v1/triggers/{trigger}", "/v1/triggers/mine", "1", 202, 404, "start"},
	{"POST /v1/triggers/{trigger}/pause", "/v1/triggers/mine/pause", "", 200, 404, "paused"},
	{"POST /v1/triggers/{trigger}/resume", "/v1/triggers/mine/resume", "", 200, 404, "since"},
	{"GET /v1/functions", "", "", 200, 403, "concurrency"},
	{"POST /v1/functions/{function}/invoke", "/v1/functions/f/invoke", "1", 202, 403, "run"},
	{"POST /v1/functions/{function}/pause", "/v1/functions/f/pause", "", 200, 403, "paused"},
	{"POST /v1/functions/{function}/resume", "/v1/functions/f/resume", "", 200, 403, "since"},
	{"POST /v1/functions/{function}/limit", "/v1/functions/f/limit?limit=2", "", 200, 403, "limit\":"},
	{"GET /v1/routers", "", "", 200, 403, "partitions"},
	{"GET /v1/sources", "", "", 200, 403, "sources"},
	{"GET /v1/parked", "", "", 200, 403, "[]"},
	{"GET /v1/definitions", "", "", 200, 403, "[]"},
	{"POST /v1/diff", "", `{"documents":[{"file":"a.yaml","text":"version: 1"}]}`, 200, 403, "removed"},
	{"POST /v1/facts", "", "", 404, 404, "became"},
	{"POST /v1/beats", "", "", 404, 404, "became"},
	{"GET /v1/load", "", "", 404, 404, "full"},
	{"POST /v1/gathers", "", "", 404, 404, "became"},
	{"POST /v1/tickets", "", "", 404, 404, "became"},
	{"GET /v1/peer", "", "", 404, 404, "proved"},
}

// newTown has the tokens read, operate and admin, a-read and so on of tenant a, and b-admin of tenant b.
func newTown(t *testing.T) (*town, func(method, path, body string, headers ...string) (int, string, http.Header)) {
	t.Helper()
	h := &town{house: &house{fate: triggers.Accepted}}
	h.ended = &engine.Ending{ID: myRun, Tenant: "a", Trigger: "mine", State: "succeeded", Started: time.Now(), Ended: time.Now()}
	h.letters = map[string]*engine.Letter{
		myRun + ".1": {ID: myRun + ".1", Tenant: "a", Trigger: "mine", Run: myRun, What: engine.Call.String()},
		"parked.1":   {ID: "parked.1", What: engine.LetterParked},
	}
	dir, text := t.TempDir(), "tokens:\n"
	for _, tenant := range []string{"", "a", "b"} {
		for _, right := range access.Rights() {
			name := strings.TrimPrefix(tenant+"-"+right, "-")
			secret := filepath.Join(dir, name)
			if err := os.WriteFile(secret, []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("  %s: { right: %s, tenant: %q, file: %q }\n", name, right, tenant, secret)
		}
	}
	path := filepath.Join(dir, "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := access.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := h.open(tokens).Handler(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }) // Nobody is let in for his address.
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, asker(handler)
}

// TestEveryOperationHasItsRight: it is done for who has it, refused with the cure for who has less, for nobody without a token, and what is another tenant's
// is not there. A route that this table has not fails.
func TestEveryOperationHasItsRight(t *testing.T) {
	t.Parallel()
	routes := (&API{}).routes()
	if len(routes) != len(operations) {
		t.Errorf("%d routes, and %d of them are tried", len(routes), len(operations))
	}
	for _, x := range routes {
		method, path, _ := strings.Cut(x.pattern, " ")
		i := 0
		for i < len(operations) && operations[i].pattern != x.pattern {
			i++
		}
		if i == len(operations) || !access.Everything.May(x.right) || x.reach < ofTenant || x.reach > ofPeers {
			t.Errorf("%s: right %s, reach %d; say all of it, and try it here", x.pattern, x.right, x.reach)
			continue
		}
		if x.right == access.Read && method != http.MethodGet && x.pattern != "POST /v1/events/test" {
			t.Errorf("%s changes something, and needs no more than read", x.pattern)
		}
		op := operations[i]
		if op.path != "" {
			path = op.path
		}
		t.Run(x.pattern, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { x.try(t, &op, method, path) })
		})
	}
}

// try asks for an operation by every token.
func (x *route) try(t *testing.T, op *operation, method, path string) {
	for _, right := range []access.Right{0, access.Read, access.Operate, access.Admin} {
		for _, tenant := range []string{"", "a", "b"} {
			h, ask := newTown(t)
			headers := []string{"Content-Type", "application/cloudevents+json"}
			want := op.code
			if right > 0 {
				headers = append(headers, "Authorization", "Bearer "+strings.TrimPrefix(tenant+"-"+right.String(), "-"))
			}
			switch {
			case right == 0:
				want = 401
			case right < x.right, x.reach == ofRouter && tenant != "":
				want = 403
			case tenant == "b":
				want = op.foreign
			}
			code, said, _ := ask(method, path, op.body, headers...)
			if code != want {
				t.Errorf("%q: %d %s; want %d", headers, code, said, want)
			}
			done := len(h.asked) > 0 || h.letters[myRun+".1"] == nil
			if done && (right < x.right || tenant == "b" || right == 0) {
				t.Errorf("%q: %q is done", headers, h.asked)
			}
			if (want != op.code || tenant == "b") && strings.Contains(strings.ReplaceAll(said, path, ""), op.secret) && right > 0 {
				t.Errorf("%q is told %s", headers, said)
			}
			if want == 403 && !strings.Contains(said, `"cure":"ask with a token`) {
				t.Errorf("%q: no cure in %s", headers, said)
			}
		}
	}
}

// TestListsHaveATenantsOwn, and neither another's nor what is nobody's.
func TestListsHaveATenantsOwn(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/runs", "/v1/events", "/v1/events/e", "/v1/dead", "/v1/dead?group=cause", "/v1/triggers", "/metrics", "/v1/runs?tenant=a", "/v1/dead?tenant=a"} {
		_, ask := newTown(t)
		code, said, _ := ask("GET", path, "", "Authorization", "Bearer a-read")
		if code != 200 || !strings.Contains(said, "mine") || strings.Contains(said, "theirs") || strings.Contains(said, "parked") || strings.Contains(said, `"u"`) || strings.Contains(said, "all 0") {
			t.Errorf("%s: %d %s", path, code, said)
		}
		if _, whole, _ := ask("GET", "/v1/events", "", "Authorization", "Bearer read"); !strings.Contains(whole, "theirs") || !strings.Contains(whole, `"u"`) {
			t.Errorf("without a tenant: %s", whole)
		}
	}
	_, ask := newTown(t)
	for _, path := range []string{"/v1/runs?tenant=b", "/v1/waits?tenant=b", "/v1/dead?tenant=b", "/v1/events/u", "/v1/dead/parked.1"} {
		if code, said, _ := ask("GET", path, "", "Authorization", "Bearer a-admin"); code != 404 {
			t.Errorf("%s: %d %s", path, code, said)
		}
	}
	if code, said, _ := ask("GET", "/metrics", ""); code != 401 {
		t.Errorf("metrics for everybody: %d %s", code, said)
	}
	if code, said, _ := ask("GET", "/metrics", "", "Authorization", "Bearer read"); code != 200 || !strings.Contains(said, "theirs") || !strings.Contains(said, "all 0") {
		t.Errorf("metrics: %d %s", code, said)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, said, _ := ask("GET", path, ""); code != 200 {
			t.Errorf("%s: %d %s", path, code, said)
		}
	}
	if code, said, _ := ask("POST", "/v1/dead/"+myRun+".7/redrive", "", "Authorization", "Bearer a-operate"); code != 200 || !strings.Contains(said, "gone") {
		t.Errorf("a letter that is gone: %d %s", code, said)
	}
	if code, said, _ := ask("POST", "/v1/dead/"+myRun+".7/redrive", "", "Authorization", "Bearer b-operate"); code != 404 {
		t.Errorf("another tenant's letter that is gone: %d %s", code, said)
	}
	// What a suggestion names is one's own as well.
	if code, said, _ := ask("POST", "/v1/triggers/theirz", "", "Authorization", "Bearer a-operate"); code != 404 || strings.Contains(said, "theirs") {
		t.Errorf("a suggestion: %d %s", code, said)
	}
}

// TestWhoIsKnownOtherwise has the right that his context says, whatever he brings, and what he does is booked to him.
func TestWhoIsKnownOtherwise(t *testing.T) {
	t.Parallel()
	h := &town{house: &house{fate: triggers.Accepted}}
	api := h.open(nil)
	handler, err := api.Handler(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	if err != nil {
		t.Fatal(err)
	}
	as := func(who access.Who) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			handler.ServeHTTP(w, q.WithContext(access.With(q.Context(), who)))
		})
	}
	reader, ada := asker(as(access.Who{Name: "reader", Right: access.Read})), asker(as(access.Who{Name: "Ada", Right: access.Operate}))
	if code, _, _ := reader("POST", "/v1/runs/"+myRun+"/pause", ""); code != 403 || len(h.asked) > 0 {
		t.Errorf("%d, %q", code, h.asked)
	}
	if code, said, _ := reader("GET", "/v1/whoami", ""); code != 200 || said != `{"name":"reader","right":"read"}`+"\n" {
		t.Errorf("%d %s", code, said)
	}
	if code, _, _ := ada("POST", "/v1/runs/"+myRun+"/pause", ""); code != 202 || !strings.Contains(fmt.Sprint(h.asked), "Ada") {
		t.Errorf("%d, %q", code, h.asked)
	}
	if code, _, _ := asker(handler)("GET", "/v1/whoami", ""); code != http.StatusTeapot {
		t.Errorf("without tokens the guard is not asked: %d", code)
	}
}
