package api

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// FuzzRequest asks the API for anything: it does not panic, answers in JSON and without an error of its own, and hands on nothing that is not text in
// UTF-8 and data in JSON, both bounded.
func FuzzRequest(f *testing.F) {
	run := journal.RunID{1}.String()
	for _, s := range []struct{ method, path, key, body string }{
		{"POST", "/v1/triggers/t", "k", `{"a":1}`}, {"POST", "/v1/triggers/t", "", ``}, {"POST", "/v1/triggers/t", "k", `{"a":1,"a":2}`},
		{"POST", "/v1/triggers/t", "\xff", "\xff"}, {"POST", "/v1/triggers/t", "k", strings.Repeat("[", 600) + strings.Repeat("]", 600)},
		{"POST", "/v1/triggers/%ff", "k", "1e999"}, {"POST", "/v1/triggers/t", strings.Repeat("k", 5000), "1"},
		{"POST", "/v1/runs/" + run + "/signals/go", "k", "7"}, {"POST", "/v1/runs/" + run + "/signals/%ff%00", "k", `"\ud800"`},
		{"POST", "/v1/runs/" + run + "/signals/" + strings.Repeat("n", 5000), "k", "7"},
		{"POST", "/v1/runs/" + run + "/cancel?reason=%ff", "", ""}, {"POST", "/v1/runs/" + run + "/cancel?reason=" + strings.Repeat("r", 9000), "", ""},
		{"GET", "/v1/runs?limit=-1", "", ""}, {"GET", "/v1/runs?limit=7&state=%00&trigger=x", "", ""}, {"GET", "/v1/runs/" + run + "/explain", "", ""},
		{"GET", "/v1/runs/" + run + "?wait=x", "", ""}, {"GET", "/v1/runs/x/ended?wait=1ns", "", ""}, {"DELETE", "/v1/runs/" + run, "", ""},
		{"GET", "/v1/triggers", "", ""}, {"GET", "/v1/parked", "", ""}, {"GET", "/v1/sources", "", ""}, {"GET", "/v1/functions", "", ""}, {"GET", "/readyz", "", ""},
	} {
		f.Add(s.method, s.path, s.key, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, method, path, key string, body []byte) {
		q, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.0\r\n\r\n")))
		if err != nil || strings.HasSuffix(q.URL.Path, "/watch") || q.Method != method || q.RequestURI != path {
			return // No HTTP, or a stream.
		}
		h := &house{ended: &engine.Ending{ID: myRun, State: "succeeded"}}
		code, answer, header := serve(t, h, "")(method, path, string(body), "Idempotency-Key", key)
		if code >= 500 {
			t.Errorf("%s %.100q: %d %.200s", method, path, code, answer)
		}
		if strings.HasPrefix(header.Get("Content-Type"), "application/json") && !json.Valid([]byte(answer)) {
			t.Errorf("%s %.100q: the answer is no JSON: %.200q", method, path, answer)
		}
		for _, asked := range h.asked {
			if strings.HasPrefix(asked, "start ") {
				continue // The trigger is looked up, and the data was read.
			}
			if !utf8.ValidString(asked) || len(asked) > 4<<10 {
				t.Errorf("%s %.100q: it asked for %.100q (%d bytes)", method, path, asked, len(asked))
			}
		}
	})
}
