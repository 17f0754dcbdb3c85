package openwhisk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cockroachdb/datadriven"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
	"github.com/onward-router/onward/sinks/sinktest"
)

func describe(r sinks.Result) string {
	switch {
	case r.Verdict == sinks.Accepted:
		return "accepted"
	case r.Verdict == sinks.Retry:
		return fmt.Sprintf("retry %s %s %s: %s", r.After, r.Err.Class, r.Err.Type, r.Err.Message)
	case r.Verdict == sinks.Failed:
		return fmt.Sprintf("failed %s %s: %s", r.Err.Class, r.Err.Type, r.Err.Message)
	case r.Completion.Err != nil:
		return strings.TrimSpace(fmt.Sprintf("error %s %s: %s %s", r.Completion.Err.Class, r.Completion.Err.Type, r.Completion.Err.Message, r.Completion.Err.Data))
	}
	return "completed " + string(r.Completion.Data)
}

// TestGolden: what is made of records, of answers that are none, and of what runtimes answer.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"record", "run", "event"} {
		datadriven.RunTest(t, "testdata/golden/"+name+".txt", func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "event" {
				return asEvent(t, d.Input)
			}
			if d.Cmd == "record" {
				return describe(recorded([]byte(d.Input))) + "\n"
			}
			head, body, _ := strings.Cut(d.Input, "\n\n")
			lines := strings.Split(head, "\n")
			a := &contract.Answer{Header: make(http.Header), Body: []byte(body)}
			if _, err := fmt.Sscan(lines[0], &a.Code); err != nil {
				t.Fatalf("%q: %v", d.Input, err)
			}
			for _, line := range lines[1:] {
				name, value, _ := strings.Cut(line, ": ")
				a.Header.Add(name, value)
			}
			if d.Cmd == "refused" {
				return describe(refused(a)) + "\n"
			}
			if r, is := ran(a); is {
				return describe(r) + "\n"
			}
			return "not run\n"
		})
	}
}

// arrived is one call as an action sees it: its parameters, with the event's attributes under event.
func arrived(t *testing.T, params, rest string) sinktest.Arrival {
	var members map[string]json.RawMessage
	var attributes map[string]string
	if err := json.Unmarshal([]byte(params), &members); err != nil {
		t.Errorf("%v: %s", err, params)
	}
	if err := json.Unmarshal(members["event"], &attributes); err != nil {
		t.Errorf("%v: %s", err, members["event"])
	}
	data := strings.TrimSuffix(params, `,"event":`+string(members["event"])+"}") + "}"
	return sinktest.Arrival{ID: attributes["id"], Raw: params + rest, Attributes: attributes, Data: data}
}

var deadline = regexp.MustCompile(`"deadline":"[0-9]{13}"`)

// TestLaws: a controller and a runtime as the wire facts have them.
func TestLaws(t *testing.T) {
	behaviours := []sinktest.Behaviour{sinktest.Answer, sinktest.Fail, sinktest.Busy, sinktest.Refuse, sinktest.Hang}
	for _, kind := range []string{"controller", "runtime"} {
		t.Run(kind, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{Behaviours: behaviours, Many: 100, New: func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End {
				return end(t, kind, b, h)
			}})
		})
	}
}

