// Package client is what the sinks that ask over HTTP share: the client with its certificates and the settings of egress, calls that are not broken off, and what
// becomes of those without an answer.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/onward-router/onward/config/certs"
	"github.com/onward-router/onward/config/egress"
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

// A Value is a text, or a secret.
type Value struct {
	Text string `doc:"text,value" help:"the value"`
	Env  string `doc:"env" help:"name of the environment variable that holds it"`
	File string `doc:"file" help:"path of the file that holds it"`
}

// Read returns the present value.
func (v Value) Read() (string, error) {
	if v.Env != "" || v.File != "" {
		return plugin.Secret{Env: v.Env, File: v.File}.Read()
	}
	return v.Text, nil
}

// Clients give the client that is in force: another one when the files of its certificates have changed.
type Clients struct {
	function string
	fixed    *http.Client // without files
	watch    *certs.Watch[*http.Client]
	told     sync.Once // that the settings of egress refuse
}

// New makes the clients of a function; t may be nil. Connections are as many as the outbox has deliveries in flight. named: the far end's certificate must have
// t.ServerName where it is said; a token endpoint has a name of its own.
func New(function string, t *TLS, h sinks.Host, named bool) *Clients {
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
	if t == nil {
		return &Clients{function: function, fixed: make(nil)}
	}
	return &Clients{function: function, watch: &certs.Watch[*http.Client]{
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

// Get returns the client in force. The error wraps ErrUnready.
func (c *Clients) Get() (*http.Client, error) {
	if c.watch == nil {
		return c.fixed, nil
	}
	client, err := c.watch.Current(slog.Default())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnready, err)
	}
	return client, nil
}

// Look looks now whether the files have changed, and not a while later.
func (c *Clients) Look() {
	if c.watch != nil {
		c.watch.Look()
	}
}

// Close ends the connections. Of nil it does nothing.
func (c *Clients) Close() {
	if c == nil {
		return
	}
	if client, err := c.Get(); err == nil {
		client.CloseIdleConnections()
	}
}

// ErrUnready is wrapped with what keeps the router from sending: nothing has left it, and it may later.
var ErrUnready = errors.New("not sent")

// Unanswered is the result of a request that may not have arrived, or was not sent. host is who was asked.
func (c *Clients) Unanswered(host string, err error) sinks.Result {
	if ue := (*url.Error)(nil); errors.As(err, &ue) && !errors.Is(err, ErrUnready) {
		err = ue.Err
	}
	if refused := (*egress.Refused)(nil); errors.As(err, &refused) {
		c.told.Do(func() {
			slog.Error("a function is not connected to: the settings of egress do not let it", "function", c.function, "error", refused)
		})
		return sinks.Fail(&sinks.Error{Type: "egress_refused", Message: refused.Error(), Class: "platform"})
	}
	what := fmt.Sprintf("%s: %v", host, err)
	if errors.Is(err, ErrUnready) {
		return sinks.Again(0, &sinks.Error{Type: "unready", Message: what, Class: "platform"})
	}
	return sinks.Again(0, &sinks.Error{Type: "unreachable", Message: what, Class: "platform"})
}
