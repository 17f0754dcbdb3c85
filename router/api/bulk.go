package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/triggers"
)

// A bulk is an operation on a run that may be asked for of all runs of a query: the query is that of the list of runs, with limit (1,000 where it is not said), rate
// (50/s) and dryRun beside it, and what the operation itself takes.
type bulk struct {
	keys  []string // parameters of the operation
	tries bool     // it knows dryRun itself
	path  func(q *http.Request) string
	do    func(http.ResponseWriter, *http.Request) error
}

func (a *API) bulks() map[string]*bulk {
	named := func(word string) func(*http.Request) string { return func(*http.Request) string { return word } }
	return map[string]*bulk{
		"redrive": {keys: []string{"from", "definition"}, tries: true, path: named("redrive"), do: a.postRedriveRun},
		"rerun":   {keys: []string{"input"}, tries: true, path: named("rerun"), do: a.postRerun},
		"cancel":  {keys: []string{"reason"}, path: named("cancel"), do: a.postCancel},
		"signal": {keys: []string{"signal"}, path: func(q *http.Request) string {
			return "signals/" + url.PathEscape(q.URL.Query().Get("signal"))
		}, do: a.postSignal},
	}
}

// A BulkRun is what became of one run: what the operation answers of it alone, or why it was refused.
type BulkRun struct {
	Run    string            `json:"run"`
	Answer json.RawMessage   `json:"answer,omitempty"` // of a dry run that the operation does not know itself: nothing
	Error  *triggers.Refused `json:"error,omitempty"`
}

// A BulkDone is what became of all of them.
type BulkDone struct {
	Total   int       `json:"total"` // that the query finds
	Runs    int       `json:"runs"`  // of those as many as the limit lets
	Done    int       `json:"done"`
	Refused int       `json:"refused"`
	Left    int       `json:"left,omitempty"`   // it was stopped before
	Errors  []BulkRun `json:"errors,omitempty"` // the first of those that were refused
	DryRun  bool      `json:"dryRun,omitempty"`
}

// What a bulk does where nobody says: as many runs, at such a rate.
const (
	bulkRuns   = 1000
	bulkErrors = 20
)

var bulkRate = config.Rate{N: 50, Per: time.Second}

// postBulk does something to all runs of a query, one after the other, the latest first, until who asked has gone: then the run that is at work is the last. As lines
// (Accept: application/x-ndjson) each run is told of at once; the last line, and else the whole answer, is a BulkDone.
func (a *API) postBulk(b *bulk) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, q *http.Request) error {
		ask := q.URL.Query()
		dry := isTrue(q, "dryRun")
		rate := bulkRate
		if text := ask.Get("rate"); text != "" {
			if err := rate.UnmarshalText([]byte(text)); err != nil {
				return invalid("rate: %w", err)
			}
		}
		if slices.Contains(b.keys, "signal") && ask.Get("signal") == "" {
			return invalid("which signal? say signal")
		}
		body, err := a.bulkBody(w, q)
		if err != nil {
			return err
		}
		list, err := a.bulkList(w, q, b)
		if err != nil {
			return err
		}
		out := &bulkOut{w: w, lines: strings.Contains(q.Header.Get("Accept"), Lines)}
		done := BulkDone{Total: list.Total, Runs: len(list.Runs), DryRun: dry}
		if out.lines {
			w.Header().Set("Content-Type", Lines)
			out.put(done)
		}
		begin := time.Now()
		for i, l := range list.Runs {
			if !paced(q.Context(), rate, begin, i) {
				done.Left = len(list.Runs) - i
				break
			}
			said := a.bulkOne(q, b, l.Run, body, dry)
			if said.Error == nil {
				done.Done++
			} else if done.Refused++; len(done.Errors) < bulkErrors {
				done.Errors = append(done.Errors, said)
			}
			out.put(said)
		}
		if !out.lines {
			return reply(w, http.StatusOK, done)
		}
		out.put(done)
		return nil
	}
}

func (a *API) bulkBody(w http.ResponseWriter, q *http.Request) ([]byte, error) {
	v, err := a.body(w, q)
	if err != nil || v.IsNull() {
		return nil, err
	}
	return []byte(v.JSON()), nil
}

