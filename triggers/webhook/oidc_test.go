package webhook

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A login is an issuer of tokens for a test.
type login struct {
	*httptest.Server
	keys    atomic.Pointer[[]any] // what it shows
	asked   atomic.Int64          // for keys
	down    atomic.Bool
	signers map[string]jose.Signer
	rsa     *rsa.PrivateKey
	now     time.Time
}

func newLogin(t *testing.T) *login {
	l := &login{signers: make(map[string]jose.Signer), now: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if l.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": l.URL, "jwks_uri": l.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		l.asked.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": *l.keys.Load()})
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	var err error
	if l.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.shows(map[string]string{"kty": "unknown to us"}, jose.JSONWebKey{Key: []byte("a symmetric key"), KeyID: "oct", Algorithm: "HS256"},
		jose.JSONWebKey{Key: l.rsa.Public(), KeyID: "r", Use: "sig"}, jose.JSONWebKey{Key: curve.Public(), KeyID: "e"}, jose.JSONWebKey{Key: curve.Public(), KeyID: "enc", Use: "enc"})
	public, err := x509.MarshalPKIXPublicKey(l.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]jose.SigningKey{
		"r": {Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: l.rsa, KeyID: "r"}}, "e": {Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: curve, KeyID: "e"}},
		"no id": {Algorithm: jose.PS256, Key: l.rsa}, "not shown": {Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: l.rsa, KeyID: "new"}}, "for encryption": {Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: curve, KeyID: "enc"}},
		// Whoever takes the public key for a secret has it signed by everybody.
		"confused": {Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), KeyID: "r"}},
		"oct":      {Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte("a symmetric key, of 32 bytes ..."), KeyID: "oct"}},
	} {
		if l.signers[name], err = jose.NewSigner(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *login) shows(keys ...any) { l.keys.Store(&keys) }

// claims are good ones, with some changed; nil is left out.
func (l *login) claims(change map[string]any) map[string]any {
	c := map[string]any{"iss": l.URL, "aud": "onward", "sub": "shop", "exp": l.now.Add(time.Hour).Unix(), "role": []string{"reader", "sender"}, "org": "shop", "level": 3}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (l *login) token(t *testing.T, signer string, change map[string]any) string {
	t.Helper()
	text, err := json.Marshal(l.claims(change))
	if err != nil {
		t.Fatal(err)
	}
	return l.signed(t, signer, string(text))
}

// headed is a good token with something in its head, which is signed.
func (l *login) headed(t *testing.T, head map[jose.HeaderKey]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: l.rsa}, &jose.SignerOptions{ExtraHeaders: head})
	if err != nil {
		t.Fatal(err)
	}
	l.signers["headed"] = signer
	return l.token(t, "headed", nil)
}

