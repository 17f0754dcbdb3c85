package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func policy(t *testing.T, allow, deny string) *Policy {
	t.Helper()
	p, err := New(strings.Fields(allow), strings.Fields(deny))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow, deny, host, ip string
		why                   string // empty: it may be reached
	}{
		{"", "", "f.example.com", "127.0.0.1", ""},
		{"", "", "f.example.com", "10.1.2.3", ""},
		{"", "", "f.example.com", "::1", ""},
		{"", "", "f.example.com", "169.254.169.254", "link-local"},
		{"", "", "f.example.com", "169.254.170.2", "link-local"},
		{"", "", "f.example.com", "::ffff:169.254.169.254", "link-local"},
		{"", "", "f.example.com", "::169.254.169.254", "link-local"},
		{"", "", "f.example.com", "64:ff9b::a9fe:a9fe", "link-local"},
		{"", "", "f.example.com", "2002:a9fe:a9fe::1", "link-local"},
		{"", "", "f.example.com", "fe80::1%eth0", "link-local"},
		{"", "", "f.example.com", "64:ff9b:1::a9fe:a9fe", "link-local"},
		{"", "", "f.example.com", "::ffff:0:169.254.169.254", "link-local"},
		{"", "", "f.example.com", "2001:0:4136:e378:8000:63bf:5601:5601", "link-local"},
		{"", "", "f.example.com", "2001:db8::5efe:169.254.169.254", "link-local"},
		{"", "", "f.example.com", "2001:db8::200:5efe:10.0.0.1", ""},
		{"", "127.0.0.0/8", "f.example.com", "0.0.0.0", "egress.deny"},
		{"", "127.0.0.0/8", "f.example.com", "::", "egress.deny"},
		{"", "::1", "f.example.com", "0.0.0.0", "egress.deny"},
		{"", "", "f.example.com", "0.0.0.0", ""},
		{"", "0.0.0.1", "f.example.com", "::1", ""},
		{"", "", "f.example.com", "fd00:ec2::23", "metadata"},
		{"", "", "f.example.com", "fd00:ec2::254", "metadata"},
		{"", "", "f.example.com", "100.100.100.200", "metadata"},
		{"* 169.254.169.254", "", "f.example.com", "169.254.169.254", ""},
		{"* 169.254.169.254", "", "f.example.com", "169.254.170.2", "link-local"},
		{"* 169.254.0.0/16", "", "f.example.com", "::ffff:169.254.170.2", ""},
		{"0.0.0.0/0 ::/0", "", "f.example.com", "169.254.169.254", "link-local"}, // Whoever writes that means the world, not this.
		{"f.example.com", "", "f.example.com", "169.254.169.254", "link-local"},  // A name that is allowed and answers something else.
		{"f.example.com", "", "F.Example.com.", "10.1.2.3", ""},
		{"f.example.com", "", "g.example.com", "10.1.2.3", "not in egress.allow"},
		{"*.example.com", "", "a.b.example.com", "10.1.2.3", ""},
		{"*.example.com", "", "example.com", "10.1.2.3", "not in egress.allow"},
		{"*.example.com", "", "evilexample.com", "10.1.2.3", "not in egress.allow"},
		{"10.0.0.0/8", "", "anything.example.com", "10.1.2.3", ""},
		{"10.0.0.0/8", "", "anything.example.com", "11.1.2.3", "not in egress.allow"},
		{"10.0.0.0/8", "10.9.0.0/16", "anything.example.com", "10.9.2.3", "egress.deny"},
		{"", "127.0.0.0/8 ::1", "localhost", "127.0.0.1", "egress.deny"},
		{"", "127.0.0.0/8 ::1", "localhost", "::ffff:127.0.0.1", "egress.deny"},
		{"", "127.0.0.0/8 ::1", "localhost", "::1", "egress.deny"},
		{"", "*.internal", "db.internal", "10.1.2.3", "egress.deny"},
		{"* 169.254.169.254", "169.254.169.254", "x", "169.254.169.254", "egress.deny"},
	} {
		err := policy(t, c.allow, c.deny).Address(c.host, netip.MustParseAddr(c.ip))
		if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "; ")) {
			t.Errorf("allow %q deny %q: %s at %s: %v; want %q", c.allow, c.deny, c.host, c.ip, err, c.why)
		}
	}
	if err := (*Policy)(nil).Address("x", netip.MustParseAddr("169.254.169.254")); err == nil {
		t.Error("without settings everything may be reached")
	}
}

