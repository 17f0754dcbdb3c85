package sign

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

func secret(t *testing.T, text string) plugin.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugin.Secret{File: file}
}

func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// TestKnownSignatures are those that the specifications' own pages give.
func TestKnownSignatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s      *HMAC
		secret string
		body   string
		header http.Header
		at     int64
	}{
		{&HMAC{Style: "standard"}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), 1614265330},
		// Stripe signs with the whole text of its secret (stripe-python, _webhook.py): this is by Python's hmac.
		{&HMAC{Style: "stripe"}, "whsec_test_secret", `{"id": "evt_1", "object": "event"}`, header("Stripe-Signature", "t=1492774577,v1=09357d4fb8d9eba6f07fdea6b2428fa819063ec7bb7f9eca18b88cf0ff729476"), 1492774577},
		{&HMAC{Style: "github"}, "It's a Secret to Everybody", "Hello, World!", header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), 0},
	} {
		c.s.Secrets = []plugin.Secret{secret(t, c.secret)}
		if _, err := c.s.Verify(c.header, time.Unix(c.at, 0), time.Minute, []byte(c.body)); err != nil {
			t.Errorf("%s: %v", c.s.Style, err)
		}
		if _, err := c.s.Verify(c.header, time.Unix(c.at, 0), time.Minute, []byte(c.body+" ")); err == nil {
			t.Errorf("%s: another body is proved", c.s.Style)
		}
		made := make(http.Header)
		if err := c.s.Sign(made, c.header.Get(headerID), time.Unix(c.at, 0), []byte(c.body)); err != nil || made.Get(c.s.header()) != c.header.Get(c.s.header()) {
			t.Errorf("%s: %v %v", c.s.Style, made, err)
		}
	}
}

func styles() []*HMAC {
	none := ""
	return []*HMAC{
		{Style: "standard"}, {Style: "stripe"}, {Style: "github"}, {Style: "stripe", Header: "X-Pay-Signature"}, {Style: "github", Header: "X-Shop-Hmac-Sha256", Prefix: &none, Encoding: "base64"},
	}
}

