package http

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/onward-router/onward/config/certs"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// TLS are the files by which a sink trusts, and is trusted. They are read again when they have changed.
type TLS struct {
	CA         string `doc:"ca" help:"file of the certificate authorities to trust (PEM); default: the system's"`
	Cert       string `doc:"cert" help:"file of the router's own certificate (PEM)"`
	Key        string `doc:"key" help:"file of the certificate's key (PEM)"`
	ServerName string `doc:"serverName" help:"the name that the far end's certificate must have; default: the one in url"`
}

// Check reports half a pair.
func (t *TLS) Check() []plugin.Problem {
	if (t.Cert == "") != (t.Key == "") {
		return []plugin.Problem{{What: "cert and key go together", Cure: "write both, or neither"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*TLS) Schema() plugin.Schema {
	return plugin.Schema{"dependentRequired": plugin.Schema{"cert": []any{"key"}, "key": []any{"cert"}}}
}

// clients give the client that is in force: another one when the files of its certificates have changed.
type clients struct {
	fixed *http.Client // without files
	watch *certs.Watch[*http.Client]
}

// newClients makes clients of the sink's settings. named: the far end's certificate must have tls.serverName where it is said; a token endpoint has a name of
// its own.
func newClients(s *Settings, h sinks.Host, named bool) *clients {
	n := max(h.Concurrency, 1)
	make := func(config *tls.Config) *http.Client {
		return &http.Client{
			Transport: h.Egress.Guard(&http.Transport{
				MaxIdleConns: n, MaxIdleConnsPerHost: n, MaxConnsPerHost: n, IdleConnTimeout: 90 * time.Second, TLSClientConfig: config,
				TLSHandshakeTimeout: 10 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 256 << 10, WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
			}),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if s.TLS == nil {
		return &clients{fixed: make(nil)}
	}
	t := *s.TLS
	return &clients{watch: &certs.Watch[*http.Client]{
		What: "a function's certificates", Files: []string{t.CA, t.Cert, t.Key}, Gone: (*http.Client).CloseIdleConnections,
		Load: func() (*http.Client, error) {
			config := &tls.Config{MinVersion: tls.VersionTLS12}
			var err error
			if config.RootCAs, err = certs.Pool("tls.ca", t.CA); err != nil {
				return nil, err
			}
			if named {
				config.ServerName = t.ServerName
			}
			if t.Cert != "" {
				pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
				if err != nil {
					return nil, fmt.Errorf("tls.cert %s, tls.key %s: %w; name a certificate and its key, both PEM", t.Cert, t.Key, err)
				}
				config.Certificates = []tls.Certificate{pair}
			}
			return make(config), nil
		},
	}}
}

func (c *clients) get() (*http.Client, error) {
	if c.watch == nil {
		return c.fixed, nil
	}
	return c.watch.Current(slog.Default())
}

func (c *clients) close() {
	if c == nil {
		return
	}
	if client, err := c.get(); err == nil {
		client.CloseIdleConnections()
	}
}

// errUnready is wrapped with what keeps the router from sending: nothing has left it, and it may later.
var errUnready = errors.New("not sent")
