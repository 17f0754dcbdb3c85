package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
)

// A LetterList is a part of the dead letters, the latest first, without their data.
type LetterList struct {
	Letters []*engine.Letter `json:"letters"`
	// Total counts all that are chosen, whatever the part. One that two routers keep, because its partition has moved, counts for each of them.
	Total int    `json:"total"`
	Next  string `json:"next,omitempty"` // cursor of the next part; empty: there is no more
}

// A letterQuery chooses dead letters; its zero fields choose all.
type letterQuery struct {
	trigger, function, tenant, run, kind, fault string
	text                                        string // small letters
	since, until                                time.Time
	after                                       engine.Cursor
	limit                                       int
	grouped                                     bool
}

// letterQueryOf reads a choice.
func letterQueryOf(ask url.Values, now time.Time) (f letterQuery, err error) {
	f = letterQuery{
		trigger: ask.Get("trigger"), function: ask.Get("function"), tenant: ask.Get("tenant"), run: strings.ToLower(ask.Get("run")), kind: ask.Get("kind"), fault: ask.Get("error"),
		text: strings.ToLower(ask.Get("text")), limit: partDefault, grouped: ask.Get("group") != "",
	}
	if f.since, err = whenOf("since", ask.Get("since"), now); err != nil {
		return f, err
	}
	if f.until, err = whenOf("until", ask.Get("until"), now); err != nil {
		return f, err
	}
	if text := ask.Get("after"); text != "" {
		if f.after, err = engine.ParseCursor(text); err != nil {
			err = invalid("after: %w", err)
			return f, err
		}
	}
	if text := ask.Get("limit"); text != "" {
		f.limit, err = limitFrom(text)
	}
	return f, err
}

// lettersMost is how many lines a list has; a router tells another one more, so that it knows of more.
const lettersMost = 10_000

// limitFrom reads how many lines are wanted.
func limitFrom(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%w: limit %.40q is not a number from 1", errRequest, text)
	}
	return min(n, lettersMost+1), nil
}

// whenOf reads a time as people write it; none is the zero one.
func whenOf(key, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := plugin.ParseMoment(text, now)
	if err != nil {
		return at, invalid("%s: %w", key, err)
	}
	return at, nil
}

// query is what is asked of those who keep the letters; shown gives a letter as who asks sees it.
func (f *letterQuery) query(shown func(*engine.Letter) *engine.Letter) *engine.LetterQuery {
	q := &engine.LetterQuery{
		Trigger: f.trigger, Tenant: f.tenant, Run: f.run, Kind: f.kind, Function: f.function, Error: f.fault, Since: f.since, Until: f.until, After: f.after, Limit: f.limit,
	}
	if f.text != "" {
		q.Match = func(x *engine.Letter) bool { return f.says(shown(x)) }
	}
	return q
}

// says reports whether the text that is looked for is in a letter: in what names it, in its reason or in its data.
func (f *letterQuery) says(x *engine.Letter) bool {
	fault := x.Fault()
	for _, part := range []string{x.ID, x.Event, x.Type, x.Path, x.Trigger, x.To, x.Starts, fault.Type, fault.Message, x.LastError} {
		if strings.Contains(strings.ToLower(part), f.text) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(x.Data.JSON()), f.text)
}

// A lineup is the latest of the letters that come in any order, each once: a partition that has moved is folded again by another router.
type lineup []*engine.Letter

func (l *lineup) add(x *engine.Letter, limit int) {
	if *l = append(*l, x); len(*l) >= 2*limit+1000 {
		l.sort()
		*l = (*l)[:min(len(*l), limit+1)]
	}
}

func (l *lineup) sort() {
	slices.SortStableFunc(*l, func(x, y *engine.Letter) int { return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(y.ID, x.ID)) })
	*l = slices.CompactFunc(*l, func(x, y *engine.Letter) bool { return x.ID == y.ID })
}

// first returns the first of them, and whether there are more.
func (l *lineup) first(limit int) (lines []*engine.Letter, more bool) {
	l.sort()
	n := min(len(*l), limit)
	return append([]*engine.Letter{}, (*l)[:n]...), len(*l) > limit
}

// A Cause is what dead letters have in common.
type Cause = engine.LetterCause

// Causes are dead letters by their cause, the most frequent first. A letter that two routers keep, because its partition has moved, is counted by both.
type Causes struct {
	Total  int      `json:"total"`
	Causes []*Cause `json:"causes"`
}

// causesMost bounds the causes that are told apart; what is beyond is counted as one.
const causesMost = 1000

type causeKey struct{ kind, trigger, function, fault string }

// A tally counts dead letters by cause.
type tally map[causeKey]*Cause

func (t tally) add(c *Cause) {
	key := causeKey{c.Kind, c.Trigger, c.Function, c.Error}
	had := t[key]
	if had == nil && len(t) >= causesMost {
		other := *c
		other.Kind, other.Trigger, other.Function, other.Error = "", "", "", "others"
		c, key = &other, causeKey{fault: "others"}
		had = t[key]
	}
	if had == nil {
		t[key] = c
		return
	}
	had.Count += c.Count
	if c.First.Before(had.First) {
		had.First = c.First
	}
	if c.Last.After(had.Last) {
		had.Last, had.Letter, had.Message = c.Last, c.Letter, c.Message
	}
}

// messageMost is how much of an error's message a cause shows.
const messageMost = 500

// getCauses counts dead letters of all routers by cause.
func (a *API) getCauses(w http.ResponseWriter, q *http.Request, f letterQuery) error {
	t := make(tally)
	ours, err := a.Letters.Causes(f.query(a.shown))
	if err != nil {
		return err
	}
	for _, c := range ours {
		c.Message = strings.ToValidUTF8(c.Message[:min(len(c.Message), messageMost)], "")
		t.add(c)
	}
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		var theirs Causes
		return &theirs, func() {
			for _, c := range theirs.Causes {
				t.add(c)
			}
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	out := Causes{Causes: []*Cause{}}
	for _, c := range t {
		out.Total += c.Count
		out.Causes = append(out.Causes, c)
	}
	slices.SortFunc(out.Causes, func(x, y *Cause) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), y.Last.Compare(x.Last), cmp.Compare(x.Letter, y.Letter))
	})
	return reply(w, 200, out)
}
