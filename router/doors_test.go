package router_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/triggers"
)

// A house under attack: a router on loopback without a token, with a webhook that takes all and one that takes starts only.
const attacked = `
version: 1
functions:
  slow: { exec: [sh, -c, "sleep 30"], timeout: 60s }
  id: { exec: [sh, -c, 'printf "\"%s\"" "$CE_ID"'] }
sources:
  all: { webhook: { path: /events } }
  public: { webhook: { path: /public }, accepts: starts }
triggers:
  ask: { filters: [{ exact: { type: ask } }], flow: { signal: approved } }
  id: { filters: [{ exact: { type: id } }], flow: { function: id } }
  slow: { filters: [{ exact: { type: slow } }], flow: { function: slow } }
`

// say writes a request as it stands, and returns the status line and the rest of the answer.
func say(t *testing.T, addr, raw string) (status, body string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error(), ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.Status, string(b)
}

func request(method, target, host, headers, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, target, host, headers, len(body), body)
}

// TestAPageCannotDriveARouterOnLoopback: what browsers send for a page of somebody else, to every way in.
func TestAPageCannotDriveARouterOnLoopback(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), attacked)
	const event = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /t\r\nce-type: ask\r\nContent-Type: application/json\r\n"
	paths := map[string]string{"/v1/triggers/ask": "Content-Type: text/plain\r\n", "/events": event, "/public": event, "/v1/runs/00000000000000000000000000/cancel": ""}
	for path, more := range paths {
		for name, headers := range map[string]string{
			"fetch":          "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
			"an old browser": "Origin: https://evil.example\r\n", "a file, a sandbox": "Origin: null\r\n", "another port": "Origin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\n",
		} {
			if status, body := say(t, r.Addr(), request("POST", path, r.Addr(), headers+more, "{}")); !strings.HasPrefix(status, "403") {
				t.Errorf("%s to %s: %s %s", name, path, status, body)
			}
		}
	}
	for _, path := range []string{"/v1/runs", "/v1/triggers", "/metrics", "/healthz", "/readyz", "/events", "/public", "/v1/triggers/ask"} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			for _, host := range []string{"evil.example", "evil.example:8080", "127.0.0.1.evil.example"} {
				status, body := say(t, r.Addr(), request(method, path, host, "Sec-Fetch-Site: same-origin\r\n", ""))
				if !strings.HasPrefix(status, "403") && !strings.HasPrefix(status, "405") || strings.Contains(body, "tenant") || strings.Contains(body, "onward_") {
					t.Errorf("a name that was made to point here, %s %s at %s: %s %s", method, path, host, status, body)
				}
			}
		}
	}
	if status, body := say(t, r.Addr(), request("GET", "http://evil.example/v1/triggers", r.Addr(), "", "")); !strings.HasPrefix(status, "403") {
		t.Errorf("a whole URL: %s %s", status, body)
	}
	if status, body := say(t, r.Addr(), request("POST", "/v1/triggers/ask", "localhost", "Content-Type: application/json\r\n", "{}")); !strings.HasPrefix(status, "202") {
		t.Errorf("an honest program: %s %s", status, body)
	}
	var said router.RunList
	if _, body := say(t, r.Addr(), request("GET", "/v1/runs", "localhost", "", "")); json.Unmarshal([]byte(body), &said) != nil || len(said.Runs) != 1 {
		t.Errorf("of all this one run may be there: %s", body)
	}
}

// TestNoPageOfAnotherOriginReads: no answer has a header that lets it, a preflight's neither.
func TestNoPageOfAnotherOriginReads(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), attacked)
	for _, path := range []string{"/", "/v1/runs", "/v1/triggers/ask", "/v1/openapi.json", "/metrics", "/healthz", "/events", "/nothing"} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			q, err := http.NewRequest(method, "http://"+r.Addr()+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range map[string]string{"Origin": "https://page.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization", "WebHook-Request-Origin": "page.example"} {
				q.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s is answered with %s", method, path, name)
				}
			}
		}
	}
}

