package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// A DefinitionLine is a definition that open runs go by.
type DefinitionLine struct {
	Trigger   string   `json:"trigger"`
	Tenant    string   `json:"tenant"`
	Digest    string   `json:"digest"`
	Current   bool     `json:"current"` // it is in force at the router that is asked
	Runs      int      `json:"runs"`    // that are open, begun or not
	Some      []string `json:"some"`    // of them, by id
	Functions []string `json:"functions,omitempty"`
	Triggers  []string `json:"triggers,omitempty"` // that it starts by their names
}

// A DefinitionList is the definitions that open runs go by.
type DefinitionList struct {
	Definitions []DefinitionLine `json:"definitions"` // by trigger
}

// someRuns is how many open runs are named where there are many.
const someRuns = 5

// A Difference is what other documents would change.
type Difference struct {
	Changes    []Touched `json:"changes"`              // by kind and name
	Refused    string    `json:"refused,omitempty"`    // why a reload would not take them
	Unanswered []string  `json:"unanswered,omitempty"` // routers whose runs are not counted
	Warnings   []string  `json:"warnings,omitempty"`   // of the documents
}

// A Touched is a change with the open runs that it touches. Those of a function that is removed may still call it: their calls would wait until it is back, and
// fail when their time is over.
type Touched struct {
	config.Change
	Runs    int      `json:"runs,omitempty"`
	Some    []string `json:"some,omitempty"` // of them, by id
	Endures bool     `json:"endures"`        // the runs go on as they would have
}

// Documents are what a reload would read.
type Documents struct {
	Documents []config.Text `json:"documents"` // all of them: what is in none of them is removed
}

// Documents that are compared have so many bytes at most, all told, and are so many.
const (
	documentsMost  = 16 << 20
	documentsCount = 10_000
	readTime       = 10 * time.Second // after which they are given up
	findingsMost   = 100              // that are told
)

// getDefinitions tells what open runs go by: another router of its own, anybody else of all.
func (a *API) getDefinitions(w http.ResponseWriter, q *http.Request) error {
	all, unanswered, err := a.definitions(q)
	if err != nil {
		return err
	}
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	return reply(w, http.StatusOK, DefinitionList{Definitions: all})
}

func (a *API) definitions(q *http.Request) (all []DefinitionLine, unanswered []string, err error) {
	own, err := a.ownDefinitions(q.Context())
	if err != nil {
		return nil, nil, err
	}
	byDigest := make(map[string]*DefinitionLine)
	add := func(lines []DefinitionLine) {
		for _, l := range lines {
			had := byDigest[l.Digest]
			if had == nil {
				byDigest[l.Digest] = &l
				continue
			}
			had.Runs += l.Runs
			had.Some = append(had.Some, l.Some...)
			had.Some = had.Some[:min(len(had.Some), someRuns)]
		}
	}
	add(own)
	ask := q.Clone(q.Context())
	ask.Method, ask.URL = http.MethodGet, &url.URL{Path: "/v1/definitions"}
	unanswered = a.Cluster.Gather(ask, func() (any, func()) {
		theirs := new(DefinitionList)
		return theirs, func() { add(theirs.Definitions) }
	})
	all = []DefinitionLine{}
	for _, l := range byDigest {
		t := a.Set().Triggers[l.Trigger]
		l.Current = t != nil && hex.EncodeToString(t.Digest[:]) == l.Digest
		all = append(all, *l)
	}
	slices.SortFunc(all, func(x, y DefinitionLine) int {
		return cmp.Or(cmp.Compare(x.Trigger, y.Trigger), cmp.Compare(x.Digest, y.Digest))
	})
	return all, unanswered, nil
}

// ownDefinitions are those of the runs that are folded here.
func (a *API) ownDefinitions(ctx context.Context) ([]DefinitionLine, error) {
	type pinned struct {
		n    int
		some []journal.RunID
	}
	found := make(map[lang.Digest]*pinned)
	var mu sync.Mutex // Partitions are looked through side by side.
	err := a.Shards.List(ctx, engine.Listing{Limit: 1, Want: func(x *engine.Summary) (int64, bool) {
		mu.Lock()
		defer mu.Unlock()
		p := found[x.Definition]
		if p == nil {
			p = new(pinned)
			found[x.Definition] = p
		}
		if p.n++; len(p.some) < someRuns {
			p.some = append(p.some, x.Run)
		}
		return 0, false
	}}, func(*engine.Listing) {})
	if err != nil {
		return nil, err
	}
	var out []DefinitionLine
	for digest, p := range found {
		var def *lang.Definition
		for _, run := range p.some { // One that has ended meanwhile may be the last that needed it.
			if err := a.Shards.Ask(ctx, run, func(s *engine.State) { def, _ = s.Definition(digest) }); err == nil && def != nil {
				break
			}
		}
		if def == nil {
			continue
		}
		l := DefinitionLine{Trigger: def.Trigger, Tenant: def.Tenant, Digest: hex.EncodeToString(digest[:]), Runs: p.n, Functions: slices.Sorted(maps.Keys(def.Functions)), Triggers: started(def)}
		for _, run := range p.some {
			l.Some = append(l.Some, run.String())
		}
		out = append(out, l)
	}
	return out, nil
}

