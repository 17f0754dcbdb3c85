package http

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/sinktest"
)

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, text)
	return h.Sum(nil)
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// signature is what AWS computes of a request that has arrived (Signature Version 4), by the headers that the request says are signed.
func signature(r *http.Request, body, secret string) (got, want string) {
	auth := r.Header.Get("Authorization")
	field := func(name string) string {
		_, rest, _ := strings.Cut(auth, name+"=")
		v, _, _ := strings.Cut(rest, ",")
		return strings.TrimSpace(v)
	}
	scope := strings.SplitN(field("Credential"), "/", 2)[1]
	names := strings.Split(field("SignedHeaders"), ";")
	path := strings.ReplaceAll(r.URL.EscapedPath(), "%", "%25")
	query := r.URL.Query().Encode()
	text := r.Method + "\n" + path + "\n" + query + "\n"
	for _, name := range names {
		v := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			v = r.Host
		case "content-length":
			v = r.Header.Get("Content-Length")
			if v == "" {
				v = url.QueryEscape(itoa(r.ContentLength))
			}
		}
		text += name + ":" + strings.Join(strings.Fields(v), " ") + "\n"
	}
	text += "\n" + strings.Join(names, ";") + "\n" + hexSum(body)
	key := []byte("AWS4" + secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	return field("Signature"), hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+r.Header.Get("X-Amz-Date")+"\n"+scope+"\n"+hexSum(text)))
}

func itoa(n int64) string {
	var out []byte
	for ; n > 0; n /= 10 {
		out = append(out, byte('0'+n%10))
	}
	slices.Reverse(out)
	return string(out)
}

// TestSigned: what arrives has the signature that AWS computes of it, in both modes, with awkward attributes; without credentials nothing is sent.
func TestSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := func(name, text string) *plugin.Secret {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return &plugin.Secret{File: file}
	}
	came := 0
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		came++
		body, _ := io.ReadAll(r.Body)
		got, want := signature(r, string(body), "s3cret")
		if got == "" || got != want {
			t.Errorf("signed %q, and AWS computes %q: %s", got, want, r.Header)
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKID/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/lambda/aws4_request") || r.Header.Get("X-Amz-Security-Token") != "tok" {
			t.Errorf("%s", r.Header)
		}
	}))
	defer s.Close()
	keys := &AWS{Region: "eu-central-1", Service: "lambda", AccessKey: secret("id", "AKID"), SecretKey: secret("key", "s3cret"), Token: secret("token", "tok")}
	for _, mode := range []string{"binary", "structured"} {
		d := invocation(t.Context())
		d.Contract = "lambda"
		d.Event().SetSubject("gr\u00fc\u00dfe, 100% \"x\"")
		settings := &Settings{URL: s.URL + "/2015-03-31/functions/f/invocations?Qualifier=prod", Mode: mode, AWS: keys, Headers: map[string]client.Value{"X-Amz-Invocation-Type": {Text: "RequestResponse"}}}
		if got := sinktest.Describe(deliver(t, settings, d)); got != "completed null" {
			t.Error(got)
		}
	}
	gone := *keys
	gone.SecretKey = &plugin.Secret{File: filepath.Join(dir, "gone")}
	if got := sinktest.Describe(deliver(t, &Settings{URL: s.URL, AWS: &gone}, invocation(t.Context()))); !strings.HasPrefix(got, "retry 0s platform unready") || came != 2 {
		t.Error(got, came)
	}
}
