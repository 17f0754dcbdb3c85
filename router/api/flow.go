package api

import (
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A FlowLine is a definition as a tree of steps, and where a run's end goes.
type FlowLine struct {
	Run       string           `json:"run,omitempty"` // that runs, or ran, by it
	Trigger   string           `json:"trigger"`
	Tenant    string           `json:"tenant"`
	Digest    string           `json:"digest"`
	Current   bool             `json:"current"` // it is in force
	Filters   int              `json:"filters,omitempty"`
	When      string           `json:"when,omitempty"`
	Flow      *engine.FlowStep `json:"flow,omitempty"` // nil: the event goes straight to the destinations
	OnSuccess []FlowEnd        `json:"onSuccess,omitempty"`
	OnFailure []FlowEnd        `json:"onFailure,omitempty"`
}

// A FlowEnd is a destination.
type FlowEnd struct {
	Path     string `json:"path"` // as timelines have it
	Function string `json:"function,omitempty"`
	Trigger  string `json:"trigger,omitempty"`
	When     string `json:"when,omitempty"`
}

func destinations(list []lang.Destination) (out []FlowEnd) {
	for i := range list {
		d := &list[i]
		out = append(out, FlowEnd{Path: "end:" + d.Name, Function: d.Function, Trigger: d.Trigger, When: d.When.Source()})
	}
	return out
}

func (a *API) flowOf(def *lang.Definition) (*FlowLine, error) {
	shape, err := engine.ShapeOf(a.Registry, def)
	if err != nil {
		return nil, err
	}
	digest := def.Digest()
	said := &FlowLine{
		Trigger: def.Trigger, Tenant: def.Tenant, Digest: hex.EncodeToString(digest[:]), Flow: shape.Flow(), OnSuccess: destinations(def.OnSuccess), OnFailure: destinations(def.OnFailure),
	}
	if t := a.Set().Trigger(def.Trigger); t != nil {
		said.Current = t.Digest == digest
	}
	return said, nil
}

// getTrigger tells of a trigger with its flow as a tree.
func (a *API) getTrigger(w http.ResponseWriter, q *http.Request) error {
	t, err := a.triggerOf(q.Context(), q.PathValue("trigger"))
	if err != nil {
		return err
	}
	said, err := a.flowOf(t.Definition)
	if err != nil {
		return err
	}
	said.Filters, said.When = len(t.Filters), t.When.Source()
	return reply(w, http.StatusOK, said)
}

// getFlow tells of the definition by which a run runs, or ran.
func (a *API) getFlow(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	def, err := a.definitionOf(q, id)
	if err != nil {
		return a.answered(w, nil, err)
	}
	said, err := a.flowOf(def)
	if err != nil {
		return err
	}
	said.Run = id.String()
	return reply(w, http.StatusOK, said)
}

func (a *API) definitionOf(q *http.Request, id journal.RunID) (def *lang.Definition, err error) {
	if err := a.Shards.Ask(q.Context(), id, func(s *engine.State) { def = s.DefinitionOf(id) }); err != nil || def != nil {
		return def, err
	}
	f := a.Endings.Find(id)
	if f == nil {
		f = a.Cluster.Find(q.Context(), id)
	}
	if f == nil {
		return nil, fmt.Errorf("%w: no run %s", errUnknownRun, id)
	}
	gone := refusing(http.StatusConflict, "GET /v1/triggers/"+f.Trigger+" has the flow in force", "the definition by which run %s ran is not known any more", id)
	if f.Again == nil {
		return nil, gone
	}
	var digest lang.Digest
	b, err := hex.DecodeString(f.Again.Definition)
	if err != nil || copy(digest[:], b) != len(digest) {
		return nil, gone
	}
	if t := a.Set().Trigger(f.Trigger); t != nil && t.Digest == digest {
		return t.Definition, nil
	}
	if err := a.Shards.Ask(q.Context(), id, func(s *engine.State) { def, _ = s.Definition(digest) }); err != nil || def != nil {
		return def, err
	}
	if def = a.formerDefinition(digest); def != nil {
		return def, nil
	}
	return nil, gone
}

// formerDefinition is one by which a run has ended here; nil when it is not kept, or this binary lacks what it names.
func (a *API) formerDefinition(d lang.Digest) *lang.Definition {
	b, err := a.Endings.Definition(d)
	if err != nil || b == nil {
		return nil // What cannot be read is not known.
	}
	def, err := lang.ParseDefinition(b, a.Registry)
	if err != nil || def.Digest() != d {
		return nil
	}
	return def
}
