package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/onward-router/onward/config/certs"
)

// TLS are the files of a listener's certificates (PEM). They are read again when they have changed: a renewed certificate counts from the next connection
// on, and one that cannot be read leaves the former in force.
type TLS struct {
	Cert, Key string
	ClientCA  string // authorities of clients' certificates: with it, clients have to have one; empty: they need none
	CA        string // authorities of the other routers' certificates; empty: ClientCA, or else the system's
	// Optional lets clients in without a certificate, too: one that is shown has to be of ClientCA, and what asks for one looks itself.
	Optional bool

	once  sync.Once
	watch certs.Watch[*loaded]
}

// loaded is what the files hold.
type loaded struct {
	cert    tls.Certificate
	clients *x509.CertPool // nil: clients need no certificate
	routers *x509.CertPool // nil: the system's
	server  *tls.Config
}

// load reads the files.
func (t *TLS) load() (*loaded, error) {
	if t.Cert == "" || t.Key == "" {
		return nil, errors.New("tls.cert and tls.key go together; set both to PEM files")
	}
	out := new(loaded)
	var err error
	if out.cert, err = tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		return nil, fmt.Errorf("tls.cert %s, tls.key %s: %w; name a certificate and its key, both PEM", t.Cert, t.Key, err)
	}
	if out.clients, err = certs.Pool("tls.client-ca", t.ClientCA); err != nil {
		return nil, err
	}
	if out.routers, err = certs.Pool("tls.ca", t.CA); err != nil {
		return nil, err
	}
	if out.routers == nil {
		out.routers = out.clients
	}
	out.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{out.cert}, NextProtos: []string{"http/1.1"}}
	if out.clients != nil {
		out.server.ClientAuth, out.server.ClientCAs = tls.RequireAndVerifyClientCert, out.clients
		if t.Optional {
			out.server.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return out, nil
}

// current returns what is in force, after a look at the files where the last one was a while ago.
func (t *TLS) current(log *slog.Logger) (*loaded, error) {
	t.once.Do(func() {
		t.watch.What, t.watch.Files, t.watch.Load = "the listener's certificates", []string{t.Cert, t.Key, t.ClientCA, t.CA}, t.load
	})
	return t.watch.Current(log)
}

// server is the listener's configuration. Each handshake gets what is in force.
func (t *TLS) server(log *slog.Logger) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now, err := t.current(log)
		if err != nil {
			return nil, err
		}
		return now.server, nil
	}}
}

// Client is how this router speaks to another one that has such a listener: it shows its own certificate.
func (t *TLS) Client(log *slog.Logger) (*tls.Config, error) {
	now, err := t.current(log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: now.routers, Certificates: []tls.Certificate{now.cert}}, nil
}

// Self is how somebody on this machine asks the listener that has these files: it is known by its very certificate, whatever name stands in it.
func (t *TLS) Self() (*tls.Config, error) {
	now, err := t.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{now.cert}, InsecureSkipVerify: true, // VerifyConnection does it.
		VerifyConnection: func(c tls.ConnectionState) error {
			if !c.PeerCertificates[0].Equal(now.cert.Leaf) {
				return fmt.Errorf("it shows another certificate than that of %s", t.Cert)
			}
			return nil
		},
	}, nil
}

// Leaf returns the certificate that callers are shown, for who looks at it.
func (t *TLS) Leaf() (*x509.Certificate, error) {
	now, err := t.load()
	if err != nil {
		return nil, err
	}
	return now.cert.Leaf, nil
}
