package router

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/quiet"
	"github.com/onward-router/onward/router/admission"
	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/cluster"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/door"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/outbox"
	"github.com/onward-router/onward/router/shard"
	"github.com/onward-router/onward/router/traces"
	"github.com/onward-router/onward/router/web"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a router is made of.
type Options struct {
	Set      *config.Set
	Registry *plugin.Registry
	Journal  journal.Journal // the caller's: Close leaves it open
	Metrics  *prometheus.Registry
	Log      *slog.Logger
	// Listen is the address of the HTTP API and of sources that are paths on it; empty is none.
	Listen string
	// Token guards the API where it is set: whoever has it may do all. Tokens, which may be nil, are others, with rights and tenants. Insecure lets a listener
	// leave loopback without any.
	Token    plugin.Secret
	Tokens   *access.Tokens
	Insecure bool
	// Advertise is the address at which the other routers that share the journal ask this one; empty: that of Listen.
	Advertise string
	// TLS encrypts the listener; nil is plain HTTP. Hosts are names under which callers reach it besides its address and localhost: without a token no
	// other is served. Limits bound what callers may take up.
	TLS    *door.TLS
	Hosts  []string
	Limits door.Limits
	// Secrets are environment variables that hold secrets of the process, besides those that the documents name: no function gets them.
	Secrets []string
	// Egress says where functions and destinations may be; nil is the default.
	Egress *egress.Policy
	// MaxRuns, MaxSteps (open in the runs), MaxBytes (kept by them) and MaxAdmitting (events at a time) refuse starts beyond them. Defaults 1,000,000,
	// 2,000,000, 2 GiB and 100,000.
	MaxRuns, MaxSteps, MaxBytes, MaxAdmitting int
	// SnapshotEvery is the number of records between snapshots of a partition. Default 200,000.
	SnapshotEvery int
	// Drain is how long Run, when it is to end, lets invocations under way end; negative: not at all. Default 10 s.
	Drain time.Duration
	// Hop, which may be nil, is told for every answer how long it took from its arrival until it was durable and folded. It must not block.
	Hop func(time.Duration)
	// Dir is the folder for what is kept beside the journal: the history of ended runs, and the marks by which a record that ends the process twice is
	// passed over. Empty keeps neither beyond this process, and of the history the latest 10,000.
	Dir string
	// History bounds the history in the folder.
	History HistoryLimits
	// Dead bounds the dead letters that are kept beside it.
	Dead DeadLimits
	// Traces says where traces of runs go. Its log, metrics and version are the router's.
	Traces TraceOptions
	// Stuck is how long the fold of one record may take before the router gives up: Run returns an error, and the process is to be started again.
	// Default one minute.
	Stuck time.Duration
	// Now is the clock on the wall by which timers are due, Elapsed one that nobody sets, by which time goes on while Now is behind the log's. Defaults: the
	// machine's.
	Now     func() time.Time
	Elapsed func() time.Duration
}

// A Router is running from Open to Close.
type Router struct {
	o       Options
	layout  journal.Layout
	gate    *admission.Gate
	shards  *shard.Set
	outbox  *outbox.Outbox
	endings *history.Endings
	traces  *traces.Traces // nil without
	inlets  inlets
	reloads *prometheus.CounterVec
	cluster *cluster.Cluster
	control *control.Controls
	api     *api.API
	door    *door.Door // nil without a listener
	handler http.Handler
	routes  atomic.Pointer[http.Handler] // of the API and the sources
	ran     atomic.Bool
	began   time.Time
	disk    *disk      // nil without a folder
	backing sync.Mutex // of the backup that is being made
	// reloading is of the reload that is being made, and loaded how many there were.
	reloading sync.Mutex
	loaded    int
	memories  sync.Map // of sources by name, where there is no folder
	secrets   sync.Map // names of variables that hold secrets, by any document that was ever in force
}

// recordRoom is what a record has around a value: ids, texts of errors.
const recordRoom = 64 << 10