func (l *login) signed(t *testing.T, signer, text string) string {
	t.Helper()
	jws, err := l.signers[signer].Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (l *login) settings() *Settings {
	s := settings()
	s.Auth = []Way{{OIDC: &OIDC{Issuer: l.URL, Audience: []string{"other", "onward"}, Skew: plugin.Duration(time.Minute)}}}
	return s
}

func bearing(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// TestTokensOfAnIssuer: which are believed, and whose events they make.
func TestTokensOfAnIssuer(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	s := l.settings()
	o := s.Auth[0].OIDC
	o.TenantClaim, o.Claims = "org", map[string]lang.Value{"role": lang.Trusted(`["sender","admin"]`), "level": lang.Trusted(`3`)}
	d := newDesk(t, s)
	good := l.token(t, "r", nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	coded := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	admin, err := json.Marshal(l.claims(map[string]any{"org": "bank"}))
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return l.now.Add(d).Unix() }
	for i, c := range []struct {
		token string
		code  int
		says  string
	}{
		{good, 202, ""}, {l.token(t, "e", nil), 202, ""}, {l.token(t, "no id", nil), 202, ""}, {l.token(t, "r", map[string]any{"aud": []string{"x", "other"}}), 202, ""},
		{l.token(t, "r", map[string]any{"role": "admin"}), 202, ""},
		{l.token(t, "r", map[string]any{"exp": in(-50 * time.Second)}), 202, ""}, // Within what clocks may be off.
		{l.token(t, "r", map[string]any{"exp": in(-70 * time.Second)}), 401, "time is over"}, {l.token(t, "r", map[string]any{"exp": nil}), 401, "time is over"},
		{l.token(t, "r", map[string]any{"nbf": in(time.Minute)}), 202, ""}, {l.token(t, "r", map[string]any{"nbf": in(time.Hour)}), 401, "no valid token"},
		{l.token(t, "r", map[string]any{"aud": "somebody"}), 401, "audience"}, {l.token(t, "r", map[string]any{"aud": nil}), 401, "audience"},
		{l.token(t, "r", map[string]any{"iss": "https://evil.example"}), 401, "another issuer"}, {l.token(t, "r", map[string]any{"iss": nil}), 401, "another issuer"},
		{l.token(t, "r", map[string]any{"role": "reader"}), 403, `claim \"role\"`}, {l.token(t, "r", map[string]any{"role": nil}), 403, `claim \"role\"`}, {l.token(t, "r", map[string]any{"level": "3"}), 403, `claim \"level\"`},
		{l.token(t, "r", map[string]any{"org": nil}), 403, "whose it is"}, {l.token(t, "r", map[string]any{"org": 3}), 403, "whose it is"}, {l.token(t, "r", map[string]any{"org": ""}), 403, "whose it is"},
		{l.token(t, "confused", nil), 401, "no valid token"}, {l.token(t, "oct", nil), 401, "no valid token"}, {l.token(t, "for encryption", nil), 401, "no valid token"},
		{coded(`{"alg":"none"}`) + "." + payload + ".", 401, "no valid token"}, {coded(`{"alg":"None","kid":"r"}`) + "." + payload + "." + signature, 401, "no valid token"},
		{head + "." + coded(string(admin)) + "." + signature, 401, "no valid token"}, {head + "." + payload + ".", 401, "no valid token"}, {head + "." + payload, 401, "no valid token"},
		{head + "." + payload + "." + signature[:len(signature)-8] + "AAAAAAAA", 401, "no valid token"}, {"", 401, "no valid token"}, {"a.b.c", 401, "no valid token"}, {"..", 401, "no valid token"},
		{strings.Repeat("a", tokenMost) + ".b.c", 401, "no valid token"},
		{coded(`{"alg":"RS256","kid":"r","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}`) + "." + payload + "." + signature, 401, "no valid token"}, // A key that the token brings along.
		{coded(`{"alg":"RS256","kid":"r","crit":["x"],"x":1}`) + "." + payload + "." + signature, 401, "no valid token"},
		// Whatever the head says that is signed as well: options are not known here, addresses of keys are not asked, names are no paths.
		{l.headed(t, map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1}), 401, "no valid token"},
		{l.headed(t, map[jose.HeaderKey]any{"crit": []string{"b64"}, "b64": false}), 401, "no valid token"},
		{l.headed(t, map[jose.HeaderKey]any{"jku": l.URL + "/stolen", "x5u": l.URL + "/stolen", "x5c": []string{"AA=="}}), 401, "no valid token"},
		{l.headed(t, map[jose.HeaderKey]any{"jku": l.URL + "/stolen", "x5u": l.URL + "/stolen", "typ": "at+jwt", "cty": "JWT"}), 202, ""},
		{l.headed(t, map[jose.HeaderKey]any{"kid": "../../../../dev/null"}), 401, "no valid token"},
		{l.token(t, "r", map[string]any{"exp": 1e300}), 401, ""}, {l.token(t, "r", map[string]any{"exp": -1}), 401, "time is over"}, {l.token(t, "r", map[string]any{"exp": "never"}), 401, "no valid token"},
		{l.token(t, "r", map[string]any{"exp": float64(l.now.Unix()) + 3600.5}), 202, ""}, {l.token(t, "r", map[string]any{"nbf": 1e300}), 401, "no valid token"}, {l.token(t, "r", map[string]any{"iat": in(1000 * time.Hour)}), 202, ""},
		{l.token(t, "r", map[string]any{"aud": []any{"onward", 1}}), 401, "no valid token"}, {l.token(t, "r", map[string]any{"aud": map[string]any{"onward": 1}}), 401, "no valid token"}, {l.token(t, "r", map[string]any{"iss": []string{l.URL}}), 401, "no valid token"},
		{l.signed(t, "r", `"not an object"`), 401, "no valid token"}, {l.signed(t, "r", good), 401, "no valid token"}, {l.signed(t, "r", ""), 401, "no valid token"},
		{l.signed(t, "r", strings.Replace(string(admin), `"org":"bank"`, `"org":"bank","org":"shop"`, 1)), 202, ""}, // Its issuer has signed that; the last counts.
		{good + "\x00", 401, "no valid token"}, {good + "=", 401, "no valid token"}, {good + ".", 401, "no valid token"}, {"Bearer " + good, 401, "no valid token"},
		{`{"payload":"` + payload + `","protected":"` + head + `","signature":"` + signature + `"}`, 401, "no valid token"},
	} {
		d.took = ""
		rec := d.ask(posted("/events", "1", bearing(c.token)))
		if rec.Code != c.code || !strings.Contains(rec.Body.String(), c.says) || (rec.Code == 202) != (d.took == "shop") {
			t.Errorf("case %d: %d %s for %q; want %d, %q", i, rec.Code, rec.Body, d.took, c.code, c.says)
		}
		if rec.Code == 401 && !strings.HasPrefix(rec.Header().Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("case %d: %v", i, rec.Header())
		}
	}
	if rec := d.ask(posted("/events?access_token="+good, "1", nil)); rec.Code != 202 {
		t.Errorf("in the query: %d %s", rec.Code, rec.Body)
	}
	if n := l.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAnIssuerThatIsAway keeps its own callers out and nobody else; it is asked once in a while, whatever callers name, and its new keys count.
func TestAnIssuerThatIsAway(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	l.down.Store(true)
	other := secretFile(t, "other")
	s := l.settings()
	s.Auth = append(s.Auth, Way{Bearer: &other})
	d := newDesk(t, s)
	var off atomic.Int64
	d.issuers[0].now = func() time.Time { return l.now.Add(time.Duration(off.Load())) }
	code := func(token string) int { return d.ask(posted("/events", "1", bearing(token))).Code }
	good := l.token(t, "r", map[string]any{"exp": l.now.Add(100 * time.Hour).Unix()})
	if rec := d.ask(posted("/events", "1", bearing(good))); rec.Code != 503 || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), "502") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if got := code("other"); got != 202 {
		t.Errorf("another way: %d", got)
	}
	l.down.Store(false)
	if got := code(good); got != 503 {
		t.Errorf("it is asked again at once: %d", got)
	}
	off.Store(int64(keysPause))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := code(good); got != 202 {
				t.Error(got)
			}
		})
	}
	all.Wait()
	if n := l.asked.Load(); n != 1 {
		t.Errorf("asked %d times by 20", n)
	}
	// Keys that nobody has, by the hundred.
	for i := range 100 {
		forged := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","kid":"k%d"}`, i)) + good[strings.IndexByte(good, '.'):]
		if got := code(forged); got != 401 {
			t.Fatal(got)
		}
	}
	if n := l.asked.Load(); n != 1 {
		t.Errorf("callers let the issuer be asked %d times", n)
	}
	// A new key is found once it is named.
	l.shows(jose.JSONWebKey{Key: l.rsa.Public(), KeyID: "new"})
	renewed := l.token(t, "not shown", map[string]any{"exp": l.now.Add(100 * time.Hour).Unix()})
	if got := code(renewed); got != 401 {
		t.Errorf("asked too soon: %d", got)
	}
	off.Add(int64(keysPause))
	if got := code(renewed); got != 202 {
		t.Errorf("the new key: %d", got)
	}
	if got := code(good); got != 401 {
		t.Errorf("the key that was taken back: %d", got)
	}
	// Away again: what is known is good for a day.
	l.down.Store(true)
	off.Add(int64(2 * keysRenew))
	for range 2 {
		if got := code(renewed); got != 202 {
			t.Errorf("keys are not kept: %d", got)
		}
		d.Webhook.beside.Wait()
	}
	off.Add(int64(keysKept))
	if got := code(renewed); got != 503 {
		t.Errorf("keys are believed for ever: %d", got)
	}
}

