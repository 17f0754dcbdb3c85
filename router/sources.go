package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/router/admission"
	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/door"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// inlets are the sources in force. A reload leaves alone what it does not change.
type inlets struct {
	mu      sync.Mutex
	now     []*inlet // by name
	leaving map[string]*inlet
	feeding context.Context // of all; nil before Run
	failed  chan<- error
	running sync.WaitGroup
	closed  bool // by Run's end: nothing begins any more
}

// An inlet is a source with what the router does around it.
type inlet struct {
	name       string
	spec       *config.Source
	source     triggers.Source
	admit      triggers.Admit
	path       string // of a source that is one on the listener
	handler    http.Handler
	collectors []prometheus.Collector
	log        *slog.Logger
	late       bool // a reload began it: when it fails, the router goes on
	stop       context.CancelFunc
	done       chan struct{} // closed once it has ended; nil before it began
	fault      atomic.Pointer[error]
}

// trouble is what keeps it from taking events; nil is nothing.
func (in *inlet) trouble() error {
	if fault := in.fault.Load(); fault != nil {
		return *fault
	}
	if t, ok := in.source.(triggers.Troubled); ok {
		return t.Trouble()
	}
	return nil
}

// makeInlets makes the sources of a set, but for those that were there before in the same words. Nothing begins. The error is all that is wrong.
func (r *Router) makeInlets(set *config.Set, was []*inlet) (all []*inlet, err error) {
	exposed, err := r.exposed()
	if err != nil {
		return nil, err
	}
	var wrong []error
	paths := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(set.Sources)) {
		spec := set.Sources[name]
		i := slices.IndexFunc(was, func(in *inlet) bool { return in.name == name && config.SameSource(in.spec, spec) })
		var in *inlet
		if i >= 0 {
			in = was[i]
		} else if in, err = r.makeInlet(name, spec); err != nil {
			wrong = append(wrong, fmt.Errorf("source %q: %w", name, err))
			continue
		}
		if in.handler != nil && paths[in.path] {
			wrong = append(wrong, fmt.Errorf("source %q: two webhooks have the path %q; give one another", name, in.path))
		}
		paths[in.path] = true
		if err := r.listened(in, exposed); err != nil {
			wrong = append(wrong, err)
		}
		all = append(all, in)
	}
	return all, errors.Join(wrong...)
}

func (r *Router) makeInlet(name string, spec *config.Source) (*inlet, error) {
	source, err := spec.Type.Make.(triggers.Factory)(name, spec.Settings)
	if err != nil {
		return nil, err
	}
	if p, ok := source.(triggers.Placed); ok {
		place := triggers.Place{Egress: r.o.Egress}
		if !spec.Rate.IsZero() {
			place.PerMinute = max(int(spec.Rate.In(time.Minute)), 1)
		}
		p.Place(place)
	}
	if g, ok := source.(triggers.Guarded); ok {
		for _, secret := range g.Secrets() {
			if _, err := secret.Read(); err != nil {
				return nil, fmt.Errorf("%w; set it, or take it out of auth", err)
			}
		}
	}
	gate := admission.Door{Source: name, Accepts: spec.Accepts}
	if a, ok := source.(triggers.Asking); ok {
		gate.Asks = a.Asks()
	}
	if o, ok := source.(triggers.Overlapping); ok {
		gate.Overlap = overlaps[o.Overlap()]
	}
	in := &inlet{name: name, spec: spec, source: source, log: r.o.Log, admit: r.gate.For(gate)}
	r.remember(name, source)
	if m, ok := source.(triggers.Measured); ok {
		in.collectors = m.Collectors()
	}
	if k, ok := source.(triggers.Keeping); ok {
		k.KeepParked(r.park)
	}
	if h, ok := source.(triggers.HTTPSource); ok {
		in.path, in.handler = h.Handler(in.admit)
	}
	return in, nil
}

