package router_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/prometheus/client_golang/prometheus"
)

// canary is in every secret of the test.
const canary = "f00dcafe"

const guarded = `
version: 1
functions:
  bearer: { http: { url: "SERVER/fail", auth: { bearer: { env: CANARY_BEARER } }, headers: { X-Key: { env: CANARY_HEADER } } }, retry: { attempts: 1 } }
  basic: { http: { url: "SERVER/fail", auth: { basic: { username: me, password: { file: "FILE" } } } }, retry: { attempts: 1 } }
  token: { http: { url: "SERVER/ok", auth: { oauth2: { tokenURL: "SERVER/token", clientID: me, clientSecret: { env: CANARY_CLIENT } } }, sign: { secrets: { env: CANARY_SIGN } } } }
  refused: { http: { url: "SERVER/ok", auth: { oauth2: { tokenURL: "SERVER/no-token", clientID: me, clientSecret: { env: CANARY_CLIENT }, style: body } } }, maxAge: 300ms }
  ok: { log: told }
sources:
  inbox: { webhook: { path: /inbox, auth: [{ bearer: { env: CANARY_IN }, tenant: shop }, { hmac: { style: github, secrets: { env: CANARY_HMAC } }, tenant: bank }] } }
  slow: { webhook: { path: /slow, auth: { bearer: { env: CANARY_IN } } }, rate: 1/h }
triggers:
  bearer: { flow: { function: bearer }, filters: [{ exact: { type: none } }] }
  basic: { flow: { function: basic }, filters: [{ exact: { type: none } }] }
  token: { flow: { function: token }, filters: [{ exact: { type: none } }] }
  refused: { flow: { function: refused }, filters: [{ exact: { type: none } }], onFailure: { function: bearer } }
  shop: { tenant: shop, filters: [{ exact: { type: order } }], flow: { function: ok } }
  bank: { tenant: bank, filters: [{ exact: { type: order } }], flow: { function: ok } }
`