// TestAnIssuerThatHangs does not hold up the end of the source.
func TestAnIssuerThatHangs(t *testing.T) {
	t.Parallel()
	entered, hang := make(chan struct{}, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	x := settings()
	x.Auth = []Way{{OIDC: &OIDC{Issuer: s.URL, Audience: []string{"a"}}}}
	d := newDesk(t, x)
	ctx, stop := context.WithCancel(context.Background())
	var running, asking sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx, nil) })
	token := newLogin(t).token(t, "r", nil)
	asking.Go(func() {
		if rec := d.ask(posted("/events", "1", bearing(token))); rec.Code != 503 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
	<-entered
	stop()
	running.Wait()
	asking.Wait()
}

// TestForeignDiscovery: a document that is another issuer's, or that leads away to plain HTTP, is not believed.
func TestForeignDiscovery(t *testing.T) {
	t.Parallel()
	var said atomic.Pointer[string]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(*said.Load())) }))
	defer s.Close()
	token := newLogin(t).token(t, "r", nil)
	for text, want := range map[string]string{
		`{"issuer":"https://evil.example","jwks_uri":"` + s.URL + `"}`: "another issuer", `{"issuer":"` + s.URL + `","jwks_uri":"http://evil.example/keys"}`: "can be believed",
		`{"issuer":"` + s.URL + `","jwks_uri":"http://127.evil.example/keys"}`: "can be believed", `{"issuer":"` + s.URL + `","jwks_uri":"http://127.0.0.1@evil.example/keys"}`: "can be believed",
		`{"issuer":"` + s.URL + `","jwks_uri":"file:///etc/passwd"}`: "can be believed", `{"issuer":"` + s.URL + `","jwks_uri":"https://2852039166/keys"}`: "", `{"issuer":"` + s.URL + `","jwks_uri":"https://[fe80::1%25lo]/keys"}`: "link-local",
		`{"issuer":"` + s.URL + `","jwks_uri":"https://169.254.169.254/keys"}`: "link-local", `<html>`: "JSON", `{"issuer":"` + s.URL + `","jwks_uri":"` + s.URL + `"}`: "no public keys",
	} {
		said.Store(&text)
		x := settings()
		x.Auth = []Way{{OIDC: &OIDC{Issuer: s.URL, Audience: []string{"a"}}}}
		if rec := newDesk(t, x).ask(posted("/events", "1", bearing(token))); rec.Code != 503 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: %d %s", text, rec.Code, rec.Body)
		}
	}
}

// TestAnIssuerThatSendsElsewhere is not followed: what is there is somebody else's to say. Nor are more keys looked through than an issuer needs.
func TestAnIssuerThatSendsElsewhere(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	away := httptest.NewServer(http.RedirectHandler(l.URL+"/keys", http.StatusFound))
	defer away.Close()
	many := make([]any, mostKeys+1)
	for i := range many {
		many[i] = jose.JSONWebKey{Key: l.rsa.Public(), KeyID: "r"}
	}
	for _, c := range []struct {
		address string
		keys    []any
		want    string
	}{{away.URL, many[:1], "302 Found"}, {l.URL + "/keys", many, "101 keys"}, {l.URL + "/keys", many[:mostKeys], ""}} {
		l.shows(c.keys...)
		x := l.settings()
		x.Auth[0].OIDC.Keys = c.address
		rec := newDesk(t, x).ask(posted("/events", "1", bearing(l.token(t, "r", nil))))
		if c.want == "" && rec.Code != 202 || c.want != "" && (rec.Code != 503 || !strings.Contains(rec.Body.String(), c.want)) {
			t.Errorf("%s: %d %s; want %q", c.address, rec.Code, rec.Body, c.want)
		}
	}
}
