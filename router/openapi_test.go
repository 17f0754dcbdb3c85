package router_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A description is what a router says of its API: of OpenAPI 3.1, whose schemas are JSON Schemas of 2020-12, what is used here.
type description struct {
	OpenAPI string
	Paths   map[string]map[string]*described
	compile func(pointer string) (*jsonschema.Schema, error)
}

// A described is what is said of an operation.
type described struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                map[string]any
	}
	RequestBody *struct{ Content map[string]any }
	Responses   map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]any
	}
}

func readDescription(t *testing.T, text string) *description {
	t.Helper()
	d := new(description)
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = json.Unmarshal([]byte(text), d)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err == nil {
		err = c.AddResource("urn:openapi", whole)
	}
	if err != nil || d.OpenAPI != "3.1.0" {
		t.Fatal(d.OpenAPI, err)
	}
	d.compile = func(pointer string) (*jsonschema.Schema, error) { return c.Compile("urn:openapi#" + pointer) }
	return d
}

// pointer is where something stands in the description.
func pointer(parts ...string) (text string) {
	for _, part := range parts {
		text += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
	}
	return (&url.URL{Path: text}).EscapedPath()
}

// check holds a body against the schema of a media type of a content; JSON is read, all else is a text.
func (d *description) check(at []string, content map[string]any, kind, body string) error {
	media, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return fmt.Errorf("content type %q: %w", kind, err)
	}
	name := media
	if content[name] == nil {
		name = "*/*"
	}
	if content[name] == nil {
		return fmt.Errorf("content type %s is not described", media)
	}
	schema, err := d.compile(pointer(append(at, "content", name, "schema")...))
	if err != nil {
		return err
	}
	var v any = body
	if (media == "application/json" || strings.HasSuffix(media, "+json")) && name == media {
		if v, err = jsonschema.UnmarshalJSON(strings.NewReader(body)); err != nil {
			return err
		}
	}
	return schema.Validate(v)
}

// A critic asks a router, and holds each request and each answer against what the router says of its API.
type critic struct {
	t       *testing.T
	address string
	says    *description            // nil: it is not known yet
	did     map[string]map[int]bool // by operation, the statuses that were seen
}

