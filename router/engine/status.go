package engine

import (
	"fmt"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A Status is what a run is doing, for people: `runs get` and `runs explain` print it.
type Status struct {
	Run     journal.RunID `json:"run"`
	Tenant  string        `json:"tenant"`
	Trigger string        `json:"trigger"`
	State   string        `json:"state"` // running, waiting (for signals or timers only), queued (behind others of its key), paused, redriving, cancelling (what was cancelled cleans up), ending (its end is being delivered), stranded (its definition is not known)
	Paused  *Pause        `json:"paused,omitempty"`
	Queue   *Queue        `json:"queue,omitempty"`
	Round   *RoundStatus  `json:"round,omitempty"` // the events of its key that it awaits, or keeps
	Started time.Time     `json:"started"`
	Calls   int           `json:"calls"`            // invocations made so far; of what people are told, those that were sent
	Queued  int           `json:"queued,omitempty"` // that are to be sent yet; filled in by the owner
	Open    int           `json:"open"`             // that have no outcome yet, sent or not
	Event   lang.Value    `json:"event"`
	Outcome string        `json:"outcome,omitempty"` // of a run that is ending
	Result  lang.Value    `json:"result,omitzero"`
	Error   *lang.Error   `json:"error,omitempty"`
	// Root is the step at the top; nil when the run has ended.
	Root *StepStatus `json:"root,omitempty"`
	// Deliveries are the events of the run's end that are still under way.
	Deliveries []InvocationStatus `json:"deliveries,omitempty"`
	// Signals are signals that came before anything waited for them.
	Signals []string `json:"signals,omitempty"`
	// Now is the fold's time: what is waited for here began by it, and is due by it.
	Now time.Time `json:"-"`
}

// A RoundStatus is where the round of a run stands: the events of a key that it gathers, or keeps.
type RoundStatus struct {
	Key      string    `json:"key"`
	Open     bool      `json:"open"`              // it gathers; else its join is decided, and the run is at work
	Events   int       `json:"events"`            // that have joined it
	Arrived  []string  `json:"arrived,omitempty"` // which of them, and how many
	Missing  []string  `json:"missing,omitempty"` // which are yet to come, and how many
	Deadline time.Time `json:"deadline,omitzero"` // how long it gathers
	Then     string    `json:"then,omitempty"`    // what becomes of it at the deadline: fail, take, or end, where it has signals for a run that has not begun
	Kept     int       `json:"kept,omitempty"`    // events for the next round
}

// A StepStatus is one open step.
type StepStatus struct {
	Path     string    `json:"path"`
	Does     string    `json:"does"` // function NAME, or the policy's name
	Since    time.Time `json:"since"`
	Attempt  int       `json:"attempt,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Invocation is set while a function is at work.
	Invocation *InvocationStatus `json:"invocation,omitempty"`
	// RetryAt and LastError are set while it pauses before another try.
	RetryAt   time.Time   `json:"retryAt,omitzero"`
	LastError *lang.Error `json:"lastError,omitempty"`
	// Retry says by which rule the try at work, or the next one, is made; nil before anything failed.
	Retry *RetryStatus `json:"retry,omitempty"`
	// Timers and Awaits are what a policy waits for beside its children.
	Timers []TimerStatus `json:"timers,omitempty"`
	Awaits []string      `json:"awaits,omitempty"`
	Slots  []SlotStatus  `json:"slots,omitempty"`
	// Handler is the catch handler at work.
	Handler *StepStatus `json:"handler,omitempty"`
	// Twin is a second try at work beside the first.
	Twin *StepStatus `json:"twin,omitempty"`
	// Stopping says that it was cancelled or is over and that what is in it cleans up first.
	Stopping bool `json:"stopping,omitempty"`
	// Note is where its policy says it is.
	Note lang.Value `json:"note,omitzero"`
}

// A RetryStatus is where a rule of a step's retry stands.
type RetryStatus struct {
	Try  int `json:"try"` // of those that the rule counts
	Of   int `json:"of"`
	Rule int `json:"rule,omitempty"` // from 1; 0 where there is only one
}

// String returns it in words.
func (r *RetryStatus) String() string {
	text := fmt.Sprintf("try %d of %d", r.Try, r.Of)
	if r.Rule > 0 {
		text += fmt.Sprintf(" by rule %d", r.Rule)
	}
	return text
}

// A TimerStatus is a timer that a policy has set.
type TimerStatus struct {
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
}

// A SlotStatus tells of the children of one slot.
type SlotStatus struct {
	Name      string `json:"name"`
	Spawned   int    `json:"spawned"`
	Open      int    `json:"open"`
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	Skipped   int    `json:"skipped"`
	Window    int    `json:"window"`
	When      string `json:"when,omitempty"` // the condition that skipped some
	// Waiting are the first open children, at most as many as were asked for; Indexes are theirs.
	Indexes []int         `json:"indexes,omitempty"`
	Waiting []*StepStatus `json:"waiting,omitempty"`
}

// An InvocationStatus is an invocation that has no outcome yet. The outbox adds what it knows.
type InvocationStatus struct {
	ID       string    `json:"id"`
	N        uint32    `json:"n"`
	Path     string    `json:"path,omitempty"` // of a delivery: its destination
	Function string    `json:"function"`
	Attempt  int       `json:"attempt"`
	Created  time.Time `json:"created"`
	Accepted time.Time `json:"accepted,omitzero"`
	Ticket   string    `json:"ticket,omitempty"` // what its far end knows it by, such as the id of an activation
	Expires  time.Time `json:"expires,omitzero"`
	GivesUp  time.Time `json:"givesUp,omitzero"` // when the outbox will give it up, if nothing changes
	// RetryAt and LastError are set while a delivery pauses before another try.
	RetryAt   time.Time   `json:"retryAt,omitzero"`
	LastError *lang.Error `json:"lastError,omitempty"`
	// Starts is the call itself, of one that starts a run; Child is that run, which the owner fills in.
	Starts *Invocation `json:"-"`
	Child  string      `json:"child,omitempty"`
	// Outbox and Since are filled in by the owner: where it is and why, and since when.
	Outbox string `json:"outbox,omitempty"`
	// Heartbeat is when the last one came, Progress its data; filled in by the owner as well.
	Heartbeat time.Time  `json:"heartbeat,omitzero"`
	Progress  lang.Value `json:"progress,omitzero"`
	Since     time.Time  `json:"since,omitzero"`
}

// A Summary is one line of `runs list`.
type Summary struct {
	Run     journal.RunID
	Tenant  string
	Trigger string
	// Definition is that which it goes by.
	Definition lang.Digest
	State      string
	Paused     *Pause
	Started    time.Time
	Parent     string // the run that started it, by a step
	Open       int    // invocations without an outcome
	Calls      int
	Signals    int         // that it waits for
	Error      *lang.Error // of a run that is ending
	Event      lang.Value

	Input    lang.Value // the data of the event that started it
	Redrives uint32
	Awaits   []Await // where they are asked for
}

// An Await is a signal that a step waits for, or what a run's round lacks.
type Await struct {
	Signal  string    `json:"signal"`          // of a round: which events, and how many
	Round   string    `json:"round,omitempty"` // the key of the round; empty: it is a signal
	Path    string    `json:"path"`
	Since   time.Time `json:"since"`            // when the step began
	Expires time.Time `json:"expires,omitzero"` // the step's deadline, or its policy's
}

// Stats are a partition's gauges.
type Stats struct {
	Runs, Paused, Waiting, Invocations, Timers, Definitions, Tombstones int
	// Open counts the children that are open in all frames, Bytes the values that the runs keep.
	Open, Bytes int
	// DedupeSince is the time since when ended runs are remembered; zero while all are.
	DedupeSince time.Time
	CacheBytes  int
}

// A PartitionStatus is where the fold of a partition is.
type PartitionStatus struct {
	Partition int  `json:"partition"`
	Serving   bool `json:"serving"` // it acts; before that it folds what was before it
	// Offset is that of the record after the last one that is folded, Lag how many behind it are durable and not read, Unsaved how many came since the last
	// snapshot: those the next start folds again.
	Offset  int64 `json:"offset"`
	Lag     int64 `json:"lag"`
	Unsaved int64 `json:"unsaved"`
	// Saved is when the last snapshot of this tenure counted.
	Saved  time.Time `json:"saved,omitzero"`
	Runs   int       `json:"runs"`
	Paused int       `json:"paused"`
	Calls  int       `json:"calls"` // without an outcome
}
