package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/sign"
	"github.com/onward-router/onward/triggers"
)

func secretFile(t *testing.T, text string) plugin.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugin.Secret{File: file}
}

// A desk is a webhook whose requests are answered in place; took says whose its last event was taken for.
type desk struct {
	*Webhook
	http.Handler
	mu   sync.Mutex
	took string
	got  []event.Event
}

func newDesk(t *testing.T, s *Settings) *desk {
	t.Helper()
	source, err := New("inbox", s)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Webhook: source.(*Webhook)}
	_, d.Handler = d.Webhook.Handler(func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		d.mu.Lock()
		d.took, d.got = access.Asking(ctx).Tenant, events
		d.mu.Unlock()
		return taking(ctx, events)
	})
	return d
}

func (d *desk) ask(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	return rec
}

func posted(target, body string, header http.Header) *http.Request {
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	for k, v := range ce() {
		r.Header.Set(k, v)
	}
	for k, v := range header {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	return r
}

// TestTokenInTheQuery: CloudEvents web hooks ask for it; it stays nowhere.
func TestTokenInTheQuery(t *testing.T) {
	var said bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	token := secretFile(t, "t0ken+/=")
	s := settings()
	s.Auth = []Way{{Bearer: &token}}
	d := newDesk(t, s)
	bearer := http.Header{"Authorization": {"Bearer t0ken+/="}}
	for target, want := range map[string]int{
		"/events?access_token=t0ken%2B%2F%3D": 202, "/events?a=b&access_token=t0ken%2B%2F%3D&c=d": 202, "/events?%61ccess_token=t0ken%2B%2F%3D": 202,
		"/events?access_token=other-t0ken": 401, "/events?access_token=": 401, "/events?Access_Token=t0ken%2B%2F%3D": 401, "/events?access_token=t0ken%2B%2F%3D&access_token=x": 400,
		"/events?access_token=t0ken%2B%2F%3D;x": 401, "/events?access_token=t0ken%2B%2F%3D&%": 202,
	} {
		r := posted(target, "1", nil)
		rec := d.ask(r)
		if rec.Code != want || strings.Contains(rec.Body.String(), "t0ken") || strings.Contains(r.URL.String()+r.RequestURI, "access_token=") {
			t.Errorf("%s: %d %s, then %s", target, rec.Code, rec.Body, r.URL)
		}
		if control := rec.Header().Get("Cache-Control"); want == 202 && !strings.Contains(control, "private") {
			t.Errorf("%s may be cached: %q", target, control)
		}
	}
	if rec := d.ask(posted("/events?access_token=t0ken%2B%2F%3D", "1", bearer)); rec.Code != 400 {
		t.Errorf("two tokens: %d", rec.Code)
	}
	open := newDesk(t, settings())
	if r := posted("/events?access_token=t0ken&x=1", "1", nil); open.ask(r).Code != 202 || r.URL.RawQuery != "x=1" {
		t.Errorf("a token that nobody asked for stays: %s", r.URL)
	}
	if strings.Contains(said.String(), "t0ken") {
		t.Error(&said)
	}
}

func signedBy(t *testing.T, how *sign.HMAC, id string, at time.Time, body string, more ...string) http.Header {
	t.Helper()
	h := make(http.Header)
	if err := how.Sign(h, id, at, []byte(body)); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// TestSignatures: what is signed comes in, once and again; what is altered, old, or other than it was does not. Headers, which nobody has signed, say nothing of an event that is
// whole in its body.
func TestSignatures(t *testing.T) {
	t.Parallel()
	const body = `{"specversion":"1.0","id":"s","source":"/ü","type":"x","data":{"a":1}}`
	whole := []string{"Content-Type", "application/cloudevents+json"}
	for _, style := range []string{"standard", "stripe", "github"} {
		former, next, other := secretFile(t, "former"), secretFile(t, "next"), secretFile(t, "other")
		s := settings()
		how := sign.HMAC{Style: style, Secrets: []plugin.Secret{former, next}}
		s.Auth = []Way{{HMAC: &HMAC{how, plugin.Duration(time.Minute)}, Tenant: "shop"}}
		d := newDesk(t, s)
		now := time.Now()
		by := func(x plugin.Secret, id string, at time.Time, body string, more ...string) http.Header {
			return signedBy(t, &sign.HMAC{Style: style, Secrets: []plugin.Secret{x}}, id, at, body, append(whole, more...)...)
		}
		binary := func(id string, more ...string) http.Header {
			return by(next, id, now, "1", append([]string{"Content-Type", "application/json"}, more...)...)
		}
		good := by(next, "1", now, body)
		old := map[bool]int{true: 401, false: 202}[how.Timed()]
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write([]byte(body))
		_ = z.Close()
		for i, c := range []struct {
			body   string
			header http.Header
			want   int
		}{
			{body, good, 202}, {body, good, 202}, // A sender who got no answer.
			{body, by(next, "1", now, body, "Ce-Id", "2", "Ce-Type", "y"), 202}, // They say nothing here.
			{body, by(former, "2", now, body), 202}, {body, by(other, "3", now, body), 401},
			{body + " ", good, 401}, {"", good, 401}, {body, http.Header{"Content-Type": {whole[1]}}, 401}, {body, http.Header{"Authorization": {"Bearer former"}}, 401},
			{body, by(former, "4", now.Add(-2*time.Minute), body), old}, {body, by(former, "4", now.Add(2*time.Minute), body), old},
			{"[" + body + "]", by(next, "5", now, "["+body+"]", "Content-Type", "application/cloudevents-batch+json; charset=UTF-8"), 202},
			{zipped.String(), by(next, "6", now, zipped.String(), "Content-Encoding", "gzip"), 202},
			{zipped.String(), by(next, "7", now, body, "Content-Encoding", "gzip"), 401}, // The signature is of what is on the wire.
			{"1", by(next, "8", now, "1"), 400}, {body, by(next, "1", now, body, "Content-Encoding", "gzip"), 400}, {body, by(next, "1", now, body, "Content-Type", "application/cloudevents-batch+json"), 400},
			// In binary mode they say which event it is, and a signature is good for the first.
			{"1", binary("9"), 202}, {"1", binary("9"), 202}, {"1", binary("9", "Ce-Id", "2"), 401}, {"1", binary("9", "Ce-Type", "y"), 401}, {"1", binary("9", "Ce-Source", "/other"), 401},
			{"1", binary("9", "Ce-Subject", "other"), 401}, {"1", binary("9"), 202},
			// They may not turn an event into another one, nor read it otherwise.
			{body, by(next, "1", now, body, "Content-Type", "application/json"), 401}, {body, by(next, "1", now, body, "Content-Type", "application/cloudevents+json; charset=iso-8859-1"), 401},
		} {
			d.took = "nobody's"
			rec := d.ask(posted("/events", c.body, c.header))
			if rec.Code != c.want || (c.want == 202) != (d.took == "shop") {
				t.Errorf("%s, case %d: %d %s for %q", style, i, rec.Code, rec.Body, d.took)
			}
			if c.want == 401 && rec.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s, case %d: it does not say what to send", style, i)
			}
		}
		if err := os.Remove(former.File); err != nil {
			t.Fatal(err)
		}
		if rec := d.ask(posted("/events", body, good)); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: a secret cannot be read: %d %s", style, rec.Code, rec.Body)
		}
	}
}

