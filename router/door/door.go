package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/onward-router/onward/config/conns"
	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a door is made of.
type Options struct {
	Listen string // host:port
	TLS    *TLS   // nil: plain HTTP
	// Hosts are the names under which the listener is known besides its address and localhost.
	Hosts   []string
	Limits  Limits
	Metrics prometheus.Registerer // may be nil
	Log     *slog.Logger          // may be nil
}

// A Door is an open listener. Serve may be called once.
type Door struct {
	o        Options
	limits   Limits
	metrics  *metrics
	listener net.Listener // the bare one
	conns    *conns.Listener
	server   *http.Server
	handler  http.Handler
	held     atomic.Int64 // bytes of bodies
	requests chan struct{}
	loopback bool
	names    map[string]bool
}

// Open opens the listener. Connections wait until Serve.
func Open(o Options) (*Door, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		if _, err := o.TLS.load(); err != nil {
			return nil, err
		}
	}
	loopback, err := IsLoopback(o.Listen)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	d := &Door{o: o, limits: o.Limits.withDefaults(), metrics: newMetrics(o.Metrics), listener: l, loopback: loopback}
	d.requests = make(chan struct{}, d.limits.Requests)
	d.conns = conns.Bound(l, conns.Options{
		Most: func() int { return d.limits.Connections }, Write: d.limits.Write, Open: func(by int) { d.metrics.connections.Add(float64(by)) },
		Full: func(idle bool) {
			d.metrics.refused.WithLabelValues(map[bool]string{true: refusedIdle, false: refusedConnections}[idle]).Inc()
		},
	})
	d.names = namesOf(o.Listen, o.Hosts, loopback)
	d.server = d.newServer()
	return d, nil
}

// IsLoopback reports whether an address is reached from this machine only.
func IsLoopback(listen string) (bool, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, fmt.Errorf("listen %q: %w; write 127.0.0.1:8080", listen, err)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}

// Addr is the listener's address.
func (d *Door) Addr() string { return d.listener.Addr().String() }

// Secure reports whether the listener speaks TLS.
func (d *Door) Secure() bool { return d.o.TLS != nil }

// Serve serves until Shutdown or Close, and returns nil then.
func (d *Door) Serve(h http.Handler) error {
	d.handler = h
	var l net.Listener = d.conns
	if d.o.TLS != nil {
		l = tls.NewListener(l, d.o.TLS.server(d.o.Log))
	}
	if err := d.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no more connections and lets the requests at work end, until ctx does; then it hangs up on them.
func (d *Door) Shutdown(ctx context.Context) {
	if d.server.Shutdown(ctx) != nil {
		_ = d.server.Close()
	}
}

// Close closes a door that was never served.
func (d *Door) Close() error { return d.listener.Close() }

// newServer speaks HTTP/1.1 only: the bounds here are made for it, and no caller of ours needs another.
func (d *Door) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: http.HandlerFunc(d.serve), Protocols: protocols, ReadHeaderTimeout: d.limits.Head, IdleTimeout: d.limits.Idle,
		MaxHeaderBytes: d.limits.HeadBytes, ConnContext: conns.With, ErrorLog: log.New(debugLog{d.o.Log}, "", 0),
	}
}

// debugLog takes what the server says of callers who send garbage: it is theirs to fix, and must not fill our log.
type debugLog struct{ log *slog.Logger }

func (l debugLog) Write(b []byte) (int, error) {
	l.log.Debug("listener", "said", string(b))
	return len(b), nil
}
