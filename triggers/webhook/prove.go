package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/sign"
	"github.com/onward-router/onward/triggers"
)

// An unproven is the error of a caller who does not prove who he is.
type unproven struct {
	code int    // 401: he may be anybody; 403: he is known, and may not; 503: it cannot be told now
	kind string // for the metric
	what string
}

func (u *unproven) Error() string { return u.what }

// The kinds of what is not proved.
const (
	kindMissing     = "missing"
	kindWrong       = "wrong"
	kindExpired     = "expired"
	kindReplayed    = "replayed"
	kindForbidden   = "forbidden"
	kindUnavailable = "unavailable"
)

var unprovenKinds = []string{kindMissing, kindWrong, kindExpired, kindReplayed, kindForbidden, kindUnavailable}

// better keeps, of two reasons for which nothing is proved, the one that helps more: what may be otherwise in a while, then what was given and is wrong.
func better(a, b *unproven) *unproven {
	rank := func(u *unproven) int {
		switch {
		case u == nil:
			return -1
		case u.kind == kindUnavailable:
			return 3
		case u.kind == kindMissing:
			return 0
		case u.kind == kindWrong:
			return 1
		}
		return 2
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// A proof says who has sent a request.
type proof struct {
	tenant string // whose events are taken for his; empty: anybody's
	signed bool   // it is proved once the body was read
	mark   string // of a signature: what it signs
	by     *sign.HMAC
	seal   string // by which the events are known, where their ids stand in what is not signed
}

// identify finds out who sends a request, as far as its head says; false: it was refused. The token in the query is taken out of it, so that nobody writes it
// down.
func (w *Webhook) identify(rw http.ResponseWriter, r *http.Request) (proof, bool) {
	token, err := takeToken(rw, r)
	if err != nil {
		refuse(rw, http.StatusBadRequest, err.Error(), "send one token, best in Authorization: Bearer TOKEN", 0)
		return proof{}, false
	}
	if len(w.s.Auth) == 0 {
		return proof{}, true
	}
	why, signed := &unproven{http.StatusUnauthorized, kindMissing, "no valid token"}, false
	for i := range w.s.Auth {
		way := &w.s.Auth[i]
		p, no := proof{tenant: way.Tenant}, (*unproven)(nil)
		switch {
		case way.HMAC != nil:
			signed = true
			continue
		case way.Bearer != nil:
			no = isToken(way.Bearer.Read, token)
		case way.OIDC != nil:
			p.tenant, no = w.issuers[i].identify(r.Context(), token)
			if p.tenant == "" {
				p.tenant = way.Tenant
			}
		case way.MTLS != nil:
			no = w.isCertified(way.MTLS, r)
		}
		if no == nil {
			return p, true
		}
		why = better(why, no)
	}
	if signed {
		return proof{signed: true}, true // Its body says.
	}
	w.refuseUnproven(rw, why, token != "")
	return proof{}, false
}

// verify finds out who has signed a request's body.
func (w *Webhook) verify(p *proof, r *http.Request, body []byte) *unproven {
	if !p.signed {
		return nil
	}
	why := &unproven{http.StatusUnauthorized, kindMissing, "no valid token"}
	for i := range w.s.Auth {
		way := &w.s.Auth[i]
		if way.HMAC == nil {
			continue
		}
		mark, err := way.HMAC.Verify(r.Header, time.Now(), way.HMAC.Tolerance.D(), body)
		if err == nil {
			p.tenant, p.mark, p.by = way.Tenant, mark, &way.HMAC.HMAC
			return nil
		}
		bad := (*sign.Bad)(nil)
		switch {
		case !errors.As(err, &bad):
			why = better(why, &unproven{http.StatusServiceUnavailable, kindUnavailable, "the router cannot read its own secret: " + err.Error()})
		default:
			no := &unproven{http.StatusUnauthorized, bad.Kind, bad.What}
			if why = better(why, no); why.kind == kindMissing {
				why = no // It names the header.
			}
		}
	}
	return why
}

// refuseUnproven refuses a caller. given: he has sent a token.
func (w *Webhook) refuseUnproven(rw http.ResponseWriter, why *unproven, given bool) {
	w.unproven.WithLabelValues(why.kind).Inc()
	after := 0
	switch why.code {
	case http.StatusUnauthorized:
		challenge := `Signature realm="onward"`
		if slices.ContainsFunc(w.s.Auth, func(x Way) bool { return x.Bearer != nil || x.OIDC != nil }) {
			if challenge = `Bearer realm="onward"`; given {
				challenge += `, error="invalid_token"`
			}
		}
		rw.Header().Set("WWW-Authenticate", challenge)
	case http.StatusServiceUnavailable:
		after = 5
	}
	refuse(rw, why.code, why.what, w.cure(), after)
}

// cure says how callers prove who they are here.
func (w *Webhook) cure() string {
	var how []string
	for _, x := range w.s.Auth {
		words := "connect with a client certificate"
		switch {
		case x.Bearer != nil, x.OIDC != nil:
			words = "send Authorization: Bearer TOKEN"
		case x.HMAC != nil:
			words = "sign the body by HMAC-SHA256"
		}
		if !slices.Contains(how, words) {
			how = append(how, words)
		}
	}
	return strings.Join(how, ", or ")
}

// takeToken takes the token out of a request: from Authorization, or from the query, as CloudEvents web hooks (section 3.2) and RFC 6750 (section 2.3) have it.
func takeToken(rw http.ResponseWriter, r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	if !strings.Contains(r.URL.RawQuery, "access_token") && !strings.Contains(r.URL.RawQuery, "%") {
		return token, nil
	}
	ask, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		ask = url.Values{"access_token": ask["access_token"]} // What cannot be read is not kept: there may be a token in it.
	}
	all := ask["access_token"]
	delete(ask, "access_token")
	r.URL.RawQuery, r.RequestURI = ask.Encode(), ""
	if len(all) == 0 {
		return token, nil
	}
	rw.Header().Set("Cache-Control", "private, no-store")
	if len(all) > 1 || token != "" {
		return "", errors.New("the request has more than one token")
	}
	return all[0], nil
}

// isToken compares a token with the one that callers are to send, in a time that says nothing of either.
func isToken(read func() (string, error), got string) *unproven {
	want, err := read()
	if err != nil {
		return &unproven{http.StatusServiceUnavailable, kindUnavailable, "the router cannot read its own token: " + err.Error()}
	}
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	switch {
	case subtle.ConstantTimeCompare(a[:], b[:]) == 1:
		return nil
	case got == "":
		return &unproven{http.StatusUnauthorized, kindMissing, "no valid token"}
	}
	return &unproven{http.StatusUnauthorized, kindWrong, "no valid token"}
}

// isCertified judges a client certificate, which the listener has found to be one of its authorities'. A browser shows one unasked: no page of another origin
// sends by it.
func (w *Webhook) isCertified(m *MTLS, r *http.Request) *unproven {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return &unproven{http.StatusUnauthorized, kindMissing, "no client certificate"}
	}
	cert := r.TLS.PeerCertificates[0]
	switch {
	case w.origins.Check(r) != nil:
		return &unproven{http.StatusForbidden, kindForbidden, "a page of another origin may not send here"}
	case len(m.Subjects)+len(m.Names) == 0, slices.Contains(m.Subjects, cert.Subject.String()), slices.ContainsFunc(m.Names, func(pattern string) bool {
		return slices.ContainsFunc(namesOf(cert, pattern), func(name string) bool { return matches(pattern, name) })
	}):
		return nil
	}
	return &unproven{http.StatusForbidden, kindForbidden, fmt.Sprintf("the client certificate of %.200q is not among those that may send here", cert.Subject.String())}
}

