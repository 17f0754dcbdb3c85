package web

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/access"
)

var reader = access.Who{Name: "ann", Right: access.Read, Tenant: "sales"}

// serve makes the page before an API that says who asks.
func serve(t *testing.T, o Options) http.Handler {
	t.Helper()
	o.API = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		who, said := access.From(q.Context())
		if !said {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, who.Encode())
	})
	o.Guard = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Host == "evil.example" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, q)
		})
	}
	o.Log = slog.New(slog.DiscardHandler)
	h, err := Handler(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestNowhere: whoever looks for a page that there is not is led on; a program is told as before, and what the API says is left as it is.
func TestNowhere(t *testing.T) {
	t.Parallel()
	h, err := Handler(Options{Log: slog.New(slog.DiscardHandler), Guard: func(h http.Handler) http.Handler { return h }, API: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/v1/none" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{}}`)
			return
		}
		http.NotFound(w, q)
	})})
	if err != nil {
		t.Fatal(err)
	}
	if r := ask(h, "GET", "/nowhere", nil, "Accept", "text/html,*/*"); r.StatusCode != http.StatusNotFound || r.Header.Get("Content-Security-Policy") != policy || !strings.Contains(text(t, r), "main.js") {
		t.Errorf("a browser: %d %v", r.StatusCode, r.Header)
	}
	if r := ask(h, "GET", "/nowhere", nil, "Accept", "*/*"); r.StatusCode != http.StatusNotFound || strings.Contains(text(t, r), "<") {
		t.Errorf("a program: %d", r.StatusCode)
	}
	if r := ask(h, "GET", "/v1/none", nil, "Accept", "text/html"); r.StatusCode != http.StatusNotFound || text(t, r) != `{"error":{}}` {
		t.Errorf("the API: %d", r.StatusCode)
	}
}

func locked() Options {
	return Options{WhoHas: func(token string) (access.Who, bool) { return reader, token == "secret" }, Key: [32]byte{1}}
}

func ask(h http.Handler, method, target string, body url.Values, headers ...string) *http.Response {
	q := httptest.NewRequest(method, target, strings.NewReader(body.Encode()))
	if body != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// login returns the cookie of a session, as a browser would send it.
func login(t *testing.T, h http.Handler) string {
	t.Helper()
	r := ask(h, "POST", "/login", url.Values{"token": {"secret"}, "next": {"/runs?state=failed"}})
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/runs?state=failed" || len(r.Cookies()) != 1 {
		t.Fatalf("login: %d, %v", r.StatusCode, r.Header)
	}
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, "secret") {
		t.Errorf("the session's cookie is %v", c)
	}
	return c.Name + "=" + c.Value
}

// TestFrame looks at what is sent for a page, and at all that it names.
func TestFrame(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	for _, path := range []string{"/", "/runs", "/runs/abc?view=field", "/waits", "/dead", "/events", "/triggers", "/functions", "/routers"} {
		r := ask(h, "GET", path, nil)
		page := text(t, r)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Security-Policy") != policy || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %v", path, r.StatusCode, r.Header)
		}
		if strings.Contains(page, "<script>") || strings.Contains(page, " style=") || strings.Contains(page, " onclick=") {
			t.Errorf("%s has what its policy refuses", path)
		}
		for _, part := range strings.Split(page, `"`) {
			if strings.HasPrefix(part, "http:") || strings.HasPrefix(part, "https:") || strings.HasPrefix(part, "//") {
				t.Errorf("%s names %q, which is not the router's", path, part)
			}
			if !strings.HasPrefix(part, "/assets/") {
				continue
			}
			a := ask(h, "GET", part, nil, "Accept-Encoding", "br, gzip")
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d, %v", part, a.StatusCode, a.Header)
				continue
			}
			z, err := gzip.NewReader(a.Body)
			if err != nil {
				t.Fatal(err)
			}
			zipped, err := io.ReadAll(z)
			if plain := text(t, ask(h, "GET", part, nil)); err != nil || plain == "" || string(zipped) != plain {
				t.Errorf("%s: %v; packed it is another", part, err)
			}
		}
	}
	if r := ask(h, "GET", "/assets/0000000000000000/main.js", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("an asset of another version: %d", r.StatusCode)
	}
	if r := ask(h, "GET", "/runs", nil, "Host", "x"); r.StatusCode != http.StatusOK {
		t.Errorf("%d", r.StatusCode)
	}
	q := httptest.NewRequest("GET", "http://evil.example/runs", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, q); w.Code != http.StatusForbidden {
		t.Errorf("a foreign name: %d", w.Code)
	}
	if r := ask(h, "GET", "/login", nil); r.StatusCode != http.StatusUnauthorized { // The API's, which here says that.
		t.Errorf("a login where there is nothing to prove: %d", r.StatusCode)
	}
}

