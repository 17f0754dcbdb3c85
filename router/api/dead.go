package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Letters are the dead letters that are kept here.
type Letters interface {
	Get(id string) (*engine.Letter, error) // nil: it is not here
	Page(q *engine.LetterQuery) (*engine.FoundLetters, error)
	Causes(q *engine.LetterQuery) ([]*engine.LetterCause, error)
	Remove(id string) (was bool, err error)
	Gone(id string) (bool, error) // it was here, and was sent again or removed not long ago
	// Replace books what became of one that was sent again.
	Replace(x *engine.Letter) error
}

var (
	errNoLetter    = errors.New("no such dead letter")
	errUndelivered = errors.New("not delivered; the letter is kept")
)

// A LetterBecame says what became of a dead letter that was to be sent again or removed: delivered, removed, or gone, when it was either before.
type LetterBecame struct {
	Letter string `json:"letter"`
	Became string `json:"became"`
}

const letterGone = "gone"

// redriveTime is how long a dead letter that is sent again may take to arrive.
const redriveTime = 30 * time.Second

// getDead lists dead letters of all routers, the latest first, without their data; or how many there are of each cause.
func (a *API) getDead(w http.ResponseWriter, q *http.Request) error {
	f, err := letterQueryOf(q.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	if f.tenant, err = tenantAsked(q, f.tenant); err != nil {
		return err
	}
	if f.grouped {
		return a.getCauses(w, q, f)
	}
	r := q
	if !a.Cluster.IsPeer(q.Context()) {
		f.limit = min(f.limit, lettersMost)
		r = q.Clone(q.Context())
		ask := q.URL.Query()
		ask.Set("limit", strconv.Itoa(f.limit+1))
		r.URL.RawQuery = ask.Encode()
	}
	found, err := a.Letters.Page(f.query(a.shown))
	if err != nil {
		return err
	}
	said, lines := LetterList{Total: found.Total}, make(lineup, 0, len(found.Letters))
	for _, x := range found.Letters {
		lines = append(lines, a.shown(x))
	}
	unanswered := a.Cluster.Gather(r, func() (any, func()) {
		theirs := new(LetterList)
		return theirs, func() {
			said.Total += theirs.Total
			for _, x := range theirs.Letters {
				lines.add(x, f.limit)
			}
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	var more bool
	if said.Letters, more = lines.first(f.limit); more || found.More {
		said.Next = said.Letters[len(said.Letters)-1].Cursor().String()
	}
	return reply(w, http.StatusOK, said)
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

// elsewhere puts a request for a letter that is not here to the other routers, and says so when none has it.
func (a *API) elsewhere(w http.ResponseWriter, q *http.Request) error {
	var said map[string]any
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		var one map[string]any
		return &one, func() {
			if said == nil || one["became"] != letterGone {
				said = one
			}
		}
	})
	id := q.PathValue("id")
	switch {
	case said != nil:
		return reply(w, 200, said)
	case len(unanswered) > 0:
		return fmt.Errorf("%w here: %q; these routers did not answer: %s", errNoLetter, id, strings.Join(unanswered, ", "))
	case q.Method == http.MethodPost && a.mayHaveHad(q.Context(), id):
		gone, err := a.Letters.Gone(id)
		if err != nil {
			return err
		}
		if gone {
			return reply(w, http.StatusOK, LetterBecame{id, letterGone})
		}
	}
	return fmt.Errorf("%w: %q", errNoLetter, id)
}

// letterOf is the letter that is asked for; nil: for who asks it is not here.
func (a *API) letterOf(q *http.Request) (*engine.Letter, error) {
	x, err := a.Letters.Get(q.PathValue("id"))
	if x != nil && !access.Asking(q.Context()).Owns(x.Tenant) {
		x = nil
	}
	return x, err
}

// mayHaveHad reports whether a letter that is not here any more can have been there for who asks: its run was.
func (a *API) mayHaveHad(ctx context.Context, id string) bool {
	run, _, _ := strings.Cut(id, ".")
	of, err := journal.ParseRunID(run)
	return access.Asking(ctx).Tenant == "" || err == nil && a.owned(ctx, of, false) == nil
}

func (a *API) getLetter(w http.ResponseWriter, q *http.Request) error {
	x, err := a.letterOf(q)
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
	x, err := a.letterOf(q)
	if err != nil {
		return err
	}
	if x == nil {
		return a.elsewhere(w, q)
	}
	if _, err := a.Letters.Remove(x.ID); err != nil {
		return err
	}
	a.removeElsewhere(q)
	return reply(w, http.StatusOK, LetterBecame{q.PathValue("id"), "removed"})
}

func (a *API) removeElsewhere(q *http.Request) {
	r := q.Clone(context.WithoutCancel(q.Context())) // What is done here is done, whether or not who asked has gone.
	r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery = http.MethodDelete, "/v1/dead/"+q.PathValue("id"), "", ""
	a.Cluster.Gather(r, func() (any, func()) { return new(map[string]any), func() {} })
}

// postRedrive sends a letter again, and takes it away once it has arrived. One that is gone was sent again or removed before: that is no error.
func (a *API) postRedrive(w http.ResponseWriter, q *http.Request) error {
	x, err := a.letterOf(q)
	if err != nil {
		return err
	}
	if x == nil {
		return a.elsewhere(w, q)
	}
	if _, under := a.redriving.LoadOrStore(x.ID, true); under {
		return fmt.Errorf("%w: it is being sent again already", errUndelivered)
	}
	defer a.redriving.Delete(x.ID)
	if x, err = a.Letters.Get(x.ID); err != nil {
		return err
	}
	if x == nil { // It arrived while this was asked for.
		return reply(w, http.StatusOK, LetterBecame{q.PathValue("id"), letterGone})
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
	return reply(w, http.StatusOK, LetterBecame{x.ID, "delivered"})
}
