package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/quiet"
	"github.com/onward-router/onward/router"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (p *program) serve() *cobra.Command {
	var from, clock string
	c := &cobra.Command{
		Use: "serve FILE|DIR...", Short: "Route events by the documents, until SIGTERM.", Args: cobra.MinimumNArgs(1),
		Long: "Serve takes events in by the documents' sources and routes them, until SIGTERM or an interrupt: then it takes nothing more in, lets what is under way\n" +
			"end, saves its state and exits with 0; a second one ends it at once, and loses nothing either. Nothing is started when a document is wrong.\n\n" +
			"Documents that change are read again, and at SIGHUP: they come into force whole, or not at all when one is wrong, which is logged once. Runs keep what they\n" +
			"began with; what is queued goes by the functions' new settings; sources that have changed begin anew, and the others do not notice. The file of tokens\n" +
			"(auth.tokens) is read again too, by itself. --watch says how often the router looks for changes; onward diff says what a reload would change.\n\n" +
			"On the listener: webhooks' paths, the API under /v1/, /metrics, /healthz (it runs) and /readyz (it takes events).\n\n" + precedence,
		Example: "  onward serve deploy/examples/01-word-count\n  onward serve documents --data /var/lib/onward --listen 0.0.0.0:8080 --auth-env ONWARD_TOKEN",
		RunE: func(c *cobra.Command, args []string) error {
			s, _, err := config.LoadSettings(c.Flags(), from)
			if err != nil {
				return err
			}
			p.inherit(s.Kafka)
			was := look(args)
			set, err := p.load(args)
			if err != nil {
				return err
			}
			if clock != "" {
				if p.now, err = wrongClock(c.Context(), clock); err != nil {
					return err
				}
			}
			return p.serveSet(c.Context(), s, set, args, was)
		},
	}
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	c.Flags().StringVar(&clock, "clock", "", "for soak: a file that says how far the clock is off")
	_ = c.Flags().MarkHidden("clock") // It is there.
	config.BindFlags(c.Flags())
	return c
}

// inPlaceOf says what to choose in place of a folder or an address that cannot be had.
func inPlaceOf(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; stop what listens there, or choose another address by --listen", err)
	case errors.As(err, new(*net.OpError)):
		return fmt.Errorf("%w; choose another address by --listen: one of this machine's, with a port to 65535 that this user may have", err)
	case errors.As(err, new(*fs.PathError)):
		return fmt.Errorf("%w; choose another folder by --data, or let this user write there", err)
	}
	return err
}

// serveSet routes by a set of documents, which were read of files that looked so, until ctx ends.
func (p *program) serveSet(ctx context.Context, s config.Settings, set *config.Set, documents []string, was glance) error {
	log := logger(s, p.errs)
	slog.SetDefault(log) // Sources have no log of their own.
	go spareMemory(ctx)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if t := s.Token(); !t.IsZero() { // Before anything is opened, and before somebody waits for brokers.
		if _, err := t.Read(); err != nil {
			return fmt.Errorf("the API's token: %w; set it, or name another by auth.env or auth.file", err)
		}
	}
	var tokens *access.Tokens
	if s.AuthTokens != "" {
		var err error
		if tokens, err = access.Open(s.AuthTokens); err != nil {
			return err
		}
	}
	to, err := egress.New(s.Egress.Allow, s.Egress.Deny)
	if err != nil {
		return err
	}
	j, closeJournal, err := p.openServed(ctx, s, log, metrics)
	if err != nil && ctx.Err() != nil {
		log.Info("stopped before the journal was open", "error", err)
		return nil
	}
	if err != nil {
		return inPlaceOf(err)
	}
	defer func() { _ = closeJournal() }() // What was acknowledged is durable already.
	r, err := router.Open(router.Options{
		Set: set, Registry: p.registry, Journal: j, Log: log, Metrics: metrics, Listen: s.Listen, Token: s.Token(), Tokens: tokens, Insecure: s.Insecure, Drain: s.Drain,
		TLS: listenerTLS(s), Advertise: s.Advertise, Hosts: append(s.Hosts, s.Advertise), Limits: router.Limits{Connections: s.MaxConns, Requests: s.MaxAsked}, Secrets: s.Secrets(), Egress: to,
		MaxRuns: s.MaxRuns, MaxSteps: s.MaxSteps, MaxBytes: s.MaxBytes, SnapshotEvery: s.Snapshot, Stuck: s.Stuck, Dir: s.Data, Now: p.now, History: router.HistoryLimits{Runs: s.History, Bytes: s.HistoryMax, Age: s.HistoryAge, Value: s.HistoryVal},
		Dead: router.DeadLimits{Bytes: s.DeadMax, Age: s.DeadAge}, Traces: tracesOf(s),
	})
	if err != nil {
		return inPlaceOf(err)
	}
	if s.Journal != "kafka" {
		defer announce(s.Data, reachable(s, r.Addr()))()
	}
	log.Info("onward is routing", "address", scheme(s)+r.Addr(), "triggers", len(set.Triggers), "functions", len(set.FunctionNames()), "data", s.Data)
	begin := time.Now()
	go func() {
		select {
		case <-r.Ready():
			log.Info("ready", "after", time.Since(begin).Round(time.Millisecond))
			notify(log, "READY=1")
		case <-ctx.Done():
		}
		<-ctx.Done()
		notify(log, "STOPPING=1")
	}()
	reloading, stop := context.WithCancel(ctx)
	defer stop()
	go p.reloads(reloading, r, s, documents, was, log)
	if err := r.Run(ctx); err != nil {
		return exitError{exitRun, err}
	}
	quiet.Flush(log)
	log.Info("stopped")
	return nil
}

func tracesOf(s config.Settings) router.TraceOptions {
	t := s.Traces
	return router.TraceOptions{
		Endpoint: t.Endpoint, Headers: t.Headers, Timeout: t.Timeout, Gzip: t.Compression == "gzip", CA: t.CA, Cert: t.Cert, Key: t.Key,
		Sample: t.Sample, Spans: t.Spans, Queue: t.Queue, Environment: os.Environ(),
	}
}

// tracesHere is where the environment says that traces go: a run by itself has no other settings.
func tracesHere() (o router.TraceOptions, err error) {
	if !slices.ContainsFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ONWARD_TRACES_") || strings.HasPrefix(v, "OTEL_") }) {
		return o, nil
	}
	s, _, err := config.LoadSettings(pflag.NewFlagSet("run", pflag.ContinueOnError), "")
	return tracesOf(s), err
}

// listenerTLS is nil where the listener speaks plain HTTP.
func listenerTLS(s config.Settings) *router.TLS {
	if s.TLS.Cert == "" {
		return nil
	}
	return &router.TLS{Cert: s.TLS.Cert, Key: s.TLS.Key, ClientCA: s.TLS.ClientCA, CA: s.TLS.CA, Optional: s.TLS.ClientAuth == "optional"}
}

func scheme(s config.Settings) string {
	if s.TLS.Cert == "" {
		return "http://"
	}
	return "https://"
}