// TestSession: a session asks as whose token it has, for pages of the router's own origin, until it is over, the token is gone or somebody logs out.
func TestSession(t *testing.T) {
	t.Parallel()
	now, known := time.Unix(1e9, 0), true
	o := locked()
	o.Now = func() time.Time { return now }
	o.WhoHas = func(token string) (access.Who, bool) { return reader, token == "secret" && known }
	h := serve(t, o)
	cookie := login(t, h)
	is := func(what string, r *http.Response, code int) {
		t.Helper()
		if got := text(t, r); r.StatusCode != code || code == http.StatusOK && got != reader.Encode() {
			t.Errorf("%s: %d %q", what, r.StatusCode, got)
		}
	}
	is("nobody", ask(h, "GET", "/v1/runs", nil), http.StatusUnauthorized)
	is("a session", ask(h, "GET", "/v1/runs", nil, "Cookie", cookie), http.StatusOK)
	is("a session that sends", ask(h, "POST", "/v1/runs", nil, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"), http.StatusOK)
	for _, from := range []string{"cross-site", "same-site"} {
		is("a page of another origin", ask(h, "POST", "/v1/runs", nil, "Cookie", cookie, "Sec-Fetch-Site", from), http.StatusForbidden)
	}
	is("a page of another origin, in an old browser", ask(h, "POST", "/v1/runs", nil, "Cookie", cookie, "Origin", "http://evil.example"), http.StatusForbidden)
	is("a session beside a token", ask(h, "GET", "/v1/runs", nil, "Cookie", cookie, "Authorization", "Bearer x"), http.StatusUnauthorized)
	is("not the API", ask(h, "POST", "/in", nil, "Cookie", cookie), http.StatusUnauthorized)
	for _, forged := range []string{"onward=", "onward=AAAA", cookie[:len(cookie)-2] + "AA", "onward=" + strings.Repeat("A", 5000)} {
		is("a forged session", ask(h, "GET", "/v1/runs", nil, "Cookie", forged), http.StatusUnauthorized)
	}
	other := locked()
	other.Key[0], other.Now = 2, o.Now
	is("the session of another journal", ask(serve(t, other), "GET", "/v1/runs", nil, "Cookie", cookie), http.StatusUnauthorized)
	if got := text(t, ask(h, "GET", "/session", nil, "Cookie", cookie)); !strings.Contains(got, `"right":"read"`) || !strings.Contains(got, `"tenant":"sales"`) {
		t.Errorf("the session says %s", got)
	}
	known = false
	is("a token that is gone", ask(h, "GET", "/v1/runs", nil, "Cookie", cookie), http.StatusUnauthorized)
	known = true
	now = now.Add(sessionTime/2 + time.Minute)
	r := ask(h, "GET", "/session", nil, "Cookie", cookie)
	if len(r.Cookies()) != 1 {
		t.Fatalf("a session in its second half is not begun anew")
	}
	now = now.Add(sessionTime / 2)
	is("a session that is over", ask(h, "GET", "/v1/runs", nil, "Cookie", cookie), http.StatusUnauthorized)
	is("one that was begun anew", ask(h, "GET", "/v1/runs", nil, "Cookie", r.Cookies()[0].Name+"="+r.Cookies()[0].Value), http.StatusOK)
	if out := ask(h, "POST", "/logout", nil); out.StatusCode != http.StatusSeeOther || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d, %v", out.StatusCode, out.Header)
	}
}

// TestLogin refuses what is no token, and never leads away from the router.
func TestLogin(t *testing.T) {
	t.Parallel()
	h := serve(t, locked())
	for _, token := range []string{"", "wrong", "secret2", strings.Repeat("x", 1000)} {
		r := ask(h, "POST", "/login", url.Values{"token": {token}, "next": {`"><script>alert(1)</script>`}})
		if page := text(t, r); r.StatusCode != http.StatusUnauthorized || len(r.Cookies()) != 0 || !strings.Contains(page, "No token is like that") || strings.Contains(page, "<script>") {
			t.Errorf("token %.10q: %d", token, r.StatusCode)
		}
	}
	if r := ask(h, "POST", "/login", url.Values{"token": {strings.Repeat("x", maxLogin)}}); r.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a long token: %d", r.StatusCode)
	}
	if r := ask(h, "POST", "/login", url.Values{"token": {"secret"}}, "Sec-Fetch-Site", "cross-site"); r.StatusCode != http.StatusForbidden || len(r.Cookies()) != 0 {
		t.Errorf("a page of another origin logs in: %d", r.StatusCode)
	}
	for next, want := range map[string]string{
		"/runs/abc?view=time": "/runs/abc?view=time", "": "/runs", "//evil.example/": "/runs", "https://evil.example/": "/runs", `/\evil.example`: "/runs", "javascript:alert(1)": "/runs", "/\n/evil": "/runs",
	} {
		if r := ask(h, "POST", "/login", url.Values{"token": {"secret"}, "next": {next}}); r.Header.Get("Location") != want {
			t.Errorf("after the login %q leads to %q", next, r.Header.Get("Location"))
		}
	}
	o := locked()
	o.Secure = true
	if c := ask(serve(t, o), "POST", "/login", url.Values{"token": {"secret"}}).Cookies()[0]; !c.Secure || !strings.HasPrefix(c.Name, "__Host-") || c.Path != "/" {
		t.Errorf("behind TLS the session's cookie is %v", c)
	}
}

// TestSizes holds each page to its budget: with all that it asks for before it shows anything it is small.
func TestSizes(t *testing.T) {
	t.Parallel()
	a, err := pack()
	if err != nil {
		t.Fatal(err)
	}
	const most = 46 << 10 // Of the 60 KB that a run of 100,000 branches may take.
	for p, modules := range pages {
		sum := len(a.byName["page.css"].zipped()) + len(a.byName["icon.svg"].zipped())
		for _, m := range append([]string{"main", "dom", "api", "ask"}, modules...) {
			x, known := a.byName[m+".js"]
			if !known {
				t.Errorf("%s: there is no module %s", p, m)
			}
			sum += len(x.zipped())
		}
		if sum > most {
			t.Errorf("%s: its files are %d bytes, packed; at most %d are its budget", p, sum, most)
		}
		t.Logf("%s: %d bytes", p, sum)
	}
}