func TestHostsBehindAProxy(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"f.example.com": true, "169.254.169.254": false, "2852039166": false, "0xa9fea9fe": false, "0251.0376.0251.0376": false, "169.254.43518": false, "0xa9.254.0xa9.0xfe": false,
		"[::ffff:169.254.169.254]": false, "::ffff:a9fe:a9fe": false, "10.1.2.3": true, "denied.example.com": false,
		"\uff11\uff16\uff19.254.169.254": false, "metadata.google.internal": false, "Metadata.Google.Internal.": false, "\u24d4xample.com": false, "xn--e1afmkfd.example": true, "a b": false, "": false, "169.254.169.254..": false,
	} {
		if err := policy(t, "", "denied.example.com").Host(host); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := policy(t, "f.example.com", "").Host("g.example.com"); err == nil {
		t.Error("a name that is not allowed may be reached by a proxy")
	}
	if err := (*Policy)(nil).Host("2852039166"); err == nil {
		t.Error("a number is a name")
	}
}

func TestEntriesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, x := range []string{"", "http://x", "a*b", "10.0.0.0/40", "*.", "x:80"} {
		if _, err := New([]string{x}, nil); err == nil || !strings.Contains(err.Error(), "egress.allow: ") || !strings.Contains(err.Error(), "; write ") {
			t.Errorf("%q: %v", x, err)
		}
		if _, err := New(nil, []string{x}); err == nil || !strings.Contains(err.Error(), "egress.deny: ") {
			t.Errorf("%q: %v", x, err)
		}
	}
}

// TestConnections are made where the policy says, whatever the name, and what a redirect leads to is judged like everything else.
func TestConnections(t *testing.T) {
	t.Parallel()
	var there string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, there, http.StatusFound)
		}
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	there = "http://localhost:" + port + "/"
	get := func(p *Policy, address string) error {
		t := p.Guard(&http.Transport{DisableKeepAlives: true})
		resp, err := (&http.Client{Transport: t}).Get(address)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	isRefused := func(err error) bool { return errors.As(err, new(*Refused)) }
	if err := get(nil, s.URL); err != nil {
		t.Error(err)
	}
	if err := get(policy(t, "127.0.0.1", "localhost"), s.URL+"/away"); !isRefused(err) {
		t.Error("a redirect leads where nothing may go:", err)
	}
	if err := get(policy(t, "", "127.0.0.0/8 ::1"), there); !isRefused(err) {
		t.Error("a name gets round a net that is denied:", err)
	}
	// Where the system takes such numbers for addresses, they are judged as what they are; elsewhere they are names that nobody has.
	for _, host := range []string{"2130706433", "0177.0.0.1", "0x7f.1", "127.1"} {
		if err := get(policy(t, "", "127.0.0.0/8 ::1"), "http://"+host+":"+port); err == nil {
			t.Errorf("http://%s gets round a net that is denied", host)
		}
	}
	if err := get(policy(t, "", "127.0.0.0/8"), "http://[::ffff:127.0.0.1]:"+port); !isRefused(err) {
		t.Error(err)
	}
	// What the metadata service would answer nobody hears: the connection is not begun.
	if err := get(nil, "http://169.254.169.254/latest/meta-data/"); !isRefused(err) {
		t.Error(err)
	}
}

// TestThroughAProxy: the proxy itself is connected to, and what it is asked for is judged by its name.
func TestThroughAProxy(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 4)
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Host }))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := policy(t, "f.example.com", "127.0.0.0/8")
	p.proxy = http.ProxyURL(u)
	c := &http.Client{Transport: p.Guard(&http.Transport{DisableKeepAlives: true})}
	resp, err := c.Get("http://f.example.com/x")
	if err != nil || <-asked != "f.example.com" {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, host := range []string{"g.example.com", "169.254.169.254", "2852039166"} {
		if _, err := c.Get("http://" + host); !errors.As(err, new(*Refused)) {
			t.Errorf("%s by a proxy: %v", host, err)
		}
	}
	if len(asked) > 0 {
		t.Error("the proxy was asked for", <-asked)
	}
}

func TestDialGarbage(t *testing.T) {
	t.Parallel()
	if _, err := policy(t, "", "").Dial(context.Background(), "tcp", "no port"); err == nil {
		t.Error("it was dialled")
	}
}
