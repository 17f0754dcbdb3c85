// Package egress says which addresses this router may connect to for its documents: those of functions, destinations, token endpoints, issuers, callbacks and brokers.
//
// It is asked about the address that a connection is really made to, after names were resolved: neither a redirect nor a DNS answer that changes gets round
// it, and neither does another spelling of an address. A proxy resolves names itself; of what goes through one only the name can be judged.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Policy says what may be reached. Nil is the default: everything but what is link-local, or gives out a cloud's credentials. Its methods may be called
// concurrently.
type Policy struct {
	all         bool // what is not denied may be reached
	allow, deny list
	proxy       func(*http.Request) (*url.URL, error) // nil: what the environment says
	proxies     sync.Map                              // host:port of those that were used
}

// A list is names and nets.
type list struct {
	names []string // in small letters; *.example.com is what ends in .example.com
	nets  []netip.Prefix
}

// guarded are addresses that no function has, unless somebody says so: from there machines get their credentials.
var guarded = []struct {
	net  netip.Prefix
	what string
}{
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds give out credentials"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a cloud's metadata service"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a cloud's metadata service"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata service"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a cloud's metadata service"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata service"},
}

// New makes a policy. Each entry is a name (api.example.com), names (*.example.com), an address or a net (10.0.0.0/8); "*" in allow, or an empty allow, is
// everything that is not denied. What is link-local or a metadata service has to be named in allow by its address, or by a net that is no wider than it.
func New(allow, deny []string) (*Policy, error) {
	p := &Policy{all: len(allow) == 0}
	for _, x := range allow {
		if x == "*" {
			p.all = true
		} else if err := p.allow.add(x); err != nil {
			return nil, fmt.Errorf("egress.allow: %w", err)
		}
	}
	for _, x := range deny {
		if err := p.deny.add(x); err != nil {
			return nil, fmt.Errorf("egress.deny: %w", err)
		}
	}
	return p, nil
}

func (l *list) add(x string) error {
	if net, err := netip.ParsePrefix(x); err == nil {
		l.nets = append(l.nets, net.Masked())
		return nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(x, "[]")); err == nil {
		ip = ip.Unmap().WithZone("")
		l.nets = append(l.nets, netip.PrefixFrom(ip, ip.BitLen()))
		return nil
	}
	name := hostOf(x)
	if bare := strings.TrimPrefix(name, "*."); bare == "" || strings.ContainsAny(bare, "*/:@ ") {
		return fmt.Errorf("%q is neither a name nor an address; write api.example.com, *.example.com, 10.1.2.3 or 10.0.0.0/8", x)
	}
	l.names = append(l.names, name)
	return nil
}

// hasName reports a name that is listed, or whose end is.
func (l *list) hasName(host string) bool {
	return slices.ContainsFunc(l.names, func(n string) bool {
		end, many := strings.CutPrefix(n, "*")
		return host == n || many && strings.HasSuffix(host, end) && len(host) > len(end)
	})
}

