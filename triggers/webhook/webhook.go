// Package webhook is the source that takes CloudEvents by HTTP, in the binary, structured and batched modes of the HTTP binding 1.0.
//
// It answers 202 only when the events are durable: what it acknowledged is not lost.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// Settings are the source's part of a document.
type Settings struct {
	Path      string      `doc:"path" help:"the path on the router's listener" default:"/events"`
	Auth      []Way       `doc:"auth,list" help:"how callers prove who they are: a way, or a list of ways, any of which is enough; default: nobody has to"`
	Handshake *Handshake  `doc:"handshake" help:"who is told that he may send, when he asks by OPTIONS (CloudEvents web hooks 1.0, section 4); default: whoever asks"`
	MaxEvent  plugin.Size `doc:"maxEvent" help:"how large one event's data may be; functions' completions (dev.onward.function.*) may have 16MiB" default:"1MiB"`
	MaxBatch  plugin.Size `doc:"maxBatch" help:"how large one batch may be, decompressed; so may a body of which as: makes several events" default:"16MiB"`
	As        *As         `doc:"as" help:"makes events of requests that are none: expressions over body, headers (small letters), query and path"`
}

// Check reports a path that cannot be served.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	if !isServed.MatchString(s.Path) || isOurs.MatchString(s.Path) {
		out = append(out, plugin.Problem{Path: []string{"path"}, What: fmt.Sprintf("%q cannot be served", s.Path), Cure: "write a path such as /events, and not below /v1/"})
	}
	if s.Auth != nil && len(s.Auth) == 0 {
		out = append(out, plugin.Problem{Path: []string{"auth"}, What: "auth is an empty list, which nobody can meet", Cure: "write auth: { bearer: { env: NAME } }, or leave it out where anybody may send"})
	}
	if s.MaxEvent < 1 || s.MaxEvent > mostEvent {
		out = append(out, plugin.Problem{Path: []string{"maxEvent"}, What: fmt.Sprintf("events of %s at most", s.MaxEvent), Cure: "write 1B to 1MiB; pass what is larger by reference (dataref)"})
	}
	if s.MaxBatch < 1 {
		out = append(out, plugin.Problem{Path: []string{"maxBatch"}, What: "batches of no bytes", Cure: "write 1B or more, or leave it out"})
	}
	if s.As != nil {
		out = append(out, s.As.problems()...)
	}
	return out
}

// mostEvent is what admission takes of any event that is no completion.
const mostEvent = 1 << 20

// Alone is the path, which no other webhook can have.
func (s *Settings) Alone() string { return "the path " + s.Path }

// The paths that a webhook may have: plain ones, whose spelling is the only one that there is. What the router itself answers is taken.
const (
	mark    = `A-Za-z0-9_~@:!$&'()*+,;=-`
	segment = `[.]{0,2}[` + mark + `][.` + mark + `]*`
	served  = `^/(` + segment + `(/` + segment + `)*/?)?$`
	ours    = `^/(v1|metrics|healthz|readyz)(/|$)`
)

var isServed, isOurs = regexp.MustCompile(served), regexp.MustCompile(ours)

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"path": plugin.Schema{"pattern": served, "not": plugin.Schema{"pattern": ours}}, "auth": plugin.Schema{"not": plugin.Schema{"const": []any{}}},
	}}
}

// A Webhook is the source.
type Webhook struct {
	*triggers.Lot
	name     string
	s        *Settings
	place    triggers.Place
	issuers  map[int]*issuer // by the place of their way in auth
	signed   *memory         // nil where nothing is signed
	origins  *http.CrossOriginProtection
	unproven *prometheus.CounterVec
	life     context.Context // of what goes on beside requests
	die      context.CancelFunc
	beside   sync.WaitGroup
	caller   func() *http.Client // of callbacks
	calling  chan struct{}       // has one for each callback under way

	mu       sync.Mutex
	ended    bool          // nothing goes on beside requests any more
	draining chan struct{} // closed when no more events are taken
	busy     sync.WaitGroup
	becoming becoming
}