// overlaps are a source's words in the journal.
var overlaps = map[string]engine.Overlap{triggers.OverlapSkip: engine.OverlapSkip, triggers.OverlapCancel: engine.OverlapCancel}

// listened says why a source cannot be on the listener; nil when it can, or is not.
func (r *Router) listened(in *inlet, exposed bool) error {
	if c, ok := in.source.(triggers.Certified); ok && r.o.Listen != "" && c.WantsCertificates() && (r.o.TLS == nil || r.o.TLS.ClientCA == "") {
		return fmt.Errorf("source %q knows callers by client certificates, and the listener asks for none; set tls.client-ca, with tls.client-auth: optional where others have none", in.name)
	}
	if h, ok := in.source.(triggers.HTTPSource); ok && exposed && !h.Authenticates() {
		return fmt.Errorf("listen %q leaves this machine, and a webhook has no auth; add auth: { bearer: { env: NAME } }, or say --insecure", r.o.Listen)
	}
	return nil
}

// exposed reports a listener that leaves this machine, to callers who prove themselves by what they send alone.
func (r *Router) exposed() (bool, error) {
	if r.o.Listen == "" || r.o.Insecure || r.o.TLS != nil && r.o.TLS.ClientCA != "" && !r.o.TLS.Optional {
		return false, nil
	}
	loopback, err := door.IsLoopback(r.o.Listen)
	return !loopback, err
}

// measure registers what sources tell of themselves.
func (r *Router) measure(all []*inlet) error {
	for _, in := range all {
		for _, c := range in.collectors {
			if err := r.o.Metrics.Register(c); err != nil {
				return fmt.Errorf("source %q: %w", in.name, err)
			}
		}
	}
	return nil
}

// sources are those in force, for who asks.
func (x *inlets) sources() []api.Source {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]api.Source, len(x.now))
	for i, in := range x.now {
		out[i] = api.Source{Name: in.name, Type: in.spec.Type.Name, Source: in.source, Path: in.path, Handler: in.handler, Trouble: in.trouble}
	}
	return out
}

// open begins the sources; they end with the context. What ends one with an error goes to failed, which is not waited for.
func (x *inlets) open(ctx context.Context, failed chan<- error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.feeding, x.failed = ctx, failed
	for _, in := range x.now {
		x.begin(in)
	}
}

// close waits for the sources, whose context has ended, if that is asked for; none begins behind it.
func (x *inlets) close(wait bool) {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	if wait {
		x.running.Wait()
	}
}

// begin runs a source, behind the one that had its name before it: that hands over what it has first. The lock is held.
func (x *inlets) begin(in *inlet) {
	before := x.leaving[in.name]
	delete(x.leaving, in.name)
	ctx, stop := context.WithCancel(x.feeding)
	in.stop, in.done = stop, make(chan struct{})
	x.running.Go(func() {
		defer close(in.done)
		defer stop()
		if before != nil {
			<-before.done
		}
		var err error
		if panicked := guard.Do("source", func() { err = in.source.Run(ctx, in.admit) }); panicked != nil {
			x.fail(fmt.Errorf("source %q: %w", in.name, panicked)) // It may have left anything behind: the router ends in good order, and begins anew.
			return
		}
		switch {
		case err == nil:
		case in.late:
			in.fault.Store(&err)
			in.log.Error("a source that was reloaded takes nothing; mend it in the documents, or start the router again", "source", in.name, "error", err)
		default:
			x.fail(fmt.Errorf("source %q: %w", in.name, err))
		}
	})
}

func (x *inlets) fail(err error) {
	select {
	case x.failed <- err:
	default: // It ends for another reason.
	}
}

// swap puts sources into force: route has requests go to them, then those that are not among them end, and the new ones begin.
func (x *inlets) swap(next []*inlet, route func()) (begun, ended []*inlet) {
	x.mu.Lock()
	was := x.now
	x.now = next
	x.mu.Unlock()
	route()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, in := range was {
		if slices.Contains(next, in) {
			continue
		}
		ended = append(ended, in)
		if in.done == nil { // It never began.
			continue
		}
		if x.leaving == nil {
			x.leaving = make(map[string]*inlet)
		}
		x.leaving[in.name] = in
		in.stop()
	}
	for _, in := range next {
		if slices.Contains(was, in) {
			continue
		}
		begun = append(begun, in)
		if x.feeding != nil && !x.closed {
			in.late = true
			x.begin(in)
		}
	}
	return begun, ended
}

