package http

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Auth is how the router proves who it is, one way of these.
type Auth struct {
	Bearer *plugin.Secret `doc:"bearer" help:"a token: {env: NAME} or {file: PATH}"`
	Basic  *Basic         `doc:"basic" help:"a name and a password"`
	OAuth2 *OAuth2        `doc:"oauth2" help:"a token that is fetched by the grant client_credentials (RFC 6749, section 4.4), and fetched again before it ends"`
}

// Basic is a name and a password (RFC 7617).
type Basic struct {
	Username string        `doc:"username,required" help:"the name, without a colon"`
	Password plugin.Secret `doc:"password,required" help:"{env: NAME} or {file: PATH}"`
}

// OAuth2 is where tokens come from.
type OAuth2 struct {
	TokenURL     string            `doc:"tokenURL,required" help:"the address that gives out tokens"`
	ClientID     string            `doc:"clientID,required" help:"the name of the client"`
	ClientSecret plugin.Secret     `doc:"clientSecret,required" help:"{env: NAME} or {file: PATH}"`
	Scopes       []string          `doc:"scopes,list" help:"what is asked for"`
	Params       map[string]string `doc:"params" help:"further values of the form that asks, such as audience or resource"`
	Style        string            `doc:"style" help:"how the client proves itself: header (HTTP Basic) or body (client_id and client_secret in the form)" default:"header"`
}

// Check reports more ways than one, or none.
func (a *Auth) Check() []plugin.Problem {
	n := 0
	for _, is := range []bool{a.Bearer != nil, a.Basic != nil, a.OAuth2 != nil} {
		if is {
			n++
		}
	}
	if n == 1 {
		return nil
	}
	return []plugin.Problem{{What: fmt.Sprintf("auth names %d ways, and there is one", n), Cure: "keep one of bearer, basic and oauth2"}}
}

// Schema tells what Check refuses.
func (*Auth) Schema() plugin.Schema {
	one := func(key string) plugin.Schema { return plugin.Schema{"required": []any{key}} }
	return plugin.Schema{"oneOf": []any{one("bearer"), one("basic"), one("oauth2")}}
}

// Check reports a name that the far end would cut.
func (b *Basic) Check() []plugin.Problem {
	if b.Username == "" || strings.Contains(b.Username, ":") {
		return []plugin.Problem{{Path: []string{"username"}, What: fmt.Sprintf("%q is no name for HTTP Basic", b.Username), Cure: "write one without a colon"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Basic) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"username": plugin.Schema{"pattern": "^[^:]+$"}}}
}

// Check reports what no token can be had by.
func (o *OAuth2) Check() []plugin.Problem {
	var out []plugin.Problem
	if u, err := url.Parse(o.TokenURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		out = append(out, plugin.Problem{Path: []string{"tokenURL"}, What: fmt.Sprintf("%q is not an http or https address", o.TokenURL), Cure: "write https://host/path"})
	}
	if o.Style != "header" && o.Style != "body" {
		out = append(out, plugin.Problem{Path: []string{"style"}, What: fmt.Sprintf("unknown style %q", o.Style), Cure: "write header or body"})
	}
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope"} {
		if _, is := o.Params[name]; is {
			out = append(out, plugin.Problem{Path: []string{"params", name}, What: name + " has a key of its own", Cure: "write it by clientID, clientSecret or scopes"})
		}
	}
	return out
}

// Schema tells what Check refuses.
func (*OAuth2) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"tokenURL": plugin.Schema{"pattern": "^[hH][tT][tT][pP][sS]?://[^/?#]"},
		"style":    plugin.Schema{"enum": []any{"header", "body"}},
		"params":   plugin.Schema{"propertyNames": plugin.Schema{"not": plugin.Schema{"enum": []any{"grant_type", "client_id", "client_secret", "scope"}}}},
	}}
}

// prove adds what proves who sends a request, and gives it its body from the begin. The error is of the router's own: a secret or a token cannot be had, and
// the request may be sent later.
func (k *sink) prove(d *sinks.Delivery, req *http.Request) error {
	if err := k.authorize(req); err != nil {
		return err
	}
	from, err := req.GetBody()
	if err != nil {
		return err
	}
	if req.ContentLength > 0 {
		req.Body = from
	}
	if k.s.Sign == nil && k.s.AWS == nil {
		return nil
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	if req.ContentLength > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if k.s.Sign != nil {
		if err := k.s.Sign.Sign(req.Header, d.ID(), time.Now(), body); err != nil {
			return err
		}
	}
	if k.s.AWS != nil {
		return k.s.AWS.sign(req, body) // The last, for it is over all headers.
	}
	return nil
}

func (k *sink) authorize(req *http.Request) error {
	a := k.s.Auth
	switch {
	case a == nil:
		return nil
	case a.Bearer != nil:
		token, err := a.Bearer.Read()
		if err != nil {
			return err
		}
		return setHeader(req.Header, "Authorization", "Bearer "+token)
	case a.Basic != nil:
		password, err := a.Basic.Password.Read()
		if err != nil {
			return err
		}
		req.SetBasicAuth(a.Basic.Username, password)
		return nil
	}
	token, err := k.tokens.get(req.Context())
	if err != nil {
		return err
	}
	return setHeader(req.Header, "Authorization", "Bearer "+token)
}

// endsHeader says whether c would end a header, or is nothing that one may have.
func endsHeader(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// setHeader refuses what would end the header.
func setHeader(h http.Header, name, v string) error {
	if strings.ContainsFunc(v, endsHeader) {
		return fmt.Errorf("header %s: its value has a control character, such as a line's end", name)
	}
	h.Set(name, v)
	return nil
}
