package webhook_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onward-router/onward/triggers"
)

func as(t *testing.T, settings string) *receiver {
	t.Helper()
	return receive(t, "version: 1\nsources: { in: { webhook: { "+settings+" } } }\n")
}

// TestAs: what requests that are no events become, beside those that are.
func TestAs(t *testing.T) {
	t.Parallel()
	zip := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text)) // Into memory.
		_ = w.Close()
		return b.String()
	}
	const json = "Content-Type: application/json\n\n"
	for name, c := range map[string]struct{ settings, request, want, event string }{
		"without as":       {"maxEvent: 1KiB", json + "{}", "415 ", ""},
		"plain":            {"as: { type: t }", json + `{"a":1}`, "202 ", `id: 015abd7f5cc57a2dd94b7590f04ad808 source: /webhook/in type: t data: {"a":1}`},
		"the same again":   {"as: { type: t }", "Content-Type: text/plain\n\n" + `{"a":1}`, "202 ", "id: 015abd7f5cc57a2dd94b7590f04ad808 source: /webhook/in type: t data: {\"a\":1}"},
		"nothing declared": {"as: { type: t }", "X: y\n\nhello", "202 ", "type: t data: hello"},
		"curl":             {"as: { type: t }", "Content-Type: application/x-www-form-urlencoded\n\n" + `{"a":1}`, "202 ", `data: {"a":1}`},
		"a form":           {"as: { type: \"${ body.kind }\" }", "Content-Type: application/x-www-form-urlencoded\n\nkind=x&n=1", "202 ", `type: x data: {"kind":"x","n":"1"}`},
		"an event":         {"as: { type: t }", "Content-Type: application/cloudevents+json\n\n" + `{"specversion":"1.0","id":"1","source":"/s","type":"own","data":7}`, "202 ", "id: 1 source: /s type: own data: 7"},
		"half an event":    {"as: { type: t }", "Ce-Id: 1\n\n{}", "400 ", ""},
		"headers":          {"as: { type: t, data: \"${ headers }\" }", "A: x\nA: y\nAuthorization: Bearer secret\nCookie: secret\nContent-Type: text/plain\n\nb", "202 ", `data: {"a":"x, y","content-type":"text/plain"}`},
		"packed":           {"as: { type: t }", "Content-Encoding: gzip\n" + json + zip(`{"a":1}`), "202 ", "id: 015abd7f5cc57a2dd94b7590f04ad808"},
		"badly packed":     {"as: { type: t }", "Content-Encoding: gzip\n" + json + "{}", "400 ", ""},
		"oddly packed":     {"as: { type: t }", "Content-Encoding: br\n" + json + "{}", "415 ", ""},
		"packed too large": {"maxEvent: 1KiB, as: { type: t }", "Content-Encoding: gzip\n" + json + zip(`"`+strings.Repeat("x", 2000)+`"`), "413 ", ""},
		"too large":        {"maxEvent: 1KiB, as: { type: t }", json + `"` + strings.Repeat("x", 2000) + `"`, "413 ", ""},
		"large together":   {"maxEvent: 1KiB, as: { each: \"${ body }\", type: t }", json + `["` + strings.Repeat("x", 900) + `","` + strings.Repeat("y", 900) + `"]`, "202 ", "type: t"},
		"a large result":   {"maxEvent: 1KiB, as: { cause: c, verdict: succeeded }", json + `"` + strings.Repeat("x", 2000) + `"`, "202 ", "dev.onward.function.succeeded"},
		"not JSON":         {"as: { type: t }", json + "{", "400 ", ""},
		"an error":         {"as: { type: \"${ body.kind }\" }", json + "{}", `no such key \"kind\"`, ""},
		"one of several":   {"as: { each: \"${ body }\", type: \"${ item }\" }", json + `["a",{},"b"]`, `400 {"error":{"code":"invalid","message":"event 1: as.type yields {} and not a text`, ""},
		"a question":       {"as: { type: t, answer: \"${ 'challenge' in body ? {'challenge': body.challenge} : null }\" }", json + `{"challenge":"x"}`, `200 {"challenge":"x"}`, ""},
		"no question":      {"as: { type: t, answer: \"${ 'challenge' in body ? {'challenge': body.challenge} : null }\" }", json + `{}`, `202 `, "type: t"},
		"a bad answer":     {"as: { type: t, answer: \"${ body.none }\" }", json + `{}`, `400 `, ""},
		"passed over":      {"as: { type: t, when: \"${ false }\" }", json + `{}`, `202 {"events":[],"note":"as: makes no event of it"}`, ""},
		"nobody's items":   {"as: { type: t, each: \"${ body }\" }", json + `[]`, `202 {"events":[],"note":"as: makes no event of it"}`, ""},
		"some are parked":  {"as: { type: t, each: \"${ body }\", park: \"${ item > 1 ? 'too many' : null }\" }", json + `[1,2]`, `"note":"it is parked: too many"`, "type: t data: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := as(t, c.settings)
			w := r.post(t, []byte(c.request))
			if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.Contains(got, c.want) {
				t.Errorf("%.300s; want %s", got, c.want)
			}
			var got []string
			for i := range r.events {
				e := &r.events[i]
				got = append(got, fmt.Sprintf("id: %s source: %s type: %s data: %s", e.ID(), e.Source(), e.Type(), e.Data()))
			}
			if all := strings.Join(got, "\n"); c.event == "" && all != "" || !strings.Contains(all, c.event) {
				t.Errorf("%.300s; want %s", all, c.event)
			}
			if parked := r.Parked(); (name == "some are parked") != (len(parked) == 1 && string(parked[0].Bytes) == "2" && parked[0].Place == "/events") {
				t.Errorf("%v", parked)
			}
		})
	}
}

// TestParkedIsKept before it is acknowledged, and after nothing more is taken nothing is parked.
func TestParkedIsKept(t *testing.T) {
	t.Parallel()
	r := as(t, "as: { type: t, park: look }")
	var kept []triggers.Parked
	r.KeepParked(func(x triggers.Parked) { kept = append(kept, x) })
	if w := r.post(t, []byte("Content-Type: text/plain\n\nx")); w.Code != 202 || len(kept) != 1 || kept[0].Reason != "look" || kept[0].Source != "in" || string(kept[0].Bytes) != "x" || kept[0].Time.IsZero() {
		t.Errorf("%d, %v", w.Code, kept)
	}
}

// TestQuery: an expression sees the query, and not what proves who sends.
func TestQuery(t *testing.T) {
	t.Parallel()
	r := as(t, "path: /a/b, as: { type: t, subject: \"${ path }\", data: \"${ query }\" }")
	path, h := r.Handler(r.admit)
	w := request(t, h, path+"?a=1&b=2&b=3&access_token=secret", "x")
	if w.Code != 202 || string(r.events[0].Data()) != `{"a":"1","b":["2","3"]}` || r.events[0].Subject() != "/a/b" {
		t.Errorf("%d %s %v", w.Code, w.Body, r.events)
	}
	if w := request(t, h, path+"?a=1;b=2", "x"); w.Code != 400 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func request(t *testing.T, h http.Handler, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", target, strings.NewReader(body)))
	return w
}