// TestPathsDoNotGoRoundTheToken: every spelling of a path under /v1 asks for the token, or is nothing.
func TestPathsDoNotGoRoundTheToken(t *testing.T) {
	t.Setenv("ONWARD_TEST_TOKEN", "hush")
	r := startWith(t, attacked, func(o *router.Options) { o.Token.Env = "ONWARD_TEST_TOKEN" })
	for _, path := range []string{
		"/v1/runs", "//v1/runs", "/v1//runs", "/./v1/runs", "/v1/./runs", "/events/../v1/runs", "/%76%31/runs", "/v1%2fruns", "/%2fv1/runs", "/v1/runs/", "/v1/runs?x=/events",
		"/v1/runs;x", "/V1/runs", "/v1/runs%00", "/public/..%2fv1/runs", "http://localhost/v1/runs", "/v1/runs/%2e%2e/runs", "\\v1\\runs", "/v1/runs#x",
	} {
		status, body := say(t, r.Addr(), request("GET", path, "any.example", "", ""))
		if strings.HasPrefix(status, "200") || strings.HasPrefix(body, `{"runs"`) {
			t.Errorf("%s: %s %s", path, status, body)
		}
	}
	for _, headers := range []string{"", "Authorization: Bearer\r\n", "Authorization: Bearer hus\r\n", "Authorization: Bearer hush2\r\n", "Authorization: Basic hush\r\n", "Onward-Forwarded: 1\r\n", "Authorization: Bearer wrong\r\nAuthorization: Bearer hush\r\n"} {
		if status, body := say(t, r.Addr(), request("GET", "/v1/runs", r.Addr(), headers, "")); !strings.HasPrefix(status, "401") {
			t.Errorf("%q: %s %s", headers, status, body)
		}
	}
	if status, body := say(t, r.Addr(), request("GET", "/v1/runs", "proxy.example", "Authorization: Bearer hush\r\nOrigin: https://page.example\r\n", "")); !strings.HasPrefix(status, "200") {
		t.Errorf("through a proxy, with the token: %s %s", status, body)
	}
}

// TestForgedOutcomes: who knows a run and what it calls, and may send events, ends none of its calls; who was sent the call does.
func TestForgedOutcomes(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), attacked)
	var started struct {
		Events []struct{ Runs []struct{ Run string } }
	}
	post := func(path, kind, id string, headers ...string) (string, string) {
		return say(t, r.Addr(), request("POST", path, r.Addr(), "ce-specversion: 1.0\r\nce-source: /t\r\nce-type: "+kind+"\r\nce-id: "+id+"\r\n"+strings.Join(headers, "\r\n")+"\r\n", ""))
	}
	if _, body := post("/public", "slow", "s", "x: y"); json.Unmarshal([]byte(body), &started) != nil {
		t.Fatal(body)
	}
	run := started.Events[0].Runs[0].Run
	var st struct {
		State string
		Root  struct{ Invocation struct{ ID string } }
	}
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs/"+run, r.Addr(), "", ""))
		if json.Unmarshal([]byte(body), &st) != nil || st.Root.Invocation.ID == "" {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	sealed := st.Root.Invocation.ID
	bare := sealed[:strings.LastIndexByte(sealed, '.')]
	for _, cause := range []string{bare, run + "~anything.1", bare + ".0000000000", sealed + "x"} {
		if status, body := post("/events", "dev.onward.function.succeeded", "forged", "ce-causationid: "+cause); !strings.HasPrefix(status, "403") || !strings.Contains(body, "send back the id as it came") {
			t.Errorf("%s: %s %s", cause, status, body)
		}
	}
	if status, body := post("/public", "dev.onward.function.succeeded", "c", "ce-causationid: "+sealed); !strings.HasPrefix(status, "403") {
		t.Errorf("at a source for starts: %s %s", status, body)
	}
	if status, body := post("/public", "dev.onward.signal", "c", "ce-correlationid: "+run, "ce-subject: approved"); !strings.HasPrefix(status, "403") {
		t.Errorf("a signal at a source for starts: %s %s", status, body)
	}
	for i, want := range []string{"200 OK applied", "200 OK repeated"} {
		if status, body := post("/events", "dev.onward.function.succeeded", "c", "ce-causationid: "+sealed); !strings.HasPrefix(want, status) || !strings.Contains(body, `"became":"`+want[7:]+`"`) {
			t.Errorf("%d: who was sent it: %s %s", i, status, body)
		}
	}
	if status, body := post("/events", "dev.onward.function.failed", "late", "ce-causationid: "+sealed); !strings.HasPrefix(status, "410") || !strings.Contains(body, "the run has ended") {
		t.Errorf("too late: %s %s", status, body)
	}
	for want, to := range map[string]string{"410": run, "404": "00000000000000000000000000"} {
		if status, body := post("/events", "dev.onward.signal", "s"+want, "ce-correlationid: "+to, "ce-subject: approved"); !strings.HasPrefix(status, want) || strings.Contains(body, `"taken"`) {
			t.Errorf("a signal to %s: %s %s", to, status, body)
		}
		if status, body := post("/events", "dev.onward.signal", "w"+want, "ce-correlationid: "+to, "ce-subject: approved", "Prefer: wait=5"); !strings.HasPrefix(status, want) {
			t.Errorf("one that waits for the result of %s: %s %s", to, status, body)
		}
	}
}