func TestRoundAndRotation(t *testing.T) {
	t.Parallel()
	former, next, other := secret(t, "former"), secret(t, "whsec_bmV4dA=="), secret(t, "other")
	now, body := time.Unix(1e9, 0), []byte("a body")
	verdict := func(s *HMAC, h http.Header, at time.Time, secrets ...plugin.Secret) string {
		x := *s
		x.Secrets = secrets
		signed, err := x.Verify(h, at, 5*time.Minute, body)
		if bad := (*Bad)(nil); errors.As(err, &bad) {
			return bad.Kind
		}
		if err != nil || signed == "" {
			return "unread"
		}
		return ""
	}
	unread := map[string]string{"standard": "unread", "stripe": "wrong", "github": "wrong"} // what a text is for which it is to be base64
	for _, s := range styles() {
		s.Secrets = []plugin.Secret{former, next}
		h := make(http.Header)
		if err := s.Sign(h, "id-1", now, body); err != nil {
			t.Fatal(err)
		}
		both := ""
		if s.Style == "github" {
			both = "wrong" // There is room for the first only.
		}
		for i, c := range []struct {
			want    string
			at      time.Time
			secrets []plugin.Secret
		}{
			{"", now, []plugin.Secret{former}}, {both, now, []plugin.Secret{next}}, {"", now, []plugin.Secret{other, former}}, {"wrong", now, []plugin.Secret{other}},
			{"", now.Add(5 * time.Minute), []plugin.Secret{former}}, {"", now.Add(-5 * time.Minute), []plugin.Secret{former}},
			{"unread", now, []plugin.Secret{{Env: "SIGN_TEST_UNSET"}}}, {unread[s.Style], now, []plugin.Secret{secret(t, "whsec_!")}},
		} {
			if got := verdict(s, h, c.at, c.secrets...); got != c.want {
				t.Errorf("%s, case %d: %q, want %q", s.Style, i, got, c.want)
			}
		}
		old := ""
		if s.Timed() {
			old = "expired"
		}
		for _, off := range []time.Duration{5*time.Minute + time.Second, -5*time.Minute - time.Second, 1000 * time.Hour} {
			if got := verdict(s, h, now.Add(off), former); got != old {
				t.Errorf("%s, %s off: %q", s.Style, off, got)
			}
		}
		if got := verdict(s, http.Header{}, now, former); got != Unsigned {
			t.Errorf("%s, of nothing: %q", s.Style, got)
		}
		twice := h.Clone()
		twice.Add(s.header(), h.Get(s.header()))
		if got := verdict(s, twice, now, former); got != "wrong" {
			t.Errorf("%s, twice: %q", s.Style, got)
		}
	}
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	key, now, body := secret(t, "key"), time.Unix(1e9, 0), []byte("a body")
	standard, stripe, github := &HMAC{Style: "standard"}, &HMAC{Style: "stripe"}, &HMAC{Style: "github"}
	signed := make(map[*HMAC]string)
	for _, s := range []*HMAC{standard, stripe, github} {
		s.Secrets = []plugin.Secret{key}
		h := make(http.Header)
		if err := s.Sign(h, "id", now, body); err != nil {
			t.Fatal(err)
		}
		signed[s] = h.Get(s.header())
	}
	for i, c := range []struct {
		s *HMAC
		h http.Header
	}{
		{standard, header("webhook-id", "other", "webhook-timestamp", "1000000000", "webhook-signature", signed[standard])},
		{standard, header("webhook-id", "id", "webhook-timestamp", "1000000001", "webhook-signature", signed[standard])},
		{standard, header("webhook-id", "id", "webhook-signature", signed[standard])},
		{standard, header("webhook-timestamp", "1000000000", "webhook-signature", signed[standard])},
		{standard, header("webhook-id", "id", "webhook-timestamp", "+1000000000", "webhook-signature", signed[standard])},
		{standard, header("webhook-id", "id", "webhook-timestamp", "1e9", "webhook-signature", signed[standard])},
		{standard, header("webhook-id", "id", "webhook-timestamp", "1000000000", "webhook-signature", "v1a,"+signed[standard][3:])},
		{standard, header("webhook-id", "id", "webhook-timestamp", "1000000000", "webhook-signature", "v1,")},
		{standard, header("webhook-id", "id", "webhook-timestamp", "1000000000", "webhook-signature", "")},
		{stripe, header("Stripe-Signature", strings.Replace(signed[stripe], "t=1000000000", "t=1000000001", 1))},
		{stripe, header("Stripe-Signature", strings.Replace(signed[stripe], "t=1000000000,", "", 1))},
		{stripe, header("Stripe-Signature", strings.Replace(signed[stripe], "v1=", "v0=", 1))},
		{stripe, header("Stripe-Signature", "t=1000000001,"+signed[stripe])}, // The first time is the one that counts, and it is not the one that was signed.
		{github, header("X-Hub-Signature-256", signed[github][:30])},
		{github, header("X-Hub-Signature-256", "sha256=")},
		{github, header("X-Hub-Signature-256", "sha1="+signed[github][7:])},
		{github, header("X-Hub-Signature", signed[github])},
	} {
		if _, err := c.s.Verify(c.h, now, time.Minute, body); !errors.As(err, new(*Bad)) {
			t.Errorf("case %d is no forgery: %v", i, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	none := ""
	key := []plugin.Secret{{Env: "HOME"}}
	for want, s := range map[string]*HMAC{
		`unknown style "x"`: {Style: "x", Secrets: key}, "secrets is an empty list": {Style: "github"}, "is not a header's name": {Style: "github", Secrets: key, Header: "a b"},
		"have their names": {Style: "standard", Secrets: key, Header: "x"}, "a prefix is of style github": {Style: "stripe", Secrets: key, Prefix: &none},
		"an encoding is of style github": {Style: "standard", Secrets: key, Encoding: "hex"}, `unknown encoding "x"`: {Style: "github", Secrets: key, Encoding: "x"},
	} {
		if got := s.Check(); len(got) != 1 || !strings.Contains(got[0].What, want) || got[0].Cure == "" {
			t.Errorf("%v; want %q", got, want)
		}
	}
	for _, s := range styles() {
		s.Secrets = key
		if got := s.Check(); got != nil {
			t.Error(got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Setenv("SIGN_TEST_KEY", "key")
	f.Add("v1,g0hM", "1", "id", "body", byte(0))
	f.Add("t=1,v1=00", "", "", "", byte(1))
	f.Add("sha256=00", "", "", "", byte(2))
	f.Fuzz(func(t *testing.T, said, at, id, body string, style byte) {
		s := styles()[int(style)%len(styles())]
		s.Secrets = []plugin.Secret{{Env: "SIGN_TEST_KEY"}}
		h := header(s.header(), said, headerTime, at, headerID, id)
		if _, err := s.Verify(h, time.Unix(1, 0), time.Minute, []byte(body)); err == nil {
			t.Error("proved by chance")
		}
	})
}
