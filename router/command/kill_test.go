package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
	"github.com/rogpeppe/go-internal/testscript"
)

// childVariable makes the test binary be the real program: a process to kill.
const childVariable = "TEST_RUN_AS_ROUTER"

func TestMain(m *testing.M) {
	program := func() {
		r := new(plugin.Registry)
		builtin.Register(r)
		sinks.Register(r)
		triggers.Register(r)
		schedulers.Register[fatal, struct{}](r, "fatal", 1, "Ends the process that folds it.")
		schedulers.Register[anyOf, struct{}](r, "any-of", 1, "Runs branches side by side; the first that ends is its outcome.")
		os.Exit(Main(r, os.Args[1:]))
	}
	if os.Getenv(childVariable) != "" {
		program()
	}
	testscript.Main(clusters{m}, map[string]func(){"onward": program})
}

// clusters stops the nodes that the tests share, after them.
type clusters struct{ *testing.M }

func (c clusters) Run() int { return kafkatest.Main(c.M) }

// A fatal policy takes its router with it.
type fatal struct{}

func (*fatal) Next(schedulers.Frame, *struct{}, schedulers.Event) error {
	os.Exit(66)
	return nil
}

// TestRecordThatKillsTheRouter: the third start passes over the record on which two have died, fails its run, and goes on with all else.
func TestRecordThatKillsTheRouter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	doc := filepath.Join(dir, "fatal.yaml")
	text := `version: 1
functions: { echo: { log: echo } }
sources: { inbox: { webhook: {} } }
triggers:
  fatal: { filters: [{ exact: { type: fatal } }], flow: { fatal: {} } }
  fine: { filters: [{ exact: { type: fine } }], flow: { function: echo } }
`
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := spawn(t, addr, doc, dir)
	waitReady(t, addr)
	if resp, err := sendEvent(addr, "fatal", "1", ""); err == nil { // It may die before it has answered.
		_ = resp.Body.Close()
	}
	for i := range 2 {
		err := child.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 66 {
			t.Fatalf("start %d: %v", i+1, err)
		}
		child = spawn(t, addr, doc, dir)
	}
	defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
	waitReady(t, addr)
	if code, body := postEvent(t, addr, "fine", "1", "wait=20"); code != http.StatusOK {
		t.Errorf("another run: %d %s", code, body)
	}
	// The event again is the same run, which has failed.
	if code, body := postEvent(t, addr, "fatal", "1", "wait=20"); code != http.StatusOK || !strings.Contains(body, `"skipped"`) {
		t.Errorf("the run of the record: %d %s", code, body)
	}
}

func postEvent(t *testing.T, addr, kind, id, prefer string) (int, string) {
	t.Helper()
	resp, err := sendEvent(addr, kind, id, prefer)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func sendEvent(addr, kind, id, prefer string) (*http.Response, error) {
	req, _ := http.NewRequest("POST", "http://"+addr+"/events", strings.NewReader("1"))
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/test", "Ce-Type": kind, "Content-Type": "application/json", "Prefer": prefer} {
		req.Header.Set(k, v)
	}
	return http.DefaultClient.Do(req)
}

// tally is the outside world: functions that note what they were asked for.
type tally struct {
	mu    sync.Mutex
	joins map[string][]string // event id: the joined results, by call
	ids   map[string]int      // invocation id: times sent
}

func (k *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids[r.Header.Get("Ce-Id")]++
	if r.URL.Path == "/join" {
		var in struct {
			ID      string
			Results json.RawMessage
		}
		_ = json.Unmarshal(b, &in)
		k.joins[in.ID] = append(k.joins[in.ID], string(in.Results))
	}
	_, _ = w.Write(b)
}

// TestKill ends the real program with SIGKILL again and again under load: every acknowledged event takes effect, every join has the right members.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 20
	if *nestedWhole {
		kills = 100
	}
	world := &tally{joins: make(map[string][]string), ids: make(map[string]int)}
	functions := httptest.NewServer(world)
	defer functions.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "kill.yaml")
	text := strings.ReplaceAll(`version: 1
functions:
  work: { http: { url: "URL/work" } }
  join: { http: { url: "URL/join" } }
sources: { inbox: { webhook: {} } }
triggers:
  load:
    filters: [{ exact: { type: load } }]
    flow:
      sequence:
        - map: { items: 8, do: { function: work, input: "${ item * 3 }" } }
        - { function: join, input: { id: "${ event.id }", results: "${ previous }" } }
`, "URL", functions.URL)
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var acked []string
	var load sync.WaitGroup
	load.Go(func() { acked = postAll(ctx, "http://"+addr+"/events") })
	for range kills {
		child := spawn(t, addr, doc, dir)
		waitReady(t, addr)
		time.Sleep(20 * time.Millisecond) // Under load: where in the work it dies is chance.
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // It was killed.
	}
	child := spawn(t, addr, doc, dir)
	defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
	waitReady(t, addr)
	cancel()
	load.Wait()
	want := "[0,3,6,9,12,15,18,21]"
	missing := 0
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		missing = 0
		world.mu.Lock()
		for _, id := range acked {
			if len(world.joins[id]) == 0 {
				missing++
			}
		}
		world.mu.Unlock()
		if missing == 0 {
			break
		}
	}
	world.mu.Lock()
	defer world.mu.Unlock()
	repeated := 0
	for _, n := range world.ids {
		if n > 1 {
			repeated++
		}
	}
	for id, joins := range world.joins {
		for _, got := range joins {
			if got != want {
				t.Errorf("run of %s joined %s", id, got)
			}
		}
	}
	t.Logf("%d kills, %d acknowledged events, %d without effect, %d invocations, %d of them sent more than once", kills, len(acked), missing, len(world.ids), repeated)
	if missing > 0 || len(acked) < kills {
		t.Errorf("%d of %d acknowledged events had no effect", missing, len(acked))
	}
}

// postAll sends events one after the other, each until it is acknowledged, and returns the ids of those that were.
func postAll(ctx context.Context, url string) (acked []string) {
	for i := 0; ctx.Err() == nil; {
		id := fmt.Sprint("event-", i)
		req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("1"))
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/kill", "Ce-Type": "load", "Content-Type": "application/json"} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			time.Sleep(2 * time.Millisecond) // Nobody listens while it is dead.
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusAccepted {
			acked = append(acked, id)
			i++
		}
	}
	return acked
}

func spawn(t *testing.T, addr, doc, dir string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0], "serve", doc, "--listen", addr, "--data", filepath.Join(dir, "data"), "--durability", "os", "--disk-low-water", "1", "--log-level", "error", "--snapshot-records", "200")
	child.Env = append(os.Environ(), childVariable+"=1")
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

func waitReady(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == 200 {
			return
		}
	}
	t.Fatal("the router did not become ready")
}
