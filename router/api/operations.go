package api

import (
	"bytes"
	_ "embed"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/engine"
)

// openapi is the description of the API (OpenAPI 3.1), made of the table below, of the routes and of the types of the answers: go test ./router/api -run
// TestOpenAPI -rewrite.
//
//go:embed openapi.json
var openapi []byte

func (a *API) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi) // The client has gone: nobody is left to be told.
	return nil
}

// A param is a parameter of a query. Any other is refused: a misspelt one would be passed over without a word.
type param struct {
	name string
	form string // one of forms, or the words that it may be, with bars between
	help string
}

// The forms of parameters.
const (
	formText   = "text"
	formNumber = "number"
	formFlag   = "flag"   // true or false
	formSpan   = "span"   // how long: 30s
	formMoment = "moment" // when: 1h ago, today, RFC 3339
)

var forms = []string{formText, formNumber, formFlag, formSpan, formMoment}

// What a request may carry.
const (
	bodyNone  = iota
	bodyData  // JSON
	bodyEvent // a CloudEvent
	bodyWire  // what only routers write
	bodyDocuments
)

// An account says of an operation what it is for, what it takes and what it answers.
type account struct {
	id    string
	help  string
	query []param
	body  int
	keyed bool           // the header Idempotency-Key tells repeats
	says  map[int]any    // by status: a value of the type of the answer; nil: text
	lines bool           // also as NDJSON, for who accepts that
	fails map[int]string // beside what may go wrong with any
}

// The parameters that several have.
var (
	pLimit   = param{"limit", formNumber, "at most so many; 1 to 10000"}
	pAfter   = param{"after", formText, "go on behind this cursor: next of the answer before"}
	pTenant  = param{"tenant", formText, "only of this tenant"}
	pTrigger = param{"trigger", formText, "only of this trigger"}
	pSince   = param{"since", formMoment, "only from then on"}
	pUntil   = param{"until", formMoment, "only until then"}
	pBy      = param{"by", formText, "who does it, shown with it; default: the token's name"}
	pReason  = param{"reason", formText, "why, shown with it"}
	pDry     = param{"dryRun", formFlag, "only say what would be done"}
	pWait    = param{"wait", formSpan, "how long to wait for the run's end; at most 5m"}
)

// pChoice choose runs.
var pChoice = []param{
	pTenant, pTrigger, {"state", strings.Join(engine.RunStates, "|"), "only in this state"}, {"error", formText, "only with an error of this type"}, {"event", formText, "only started by the event of this id"},
	{"parent", formText, "only started by a step of this run"}, {"text", formText, "only with this text in event, data, result or error; ended runs are looked through 50,000 or 500 ms at a time, as looked says"}, pSince, pUntil,
}

// pBulk are those of what is done to all runs of a choice.
var pBulk = also(pChoice, param{"limit", formNumber, "at most so many, the latest first; default: 1000"}, param{"rate", formText, "at most so many in a time, such as 10/s; default: 50/s"}, pDry)

func also(some []param, more ...param) []param { return append(slices.Clone(some), more...) }

var (
	noRun    = map[int]string{404: "there is no such run"}
	noFact   = map[int]string{404: "there is no such run, or nothing in it that this is for", 410: "the run has ended", 429: "the run takes no more"}
	noTurn   = map[int]string{404: "there is no such run, or nothing in it that this is for", 410: "the run has ended"}
	noBeat   = map[int]string{404: "its run is not known any more", 409: "another try has taken its place", 410: "it has ended"}
	noLetter = map[int]string{404: "there is no such letter"}
	became   = map[int]any{200: Became{}, 202: Became{}}
)