// criticised is a router with a token, and who asks it.
func criticised(t *testing.T) (*running, *critic) {
	t.Helper()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/later":
			w.WriteHeader(http.StatusAccepted)
		case "/broken":
			w.WriteHeader(http.StatusBadRequest)
		default:
			_, _ = io.Copy(w, q.Body)
		}
	}))
	t.Cleanup(far.Close)
	dir := t.TempDir()
	secret := filepath.Join(dir, "token")
	if err := os.WriteFile(secret, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := registry()
	set, findings := config.Parse("test.yaml", fmt.Appendf(nil, `version: 1
sources: { in: { webhook: { auth: { bearer: { file: "%[2]s" } } }, rate: 1/h, burst: 50 } }
functions:
  echo: { http: { url: "%[1]s/" } }
  later: { http: { url: "%[1]s/later" } }
  broken: { http: { url: "%[1]s/broken" } }
triggers:
  wide: { filters: [{ exact: { type: wide } }], flow: { map: { items: "${ data }", do: { function: echo } } } }
  asks: { filters: [{ exact: { type: none } }], flow: { sequence: [{ signal: go }, { function: echo }] } }
  breaks: { filters: [{ exact: { type: none } }], flow: { function: broken } }
  lasts: { filters: [{ exact: { type: none } }], flow: { map: { items: [1, 2, 3], window: 2, do: { function: later } } } }
  waits: { filters: [{ exact: { type: none } }], flow: { signal: never } }
  slow: { filters: [{ exact: { type: none } }], flow: { function: later, timeout: 60ms, retry: { attempts: 1000, backoff: 1ms, max: 1ms } } }
  lost: { filters: [{ exact: { type: none } }], onSuccess: { function: broken } }
`, far.URL, secret), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	r := runIt(t, router.Options{Set: set, Registry: reg, Journal: j, Listen: "127.0.0.1:0", Dir: dir, Token: plugin.Secret{File: secret}})
	c := &critic{t: t, address: "http://" + r.Addr(), did: make(map[string]map[int]bool)}
	_, text := c.ask("GET", "/v1/openapi.json", "", true)
	c.says = readDescription(t, text)
	return r, c
}

// elsewhere are times as they are in other places than Greenwich.
var elsewhere = regexp.MustCompile(`T[0-9:.]+[+-][0-9]{2}:[0-9]{2}`)

// ask does a request; what is answered is held against the description, once there is one, and so is a request that is taken.
func (c *critic) ask(method, path, body string, token bool, headers ...string) (int, string) {
	c.t.Helper()
	q := c.request(method, path, body, token, headers)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if at := elsewhere.Find(b); at != nil {
		c.t.Errorf("%s %s: a time is not in UTC: %s", method, path, at)
	}
	if c.says == nil {
		return resp.StatusCode, string(b)
	}
	path, _, _ = strings.Cut(path, "?")
	pattern, op := c.operation(method, path)
	if op == nil {
		c.t.Errorf("%s %s is no operation of the description", method, path)
		return resp.StatusCode, string(b)
	}
	if resp.StatusCode < 300 {
		if err := c.takes(q, pattern, op, body); err != nil {
			c.t.Errorf("%s %s: the request: %v", method, q.URL, err)
		}
	}
	if err := c.answers(resp, pattern, op, method, string(b)); err != nil {
		c.t.Errorf("%s %s: the answer %d %.500s: %v", method, q.URL, resp.StatusCode, b, err)
	}
	if c.did[op.ID] == nil {
		c.did[op.ID] = make(map[int]bool)
	}
	c.did[op.ID][resp.StatusCode] = true
	return resp.StatusCode, string(b)
}

func (c *critic) request(method, path, body string, token bool, headers []string) *http.Request {
	q, err := http.NewRequest(method, c.address+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token {
		q.Header.Set("Authorization", "Bearer hush")
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	return q
}

// takes holds a request against its operation: its parameters, and its body.
func (c *critic) takes(q *http.Request, pattern string, op *described, body string) error {
	for name, values := range q.URL.Query() {
		i := slices.IndexFunc(op.Parameters, func(p struct {
			Name, In, Description string
			Required              bool
			Schema                map[string]any
		}) bool {
			return p.In == "query" && p.Name == name
		})
		if i < 0 {
			return fmt.Errorf("parameter %s is not described", name)
		}
		var v any = values[0]
		if kind := op.Parameters[i].Schema["type"]; kind == "integer" || kind == "boolean" {
			if json.Unmarshal([]byte(values[0]), &v) != nil {
				return fmt.Errorf("parameter %s is %q; it is described as %s", name, values[0], kind)
			}
		}
		schema, err := c.says.compile(pointer("paths", pattern, strings.ToLower(q.Method), "parameters", strconv.Itoa(i), "schema"))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	switch {
	case body == "":
		return nil
	case op.RequestBody == nil:
		return errors.New("it has a body, and none is described")
	}
	return c.says.check([]string{"paths", pattern, strings.ToLower(q.Method), "requestBody"}, op.RequestBody.Content, q.Header.Get("Content-Type"), body)
}

// answers holds an answer against its operation.
func (c *critic) answers(resp *http.Response, pattern string, op *described, method, body string) error {
	status := strconv.Itoa(resp.StatusCode)
	said, is := op.Responses[status]
	at := []string{"paths", pattern, strings.ToLower(method), "responses", status}
	if ref, shared := strings.CutPrefix(said.Ref, "#/components/responses/"); shared {
		at = []string{"components", "responses", ref}
		said.Content = map[string]any{"application/json": true}
	}
	switch {
	case !is:
		return errors.New("that status is not described")
	case body == "" && len(said.Content) == 0:
		return nil
	}
	return c.says.check(at, said.Content, resp.Header.Get("Content-Type"), body)
}

// operation is that of a path: of two, that with fewer variables.
func (c *critic) operation(method, path string) (pattern string, op *described) {
	least := 100
	for at, methods := range c.says.Paths {
		if x := methods[strings.ToLower(method)]; x != nil && fits(at, path) && strings.Count(at, "{") < least {
			pattern, op, least = at, x, strings.Count(at, "{")
		}
	}
	return pattern, op
}

func fits(pattern, path string) bool {
	x, y := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(x, y, func(a, b string) bool { return a == b || strings.HasPrefix(a, "{") && b != "" })
}

// TestAPIIsAsDescribed calls every operation of a router, with success and without, and holds what goes and what comes against the description; and holds the
// description to what is served.
func TestAPIIsAsDescribed(t *testing.T) {
	t.Parallel()
	r, c := criticised(t)
	served := make(map[string]bool)
	for _, pattern := range r.Patterns() {
		if !strings.Contains(pattern, " ") {
			pattern = "POST " + pattern // A webhook.
		}
		served[pattern] = true
	}
	all := make(map[string]string) // path by id, with its method
	for path, methods := range c.says.Paths {
		for method, op := range methods {
			pattern := strings.ToUpper(method) + " " + path
			if all[op.ID] = pattern; !served[pattern] && method != "options" {
				t.Errorf("%s is described, and not served", pattern)
			}
			delete(served, pattern)
		}
	}
	for pattern := range served {
		t.Errorf("%s is served, and not described", pattern)
	}
	for _, pattern := range all { // Nobody gets in without the token, nor with what there is not.
		method, path, _ := strings.Cut(pattern, " ")
		if path = strings.NewReplacer("{run}", strings.Repeat("0", 26), "{", "", "}", "").Replace(path); strings.HasPrefix(path, "/v1/") {
			if code, body := c.ask(method, path, "", false); code != 401 {
				t.Errorf("%s without a token: %d %s", pattern, code, body)
			}
			if code, body := c.ask(method, path+"?nosuch=1", "", true); code != 400 || !strings.Contains(body, "unknown parameter") {
				t.Errorf("%s of nosuch: %d %s", pattern, code, body)
			}
		}
	}
	c.everything()
	for id, pattern := range all {
		internal := strings.HasPrefix(id, "give") || id == "getLoad" || id == "provePeer" || strings.HasPrefix(id, "ask") // Routers ask one another: see TestAnyRouterAnswersForAll.
		if done := slices.ContainsFunc([]int{200, 202, 204}, func(code int) bool { return c.did[id][code] }); !done && !internal {
			t.Errorf("%s (%s) was never done: %v", id, pattern, c.did[id])
		}
		method, path, _ := strings.Cut(pattern, " ")
		for status, said := range c.says.Paths[path][strings.ToLower(method)].Responses {
			if code, _ := strconv.Atoi(status); code >= 400 && said.Ref == "" && !c.did[id][code] && !slices.Contains(unlikely[code], id) {
				t.Errorf("%s (%s) never answered %s", id, pattern, status)
			}
		}
	}
}

// unlikely are the answers that this router does not come to, and why. They have the one form of all errors, which the others are held to.
var unlikely = map[int][]string{
	403: {"sendEvents"},                         // a completion that was not sent to who brings it, or a caller of another tenant
	404: {"beat", "sendEvents"},                 // its run ended too long ago to be remembered
	405: {"sendEvents"},                         // it is no POST
	408: {"sendEvents"},                         // a client that takes minutes
	409: {"sendEvents", "getFlow"},              // a completion whose call another try has replaced; a definition that 1,000 others have pushed out
	429: {"signalRun", "pauseRun", "resumeRun"}, // the run keeps 10,000 signals, or waits for its definition and was paused and resumed 64 times
	500: {"sendEvents"},                         // a fault of ours
	503: {"sendEvents", "getReady"},             // the router is shutting down
	507: {"sendEvents"},                         // the disk is nearly full
}

// started starts a run of a trigger, and waits until it is in a state.
func (c *critic) started(trigger, state string) (run string) {
	c.t.Helper()
	_, body := c.ask("POST", "/v1/triggers/"+trigger, "[1, 2]", true, "Idempotency-Key", "of "+trigger)
	_, run, _ = strings.Cut(body, `"run":"`)
	run, _, _ = strings.Cut(run, `"`)
	eventually(c.t, func() error {
		if _, body := c.ask("GET", "/v1/runs/"+run, "", true); !strings.Contains(body, `"state":"`+state+`"`) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	return run
}

// beatLate sends the heartbeat of a try whose place another one has taken.
func (c *critic) beatLate() {
	c.t.Helper()
	_, body := c.ask("POST", "/v1/triggers/slow", "1", true, "Idempotency-Key", "slow")
	_, run, _ := strings.Cut(body, `"run":"`)
	run, _, _ = strings.Cut(run, `"`)
	call := ""
	eventually(c.t, func() error {
		if call != "" {
			if code, _ := c.ask("POST", "/v1/invocations/"+strings.ReplaceAll(call, "~", "%7E")+"/heartbeat", "", true); code == http.StatusConflict {
				return nil
			}
		}
		_, body := c.ask("GET", "/v1/runs/"+run, "", true)
		_, call, _ = strings.Cut(body, `"invocation":{"id":"`)
		call, _, _ = strings.Cut(call, `"`)
		time.Sleep(100 * time.Millisecond) // It lasts shorter.
		return fmt.Errorf("no try of %s is late: %s", run, body)
	})
	c.ask("POST", "/v1/runs/"+run+"/cancel", "", true)
}

// everything does all operations.
func (c *critic) everything() {
	c.t.Helper()
	wide, asks, breaks, lasts := c.started("wide", "succeeded"), c.started("asks", "waiting"), c.started("breaks", "failed"), c.started("lasts", "running")
	c.started("lost", "succeeded")
	open := c.started("waits", "waiting")
	c.beatLate()
	var letter, call string
	eventually(c.t, func() error {
		_, body := c.ask("GET", "/v1/dead?function=broken", "", true)
		_, letter, _ = strings.Cut(body, `"letter":"`)
		if letter, _, _ = strings.Cut(letter, `"`); letter == "" {
			return fmt.Errorf("no letter: %s", body)
		}
		_, body = c.ask("GET", "/v1/runs/"+lasts, "", true)
		_, call, _ = strings.Cut(body, `"invocation":{"id":"`)
		if call, _, _ = strings.Cut(call, `"`); call == "" {
			return fmt.Errorf("no call: %s", body)
		}
		return nil
	})
	const event = `{"specversion":"1.0","id":"e-1","source":"/s","type":"wide","data":[1]}`
	unknown, cloudevent := strings.Repeat("0", 26), []string{"Content-Type", "application/cloudevents+json"}
	for _, x := range []struct {
		method, path, body string
		code               int
		headers            []string
	}{
		{"GET", "/v1/whoami", "", 200, nil}, {"GET", "/v1/openapi.json", "", 200, nil}, {"GET", "/metrics", "", 200, nil}, {"GET", "/healthz", "", 200, nil}, {"GET", "/readyz", "", 200, nil},
		{"GET", "/metrics", "", 200, []string{"Accept", "application/openmetrics-text"}},
		{"GET", "/v1/version", "", 200, nil}, {"GET", "/v1/routers", "", 200, nil}, {"GET", "/v1/backup", "", 200, nil},
		{"GET", "/v1/runs/" + wide + "/strips", "", 200, nil}, {"GET", "/v1/runs/" + lasts + "/strips?bins=10&single=1", "", 200, nil}, {"GET", "/v1/runs/" + wide + "/strips?bins=none", "", 400, nil}, {"GET", "/v1/runs/" + wide + "/live?step=map/do", "", 200, nil},
		{"GET", "/v1/runs", "", 200, nil}, {"GET", "/v1/runs?limit=1&since=1h&sort=duration&order=up&state=failed&trigger=breaks&tenant=default", "", 200, nil}, {"GET", "/v1/runs?state=lost", "", 400, nil},
		{"GET", "/v1/runs?limit=1", "", 200, nil}, {"GET", "/v1/runs?after=x", "", 400, nil}, {"GET", "/v1/runs?since=soon", "", 400, nil},
		{"GET", "/v1/runs/" + unknown, "", 404, nil}, {"GET", "/v1/runs/" + wide + "?wait=1ms", "", 200, nil}, {"GET", "/v1/runs/" + wide + "?wait=soon", "", 400, nil},
		{"GET", "/v1/runs/" + breaks, "", 200, nil}, {"GET", "/v1/runs/" + lasts, "", 200, nil},
		{"GET", "/v1/runs/" + wide + "/steps?summary=true&limit=1", "", 200, nil}, {"GET", "/v1/runs/" + lasts + "/steps", "", 200, nil}, {"GET", "/v1/runs/" + breaks + "/steps?failed=true", "", 200, nil},
		{"GET", "/v1/runs/" + wide + "/steps", "", 200, []string{"Accept", "application/x-ndjson"}}, {"GET", "/v1/runs/" + wide + "/steps?failed=perhaps", "", 400, nil}, {"GET", "/v1/runs/" + unknown + "/steps", "", 404, nil},
		{"GET", "/v1/runs/" + wide + "/counts", "", 200, nil}, {"GET", "/v1/runs/" + unknown + "/counts", "", 404, nil}, {"GET", "/v1/runs/" + wide + "/field?step=map/do", "", 200, nil},
		{"GET", "/v1/runs/" + wide + "/field", "", 400, nil}, {"GET", "/v1/runs/" + wide + "/flow", "", 200, nil}, {"GET", "/v1/runs/" + unknown + "/flow", "", 404, nil},
		{"GET", "/v1/runs/" + wide + "/explain", "", 200, nil}, {"GET", "/v1/runs/" + asks + "/explain", "", 200, nil}, {"GET", "/v1/runs/" + breaks + "/explain", "", 200, nil}, {"GET", "/v1/runs/" + lasts + "/explain", "", 200, nil},
		{"GET", "/v1/runs/" + unknown + "/explain", "", 404, nil}, {"GET", "/v1/runs/" + wide + "/watch", "", 200, nil}, {"GET", "/v1/runs/" + unknown + "/watch", "", 404, nil},
		{"GET", "/v1/runs/" + wide + "/ended", "", 200, nil}, {"GET", "/v1/runs/" + asks + "/ended?wait=1ms", "", 404, nil},
		{"POST", "/v1/runs/" + asks + "/pause?by=ada&reason=why", "", 200, nil}, {"GET", "/v1/runs/" + asks, "", 200, nil}, {"GET", "/v1/runs?state=paused", "", 200, nil}, {"POST", "/v1/runs/" + asks + "/resume", "", 200, nil},
		{"POST", "/v1/runs/" + wide + "/pause", "", 410, nil}, {"POST", "/v1/runs/" + unknown + "/resume", "", 404, nil},
		{"POST", "/v1/runs/" + lasts + "/window?path=map&window=1", "", 200, nil}, {"POST", "/v1/runs/" + lasts + "/window?path=map&window=all", "", 400, nil}, {"POST", "/v1/runs/" + lasts + "/window?path=none&window=1", "", 404, nil},
		{"POST", "/v1/invocations/" + strings.ReplaceAll(call, "~", "%7E") + "/heartbeat", `{"at": 7}`, 200, nil}, {"POST", "/v1/invocations/nobody/heartbeat", "", 403, nil}, {"POST", "/v1/invocations/nobody/heartbeat", "{", 400, nil},
		{"POST", "/events", event, 401, append([]string{"Authorization", "Bearer wrong"}, cloudevent...)},
		{"GET", "/v1/waits", "", 200, nil}, {"GET", "/v1/waits?signal=go&limit=1", "", 200, nil}, {"GET", "/v1/waits?limit=0", "", 400, nil},
		{"POST", "/v1/runs/" + asks + "/signals/early", "1", 200, nil}, {"POST", "/v1/runs/" + asks + "/signals/go", "1", 200, []string{"Idempotency-Key", "k"}}, {"POST", "/v1/runs/" + unknown + "/signals/go", "1", 404, nil},
		{"POST", "/v1/runs/" + lasts + "/cancel?reason=enough", "", 200, nil}, {"POST", "/v1/runs/" + wide + "/cancel", "", 410, nil},
		{"POST", "/v1/runs/" + breaks + "/redrive?dryRun=true&definition=latest", "", 200, nil}, {"POST", "/v1/runs/" + breaks + "/redrive", "", 200, nil}, {"POST", "/v1/runs/" + wide + "/redrive", "", 409, nil}, {"POST", "/v1/runs/" + unknown + "/redrive", "", 404, nil},
		{"POST", "/v1/runs/" + breaks + "/rerun?dryRun=true", "", 200, nil}, {"POST", "/v1/runs/" + wide + "/rerun?input=given", "[7]", 200, nil}, {"POST", "/v1/runs/" + unknown + "/rerun", "", 404, nil},
		{"POST", "/v1/runs/redrive?state=failed&dryRun=true", "", 200, nil}, {"POST", "/v1/runs/rerun?trigger=wide&limit=1&dryRun=true", "", 200, nil}, {"POST", "/v1/runs/cancel?event=none", "", 200, nil}, {"POST", "/v1/runs/signal?event=none&signal=go", "1", 200, nil},
		{"POST", "/v1/runs/signal?event=none", "1", 400, nil}, {"POST", "/v1/runs/cancel", "", 400, nil}, {"POST", "/v1/runs/cancel?state=failed&rate=fast", "", 400, nil},
		{"GET", "/v1/triggers", "", 200, nil}, {"GET", "/v1/triggers/wide", "", 200, nil}, {"GET", "/v1/triggers/lost", "", 200, nil}, {"GET", "/v1/triggers/none", "", 404, nil}, {"POST", "/v1/triggers/none", "1", 404, nil},
		{"POST", "/v1/triggers/wide/pause?reason=why", "", 200, nil}, {"GET", "/v1/triggers", "", 200, nil}, {"POST", "/v1/triggers/wide/resume", "", 200, nil}, {"POST", "/v1/triggers/none/pause", "", 404, nil}, {"POST", "/v1/triggers/none/resume", "", 404, nil},
		{"POST", "/v1/functions/echo/pause", "", 200, nil}, {"GET", "/v1/functions", "", 200, nil}, {"POST", "/v1/functions/echo/resume", "", 200, nil}, {"POST", "/v1/functions/none/pause", "", 404, nil}, {"POST", "/v1/functions/none/resume", "", 404, nil},
		{"POST", "/v1/functions/echo/invoke", "[1]", 202, []string{"Idempotency-Key", "i"}}, {"POST", "/v1/functions/none/invoke", "[1]", 404, nil},
		{"POST", "/v1/functions/echo/limit?limit=2", "", 200, nil}, {"POST", "/v1/functions/echo/limit?limit=many", "", 400, nil},
		{"POST", "/events", event, 202, cloudevent}, {"POST", "/events", event, 200, append([]string{"Prefer", "wait=20"}, cloudevent...)}, {"POST", "/events", `{"a":1}`, 415, nil}, {"POST", "/events", `{"specversion":"1.0"}`, 400, cloudevent},
		{"POST", "/events", "[" + event + "]", 202, []string{"Content-Type", "application/cloudevents-batch+json"}}, {"OPTIONS", "/events", "", 204, nil},
		{"POST", "/events", `{"specversion":"1.0","id":"s","source":"/s","type":"dev.onward.signal","correlationid":"` + unknown + `","subject":"go"}`, 404, cloudevent},
		{"POST", "/v1/runs/" + wide + "/resume", "", 410, nil}, {"POST", "/v1/runs/" + unknown + "/pause", "", 404, nil}, {"POST", "/v1/runs/" + unknown + "/cancel", "", 404, nil}, {"POST", "/v1/runs/" + wide + "/signals/go", "1", 410, nil},
		{"POST", "/v1/runs/" + wide + "/window?path=map&window=1", "", 410, nil}, {"GET", "/v1/runs/" + unknown + "/field?step=map", "", 404, nil}, {"GET", "/v1/runs/" + unknown + "/strips", "", 404, nil}, {"GET", "/v1/runs/" + unknown + "/live", "", 404, nil},
		{"POST", "/v1/runs/" + open + "/rerun", "", 409, nil}, {"POST", "/v1/functions/none/limit?limit=1", "", 404, nil},
		{"POST", "/v1/invocations/" + strings.ReplaceAll(call, "~", "%7E") + "/heartbeat", "", 410, nil},
		{"POST", "/events", `{"specversion":"1.0","id":"s-2","source":"/s","type":"dev.onward.signal","correlationid":"` + wide + `","subject":"go"}`, 410, cloudevent},
		{"POST", "/events", `{"specversion":"1.0","id":"big","source":"/s","type":"wide","data":"` + strings.Repeat("x", 2<<20) + `"}`, 413, cloudevent},
		{"GET", "/v1/events", "", 200, nil}, {"GET", "/v1/events?taken=matched&limit=1", "", 200, nil}, {"GET", "/v1/events?taken=x", "", 400, nil}, {"GET", "/v1/events/e-1", "", 200, nil}, {"GET", "/v1/events/none", "", 404, nil},
		{"POST", "/v1/events/test", event, 200, cloudevent}, {"POST", "/v1/events/test", "{}", 400, nil},
		{"GET", "/v1/dead?limit=1&kind=destination&since=today&text=broken", "", 200, nil}, {"GET", "/v1/dead?group=cause", "", 200, nil}, {"GET", "/v1/dead?kind=x", "", 400, nil}, {"GET", "/v1/dead/" + letter, "", 200, nil}, {"GET", "/v1/dead/none", "", 404, nil},
		{"POST", "/v1/dead/" + letter + "/redrive", "", 502, nil}, {"GET", "/v1/dead/" + letter, "", 200, nil}, {"DELETE", "/v1/dead/" + letter, "", 200, nil}, {"DELETE", "/v1/dead/" + letter, "", 404, nil}, {"POST", "/v1/dead/" + letter + "/redrive", "", 200, nil},
		{"GET", "/v1/definitions", "", 200, nil}, {"POST", "/v1/diff", `{"documents":[{"file":"a.yaml","text":"version: 1"}]}`, 200, nil}, {"POST", "/v1/diff", `{"documents":[{"file":"a.yaml","text":"version: 2"}]}`, 400, nil}, {"POST", "/v1/diff", "{}", 400, nil},
		{"POST", "/v1/dead/none/redrive", "", 404, nil}, {"GET", "/v1/parked", "", 200, nil}, {"GET", "/v1/sources", "", 200, nil}, {"GET", "/v1/load", "", 404, nil}, {"GET", "/v1/peer", "", 404, nil}, {"POST", "/v1/facts", "x", 404, []string{"Content-Type", "application/octet-stream"}},
		{"POST", "/v1/beats", "x", 404, []string{"Content-Type", "application/octet-stream"}}, {"POST", "/v1/gathers", "x", 404, []string{"Content-Type", "application/octet-stream"}}, {"POST", "/v1/tickets", "x", 404, []string{"Content-Type", "application/octet-stream"}},
		{"POST", "/events", "[" + strings.Repeat(event+",", 99) + event + "]", 429, []string{"Content-Type", "application/cloudevents-batch+json"}}, // Beyond the source's rate.
	} {
		if code, body := c.ask(x.method, x.path, x.body, true, x.headers...); code != x.code {
			c.t.Errorf("%s %s: %d %s; want %d", x.method, x.path, code, body, x.code)
		}
	}
}
