package api

import (
	"fmt"
	"io"
	"net/http"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// postFacts takes facts about runs from another router, whose source got them: their records.
func (a *API) postFacts(w http.ResponseWriter, q *http.Request) error {
	b, err := io.ReadAll(q.Body) // It was bounded when it was proved.
	if err != nil {
		return err
	}
	facts, err := journal.DecodeRecords(b)
	for i := range facts {
		if err != nil {
			break
		}
		facts[i], err = factOf(facts[i])
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	fates, err := a.Intake.Facts(q.Context(), facts)
	if err != nil {
		return err
	}
	became := make([]string, len(fates))
	for i, fate := range fates {
		became[i] = fate.String()
	}
	return reply(w, http.StatusOK, map[string][]string{"became": became})
}

// getLoad tells another router whether starts are taken here.
func (a *API) getLoad(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, a.Load())
}

// postBeats takes heartbeats from another router, whose sources got them.
func (a *API) postBeats(w http.ResponseWriter, q *http.Request) error {
	b, err := io.ReadAll(q.Body) // It was bounded when it was proved.
	if err != nil {
		return err
	}
	beats, err := engine.DecodeBeats(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	became := make([]string, len(beats))
	for i := range beats {
		became[i] = a.Beat(q.Context(), &beats[i]).String()
	}
	return reply(w, http.StatusOK, map[string][]string{"became": became})
}

// postGathers tells another router for events of which keys runs wait here.
func (a *API) postGathers(w http.ResponseWriter, q *http.Request) error {
	b, err := io.ReadAll(q.Body) // It was bounded when it was proved.
	if err != nil {
		return err
	}
	keys, err := engine.DecodeRoundKeys(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	became := make([]string, len(keys))
	for i, is := range a.Gathers(q.Context(), keys) {
		if is {
			became[i] = engine.Joined.String()
		}
	}
	return reply(w, http.StatusOK, map[string][]string{"became": became})
}

// postTickets tells another router whose calls are said to be done, of those that are here, and has their results asked for.
func (a *API) postTickets(w http.ResponseWriter, q *http.Request) error {
	b, err := io.ReadAll(q.Body) // It was bounded when it was proved.
	if err != nil {
		return err
	}
	tickets, err := engine.DecodeTickets(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	became := make([]string, len(tickets))
	for i, run := range a.Fetch(q.Context(), tickets) {
		if !run.IsZero() {
			became[i] = run.String()
		}
	}
	return reply(w, http.StatusOK, map[string][]string{"became": became})
}

// factOf is what a router takes of another one's record.
func factOf(rec journal.Record) (_ journal.Record, err error) {
	switch rec.Kind {
	case journal.Signal:
		_, err = engine.DecodeSignal(rec.Payload)
	case journal.Completion:
		_, err = engine.DecodeCompletion(rec.Payload)
	default:
		err = fmt.Errorf("%q is no fact that a source gets", rec.Kind)
	}
	if err == nil {
		err = journal.CheckLevel(rec.Level)
	}
	return journal.Record{Kind: rec.Kind, Level: rec.Level, Run: rec.Run, Payload: rec.Payload}, err
}
