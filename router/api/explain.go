package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// explained is how many of a step's open children an explanation looks at, and named how many it names.
const (
	explained = 200
	named     = 10
)

// An Explanation says why a run is not further, or why it ended as it did.
type Explanation struct {
	Run     string   `json:"run"`
	Trigger string   `json:"trigger"`
	State   string   `json:"state"`
	Reasons []Reason `json:"reasons"`
}

// Lines are the reasons in plain words, a line each.
func (x *Explanation) Lines() []string { return linesOf(x.Reasons) }

func linesOf(reasons []Reason) []string {
	var lines []string
	for _, r := range reasons {
		lines = append(lines, strings.TrimPrefix(r.Path+": ", ": ")+r.Text)
	}
	return lines
}

// A Reason is one thing that a run waits for, or that became of it.
type Reason struct {
	Kind     string    `json:"kind"`
	Path     string    `json:"path,omitempty"` // of the step; of a step without one, what it does
	Text     string    `json:"text"`           // in plain words
	Function string    `json:"function,omitempty"`
	Trigger  string    `json:"trigger,omitempty"` // that the step starts a run of
	Run      string    `json:"run,omitempty"`     // that is waited for
	Signal   string    `json:"signal,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Count    int       `json:"count,omitempty"` // of the children, or of what came, that it is said of
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"` // when it is over at the latest, or goes on
}

// The kinds of reasons.
const (
	whyCall       = "call"       // a call is queued, at work, or cannot be sent
	whyRetry      = "retry"      // it is between two tries
	whyTimer      = "timer"      // a pause
	whySignal     = "signal"     // nobody has sent it yet
	whyDeadline   = "deadline"   // a step that is bounded
	whyStopping   = "stopping"   // what is in it cleans up
	whyChildren   = "children"   // of many some are missing
	whySkipped    = "skipped"    // by a condition
	whyKept       = "kept"       // a signal came that nothing waits for
	whyPaused     = "paused"     // by a person
	whyQueued     = "queued"     // behind other runs of its key
	whyRound      = "round"      // events of its key are missing
	whyRun        = "run"        // what a run is at that a step has started, and waits for
	whyDefinition = "definition" // it is not known
	whyEnded      = "ended"      // how
	whyFailed     = "failed"     // a call, for good
	whyDelivery   = "delivery"   // of the event of its end
	whyHistory    = "history"    // what it does not tell
)

// Explain says why a run is not further.
func (a *API) Explain(ctx context.Context, id journal.RunID) (*Explanation, error) {
	st, f, err := a.Status(ctx, id, explained)
	if err != nil {
		return nil, err
	}
	if f != nil {
		said := &Explanation{Run: f.ID, Trigger: f.Trigger, State: f.State}
		calls := "1 call"
		if f.Calls != 1 {
			calls = fmt.Sprintf("%d calls", f.Calls)
		}
		line := fmt.Sprintf("%s at %s, after %s and %s", f.State, f.Ended.Format(time.RFC3339), f.Ended.Sub(f.Started).Round(time.Millisecond), calls)
		if f.Error != nil {
			line += ": " + f.Error.Error()
			if f.Error.Path != "" {
				line += fmt.Sprintf("; at %s, try %d", f.Error.Path, max(f.Error.Attempt, 1))
			}
			if f.Error.Invocation != "" {
				line += ", which was sent as " + f.Error.Invocation
			}
		}
		if f.State == lang.Skipped.String() {
			line += skipped(f.Result)
		}
		failed, err := a.failedPath(ctx, id, f)
		said.Reasons = append([]Reason{{Kind: whyEnded, Text: line, Since: f.Ended}}, failed...)
		return said, err
	}
	now := time.Now()
	said := &Explanation{Run: st.Run.String(), Trigger: st.Trigger, State: st.State, Reasons: explain(st, now)}
	a.doubt(ctx, said.Reasons, now)
	said.Reasons = append(said.Reasons, a.behind(ctx, st, now)...)
	return said, nil
}

// doubtAfter is for how long a run that a call has started may be unknown where it is to be folded.
const doubtAfter = 10 * time.Second

