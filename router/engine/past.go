package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
)

// A PastStep is what became of an invocation, or of a step that is more than one. Times are zero where they are not known.
type PastStep struct {
	Run      string `json:"-"`
	Path     string `json:"path"`
	N        uint32 `json:"n,omitempty"` // of an invocation
	Function string `json:"function,omitempty"`
	Trigger  string `json:"starts,omitempty"` // that it started a run of, instead of a function
	Signal   string `json:"signal,omitempty"` // that came then: the entry is no step's, and its output is what came with it
	Delivery bool   `json:"delivery,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	Outcome  string `json:"outcome"`
	State    string `json:"state,omitempty"` // of one that is open: queued, running or waiting
	// Again says that it failed, and was tried again.
	Again  bool      `json:"again,omitempty"`
	Queued time.Time `json:"queued"` // a step: when it opened
	Sent   time.Time `json:"sent,omitzero"`
	Ended  time.Time `json:"ended,omitzero"` // zero of one that is open
	// Times is nil where they are not known.
	Times *Times `json:"times,omitempty"`
	// InputSize and OutputSize are the bytes that a value had of which only the begin is kept, as text.
	Input      lang.Value  `json:"input,omitzero"`
	InputSize  int         `json:"inputSize,omitempty"`
	Output     lang.Value  `json:"output,omitzero"`
	OutputSize int         `json:"outputSize,omitempty"`
	Error      *lang.Error `json:"error,omitempty"`
}

// Times tell where the time of a call went. They come to the whole of it, from when it was to be sent until its outcome counted.
type Times struct {
	Queue    plugin.Duration `json:"queue"`    // until its last try went to the function: for room, its rate, a pause, or after tries that nothing came of
	Function plugin.Duration `json:"function"` // until the answer came, or its time was over
	Router   plugin.Duration `json:"router"`   // the rest: until what led to it was durable and folded, and then its outcome
}

// Add adds what another call took.
func (t *Times) Add(o Times) {
	t.Queue, t.Function, t.Router = t.Queue+o.Queue, t.Function+o.Function, t.Router+o.Router
}

// TimesOf tells the times of a call apart, which are in nanoseconds as in a Trace. It is false where nobody knows when it was sent. Where it is
// not known when the answer came, the way to its record is the function's.
func TimesOf(queued, made, sent, arrived, ended int64) (t Times, known bool) {
	if sent == 0 {
		return t, false
	}
	if arrived == 0 {
		arrived = ended
	}
	whole := max(ended-queued, 0) // The fold's clock; it may differ from the sender's.
	function := min(max(arrived-sent, 0), whole)
	queue := min(max(sent-max(made, queued), 0), whole-function)
	return Times{plugin.Duration(queue), plugin.Duration(function), plugin.Duration(whole - function - queue)}, true
}

// A Timeline is a part of what became of a run's steps, in the order in which that was known.
type Timeline struct {
	Steps []*PastStep `json:"steps"`
	Next  string      `json:"next,omitempty"` // cursor of the next part; empty: there is no more
	// Missing counts what the history could not take while the run was at work, of all runs together.
	Missing int `json:"missing,omitempty"`
}

// A StepSummary is what became of all invocations or steps of a path, whatever their indexes: of those that were tried again the last counts.
type StepSummary struct {
	Path      string          `json:"path"` // with [*] for indexes
	Calls     int             `json:"calls,omitempty"`
	Succeeded int             `json:"succeeded"`
	Failed    int             `json:"failed"`
	Skipped   int             `json:"skipped"`
	Cancelled int             `json:"cancelled"`
	Again     int             `json:"again,omitempty"` // tries after which there was another
	First     time.Time       `json:"first"`
	Last      time.Time       `json:"last"`
	Min       plugin.Duration `json:"min"`
	P50       plugin.Duration `json:"p50"`
	P95       plugin.Duration `json:"p95"`
	Max       plugin.Duration `json:"max"`
	Times     *Times          `json:"times,omitempty"` // of its calls together, tries that were repeated included
}

// Strips say when a run's steps were at work: each of them, or of many how many there were at a time.
type Strips struct {
	From   time.Time   `json:"from"`
	To     time.Time   `json:"to"`
	Steps  []*PastStep `json:"steps,omitempty"`
	Strips []*Strip    `json:"strips,omitempty"`
	Left   int         `json:"left,omitempty"` // steps that are in no strip: there are too many
}

// A Strip is how many activations of a step were queued, at work, and failed, in each of the equal parts of a time.
type Strip struct {
	Path    string `json:"path"` // with [*] for indexes
	Total   int    `json:"total"`
	Queued  []int  `json:"queued"`
	Running []int  `json:"running"`
	Failed  []int  `json:"failed"`
}

// A PastEvent is an event that came, and what it was taken for.
type PastEvent struct {
	ID     string    `json:"event"`
	Source string    `json:"source"`
	Type   string    `json:"type"`
	Came   time.Time `json:"came"`
	By     string    `json:"by,omitempty"` // the source of ours that it came by
	Taken  string    `json:"taken"`        // matched, unmatched or refused
	Note   string    `json:"note,omitempty"`
	Runs   []PastRun `json:"runs,omitempty"`
	Again  bool      `json:"again,omitempty"` // it was told by the journal, after a crash: by which source it came is not known
}

// Append appends the event as JSON, as its members are tagged. One is written for each event that comes, so that reflection would cost more than all else that is
// kept of it.
func (e *PastEvent) Append(b []byte) []byte {
	b = lang.AppendString(append(b, `{"event":`...), e.ID)
	b = lang.AppendString(append(b, `,"source":`...), e.Source)
	b = lang.AppendString(append(b, `,"type":`...), e.Type)
	b = append(e.Came.AppendFormat(append(b, `,"came":"`...), time.RFC3339Nano), '"')
	if e.By != "" {
		b = lang.AppendString(append(b, `,"by":`...), e.By)
	}
	b = lang.AppendString(append(b, `,"taken":`...), e.Taken)
	if e.Note != "" {
		b = lang.AppendString(append(b, `,"note":`...), e.Note)
	}
	for i, r := range e.Runs {
		before := `,"runs":[{"run":`
		if i > 0 {
			before = `,{"run":`
		}
		b = lang.AppendString(append(b, before...), r.Run)
		b = append(lang.AppendString(append(b, `,"trigger":`...), r.Trigger), '}')
	}
	if len(e.Runs) > 0 {
		b = append(b, ']')
	}
	if e.Again {
		b = append(b, `,"again":true`...)
	}
	return append(b, '}')
}

// MergeEvents puts what the journal told again of an event to what is known of it, or together, with each run that it started once.
func MergeEvents(all []*PastEvent) []*PastEvent {
	type key struct{ id, source string }
	known := make(map[key]*PastEvent)
	for _, e := range all {
		if k := (key{e.ID, e.Source}); known[k] == nil || known[k].Again && !e.Again {
			known[k] = e
		}
	}
	return slices.DeleteFunc(all, func(e *PastEvent) bool {
		x := known[key{e.ID, e.Source}]
		if x == e || !e.Again {
			return false
		}
		for _, run := range e.Runs {
			if !slices.Contains(x.Runs, run) {
				x.Runs = append(x.Runs, run)
			}
		}
		return true
	})
}

// An EventPlace is where an event stands in the list of those that came, the latest first. It is the same at every router.
type EventPlace struct {
	Came int64
	Key  string // tells those of one moment apart
}

// Place is where e stands.
func (e *PastEvent) Place() EventPlace {
	sum := sha256.Sum256([]byte(e.ID + "\x00" + e.Source))
	return EventPlace{e.Came.UnixNano(), hex.EncodeToString(sum[:6])}
}

// Compare orders places as the list does.
func (p EventPlace) Compare(o EventPlace) int {
	return cmp.Or(cmp.Compare(o.Came, p.Came), cmp.Compare(p.Key, o.Key))
}

// String is the place as a cursor.
func (p EventPlace) String() string { return strconv.FormatInt(p.Came, 10) + "." + p.Key }

// ParseEventPlace reads a cursor; empty is nil, the list's begin.
func ParseEventPlace(text string) (*EventPlace, error) {
	if text == "" {
		return nil, nil
	}
	came, key, ok := strings.Cut(text, ".")
	n, err := strconv.ParseInt(came, 10, 64)
	if !ok || err != nil || len(key) != 12 {
		return nil, fmt.Errorf("%.60q is %w", text, ErrCursor)
	}
	return &EventPlace{n, key}, nil
}

// A PastRun is a run that an event started, or had started.
type PastRun struct {
	Run     string `json:"run"`
	Trigger string `json:"trigger"`
}

// An EndHead is what lists ask of an ended run. Times are in nanoseconds.
type EndHead struct {
	Run                            journal.RunID
	Started, Ended                 int64
	Calls                          int
	Redrives                       uint32
	Tenant, Trigger, State, Parent string // Parent is the run that started it, by a step
	Error                          string // its type
	// Page and At say where the rest of it lies, to who keeps it.
	Page int64
	At   uint32
}