func end(t *testing.T, kind string, b sinktest.Behaviour, h sinks.Host) sinktest.End {
	var mu sync.Mutex
	var all []sinktest.Arrival
	answer := func(w http.ResponseWriter, r *http.Request, code int, body string) {
		switch b {
		case sinktest.Busy:
			code, body = 503, ""
		case sinktest.Refuse:
			code, body = 307, ""
		case sinktest.Hang:
			if kind == "runtime" {
				<-r.Context().Done()
			}
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // The client may have gone.
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var run struct{ Value json.RawMessage }
		switch {
		case err != nil:
			return // The client broke it off.
		case r.URL.Path == "/init":
			return
		case r.Method == http.MethodGet && b == sinktest.Hang:
			w.WriteHeader(404)
			return
		case r.Method == http.MethodGet && b == sinktest.Fail:
			_, _ = io.WriteString(w, `{"response":{"status":"application error","success":false,"result":{"error":"boom"}}}`)
			return
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"response":{"status":"success","success":true,"result":{"ok":true}}}`)
			return
		case kind == "runtime":
			if err := json.Unmarshal(body, &run); err != nil {
				t.Errorf("%v: %s", err, body)
			}
			mu.Lock()
			all = append(all, arrived(t, string(run.Value), deadline.ReplaceAllString(string(body), "")))
			mu.Unlock()
			answer(w, r, 200, map[bool]string{true: `{"error":"boom"}`, false: `{"ok":true}`}[b == sinktest.Fail])
			return
		}
		mu.Lock()
		all = append(all, arrived(t, string(body), r.Header.Get("X-Request-Id")))
		mu.Unlock()
		answer(w, r, 202, `{"activationId":"44794bd6aab74415b4e42a308d880e5b"}`)
	}))
	settings := &Settings{Namespace: "_", Attributes: "event"}
	if kind == "runtime" {
		settings.Runtime, settings.Code = s.URL, &Code{Text: "code"}
	} else {
		settings.Host, settings.Action, settings.Poll = s.URL, "hello", plugin.Duration(5*time.Millisecond)
	}
	k, err := New("f", settings, h)
	if err != nil {
		t.Fatal(err)
	}
	return sinktest.End{Sink: k, Close: s.Close, Arrived: func() []sinktest.Arrival {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}}
}

// start delivers a call; the channel has its end.
func start(ctx context.Context, k sinks.Sink, data string) chan sinks.Result {
	e := event.New()
	e.SetID("run~p.1")
	e.SetSource("/onward/t")
	e.SetType("dev.onward.function.invoke")
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(data)) // JSON as it is marshals.
	done := make(chan sinks.Result, 1)
	k.Deliver(ctx, []*sinks.Delivery{{Context: ctx, Outgoing: envelope.Made(&e), Function: "f", Invoke: true, Attempt: 1, Done: func(r sinks.Result) { done <- r }}})
	return done
}

func call(t *testing.T, k sinks.Sink, data string) sinks.Result {
	t.Helper()
	select {
	case r := <-start(t.Context(), k, data):
		return r
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
		return sinks.Result{}
	}
}

func make1(t *testing.T, s *Settings) sinks.Sink {
	t.Helper()
	if s.Namespace == "" {
		s.Namespace = "_"
	}
	if p := s.Check(); len(p) > 0 {
		t.Fatal(p)
	}
	k, err := New("f", s, sinks.Host{Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// TestController: an action is started once, and its record asked for until it is there, whatever keeps it from coming.
func TestController(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("user:pass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	looks := []int{404, 503, 429, 404, 200}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		user, password, _ := r.BasicAuth()
		seen = append(seen, fmt.Sprintf("%s %s %s:%s %s", r.Method, r.URL, user, password, body))
		w.Header().Set("X-Openwhisk-Activation-Id", "abc123")
		switch {
		case strings.Contains(r.URL.Path, "/actions/") && r.Method == http.MethodGet:
		case r.Method == http.MethodPost:
			w.WriteHeader(202)
		case len(looks) > 1:
			w.WriteHeader(looks[0])
			looks = looks[1:]
		default:
			_, _ = io.WriteString(w, `{"response":{"status":"success","success":true,"result":{"n":2}}}`)
		}
	}))
	t.Cleanup(s.Close)
	settings := func() *Settings {
		return &Settings{Host: s.URL + "/gate/", Namespace: "my space", Action: "images/resize", Auth: &plugin.Secret{File: key}, Poll: plugin.Duration(time.Millisecond)}
	}
	k := make1(t, settings())
	if got := describe(call(t, k, `{"n":1}`)); got != `completed {"n":2}` {
		t.Error(got)
	}
	post := `POST /gate/api/v1/namespaces/my%20space/actions/images/resize?blocking=false user:pass {"n":1}`
	get := "GET /gate/api/v1/namespaces/my%20space/activations/abc123 user:pass "
	if want := []string{post, get, get, get, get, get}; !slices.Equal(seen, want) {
		t.Errorf("%q; want %q", seen, want)
	}
	if found, err := k.(plugin.Prober).Probe(t.Context()); err != nil || found != "action images/resize" {
		t.Error(found, err)
	}
	mu.Lock()
	looks = []int{403, 0}
	mu.Unlock()
	if got := describe(call(t, k, "null")); got != "error platform http_403: status 403 Forbidden" {
		t.Error(got)
	}
	// A list needs a parameter to go into.
	if got := describe(call(t, k, "[1]")); !strings.HasPrefix(got, "failed function bad_input: the input is no object") {
		t.Error(got)
	}
	if got := describe(call(t, make1(t, func() *Settings { x := settings(); x.Param = "items"; return x }()), "[1]")); got != `completed {"n":2}` || !strings.HasSuffix(seen[len(seen)-2], ` {"items":[1]}`) {
		t.Error(got, seen[len(seen)-2])
	}
	if got := describe(call(t, make1(t, func() *Settings { x := settings(); x.Attributes = "n"; return x }()), `{"n":1}`)); !strings.HasPrefix(got, `failed function bad_input: the input has a member "n"`) {
		t.Error(got)
	}
	// A key that is not there is the router's own trouble: nothing is sent.
	n := len(seen)
	if got := describe(call(t, make1(t, func() *Settings { x := settings(); x.Auth = &plugin.Secret{File: key + "?"}; return x }()), "{}")); !strings.HasPrefix(got, "retry 0s platform unready: ") || len(seen) != n {
		t.Error(got, seen[n:])
	}
	// What is given up says what it waited for.
	mu.Lock()
	looks = slices.Repeat([]int{503}, 1<<20)
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got := describe(<-start(ctx, k, "{}")); !strings.HasPrefix(got, "failed timeout timeout: no result of activation abc123 (status 503") {
		t.Error(got)
	}
}

// A life is a runtime as Node's is, from one start to the next: asked to run before it has code, or after a call that broke it, it runs nothing ever after.
type life struct {
	mu      sync.Mutex
	state   string // "", ready, stopped
	code    []string
	runs    []string
	release chan struct{} // what a call with hang waits for
}

func (l *life) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	say := func(code int, text string) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
	switch {
	case r.URL.Path == "/init" && l.state != "":
		say(403, `{"error":"Cannot initialize the action more than once."}`)
	case r.URL.Path == "/init" && strings.Contains(string(body), "syntax"):
		l.state = "stopped"
		say(502, `{"error":"Initialization has failed due to: SyntaxError"}`)
	case r.URL.Path == "/init":
		l.state, l.code = "ready", append(l.code, string(body))
		say(200, `{"ok":true}`)
	case l.state != "ready":
		l.state = "stopped"
		say(403, `{"error":"System not ready, status is stopped."}`)
	case strings.Contains(string(body), "throw"):
		l.state = "stopped"
		say(502, `{"error":"An error has occurred: Error: boom"}`)
	default:
		l.runs = append(l.runs, string(body))
		if strings.Contains(string(body), "hang") {
			l.mu.Unlock()
			<-l.release
			l.mu.Lock()
		}
		say(200, `{"ok":true}`)
	}
}

// TestRuntime: its code once in a life, and before it is asked to run; after that calls, as OpenWhisk makes them.
func TestRuntime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, []byte("PK\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	l := &life{release: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := l
		mu.Unlock()
		now.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	var k sinks.Sink
	restart := func() {
		mu.Lock()
		defer mu.Unlock()
		s.CloseClientConnections()
		k.(*runtime).clients.Close() // As it does when it hears of it, which takes a moment.
		l = &life{release: make(chan struct{})}
	}
	settings := &Settings{Runtime: s.URL, Action: "pkg/hello", Code: &Code{File: file}, Binary: true, Main: "go", Env: map[string]client.Value{"MODE": {Text: "fast"}}}
	k = make1(t, settings)
	for range 3 {
		if got := describe(call(t, k, `{"n":1}`)); got != `completed {"ok":true}` {
			t.Error(got)
		}
	}
	wantCode := `{"value":{"binary":true,"code":"` + base64.StdEncoding.EncodeToString([]byte("PK\xff")) + `","env":{"MODE":"fast"},"main":"go","name":"pkg/hello"}}`
	if len(l.code) != 1 || l.code[0] != wantCode || len(l.runs) != 3 {
		t.Errorf("%q, %q", l.code, l.runs)
	}
	id := activation("run~p.1")
	wantRun := `{"value":{"n":1},"action_name":"/onward/pkg/hello","activation_id":"` + id + `",,"namespace":"onward","transaction_id":"` + id + `"}`
	if got := deadline.ReplaceAllString(l.runs[0], ""); got != wantRun {
		t.Errorf("%s\n%s", got, wantRun)
	}
	// A life that begins unseen is given the code first: were it asked to run, it would do nothing more.
	for range 2 {
		restart()
		if got := describe(call(t, k, `{"n":1}`)); got != `completed {"ok":true}` || len(l.code) != 1 || len(l.runs) != 1 {
			t.Errorf("after a restart: %s, %q, %q", got, l.code, l.runs)
		}
	}
	// Another router, or this one begun again, finds it with its code.
	if got := describe(call(t, make1(t, settings), "{}")); got != `completed {"ok":true}` || len(l.code) != 1 {
		t.Errorf("by another router: %s, %q", got, l.code)
	}
	// One that broke down runs nothing until it is started again, and no call is lost by it.
	if got := describe(call(t, k, `{"throw":1}`)); got != `error function developer_error: An error has occurred: Error: boom {"error":"An error has occurred: Error: boom"}` {
		t.Error(got)
	}
	if got := describe(call(t, k, "{}")); !strings.HasPrefix(got, "retry 0s platform runtime_not_ready: the runtime runs nothing more: System not ready") {
		t.Error(got)
	}
	restart()
	// A call that is given up keeps its room until the runtime has let go of it.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r := <-start(ctx, k, `{"hang":1}`)
	if r.Busy == nil {
		t.Fatal(describe(r))
	}
	select {
	case <-r.Busy:
		t.Error("its room is free")
	default:
	}
	if got := describe(r); !strings.HasPrefix(got, "failed timeout timeout: no answer from the runtime") {
		t.Error(got)
	}
	close(l.release)
	<-r.Busy
	// Code that is none, and code that cannot be had.
	restart()
	if got := describe(call(t, make1(t, &Settings{Runtime: s.URL, Code: &Code{Text: "syntax"}}), "{}")); !strings.HasPrefix(got, "error function bad_code: the runtime refuses the code: Initialization has failed") {
		t.Error(got)
	}
	restart()
	for _, c := range []*Code{{File: file + "?"}, {File: file}} {
		if got := describe(call(t, make1(t, &Settings{Runtime: s.URL, Code: c}), "{}")); !strings.HasPrefix(got, "retry 0s platform unready: ") || len(l.code) > 0 {
			t.Error(got)
		}
	}
	s.Close()
	if got := describe(call(t, k, "{}")); !strings.HasPrefix(got, "retry 0s platform unreachable: ") {
		t.Error(got)
	}
}

// TestCheck: what no action can be asked by is found.
func TestCheck(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*Settings{
		"is asked at host":            {},
		"an OpenWhisk, or at runtime": {Host: "http://h", Runtime: "http://r"},
		"no action is named":          {Host: "http://h"},
		"binary is for a runtime":     {Host: "http://h", Action: "a", Binary: true},
		"has no code":                 {Runtime: "http://r"},
		"poll is for an OpenWhisk":    {Runtime: "http://r", Code: &Code{Text: "x"}, Poll: 1},
		"userEvents is for an Open":   {Runtime: "http://r", Code: &Code{Text: "x"}, Events: true},
		"is not an http":              {Host: "ftp://h", Action: "a"},
		"without user":                {Host: "http://u:p@h", Action: "a"},
		"is no action":                {Host: "http://h", Action: "/ns/p/a"},
		"is no namespace":             {Host: "http://h", Action: "a", Namespace: "a/b"},
		"into that parameter already": {Host: "http://h", Action: "a", Param: "x", Attributes: "x"},
		"not the name of a variable":  {Runtime: "http://r", Code: &Code{Text: "x"}, Env: map[string]client.Value{"A=B": {}}},
	} {
		if s.Namespace == "" {
			s.Namespace = "_"
		}
		if p := s.Check(); len(p) != 1 || !strings.Contains(p[0].What, want) || p[0].Cure == "" {
			t.Errorf("%q: %+v", want, p)
		}
	}
	if p := (&Code{Text: "a", File: "b"}).Check(); len(p) != 1 {
		t.Error(p)
	}
	if n := (&Settings{Runtime: "http://r"}).Terms("http").Concurrency; n != 1 {
		t.Error(n)
	}
}