// namesOf are the names of a certificate that are of the kind of a pattern: URIs, mail addresses, IP addresses or DNS names. Whoever may choose the path of a URI has
// not proved the host that it ends with.
func namesOf(cert *x509.Certificate, pattern string) (all []string) {
	switch {
	case strings.Contains(pattern, ":") && net.ParseIP(pattern) == nil:
		for _, u := range cert.URIs {
			all = append(all, u.String())
		}
	case strings.Contains(pattern, "@"):
		return cert.EmailAddresses
	default:
		all = slices.Clone(cert.DNSNames)
		for _, ip := range cert.IPAddresses {
			all = append(all, ip.String())
		}
	}
	return all
}

// matches compares a name with a pattern that may have * at its begin or its end.
func matches(pattern, name string) bool {
	if end, is := strings.CutPrefix(pattern, "*"); is {
		return strings.HasSuffix(name, end)
	}
	if begin, is := strings.CutSuffix(pattern, "*"); is {
		return strings.HasPrefix(name, begin)
	}
	return pattern == name
}

// as says to whom events are handed over whose they are, and by what they are known.
func as(ctx context.Context, p proof) context.Context {
	if p.seal != "" {
		ctx = triggers.Sealed(ctx, p.seal)
	}
	if p.tenant == "" {
		return ctx
	}
	return access.With(ctx, access.Who{Right: access.Operate, Tenant: p.tenant})
}

var _ triggers.Certified = (*Webhook)(nil)

// WantsCertificates reports whether a way asks for a client certificate.
func (w *Webhook) WantsCertificates() bool {
	return slices.ContainsFunc(w.s.Auth, func(x Way) bool { return x.MTLS != nil })
}
