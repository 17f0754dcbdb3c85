package router

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var errUnknownRun = errors.New("unknown run")

// routes is the HTTP API, with the sources that are paths.
func (r *Router) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	guarded := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, r.guard(func(w http.ResponseWriter, q *http.Request) {
			if err := h(w, q); err != nil {
				fail(w, err)
			}
		}))
	}
	guarded("GET /v1/runs", r.getRuns)
	guarded("GET /v1/runs/{run}", r.atOwner(r.getRun))
	guarded("GET /v1/runs/{run}/ended", r.getEnded)
	guarded("GET /v1/runs/{run}/explain", r.atOwner(r.getExplain))
	guarded("GET /v1/runs/{run}/watch", r.atOwner(r.getWatch))
	guarded("POST /v1/runs/{run}/cancel", r.atOwner(r.postCancel))
	guarded("POST /v1/runs/{run}/signals/{name}", r.atOwner(r.postSignal))
	guarded("POST /v1/triggers/{trigger}", r.postStart)
	guarded("GET /v1/triggers", r.getTriggers)
	guarded("GET /v1/parked", r.getParked)
	guarded("GET /v1/functions", func(w http.ResponseWriter, _ *http.Request) error { return reply(w, 200, r.outbox.Functions()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.o.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _ = reply(w, 200, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /readyz", r.getReady)
	paths := make(map[string]bool)
	for _, s := range r.sources {
		h, ok := s.(triggers.HTTPSource)
		if !ok {
			continue
		}
		path, handler := h.Handler(r.gate.Admit)
		if paths[path] {
			return nil, fmt.Errorf("two webhooks have the path %q; give one another", path)
		}
		paths[path] = true
		mux.Handle(path, handler)
	}
	return mux, nil
}

func reply(w http.ResponseWriter, code int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // The client has gone: nobody is left to be told.
	return nil
}

type apiError struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errUnknownRun), errors.Is(err, triggers.ErrNoTrigger):
		code = http.StatusNotFound
	case errors.Is(err, journal.ErrMoving):
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, triggers.ErrInvalid):
		code = http.StatusBadRequest
	case errors.Is(err, triggers.ErrBusy):
		code = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, triggers.ErrFull), errors.Is(err, journal.ErrFull):
		code = http.StatusInsufficientStorage
		w.Header().Set("Retry-After", "30")
	}
	_ = reply(w, code, apiError{err.Error()})
}

// guard asks for the token where one is set.
func (r *Router) guard(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r.o.Token.IsZero() {
			h(w, q)
			return
		}
		want, err := r.o.Token.Read()
		got, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
		a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
		if err != nil || !ok || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="onward"`)
			_ = reply(w, http.StatusUnauthorized, apiError{"no valid token; send Authorization: Bearer TOKEN"})
			return
		}
		h(w, q)
	})
}

func (r *Router) getReady(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-r.Ready():
		if !r.gate.Draining() {
			_ = reply(w, 200, map[string]string{"status": "ready"})
			return
		}
	default:
	}
	_ = reply(w, http.StatusServiceUnavailable, apiError{"not ready: partitions are being claimed, or the router is shutting down"})
}

func runOf(q *http.Request) (journal.RunID, error) {
	id, err := journal.ParseRunID(q.PathValue("run"))
	if err != nil {
		return id, fmt.Errorf("%w: %w", errUnknownRun, err)
	}
	return id, nil
}

// A RunLine is one line of the list of runs.
type RunLine struct {
	Run     string     `json:"run"`
	Tenant  string     `json:"tenant"`
	Trigger string     `json:"trigger"`
	State   string     `json:"state"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Calls   int        `json:"calls"`
	Open    int        `json:"open"`
}

func (r *Router) getRuns(w http.ResponseWriter, q *http.Request) error {
	limit := 100
	if text := q.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: limit %q is not a number from 1", triggers.ErrInvalid, text)
		}
		limit = min(n, 10_000)
	}
	state, trigger := q.URL.Query().Get("state"), q.URL.Query().Get("trigger")
	lines := []RunLine{}
	keep := func(l RunLine) {
		if (state == "" || l.State == state) && (trigger == "" || l.Trigger == trigger) && len(lines) < limit {
			lines = append(lines, l)
		}
	}
	if err := r.shards.Each(q.Context(), func(st *engine.State) {
		st.List(limit, func(x engine.Summary) bool {
			keep(RunLine{x.Run.String(), x.Tenant, x.Trigger, x.State, x.Started, nil, x.Calls, x.Open})
			return true
		})
	}); err != nil {
		return err
	}
	if err := r.endings.Each(func(f *Finished) bool {
		keep(RunLine{f.ID, f.Tenant, f.Trigger, f.State, f.Started, &f.Ended, f.Calls, 0})
		return len(lines) < limit
	}); err != nil {
		return err
	}
	if q.Header.Get(forwardedHeader) == "" {
		var unanswered []string
		if lines, unanswered = r.gather(q.Context(), q.URL.Query(), lines, limit); len(unanswered) > 0 {
			w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
		}
	}
	return reply(w, 200, lines)
}

func (r *Router) getRun(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	if text := q.URL.Query().Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%w: wait %q is not a duration such as 30s", triggers.ErrInvalid, text)
		}
		ctx, cancel := context.WithTimeout(q.Context(), min(d, 5*time.Minute))
		defer cancel()
		if f, err := r.Wait(ctx, id); err == nil {
			return reply(w, 200, f)
		}
	}
	st, f, err := r.Status(q.Context(), id, 10)
	if err != nil {
		return err
	}
	if f != nil {
		return reply(w, 200, f)
	}
	return reply(w, 200, st)
}

