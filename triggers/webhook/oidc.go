package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/onward-router/onward/config/certs"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/guard"
)

// algorithms are those by which an issuer may sign: of two keys, so that who can check a token cannot make one. There is no "none" among them.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	tokenMost    = 16 << 10         // bytes of a token
	keysMost     = 1 << 20          // bytes of an issuer's answer
	mostKeys     = 100              // that a token may be checked by, one after another
	keysPatience = 10 * time.Second // of asking an issuer
	keysPause    = 10 * time.Second // between two askings, whatever keys callers name
	keysRenew    = time.Hour        // after which keys are fetched again, beside
	keysKept     = 24 * time.Hour   // after which keys are not believed any more that could not be fetched again
)

// An issuer gives keys, which are fetched when a token needs them: one that is down when the router starts, or later, keeps nobody else out.
type issuer struct {
	s        *OIDC
	verifier *oidc.IDTokenVerifier
	claims   map[string][]any
	now      func() time.Time
	client   func() (*http.Client, error)
	life     context.Context
	aside    func(func()) bool

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time     // keys were
	tried   time.Time     // to fetch them
	failed  error         // the last try
	flight  chan struct{} // closed when the fetch that is under way has ended; nil: none is
}

func newIssuer(s *OIDC, to *egress.Policy, life context.Context, aside func(func()) bool) *issuer {
	i := &issuer{s: s, now: time.Now, life: life, aside: aside, claims: make(map[string][]any)}
	for name, want := range s.Claims {
		i.claims[name] = scalarsOf(want)
	}
	names := make([]string, len(algorithms))
	for k, a := range algorithms {
		names[k] = string(a)
	}
	i.verifier = oidc.NewVerifier(s.Issuer, i, &oidc.Config{
		SkipClientIDCheck: true, SkipIssuerCheck: true, SupportedSigningAlgs: names, // Issuer and audience are judged below, to say which is wrong.
		Now: func() time.Time { return i.now().Add(-s.Skew.D()) },
	})
	i.client = sync.OnceValues(func() (*http.Client, error) {
		pool, err := certs.Pool("oidc.ca", s.CA)
		if err != nil {
			return nil, err
		}
		return &http.Client{Timeout: keysPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: to.Guard(&http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, TLSHandshakeTimeout: keysPatience, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		})}, nil
	})
	return i
}

// An outage is why a token could not be judged: what VerifySignature returns the verifier does not wrap.
type outage struct{ why error }

type outageKey struct{}

// identify judges a token, and returns the tenant that it names, if it is to name one.
func (i *issuer) identify(ctx context.Context, token string) (tenant string, no *unproven) {
	wrong := func(kind, what string) (string, *unproven) {
		return "", &unproven{http.StatusUnauthorized, kind, what}
	}
	switch {
	case token == "":
		return wrong(kindMissing, "no valid token")
	case len(token) > tokenMost || strings.Count(token, ".") != 2:
		return wrong(kindWrong, "no valid token")
	}
	var said *oidc.IDToken
	var err error
	down := new(outage)
	ctx = context.WithValue(ctx, outageKey{}, down)
	if panicked := guard.Do("decode", func() { said, err = i.verifier.Verify(ctx, token) }); panicked != nil {
		return wrong(kindWrong, "no valid token")
	}
	expired := (*oidc.TokenExpiredError)(nil)
	switch {
	case down.why != nil:
		return "", &unproven{http.StatusServiceUnavailable, kindUnavailable, "the issuer's keys cannot be had: " + down.why.Error()}
	case errors.As(err, &expired):
		return wrong(kindExpired, "the token's time is over")
	case err != nil:
		return wrong(kindWrong, "no valid token")
	case said.Issuer != i.s.Issuer:
		return wrong(kindWrong, "the token is of another issuer")
	case !slices.ContainsFunc(said.Audience, func(a string) bool { return slices.Contains(i.s.Audience, a) }):
		return wrong(kindWrong, "the token is for somebody else (its audience)")
	}
	return i.judge(said)
}

// judge looks at the claims of a token that is good.
func (i *issuer) judge(said *oidc.IDToken) (tenant string, no *unproven) {
	var claims map[string]json.RawMessage
	if err := said.Claims(&claims); err != nil || isBeyond(claims["nbf"]) {
		return "", &unproven{http.StatusUnauthorized, kindWrong, "no valid token"}
	}
	for name, want := range i.claims {
		if !hasClaim(claims[name], want) {
			return "", &unproven{http.StatusForbidden, kindForbidden, fmt.Sprintf("the token's claim %q is not one that may send here", name)}
		}
	}
	if i.s.TenantClaim == "" {
		return "", nil
	}
	if err := json.Unmarshal(claims[i.s.TenantClaim], &tenant); err != nil || tenant == "" {
		return "", &unproven{http.StatusForbidden, kindForbidden, fmt.Sprintf("the token does not say whose it is by the claim %q", i.s.TenantClaim)}
	}
	return tenant, nil
}