// accounts has one of every operation, by its pattern.
var accounts = map[string]account{
	"GET /v1/openapi.json": {id: "getOpenAPI", help: "This description.", says: map[int]any{200: map[string]any{}}},
	"GET /v1/whoami":       {id: "getWho", help: "Whose the token is, and what it is good for.", says: map[int]any{200: access.Who{}}},

	"GET /v1/version": {id: "getVersion", help: "What the router was made of.", says: map[int]any{200: map[string]any{}}},
	"GET /v1/backup":  {id: "getBackup", help: "A backup of the router, for onward restore. One that is not whole has no end.", query: []param{pBy}, says: map[int]any{200: media(BackupType)}},
	"GET /v1/routers": {id: "listRouters", help: "This router and the others, with the partitions that they fold.", says: map[int]any{200: RouterList{}}},

	"GET /v1/definitions": {id: "listDefinitions", help: "The definitions that open runs of all routers go by, and what those name.", says: map[int]any{200: DefinitionList{}}},
	"POST /v1/diff": {
		id: "diffDocuments", help: "What a reload of the documents in the body would change, and which open runs it touches.", body: bodyDocuments, says: map[int]any{200: Difference{}},
		fails: map[int]string{400: "the documents are wrong; findings says where"},
	},

	"GET /v1/runs": {
		id: "listRuns", help: "The runs of all routers, open and ended, the latest first.", says: map[int]any{200: RunList{}},
		query: also(pChoice, param{"sort", "started|ended|duration", "by what; default: started"}, param{"order", "up|down", "default: down"}, pLimit, pAfter),
	},
	"GET /v1/runs/{run}": {id: "getRun", help: "What a run is doing, or how it ended.", query: []param{pWait}, says: map[int]any{200: oneOf{engine.Status{}, engine.Ending{}}}, fails: noRun},
	"GET /v1/runs/{run}/steps": {
		id: "listSteps", help: "What became of the steps and calls of a run, in the order in which that was known.", says: map[int]any{200: RunSteps{}}, lines: true, fails: noRun,
		query: []param{{"path", formText, "only of the step at this path, and of what is below it"}, {"failed", formFlag, "only what failed for good"}, {"open", formFlag, "only what is open"}, {"slowest", formFlag, "the calls that took longest, the slowest first"}, {"summary", formFlag, "also sums by path"}, pLimit, pAfter},
	},
	"GET /v1/runs/{run}/counts": {id: "countSteps", help: "How many activations of each step are in which state.", says: map[int]any{200: RunCounts{}}, fails: noRun},
	"GET /v1/runs/{run}/field": {
		id: "getField", help: "How each activation of one step stands, or what has changed since a cursor.", says: map[int]any{200: RunField{}}, fails: noRun,
		query: []param{{"step", formText, "the step's path, with the indexes of what is around it"}, {"after", formText, "cursor of the answer before"}, {"from", formText, "also which were queued or at work from this time on, RFC 3339"}, {"to", formText, "until this time; default: now"}},
	},
	"GET /v1/runs/{run}/flow": {
		id: "getFlow", help: "The definition by which a run runs, or ran, as a tree.", says: map[int]any{200: FlowLine{}}, fails: map[int]string{404: "there is no such run", 409: "the definition is not known any more"},
	},
	"GET /v1/runs/{run}/strips": {
		id: "getStrips", help: "When how much of each step was at work, in bins of time.", says: map[int]any{200: engine.Strips{}}, fails: noRun,
		query: []param{{"from", formText, "RFC 3339; default: the run's begin"}, {"to", formText, "RFC 3339; default: its end, or now"}, {"bins", formNumber, "how many"}, {"single", formNumber, "up to how many steps are told of one by one"}},
	},
	"GET /v1/runs/{run}/live": {
		id: "getLive", help: "What changes of a run, of its counts and of one step's field, as server-sent events.", says: map[int]any{200: stream{}}, fails: noRun,
		query: []param{{"step", formText, "the step's path"}, {"after", formText, "cursor of the answer before"}},
	},
	"GET /v1/runs/{run}/explain": {id: "explainRun", help: "Why a run is not further, or why it ended as it did.", says: map[int]any{200: Explanation{}}, fails: noRun},
	"GET /v1/runs/{run}/watch":   {id: "watchRun", help: "The changes of a run until it has ended, as server-sent events: status, changes by kind, ended.", says: map[int]any{200: stream{}}, fails: noRun},
	"POST /v1/runs/{run}/cancel": {id: "cancelRun", help: "Cancels a run.", query: []param{pReason}, keyed: true, says: became, fails: noTurn},
	"POST /v1/runs/{run}/redrive": {
		id: "redriveRun", help: "Lets a run that failed go on: only what failed is done again.", says: map[int]any{200: Redriven{}}, fails: map[int]string{404: "the history has no such ended run", 409: "it cannot be redriven, and why"},
		query: []param{{"from", formText, "the step from which on all is done again"}, {"definition", "latest", "go by the documents in force"}, pDry},
	},
	"POST /v1/runs/{run}/rerun": {
		id: "rerunRun", help: "Starts another run with the event of one that has ended.", says: map[int]any{200: Rerun{}}, body: bodyData, keyed: true,
		query: []param{{"input", "given", "the body is the input"}, pDry}, fails: map[int]string{404: "the history has no such ended run, or there is no such trigger", 409: "its input is not known"},
	},
	"POST /v1/runs/{run}/pause":  {id: "pauseRun", help: "Keeps a run from calling anything more.", query: []param{pBy, pReason}, keyed: true, says: became, fails: noFact},
	"POST /v1/runs/{run}/resume": {id: "resumeRun", help: "Lets a paused run go on.", query: []param{pBy, pReason}, keyed: true, says: became, fails: noFact},
	"POST /v1/runs/{run}/window": {
		id: "resizeRun", help: "Changes how many items of a step may be open at a time.", keyed: true, says: became, fails: noTurn,
		query: []param{{"path", formText, "the step's"}, {"window", formNumber, "0 is the most"}},
	},
	"POST /v1/runs/{run}/signals/{name}": {id: "signalRun", help: "Sends a signal, with the body as its data.", body: bodyData, keyed: true, says: became, fails: noFact},
	"POST /v1/invocations/{id}/heartbeat": {
		id: "beat", help: "A function is at work on a call; the body is for people to look at. The id is that of the call's event, percent-encoded.", body: bodyData, says: became, fails: noBeat,
	},
	"GET /v1/runs/{run}/ended": {id: "getEnded", help: "How a run ended, as routers tell one another.", query: []param{pWait}, says: map[int]any{200: map[string]any{}}, fails: noRun},

	"POST /v1/runs/redrive": {
		id: "redriveRuns", help: "Redrives all runs of a choice.", query: also(pBulk, param{"from", formText, "the step from which on all is done again"}, param{"definition", "latest", "go by the documents in force"}), body: bodyData, lines: true, says: map[int]any{200: BulkDone{}},
	},
	"POST /v1/runs/rerun":  {id: "rerunRuns", help: "Reruns all runs of a choice.", query: also(pBulk, param{"input", "given", "the body is the input"}), body: bodyData, lines: true, says: map[int]any{200: BulkDone{}}},
	"POST /v1/runs/cancel": {id: "cancelRuns", help: "Cancels all runs of a choice.", query: also(pBulk, pReason), body: bodyData, lines: true, says: map[int]any{200: BulkDone{}}},
	"POST /v1/runs/signal": {id: "signalRuns", help: "Sends a signal to all runs of a choice, with the body as its data.", query: also(pBulk, param{"signal", formText, "its name"}), body: bodyData, lines: true, says: map[int]any{200: BulkDone{}}},

	"GET /v1/waits": {
		id: "listWaits", help: "Which steps wait for which signals, the longest first.", says: map[int]any{200: WaitList{}},
		query: []param{{"run", formText, "only of this run"}, pTenant, pTrigger, {"signal", formText, "only signals of this name"}, pLimit, pAfter},
	},

	"POST /v1/triggers/{trigger}": {
		id: "startTrigger", help: "Starts a run of a trigger, whatever its filters, with the body as the event's data.", body: bodyData, keyed: true, says: map[int]any{202: Started{}},
		fails: map[int]string{404: "there is no such trigger"},
	},
	"GET /v1/triggers":                   {id: "listTriggers", help: "The triggers in force.", says: map[int]any{200: TriggerList{}}},
	"GET /v1/triggers/{trigger}":         {id: "getTrigger", help: "A trigger, with its flow as a tree.", says: map[int]any{200: FlowLine{}}, fails: map[int]string{404: "there is no such trigger"}},
	"POST /v1/triggers/{trigger}/pause":  {id: "pauseTrigger", help: "Keeps what runs of a trigger call from being sent.", query: []param{pBy, pReason}, says: map[int]any{200: Steered{}}, fails: map[int]string{404: "there is no such trigger"}},
	"POST /v1/triggers/{trigger}/resume": {id: "resumeTrigger", help: "Sends what a pause has held back.", query: []param{pBy, pReason}, says: map[int]any{200: Steered{}}, fails: map[int]string{404: "there is no such trigger"}},

	"GET /v1/functions": {id: "listFunctions", help: "The functions of the router that is asked, with their queues and states.", says: map[int]any{200: FunctionList{}}},
	"POST /v1/functions/{function}/invoke": {
		id: "invokeFunction", help: "Calls a function by itself, with the body as its input: a run of one step, which tells the function's destinations.", body: bodyData, keyed: true,
		says: map[int]any{202: Started{}}, fails: map[int]string{404: "there is no such function"},
	},
	"POST /v1/functions/{function}/pause":  {id: "pauseFunction", help: "Keeps calls of a function from being sent.", query: []param{pBy, pReason}, says: map[int]any{200: Steered{}}, fails: map[int]string{404: "there is no such function"}},
	"POST /v1/functions/{function}/resume": {id: "resumeFunction", help: "Sends what a pause has held back.", query: []param{pBy, pReason}, says: map[int]any{200: Steered{}}, fails: map[int]string{404: "there is no such function"}},
	"POST /v1/functions/{function}/limit": {
		id: "limitFunction", help: "Sends a function at most so many calls at a time.", says: map[int]any{200: Steered{}}, fails: map[int]string{404: "there is no such function"},
		query: []param{{"limit", formNumber, "0 is what the documents say"}, pBy},
	},

	"GET /v1/events": {
		id: "listEvents", help: "The events that came, and what they started, the latest first.", says: map[int]any{200: FoundEvents{}},
		query: []param{{"taken", "matched|unmatched|refused", "only what was taken so"}, pLimit, pAfter},
	},
	"GET /v1/events/{id}":  {id: "getEvent", help: "What became of the events of an id.", says: map[int]any{200: FoundEvents{}}, fails: map[int]string{404: "no such event came"}},
	"POST /v1/events/test": {id: "testEvent", help: "Which triggers would take an event, or which filter does not; starts nothing.", body: bodyEvent, says: map[int]any{200: TestedEvent{}}},

	"GET /v1/dead": {
		id: "listLetters", help: "Dead letters of all routers, the latest first, without their data; or how many there are of each cause.", says: map[int]any{200: oneOf{LetterList{}, Causes{}}},
		query: []param{
			pTrigger, {"function", formText, "only for this function, or trigger as a destination"}, pTenant, {"run", formText, "only of this run"}, {"kind", strings.Join(engine.LetterKinds, "|"), "only of this kind"},
			{"error", formText, "only with this type or class of error"}, {"text", formText, "only with this text"}, pSince, pUntil, pLimit, pAfter, {"group", "cause", "count by cause"},
		},
	},
	"GET /v1/dead/{id}":          {id: "getLetter", help: "A dead letter, with its data.", says: map[int]any{200: engine.Letter{}}, fails: noLetter},
	"DELETE /v1/dead/{id}":       {id: "deleteLetter", help: "Removes a dead letter for ever.", says: map[int]any{200: LetterBecame{}}, fails: noLetter},
	"POST /v1/dead/{id}/redrive": {id: "redriveLetter", help: "Sends a dead letter again, and removes it once it has arrived.", says: map[int]any{200: LetterBecame{}}, fails: map[int]string{404: "there is no such letter", 502: "it did not arrive, and is kept"}},
	"GET /v1/sources":            {id: "listSources", help: "The sources of the router that is asked: when a schedule ticks next, how far files are read, what keeps one from taking events.", says: map[int]any{200: SourceList{}}},
	"GET /v1/parked":             {id: "listParked", help: "What came in and is no event, at the router that is asked.", says: map[int]any{200: ParkedList{}}},

	"POST /v1/facts":   {id: "giveFacts", help: "What routers hand one another: facts about runs.", body: bodyWire, says: map[int]any{200: map[string]any{}}, fails: map[int]string{404: "who asks is no router"}},
	"POST /v1/beats":   {id: "giveBeats", help: "What routers hand one another: heartbeats.", body: bodyWire, says: map[int]any{200: map[string]any{}}, fails: map[int]string{404: "who asks is no router"}},
	"POST /v1/gathers": {id: "askGathers", help: "What routers ask one another: whether runs wait for events of some keys.", body: bodyWire, says: map[int]any{200: map[string]any{}}, fails: map[int]string{404: "who asks is no router"}},
	"POST /v1/tickets": {id: "askTickets", help: "What routers ask one another: whether calls that are said to be done are theirs.", body: bodyWire, says: map[int]any{200: map[string]any{}}, fails: map[int]string{404: "who asks is no router"}},
	"GET /v1/load":     {id: "getLoad", help: "What routers tell one another: whether starts are taken.", says: map[int]any{200: map[string]any{}}, fails: map[int]string{404: "who asks is no router"}},
	"GET /v1/peer":     {id: "provePeer", help: "How routers prove to one another who they are.", says: map[int]any{200: bare{}}, fails: map[int]string{404: "who asks is no router"}},

	"GET /metrics": {id: "getMetrics", help: "Metrics for Prometheus; as OpenMetrics for who accepts that.", says: map[int]any{200: nil}},
	"GET /healthz": {id: "getHealth", help: "The process runs.", says: map[int]any{200: Health{}}},
	"GET /readyz":  {id: "getReady", help: "Events are taken in; degraded: not of all sources.", says: map[int]any{200: Health{}}, fails: map[int]string{503: "why not"}},
}