// TestAKeyIsOfOneSignal: the same Idempotency-Key with two names is two signals.
func TestAKeyIsOfOneSignal(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), `
version: 1
functions: { f: { log: f } }
triggers: { two: { filters: [{ exact: { type: two } }], flow: { sequence: [{ signal: a }, { signal: b }] } } }
`)
	_, body := say(t, r.Addr(), request("POST", "/v1/triggers/two", r.Addr(), "", ""))
	var started struct{ Run string }
	if json.Unmarshal([]byte(body), &started) != nil || started.Run == "" {
		t.Fatal(body)
	}
	for _, c := range []struct{ name, want string }{{"b", "applied"}, {"b", "repeated"}, {"a", "applied"}, {"a", "repeated"}} {
		status, body := say(t, r.Addr(), request("POST", "/v1/runs/"+started.Run+"/signals/"+c.name, r.Addr(), "Idempotency-Key: k\r\n", `"`+c.name+`"`))
		if status != "200 OK" || !strings.Contains(body, `"became":"`+c.want+`"`) {
			t.Errorf("%s: %s %s; want %s", c.name, status, body, c.want)
		}
	}
	eventually(t, func() error {
		if _, body := say(t, r.Addr(), request("GET", "/v1/runs/"+started.Run, r.Addr(), "", "")); !strings.Contains(body, `"result":"b"`) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}

// TestEndsThatStartOthersPassTheLimit: as many runs as may be open, each of which starts another when it ends, by its destination and by what is matched.
func TestEndsThatStartOthersPassTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 20
	r := startWith(t, `
version: 1
functions: { f: { log: f } }
triggers:
  one: { filters: [{ exact: { type: one } }], flow: { signal: go }, onSuccess: { trigger: two } }
  two: { filters: [{ exact: { type: none } }], flow: { wait: 1ms } }
  three: { filters: [{ exact: { type: dev.onward.run.succeeded, source: /onward/one } }], flow: { wait: 1ms } }
`, func(o *router.Options) { o.MaxRuns = limit })
	var runs []string
	for range limit {
		var started struct{ Run string }
		if status, body := say(t, r.Addr(), request("POST", "/v1/triggers/one", r.Addr(), "", "")); json.Unmarshal([]byte(body), &started) != nil || started.Run == "" {
			t.Fatal(status, body)
		}
		runs = append(runs, started.Run)
	}
	eventually(t, func() error {
		status, body := say(t, r.Addr(), request("POST", "/v1/triggers/one", r.Addr(), "", ""))
		if !strings.HasPrefix(status, "429") {
			return fmt.Errorf("%s %s", status, body)
		}
		return nil
	})
	for _, run := range runs {
		if status, body := say(t, r.Addr(), request("POST", "/v1/runs/"+run+"/signals/go", r.Addr(), "", "")); status != "200 OK" {
			t.Fatal(status, body)
		}
	}
	eventually(t, func() error {
		_, body := say(t, r.Addr(), request("GET", "/v1/runs?limit=1000&state=succeeded", r.Addr(), "", ""))
		for _, trigger := range []string{"one", "two", "three"} {
			if n := strings.Count(body, `"trigger":"`+trigger+`"`); n < limit {
				return fmt.Errorf("%d runs of %s have ended: %.300s", n, trigger, body)
			}
		}
		return nil
	})
}

// startWith is start with options of its own, and a journal in memory.
func startWith(t *testing.T, doc string, change func(*router.Options)) *running {
	t.Helper()
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(doc), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	o := router.Options{Set: set, Registry: reg, Journal: memory.New(memory.Options{Partitions: 4}), Listen: "127.0.0.1:0", Drain: -1}
	change(&o)
	return runIt(t, o)
}

