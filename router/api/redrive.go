package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// redrivePart is about how many bytes one record of a redrive has.
const redrivePart = 256 << 10

// redriveShown bounds the paths that an answer names.
const redriveShown = 1000

// A Redriven is what a redrive does, or would do.
type Redriven struct {
	Run       string   `json:"run"`
	Trigger   string   `json:"trigger"`
	Number    uint32   `json:"number"` // of the run's redrives
	DryRun    bool     `json:"dryRun,omitempty"`
	Kept      int      `json:"kept"`      // steps whose outcomes are taken as they were
	KeptSteps []string `json:"keptSteps"` // the first of them
	Again     int      `json:"again"`     // steps that had ended and are done again
	Steps     []string `json:"againSteps"`
	Differs   []string `json:"differs,omitempty"` // how the definition differs from that by which it ran
	Became    string   `json:"became,omitempty"`
}

// shown are the first of these paths as people count: count[2] comes before count[10].
func shown(paths []string) []string {
	out := slices.Clone(paths)
	slices.SortFunc(out, byNumbers)
	return append([]string{}, out[:min(len(out), redriveShown)]...)
}

// byNumbers orders paths as people count: [2] stands before [10].
func byNumbers(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m == 0 || n == 0 {
			if x[0] != y[0] {
				return cmp.Compare(x[0], y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		p, q := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
		if c := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); c != 0 {
			return c
		}
		x, y = x[m:], y[n:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits is how many digits a text begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// A refusal says why a run is not run again.
type refusal struct {
	code      int
	what, why string
}

func (r *refusal) Error() string { return r.what }

func refusing(code int, cure, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...), cure}
}

func (a *API) answered(w http.ResponseWriter, v any, err error) error {
	switch r, refused := err.(*refusal); {
	case refused:
		return refuse(w, r.code, r.what, r.why)
	case err != nil:
		return err
	}
	return reply(w, http.StatusOK, v)
}

// ended is how a run ended, here or as another router keeps it.
func (a *API) ended(ctx context.Context, id journal.RunID) (*engine.Ending, error) {
	f := a.Endings.Find(id)
	if f == nil {
		f = a.Cluster.Find(ctx, id)
	}
	if f == nil {
		if st, _, err := a.Status(ctx, id, 0); err == nil && st != nil {
			return nil, refusing(http.StatusConflict, "wait for its end, or cancel it by onward runs cancel "+id.String(), "run %s has not ended: it is %s", id, st.State)
		}
		return nil, refusing(http.StatusNotFound, "see onward runs list; of a run that the history has let go of the event has to be sent again", "the history has no ended run %s", id)
	}
	return f, nil
}

// inputOf is the data of the event that started a run; false is not known.
func inputOf(f *engine.Ending) (lang.Value, bool) {
	if f.Input != nil {
		return *f.Input, true
	}
	var said map[string]json.RawMessage
	if f.Error == nil || f.Data.Decode(&said) != nil || said["input"] == nil {
		return lang.Null, false
	}
	v, err := lang.ParseValue(said["input"])
	return v, err == nil
}

func (a *API) postRedriveRun(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ask := q.URL.Query()
	if err := checkText("from", ask.Get("from")); err != nil {
		return err
	}
	said, err := a.redrive(q.Context(), id, ask.Get("from"), ask.Get("definition") == "latest", isTrue(q, "dryRun"))
	return a.answered(w, said, err)
}

// redrive lets a run that has failed go on, or says what that would do.
func (a *API) redrive(ctx context.Context, id journal.RunID, from string, latest, dry bool) (*Redriven, error) {
	f, err := a.ended(ctx, id)
	if err != nil {
		return nil, err
	}
	rerun := "onward runs rerun " + id.String() + " starts another run with its event"
	if f.Again == nil && f.Error != nil {
		return nil, refusing(http.StatusConflict, rerun, "run %s ended under a version that kept too little to redrive it", id)
	}
	if f.Error == nil {
		return nil, refusing(http.StatusConflict, rerun, "run %s is %s; a redrive is for one that failed or was cancelled", id, f.State)
	}
	data, known := inputOf(f)
	if !known {
		return nil, refusing(http.StatusConflict, rerun+", with --input", "the history has not the input of run %s: it was too large", id)
	}
	number, def, was, err := a.redrivable(ctx, id, f, latest)
	if err != nil {
		return nil, err
	}
	if def.Await != nil && !def.Await.Signals && f.Again.Arrived.IsNull() {
		return nil, refusing(http.StatusConflict, "send its events again, under other ids", "the events of run %s were not enough, so nothing of it has run that could go on", id)
	}
	past, err := a.Endings.Past(id)
	if err != nil {
		return nil, err
	}
	if len(past) == 0 && f.Calls > 0 {
		return nil, refusing(http.StatusConflict, rerun, "the history has let go of what the steps of run %s gave", id)
	}
	shape, err := engine.ShapeOf(a.Registry, def)
	if err != nil {
		return nil, err
	}
	plan, err := engine.Remember(shape, past, from)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	said := &Redriven{
		Run: id.String(), Trigger: f.Trigger, Number: number, DryRun: dry, Kept: len(plan.Kept), Again: len(plan.Again),
		KeptSteps: shown(plan.Kept), Steps: shown(plan.Again),
	}
	if latest {
		said.Differs = differences(was, def)
	}
	if dry {
		return said, nil
	}
	fact := engine.RedriveFact{
		Number: number, Started: f.Started.UnixNano(), Next: f.Again.Numbers, Calls: uint32(f.Calls), Told: f.Again.Told, Memo: plan.Memo,
		Start: engine.StartFact{Trigger: f.Trigger, Digest: def.Digest(), Event: f.Event, Data: data, Spent: f.Again.Spent, Key: f.Again.Key, Arrived: f.Again.Arrived},
	}
	_, _ = rand.Read(fact.ID[:]) // It does not fail.
	said.Became, err = a.sendRedrive(ctx, id, f.Tenant, def, &fact)
	return said, err
}

// redrivable says which redrive of a run is next, and by which definition; was is that by which it ran, nil where that is not known.
func (a *API) redrivable(ctx context.Context, id journal.RunID, f *engine.Ending, latest bool) (number uint32, def, was *lang.Definition, err error) {
	var digest lang.Digest
	if b, bad := hex.DecodeString(f.Again.Definition); bad == nil && len(b) == len(digest) {
		copy(digest[:], b)
	}
	state := ""
	if err := a.Shards.Ask(ctx, id, func(s *engine.State) {
		if st, open := s.Status(id, 0); open {
			state = st.State
		}
		number = s.Redriven(id)
		was, _ = s.Definition(digest)
	}); err != nil {
		return 0, nil, nil, err
	}
	switch state {
	case "":
		number = max(number, f.Redrives) + 1
	case "redriving": // Who asked for it has died before all of it was sent: it is begun anew.
	case "ending":
		return 0, nil, nil, refusing(http.StatusConflict, "try again once its destinations have been told: see onward runs explain "+id.String(), "the end of run %s is still being told", id)
	default:
		return 0, nil, nil, refusing(http.StatusConflict, "see onward runs explain "+id.String(), "run %s is %s: it has not ended", id, state)
	}
	current := a.Set().Trigger(f.Trigger)
	if was == nil && current != nil && current.Digest == digest {
		was = current.Definition
	} else if was == nil {
		was = a.formerDefinition(digest)
	}
	switch {
	case latest && current == nil:
		return 0, nil, nil, refusing(http.StatusConflict, "load the documents that have it", "there is no trigger %q now", f.Trigger)
	case latest:
		return number, current.Definition, was, nil
	case was == nil:
		return 0, nil, nil, refusing(http.StatusConflict, "onward runs redrive "+id.String()+" --definition latest goes by the present one, and says what differs", "the definition by which run %s ran is not known any more", id)
	}
	return number, was, was, nil
}

// sendRedrive journals a redrive, part after part, and says what became of it.
func (a *API) sendRedrive(ctx context.Context, id journal.RunID, tenant string, def *lang.Definition, f *engine.RedriveFact) (string, error) {
	records := []journal.Record{{Kind: journal.Define, Level: journal.Level, Run: id, Payload: engine.DefinePayload(def)}}
	for _, part := range f.Split(redrivePart) {
		rec := engine.Record(journal.Redrive, id, part)
		rec.Tenant = tenant
		records = append(records, rec)
		fates, err := a.Intake.Facts(ctx, records)
		if err != nil {
			return "", err
		}
		records = records[:0]
		switch fate := fates[len(fates)-1]; fate {
		case triggers.Applied, triggers.Accepted:
			if part.Part == part.Parts {
				return fate.String(), nil
			}
		case triggers.Repeated:
			return "", refusing(http.StatusConflict, "see onward runs explain "+id.String(), "run %s was redriven by somebody else at the same time", id)
		default:
			return "", refusing(http.StatusConflict, "see onward runs explain "+id.String()+", and try again", "the redrive of run %s is %s", id, fate)
		}
	}
	return "", nil
}

// differences says what differs between two definitions, a place a line.
func differences(was, is *lang.Definition) []string {
	if was == nil {
		return []string{"the definition by which it ran is not known any more"}
	}
	var x, y any
	if json.Unmarshal(was.Canonical(), &x) != nil || json.Unmarshal(is.Canonical(), &y) != nil {
		return nil
	}
	var lines []string
	compare("", x, y, &lines)
	if more := len(lines) - 20; more > 0 {
		lines = append(lines[:20], fmt.Sprintf("and %d more", more))
	}
	return lines
}

func compare(at string, x, y any, lines *[]string) {
	a, isObject := x.(map[string]any)
	b, isToo := y.(map[string]any)
	if isObject && isToo {
		keys := make(map[string]bool)
		for k := range a {
			keys[k] = true
		}
		for k := range b {
			keys[k] = true
		}
		var sorted []string
		for k := range keys {
			sorted = append(sorted, k)
		}
		slices.Sort(sorted)
		for _, k := range sorted {
			compare(strings.TrimPrefix(at+"."+k, "."), a[k], b[k], lines)
		}
		return
	}
	l, isList := x.([]any)
	m, isToo := y.([]any)
	if isList && isToo && len(l) == len(m) {
		for i := range l {
			compare(fmt.Sprintf("%s[%d]", at, i), l[i], m[i], lines)
		}
		return
	}
	before, after := lang.Of(x).JSON(), lang.Of(y).JSON()
	if before != after {
		*lines = append(*lines, fmt.Sprintf("%s was %.120s and is %.120s", at, before, after))
	}
}

// postRerun starts another run with the event of one that has ended; a body stands in for its data. The header Idempotency-Key tells repeats.
func (a *API) postRerun(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	body, err := a.body(w, q)
	if err != nil {
		return err
	}
	said, err := a.rerun(q, id, body)
	return a.answered(w, said, err)
}

// A Rerun is what a rerun starts, or would start.
type Rerun struct {
	RerunOf string `json:"rerunOf"`
	Trigger string `json:"trigger"`
	Event   string `json:"event"`
	Run     string `json:"run,omitempty"` // not of a dry run
	DryRun  bool   `json:"dryRun,omitempty"`
}

func (a *API) rerun(q *http.Request, id journal.RunID, data lang.Value) (*Rerun, error) {
	key, err := keyOf(q)
	if err != nil {
		return nil, err
	}
	dry := isTrue(q, "dryRun")
	f, err := a.ended(q.Context(), id)
	if err != nil {
		return nil, err
	}
	if t := a.Set().Triggers[f.Trigger]; t != nil && t.Gathers() && !t.Definition.Await.Signals {
		return nil, refusing(http.StatusConflict, "send its events again under other ids, or, if its flow had begun and failed, redrive it: onward runs redrive "+id.String(), "run %s is of a trigger that gathers events, and one event is not its input", id)
	}
	if q.URL.Query().Get("input") != "given" {
		var known bool
		if data, known = inputOf(f); !known {
			return nil, refusing(http.StatusConflict, "give it with --input", "the history has not the input of run %s: it was larger than history.value, or the run ended under a version that kept none", id)
		}
	}
	e, err := eventAgain(f, key, data)
	if err != nil {
		return nil, err
	}
	said := &Rerun{RerunOf: id.String(), Trigger: f.Trigger, Event: e.ID(), DryRun: dry}
	if dry {
		return said, nil
	}
	run, err := a.Intake.Start(q.Context(), f.Trigger, e)
	if err != nil {
		return nil, err
	}
	said.Run = run.String()
	return said, nil
}

// eventAgain is the event of an ended run, under another id.
func eventAgain(f *engine.Ending, key string, data lang.Value) (*event.Event, error) {
	var attrs map[string]any
	if err := f.Event.Decode(&attrs); err != nil {
		return nil, err
	}
	text := func(name, fallback string) string {
		if s, ok := attrs[name].(string); ok && s != "" {
			return s
		}
		return fallback
	}
	e := event.New()
	e.SetID(key)
	e.SetSource(text("source", "/v1/runs"))
	e.SetType(text("type", "dev.onward.start"))
	if s := text("subject", ""); s != "" {
		e.SetSubject(s)
	}
	for name, v := range attrs {
		switch name {
		case "id", "source", "type", "subject", "specversion", "datacontenttype", "dataschema", "time", "rerunof":
		default:
			e.SetExtension(name, v)
		}
	}
	e.SetExtension("rerunof", f.ID)
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(data.JSON())); err != nil {
		return nil, err
	}
	return &e, nil
}
