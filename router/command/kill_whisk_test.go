package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

// TestKillBetweenStartAndResult: a router is killed while OpenWhisk is at work on its call. The next one knows the activation, is told of its end by a user event, and
// starts nothing.
func TestKillBetweenStartAndResult(t *testing.T) {
	t.Parallel()
	const id = "44794bd6aab74415b4e42a308d880e5b"
	var starts, looks atomic.Int32
	var ready atomic.Bool
	whisk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			starts.Add(1)
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"activationId":"`+id+`"}`)
		case strings.HasSuffix(r.URL.Path, "/"+id) && ready.Load():
			_, _ = io.WriteString(w, `{"response":{"status":"success","success":true,"result":{"n":7}}}`)
		default:
			looks.Add(1)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer whisk.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "whisk.yaml")
	text := fmt.Sprintf(`version: 1
functions: { act: { openwhisk: { host: %q, action: act, param: p, poll: 1h, userEvents: true } } }
sources:
  inbox: { webhook: {} }
  whisk: { accepts: [completions], webhook: { path: /whisk, as: { type: activation, id: "${ body.body.activationId }", ticket: "${ body.body.activationId }" } } }
triggers: { one: { filters: [{ exact: { type: one } }], flow: { function: act } } }
`, whisk.URL)
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := spawn(t, addr, doc, dir)
	waitReady(t, addr)
	code, body := postEvent(t, addr, "one", "1", "")
	var said struct {
		Events []struct{ Runs []struct{ Run string } }
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || code/100 != 2 || len(said.Events) != 1 || len(said.Events[0].Runs) != 1 {
		t.Fatal(code, body, err)
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	get := func(path string) string {
		resp, err := http.Get("http://" + addr + "/v1/runs/" + said.Events[0].Runs[0].Run + path)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	explained := func() bool { return strings.Contains(get("/explain"), "activation "+id+", started at ") }
	// The ticket of the status is that of the fold: it is durable.
	until("the call has no ticket", func() bool { return strings.Contains(get(""), `"ticket":"`+id+`"`) })
	for n := range int32(2) {
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		before := looks.Load()
		child = spawn(t, addr, doc, dir)
		waitReady(t, addr)
		until(fmt.Sprintf("start %d: the activation is not asked for", n+2), func() bool { return looks.Load() > before })
		until("explain does not say which activation it is", explained)
	}
	defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
	ready.Store(true)
	resp, err := http.Post("http://"+addr+"/whisk", "application/json", strings.NewReader(`{"eventType":"Activation","body":{"activationId":"`+id+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	heard, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.Contains(string(heard), `"taken":"completion"`) {
		t.Errorf("%s", heard)
	}
	until("no result: "+get(""), func() bool { return strings.Contains(get(""), `"n":7`) })
	if n := starts.Load(); n != 1 {
		t.Errorf("%d activations were started", n)
	}
}