// Open makes a router and opens its listener; nothing is taken in and nothing sent before Run.
func Open(o Options) (*Router, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = quiet.Of(o.Log)
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&o.MaxRuns, 1_000_000}, {&o.MaxSteps, 2_000_000}, {&o.MaxBytes, 2 << 30}, {&o.MaxAdmitting, 100_000}, {&o.SnapshotEvery, 200_000}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if !o.Token.IsZero() {
		if _, err := o.Token.Read(); err != nil {
			return nil, fmt.Errorf("the API's token: %w; set it, or name another by auth.env or auth.file", err)
		}
	}
	o.Stuck, o.Drain = cmp.Or(o.Stuck, time.Minute), cmp.Or(o.Drain, 10*time.Second)
	r := &Router{o: o, layout: o.Journal.Layout(), began: time.Now().UTC()}
	maxValue, maxRecord, timed := admission.MaxValueBytes, 0, timed(o.Journal, o.Metrics)
	if j, ok := o.Journal.(journal.Sized); ok {
		maxRecord = j.MaxPayload()
		maxValue = min(maxValue, maxRecord-recordRoom)
	}
	if err := o.Metrics.Register(guard.Panics); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		return nil, err
	}
	if o.Dir != "" {
		r.disk = &disk{dir: o.Dir}
	}
	var err error
	if r.reloads, err = registerOwn(o.Metrics, r.disk); err != nil {
		return nil, err
	}
	o.Traces.Log, o.Traces.Metrics = o.Log, o.Metrics
	o.Traces.Version = Build().Version
	if r.traces, err = traces.New(o.Traces); err != nil {
		return nil, err
	}
	r.gate = admission.New(admission.Options{
		Journal: timed, Layout: r.layout, Runs: runs{r}, Max: admission.Load{Runs: o.MaxRuns, Children: o.MaxSteps, Bytes: o.MaxBytes}, MaxAdmitting: o.MaxAdmitting, MaxValue: maxValue, MaxRecord: maxRecord, Dead: r.died, Note: r.note, Trace: r.traces.Of(), Log: o.Log, Metrics: o.Metrics,
	}, o.Set)
	r.outbox = outbox.New(outbox.Options{Intake: r.gate, Host: r.host(), Halt: r.halt, MaxValue: maxValue, Log: o.Log, Metrics: o.Metrics})
	if err := r.load(o.Set); err != nil {
		return nil, err
	}
	if r.inlets.now, err = r.makeInlets(o.Set, nil); err != nil {
		return nil, err
	}
	if err := r.measure(r.inlets.now); err != nil {
		return nil, err
	}
	if err := r.openFolder(timed); err != nil {
		return nil, err
	}
	if err := r.listen(); err != nil {
		return nil, errors.Join(err, r.closeFolder())
	}
	return r, nil
}

// openFolder opens what is kept beside the journal, with the shards that keep it.
func (r *Router) openFolder(timed journal.Journal) (err error) {
	o := r.o
	if r.endings, err = history.Keep(history.Options{Dir: o.Dir, Limits: o.History, Dead: o.Dead, Log: o.Log, Metrics: o.Metrics}); err != nil {
		return err
	}
	so := shard.Options{
		Journal: timed, Layout: r.layout, Registry: o.Registry, Ends: r.endings, Definition: r.gate.Definition,
		Outbox: func(s *shard.Shard) shard.Outbox { return r.outbox.For(s) }, SnapshotEvery: o.SnapshotEvery, Stuck: o.Stuck, Hop: o.Hop, Dir: o.Dir, Now: o.Now, Elapsed: o.Elapsed,
		Log: o.Log, Metrics: o.Metrics,
	}
	if r.traces != nil {
		so.Spans = func() shard.Spans { return r.traces.Tenure() }
	}
	shared, _ := o.Journal.(journal.Shared)
	if shared != nil {
		so.Shared = shared
	}
	if r.shards, err = shard.New(so); err != nil {
		return errors.Join(err, r.endings.Close())
	}
	if err := r.openControls(); err != nil {
		return errors.Join(err, r.closeFolder())
	}
	r.cluster = cluster.New(cluster.Options{Journal: shared, Layout: r.layout, Shards: r.shards, Addresses: r.addresses, TLS: r.peerTLS()})
	r.api = api.New(api.Options{
		Intake: r.gate, Registry: r.o.Registry, Shards: r.shards, Endings: r.endings, Past: r.endings, Cluster: r.cluster, Outbox: r.outbox, Letters: r.endings.Letters(), Controls: r.control, Test: r.gate.Test, Redrive: r.redrive, Beat: r.beat,
		Sources: r.inlets.sources, Seal: r.gate.Seal, Child: r.gate.Child, Set: r.gate.Set, Functions: r.outbox.Functions, Load: r.ownLoad, Gathers: r.shards.Gathers, Fetch: r.fetch, Parked: r.shards.Parked,
		Self: r.self, Ready: r.unready, Starts: r.startless, Log: o.Log, Metrics: o.Metrics, Token: o.Token, Tokens: o.Tokens, Backup: r.Backup, Build: Build(), MaxBody: admission.MaxEventBytes,
	})
	return nil
}

