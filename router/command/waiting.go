package command

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// openServed opens the journal of a router that is to serve. Brokers may be away for long: meanwhile the listener says that it runs, and why it is not ready.
func (p *program) openServed(ctx context.Context, s config.Settings, log *slog.Logger, metrics prometheus.Registerer) (journal.Journal, func() error, error) {
	if s.Journal != "kafka" {
		return openJournal(ctx, s, p.now, log, metrics, func(journal.Troubled) {})
	}
	said := make(chan journal.Troubled, 1)
	stop := wait(s, func() string {
		select {
		case t := <-said:
			said <- t
			if err := t.Trouble(); err != nil {
				return "the journal is being opened: " + err.Error()
			}
		default:
		}
		return "the journal is being opened"
	})
	defer stop()
	return openJournal(ctx, s, p.now, log, metrics, func(t journal.Troubled) { said <- t })
}

// wait answers health checks at the listener's address until it is stopped; that the address is taken, the router says that comes after it.
func wait(s config.Settings, why func() string) (stop func()) {
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return func() {}
	}
	if s.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key)
		if err != nil { // The router says so, too.
			_ = l.Close()
			return func() {}
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	}
	reply := func(w http.ResponseWriter, code int, said any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(said) // Who asked has gone.
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		reply(w, http.StatusServiceUnavailable, triggers.Refuse(http.StatusServiceUnavailable, "not ready: "+why(), ""))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	return func() {
		_ = server.Close()
		<-done
	}
}
