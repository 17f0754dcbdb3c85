package http

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/sign"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/sinktest"
)

func secretFile(t *testing.T, text string) plugin.Secret {
	t.Helper()
	return plugin.Secret{File: writeFile(t, t.TempDir(), "secret", []byte(text))}
}

func writeFile(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// makeSink makes a sink that is closed with the test.
func makeSink(t *testing.T, s *Settings, h sinks.Host) sinks.Sink {
	t.Helper()
	s.Method, s.Mode = "POST", "binary"
	h.Concurrency = 8
	k, err := New("f", s, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func send(k sinks.Sink) sinks.Result { return sendWithin(context.Background(), k) }

func sendWithin(ctx context.Context, k sinks.Sink) sinks.Result {
	done := make(chan sinks.Result, 1)
	d := invocation(ctx)
	d.Done = func(r sinks.Result) { done <- r }
	k.Deliver(context.Background(), []*sinks.Delivery{d})
	return <-done
}

// TestProofs: a far end sees the token, the password and the signature; each is read when it is used.
func TestProofs(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	var body atomic.Pointer[[]byte]
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body.Store(&b)
		got.Store(r)
	}))
	defer s.Close()
	token := secretFile(t, "first")
	k := makeSink(t, &Settings{URL: s.URL, Body: "data", Auth: &Auth{Bearer: &token}}, sinks.Host{})
	for _, text := range []string{"first", "second"} {
		if err := os.WriteFile(token.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := send(k); r.Verdict != sinks.Completed || got.Load().Header.Get("Authorization") != "Bearer "+text {
			t.Errorf("%s: %v %s", text, r.Err, got.Load().Header.Get("Authorization"))
		}
	}
	if err := os.Remove(token.File); err != nil {
		t.Fatal(err)
	}
	if r := send(k); r.Verdict != sinks.Retry || r.Err.Type != "unready" {
		t.Errorf("a token that is not there: %s", sinktest.Describe(r))
	}
	k = makeSink(t, &Settings{URL: s.URL, Body: "data", Auth: &Auth{Basic: &Basic{"me", secretFile(t, "pass:word")}}}, sinks.Host{})
	send(k)
	if name, password, _ := got.Load().BasicAuth(); name != "me" || password != "pass:word" {
		t.Errorf("%q %q", name, password)
	}
	for _, style := range []string{"standard", "stripe", "github"} {
		how := &sign.HMAC{Style: style, Secrets: []plugin.Secret{secretFile(t, "signs")}}
		k := makeSink(t, &Settings{URL: s.URL, Body: "data", Sign: how}, sinks.Host{})
		if r := send(k); r.Verdict != sinks.Completed {
			t.Errorf("%s: %s", style, sinktest.Describe(r))
		}
		if _, err := how.Verify(got.Load().Header, time.Now(), time.Minute, *body.Load()); err != nil {
			t.Errorf("%s: %v", style, err)
		}
		if id := got.Load().Header.Get("Webhook-Id"); style == "standard" && id != got.Load().Header.Get("Ce-Id") {
			t.Errorf("a repeat would have another id: %s", id)
		}
	}
}

// An issuer gives out tokens token-1, token-2 ...
type issuer struct {
	*httptest.Server
	fetched, at, most atomic.Int64 // fetches; under way; and most at a time
	answer            atomic.Pointer[func(n int64, w http.ResponseWriter, r *http.Request)]
}

func newIssuer(t *testing.T) *issuer {
	i := new(issuer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.most.Store(max(i.most.Load(), i.at.Add(1)))
		defer i.at.Add(-1)
		n := i.fetched.Add(1)
		if f := i.answer.Load(); f != nil {
			(*f)(n, w, r)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, n)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answers(f func(n int64, w http.ResponseWriter, r *http.Request)) { i.answer.Store(&f) }

// TestClientCredentials: a token is fetched once for many, before it ends, again when it is refused, and what goes wrong is tried again later.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	var seen sync.Map
	var refuses atomic.Pointer[string]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"), nil)
		if bad := refuses.Load(); bad != nil && r.Header.Get("Authorization") == *bad {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	o := &OAuth2{TokenURL: i.URL, ClientID: "me", ClientSecret: secretFile(t, "c1ient-s3cret"), Scopes: []string{"a", "b"}, Params: map[string]string{"audience": "x"}, Style: "header"}
	i.answers(func(n int64, w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id != "me" || secret != "c1ient-s3cret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "a b" || r.FormValue("audience") != "x" || r.FormValue("client_secret") != "" {
			t.Errorf("the endpoint is asked %v by %s %s", r.Form, id, secret)
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":"3600"}`, n)
	})
	k := makeSink(t, &Settings{URL: s.URL, Body: "data", Auth: &Auth{OAuth2: o}}, sinks.Host{})
	tokens := k.(*sink).tokens
	var off atomic.Int64
	tokens.now = func() time.Time { return time.Unix(1e9, 0).Add(time.Duration(off.Load())) }
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r := send(k); r.Verdict != sinks.Completed {
				t.Error(sinktest.Describe(r))
			}
		})
	}
	all.Wait()
	if n := i.fetched.Load(); n != 1 {
		t.Errorf("%d tokens for 50 requests", n)
	}
	off.Store(int64(56 * time.Minute)) // Before its end.
	for range 50 {
		all.Go(func() { send(k) })
	}
	all.Wait()
	if n := i.fetched.Load(); n != 2 || i.most.Load() != 1 {
		t.Errorf("%d fetches, %d at a time", n, i.most.Load())
	}
	send(k) // The fetch may have ended last.
	if _, used := seen.Load("Bearer token-2"); !used {
		t.Error("the fresh token is not used")
	}
	// One that was taken back: another is fetched, and the request goes again; but not for ever.
	bad := "Bearer token-2"
	refuses.Store(&bad)
	if r := send(k); r.Verdict != sinks.Completed || r.Completion.Err != nil || i.fetched.Load() != 3 {
		t.Errorf("%s after %d fetches", sinktest.Describe(r), i.fetched.Load())
	}
	worse := "Bearer token-3"
	refuses.Store(&worse)
	i.answers(func(_ int64, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"token-3","expires_in":3600}`)
	})
	if r := send(k); r.Completion.Err == nil || r.Completion.Err.Type != "http_401" || i.fetched.Load() != 4 {
		t.Errorf("%s after %d fetches", sinktest.Describe(r), i.fetched.Load())
	}
	// The endpoint fails: nothing is lost, nothing is told that may be secret, and it is not asked by everybody.
	off.Store(int64(5 * time.Hour))
	before := i.fetched.Load()
	i.answers(func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"c1ient-s3cret is wrong"}`)
	})
	for range 20 {
		r := send(k)
		if r.Verdict != sinks.Retry || r.Err.Type != "unready" || !strings.Contains(r.Err.Message, "401 invalid_client") || strings.Contains(r.Err.Message, "s3cret") {
			t.Fatal(sinktest.Describe(r), r.Err)
		}
	}
	if n := i.fetched.Load() - before; n != 1 {
		t.Errorf("%d fetches within a second from one that fails", n)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	o := &OAuth2{TokenURL: i.URL, ClientID: "a b", ClientSecret: secretFile(t, "s"), Style: "body"}
	for body, want := range map[string]string{
		`{"access_token":""}`: "no access_token", `<html>`: "no access_token", `{"access_token":"x","token_type":"mac"}`: "not bearer", `{"access_token":"x` + strings.Repeat("y", tokenMost) + `"}`: "no access_token",
	} {
		i.answers(func(_ int64, w http.ResponseWriter, r *http.Request) {
			if r.FormValue("client_id") != "a b" || r.FormValue("client_secret") != "s" {
				t.Error(r.Form)
			}
			_, _ = io.WriteString(w, body)
		})
		tokens := newTokens(o, func() (*http.Client, error) { return http.DefaultClient, nil })
		if _, err := tokens.get(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

// TestOddTokens: an endpoint that hangs, sends elsewhere, or says a life that cannot be, costs nobody a try: what waits for a token was not sent.
func TestOddTokens(t *testing.T) {
	t.Parallel()
	for life, want := range map[string]time.Duration{
		`-5`: tokenLife, `0`: tokenLife, `"x"`: tokenLife, `1e999`: tokenLife, `null`: tokenLife, `{}`: tokenLife, `0.0001`: tokenLeast, `"60"`: time.Minute, `9e300`: 1e7 * time.Second,
	} {
		i := newIssuer(t)
		i.answers(func(_ int64, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"access_token":"a","expires_in":%s}`, life)
		})
		tokens := newTokens(&OAuth2{TokenURL: i.URL, ClientSecret: secretFile(t, "s")}, func() (*http.Client, error) { return http.DefaultClient, nil })
		tokens.now = func() time.Time { return time.Unix(1e9, 0) }
		text, err := tokens.get(context.Background())
		if got := tokens.kept.ends.Sub(tokens.now()) + min(10*time.Second, want/10); err != nil || text != "a" || got != want {
			t.Errorf("expires_in %s: %q %v, for %s; want %s", life, text, err, got, want)
		}
		tokens.close()
	}
	asked := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer s.Close()
	i := newIssuer(t)
	hangs := make(chan struct{})
	i.answers(func(_ int64, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	})
	o := &OAuth2{TokenURL: i.URL, ClientID: "me", ClientSecret: secretFile(t, "s"), Style: "header"}
	k := makeSink(t, &Settings{URL: s.URL, Body: "data", Auth: &Auth{OAuth2: o}}, sinks.Host{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if r := sendWithin(ctx, k); r.Verdict != sinks.Retry || r.Err.Type != "unready" || !strings.Contains(r.Err.Message, "no token yet") {
				t.Error(sinktest.Describe(r), r.Err)
			}
		})
	}
	all.Wait()
	close(hangs)
	if len(asked) > 0 || i.fetched.Load() != 1 {
		t.Errorf("%d sent, %d fetches", len(asked), i.fetched.Load())
	}
	// Where it sends elsewhere it is not followed: with the secret of the client, that would be.
	i = newIssuer(t)
	i.answers(func(_ int64, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL, http.StatusTemporaryRedirect)
	})
	o = &OAuth2{TokenURL: i.URL, ClientID: "me", ClientSecret: secretFile(t, "s"), Style: "body"}
	if r := send(makeSink(t, &Settings{URL: s.URL, Body: "data", Auth: &Auth{OAuth2: o}}, sinks.Host{})); r.Verdict != sinks.Retry || !strings.Contains(r.Err.Message, "status 307") || len(asked) > 0 {
		t.Error(sinktest.Describe(r), r.Err)
	}
}

// authority makes certificates of 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		x.IsCA, x.BasicConstraintsValid, x.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = x, k
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, &k.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: text})
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key, a.pem = k, cert
	}
	return cert, key
}

// TestClientCertificates: the far end sees the router's certificate, the renewed one when it is renewed, and one of another authority is not believed.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, dir := new(authority), t.TempDir()
	ca.issue(t, "an authority")
	cert, key := ca.issue(t, "far end")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	var who atomic.Pointer[string]
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { who.Store(&r.TLS.PeerCertificates[0].Subject.CommonName) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	defer s.Close()
	files := &client.TLS{CA: writeFile(t, dir, "ca.pem", ca.pem), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	k := makeSink(t, &Settings{URL: s.URL, Body: "data", TLS: files}, sinks.Host{})
	if r := send(k); r.Verdict != sinks.Retry || r.Err.Type != "unready" {
		t.Errorf("files that are not there yet: %s", sinktest.Describe(r))
	}
	for _, name := range []string{"first", "second"} {
		cert, key := ca.issue(t, name)
		writeFile(t, dir, "cert.pem", cert)
		writeFile(t, dir, "key.pem", key)
		k.(*sink).clients.Look()
		if r := send(k); r.Verdict != sinks.Completed || *who.Load() != name {
			t.Errorf("%s: %s", name, sinktest.Describe(r))
		}
	}
	if r := send(makeSink(t, &Settings{URL: s.URL, Body: "data"}, sinks.Host{})); r.Verdict != sinks.Retry || r.Err.Type != "unreachable" {
		t.Errorf("a far end that nobody vouches for: %s", sinktest.Describe(r))
	}
	other := *files
	other.ServerName = "elsewhere.example.com"
	if r := send(makeSink(t, &Settings{URL: s.URL, Body: "data", TLS: &other}, sinks.Host{})); r.Verdict != sinks.Retry || r.Err.Type != "unreachable" {
		t.Errorf("a far end of another name: %s", sinktest.Describe(r))
	}
}

// TestEgress: what may not be reached is a definite failure with its cure, said once; a redirect is not followed there either.
func TestEgress(t *testing.T) {
	var said bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&said, nil)))
	defer slog.SetDefault(before)
	k := makeSink(t, &Settings{URL: "http://169.254.169.254/latest/api/token", Body: "data"}, sinks.Host{})
	for range 3 {
		if r := send(k); r.Verdict != sinks.Failed || r.Err.Type != "egress_refused" || r.Err.Class != "platform" || !strings.Contains(r.Err.Message, "name 169.254.169.254 in egress.allow") {
			t.Fatal(sinktest.Describe(r))
		}
	}
	if n := strings.Count(said.String(), "is not connected to"); n == 0 || strings.Count(said.String(), "\n") != 1 || !json.Valid(bytes.TrimSpace(said.Bytes())) {
		t.Errorf("said %d times: %s", n, &said)
	}
	p, err := egress.New([]string{"pay.example.com"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer s.Close()
	if r := send(makeSink(t, &Settings{URL: s.URL, Body: "data"}, sinks.Host{Egress: p})); r.Verdict != sinks.Failed || r.Err.Type != "egress_refused" {
		t.Error(sinktest.Describe(r))
	}
	o := &OAuth2{TokenURL: s.URL, ClientID: "me", ClientSecret: secretFile(t, "s"), Style: "header"}
	if r := send(makeSink(t, &Settings{URL: "http://pay.example.com", Body: "data", Auth: &Auth{OAuth2: o}}, sinks.Host{Egress: p})); r.Verdict != sinks.Failed || r.Err.Type != "egress_refused" {
		t.Error("a token endpoint is not judged:", sinktest.Describe(r))
	}
}

func TestCheckAuth(t *testing.T) {
	t.Parallel()
	some := plugin.Secret{Env: "HOME"}
	for i, c := range []struct {
		of   plugin.Checker
		want string
	}{
		{&Auth{}, "auth names 0 ways"}, {&Auth{Bearer: &some, Basic: &Basic{}}, "auth names 2 ways"}, {&Basic{Username: "a:b"}, "no name for HTTP Basic"}, {&OAuth2{TokenURL: "x", Style: "header"}, "is not an http or https address"},
		{&OAuth2{TokenURL: "http://x", Style: "x"}, `unknown style "x"`}, {&OAuth2{TokenURL: "http://x", Style: "body", Params: map[string]string{"scope": "x"}}, "has a key of its own"},
		{&client.TLS{Cert: "x"}, "go together"},
		{&Settings{URL: "http://x", Method: "POST", Mode: "binary", Body: "data", Auth: &Auth{Bearer: &some}, Headers: map[string]client.Value{"authorization": {}}}, "auth gives this header"},
	} {
		if got := c.of.Check(); len(got) != 1 || !strings.Contains(got[0].What, c.want) || got[0].Cure == "" {
			t.Errorf("case %d: %v", i, got)
		}
	}
	if (&Auth{Bearer: &some}).Check() != nil || (&client.TLS{Cert: "a", Key: "b"}).Check() != nil {
		t.Error("it is right")
	}
}