// note keeps what became of an event that was to start something.
func (r *Router) note(e *event.Event, source string, got *triggers.Receipt) {
	past := engine.PastEvent{ID: e.ID(), Source: envelope.SourceOf(e), Type: e.Type(), Came: time.Now().UTC(), By: source, Taken: "refused", Note: got.Note}
	if got.Err != nil {
		past.Note = got.Err.Error()
	} else {
		past.Taken = got.Kind.String()
	}
	for i, run := range got.Runs {
		if run.Key != "" && past.Note == "" {
			past.Note = "trigger " + run.Trigger + ": its key is " + strconv.Quote(run.Key) + "; its run is this one if it has opened a round, else that which gathers for the key"
			if keys := keysOf(got.Runs[i:], run.Trigger); len(keys) > 1 {
				past.Note = fmt.Sprintf("trigger %s: its keys are %q; its runs are these, as far as it has opened rounds, else those which gather for the keys", run.Trigger, keys)
			}
		}
		past.Runs = append(past.Runs, engine.PastRun{Run: run.ID, Trigger: run.Trigger})
	}
	r.endings.Note(&past)
}

// keysOf are the keys under which an event met others of a trigger.
func keysOf(runs []triggers.Run, trigger string) (keys []string) {
	for _, run := range runs {
		if run.Trigger == trigger && run.Key != "" {
			keys = append(keys, run.Key)
		}
	}
	return keys
}

// openControls reads what is paused, before anything is sent.
func (r *Router) openControls() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), controlsPatience)
	defer cancel()
	place, _ := r.o.Journal.(control.Place)
	r.control, err = control.Open(ctx, r.o.Dir, place, r.outbox.Govern, r.o.Log)
	return err
}

// controlsPatience is how long Open waits for what is paused, where the brokers have it.
const controlsPatience = 30 * time.Second

// halt pauses a function whose far end wants nothing any more.
func (r *Router) halt(function, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), controlsPatience)
	defer cancel()
	if _, err := r.control.Set(ctx, control.Function, function, func(c *control.Control) {
		if !c.Paused {
			c.Paused, c.Since, c.By, c.Reason = true, time.Now().UTC().Round(0), "the router", why
		}
	}); err != nil {
		r.o.Log.Error("a function that is gone could not be paused, and is asked again; pause it: onward functions pause NAME", "function", function, "error", err)
	}
}

// addresses are those at which the other routers may ask this one.
func (r *Router) addresses() []string { return []string{r.o.Advertise, r.o.Listen, r.Addr()} }

// peerTLS is how the other routers are spoken to: as this one is.
func (r *Router) peerTLS() func() (*tls.Config, error) {
	if r.o.TLS == nil {
		return nil
	}
	return func() (*tls.Config, error) { return r.o.TLS.Client(r.o.Log) }
}

// unready says why what comes is not taken in and folded; nil when it is.
func (r *Router) unready() error {
	if r.gate.Draining() {
		return errors.New("the router is shutting down")
	}
	if t, ok := r.o.Journal.(journal.Troubled); ok {
		if err := t.Trouble(); err != nil {
			return err
		}
	}
	select {
	case <-r.Ready():
		return nil
	default:
		return errors.New("partitions are being claimed")
	}
}

// startless says why what would start something is refused, while all else is taken in; nil when it is not.
func (r *Router) startless() error {
	if f, ok := r.o.Journal.(journal.Filling); ok {
		if err := f.Full(); err != nil {
			return err
		}
	}
	return r.gate.Full()
}

func (r *Router) closeFolder() error { return errors.Join(r.shards.Close(), r.endings.Close()) }

// host is what sinks are offered.
func (r *Router) host() sinks.Host {
	return sinks.Host{
		Start: func(ctx context.Context, trigger string, e *event.Event) error {
			_, err := r.gate.StartInside(ctx, trigger, e)
			if errors.Is(err, triggers.ErrInvalid) {
				return &sinks.Error{Type: "bad_event", Message: err.Error(), Class: "function"} // It never will be taken.
			}
			return err
		},
		Secret: func(name string) bool {
			_, is := r.secrets.Load(name)
			return is
		},
		Egress: r.o.Egress,
		Log:    func(ctx context.Context, msg string, args ...any) { r.o.Log.InfoContext(ctx, msg, args...) },
	}
}

// listen opens the listener, on loopback unless callers have to prove who they are.
func (r *Router) listen() error {
	if r.o.Listen == "" {
		return nil
	}
	loopback, err := door.IsLoopback(r.o.Listen)
	if err != nil {
		return err
	}
	if proven := r.o.TLS != nil && r.o.TLS.ClientCA != "" && !r.o.TLS.Optional; !loopback && !r.o.Insecure && !proven {
		if r.o.Token.IsZero() && r.o.Tokens == nil {
			return fmt.Errorf("listen %q leaves this machine without a token; set auth.env, auth.file or auth.tokens, or say --insecure", r.o.Listen)
		}
	}
	r.door, err = door.Open(door.Options{Listen: r.o.Listen, TLS: r.o.TLS, Hosts: r.o.Hosts, Limits: r.o.Limits, Metrics: r.o.Metrics, Log: r.o.Log})
	if err != nil {
		return err
	}
	if r.handler, err = r.rooms(); err != nil {
		return errors.Join(err, r.door.Close())
	}
	return nil
}

