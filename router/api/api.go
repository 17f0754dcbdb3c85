package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// An Intake takes in what is asked for here.
type Intake interface {
	Start(ctx context.Context, trigger string, e *event.Event) (journal.RunID, error)
	Signal(ctx context.Context, run journal.RunID, f engine.SignalFact) (triggers.Fate, error)
	Facts(ctx context.Context, facts []journal.Record) ([]triggers.Fate, error)
	Beat(ctx context.Context, sent string, data lang.Value) (triggers.Fate, error)
}

// Shards know the open runs that are here.
type Shards interface {
	Has(id journal.RunID) bool
	Ask(ctx context.Context, id journal.RunID, f func(*engine.State)) error
	// List looks through the open runs that are here, with a copy of l for each partition, which done takes.
	List(ctx context.Context, l engine.Listing, done func(*engine.Listing)) error
	Watch(ctx context.Context, id journal.RunID) <-chan engine.Change
}

// Endings know the runs that have ended.
type Endings interface {
	Find(id journal.RunID) *engine.Ending
	Get(id journal.RunID) (*engine.Ending, <-chan *engine.Ending, func())
	// Heads gives the ended runs that choose chooses, nil is all, the latest first, each by its last end, until yield returns false; with an event's id only
	// those that one of that id has started. What Reader returns reads them whole, where may, which may be nil, says so of how it is kept; nil is one
	// that it does not, or that was let go of meanwhile.
	Heads(event string, choose func(tenant, trigger, state, failure string) bool, yield func(*engine.EndHead) bool) error
	Reader() func(x *engine.EndHead, may func(kept []byte) bool) (*engine.Ending, error)
	// Definition gives the bytes of a definition by which a run has ended here; nil when it is not kept.
	Definition(d lang.Digest) ([]byte, error)
	// Next gives the next end of a run, whatever ends it had.
	Next(id journal.RunID) (<-chan *engine.Ending, func())
	// Past gives what became of a run's steps, in the order of their ends.
	Past(id journal.RunID) ([]engine.Past, error)
}

// A Past knows what became of the steps of runs, and of events.
type Past interface {
	Timeline(run journal.RunID, after string, limit int, failed bool) (*engine.Timeline, error)
	Summary(run journal.RunID) ([]*engine.StepSummary, error)
	// Strips tells when the steps of a run were at work, Below of those at a path and below it.
	Strips(run journal.RunID, from, to time.Time, bins, single int) (*engine.Strips, error)
	Below(run journal.RunID, path string, limit int) (steps []*engine.PastStep, more bool, err error)
	// Within gives the indexes of a step's activations that were at work in a time, Slowest the calls that took longest.
	Within(run journal.RunID, group string, from, to time.Time, yield func(index int)) error
	Slowest(run journal.RunID, limit int) ([]*engine.PastStep, error)
	Event(id string) ([]*engine.PastEvent, error)
	Events(after string, limit int, taken string) (all []*engine.PastEvent, next string, err error)
	// Mark is where the history ends now, and Became gives how a run's steps stand that have ended, and which of them were noted behind such a mark.
	Mark() string
	Became(run journal.RunID, after, mark string, yield func(group []byte, index int, is engine.StepState, late bool)) (since bool, err error)
}

// A Cluster is the other routers.
type Cluster interface {
	Forward(w http.ResponseWriter, q *http.Request, id journal.RunID, fail func(http.ResponseWriter, error)) (bool, error)
	// Check reports whether a request is another router's; Prove and IsPeer are for such.
	Check(q *http.Request) (checked *http.Request, isPeer bool, err error)
	Prove(w http.ResponseWriter, q *http.Request)
	IsPeer(ctx context.Context) bool
	Gather(q *http.Request, decode func() (into any, done func())) (unanswered []string)
	Find(ctx context.Context, id journal.RunID) *engine.Ending
	Wait(ctx context.Context, id journal.RunID) *engine.Ending
}