// TestNoSecretIsSeen: callers prove who they are, what goes out proves itself, much of it fails - and no secret is in the log, in an answer, in the metrics or in the
// data folder.
func TestNoSecretIsSeen(t *testing.T) {
	var said logtest.Log
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	before := slog.Default()
	slog.SetDefault(log)
	defer slog.SetDefault(before)
	for _, name := range []string{"BEARER", "HEADER", "CLIENT", "SIGN", "IN", "HMAC"} {
		t.Setenv("CANARY_"+name, strings.ToLower(name)+"-"+canary)
	}
	dir, hidden := t.TempDir(), filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(hidden, []byte("password-"+canary), 0o600); err != nil {
		t.Fatal(err)
	}
	proved := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			fmt.Fprintf(w, `{"access_token":"token-%s","expires_in":60}`, canary)
		case "/no-token":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not client-%s"}`, canary)
		case "/ok":
			select {
			case proved <- r.Header.Get("Authorization") + " " + r.Header.Get("Webhook-Signature")[:3]:
			default:
			}
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	reg := registry()
	set, findings := config.Parse("test.yaml", []byte(strings.NewReplacer("SERVER", s.URL, "FILE", hidden).Replace(guarded)), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	r := runIt(t, router.Options{Set: set, Registry: reg, Journal: j, Listen: "127.0.0.1:0", Dir: dir, Log: log, Metrics: prometheus.NewRegistry()})
	var answers []string
	post := func(path, kind string, header map[string]string) int {
		t.Helper()
		req, err := http.NewRequest("POST", "http://"+r.Addr()+path, strings.NewReader(`{"n":1}`))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": fmt.Sprint("e", len(answers)), "Ce-Source": "/s", "Ce-Type": kind, "Content-Type": "application/json"} {
			req.Header.Set(k, v)
		}
		for k, v := range header {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answers = append(answers, fmt.Sprint(resp.Header, string(b)))
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") < "2" {
			t.Errorf("it is not said how long to wait: %v", resp.Header)
		}
		return resp.StatusCode
	}
	mac := hmac.New(sha256.New, []byte("hmac-"+canary))
	_, _ = mac.Write([]byte(`{"n":1}`))
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	bearer := map[string]string{"Authorization": "Bearer in-" + canary}
	for i, c := range []struct {
		path, kind string
		header     map[string]string
		want       int
	}{
		{"/inbox", "order", bearer, 202}, {"/inbox?access_token=in-" + canary, "order", nil, 202}, {"/inbox?access_token=in-" + canary + "x", "order", nil, 401}, {"/inbox", "order", map[string]string{"Authorization": "Bearer x" + canary}, 401},
		{"/inbox?access_token=in-" + canary, "order", bearer, 400}, {"/inbox?access_token=in-" + canary + "&%zz", "other", nil, 202}, {"/inbox", "order", map[string]string{"X-Hub-Signature-256": signature}, 202},
		{"/inbox", "order", map[string]string{"X-Hub-Signature-256": signature + canary}, 401}, {"/inbox", "order", map[string]string{"X-Hub-Signature-256": signature, "Ce-Id": "replayed"}, 401},
		{"/slow", "order", bearer, 202}, {"/slow", "order", bearer, 429}, {"/slow", "unmatched", bearer, 202},
	} {
		if got := post(c.path, c.kind, c.header); got != c.want {
			t.Errorf("case %d: %d; want %d: %s", i, got, c.want, answers[len(answers)-1])
		}
	}
	for _, path := range []string{"/", "/runs", "/inbox", "/nowhere", "/v1/runs", "/v1/nowhere", "/v1/runs/x", "/metrics", "/readyz", "/assets/x"} { // A token where nobody asks for one.
		for _, query := range []string{"access_token=in-" + canary, "%61ccess_token=in-" + canary + "&%zz"} {
			resp, err := http.Get("http://" + r.Addr() + path + "?" + query)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			answers = append(answers, fmt.Sprint(path, resp.Status, resp.Header, string(b)))
		}
	}
	for trigger, want := range map[string]string{"bearer": "failed", "basic": "failed", "token": "succeeded", "refused": "failed"} {
		if f := r.run(trigger, trigger, "1"); f.State != want {
			t.Errorf("%s: %s %v", trigger, f.State, f.Error)
		}
	}
	if got := <-proved; got != "Bearer token-"+canary+" v1," {
		t.Errorf("the far end saw %q", got)
	}
	bad, findings := config.Parse("test.yaml", []byte(strings.NewReplacer("SERVER", s.URL, "FILE", hidden, "CANARY_IN", "CANARY_UNSET").Replace(guarded)), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	if err := r.Reload(bad); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("reloaded without a secret: %v", err)
	}
	var list router.RunList
	r.get("/v1/runs?limit=100", &list)
	tenants := make(map[string]int)
	for _, run := range list.Runs {
		tenants[run.Trigger]++
	}
	if tenants["shop"] != 3 || tenants["bank"] != 2 { // /slow starts both, and each way its own.
		t.Errorf("whose events they were: %v", tenants)
	}
	for _, pattern := range r.Patterns() {
		method, path, is := strings.Cut(pattern, " ")
		if !is || method != "GET" || strings.HasSuffix(path, "/live") || strings.HasSuffix(path, "/watch") || path == "/v1/peer" {
			continue
		}
		for _, run := range list.Runs {
			at := strings.NewReplacer("{run}", run.Run, "{trigger}", "refused", "{id}", "e0").Replace(path)
			resp, err := http.Get("http://" + r.Addr() + at)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if answers = append(answers, at+" "+string(b)); !strings.Contains(path, "{run}") {
				break
			}
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for _, text := range append(answers, said.String()) {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("a secret is seen: ...%s", text[max(0, i-300):min(len(text), i+50)])
		}
	}
	if len(said.String()) < 1000 || len(answers) < 40 {
		t.Errorf("%d bytes of log, %d answers: too few to tell", len(said.String()), len(answers))
	}
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s has a secret", path)
		}
		return err
	}); err != nil || files < 3 {
		t.Error(files, err)
	}
}
