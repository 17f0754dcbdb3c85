package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/sign"
)

const signedDocument = `
version: 1
sources:
  hook: { webhook: { path: /hook, auth: { hmac: { style: %[2]s, secrets: [{ file: %[1]q }] } } } }
  named: { webhook: { path: /named, auth: { hmac: { style: %[2]s, secrets: [{ file: %[1]q }] } }, as: { type: "${ headers['x-event'] }", id: "${ headers['x-delivery'] }",
    extensions: { correlationid: "${ headers[?'x-run'].orValue(null) }" }, subject: "${ headers[?'x-subject'].orValue(null) }" } } }
  bound: { webhook: { path: /bound, auth: { hmac: { style: %[2]s, secrets: [{ file: %[1]q }] } }, as: { type: "${ headers['x-event'] }", id: "${ body.id }" } } }
triggers:
  push: { filters: [{ exact: { type: push } }], flow: { sequence: [{ signal: go }, { signal: stop }] } }
`

// TestASignedBodyIsOneEvent: a signature covers the body alone, so what headers say makes no other event of it, at whatever router it comes - and another router has
// nothing of what the first one remembers, as one has that was restarted. Where a signature has a time and no name (stripe), the time is what ends it.
func TestASignedBodyIsOneEvent(t *testing.T) {
	t.Parallel()
	for _, style := range []string{"standard", "stripe", "github"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			aSignedBodyIsOneEvent(t, style)
		})
	}
}

func aSignedBodyIsOneEvent(t *testing.T, style string) {
	key := plugin.Secret{File: filepath.Join(t.TempDir(), "key")}
	if err := os.WriteFile(key.File, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	how := sign.HMAC{Style: style, Secrets: []plugin.Secret{key}}
	c := openCluster(t, 2, fmt.Sprintf(signedDocument, key.File, style))
	post := func(member int, path, body string, header ...string) (code int, run, said string) {
		t.Helper()
		q, err := http.NewRequest(http.MethodPost, "http://"+c.members[member].address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		if err := how.Sign(q.Header, "msg_1", time.Now(), []byte(body)); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			q.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var x struct {
			Events []struct {
				Runs []struct{ Run string }
			}
		}
		if json.Unmarshal(b, &x) == nil && len(x.Events) == 1 && len(x.Events[0].Runs) == 1 {
			run = x.Events[0].Runs[0].Run
		}
		return resp.StatusCode, run, string(b)
	}
	const whole = `{"specversion":"1.0","id":"9","source":"/ü","type":"push","data":1}`
	structured := []string{"Content-Type", "application/cloudevents+json"}
	binary := func(id, source, kind string) []string {
		return []string{"Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Source", source, "Ce-Type", kind}
	}
	mapped := func(id, kind string) []string { return []string{"X-Delivery", id, "X-Event", kind} }
	named := style != "stripe"
	for _, x := range []struct {
		name, path, body     string
		first, later, second []string
	}{
		{"whole", "/hook", whole, structured, append(binary("2", "/b", "other"), structured...), structured},
		{"in binary mode", "/hook", `{"a":1}`, binary("1", "/a", "push"), binary("2", "/b", "push"), binary("1", "/a", "push")},
		{"by headers that as: reads", "/named", `{"a":2}`, mapped("1", "push"), mapped("2", "push"), mapped("3", "push")},
		{"by its body", "/bound", `{"id":"x"}`, mapped("1", "push"), mapped("2", "push"), nil},
	} {
		code, run, said := post(0, x.path, x.body, x.first...)
		if code != http.StatusAccepted || run == "" {
			t.Fatalf("%s: %d %s", x.name, code, said)
		}
		if code, again, said := post(1, x.path, x.body, x.later...); code != http.StatusAccepted || again != run && (named || x.name == "whole" || x.name == "by its body") {
			t.Errorf("%s, at another router: %d %s; want run %s", x.name, code, said, run)
		}
		if code, other, said := post(0, x.path, strings.Replace(x.body, "{", `{"b":1,`, 1), x.first...); named && (x.path == "/named" || x.name == "in binary mode") && (code != http.StatusAccepted || other == run) {
			t.Errorf("%s, another body: %d %s", x.name, code, said)
		}
		if code, again, said := post(0, x.path, x.body, x.second...); x.second != nil && (code == http.StatusAccepted) != (again == run) {
			t.Errorf("%s, once more: %d %s", x.name, code, said)
		}
	}
	// An event of a sender's own, that is turned into the data of another one, or read otherwise.
	for member, at := range [][]string{{"/hook", "/named"}, {"/hook", "/bound"}} {
		for _, path := range at {
			for _, body := range []string{whole, "[" + whole + "]"} {
				if code, _, said := post(member, path, body, append(binary("10", "/a", "push"), mapped("10", "push")...)...); code != http.StatusUnauthorized || !strings.Contains(said, "which are not signed") {
					t.Errorf("turned at %s: %d %s", path, code, said)
				}
			}
		}
		if code, _, said := post(member, "/hook", whole, "Content-Type", "application/cloudevents+json; charset=latin1"); code != http.StatusUnauthorized || !strings.Contains(said, "which are not signed") {
			t.Errorf("read otherwise: %d %s", code, said)
		}
	}
	code, run, _ := post(0, "/hook", whole, structured...)
	if _, again, said := post(1, "/hook", strings.Replace(whole, `"data":1`, `"data": 1`, 1), structured...); code != http.StatusAccepted || again != run {
		t.Errorf("structured, written otherwise: %s", said)
	}
	// A signal counts once, too.
	signal := append(mapped("s1", "dev.onward.signal"), "X-Run", run, "X-Subject", "go")
	if code, _, said := post(0, "/named", `{"go":1}`, signal...); code != http.StatusOK && code != http.StatusAccepted {
		t.Errorf("%d %s", code, said)
	}
	signal[1] = "s2"
	if _, _, said := post(1, "/named", `{"go":1}`, signal...); strings.Contains(said, "repeated") != named {
		t.Errorf("the signal again, under another id: %s", said)
	}
}