// TestAnOversizedCompletionIsProvedFirst: what is too large cannot be proved, and ends nobody's invocation.
func TestAnOversizedCompletionIsProvedFirst(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Auth = []Way{{HMAC: &HMAC{sign.HMAC{Style: "github", Secrets: []plugin.Secret{secretFile(t, "key")}}, plugin.Duration(time.Minute)}}}
	d := newDesk(t, s)
	rec := d.ask(posted("/events", strings.Repeat("1", envelope.MaxCompletion+1), http.Header{"Ce-Type": {"dev.onward.function.succeeded"}, "Ce-Causationid": {"RUN~x.1"}, "X-Hub-Signature-256": {"sha256=00"}}))
	if rec.Code != 413 || d.got != nil {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// TestForgottenSignatures: a memory is bounded in time and in number.
func TestForgottenSignatures(t *testing.T) {
	t.Parallel()
	m, now := newMemory(time.Minute), time.Unix(1e9, 0)
	of := func(id string) []event.Event {
		e := event.New()
		e.SetID(id)
		return []event.Event{e}
	}
	m.isOther("a", of("1"), now)
	if m.isOther("a", of("1"), now) || !m.isOther("a", of("2"), now) || !m.isOther("a", of("2"), now.Add(time.Minute)) {
		t.Error("a signature is good for what it came with, and nothing else")
	}
	if m.isOther("a", of("2"), now.Add(time.Minute+1)) {
		t.Error("it is remembered for ever")
	}
	for i := range remembered + 10 {
		m.isOther(time.Duration(i).String(), of("1"), now.Add(time.Minute+1))
	}
	if len(m.known) != remembered || len(m.order) != remembered {
		t.Errorf("%d and %d are remembered", len(m.known), len(m.order))
	}
}

// TestSeveralWays: any of them is enough, and each may be a tenant's.
func TestSeveralWays(t *testing.T) {
	t.Parallel()
	a, b := secretFile(t, "token-a"), secretFile(t, "token-b")
	how := sign.HMAC{Style: "github", Secrets: []plugin.Secret{secretFile(t, "key")}}
	s := settings()
	s.Auth = []Way{{Bearer: &a, Tenant: "a"}, {Bearer: &b, Tenant: "b"}, {HMAC: &HMAC{how, plugin.Duration(time.Minute)}, Tenant: "c"}, {MTLS: &MTLS{}}}
	d := newDesk(t, s)
	const body = `{"specversion":"1.0","id":"s","source":"/s","type":"x"}`
	for want, h := range map[string]http.Header{
		"a": {"Authorization": {"Bearer token-a"}}, "b": {"Authorization": {"Bearer token-b"}}, "c": signedBy(t, &how, "", time.Now(), body, "Content-Type", "application/cloudevents+json"),
	} {
		if rec := d.ask(posted("/events", body, h)); rec.Code != 202 || d.took != want {
			t.Errorf("%s: %d %s for %q", want, rec.Code, rec.Body, d.took)
		}
	}
	if rec := d.ask(posted("/events", "1", http.Header{"Authorization": {"Bearer token-c"}})); rec.Code != 401 || !strings.Contains(rec.Body.String(), "or sign the body") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if got := d.Secrets(); len(got) != 3 {
		t.Error(got)
	}
}

// TestClientCertificates is of what a listener has found to be of its authorities: who of them may send here.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	spiffe, _ := url.Parse("spiffe://example.com/shop/orders")
	cert := &x509.Certificate{
		Subject: pkix.Name{CommonName: "orders", Organization: []string{"Shop"}}, DNSNames: []string{"orders.shop.example.com"}, EmailAddresses: []string{"a@b.example.com"},
		IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3)}, URIs: []*url.URL{spiffe},
	}
	shown := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	for i, c := range []struct {
		m     MTLS
		state *tls.ConnectionState
		want  int
	}{
		{MTLS{}, shown, 202}, {MTLS{}, nil, 401}, {MTLS{}, &tls.ConnectionState{}, 401}, {MTLS{}, &tls.ConnectionState{PeerCertificates: shown.PeerCertificates}, 401}, // Shown, and not verified.
		{MTLS{Subjects: []string{"CN=orders,O=Shop"}}, shown, 202}, {MTLS{Subjects: []string{"CN=orders"}}, shown, 403},
		{MTLS{Names: []string{"orders.shop.example.com"}}, shown, 202}, {MTLS{Names: []string{"*.shop.example.com"}}, shown, 202}, {MTLS{Names: []string{"*.example.org", "orders"}}, shown, 403},
		{MTLS{Names: []string{"spiffe://example.com/shop/*"}}, shown, 202}, {MTLS{Names: []string{"spiffe://example.com/bank/*"}}, shown, 403},
		{MTLS{Names: []string{"10.1.2.3"}}, shown, 202}, {MTLS{Names: []string{"*/orders"}}, shown, 403}, {MTLS{Names: []string{"*orders"}}, shown, 403}, {MTLS{Names: []string{"*b.example.com"}}, shown, 403}, {MTLS{Names: []string{"*@b.example.com"}}, shown, 202}, {MTLS{Names: []string{"a@b.example.com"}}, shown, 202}, {MTLS{Subjects: []string{"CN=x"}, Names: []string{"10.1.2.3"}}, shown, 202},
	} {
		s := settings()
		s.Auth = []Way{{MTLS: &c.m}}
		d := newDesk(t, s)
		r := posted("/events", "1", nil)
		r.TLS = c.state
		if rec := d.ask(r); rec.Code != c.want {
			t.Errorf("case %d: %d %s", i, rec.Code, rec.Body)
		}
		r = posted("/events", "1", http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}})
		if r.TLS = c.state; d.ask(r).Code == 202 {
			t.Errorf("case %d: a page of another origin sends by the browser's certificate", i)
		}
		if !d.WantsCertificates() {
			t.Error("it says that it needs none")
		}
	}
}

