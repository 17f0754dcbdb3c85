// Package sign makes and checks signatures of requests by HMAC-SHA256, in the three forms that web hooks have.
//
// A signature covers the body as it is on the wire, and with standard and stripe the time, with standard the id too. It does not cover other headers.
package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

// HMAC is how requests are signed, as documents say it.
type HMAC struct {
	Style    string          `doc:"style" help:"standard (Standard Webhooks: the headers webhook-id, webhook-timestamp and webhook-signature), stripe (one header, t=TIME,v1=HEX) or github (one header, of the body alone)" default:"standard"`
	Secrets  []plugin.Secret `doc:"secrets,list,required" help:"the secrets, one or several while one replaces another: any of them proves a request that comes, and what goes out is signed by each, by the first where there is room for one. With style standard, one that begins with whsec_ is base64 behind it; with the others a secret is taken as it is"`
	Header   string          `doc:"header" help:"the header that has the signature, where it is not Stripe-Signature or X-Hub-Signature-256"`
	Prefix   *string         `doc:"prefix" help:"what is before the signature in it, for style github; default: sha256="`
	Encoding string          `doc:"encoding" help:"hex or base64, for style github; default: hex"`
}

// The styles.
const (
	standard = "standard"
	stripe   = "stripe"
	github   = "github"
)

// The headers of Standard Webhooks 1.0.
const (
	headerID        = "Webhook-Id"
	headerTime      = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// Check reports what is no way to sign.
func (s *HMAC) Check() []plugin.Problem {
	var out []plugin.Problem
	find := func(key, what, cure string) {
		out = append(out, plugin.Problem{Path: []string{key}, What: what, Cure: cure})
	}
	if s.Style != standard && s.Style != stripe && s.Style != github {
		find("style", fmt.Sprintf("unknown style %q", s.Style), "write standard, stripe or github")
	}
	if len(s.Secrets) == 0 {
		find("secrets", "secrets is an empty list", "write secrets: {env: NAME} or {file: PATH}")
	}
	if s.Header != "" && !isToken(s.Header) {
		find("header", fmt.Sprintf("%q is not a header's name", s.Header), "write letters, digits and -")
	}
	if s.Header != "" && s.Style == standard {
		find("header", "the headers of Standard Webhooks have their names", "leave it out, or write style: github or stripe")
	}
	if s.Style != github && s.Prefix != nil {
		find("prefix", "a prefix is of style github", "leave it out, or write style: github")
	}
	if s.Style != github && s.Encoding != "" {
		find("encoding", "an encoding is of style github", "leave it out, or write style: github")
	} else if s.Encoding != "" && s.Encoding != "hex" && s.Encoding != "base64" {
		find("encoding", fmt.Sprintf("unknown encoding %q", s.Encoding), "write hex or base64")
	}
	return out
}

// Schema tells what Check refuses.
func (*HMAC) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"style":    plugin.Schema{"enum": []any{standard, stripe, github}},
		"secrets":  plugin.Schema{"not": plugin.Schema{"const": []any{}}},
		"encoding": plugin.Schema{"enum": []any{"hex", "base64", ""}},
	}}
}

// isToken reports what may stand as a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}

// Timed reports whether a signature has a time, by which an old one is refused.
func (s *HMAC) Timed() bool { return s.Style != github }

// Name is what a signed request's headers call the message, so that it is signed with the body; empty where a style has no such name.
func (s *HMAC) Name(h http.Header) string {
	if s.Style != standard {
		return ""
	}
	return h.Get(headerID)
}

// header is the name of the one that has the signature.
func (s *HMAC) header() string {
	switch {
	case s.Header != "":
		return s.Header
	case s.Style == stripe:
		return "Stripe-Signature"
	case s.Style == github:
		return "X-Hub-Signature-256"
	}
	return headerSignature
}

func (s *HMAC) prefix() string {
	if s.Prefix != nil {
		return *s.Prefix
	}
	return "sha256="
}

// keys are the present secrets. The error names the place of one that cannot be read, never the secret.
func (s *HMAC) keys() ([][]byte, error) {
	keys := make([][]byte, len(s.Secrets))
	for i, secret := range s.Secrets {
		text, err := secret.Read()
		if err != nil {
			return nil, err
		}
		keys[i] = []byte(text)
		if coded, is := strings.CutPrefix(text, "whsec_"); is && s.Style == standard { // Stripe's own begin so too, and are keys as they stand.
			if keys[i], err = base64.StdEncoding.DecodeString(coded); err != nil || len(keys[i]) == 0 {
				return nil, fmt.Errorf("the secret of %s begins with whsec_, and is not base64 behind it", secret)
			}
		}
	}
	return keys, nil
}