// getEnded is what routers ask one another: how a run ended, as the history keeps it, after waiting for its end for a while.
func (r *Router) getEnded(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	f := r.endings.Find(id)
	if text := q.URL.Query().Get("wait"); f == nil && text != "" && r.shards.Has(id) {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%w: wait %q is not a duration such as 30s", triggers.ErrInvalid, text)
		}
		ctx, cancel := context.WithTimeout(q.Context(), min(d, 5*time.Minute))
		defer cancel()
		f, _ = r.Wait(ctx, id) // The time was over: it has not ended.
	}
	if f == nil {
		return fmt.Errorf("%w: run %s has not ended here", errUnknownRun, id)
	}
	return reply(w, 200, f.Keep())
}

func (r *Router) getExplain(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	lines, err := r.Explain(q.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, 200, map[string]any{"run": id, "explain": lines})
}

// getWatch streams a run's changes as server-sent events, first what it is doing, last how it ended.
func (r *Router) getWatch(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	changes := r.Watch(ctx, id)
	st, f, err := r.Status(ctx, id, 10)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	send := func(name string, v any) {
		b, _ := json.Marshal(v) // Our own types marshal.
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
		_ = http.NewResponseController(w).Flush()
	}
	if f != nil {
		send("ended", f)
		return nil
	}
	send("status", st)
	ended, waiting, stop := r.endings.Get(id)
	defer stop()
	if ended != nil {
		send("ended", ended)
		return nil
	}
	for {
		select {
		case c := <-changes:
			send(c.Kind.String(), watchLine(c))
		case f := <-waiting:
			send("ended", f)
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// A WatchLine is one change as `runs watch` shows it.
type WatchLine struct {
	Time    time.Time   `json:"time"`
	Path    string      `json:"path,omitempty"`
	N       uint32      `json:"n,omitempty"`
	Attempt int         `json:"attempt,omitempty"`
	Outcome string      `json:"outcome,omitempty"`
	Error   *lang.Error `json:"error,omitempty"`
	Wait    string      `json:"wait,omitempty"`
	Text    string      `json:"text,omitempty"`
}

func watchLine(c engine.Change) WatchLine {
	l := WatchLine{Time: c.Time, Path: c.Path, N: c.N, Attempt: c.Attempt, Text: c.Text, Error: c.Outcome.Err}
	if c.Outcome.Verdict != 0 {
		l.Outcome = c.Outcome.Verdict.String()
	}
	if c.Wait > 0 {
		l.Wait = c.Wait.String()
	}
	return l
}

func (r *Router) postCancel(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	if _, _, err := r.Status(q.Context(), id, 0); err != nil {
		return err
	}
	if err := r.Cancel(q.Context(), id, q.URL.Query().Get("reason")); err != nil {
		return err
	}
	return reply(w, http.StatusAccepted, map[string]string{"run": id.String()})
}

func body(w http.ResponseWriter, q *http.Request) (lang.Value, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, MaxEventBytes))
	if err != nil {
		return lang.Null, fmt.Errorf("%w: %w", triggers.ErrInvalid, err)
	}
	if len(b) == 0 {
		return lang.Null, nil
	}
	v, err := lang.ParseValue(b)
	if err != nil {
		return lang.Null, fmt.Errorf("%w: the body is not JSON: %w", triggers.ErrInvalid, err)
	}
	return v, nil
}

// postSignal sends a signal with the body as its data. The header Idempotency-Key tells repeats.
func (r *Router) postSignal(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	data, err := body(w, q)
	if err != nil {
		return err
	}
	if _, _, err := r.Status(q.Context(), id, 0); err != nil {
		return err
	}
	f := engine.SignalFact{Source: "/v1/signals", ID: keyOf(q), Name: q.PathValue("name"), Data: data}
	if err := r.Signal(q.Context(), id, f); err != nil {
		return err
	}
	return reply(w, http.StatusAccepted, map[string]string{"run": id.String(), "signal": f.Name, "id": f.ID})
}

func keyOf(q *http.Request) string {
	if key := q.Header.Get("Idempotency-Key"); key != "" {
		return key
	}
	return NewID()
}

// postStart starts a trigger by name with the body as data.
func (r *Router) postStart(w http.ResponseWriter, q *http.Request) error {
	data, err := body(w, q)
	if err != nil {
		return err
	}
	e := event.New()
	e.SetID(keyOf(q))
	e.SetSource("/v1/triggers")
	e.SetType("dev.onward.start")
	e.SetTime(time.Now())
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data.JSON())); err != nil {
		return err
	}
	id, err := r.Start(q.Context(), q.PathValue("trigger"), &e)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/runs/"+id.String())
	return reply(w, http.StatusAccepted, map[string]string{"run": id.String(), "event": e.ID()})
}

// getParked lists what this router's sources got and what is no event, and the places in its part of the journal that hold no record.
func (r *Router) getParked(w http.ResponseWriter, _ *http.Request) error {
	parked := append([]triggers.Parked{}, r.shards.Parked()...)
	for _, s := range r.sources {
		if p, ok := s.(triggers.Parking); ok {
			parked = append(parked, p.Parked()...)
		}
	}
	return reply(w, 200, parked)
}

func (r *Router) getTriggers(w http.ResponseWriter, _ *http.Request) error {
	type line struct {
		Name    string `json:"name"`
		Tenant  string `json:"tenant"`
		Filters int    `json:"filters"`
		Digest  string `json:"digest"`
	}
	lines := []line{}
	set := r.gate.Set()
	for _, name := range set.TriggerNames() {
		t := set.Triggers[name]
		lines = append(lines, line{name, t.Tenant, len(t.Filters), fmt.Sprintf("%x", t.Digest[:8])})
	}
	return reply(w, 200, lines)
}