// TestNoPageIsLetIn: no answer says anything to a browser of another origin, to a preflight least of all.
func TestNoPageIsLetIn(t *testing.T) {
	t.Parallel()
	token := secretFile(t, "t")
	for _, s := range []*Settings{settings(), {Path: "/events", Auth: []Way{{Bearer: &token}}, MaxEvent: 1 << 20, MaxBatch: 1 << 20}} {
		d := newDesk(t, s)
		for _, method := range []string{"OPTIONS", "POST", "GET"} {
			r := httptest.NewRequest(method, "/events", strings.NewReader("1"))
			for k, v := range ce("Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization", "WebHook-Request-Origin", "evil.example", "Authorization", "Bearer t") {
				r.Header.Set(k, v)
			}
			for name := range d.ask(r).Header() {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s is answered with %s", method, name)
				}
			}
		}
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Handshake = &Handshake{Origins: []string{"api.example.com", "*.shop.example.com"}}
	d := newDesk(t, s)
	d.Place(triggers.Place{PerMinute: 600})
	for origin, ok := range map[string]bool{
		"api.example.com": true, "API.example.com": true, "a.shop.example.com": true, "shop.example.com": false, "evilshop.example.com": false, "other": false, "a b": false, "api.example.com\x7f": false,
	} {
		r := httptest.NewRequest("OPTIONS", "/events", nil)
		r.Header.Set("WebHook-Request-Origin", origin)
		r.Header.Set("WebHook-Request-Rate", "120")
		rec := d.ask(r)
		if got := rec.Header().Get("WebHook-Allowed-Origin"); (got == origin) != ok || !ok && got != "" || (rec.Header().Get("WebHook-Allowed-Rate") == "600") != ok || rec.Header().Get("Allow") == "" {
			t.Errorf("%q: %d %v", origin, rec.Code, rec.Header())
		}
		if rec := d.ask(posted("/events", "1", http.Header{"Webhook-Request-Origin": {origin}})); (rec.Code == 202) != ok {
			t.Errorf("%q sends: %d", origin, rec.Code)
		}
	}
	if rec := d.ask(posted("/events", "1", nil)); rec.Code != 202 {
		t.Errorf("who never asked cannot send: %d %s", rec.Code, rec.Body)
	}
}