// New makes the source.
func New(name string, s *Settings) (triggers.Source, error) {
	w := &Webhook{
		Lot: triggers.NewLot(name), name: name, s: s, draining: make(chan struct{}), becoming: newBecoming(), origins: http.NewCrossOriginProtection(),
		unproven: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_unproven_requests_total", Help: "Requests to a webhook whose callers have not proved who they are, by source and reason.", ConstLabels: prometheus.Labels{"source": name},
		}, []string{"reason"}),
	}
	for _, kind := range unprovenKinds {
		w.unproven.WithLabelValues(kind) // A rate has to have something to begin from.
	}
	w.calling, w.caller = make(chan struct{}, callbacks), sync.OnceValue(w.newCaller)
	w.life, w.die = context.WithCancel(context.Background())
	for i := range s.Auth {
		if h := s.Auth[i].HMAC; h != nil {
			keep := 24 * time.Hour
			if h.Timed() {
				keep = 2 * h.Tolerance.D() // From the earliest that it is good to the last.
			}
			if w.signed == nil || keep > w.signed.keep {
				w.signed = newMemory(keep)
			}
		}
	}
	w.Place(triggers.Place{})
	return w, nil
}

var (
	_ triggers.HTTPSource = (*Webhook)(nil)
	_ triggers.Guarded    = (*Webhook)(nil)
	_ triggers.Placed     = (*Webhook)(nil)
	_ triggers.Measured   = (*Webhook)(nil)
	_ triggers.Keeping    = (*Webhook)(nil)
)

// Place takes over where the source is.
func (w *Webhook) Place(p triggers.Place) {
	w.place, w.issuers = p, make(map[int]*issuer)
	for i := range w.s.Auth {
		if o := w.s.Auth[i].OIDC; o != nil {
			w.issuers[i] = newIssuer(o, p.Egress, w.life, w.aside)
		}
	}
}

// Collectors are the source's metrics.
func (w *Webhook) Collectors() []prometheus.Collector {
	return []prometheus.Collector{w.unproven, w.Count()}
}

// Authenticates reports whether callers must prove who they are.
func (w *Webhook) Authenticates() bool { return len(w.s.Auth) > 0 }

// Secrets are what callers are known by.
func (w *Webhook) Secrets() []plugin.Secret {
	var all []plugin.Secret
	for _, x := range w.s.Auth {
		if x.Bearer != nil {
			all = append(all, *x.Bearer)
		}
		if x.HMAC != nil {
			all = append(all, x.HMAC.Secrets...)
		}
	}
	return all
}

// Asks: who sends a completion or a signal hears what became of it.
func (w *Webhook) Asks() bool { return true }

// Run waits for its context, then lets the requests end whose events were handed over. Who still waits for a run's result gets its id instead; who has
// not sent all of a request yet is refused when he has.
func (w *Webhook) Run(ctx context.Context, _ triggers.Admit) error {
	<-ctx.Done()
	w.mu.Lock()
	close(w.draining)
	w.mu.Unlock()
	w.busy.Wait()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.die()
	w.beside.Wait()
	return nil
}

// aside does something beside requests; false: the source has ended.
func (w *Webhook) aside(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.beside.Go(f)
	}
	return !w.ended
}

// enter books a request whose events are about to be handed over; false when no more are taken.
func (w *Webhook) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isDraining() {
		return false
	}
	w.busy.Add(1)
	return true
}

func (w *Webhook) isDraining() bool {
	select {
	case <-w.draining:
		return true
	default:
		return false
	}
}

// Handler returns the path and what serves it.
func (w *Webhook) Handler(admit triggers.Admit) (string, http.Handler) {
	return w.s.Path, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, admit) })
}