// started are the triggers that a definition starts by their names.
func started(def *lang.Definition) []string {
	names := make(map[string]bool)
	look := func(s *lang.Step) {
		if x, ok := s.Policy.(lang.Starter); ok {
			name, _ := x.Starts()
			names[name] = true
		}
	}
	if def.Flow != nil {
		def.Flow.Walk(look)
	}
	for _, body := range def.Flows {
		body.Walk(look)
	}
	for _, d := range slices.Concat(def.OnSuccess, def.OnFailure) {
		if d.Trigger != "" {
			names[d.Trigger] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// postDiff says what documents would change that are in the body.
func (a *API) postDiff(w http.ResponseWriter, q *http.Request) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, documentsMost))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return fmt.Errorf("%w: more than %d bytes of documents", triggers.ErrTooLarge, documentsMost)
	}
	if err != nil {
		return fmt.Errorf("%w: the body ended early: %w", errRequest, err)
	}
	select { // To read documents of megabytes takes seconds of a processor: one's at a time.
	case a.comparing <- struct{}{}:
		defer func() { <-a.comparing }()
	case <-q.Context().Done():
		return q.Context().Err()
	}
	var asked Documents
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil || len(asked.Documents) == 0 {
		return fmt.Errorf(`%w: the body is not {"documents": [{"file": NAME, "text": YAML}]}`, errRequest)
	}
	if len(asked.Documents) > documentsCount {
		return fmt.Errorf("%w: %d documents, and %d are compared at most; write more into one", errRequest, len(asked.Documents), documentsCount)
	}
	ctx, cancel := context.WithTimeout(q.Context(), readTime)
	defer cancel()
	set, findings, err := config.ReadUntil(ctx, asked.Documents, a.Registry, nil)
	switch {
	case q.Context().Err() != nil:
		return q.Context().Err()
	case err != nil:
		return fmt.Errorf("%w: the documents are not read within %s; compare them without the router: onward diff NEW --against OLD", triggers.ErrTooLarge, readTime)
	case len(findings) > 0:
		said := make([]string, 0, findingsMost+1)
		for _, f := range findings[:min(len(findings), findingsMost)] {
			said = append(said, fmt.Sprintf("%.1000s", f.String()))
		}
		if more := len(findings) - findingsMost; more > 0 {
			said = append(said, fmt.Sprintf("%d more", more))
		}
		return refuse(w, http.StatusBadRequest, "the documents are wrong: "+strings.Join(said, "; "), "see onward lint FILE")
	}
	all, unanswered, err := a.definitions(q)
	if err != nil {
		return err
	}
	said := Difference{Changes: []Touched{}, Unanswered: unanswered}
	for _, f := range set.Warnings {
		said.Warnings = append(said.Warnings, f.String())
	}
	if err := config.Emptied(a.Set(), set); err != nil {
		said.Refused = err.Error()
	}
	for _, c := range config.Diff(a.Set(), set) {
		said.Changes = append(said.Changes, touch(c, all))
	}
	return reply(w, http.StatusOK, said)
}

// Touched tells of each change the open runs that it touches and that are folded here.
func (a *API) Touched(ctx context.Context, changes []config.Change) (out []Touched, err error) {
	all, err := a.ownDefinitions(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		out = append(out, touch(c, all))
	}
	return out, nil
}

// touch counts the open runs that a change touches.
func touch(c config.Change, all []DefinitionLine) Touched {
	t := Touched{Change: c, Endures: true}
	if c.How == config.Added {
		return t
	}
	add := func(l *DefinitionLine) {
		t.Runs += l.Runs
		t.Some = append(t.Some, l.Some...)
		t.Some = t.Some[:min(len(t.Some), someRuns)]
	}
	for i := range all {
		l := &all[i]
		switch c.Kind {
		case config.KindFunction, config.KindDestination:
			if slices.Contains(l.Functions, c.Name) {
				add(l)
				t.Endures = c.How == config.Changed
			}
		case config.KindTrigger:
			switch starts := slices.Contains(l.Triggers, c.Name); {
			case starts && c.How == config.Removed:
				if t.Endures { // Its own runs go on; those that are to start it do not.
					t.Runs, t.Some, t.Endures = 0, nil, false
				}
				add(l)
			case l.Trigger == c.Name && t.Endures:
				add(l)
			}
		}
	}
	return t
}
