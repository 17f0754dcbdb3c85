package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// Controls keep what people hold back of functions and triggers.
type Controls interface {
	Get(kind, name string) control.Control
	Set(ctx context.Context, kind, name string, change func(*control.Control)) (control.Control, error)
}

// A Tried says what a trigger would make of an event.
type Tried struct {
	triggers.Tried
	Paused bool `json:"paused,omitempty"` // its run would begin, and call nothing
}

// A TriggerLine is one line of the list of triggers.
type TriggerLine struct {
	Trigger string        `json:"trigger"`
	Tenant  string        `json:"tenant"`
	Filters int           `json:"filters"`
	When    string        `json:"when,omitempty"`
	Types   []string      `json:"types,omitempty"` // of events that its filters ask for by name
	Digest  string        `json:"digest"`
	Paused  *engine.Pause `json:"paused,omitempty"`
}

// A TriggerList is the triggers in force, by name.
type TriggerList struct {
	Triggers []TriggerLine `json:"triggers"`
}

// A FunctionList is the functions of the router that is asked, by name.
type FunctionList struct {
	Functions []control.FunctionStatus `json:"functions"`
}

// A TestedEvent is what each trigger would make of an event.
type TestedEvent struct {
	Triggers []Tried `json:"triggers"`
}

// A Steered is a function or a trigger that somebody has steered, with what holds now.
type Steered struct {
	Function string        `json:"function,omitempty"`
	Trigger  string        `json:"trigger,omitempty"`
	Paused   *engine.Pause `json:"paused,omitempty"`
	Limit    int           `json:"limit,omitempty"` // of calls at a time; 0 is what the documents say
}

func steered(c *control.Control) Steered {
	said := Steered{Paused: c.Halt(), Limit: c.Limit}
	if c.Kind == control.Trigger {
		said.Trigger = c.Name
	} else {
		said.Function = c.Name
	}
	return said
}

var errUnknownFunction = errors.New("unknown function")

// triggerOf is a trigger of the documents that is there for who asks.
func (a *API) triggerOf(ctx context.Context, name string) (*config.Trigger, error) {
	who, set := access.Asking(ctx), a.Set()
	if t := set.Trigger(name); t != nil && who.Owns(t.Tenant) {
		return t, nil
	}
	names := slices.DeleteFunc(set.TriggerNames(), func(n string) bool { return !who.Owns(set.Triggers[n].Tenant) })
	return nil, fmt.Errorf("%w %q; %s", triggers.ErrNoTrigger, name, lang.Nearest(name, names))
}

// controlled checks that what is to be controlled is in the documents, or was controlled before.
func (a *API) controlled(ctx context.Context, kind, name string) error {
	if was := a.Controls.Get(kind, name); (was.Paused || was.Limit > 0) && access.Asking(ctx).Tenant == "" {
		return nil
	}
	if kind == control.Trigger {
		_, err := a.triggerOf(ctx, name)
		return err
	}
	if a.Set().Functions[name] == nil {
		return a.noFunction(name)
	}
	return nil
}

// noFunction says that there is no function of a name.
func (a *API) noFunction(name string) error {
	return fmt.Errorf("%w %q; %s", errUnknownFunction, name, lang.Nearest(name, a.Set().FunctionNames()))
}

// postHalt pauses a function or a trigger, or lets it go on. Said again, it changes nothing.
func (a *API) postHalt(kind string, pause bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, q *http.Request) error {
		name, by, reason := q.PathValue(kind), byOf(q), q.URL.Query().Get("reason")
		if err := errors.Join(checkText("by", by), checkText("reason", reason), a.controlled(q.Context(), kind, name)); err != nil {
			return err
		}
		x, err := a.Controls.Set(q.Context(), kind, name, func(c *control.Control) {
			switch {
			case pause && !c.Paused:
				c.Paused, c.Since, c.By, c.Reason = true, time.Now().UTC().Round(0), by, reason
			case !pause:
				c.Paused, c.Since, c.By, c.Reason = false, time.Time{}, "", ""
				if kind == control.Function {
					c.Asked = time.Now().UTC().Round(0)
				}
			}
		})
		if err != nil {
			return err
		}
		what := "resumed"
		if pause {
			what = "paused"
		}
		a.Log.Info("a "+kind+" is "+what, kind, name, "by", by, "why", reason)
		return reply(w, http.StatusOK, steered(&x))
	}
}

// postLimit sets how many calls of a function go out at a time, below what the documents say; 0 is that again.
func (a *API) postLimit(w http.ResponseWriter, q *http.Request) error {
	name := q.PathValue(control.Function)
	if err := a.controlled(q.Context(), control.Function, name); err != nil {
		return err
	}
	text := q.URL.Query().Get("limit")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return invalid("limit %.40q is not a number from 1, nor 0 for what the documents say", text)
	}
	if f := a.Set().Functions[name]; f != nil && n > f.Concurrency {
		return fmt.Errorf("%w: the documents allow function %q %d at a time, and a limit of %d is more; raise concurrency in the documents and reload them", errRequest, name, f.Concurrency, n)
	}
	x, err := a.Controls.Set(q.Context(), control.Function, name, func(c *control.Control) { c.Limit = n })
	if err != nil {
		return err
	}
	a.Log.Info("a function is limited", "function", name, "limit", n, "by", byOf(q))
	return reply(w, http.StatusOK, steered(&x))
}

func (a *API) getTriggers(w http.ResponseWriter, q *http.Request) error {
	said := TriggerList{Triggers: []TriggerLine{}}
	set, who := a.Set(), access.Asking(q.Context())
	for _, name := range set.TriggerNames() {
		t := set.Triggers[name]
		if !who.Owns(t.Tenant) {
			continue
		}
		c := a.Controls.Get(control.Trigger, name)
		said.Triggers = append(said.Triggers, TriggerLine{name, t.Tenant, len(t.Filters), t.When.Source(), filter.Types(t.Filters), fmt.Sprintf("%x", t.Digest[:8]), c.Halt()})
	}
	return reply(w, http.StatusOK, said)
}

func (a *API) getFunctions(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, FunctionList{a.Functions()})
}

// postTest asks every trigger what it would make of the event in the body, in structured or binary mode, and starts nothing.
func (a *API) postTest(w http.ResponseWriter, q *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, a.MaxBody))
	if err != nil {
		return fmt.Errorf("%w: %w", triggers.ErrTooLarge, err)
	}
	e, err := a.readEvent(q.Header, body)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	said, set, who := TestedEvent{Triggers: []Tried{}}, a.Set(), access.Asking(q.Context())
	for _, x := range a.Test(e) {
		if t := set.Triggers[x.Trigger]; who.Tenant == "" || t != nil && who.Owns(t.Tenant) {
			said.Triggers = append(said.Triggers, Tried{x, a.Controls.Get(control.Trigger, x.Trigger).Paused})
		}
	}
	return reply(w, http.StatusOK, said)
}

func (a *API) readEvent(header http.Header, body []byte) (*event.Event, error) {
	head, err := envelope.FromHTTP(header)
	if err != nil {
		return nil, err
	}
	events, bad, err := head.Read(body, envelope.Limits{Event: int(a.MaxBody), Batch: int(a.MaxBody)})
	switch {
	case err != nil:
		return nil, err
	case len(bad) > 0:
		return nil, bad[0].Err
	case len(events) != 1:
		return nil, fmt.Errorf("%d events; one is asked for at a time", len(events))
	}
	return &events[0], nil
}