func refuse(rw http.ResponseWriter, code int, what, cure string, retryAfter int) {
	slog.Warn("source: a request is refused", "status", code, "error", what)
	if retryAfter > 0 {
		rw.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	answer(rw, code, triggers.Refuse(code, what, cure))
}

func refuseDraining(rw http.ResponseWriter) {
	refuse(rw, http.StatusServiceUnavailable, triggers.ErrDraining.Error(), "send it again", 1)
}

func answer(rw http.ResponseWriter, code int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(v) // The client has gone: nobody is left to be told.
}

// opens reports whether a request is one that sends events, now and from there; else it has answered.
func (w *Webhook) opens(rw http.ResponseWriter, r *http.Request) bool {
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		w.handshake(rw, r)
		return false
	default:
		rw.Header().Set("Allow", "POST, OPTIONS")
		refuse(rw, http.StatusMethodNotAllowed, r.Method+" is not how events are sent", "POST them", 0)
		return false
	}
	if w.isDraining() {
		refuseDraining(rw)
		return false
	}
	if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" && !w.welcomes(origin) {
		refuse(rw, http.StatusForbidden, "this origin may not send here", "name it in handshake.origins of the source", 0)
		return false
	}
	return true
}

func (w *Webhook) serve(rw http.ResponseWriter, r *http.Request, admit triggers.Admit) {
	if !w.opens(rw, r) {
		return
	}
	who, ok := w.identify(rw, r)
	if !ok {
		return
	}
	wait, err := preferredWait(r.Header)
	if err != nil {
		refuse(rw, http.StatusBadRequest, err.Error(), "write Prefer: wait=10", 0)
		return
	}
	events, head, deflated := w.events(rw, r, &who)
	if deflated == nil {
		return
	}
	defer deflated()
	if !w.enter() {
		refuseDraining(rw)
		return
	}
	defer w.busy.Done()
	note := w.settle(head)
	receipts, err := admit(as(r.Context(), who), events)
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].ID()
	}
	events = nil // Who waits for a result keeps no more of it than that.
	deflated()
	_ = r.Body.Close() // It was read; the router may count it as gone.
	if err != nil {
		code, after := status(err)
		refuse(rw, code, err.Error(), "send it again", after)
		return
	}
	if wait > 0 && len(receipts) == 1 && isWaitable(r.Context(), &receipts[0]) && w.answerResult(rw, r, wait, receipts[0].Runs[0]) {
		return
	}
	w.acknowledge(r.Context(), rw, note, ids, receipts)
}

// events reads the events of a request whose signature, where it has one, is good. leave gives back the room of what was decompressed and may be called twice;
// nil: the request was refused, or nobody is left to be told.
func (w *Webhook) events(rw http.ResponseWriter, r *http.Request, who *proof) (events []event.Event, head form, leave func()) {
	var body []byte
	var code int
	var err error
	if panicked := guard.Do("decode", func() { body, head, code, err = w.body(rw, r, who.signed) }); panicked != nil {
		code, err = http.StatusInternalServerError, panicked
	}
	if err != nil {
		refuse(rw, code, err.Error(), "", 0)
		return nil, nil, nil
	}
	if no := w.verify(who, r, body); no != nil {
		w.refuseUnproven(rw, no, false)
		return nil, nil, nil
	}
	if leave = w.room(r, head, body); leave == nil {
		return nil, nil, nil
	}
	if panicked := guard.Do("decode", func() { events, code, err = w.read(rw, head, body) }); panicked != nil {
		code, err = http.StatusInternalServerError, panicked
	}
	said := new(answered)
	switch {
	case errors.As(err, &said):
		said.write(rw)
	case err != nil:
		refuse(rw, code, err.Error(), w.cureOf(head, code), 0)
	case who.mark != "" && w.isTurned(head, body):
		w.refuseUnproven(rw, &unproven{http.StatusUnauthorized, kindWrong, "the body that is signed is an event, and the headers, which are not signed, make another one of it; send it by Content-Type: application/cloudevents+json"}, false)
	case who.mark != "" && w.signed.isOther(who.mark, events, time.Now()):
		w.refuseUnproven(rw, &unproven{http.StatusUnauthorized, kindReplayed, "the signature was that of another event; a signature is of the body, and the event has to stay what it was"}, false)
	default:
		who.seal = w.sealOf(who, head, r, body)
		return events, head, leave
	}
	leave()
	return nil, nil, nil
}

// maxWait bounds Prefer: wait.
const maxWait = 300 * time.Second

