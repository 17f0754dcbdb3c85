package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/control"
)

// A Started is what a start by name began: the run, and the id of the event that stands for it.
type Started struct {
	Run   string `json:"run"`
	Event string `json:"event"`
}

// postStart starts a trigger by name with the body as data.
func (a *API) postStart(w http.ResponseWriter, q *http.Request) error {
	name := q.PathValue("trigger")
	if access.Asking(q.Context()).Tenant != "" {
		if _, err := a.triggerOf(q.Context(), name); err != nil {
			return err
		}
	}
	return a.start(w, q, name, "/v1/triggers")
}

// postInvoke calls a function by itself with the body as its input: a run of one step, whose destinations are the function's.
func (a *API) postInvoke(w http.ResponseWriter, q *http.Request) error {
	name := q.PathValue(control.Function)
	t := a.Set().Calls[lang.InvokePrefix+name]
	if t == nil {
		return a.noFunction(name)
	}
	return a.start(w, q, t.Name, "/v1/functions")
}

// start starts a run of a trigger by an event of its own.
func (a *API) start(w http.ResponseWriter, q *http.Request, trigger, source string) error {
	data, err := a.body(w, q)
	if err != nil {
		return err
	}
	key, err := keyOf(q)
	if err != nil {
		return err
	}
	e := event.New()
	e.SetID(key)
	e.SetSource(source)
	e.SetType("dev.onward.start")
	e.SetTime(time.Now().UTC())
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data.JSON())); err != nil {
		return err
	}
	id, err := a.Intake.Start(q.Context(), trigger, &e)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/runs/"+id.String())
	return reply(w, http.StatusAccepted, Started{id.String(), e.ID()})
}