// TestCallbacks: only hosts that are named are called, by https, and what they answer leads nowhere.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	called := make(chan *http.Request, 8)
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called <- r
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer target.Close()
	s := settings()
	s.Handshake = &Handshake{Callbacks: []string{"127.0.0.1"}}
	d := newDesk(t, s)
	client := d.newCaller()
	client.Transport.(*http.Transport).TLSClientConfig = target.Client().Transport.(*http.Transport).TLSClientConfig
	d.caller = func() *http.Client { return client }
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx, nil) })
	host := strings.TrimPrefix(target.URL, "https://")
	for _, back := range []string{
		"http://" + host + "/x", "https://localhost:1/x", "https://169.254.169.254/x", "https://user:pass@" + host + "/x", "https://evil.example/?" + host, "://", "https://" + host + "/" + strings.Repeat("x", callbackMost), target.URL + "/good?id=1&key=s3cret",
	} {
		r := httptest.NewRequest("OPTIONS", "/events", nil)
		r.Header.Set("WebHook-Request-Origin", "api.example.com")
		r.Header.Set("WebHook-Request-Callback", back)
		if rec := d.ask(r); rec.Header().Get("WebHook-Allowed-Origin") == "" {
			t.Errorf("%.50s: %v", back, rec.Header())
		}
	}
	got := <-called
	if got.URL.RequestURI() != "/good?id=1&key=s3cret" || got.Header.Get("WebHook-Allowed-Origin") != "api.example.com" || got.Header.Get("WebHook-Allowed-Rate") != "*" || got.Method != "POST" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	stop()
	running.Wait() // What was begun has ended.
	if len(called) > 0 {
		t.Error("called besides:", (<-called).URL)
	}
}