// preferredWait reads the seconds of Prefer: wait=N (RFC 7240, section 4.3).
func preferredWait(h http.Header) (time.Duration, error) {
	for _, line := range h.Values("Prefer") {
		for _, part := range strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ';' }) {
			text, ok := strings.CutPrefix(strings.TrimSpace(part), "wait=")
			if !ok {
				continue
			}
			seconds, err := strconv.Atoi(strings.Trim(text, `"`))
			if err != nil || seconds < 0 {
				return 0, fmt.Errorf("the header Prefer: wait=%s has no number of seconds", text)
			}
			return min(time.Duration(min(seconds, 1<<20))*time.Second, maxWait), nil
		}
	}
	return 0, nil
}

// body reads a request, as far as it has the form of one with events; or says with which status it is refused. whole: its signature is of all of it.
func (w *Webhook) body(rw http.ResponseWriter, r *http.Request, whole bool) ([]byte, form, int, error) {
	head, err := w.form(r)
	if err != nil {
		return nil, nil, refusalStatus(rw, err), err
	}
	body, err := readBody(rw, r, head.Limit(w.limits()))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, head, 0, nil
	case errors.As(err, &tooLarge):
		why := &envelope.Refusal{Reason: envelope.TooLarge, What: fmt.Sprintf("more than %d bytes; pass large data by reference (dataref)", tooLarge.Limit)}
		if !whole && head.Refuse(why) {
			return nil, head, 0, nil
		}
		return nil, nil, http.StatusRequestEntityTooLarge, why
	case errors.Is(err, triggers.ErrBusy), errors.Is(err, triggers.ErrSlow):
		code, _ := status(err)
		return nil, nil, code, err
	}
	return nil, nil, http.StatusBadRequest, fmt.Errorf("the body ended early: %w", err)
}

func (w *Webhook) limits() envelope.Limits {
	return envelope.Limits{Event: int(w.s.MaxEvent), Batch: int(w.s.MaxBatch), Strict: true}
}

// read takes the events out of a body, or says with which status it is refused.
func (w *Webhook) read(rw http.ResponseWriter, head form, body []byte) ([]event.Event, int, error) {
	events, bad, err := head.Read(body, w.limits())
	if err == nil && len(bad) > 0 {
		err = fmt.Errorf("event %d: %w", bad[0].Index, bad[0].Err) // Who sends a batch can send it without the one that is none.
	}
	if err != nil {
		return nil, refusalStatus(rw, err), err
	}
	return events, 0, nil
}

// believedLength is how much of a length that a caller tells is made room for before anything of it has come.
const believedLength = 16 << 10