// Reload puts other documents into force, whole or not at all: an error says all that is wrong, and then nothing has changed; that nothing is left of what there
// was is wrong unless it is said (config.Emptied). Runs keep the definitions that
// they began with; what is queued goes by the new functions. Sources that are new begin, those that have gone end once they have handed over what they
// took, and one whose words have changed does both; the others do not notice.
func (r *Router) Reload(set *config.Set) (err error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	defer func() {
		if err != nil {
			r.NotReloaded()
		} else {
			r.reloads.WithLabelValues("loaded").Inc()
		}
	}()
	if r.gate.Draining() {
		return triggers.ErrDraining
	}
	if err := config.Emptied(r.gate.Set(), set); err != nil {
		return err
	}
	next, err := r.makeInlets(set, r.inlets.now)
	if err != nil {
		return err
	}
	changes := config.Diff(r.gate.Set(), set)
	r.loaded++
	log := r.o.Log.With("documents", r.loaded) // Each is something new.
	if err := r.load(set); err != nil {
		return err
	}
	r.gate.Load(set)
	begun, ended := r.inlets.swap(next, func() {
		if r.door == nil {
			return
		}
		if err := r.route(); err != nil {
			log.Error("the paths of sources are not reloaded", "error", err)
		}
	})
	for _, in := range ended {
		for _, c := range in.collectors {
			r.o.Metrics.Unregister(c)
		}
		if !named(begun, in.name) {
			log.Info("a source has gone", "source", in.name)
		}
	}
	if err := r.measure(begun); err != nil {
		log.Error("a source cannot be measured", "error", err)
	}
	for _, in := range begun {
		if named(ended, in.name) {
			log.Info("a source has changed, and begins anew", "source", in.name)
		} else {
			log.Info("a source is new", "source", in.name)
		}
	}
	r.tell(changes, log)
	return nil
}

// toldMost is how many changes of a reload are told of by name, and tellTime how long open runs are looked through for those that it hurts.
const (
	toldMost = 20
	tellTime = 5 * time.Second
)

// tell says what a reload has changed, and which open runs that are folded here it hurts: those that may still call what has gone.
func (r *Router) tell(changes []config.Change, log *slog.Logger) {
	if len(changes) == 0 {
		log.Info("nothing in the documents has changed")
		return
	}
	var said []string
	for _, c := range changes[:min(len(changes), toldMost)] {
		said = append(said, c.String())
	}
	if more := len(changes) - len(said); more > 0 {
		said = append(said, fmt.Sprintf("%d more", more))
	}
	log.Info("the documents have changed", "changes", strings.Join(said, ", "))
	gone := slices.DeleteFunc(slices.Clone(changes), func(c config.Change) bool { return c.How != config.Removed || c.Kind == config.KindSource })
	if len(gone) == 0 || !r.ran.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tellTime)
	defer cancel()
	touched, err := r.api.Touched(ctx, gone)
	if err != nil {
		log.Warn("which open runs may still call what has gone is not known", "error", err)
		return
	}
	for _, t := range touched {
		if !t.Endures {
			log.Warn("open runs may still call what has gone: that waits until it is back, or fails when its time is over", t.Kind, t.Name, "runs", t.Runs, "some", strings.Join(t.Some, " "))
		}
	}
}

func named(all []*inlet, name string) bool {
	return slices.ContainsFunc(all, func(in *inlet) bool { return in.name == name })
}

// NotReloaded counts documents that were refused before anybody could give them to Reload.
func (r *Router) NotReloaded() { r.reloads.WithLabelValues("refused").Inc() }