func TestCheckAuth(t *testing.T) {
	t.Parallel()
	some := plugin.Secret{Env: "HOME"}
	good := func(change func(*OIDC)) *OIDC {
		o := &OIDC{Issuer: "https://i.example.com", Audience: []string{"a"}}
		change(o)
		return o
	}
	for i, c := range []struct {
		of   plugin.Checker
		want string
	}{
		{&Way{}, "names 0 proofs"}, {&Way{Bearer: &some, MTLS: &MTLS{}}, "names 2 proofs"}, {&Way{Tenant: "x", OIDC: good(func(o *OIDC) { o.TenantClaim = "y" })}, "said twice"},
		{good(func(o *OIDC) { o.Issuer = "http://i.example.com" }), "keys can be believed"}, {good(func(o *OIDC) { o.Keys = "ftp://x" }), "keys can be believed"}, {good(func(o *OIDC) { o.Audience = nil }), "empty list"},
		{good(func(o *OIDC) { o.Claims = map[string]lang.Value{"x": lang.Trusted(`{"a":1}`)} }), "nothing can be compared"}, {good(func(o *OIDC) { o.Claims = map[string]lang.Value{"x": lang.Trusted(`[]`)} }), "nothing can be compared"},
		{good(func(o *OIDC) { o.Skew = plugin.Duration(time.Hour) }), "more than 5m"},
		{&Settings{Path: "/x", Auth: []Way{}, MaxEvent: 1, MaxBatch: 1}, "empty list"}, {&Settings{Path: "/x", MaxBatch: 1}, "events of 0"}, {&Settings{Path: "/x", MaxEvent: 2 << 20, MaxBatch: 1}, "events of 2MiB"}, {&Settings{Path: "/x", MaxEvent: 1}, "of no bytes"}, {&Handshake{Origins: []string{"a b"}}, "not a name"}, {&Handshake{Callbacks: []string{"https://x"}}, "not a name"},
	} {
		if got := c.of.Check(); len(got) != 1 || !strings.Contains(got[0].What, c.want) || got[0].Cure == "" {
			t.Errorf("case %d: %v", i, got)
		}
	}
	if got := good(func(o *OIDC) { o.Issuer, o.Keys = "http://127.0.0.1:1", "http://localhost:1" }).Check(); got != nil {
		t.Error(got)
	}
}