// doubt says of calls which wait for runs that nobody knows, here where they would be folded, that their starts may be lost: a place in the journal that cannot
// be read tells nobody whose it was.
func (a *API) doubt(ctx context.Context, reasons []Reason, now time.Time) {
	asked := 0
	for i := range reasons {
		r := &reasons[i]
		id, err := journal.ParseRunID(r.Run)
		if r.Kind != whyCall || err != nil || now.Sub(r.Since) < doubtAfter || asked == named || !a.Shards.Has(id) {
			continue
		}
		asked++
		if err := a.known(ctx, id); errors.Is(err, errUnknownRun) {
			r.Text += "; no run of that id is known: where its start could not be read it is among onward dead list --kind parked, and is sent again when this router starts anew; onward runs cancel ends the wait"
		}
	}
}

// skipped says why a run did nothing.
func skipped(result lang.Value) string {
	var said struct{ Dropped string }
	if result.Decode(&said) == nil && said.Dropped != "" {
		return ": dropped, " + said.Dropped
	}
	return ": the condition of its flow (when) was not true"
}

// failedSteps are the steps of a run that failed for good: of this router's history, or of another one's, where its partition was.
func (a *API) failedSteps(ctx context.Context, id journal.RunID) (*engine.Timeline, error) {
	t, err := a.Past.Timeline(id, "", explained, true)
	if err != nil || len(t.Steps) > 0 {
		return t, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/v1/runs/%s/steps?failed=true&limit=%d", id, explained), http.NoBody)
	if err != nil {
		return nil, err
	}
	a.Cluster.Gather(q, func() (any, func()) {
		theirs := new(RunSteps)
		return theirs, func() {
			if len(theirs.Steps) > len(t.Steps) {
				t = &theirs.Timeline
			}
		}
	})
	return t, nil
}

// failedPath tells of the calls of a failed run that failed for good, with their inputs and tries, as far as the history has them.
func (a *API) failedPath(ctx context.Context, id journal.RunID, f *engine.Ending) (said []Reason, _ error) {
	if f.State != lang.Failed.String() {
		return nil, nil
	}
	t, err := a.failedSteps(ctx, id)
	if err != nil {
		return nil, err
	}
	calls := 0
	for _, s := range t.Steps {
		if s.N == 0 || s.Delivery {
			continue // It failed by what is in it, or is of the run's end.
		}
		if calls++; calls > named {
			continue
		}
		does := "function " + s.Function
		if s.Function == "" {
			does = "trigger " + s.Trigger
		}
		line := fmt.Sprintf("%s failed at try %d", does, max(s.Attempt, 1))
		if s.Error != nil {
			line += " (" + s.Error.Error() + ")"
		}
		if !s.Sent.IsZero() {
			line += fmt.Sprintf("; sent at %s, it took %s", s.Sent.UTC().Format(time.RFC3339), s.Ended.Sub(s.Sent).Round(time.Millisecond))
		}
		said = append(said, Reason{
			Kind: whyFailed, Path: s.Path, Text: line + "; its input was " + begun(s), Function: s.Function, Trigger: s.Trigger, Attempt: max(s.Attempt, 1), Since: s.Sent, Until: s.Ended,
		})
	}
	switch {
	case t.Next != "":
		said = append(said, Reason{Kind: whyHistory, Text: fmt.Sprintf("more than %d failed; onward runs get %s --failed shows all", explained, id)})
	case calls > named:
		said = append(said, Reason{Kind: whyHistory, Text: fmt.Sprintf("%d more failed; onward runs get %s --failed shows all", calls-named, id), Count: calls - named})
	}
	if t.Missing > 0 {
		said = append(said, Reason{Kind: whyHistory, Text: fmt.Sprintf("of the steps of that time the history lacks %d, of all runs together", t.Missing), Count: t.Missing})
	}
	return said, nil
}

// begun is a step's input, as far as a line has room, and how much of it there is elsewhere.
func begun(s *engine.PastStep) string {
	if s.InputSize == 0 {
		return short(s.Input)
	}
	var text string
	if s.Input.Decode(&text) != nil {
		return short(s.Input)
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "")
	}
	return fmt.Sprintf("%s... (%d bytes; the history keeps the begin of it, up to history.value: whole it is only where it came from, the event that started the run or the step before)", text, s.InputSize)
}