// TestAFactAtAnyRouter: a webhook tells what became of a signal whose run another router folds, and the API does; with a token that no router shows to another.
func TestAFactAtAnyRouter(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, attacked)
	id := ""
	for i := 0; id == ""; i++ {
		e := startEvent(fmt.Sprint("ask-", i))
		run, err := c.members[0].Router.Start(t.Context(), "ask", e)
		if err != nil {
			t.Fatal(err)
		}
		if c.owner[memory.New(memory.Options{Partitions: 4}).Layout().Partition(run.Route())] == 1 {
			id = run.String()
		}
	}
	early := func(id string) string {
		return `{"specversion":"1.0","id":"early","source":"/t","type":"dev.onward.signal","correlationid":"` + id + `","subject":"early"}`
	}
	status, body := say(t, c.members[0].address, request("POST", "/events", "localhost", "content-type: application/cloudevents-batch+json\r\n",
		"["+early(id)+","+early(journal.RunID{}.String())+","+early(id)+"]"))
	if n := strings.Count(body, `"became":"`); status != "404 Not Found" || n != 3 || !strings.Contains(body, `"became":"applied"`) || !strings.Contains(body, `"became":"repeated"`) || !strings.Contains(body, `"became":"unknown"`) {
		t.Errorf("a batch: %s %s", status, body)
	}
	for i, want := range []string{"applied", "repeated"} {
		status, body := say(t, c.members[0].address, request("POST", "/events", "localhost",
			"ce-specversion: 1.0\r\nce-source: /t\r\nce-type: dev.onward.signal\r\nce-id: s\r\nce-correlationid: "+id+"\r\nce-subject: approved\r\n", ""))
		if status != "200 OK" || !strings.Contains(body, `"became":"`+want+`"`) {
			t.Errorf("%d: %s %s", i, status, body)
		}
	}
	eventually(t, func() error {
		if status, body := say(t, c.members[0].address, request("POST", "/v1/runs/"+id+"/signals/approved", "localhost", "", "")); !strings.HasPrefix(status, "410") {
			return fmt.Errorf("%s %s", status, body)
		}
		return nil
	})
	for _, path := range []string{"/v1/peer", "/v1/facts"} {
		for _, proof := range []string{"", "Onward-Forwarded: 1\r\n", "Onward-Peer: 1 1 " + strings.Repeat("A", 26) + " x y\r\n"} {
			method := map[bool]string{true: "GET", false: "POST"}[path == "/v1/peer"]
			if status, body := say(t, c.members[1].address, request(method, path, "localhost", proof, "x")); !strings.HasPrefix(status, "404") && !strings.HasPrefix(status, "401") {
				t.Errorf("%s with %q: %s %s", path, proof, status, body)
			}
		}
	}
}

// TestStartsForAFullRouterAreRefusedAtAny: a router that has few runs, or none, does not admit without bound for another that has enough of them.
func TestStartsForAFullRouterAreRefusedAtAny(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 2, attacked, func(n int, o *router.Options) {
		if n == 1 {
			o.MaxRuns = 1
		}
	})
	n := 0
	start := func(owner int) error {
		for {
			n++
			e := startEvent(fmt.Sprint("full-", n))
			if run := c.members[0].Router.RunIDOf("ask", e); c.owner[memory.New(memory.Options{Partitions: 4}).Layout().Partition(run.Route())] == owner {
				_, err := c.members[0].Router.Start(t.Context(), "ask", e)
				return err
			}
		}
	}
	eventually(t, func() error {
		if err := start(1); !errors.Is(err, triggers.ErrBusy) || !strings.Contains(err.Error(), "runs are open, and the limit is 1") {
			return fmt.Errorf("at another router: %w", err)
		}
		return nil
	})
	if err := start(0); err != nil {
		t.Error("at the one that has room:", err)
	}
}

// TestNoSecretReachesAProgram: neither the router's own settings' nor the documents', by whatever list it is asked for.
func TestNoSecretReachesAProgram(t *testing.T) {
	for _, name := range []string{"LC_TOKEN", "DOORS_PASSWORD", "LC_HOOK", "DOORS_PLAIN"} {
		t.Setenv(name, "s3cr3t")
	}
	const doc = `
version: 1
functions: { env: { exec: { command: [sh, -c, "env | grep -c s3cr3t || true"], env: [DOORS_PLAIN%s] } } }
sources: { hook: { webhook: { path: /hook, auth: { bearer: { env: LC_HOOK } } } } }
triggers: { env: { filters: [{ exact: { type: env } }], flow: { function: env } } }
`
	options := func(o *router.Options) { o.Token.Env, o.Secrets = "LC_TOKEN", []string{"LC_TOKEN", "DOORS_PASSWORD"} }
	r := startWith(t, fmt.Sprintf(doc, ""), options)
	if f := r.run("env", "1", "null"); f.Result.JSON() != "1" {
		t.Errorf("%s variables with a secret in them reached a program; one was asked for", f.Result)
	}
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(fmt.Sprintf(doc, ", DOORS_PASSWORD")), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	o := router.Options{Set: set, Registry: reg, Journal: memory.New(memory.Options{Partitions: 4})}
	options(&o)
	if _, err := router.Open(o); err == nil || !strings.Contains(err.Error(), `"DOORS_PASSWORD" is a secret of the router's`) {
		t.Error(err)
	}
	if err := r.Reload(set); err == nil || !strings.Contains(err.Error(), "DOORS_PASSWORD") {
		t.Error("reloaded:", err)
	}
	if _, findings := config.Parse("test.yaml", []byte(fmt.Sprintf(doc, ", LC_HOOK")), reg, nil); len(findings) != 1 || !strings.Contains(findings[0].String(), `"LC_HOOK" is a secret of source hook`) {
		t.Error(findings)
	}
}
