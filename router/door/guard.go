package door

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// Guard is for what nobody has to prove himself for: without it, any web page that somebody opens on this machine could use the router. The Host must be
// the listener's own, so that a foreign name that was made to point here (DNS rebinding) reaches nothing, and a page of another origin may not send.
func (d *Door) Guard(h http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.isOurs(r.Host) {
			d.refuse(w, http.StatusForbidden, refusedHost, "the host "+quote(r.Host)+" is not this router's", "ask for "+d.Addr()+", or name it in hosts, or set a token (auth.env, auth.file; auth of a webhook)")
			return
		}
		if err := origins.Check(r); err != nil {
			d.refuse(w, http.StatusForbidden, refusedOrigin, "a page of "+quote(r.Header.Get("Origin"))+" may not send here", "send it from a program, or set a token (auth.env, auth.file; auth of a webhook)")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// quote is for what an attacker may have written.
func quote(s string) string { return `"` + strings.ToValidUTF8(s[:min(len(s), 100)], "?") + `"` }

// namesOf are the names that a request may ask for.
func namesOf(listen string, hosts []string, loopback bool) map[string]bool {
	names := map[string]bool{"localhost": true}
	if own, err := os.Hostname(); err == nil && !loopback {
		names[hostOf(own)] = true
	}
	for _, h := range append([]string{listen}, hosts...) {
		names[hostOf(h)] = true
	}
	delete(names, "")
	return names
}

// hostOf is the name or address in host or host:port, as it is compared.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "."))
}

// isOurs reports whether a Host is the listener's. An address cannot be made to point elsewhere: off loopback every address will do.
func (d *Door) isOurs(host string) bool {
	name := hostOf(host)
	if d.names[name] {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (!d.loopback || ip.Unmap().IsLoopback())
}