// isBeyond reports a time that has no number of seconds: the verifier takes it for one long ago.
func isBeyond(text json.RawMessage) bool {
	var seconds float64
	return len(text) > 0 && json.Unmarshal(text, &seconds) == nil && seconds > 1e15
}

// VerifySignature checks a token's signature by the issuer's keys, for the verifier.
func (i *issuer) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSigned(token, algorithms)
	if err != nil {
		return nil, err
	}
	if len(jws.Signatures) != 1 {
		return nil, errors.New("not one signature")
	}
	if _, is := jws.Signatures[0].Protected.ExtraHeaders["b64"]; is {
		return nil, errors.New("a token's payload is base64 (RFC 7797, section 7)")
	}
	id := jws.Signatures[0].Header.KeyID
	keys, err := i.keysFor(ctx, id)
	if err != nil {
		if down, is := ctx.Value(outageKey{}).(*outage); is {
			down.why = err
		}
		return nil, err
	}
	for k := range keys {
		if id != "" && keys[k].KeyID != "" && keys[k].KeyID != id {
			continue
		}
		if payload, err := jws.Verify(&keys[k]); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer's has signed it")
}

// keysFor returns the keys, among which the named one is to be. Keys that are known are believed at once; they are fetched again beside that when they are old,
// and before when one is asked for that is not known - but not more often than once in a while, since callers may name what they like.
func (i *issuer) keysFor(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	i.mu.Lock()
	age := i.now().Sub(i.fetched)
	known := len(i.keys) > 0 && (id == "" || slices.ContainsFunc(i.keys, func(k jose.JSONWebKey) bool { return k.KeyID == id || k.KeyID == "" }))
	if !known || age > keysRenew {
		i.fetch()
	}
	keys, flight := i.keys, i.flight
	i.mu.Unlock()
	if known && age <= keysKept {
		return keys, nil
	}
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed != nil && (len(i.keys) == 0 || i.now().Sub(i.fetched) > keysKept) {
		return nil, i.failed
	}
	return i.keys, nil
}

// fetch begins to fetch the keys, unless that is under way, or was tried just now. The lock is held.
func (i *issuer) fetch() {
	if i.flight != nil || !i.tried.IsZero() && i.now().Sub(i.tried) < keysPause {
		return
	}
	flight := make(chan struct{})
	begun := i.aside(func() {
		defer close(flight)
		ctx, cancel := context.WithTimeout(i.life, keysPatience)
		defer cancel()
		var keys []jose.JSONWebKey
		var err error
		if panicked := guard.Do("decode", func() { keys, err = i.ask(ctx) }); panicked != nil {
			err = panicked
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.flight = nil
		if i.failed = err; err == nil {
			i.keys, i.fetched = keys, i.now()
		}
	})
	if begun {
		i.flight, i.tried = flight, i.now()
	}
}

// ask asks the issuer for its keys.
func (i *issuer) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	address := i.s.Keys
	if address == "" {
		var said struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := i.get(ctx, strings.TrimSuffix(i.s.Issuer, "/")+"/.well-known/openid-configuration", &said); err != nil {
			return nil, err
		}
		if said.Issuer != i.s.Issuer {
			return nil, fmt.Errorf("its discovery document is of another issuer, %.200q; write that, or keys: for the address of its keys", said.Issuer)
		}
		if address = said.Keys; !isSafe(address) {
			return nil, fmt.Errorf("its discovery document has no address of keys that can be believed: %.200q", address)
		}
	}
	var said struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, address, &said); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	if len(said.Keys) > mostKeys {
		return nil, fmt.Errorf("it has %d keys, and %d are looked through", len(said.Keys), mostKeys)
	}
	for _, text := range said.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(text, &k); err == nil && k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") { // Others are for others.
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public keys to check signatures by")
	}
	return keys, nil
}

func (i *issuer) get(ctx context.Context, address string, into any) error {
	client, err := i.client()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, keysMost))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %s", address, resp.Status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s does not answer in JSON", address)
	}
	return nil
}
