package command

import (
	"net"
	"time"
)

// expiring is how long before its end a certificate is to be renewed.
const expiring = 14 * 24 * time.Hour

// certificates looks at the listener's: do the files fit together, for how long, and for the name at which the other routers ask.
func (d *doctor) certificates() {
	t := listenerTLS(d.s)
	if t == nil {
		return
	}
	leaf, err := t.Leaf()
	if err != nil {
		d.fail("tls", "", "%v", err)
		return
	}
	left, ends := time.Until(leaf.NotAfter), when(leaf.NotAfter)
	switch {
	case left <= 0:
		d.fail("tls", "renew it", "the certificate in %s has ended, at %s", t.Cert, ends)
	case time.Until(leaf.NotBefore) > 0:
		d.fail("tls", "wait, or set this machine's clock", "the certificate in %s begins at %s only", t.Cert, when(leaf.NotBefore))
	case left < expiring:
		d.warn("tls", "renew it; the router takes the new one without a restart", "the certificate in %s ends at %s, in %s", t.Cert, ends, left.Round(time.Hour))
	default:
		d.ok("tls", "the certificate in %s is good until %s", t.Cert, ends)
	}
	if d.s.Journal != "kafka" || d.s.Advertise == "" {
		return
	}
	if host, _, err := net.SplitHostPort(d.s.Advertise); err == nil && leaf.VerifyHostname(host) != nil {
		d.fail("tls", "take a certificate that has this name, or advertise another", "the certificate in %s is not for %s (advertise): the other routers refuse it", t.Cert, host)
	}
}
