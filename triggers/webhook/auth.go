package webhook

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/sign"
)

// A Way is one by which callers prove who they are.
type Way struct {
	Bearer *plugin.Secret `doc:"bearer" help:"a token that callers send, in Authorization: Bearer TOKEN or in the query as access_token: {env: NAME} or {file: PATH}"`
	HMAC   *HMAC          `doc:"hmac" help:"a signature of the body by HMAC-SHA256; prefer structured events to it, of which all is signed"`
	OIDC   *OIDC          `doc:"oidc" help:"a token (JWT) that an issuer has signed, sent like bearer"`
	MTLS   *MTLS          `doc:"mtls" help:"a client certificate; the listener has to ask for one (tls.client-ca)"`
	Tenant string         `doc:"tenant" help:"whose events these are: they start triggers of this tenant only; default: triggers of any"`
}

// Check reports more than one proof, or none.
func (w *Way) Check() []plugin.Problem {
	n := 0
	for _, is := range []bool{w.Bearer != nil, w.HMAC != nil, w.OIDC != nil, w.MTLS != nil} {
		if is {
			n++
		}
	}
	switch {
	case n != 1:
		return []plugin.Problem{{What: fmt.Sprintf("a way to prove who one is names %d proofs, and there is one", n), Cure: "write auth: [{ bearer: ... }, { hmac: ... }] for several, of which any is enough"}}
	case w.OIDC != nil && w.OIDC.TenantClaim != "" && w.Tenant != "":
		return []plugin.Problem{{Path: []string{"tenant"}, What: "the tenant is said twice", Cure: "keep tenant, or oidc.tenantClaim"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Way) Schema() plugin.Schema {
	one := func(key string) plugin.Schema { return plugin.Schema{"required": []any{key}} }
	return plugin.Schema{"oneOf": []any{one("bearer"), one("hmac"), one("oidc"), one("mtls")}}
}

// HMAC is a signature, and how old it may be.
type HMAC struct {
	sign.HMAC
	Tolerance plugin.Duration `doc:"tolerance,above0" help:"how far the time of a signature may be off, either way; style github has none" default:"5m"`
}

// OIDC is an issuer of tokens, and which of them count.
type OIDC struct {
	Issuer      string                `doc:"issuer,required" help:"the issuer, as its tokens name it: an https address, or an http one on this machine"`
	Audience    []string              `doc:"audience,list,required" help:"who a token has to be for: one of these"`
	Claims      map[string]lang.Value `doc:"claims" help:"what a token has to say besides: a claim's name with the text, number, true or false that it is, or has in its list; of several here, one"`
	TenantClaim string                `doc:"tenantClaim" help:"the claim that names whose events these are: they start triggers of that tenant only, and a token without it is refused"`
	Skew        plugin.Duration       `doc:"skew" help:"how far the issuer's clock may be off; at most 5m" default:"1m"`
	Keys        string                `doc:"keys" help:"the address of the issuer's keys (JWKS); default: what its discovery document says"`
	CA          string                `doc:"ca" help:"file of the certificate authorities to trust for the issuer (PEM); default: the system's"`
}

// skewMost is below what the verifier grants to the begin of a token anyhow.
const skewMost = 5 * time.Minute

// Check reports what no token can be judged by.
func (o *OIDC) Check() []plugin.Problem {
	var out []plugin.Problem
	find := func(what, cure string, path ...string) {
		out = append(out, plugin.Problem{Path: path, What: what, Cure: cure})
	}
	if !isSafe(o.Issuer) {
		find(fmt.Sprintf("%q is no address that keys can be believed from", o.Issuer), "write https://issuer.example.com", "issuer")
	}
	if o.Keys != "" && !isSafe(o.Keys) {
		find(fmt.Sprintf("%q is no address that keys can be believed from", o.Keys), "write https://issuer.example.com/keys", "keys")
	}
	if len(o.Audience) == 0 {
		find("audience is an empty list", "write who the tokens are for, such as this router's name at the issuer", "audience")
	}
	for name, want := range o.Claims {
		if scalarsOf(want) == nil {
			find(fmt.Sprintf("the claim %q is to be %.40s, which nothing can be compared with", name, want), "write a text, a number, true, false, or a list of these", "claims", name)
		}
	}
	if o.Skew.D() > skewMost {
		find(fmt.Sprintf("a skew of %s is more than %s", o.Skew.D(), skewMost), "write at most 5m, and set the clock", "skew")
	}
	return out
}

// Schema tells what Check refuses.
func (*OIDC) Schema() plugin.Schema {
	safe := plugin.Schema{"pattern": `^([hH][tT][tT][pP][sS]://[^/?#]|[hH][tT][tT][pP]://(localhost|127([.][0-9]{1,3}){3}|\[::1\])(:[0-9]+)?(/|$))`}
	scalar := []any{"string", "number", "boolean"}
	return plugin.Schema{"properties": plugin.Schema{
		"issuer": safe, "audience": plugin.Schema{"not": plugin.Schema{"const": []any{}}}, "keys": plugin.Schema{"anyOf": []any{plugin.Schema{"const": ""}, safe}},
		"claims": plugin.Schema{"additionalProperties": plugin.Schema{"anyOf": []any{
			plugin.Schema{"type": scalar}, plugin.Schema{"type": "array", "minItems": 1, "items": plugin.Schema{"type": scalar}},
		}}},
	}}
}

// isSafe reports an address that is not read or altered on its way.
func isSafe(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname()) // 127.example.com is anybody's.
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// scalarsOf are the values of which a claim has to be one; nil where there is none to compare with.
func scalarsOf(want lang.Value) []any {
	var v any
	if want.Decode(&v) != nil {
		return nil
	}
	list, is := v.([]any)
	if !is {
		list = []any{v}
	}
	for _, x := range list {
		switch x.(type) {
		case string, float64, bool:
		default:
			return nil
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// hasClaim reports whether a token's claim is, or has, one of some values.
func hasClaim(said json.RawMessage, want []any) bool {
	var v any
	if json.Unmarshal(said, &v) != nil {
		return false
	}
	list, is := v.([]any)
	if !is {
		list = []any{v}
	}
	for _, x := range list {
		for _, w := range want {
			switch x.(type) {
			case string, float64, bool:
				if x == w {
					return true
				}
			}
		}
	}
	return false
}

// MTLS says which certificates count, of those that the listener's authorities have signed.
type MTLS struct {
	Subjects []string `doc:"subjects,list" help:"whole subjects, such as CN=shop,O=Example; default: any"`
	Names    []string `doc:"names,list" help:"alternative names: DNS names, addresses, emails, URIs (SPIFFE); * at the begin or the end is anything, of a name of the same kind: with : it is a URI, with @ an email. Default: any"`
}