// short is as much of a value as fits into a line.
func short(v lang.Value) string {
	text := v.JSON()
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}

// ExplainStatus says in plain words why an open run is not further; now is the time by which waits are counted, unless the fold's is ahead of it: by that
// its steps began, and timers are due.
func ExplainStatus(st *engine.Status, now time.Time) []string { return linesOf(explain(st, now)) }

func explain(st *engine.Status, now time.Time) []Reason {
	switch st.State {
	case "stranded":
		said := []Reason{{Kind: whyDefinition, Text: "waiting for the definition that it started with; load the documents that it was started from"}}
		if p := st.Paused; p != nil {
			said = append(said, Reason{Kind: whyPaused, Text: paused(p), Since: p.Since})
		}
		return said
	case "ending":
		said := []Reason{{Kind: whyEnded, Text: st.Outcome + "; the event of its end is being delivered"}}
		for _, d := range st.Deliveries {
			why, until := d.Outbox, d.GivesUp
			if !d.RetryAt.IsZero() {
				why, until = fmt.Sprintf("try %d failed (%v); the next is due in %s", d.Attempt, d.LastError, d.RetryAt.Sub(now).Round(time.Second)), d.RetryAt
			}
			name := cmp.Or(d.Function, "the filters of all triggers")
			said = append(said, Reason{Kind: whyDelivery, Path: name, Text: why + givesUp(d.GivesUp), Function: d.Function, Attempt: d.Attempt, Since: d.Since, Until: until})
		}
		return said
	}
	e := explainer{now: now, wall: now}
	if st.Now.After(now) {
		e.now = st.Now
	}
	if q := st.Queue; q != nil {
		e.say(nil, Reason{Kind: whyQueued, Run: firstOf(q.Work), Count: q.Before}, "%s", queued(q))
	}
	if x := st.Round; x != nil {
		e.say(nil, Reason{Kind: whyRound, Count: x.Events, Since: st.Started, Until: x.Deadline}, "%s", gathered(x, st.Started, e.now))
	}
	if p := st.Paused; p != nil {
		e.say(nil, Reason{Kind: whyPaused, Since: p.Since}, "%s; what it calls is not sent, deadlines count; onward runs resume %s lets it go on", paused(p), st.Run)
	}
	if st.Root != nil {
		e.step(st.Root)
	}
	e.kept(st.Signals)
	return e.said
}

// kept tells of signals that came and that nothing waits for yet.
func (e *explainer) kept(names []string) {
	count := make(map[string]int)
	for _, name := range names {
		count[name]++
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		line := fmt.Sprintf("the signal %q came, and is kept until a step waits for it", name)
		if n := count[name]; n > 1 {
			line += fmt.Sprintf(" (%d of them)", n)
		}
		e.say(nil, Reason{Kind: whyKept, Signal: name, Count: count[name]}, "%s", line)
	}
}

func firstOf(runs []journal.RunID) string {
	if len(runs) == 0 {
		return ""
	}
	return runs[0].String()
}

// queued says for whom a run waits.
func queued(q *engine.Queue) string {
	who := make([]string, len(q.Work))
	for i, id := range q.Work {
		who[i] = id.String()
	}
	said := fmt.Sprintf("waits for run %s of key %q (concurrency: limit %d)", strings.Join(who, ", "), q.Key, q.Limit)
	switch {
	case q.Before == 1:
		said += "; 1 waits that came before it"
	case q.Before > 1:
		said += fmt.Sprintf("; %d wait that came before it", q.Before)
	}
	return said
}