func (l *list) has(ip netip.Addr) bool {
	return slices.ContainsFunc(l.nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

func hostOf(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// A Refused is the error of a connection that is not made.
type Refused struct {
	Host    string // as it was asked for
	Address string // that it resolved to; empty where only the name was judged
	Why     string
	Cure    string
}

// Error says what was refused, why, and what to do.
func (r *Refused) Error() string {
	what := r.Host
	if r.Address != "" && r.Address != r.Host {
		what += " (" + r.Address + ")"
	}
	return fmt.Sprintf("%s is not connected to: it is %s; %s", what, r.Why, r.Cure)
}

// Address judges the address that a host has turned out to have.
func (p *Policy) Address(host string, ip netip.Addr) error {
	if p == nil {
		p = &Policy{all: true}
	}
	host, ip = hostOf(host), ip.Unmap().WithZone("")
	refused := func(why, cure string) error { return &Refused{Host: host, Address: ip.String(), Why: why, Cure: cure} }
	for _, a := range append(inside(ip), ip) {
		if p.deny.has(a) {
			return refused("in egress.deny", "take it out there, or give another url")
		}
		for _, g := range guarded {
			if g.net.Contains(a) && !slices.ContainsFunc(p.allow.nets, func(n netip.Prefix) bool { return n.Bits() >= g.net.Bits() && n.Contains(a) }) {
				return refused(g.what, fmt.Sprintf("give another url, or, if it is meant, name %s in egress.allow (beside \"*\" for all others)", a))
			}
		}
	}
	switch {
	case p.deny.hasName(host):
		return refused("in egress.deny", "take it out there, or give another url")
	case p.all, p.allow.hasName(host), p.allow.has(ip):
		return nil
	}
	return refused("not in egress.allow", "name it there, or give another url")
}

// The forms of IPv6 addresses that lead to an IPv4 address, and from which byte on they have it.
var forms = []struct {
	net  netip.Prefix
	at   int
	flip byte // what each byte is crossed with
}{
	{netip.MustParsePrefix("::/96"), 12, 0},           // the old form ::a.b.c.d
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, 0}, // SIIT (RFC 2765)
	{netip.MustParsePrefix("64:ff9b::/96"), 12, 0},    // NAT64 (RFC 6052)
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12, 0},  // NAT64 of one's own (RFC 8215), as it mostly is
	{netip.MustParsePrefix("2002::/16"), 2, 0},        // 6to4 (RFC 3056)
	{netip.MustParsePrefix("2001::/32"), 12, 0xff},    // Teredo (RFC 4380)
}

// inside are the IPv4 addresses that an address leads to, and what it is by another name: who connects to no address at all connects to this machine.
func inside(ip netip.Addr) (out []netip.Addr) {
	if ip.IsUnspecified() {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if !ip.Is6() || ip.IsLoopback() {
		return nil
	}
	b := ip.As16()
	for _, f := range forms {
		if f.net.Contains(ip) {
			out = append(out, netip.AddrFrom4([4]byte{b[f.at] ^ f.flip, b[f.at+1] ^ f.flip, b[f.at+2] ^ f.flip, b[f.at+3] ^ f.flip}))
		}
	}
	if b[10] == 0x5e && b[11] == 0xfe && b[9] == 0 { // ISATAP (RFC 5214)
		out = append(out, netip.AddrFrom4([4]byte(b[12:])))
	}
	return out
}

// metadata are the names by which clouds call the services that give out credentials.
var metadata = []string{"metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"}

// Host judges what goes through a proxy, which resolves the name. A number that is no address in the one form of addresses is one in another form, and letters that
// are not ASCII's may be any others once they are made ASCII's.
func (p *Policy) Host(host string) error {
	host = hostOf(host)
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return p.Address(host, ip)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return &Refused{Host: host, Why: "an address in a form that hides it", Cure: "write it as 10.1.2.3"}
	}
	if strings.ContainsFunc(host, func(c rune) bool { return c > 0x7e || c <= ' ' }) {
		return &Refused{Host: host, Why: "a name that is not in ASCII", Cure: "write it as DNS has it (xn--...)"}
	}
	if slices.Contains(metadata, host) && (p == nil || !slices.Contains(p.allow.names, host)) {
		return &Refused{Host: host, Why: "a cloud's metadata service", Cure: "give another url, or, if it is meant, name it in egress.allow"}
	}
	switch {
	case p == nil:
		return nil
	case p.deny.hasName(host):
		return &Refused{Host: host, Why: "in egress.deny", Cure: "take it out there, or give another url"}
	case p.all, p.allow.hasName(host):
		return nil
	}
	return &Refused{Host: host, Why: "not in egress.allow", Cure: "name it there, or give another url (behind a proxy, addresses do not count for a name)"}
}

// dialing bounds a connection's being made.
const dialing = 10 * time.Second

// Guard lets a transport connect where the policy says only, and returns it. A proxy that the environment names is whoever set that up: the policy judges what
// is behind it.
func (p *Policy) Guard(t *http.Transport) *http.Transport {
	if p == nil {
		p = &Policy{all: true}
	}
	t.DialContext = p.Dial
	proxy := p.proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if u == nil || err != nil {
			return u, err
		}
		if err := p.Host(r.URL.Hostname()); err != nil {
			return nil, err
		}
		p.proxies.Store(hostOf(u.Hostname()), nil)
		return u, nil
	}
	return t
}

// Dial connects to host:port, where the policy lets it.
func (p *Policy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialing, KeepAlive: 30 * time.Second}
	if _, is := p.proxies.Load(hostOf(host)); !is {
		d.ControlContext = p.Control(host)
	}
	return d.DialContext(ctx, network, address)
}

// Control is that of a dialer which connects to a host: it judges the addresses that it turns out to have.
func (p *Policy) Control(host string) func(ctx context.Context, network, address string, c syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s cannot be judged: %w", address, err)
		}
		return p.Address(host, to.Addr())
	}
}
