package door

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// guarded serves one request, as a browser or a program would send it, at the guard of a door.
func guarded(t *testing.T, d *Door, method, host string, head map[string]string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, "/v1/triggers/a", strings.NewReader(`{}`))
	r.Host = host
	for k, v := range head {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	d.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHosts(t *testing.T) {
	t.Parallel()
	loopback := open(t, Options{Hosts: []string{"router.internal:8080", "Onward.example."}}, echo)
	wide := open(t, Options{Listen: "0.0.0.0:0", Hosts: []string{"router-1:8080"}}, echo)
	for _, c := range []struct {
		door *Door
		host string
		want int
	}{
		{loopback, loopback.Addr(), 202}, {loopback, "127.0.0.1", 202}, {loopback, "127.0.0.1:80", 202}, {loopback, "localhost:8080", 202}, {loopback, "LOCALHOST", 202},
		{loopback, "localhost.:8080", 202}, {loopback, "[::1]:8080", 202}, {loopback, "[::1]", 202}, {loopback, "[::ffff:127.0.0.1]:1", 202},
		{loopback, "router.internal", 202}, {loopback, "onward.EXAMPLE:99", 202},
		{loopback, "evil.example", 403}, {loopback, "evil.example:8080", 403}, {loopback, "localhost.evil.example", 403}, {loopback, "127.0.0.1.evil.example", 403},
		{loopback, "evil.example#localhost", 403}, {loopback, "localhost@evil.example", 403}, {loopback, "", 403}, {loopback, ":8080", 403}, {loopback, "2130706433", 403},
		{loopback, "0.0.0.0:8080", 403}, {loopback, "192.0.2.7", 403}, {loopback, "[2001:db8::1]", 403}, {loopback, "[]", 403}, {loopback, "\xff\xfe", 403},
		{loopback, strings.Repeat("a", 5000), 403},
		{wide, "192.0.2.7:8080", 202}, {wide, "[2001:db8::1]", 202}, {wide, "localhost", 202}, {wide, "router-1", 202}, {wide, "evil.example:8080", 403}, {wide, "", 403},
	} {
		if code, said := guarded(t, c.door, "GET", c.host, nil); code != c.want || code == 403 && !strings.Contains(said, "cure") || len(said) > 500 {
			t.Errorf("%.60q: %d %s; want %d", c.host, code, said, c.want)
		}
	}
}

// TestPagesOfOthers sends what browsers send for forms and fetches of a page that is not ours, and what programs send.
func TestPagesOfOthers(t *testing.T) {
	t.Parallel()
	d := open(t, Options{}, echo)
	for _, c := range []struct {
		name, method string
		head         map[string]string
		want         int
	}{
		{"curl", "POST", nil, 202},
		{"our own page", "POST", map[string]string{"Origin": "http://" + d.Addr(), "Sec-Fetch-Site": "same-origin"}, 202},
		{"our own page, an old browser", "POST", map[string]string{"Origin": "http://" + d.Addr()}, 202},
		{"typed into the address bar", "GET", map[string]string{"Sec-Fetch-Site": "none"}, 202},
		{"a link", "GET", map[string]string{"Sec-Fetch-Site": "cross-site"}, 202}, // It reads only, and the page does not see it.
		{"fetch, text/plain", "POST", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403},
		{"fetch, text/plain, an old browser", "POST", map[string]string{"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403},
		{"a form", "POST", map[string]string{"Origin": "null", "Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"}, 403},
		{"a sandboxed frame, a file", "POST", map[string]string{"Origin": "null"}, 403},
		{"another port of this machine", "POST", map[string]string{"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"}, 403},
		{"another port, an old browser", "POST", map[string]string{"Origin": "http://127.0.0.1:3000"}, 403},
		{"a name that looks like ours", "POST", map[string]string{"Origin": "http://" + d.Addr() + ".evil.example"}, 403},
		{"sendBeacon", "POST", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Content-Type": "text/plain;charset=UTF-8"}, 403},
		{"put", "PUT", map[string]string{"Origin": "https://evil.example"}, 403},
		{"delete", "DELETE", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
	} {
		if code, said := guarded(t, d, c.method, d.Addr(), c.head); code != c.want {
			t.Errorf("%s: %d %s; want %d", c.name, code, said, c.want)
		}
	}
}