// bulkList finds the runs that are meant. One that asks for all there are is refused: it is a word that was forgotten.
func (a *API) bulkList(w http.ResponseWriter, q *http.Request, b *bulk) (*RunList, error) {
	ask := q.URL.Query()
	for _, key := range append([]string{"rate", "dryRun"}, b.keys...) {
		ask.Del(key)
	}
	if ask.Get("limit") == "" {
		ask.Set("limit", strconv.Itoa(bulkRuns))
	}
	if !slices.ContainsFunc([]string{"tenant", "trigger", "state", "error", "event", "parent", "text", "since", "until"}, func(key string) bool { return ask.Get(key) != "" }) {
		return nil, invalid("which runs? say state, trigger, tenant, error, event, parent, text, since or until, as for GET /v1/runs")
	}
	r := q.Clone(q.Context())
	r.Method, r.Body = http.MethodGet, http.NoBody
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/v1/runs", "", ask.Encode()
	query, err := parseRunQuery(r)
	if err != nil {
		return nil, err
	}
	list, err := a.runsOf(w, r, query)
	for err == nil && list.Looked != nil && len(list.Runs) < query.limit && r.Context().Err() == nil { // A text is looked for in parts.
		next := *query
		if next.after, err = parseRunPlace(list.Next); err != nil {
			break
		}
		next.limit -= len(list.Runs)
		var part *RunList
		if part, err = a.runsOf(w, r, &next); err == nil {
			part.Runs, part.Total = append(list.Runs, part.Runs...), list.Total+part.Total
			list = part
		}
	}
	return list, err
}

// bulkOne does it to one run, where that is.
func (a *API) bulkOne(q *http.Request, b *bulk, run string, body []byte, dry bool) BulkRun {
	said := BulkRun{Run: run}
	if dry && !b.tries {
		return said
	}
	ask := make(url.Values)
	for _, key := range b.keys {
		if v := q.URL.Query().Get(key); v != "" && key != "signal" {
			ask.Set(key, v)
		}
	}
	if dry {
		ask.Set("dryRun", "true")
	}
	r := q.Clone(context.WithoutCancel(q.Context())) // What has begun is done.
	path := "/v1/runs/" + run + "/" + b.path(q)
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, "", ask.Encode()
	if p, err := url.PathUnescape(path); err == nil && p != path {
		r.URL.Path, r.URL.RawPath = p, path
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.SetPathValue("run", run)
	r.SetPathValue("name", q.URL.Query().Get("signal"))
	heard := &hearing{head: make(http.Header), code: http.StatusOK}
	if err := a.answer(heard, r, route{right: access.Operate, reach: ofRun, do: b.do}); err != nil {
		fail(heard, err)
	}
	answer := bytes.TrimSpace(heard.body.Bytes())
	if heard.code < 300 {
		said.Answer = answer
		return said
	}
	var no triggers.Refusal
	if json.Unmarshal(answer, &no) != nil || no.Error.Message == "" {
		no = triggers.Refuse(heard.code, http.StatusText(heard.code), "")
	}
	said.Error = &no.Error
	return said
}

// paced waits for the turn of number n; it is false when who asked has gone.
func paced(ctx context.Context, rate config.Rate, begin time.Time, n int) bool {
	wait := time.NewTimer(time.Until(begin.Add(time.Duration(float64(n) * float64(rate.Per) / float64(rate.N)))))
	defer wait.Stop()
	select {
	case <-wait.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// A bulkOut writes lines, where they are asked for.
type bulkOut struct {
	w     http.ResponseWriter
	lines bool
}

func (o *bulkOut) put(v any) {
	if !o.lines {
		return
	}
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // Whether the client is there, its context says.
	_ = http.NewResponseController(o.w).Flush()
}

// A hearing takes an answer down.
type hearing struct {
	head http.Header
	code int
	body bytes.Buffer
}

func (h *hearing) Header() http.Header         { return h.head }
func (h *hearing) WriteHeader(code int)        { h.code = code }
func (h *hearing) Write(p []byte) (int, error) { return h.body.Write(p) }

// bulkRoutes are the operations on all runs of a query.
func (a *API) bulkRoutes() (all []route) {
	bulks := a.bulks()
	for _, verb := range []string{"redrive", "rerun", "cancel", "signal"} {
		all = append(all, route{"POST /v1/runs/" + verb, access.Operate, ofTenant, a.postBulk(bulks[verb])})
	}
	return all
}