// gathered says which events a run waits for.
func gathered(x *engine.RoundStatus, since, now time.Time) string {
	said := fmt.Sprintf("it is the one that events of key %q come to", x.Key)
	if x.Open {
		said = fmt.Sprintf("waits since %s for events of key %q; missing: %s", since.UTC().Format(time.RFC3339), x.Key, cmp.Or(strings.Join(x.Missing, ", "), "those that its join asks for"))
		if len(x.Arrived) > 0 {
			said += "; arrived: " + strings.Join(x.Arrived, ", ")
		}
	}
	if !x.Deadline.IsZero() {
		said += fmt.Sprintf("; its deadline is in %s, and then %s", x.Deadline.Sub(now).Round(time.Second), map[string]string{"fail": "it fails", "take": "it goes on with what there is", "end": "it ends as skipped"}[x.Then])
	}
	if x.Kept > 0 {
		said += fmt.Sprintf("; kept for the next round: %d", x.Kept)
	}
	return said
}

// paused says since when, by whom and why.
func paused(p *engine.Pause) string {
	said := "paused since " + p.Since.UTC().Format(time.RFC3339)
	if p.By != "" {
		said += ", by " + p.By
	}
	if p.Reason != "" {
		said += ": " + p.Reason
	}
	return said
}

// An explainer gathers the reasons of one answer.
type explainer struct {
	now  time.Time // by the fold
	wall time.Time // by this machine, as the outbox's times are
	said []Reason
}

// say adds a reason, of a step where there is one.
func (e *explainer) say(s *engine.StepStatus, r Reason, format string, a ...any) {
	if s != nil {
		r.Path = cmp.Or(s.Path, s.Does)
	}
	r.Text = fmt.Sprintf(format, a...)
	e.said = append(e.said, r)
}

func givesUp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return "; gives up at " + at.UTC().Format(time.RFC3339)
}

// first is the earlier of two times that are not zero.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// called is the reason of a step that waits for a call.
func called(inv *engine.InvocationStatus, s *engine.StepStatus) Reason {
	r := Reason{Kind: whyCall, Function: inv.Function, Run: inv.Child, Attempt: max(s.Attempt, 1), Since: inv.Since, Until: first(inv.GivesUp, s.Deadline)}
	if inv.Starts != nil {
		r.Function, r.Trigger = "", inv.Starts.ToTrigger
	}
	return r
}

// pulse tells of the last heartbeat.
func (e *explainer) pulse(inv *engine.InvocationStatus) string {
	if inv.Heartbeat.IsZero() {
		return ""
	}
	said := fmt.Sprintf("; its last heartbeat came %s ago", ago(e.wall, inv.Heartbeat))
	if !inv.Progress.IsNull() {
		said += ": " + short(inv.Progress)
	}
	return said
}

// ago is how long it is since then, never less than nothing.
func ago(now, then time.Time) time.Duration { return max(now.Sub(then), 0).Round(time.Second) }

func (e *explainer) step(s *engine.StepStatus) {
	if !s.RetryAt.IsZero() {
		next := "the next"
		if s.Retry != nil {
			next += ", " + s.Retry.String() + ","
		}
		e.say(s, Reason{Kind: whyRetry, Attempt: s.Attempt, Until: s.RetryAt}, "try %d failed (%v); %s is due in %s", s.Attempt, s.LastError, next, s.RetryAt.Sub(e.now).Round(time.Second))
	}
	if inv := s.Invocation; inv != nil && !inv.Since.IsZero() {
		e.say(s, called(inv, s), "%s; since %s%s%s", inv.Outbox, ago(e.wall, inv.Since), e.pulse(inv), givesUp(first(inv.GivesUp, s.Deadline)))
	} else if inv != nil {
		e.say(s, called(inv, s), "%s%s", inv.Outbox, givesUp(s.Deadline))
	} else if !s.Deadline.IsZero() && len(s.Awaits) == 0 {
		e.say(s, Reason{Kind: whyDeadline, Since: s.Since, Until: s.Deadline}, "its deadline is %s (in %s)", s.Deadline.UTC().Format(time.RFC3339), s.Deadline.Sub(e.now).Round(time.Second))
	}
	if s.Stopping {
		e.say(s, Reason{Kind: whyStopping}, "it is being stopped; what is in it cleans up first")
	}
	for _, t := range s.Timers {
		e.say(s, Reason{Kind: whyTimer, Since: s.Since, Until: t.Due}, "waiting until %s (%s)", t.Due.Format(time.RFC3339), t.Due.Sub(e.now).Round(time.Second))
	}
	for _, name := range s.Awaits {
		e.say(s, Reason{Kind: whySignal, Signal: name, Since: s.Since, Until: s.Deadline}, "waiting for the signal %q since %s%s", name, ago(e.now, s.Since), givesUp(s.Deadline))
	}
	for _, below := range []*engine.StepStatus{s.Handler, s.Twin} {
		if below != nil {
			e.step(below)
		}
	}
	for _, sl := range s.Slots {
		e.slot(s, &sl)
	}
}

