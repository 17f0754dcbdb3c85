package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// Letters are the dead letters that are kept here.
type Letters interface {
	Get(id string) (*engine.Letter, error) // nil: it is not here
	Each(yield func(*engine.Letter) bool) error
	Remove(id string) (was bool, err error)
	// Replace books what became of one that was sent again.
	Replace(x *engine.Letter) error
}

var (
	errNoLetter    = errors.New("no such dead letter")
	errUndelivered = errors.New("not delivered; the letter is kept")
)

// redriveTime is how long a dead letter that is sent again may take to arrive.
const redriveTime = 30 * time.Second

// getDead lists dead letters of all routers, the latest first, without their data.
func (a *API) getDead(w http.ResponseWriter, q *http.Request) error {
	ask := q.URL.Query()
	limit := 100
	if text := ask.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: limit %q is not a number from 1", triggers.ErrInvalid, text)
		}
		limit = min(n, 10_000)
	}
	is := func(want string, has ...string) bool { return want == "" || slices.Contains(has, want) }
	lines := []*engine.Letter{}
	err := a.Letters.Each(func(x *engine.Letter) bool {
		if is(ask.Get("trigger"), x.Trigger) && is(ask.Get("tenant"), x.Tenant) && is(ask.Get("run"), x.Run) && is(ask.Get("function"), x.To, x.Starts) {
			line := *a.shown(x)
			line.Data, line.Matched = lang.Value{}, nil
			lines = append(lines, &line)
		}
		return len(lines) < limit
	})
	if err != nil {
		return err
	}
	var theirs []*engine.Letter
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		var some []*engine.Letter
		return &some, func() { theirs = append(theirs, some...) }
	})
	for _, x := range theirs {
		if !slices.ContainsFunc(lines, func(y *engine.Letter) bool { return y.ID == x.ID }) { // A partition that has moved is folded again by another.
			lines = append(lines, x)
		}
	}
	slices.SortStableFunc(lines, func(x, y *engine.Letter) int { return y.Time.Compare(x.Time) })
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	return reply(w, 200, lines[:min(limit, len(lines))])
}

// shown is a letter with its event's id as it was sent.
func (a *API) shown(x *engine.Letter) *engine.Letter {
	if a.Seal == nil || x.What != engine.Call.String() {
		return x
	}
	y := *x
	y.Event = a.Seal(y.Event)
	return &y
}

// elsewhere puts a request for a letter that is not here to the other routers; false is that none has it.
func (a *API) elsewhere(w http.ResponseWriter, q *http.Request) error {
	var said map[string]any
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		var one map[string]any
		return &one, func() { said = one }
	})
	switch {
	case said != nil:
		return reply(w, 200, said)
	case len(unanswered) > 0:
		return fmt.Errorf("%w here: %q; these routers did not answer: %s", errNoLetter, q.PathValue("id"), strings.Join(unanswered, ", "))
	}
	return fmt.Errorf("%w: %q", errNoLetter, q.PathValue("id"))
}

func (a *API) getLetter(w http.ResponseWriter, q *http.Request) error {
	x, err := a.Letters.Get(q.PathValue("id"))
	if err != nil {
		return err
	}
	if x == nil {
		return a.elsewhere(w, q)
	}
	return reply(w, 200, a.shown(x))
}

// deleteLetter removes a letter everywhere: it may be kept twice where its partition has moved.
func (a *API) deleteLetter(w http.ResponseWriter, q *http.Request) error {
	was, err := a.Letters.Remove(q.PathValue("id"))
	if err != nil {
		return err
	}
	if !was {
		return a.elsewhere(w, q)
	}
	a.removeElsewhere(q)
	return reply(w, 200, map[string]any{"id": q.PathValue("id"), "removed": true})
}

func (a *API) removeElsewhere(q *http.Request) {
	r := q.Clone(q.Context())
	r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery = http.MethodDelete, "/v1/dead/"+q.PathValue("id"), "", ""
	a.Cluster.Gather(r, func() (any, func()) { return new(map[string]any), func() {} })
}

// postRedrive sends a letter again, and takes it away once it has arrived.
func (a *API) postRedrive(w http.ResponseWriter, q *http.Request) error {
	x, err := a.Letters.Get(q.PathValue("id"))
	if err != nil {
		return err
	}
	if x == nil {
		return a.elsewhere(w, q)
	}
	ctx, cancel := context.WithTimeout(q.Context(), redriveTime)
	defer cancel()
	if err := a.Redrive(ctx, x); err != nil {
		y := *x
		y.Redrives, y.LastRedrive, y.LastError = x.Redrives+1, time.Now().UTC(), err.Error()
		return fmt.Errorf("%w: %w", errUndelivered, errors.Join(err, a.Letters.Replace(&y)))
	}
	if _, err := a.Letters.Remove(x.ID); err != nil {
		return err
	}
	a.removeElsewhere(q)
	return reply(w, 200, map[string]any{"id": x.ID, "delivered": true})
}