// A oneOf is an answer that is one of several.
type oneOf []any

// A media is an answer of a media type of its own.
type media string

// A bare answer has no body.
type bare struct{}

// A stream is of server-sent events.
type stream struct{}

// Health is how the process, or the router, is.
type Health struct {
	Status  string            `json:"status"`            // ok; ready, or degraded
	Sources map[string]string `json:"sources,omitempty"` // by name, what keeps them from taking events
	Starts  string            `json:"starts,omitempty"`  // why nothing new is started at present; what has begun goes on
}

// checkQuery refuses parameters that an operation has not, and what is none of the words that one may be.
func (x *account) checkQuery(ask url.Values) error {
	if err := checkKeys(ask, x.names()); err != nil {
		return err
	}
	for _, p := range x.query {
		text := ask.Get(p.name)
		if text == "" {
			continue
		}
		words := strings.Split(p.form, "|")
		if _, err := strconv.ParseBool(text); p.form == formFlag && err != nil {
			return invalid("%s is %.40q; write true or false", p.name, text)
		}
		if !slices.Contains(forms, p.form) && !slices.Contains(words, text) {
			return invalid("%s %.40q is none; write %s", p.name, text, anyOf(words))
		}
	}
	return nil
}

// checkBody refuses what comes with a request that takes nothing: it would be passed over without a word. A client that always sends some JSON may send an
// empty object, or null.
func (x *account) checkBody(q *http.Request) error {
	if x.id == "" || x.body != bodyNone || q.Method == http.MethodGet || q.Method == http.MethodHead {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(q.Body, 64))
	if err != nil {
		return err
	}
	if text := string(bytes.TrimSpace(b)); text != "" && text != "{}" && text != "null" {
		where := ""
		if names := x.names(); len(names) > 0 {
			where = "; what it takes stands in the query: " + strings.Join(names, ", ")
		}
		return invalid("this takes no body, and one came that begins with %.40q%s", text, where)
	}
	q.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

// names are those of its parameters.
func (x *account) names() (names []string) {
	for _, p := range x.query {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// anyOf writes words as a person lists them.
func anyOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