// slot tells of a step's children: of many, in one line which are missing and what they wait for; then what is inside of those that are more than a
// call.
func (e *explainer) slot(s *engine.StepStatus, sl *engine.SlotStatus) {
	left := sl.Spawned - sl.Succeeded - sl.Failed - sl.Skipped
	many := sl.Spawned > 1 && left > 0
	if sl.When != "" {
		e.say(s, Reason{Kind: whySkipped, Count: sl.Skipped}, "%s of %s skipped by its when: %s", thousands(sl.Skipped), sl.Name, sl.When)
	}
	if many {
		line := fmt.Sprintf("waiting for %s of %s: %s; since %s", thousands(left), thousands(sl.Spawned), indexes(sl, left), ago(e.now, s.Since))
		line += missing(sl, left)
		e.say(s, Reason{Kind: whyChildren, Count: left, Since: s.Since}, "%s", line)
	}
	shown := 0
	for _, child := range sl.Waiting {
		if many && (isCall(child) || shown == named) {
			continue
		}
		shown++
		e.step(child)
	}
}

// missing says what each of a slot's missing children waits for; the numbers sum up to left.
func missing(sl *engine.SlotStatus, left int) (said string) {
	var whys []string
	count, gives := make(map[string]int), make(map[string]time.Time)
	add := func(why string, n int, end time.Time) {
		if n <= 0 {
			return
		}
		if count[why] == 0 {
			whys = append(whys, why)
		}
		count[why] += n
		gives[why] = first(gives[why], end)
	}
	for _, child := range sl.Waiting {
		switch {
		case isCall(child):
			add(child.Invocation.Outbox, 1, first(child.Invocation.GivesUp, child.Deadline))
		case !child.RetryAt.IsZero():
			add("between two tries", 1, time.Time{})
		default:
			add("in steps of its own", 1, time.Time{})
		}
	}
	looked := "open, and not among the " + thousands(len(sl.Waiting)) + " that were looked at: those with a failed try first, then the oldest"
	if len(sl.Waiting) == 0 {
		looked = "open; too many steps are, and none of these was looked at"
	}
	add(looked, min(sl.Open, left)-len(sl.Waiting), time.Time{})
	turn := "not begun"
	if sl.Window > 0 {
		turn = fmt.Sprintf("not begun: at most %s are open at a time", thousands(sl.Window))
	}
	add(turn, left-max(sl.Open, len(sl.Waiting)), time.Time{})
	for _, why := range whys {
		said += "; " + why
		if len(whys) > 1 {
			said += fmt.Sprintf(" (%s)", thousands(count[why]))
		}
		if end := gives[why]; !end.IsZero() {
			said += ", the first gives up at " + end.UTC().Format(time.RFC3339)
		}
	}
	return said
}

// isCall reports a step that is at its first work, a call, and nothing else.
func isCall(s *engine.StepStatus) bool {
	return s.Invocation != nil && s.RetryAt.IsZero() && s.Handler == nil
}

func indexes(sl *engine.SlotStatus, left int) string {
	parts := make([]string, 0, named)
	for _, n := range sl.Indexes[:min(named, len(sl.Indexes))] {
		parts = append(parts, fmt.Sprint(n))
	}
	if more := left - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %s more", thousands(more)))
	}
	return strings.Join(parts, ", ")
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