func readBody(rw http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 {
		b.Grow(int(min(n, int64(limit), believedLength)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(rw, r.Body, int64(limit)))
	return b.Bytes(), err
}

// refusalStatus is the status for what is no event.
func refusalStatus(rw http.ResponseWriter, err error) int {
	var r *envelope.Refusal
	if !errors.As(err, &r) {
		return http.StatusBadRequest
	}
	switch r.Reason {
	case envelope.TooLarge:
		return http.StatusRequestEntityTooLarge
	case envelope.Unsupported:
		rw.Header().Set("Accept-Encoding", "gzip, identity")
		return http.StatusUnsupportedMediaType
	case envelope.NoEvent:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// status maps the errors of admission to a code and a pause in seconds.
func status(err error) (code, retryAfter int) {
	switch {
	case errors.Is(err, triggers.ErrInvalid):
		return http.StatusBadRequest, 0
	case errors.Is(err, triggers.ErrRefused):
		return http.StatusForbidden, 0
	case errors.Is(err, triggers.ErrPanicked):
		return http.StatusInternalServerError, 0
	case errors.Is(err, triggers.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, 0
	case errors.Is(err, triggers.ErrBusy):
		return http.StatusTooManyRequests, triggers.RetryAfter(err)
	case errors.Is(err, triggers.ErrSlow):
		return http.StatusRequestTimeout, 0
	case errors.Is(err, triggers.ErrFull):
		return http.StatusInsufficientStorage, 30
	}
	return http.StatusServiceUnavailable, 1
}

// isWaitable reports whether an event has one run whose result can be waited for. A fact that did nothing has no result.
func isWaitable(ctx context.Context, r *triggers.Receipt) bool {
	if r.Err != nil || len(r.Runs) != 1 || r.Runs[0].Wait == nil {
		return false
	}
	if r.Fate == nil {
		return true
	}
	what, _ := r.Fate(ctx).Refused()
	return what == ""
}

// answerResult waits for the run's end and answers with its event, in binary mode: the client sees by Ce-Type how it went. False: the time was over, or
// the router is shutting down.
func (w *Webhook) answerResult(rw http.ResponseWriter, r *http.Request, wait time.Duration, run triggers.Run) bool {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	go func() {
		select {
		case <-w.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	e, err := run.Wait(ctx)
	if err != nil {
		return false
	}
	rw.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	rw.Header().Set("Location", "/v1/runs/"+run.ID)
	envelope.WriteHeaders(rw.Header(), e)
	_, _ = rw.Write(e.Data()) // The client has gone: nobody is left to be told.
	return true
}

// An Answer is what is said of a request's events. Where one was refused, or did nothing, Error is the worst one's.
type Answer struct {
	Events []Taken           `json:"events"`
	Note   string            `json:"note,omitempty"` // what became of what is none
	Error  *triggers.Refused `json:"error,omitempty"`
}

// A Taken is what became of one event.
type Taken struct {
	Event  string            `json:"event"`
	Taken  string            `json:"taken,omitempty"`
	Became string            `json:"became,omitempty"`
	Runs   []TakenRun        `json:"runs"`
	Note   string            `json:"note,omitempty"`
	Error  *triggers.Refused `json:"error,omitempty"`
}

// A TakenRun is a run that an event has started or reached; one that it has reached names no trigger.
type TakenRun struct {
	Run     string `json:"run"`
	Trigger string `json:"trigger,omitempty"`
}

// acknowledge answers with an entry an event. Where one was refused, or did nothing, the status is the worst one's: those without an error are durable,
// and those that became something are folded.
func (w *Webhook) acknowledge(ctx context.Context, rw http.ResponseWriter, note string, ids []string, receipts []triggers.Receipt) {
	code, after := http.StatusOK, 0
	said := Answer{Events: make([]Taken, len(receipts)), Note: note}
	for i := range receipts {
		x, c, a := entry(ctx, ids[i], &receipts[i])
		if x.Error != nil && c > code {
			said.Error = x.Error
		}
		said.Events[i], code, after = x, max(code, c), max(after, a)
	}
	if len(receipts) == 0 {
		code = http.StatusAccepted
	}
	if len(receipts) == 1 && len(receipts[0].Runs) == 1 {
		rw.Header().Set("Location", "/v1/runs/"+receipts[0].Runs[0].ID)
	}
	if after > 0 {
		rw.Header().Set("Retry-After", strconv.Itoa(after))
	}
	answer(rw, code, said)
}

// entry is what is said of one event, with the status and the pause that it alone would be answered with.
func entry(ctx context.Context, id string, r *triggers.Receipt) (t Taken, code, after int) {
	t = Taken{Event: id, Runs: []TakenRun{}, Note: r.Note}
	started := false
	for _, run := range r.Runs {
		t.Runs = append(t.Runs, TakenRun{run.ID, run.Trigger})
		started = started || run.Trigger != ""
	}
	switch {
	case r.Err != nil:
		code, after = status(r.Err)
		refused := triggers.Refuse(code, r.Err.Error(), "")
		t.Error = &refused.Error
		return t, code, after
	case r.Fate == nil:
		t.Taken = r.Kind.String()
		return t, http.StatusAccepted, 0
	}
	fate := r.Fate(ctx)
	t.Became = fate.String()
	what, cure := fate.Refused()
	switch {
	case what == "":
		t.Taken, code = r.Kind.String(), fate.Status()
	case started: // The event has started something besides.
		t.Taken, t.Note, code = triggers.Matched.String(), what, http.StatusAccepted
	default:
		code = fate.Status()
		refused := triggers.Refuse(code, what, strings.ReplaceAll(cure, "RUN", t.Runs[0].Run))
		t.Error = &refused.Error
	}
	return t, code, 0
}

// Register enters the source.
func Register(r *plugin.Registry) {
	triggers.Register(r, "webhook", 1, "Takes CloudEvents by HTTP: binary, structured and batched.", New)
}