// mac is what is signed under a key.
func (s *HMAC) mac(key []byte, id, at string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	switch s.Style {
	case standard:
		_, _ = h.Write([]byte(id + "." + at + ".")) // A hash takes everything.
	case stripe:
		_, _ = h.Write([]byte(at + "."))
	}
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// Sign adds the headers of a request's signature. The id is one that repeats have too.
func (s *HMAC) Sign(h http.Header, id string, now time.Time, body []byte) error {
	keys, err := s.keys()
	if err != nil {
		return err
	}
	at, all := strconv.FormatInt(now.Unix(), 10), make([]string, len(keys))
	for i, key := range keys {
		mac := s.mac(key, id, at, body)
		switch {
		case s.Style == standard:
			all[i] = "v1," + base64.StdEncoding.EncodeToString(mac)
		case s.Style == stripe:
			all[i] = "v1=" + hex.EncodeToString(mac)
		case s.Encoding == "base64":
			all[i] = s.prefix() + base64.StdEncoding.EncodeToString(mac)
		default:
			all[i] = s.prefix() + hex.EncodeToString(mac)
		}
	}
	switch s.Style {
	case standard:
		h.Set(headerID, id)
		h.Set(headerTime, at)
		h.Set(headerSignature, strings.Join(all, " "))
	case stripe:
		h.Set(s.header(), "t="+at+","+strings.Join(all, ","))
	default:
		h.Set(s.header(), all[0])
	}
	return nil
}

// A Bad is the error of a request whose signature proves nothing. Kind is one of missing, wrong and expired.
type Bad struct{ Kind, What string }

// Error says what is wrong.
func (b *Bad) Error() string { return b.What }

// Unsigned is the kind of a request that has no signature.
const Unsigned = "missing"

// Verify checks a request's signature over its body, and returns what it signs: a text that a repeat of the same bytes has too, and nothing else. A *Bad says
// that it proves nothing; any other error, that a secret cannot be read.
func (s *HMAC) Verify(h http.Header, now time.Time, tolerance time.Duration, body []byte) (signed string, err error) {
	said, at, id, err := s.said(h)
	if err != nil {
		return "", err
	}
	if s.Timed() {
		seconds, err := strconv.ParseInt(at, 10, 64)
		if err != nil || len(at) > 12 || at[0] == '+' || at[0] == '-' {
			return "", &Bad{"wrong", "the signature's time is no number of seconds"}
		}
		if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
			return "", &Bad{"expired", fmt.Sprintf("the signature's time is %s off, and %s are allowed; is it a repeat, or a clock wrong?", off.Abs().Round(time.Second), tolerance)}
		}
	}
	keys, err := s.keys()
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		mac := s.mac(key, id, at, body)
		if slices.ContainsFunc(said, func(x []byte) bool { return hmac.Equal(x, mac) }) {
			return string(mac), nil
		}
	}
	return "", &Bad{"wrong", "the signature is not of this body under a secret that is known here"}
}

// said are the signatures of a request, with the time and the id that they are of.
func (s *HMAC) said(h http.Header) (all [][]byte, at, id string, err error) {
	lines := h.Values(s.header())
	if len(lines) == 0 {
		return nil, "", "", &Bad{Unsigned, "no signature; send it in the header " + s.header()}
	}
	if len(lines) > 1 {
		return nil, "", "", &Bad{"wrong", "the header " + s.header() + " is there more than once"}
	}
	line := lines[0]
	add := func(decode func(string) ([]byte, error), text string) {
		if b, err := decode(text); err == nil { // Of one in a form that is not known here, another may be right.
			all = append(all, b)
		}
	}
	switch s.Style {
	case standard:
		at, id = h.Get(headerTime), h.Get(headerID)
		if at == "" || id == "" {
			return nil, "", "", &Bad{"wrong", "the signature lacks webhook-id or webhook-timestamp"}
		}
		for _, x := range strings.Fields(line) {
			if coded, is := strings.CutPrefix(x, "v1,"); is {
				add(base64.StdEncoding.DecodeString, coded)
			}
		}
	case stripe:
		for x := range strings.SplitSeq(line, ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(x), "=")
			if key == "t" && at == "" {
				at = value
			} else if key == "v1" {
				add(hex.DecodeString, value)
			}
		}
		if at == "" {
			return nil, "", "", &Bad{"wrong", "the signature has no time (t=)"}
		}
	default:
		coded, is := strings.CutPrefix(line, s.prefix())
		if !is {
			return nil, "", "", &Bad{"wrong", fmt.Sprintf("the header %s does not begin with %q", s.header(), s.prefix())}
		}
		decode := hex.DecodeString
		if s.Encoding == "base64" {
			decode = base64.StdEncoding.DecodeString
		}
		add(decode, coded)
	}
	return all, at, id, nil
}