// An Outbox knows where an invocation is, in words, since when, and when it will be given up.
type Outbox interface {
	Explain(run journal.RunID, n uint32) (why string, since, end time.Time)
	// Unsent counts the calls of a run that no function has been sent yet.
	Unsent(tenant, trigger string, run journal.RunID) int
	// Progress is an invocation's last heartbeat, with its data.
	Progress(run journal.RunID, n uint32) (last time.Time, data lang.Value)
	// Standing says where each of some invocations of a run is.
	Standing(run journal.RunID, numbers []uint32) []engine.StepState
}

// Options are what the API is made of.
type Options struct {
	Intake   Intake
	Shards   Shards
	Endings  Endings
	Past     Past
	Cluster  Cluster
	Outbox   Outbox
	Letters  Letters
	Controls Controls
	Test     func(e *event.Event) []triggers.Tried // what each trigger would make of an event

	Sources   func() []Source                                             // those in force: those that are paths are served; what they park is listed
	Child     func(inv *engine.Invocation) (journal.RunID, bool)          // gives the run that a call of a trigger starts; nil: nobody knows
	Seal      func(id string) string                                      // gives the id of a call as it is sent; nil: as it is
	Set       func() *config.Set                                          // the documents in force
	Functions func() []control.FunctionStatus                             // tells of the functions' queues
	Load      func() any                                                  // tells other routers whether starts are taken
	Gathers   func(ctx context.Context, keys []engine.RoundKey) []bool    // tells them for events of which keys runs wait here
	Fetch     func(ctx context.Context, tickets []string) []journal.RunID // tells them whose calls are said to be done, and has their results asked for
	Parked    func() []triggers.Parked                                    // places in the journal that hold no record
	Self      func() RouterLine                                           // this router, but for its state
	Ready     func() error                                                // why nothing is taken in; nil when it is
	Starts    func() error                                                // why nothing new is started, while all else is taken in; nil when it is
	Redrive   func(ctx context.Context, x *engine.Letter) error           // sends a dead letter again; nil once it has arrived
	Beat      func(ctx context.Context, b *engine.Beat) triggers.Fate     // takes a heartbeat of an invocation that is here
	Backup    func(ctx context.Context, to io.Writer) error               // writes a backup of this router; what an error comes after is none
	Build     any                                                         // what the binary was made of
	Log       *slog.Logger                                                // may be nil
	Registry  *plugin.Registry
	Metrics   prometheus.Gatherer
	Token     plugin.Secret  // guards what is under /v1, where it is set: whoever has it may do all
	Tokens    *access.Tokens // the same, each with a right and perhaps a tenant; nil: there are none
	MaxBody   int64
}

// A Source is one that is in force.
type Source struct {
	Name, Type string
	triggers.Source
	Path    string // where it is one on the router's listener: what it serves, and who
	Handler http.Handler
	Trouble func() error // what keeps it from taking events; nil is nothing
}

// An API answers who asks. Its methods may be called concurrently.
type API struct {
	Options
	patterns  []string      // that Handler serves, in the mux's form
	comparing chan struct{} // has one while documents are compared
	redriving sync.Map      // ids of the dead letters that are being sent again
	// searchMost is in how many ended runs a text is looked for at a time.
	searchMost int
}