// rooms are what there is behind the listener: the API, with the page around it.
func (r *Router) rooms() (http.Handler, error) {
	if err := r.route(); err != nil {
		return nil, err
	}
	o := web.Options{API: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { (*r.routes.Load()).ServeHTTP(w, q) }), Guard: r.door.Guard, Key: r.layout.Derive("session of the page"), Secure: r.door.Secure(), Log: r.o.Log}
	if r.api.Guarded() {
		o.WhoHas = r.api.WhoHas
	}
	return web.Handler(o)
}

// route puts the paths of the API, and of the sources that are paths, into force.
func (r *Router) route() error {
	h, err := r.api.Handler(r.door.Guard)
	if err == nil {
		r.routes.Store(&h)
	}
	return err
}

// Addr returns the listener's address; empty without one.
func (r *Router) Addr() string {
	if r.door == nil {
		return ""
	}
	return r.door.Addr()
}

// Ready is closed once all partitions that are this router's are claimed.
func (r *Router) Ready() <-chan struct{} { return r.shards.Ready() }

// record begins to write down what is told of runs, and to tell of it, until ctx ends.
func (r *Router) record(ctx context.Context, others *sync.WaitGroup) {
	others.Go(func() { r.endings.Write(ctx) })
	others.Go(func() { r.control.Run(ctx) })
	if r.traces != nil {
		others.Go(func() { r.traces.Run(ctx) })
	}
}

// Run works until ctx ends; then it stops taking in, lets what is under way end, saves the state, and returns nil. An error is fatal.
func (r *Router) Run(ctx context.Context) error {
	r.ran.Store(true)
	owning, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	failed := make(chan error, 3)
	var owners, others sync.WaitGroup
	owners.Go(func() { failed <- r.shards.Run(owning) })
	recording, recorded := context.WithCancel(context.WithoutCancel(ctx))
	defer recorded()
	r.record(recording, &others)
	stuck := make(chan error, 1)
	others.Go(func() { r.shards.Watchdog(owning, stuck) })
	others.Go(func() { r.shards.BecomeReady(owning) })
	others.Go(func() { r.shards.Fill(owning) })
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	r.inlets.open(feeding, failed)
	if r.door != nil {
		go func() {
			if err := r.door.Serve(r.handler); err != nil {
				failed <- err
			}
		}()
	}
	var err error
	abandoned := false
	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-stuck:
		abandoned = true
	}
	r.gate.Drain()
	stop()
	r.inlets.close(!abandoned)
	if r.door != nil {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		r.door.Shutdown(down)
		cancel()
	}
	if err == nil {
		r.outbox.Drain(owning, r.o.Drain)
	}
	release()
	if abandoned {
		// A fold that does not come back cannot be waited for, nor may what it uses be closed under it; what it may yet tell the history stays in memory.
		recorded()
		others.Wait()
		return errors.Join(err, r.endings.Close())
	}
	owners.Wait()
	r.outbox.Wait()
	recorded()
	others.Wait()
	r.cluster.Close()
	err = errors.Join(err, r.outbox.Close())
	return errors.Join(err, r.closeFolder())
}

// Close gives a router back that is not run. One that runs, or has run, closes itself; and who closes the journal is who opened it.
func (r *Router) Close() error {
	if r.ran.Swap(true) {
		return nil
	}
	var err error
	if r.door != nil {
		err = r.door.Close()
	}
	r.cluster.Close()
	return errors.Join(err, r.outbox.Close(), r.closeFolder())
}

// ReloadTokens reads the file of tokens again, whole or not at all.
func (r *Router) ReloadTokens() error {
	if r.o.Tokens == nil {
		return nil
	}
	if err := r.o.Tokens.Reload(); err != nil {
		return err
	}
	r.keepTokens()
	return nil
}

// keepTokens keeps the tokens' variables from functions.
func (r *Router) keepTokens() {
	if r.o.Tokens == nil {
		return
	}
	for _, name := range r.o.Tokens.Secrets() {
		r.secrets.Store(name, nil)
	}
}

// load makes the functions of a set. What it names as a secret is one from now on.
func (r *Router) load(set *config.Set) error {
	for _, name := range r.o.Secrets {
		r.secrets.Store(name, nil)
	}
	r.keepTokens()
	for name := range set.Secrets() {
		r.secrets.Store(name, nil)
	}
	return r.outbox.Load(set)
}
