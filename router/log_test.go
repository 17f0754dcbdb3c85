package router_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
)

// lines are those of a log with a message.
func lines(t *testing.T, log *logtest.Log, msg string) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var x map[string]any
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if x["msg"] == msg {
			out = append(out, x)
		}
	}
	return out
}

func TestLogTellsOfEndsAndRefusals(t *testing.T) {
	t.Parallel()
	address, _ := functions(t)
	set, findings := config.Parse("test.yaml", fmt.Appendf(nil, `version: 1
functions: { double: { http: { url: "%[1]s/double" } }, fail: { http: { url: "%[1]s/fail" }, retry: { attempts: 2, backoff: 1ms } } }
sources: { inbox: { webhook: { path: /events }, accepts: [starts] } }
triggers:
  good: { filters: [{ exact: { type: good } }], flow: { sequence: [{ function: double }] } }
  bad: { filters: [{ exact: { type: bad } }], flow: { sequence: [{ function: double }, { name: pay, function: fail }] } }
`, address), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	var log logtest.Log
	r := runIt(t, router.Options{
		Set: set, Registry: registry(), Journal: memory.New(memory.Options{}), Listen: "127.0.0.1:0", Log: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	for i := range 5 {
		r.run("good", fmt.Sprint("g", i), "1")
		r.run("bad", fmt.Sprint("b", i), "1")
	}
	for _, event := range []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"none"}`,
		`{"specversion":"1.0","id":"2","source":"/s","type":"dev.onward.function.succeeded","causationid":"x~y.1"}`,
	} {
		resp, err := http.Post("http://"+r.Addr()+"/events", "application/cloudevents+json", strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	ends := lines(t, &log, "a run has ended")
	if len(ends) != 2 { // The others are held back.
		t.Fatalf("%d ends: %v", len(ends), ends)
	}
	good, bad := ends[0], ends[1]
	if good["level"] != "INFO" || good["trigger"] != "good" || good["state"] != "succeeded" || good["duration"] == nil || good["calls"] != 1.0 || good["step"] != nil {
		t.Error(good)
	}
	if bad["level"] != "INFO" || bad["trigger"] != "bad" || bad["state"] != "failed" || bad["step"] != "pay" || bad["errorType"] != "boom" || bad["error"] != "it broke" || bad["attempt"] != 2.0 {
		t.Error(bad)
	}
	if none := lines(t, &log, "no trigger takes an event"); len(none) != 1 || none[0]["source"] != "inbox" || none[0]["type"] != "none" || !strings.Contains(fmt.Sprint(none[0]["why"]), "good: ") {
		t.Error(none)
	}
	if refused := lines(t, &log, "an event is refused"); len(refused) != 1 || refused[0]["level"] != "WARN" || refused[0]["reason"] != "not accepted" {
		t.Error(refused)
	}
}