// New makes an API.
func New(o Options) *API {
	if o.Sources == nil {
		o.Sources = func() []Source { return nil }
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &API{Options: o, searchMost: searchMost, comparing: make(chan struct{}, 1)}
}

// unansweredHeader names what a list lacks.
const unansweredHeader = "Onward-Unanswered"

var errUnknownRun = errors.New("unknown run")

// errRequest is wrapped with what of a request is wrong and what to write.
var errRequest = errors.New("the request is not valid")

// Patterns are those that Handler serves, in the form of http.ServeMux; it was called before.
func (a *API) Patterns() []string { return slices.Clone(a.patterns) }

// Handler is the HTTP API, with the sources in force that are paths. guard is put before what nobody has to prove himself for. After a change of the sources it is to
// be made anew; that is for one goroutine at a time.
func (a *API) Handler(guard func(http.Handler) http.Handler) (http.Handler, error) {
	mux := http.NewServeMux()
	a.patterns = nil
	open := func(h http.Handler) http.Handler {
		if !a.Guarded() {
			return guard(h)
		}
		return h
	}
	handle := func(pattern string, h http.Handler) {
		a.patterns = append(a.patterns, pattern)
		mux.Handle(pattern, h)
	}
	for _, x := range a.routes() {
		handle(x.pattern, a.authenticated(guard, x))
	}
	handle("GET /metrics", a.metered(open(promhttp.HandlerFor(a.Metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))))
	handle("GET /healthz", open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = reply(w, http.StatusOK, Health{Status: "ok"}) })))
	handle("GET /readyz", open(http.HandlerFunc(a.getReady)))
	paths := make(map[string]bool)
	for _, s := range a.Sources() {
		h, ok := s.Source.(triggers.HTTPSource)
		if !ok {
			continue
		}
		if paths[s.Path] {
			return nil, fmt.Errorf("two webhooks have the path %q; give one another", s.Path)
		}
		paths[s.Path] = true
		handler := s.Handler
		if !h.Authenticates() {
			handler = guard(handler)
		}
		handle(s.Path, handler)
	}
	return nowhere(mux), nil
}

// nowhere answers as all else is answered where nothing is served, or not by that method. A browser is led on by whoever serves pages.
func nowhere(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, pattern := mux.Handler(q); pattern != "" || q.Method == http.MethodGet && strings.Contains(q.Header.Get("Accept"), "text/html") {
			mux.ServeHTTP(w, q)
			return
		}
		var methods []string
		for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
			other := &http.Request{Method: m, URL: q.URL, Host: q.Host}
			if _, pattern := mux.Handler(other); pattern != "" {
				methods = append(methods, m)
			}
		}
		if len(methods) == 0 {
			_ = refuse(w, http.StatusNotFound, fmt.Sprintf("nothing is served at %.200s", q.URL.Path), "look at the paths: GET /v1/openapi.json has the API's, onward sources list the webhooks'")
			return
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		_ = refuse(w, http.StatusMethodNotAllowed, fmt.Sprintf("%.20s is not for %.200s", q.Method, q.URL.Path), "use "+strings.Join(methods, " or "))
	})
}

func reply(w http.ResponseWriter, code int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // The client has gone: nobody is left to be told.
	return nil
}

// refuse answers with what is refused.
func refuse(w http.ResponseWriter, code int, message, cure string) error {
	return reply(w, code, triggers.Refuse(code, message, cure))
}

// answer says what became of a fact about a run.
func answer(w http.ResponseWriter, fate triggers.Fate, said Became) error {
	if what, cure := fate.Refused(); what != "" {
		return refuse(w, fate.Status(), what, strings.ReplaceAll(cure, "RUN", said.Run))
	}
	said.Became = fate.String()
	return reply(w, fate.Status(), said)
}

// A Became says what became of a fact about a run: applied, repeated (it had come before), or accepted, when that is not known yet.
type Became struct {
	Run    string `json:"run"`
	Became string `json:"became"`
	Signal string `json:"signal,omitempty"`
	Key    string `json:"key,omitempty"` // of a signal: under which it counts once
	Path   string `json:"path,omitempty"`
	Window *int   `json:"window,omitempty"`
}

