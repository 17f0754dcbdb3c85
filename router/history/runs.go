package history

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A match is a run that was asked for, by what it is sorted by.
type match struct {
	key int64
	id  journal.RunID
}

func (m match) compare(o match) int {
	return cmp.Or(cmp.Compare(m.key, o.key), bytes.Compare(m.id[:], o.id[:]))
}

// Runs looks for ended runs. It reads all that is kept of their ends: some 100,000 in a tenth of a second.
func (h *Endings) Runs(q engine.RunQuery) (*engine.FoundRuns, error) {
	if !slices.Contains([]string{"", "ended", "started", "duration"}, q.Sort) {
		return nil, fmt.Errorf("runs are not sorted by %q; write ended, started or duration", q.Sort)
	}
	after, err := parseMatch(q.After)
	if err != nil {
		return nil, err
	}
	q.Text = strings.ToLower(q.Text)
	var all []match
	total := 0
	err = h.store.endings(func(id journal.RunID, text []byte) (bool, error) {
		m, is, err := (*query)(&q).matches(id, text)
		if !is || err != nil {
			return true, err
		}
		total++
		if after == nil || (m.compare(*after) > 0) == q.Up && m != *after {
			all = append(all, m)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b match) int {
		if q.Up {
			return a.compare(b)
		}
		return b.compare(a)
	})
	found := &engine.FoundRuns{Runs: []*engine.Ending{}, Total: total}
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
		last := all[len(all)-1]
		found.Next = engine.Cursor{N: last.key, ID: last.id.String()}.String()
	}
	for _, m := range all {
		f, err := h.store.ending(m.id)
		if err != nil {
			return nil, err
		}
		if f != nil { // It was let go of meanwhile.
			found.Runs = append(found.Runs, f)
		}
	}
	return found, nil
}

func parseMatch(text string) (*match, error) {
	if text == "" {
		return nil, nil
	}
	c, err := engine.ParseCursor(text)
	id, err2 := journal.ParseRunID(c.ID)
	if err != nil || err2 != nil {
		return nil, fmt.Errorf("%.60q is %w", text, engine.ErrCursor)
	}
	return &match{c.N, id}, nil
}

// A query looks at entries without making runs of them.
type query engine.RunQuery

func (q *query) matches(id journal.RunID, text []byte) (m match, is bool, err error) {
	r := reader{b: text}
	started, ended := r.int(), r.int()
	_ = r.uint()
	tenant, trigger, state, _, failure := r.bytes(), r.bytes(), r.bytes(), r.bytes(), r.bytes()
	rest := r.b
	event := r.bytes()
	if r.bad {
		return m, false, errSpoiled
	}
	differs := func(want string, has []byte) bool { return want != "" && want != string(has) }
	switch {
	case differs(q.Tenant, tenant), differs(q.Trigger, trigger), differs(q.State, state), differs(q.ErrorType, failure),
		!q.Since.IsZero() && ended < q.Since.UnixNano(), !q.Until.IsZero() && started > q.Until.UnixNano(),
		q.Text != "" && !bytes.Contains(bytes.ToLower(rest), []byte(q.Text)):
		return m, false, nil
	}
	if (q.Event != "" || q.Parent != "") && (bytes.Contains(event, []byte(q.Event)) || q.Event == "") {
		f, err := decodeEnding(id, text)
		if err != nil {
			return m, false, err
		}
		var attrs struct{ ID string }
		if f.Event.Decode(&attrs) != nil || q.Event != "" && attrs.ID != q.Event || q.Parent != "" && engine.ParentOf(f.Event) != q.Parent {
			return m, false, nil
		}
	} else if q.Event != "" {
		return m, false, nil
	}
	m = match{ended, id}
	switch q.Sort {
	case "started":
		m.key = started
	case "duration":
		m.key = ended - started
	}
	return m, true, nil
}