func fail(w http.ResponseWriter, err error) {
	code, cure := http.StatusServiceUnavailable, ""
	switch {
	case errors.Is(err, errNoLetter):
		cure = "see onward dead list"
	case errors.Is(err, errUnknownRun):
		cure = "see onward runs list"
	case errors.Is(err, errUnknownEvent):
		cure = "see onward events list"
	case errors.Is(err, errUnknownFunction):
		cure = "see onward functions list"
	case errors.Is(err, triggers.ErrNoTrigger):
		cure = "see onward triggers list"
	}
	switch {
	case errors.Is(err, errUndelivered):
		code = http.StatusBadGateway
	case errors.Is(err, errUnknownRun), errors.Is(err, errUnknownTenant), errors.Is(err, errUnknownEvent), errors.Is(err, errNoLetter), errors.Is(err, triggers.ErrNoTrigger), errors.Is(err, errUnknownFunction):
		code = http.StatusNotFound
	case errors.Is(err, journal.ErrMoving):
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, triggers.ErrRefused):
		code = http.StatusForbidden
	case errors.Is(err, errRequest), errors.Is(err, triggers.ErrInvalid):
		code = http.StatusBadRequest
	case errors.Is(err, triggers.ErrTooLarge):
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, triggers.ErrSlow):
		code = http.StatusRequestTimeout
	case errors.Is(err, triggers.ErrBusy):
		code = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(triggers.RetryAfter(err)))
	case errors.Is(err, triggers.ErrFull), errors.Is(err, journal.ErrFull):
		code = http.StatusInsufficientStorage
		w.Header().Set("Retry-After", "30")
	}
	_ = refuse(w, code, err.Error(), cure)
}

func (a *API) getReady(w http.ResponseWriter, _ *http.Request) {
	if err := a.Ready(); err != nil {
		_ = refuse(w, http.StatusServiceUnavailable, "not ready: "+err.Error(), "")
		return
	}
	said := Health{Status: "ready"}
	if said.Sources = a.troubles(); len(said.Sources) > 0 {
		said.Status = "degraded"
	}
	if err := a.Starts(); err != nil { // No 503: outcomes would come no more, by which there is room again.
		said.Status, said.Starts = "degraded", err.Error()
	}
	_ = reply(w, 200, said)
}

// troubles are what keeps sources from taking events, by their names.
func (a *API) troubles() map[string]string {
	all := make(map[string]string)
	for _, s := range a.Sources() {
		if err := s.Trouble(); err != nil {
			all[s.Name] = err.Error()
		}
	}
	return all
}

func runOf(q *http.Request) (journal.RunID, error) {
	id, err := journal.ParseRunID(q.PathValue("run"))
	if err != nil {
		return id, fmt.Errorf("%w: %w", errUnknownRun, err)
	}
	return id, nil
}

// postCancel cancels a run. The header Idempotency-Key tells repeats, also once the run was redriven.
func (a *API) postCancel(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	reason := q.URL.Query().Get("reason")
	if err := checkText("reason", reason); err != nil {
		return err
	}
	f := engine.CancelFact{Reason: reason}
	if f.ID, err = keyOf(q); err != nil {
		return err
	}
	fates, err := a.Intake.Facts(q.Context(), []journal.Record{engine.Record(journal.Cancel, id, &f)})
	if err != nil {
		return err
	}
	return answer(w, fates[0], Became{Run: id.String()})
}

// postTurn pauses a run or lets it go on. The header Idempotency-Key tells repeats.
func (a *API) postTurn(kind journal.Kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, q *http.Request) error {
		id, err := runOf(q)
		if err != nil {
			return err
		}
		f := engine.PauseFact{By: byOf(q), Reason: q.URL.Query().Get("reason")}
		f.ID, err = keyOf(q)
		if err := errors.Join(err, checkText("by", f.By), checkText("reason", f.Reason)); err != nil {
			return err
		}
		fates, err := a.Intake.Facts(q.Context(), []journal.Record{engine.Record(kind, id, &f)})
		if err != nil {
			return err
		}
		return answer(w, fates[0], Became{Run: id.String()})
	}
}

// postWindow changes how many children a step of a run may have open. The header Idempotency-Key tells repeats.
func (a *API) postWindow(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	f := engine.WindowFact{Path: q.URL.Query().Get("path")}
	text := q.URL.Query().Get("window")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > lang.MaxWindow {
		return invalid("window %.40q is not a number from 0 (the most) to %d", text, lang.MaxWindow)
	}
	f.Window = n
	f.ID, err = keyOf(q)
	if err := errors.Join(err, checkText("path", f.Path)); err != nil {
		return err
	}
	fates, err := a.Intake.Facts(q.Context(), []journal.Record{engine.Record(journal.Resize, id, &f)})
	switch {
	case err != nil:
		return err
	case fates[0] == triggers.Unknown:
		return refuse(w, fates[0].Status(), fmt.Sprintf("there is no such run, or in it no step %q at work that has a window", f.Path), "see onward runs explain "+id.String())
	}
	return answer(w, fates[0], Became{Run: id.String(), Path: f.Path, Window: &n})
}

// postHeartbeat takes a heartbeat with the body as its data.
func (a *API) postHeartbeat(w http.ResponseWriter, q *http.Request) error {
	data, err := a.body(w, q)
	if err != nil {
		return err
	}
	run, _, _ := strings.Cut(q.PathValue("id"), "~")
	if id, bad := journal.ParseRunID(run); bad == nil { // Of what is no run Beat says so.
		if err := a.owned(q.Context(), id, false); err != nil {
			return err
		}
	}
	fate, err := a.Intake.Beat(q.Context(), q.PathValue("id"), data)
	if err != nil {
		return err
	}
	return answer(w, fate, Became{Run: run})
}

func (a *API) body(w http.ResponseWriter, q *http.Request) (lang.Value, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, a.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return lang.Null, fmt.Errorf("%w: more than %d bytes; pass large data by reference (dataref)", triggers.ErrTooLarge, a.MaxBody)
	case errors.Is(err, triggers.ErrBusy), errors.Is(err, triggers.ErrSlow):
		return lang.Null, err
	case err != nil:
		return lang.Null, fmt.Errorf("%w: the body ended early: %w", errRequest, err)
	}
	if len(b) == 0 {
		return lang.Null, nil
	}
	v, err := lang.ParseValue(b)
	if err != nil {
		return lang.Null, fmt.Errorf("%w: the body is not JSON: %w", errRequest, err)
	}
	return v, nil
}

// postSignal sends a signal with the body as its data. The header Idempotency-Key tells repeats of a signal of that name to that run.
func (a *API) postSignal(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	data, err := a.body(w, q)
	if err != nil {
		return err
	}
	name := q.PathValue("name")
	f := engine.SignalFact{Source: "/v1/signals/" + name, Name: name, Data: data}
	f.ID, err = keyOf(q)
	if err := errors.Join(err, checkText("name", f.Name)); err != nil {
		return err
	}
	fate, err := a.Intake.Signal(q.Context(), id, f)
	if err != nil {
		return err
	}
	return answer(w, fate, Became{Run: id.String(), Signal: f.Name, Key: f.ID})
}

// maxText bounds the texts that a request brings beside its body: what an attribute of an event may have.
const maxText = 1 << 10

// checkText refuses a text that would be journaled and is none.
func checkText(what, text string) error {
	switch {
	case len(text) > maxText:
		return fmt.Errorf("%w: %s has %d bytes, and may have %d; put what is long into the body", errRequest, what, len(text), maxText)
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: %s %.40q is not UTF-8; encode it", errRequest, what, text)
	}
	return nil
}

// keyOf is what tells repeats of a request: its Idempotency-Key, or something random. One that is there and empty is refused: its sender means to be told from
// others by it, and would not be.
func keyOf(q *http.Request) (string, error) {
	keys := q.Header.Values("Idempotency-Key")
	switch {
	case len(keys) == 0:
		return rand.Text(), nil
	case keys[0] == "":
		return "", fmt.Errorf("%w: Idempotency-Key is empty; write one, or leave the header out", errRequest)
	}
	return keys[0], checkText("Idempotency-Key", keys[0])
}

// A ParkedList is what came in and is no event, at one router.
type ParkedList struct {
	Parked []triggers.Parked `json:"parked"`
}

// getParked lists what this router's sources got and what is no event, and the places in its part of the journal that hold no record.
func (a *API) getParked(w http.ResponseWriter, _ *http.Request) error {
	said := ParkedList{append([]triggers.Parked{}, a.Parked()...)}
	for _, s := range a.Sources() {
		if p, ok := s.Source.(triggers.Parking); ok {
			said.Parked = append(said.Parked, p.Parked()...)
		}
	}
	return reply(w, http.StatusOK, said)
}
