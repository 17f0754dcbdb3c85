package api

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A StepCount says how many activations of one step of a definition are in which state.
type StepCount struct {
	Path      string `json:"path"`    // with [*] for indexes
	Pending   int    `json:"pending"` // they are to be, and have not begun
	Queued    int    `json:"queued"`  // their calls wait to be sent
	Running   int    `json:"running"`
	Waiting   int    `json:"waiting"` // for a signal, a timer, or the next try
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	Skipped   int    `json:"skipped"`
	Cancelled int    `json:"cancelled"`
	Over      int    `json:"over,omitempty"` // they have ended, and the history does not know how
}

func (c *StepCount) add(is engine.StepState, n int) {
	*[]*int{&c.Pending, &c.Queued, &c.Running, &c.Waiting, &c.Succeeded, &c.Failed, &c.Skipped, &c.Cancelled, &c.Over}[is] += n
}

// RunCounts are the counts of all steps of a run.
type RunCounts struct {
	Run   string       `json:"run"`
	Open  bool         `json:"open"`
	Steps []*StepCount `json:"steps"` // by path
}

// A RunField is how each activation of one step stands.
type RunField struct {
	Run  string `json:"run"`
	Step string `json:"step"`
	Open bool   `json:"open"` // the run is
	Size int    `json:"size"` // activations, as far as it is known how many there are to be
	// Counts and States are of all of them. In States two stand in a byte, that of the even index in the low half: a number each, which Words explain.
	Counts *StepCount `json:"counts,omitempty"`
	States []byte     `json:"states,omitempty"`
	Words  []string   `json:"words,omitempty"`
	// Changed is in place of those where what has changed was asked for: index and number, in turns, of all that have ended since, and of all that are open.
	Changed []int  `json:"changed,omitempty"`
	Cursor  string `json:"cursor"` // asks for what changes from here on
	// Within is given where a time is asked for: a bit of each activation, that of index 0 the lowest of the first byte; it is set of those that were queued or
	// at work then.
	Within []byte `json:"within,omitempty"`
}

// cells are the activations of a step at one place: one, or those of a frame, by their indexes.
type cells struct {
	one    engine.StepState
	single bool
	many   []engine.StepState
	slots  bool // the fold has told how many there are to be
	opened int
}

func (c *cells) set(index int, is engine.StepState) {
	at := &c.one
	if index >= 0 {
		if index >= len(c.many) {
			c.many = append(c.many, make([]engine.StepState, index+1-len(c.many))...)
		}
		at = &c.many[index]
	} else {
		c.single = true
	}
	if is == engine.StepCancelled && *at == engine.StepSucceeded {
		return // It was a second try of it.
	}
	*at = is
}

// A survey is how the steps of a run stand: by the history those that have ended, by the fold those that are open.
type survey struct {
	open   bool
	since  bool
	mark   string
	groups map[string]*cells
	last   string // the group of
	at     *cells

	record  bool // what has changed
	changed []int
	spans   []openStep // what is open
	within  []byte
}

func (v *survey) group(group string) *cells {
	if v.at == nil || v.last != group {
		c := v.groups[group]
		if c == nil {
			c = new(cells)
			v.groups[group] = c
		}
		v.at, v.last = c, group
	}
	return v.at
}

func (v *survey) ended(group []byte, index int, is engine.StepState) {
	if v.at == nil || v.last != string(group) {
		v.group(string(group))
	}
	v.set(index, is)
}

func (v *survey) set(index int, is engine.StepState) {
	if index > lang.MaxWidth {
		return // No policy of ours.
	}
	v.at.set(index, is)
	if v.record {
		v.changed = append(v.changed, max(index, 0), int(is))
	}
}

// An open step, as the fold knows it.
type openStep struct {
	group string
	index int
	is    engine.StepState
	n     uint32
	since int64 // nanoseconds
}

// glanceMost is how many open steps are looked at in one go: the fold stands still meanwhile.
const glanceMost = 1000

// look asks the fold for the open steps of a run, or of one group.
func (a *API) look(ctx context.Context, id journal.RunID, group string, v *survey) (steps []openStep, err error) {
	g := engine.Glance{
		Group: group,
		Step: func(group string, index int, is engine.StepState, n uint32, since int64) {
			steps = append(steps, openStep{group, index, is, n, since})
		},
		Slot: func(group string, many bool, spawned, opened int) {
			if c := v.group(group); many {
				c.slots, c.opened = true, opened
				if spawned > len(c.many) {
					c.many = append(c.many, make([]engine.StepState, spawned-len(c.many))...)
				}
			}
		},
	}
	for more := true; more; {
		if err := a.Shards.Ask(ctx, id, func(s *engine.State) {
			if v.mark == "" {
				v.mark = a.Past.Mark() // What this fold has noted lies before it.
			}
			v.open, more = s.Glance(id, &g, glanceMost)
		}); err != nil {
			return nil, err
		}
	}
	var calls []int
	var numbers []uint32
	for i := range steps {
		if x := &steps[i]; x.n != 0 && x.is == engine.StepQueued {
			calls, numbers = append(calls, i), append(numbers, x.n)
		}
	}
	for i, is := range a.Outbox.Standing(id, numbers) {
		steps[calls[i]].is = is
	}
	return steps, nil
}

// survey looks at a run's steps, or those of a group; after is a cursor from which on changes are wanted.
func (a *API) survey(ctx context.Context, id journal.RunID, group, after string) (*survey, error) {
	v := &survey{groups: make(map[string]*cells)}
	open, err := a.look(ctx, id, group, v)
	if err != nil {
		return nil, err
	}
	type end struct {
		index int
		is    engine.StepState
		group string
	}
	var late []end
	v.record = after != ""
	v.since, err = a.Past.Became(id, after, v.mark, func(of []byte, index int, is engine.StepState, isLate bool) {
		switch {
		case group != "" && group != string(of):
		case isLate:
			late = append(late, end{index, is, string(of)})
		default:
			v.ended(of, index, is)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	for _, c := range v.groups { // Each on its own.
		c.settle()
	}
	v.spans = open
	for _, x := range open {
		v.group(x.group)
		v.set(x.index, x.is)
	}
	for _, x := range late {
		v.group(x.group)
		v.set(x.index, x.is)
	}
	return v, nil
}

// settle makes what the history tells of a frame agree with what the fold does: what has not begun has not ended, but in a life before this one; and what
// has begun and is not open has ended, if only the fold knows.
func (c *cells) settle() {
	if !c.slots || c.opened < 0 {
		return
	}
	for i := range c.many {
		switch {
		case i >= c.opened:
			c.many[i] = engine.StepNone
		case c.many[i] == engine.StepNone:
			c.many[i] = engine.StepOver
		}
	}
}

func (c *cells) count(to *StepCount) {
	if c.single {
		to.add(c.one, 1)
	}
	var tally [16]int
	for _, is := range c.many {
		tally[is&15]++
	}
	for is := range engine.StepStates() {
		to.add(engine.StepState(is), tally[is])
	}
}

// counts returns them by the steps of the definition.
func (v *survey) counts() []*StepCount {
	by := make(map[string]*StepCount)
	var key []byte
	for group, c := range v.groups { // Sums: the order does not matter.
		key = engine.AppendPattern(key[:0], group)
		if len(c.many) > 0 {
			key = append(key, "[*]"...)
		}
		x := by[string(key)]
		if x == nil {
			x = &StepCount{Path: string(key)}
			by[x.Path] = x
		}
		c.count(x)
	}
	all := slices.SortedFunc(maps.Values(by), func(a, b *StepCount) int { return cmp.Compare(a.Path, b.Path) })
	return slices.DeleteFunc(all, func(c *StepCount) bool { return *c == StepCount{Path: c.Path} })
}

// getCounts tells how many activations of each step of a run's definition are in which state.
func (a *API) getCounts(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	v, err := a.survey(q.Context(), id, "", "")
	if err != nil {
		return err
	}
	said := &RunCounts{Run: id.String(), Open: v.open, Steps: v.counts()}
	if len(said.Steps) == 0 && !v.open {
		// Its partition may have moved here since: another router has what was.
		a.Cluster.Gather(q, func() (any, func()) {
			theirs := new(RunCounts)
			return theirs, func() {
				if len(theirs.Steps) > len(said.Steps) {
					said = theirs
				}
			}
		})
		if err := a.known(q.Context(), id); len(said.Steps) == 0 && err != nil {
			return err
		}
	}
	return replyPacked(w, q, said)
}

// known reports an error for a run that nobody knows.
func (a *API) known(ctx context.Context, id journal.RunID) error {
	_, _, err := a.Status(ctx, id, 0)
	return err
}

// getField tells how each activation of one step stands: of a map of a million branches in one answer, and with a cursor what has changed since.
func (a *API) getField(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	step, after := strings.TrimSuffix(q.URL.Query().Get("step"), "[*]"), q.URL.Query().Get("after")
	switch {
	case step == "":
		return fmt.Errorf("%w: say of which step, such as step=map/f; see /v1/runs/%s/counts", errRequest, id)
	case strings.Contains(step, "[*]"):
		return fmt.Errorf("%w: step %.200q is many; write the indexes of what is around the last one, such as outer[0]/inner[*]", errRequest, step)
	}
	from, to, asked, err := brushOf(q)
	if err != nil {
		return err
	}
	v, err := a.survey(q.Context(), id, step, after)
	if err != nil {
		return err
	}
	if asked {
		if err := a.within(id, step, from, to, v); err != nil {
			return err
		}
	}
	said := fieldOf(id, step, v)
	if said.Size == 0 && !v.open {
		a.Cluster.Gather(q, func() (any, func()) {
			theirs := new(RunField)
			return theirs, func() {
				if theirs.Size > said.Size {
					said = theirs
				}
			}
		})
		if err := a.known(q.Context(), id); said.Size == 0 && err != nil {
			return err
		}
	}
	return replyPacked(w, q, said)
}

func fieldOf(id journal.RunID, step string, v *survey) *RunField {
	f := &RunField{Run: id.String(), Step: step, Open: v.open, Cursor: v.mark}
	c := v.groups[step]
	if c == nil {
		c = new(cells)
	}
	f.Within = v.within
	states := c.many
	if c.single && len(states) == 0 {
		states = []engine.StepState{c.one}
	}
	if f.Size = len(states); v.since {
		f.Changed = v.changed
		return f
	}
	f.Counts = &StepCount{Path: engine.Pattern(step)}
	if len(c.many) > 0 {
		f.Counts.Path += "[*]"
	}
	c.count(f.Counts)
	f.Words, f.States = engine.StepStates(), make([]byte, (len(states)+1)/2)
	for i, is := range states {
		f.States[i/2] |= byte(is) << (i % 2 * 4)
	}
	return f
}

// replyPacked answers, packed where that is understood: what is alike packs well.
func replyPacked(w http.ResponseWriter, q *http.Request, v any) error {
	if !strings.Contains(q.Header.Get("Accept-Encoding"), "gzip") {
		return reply(w, http.StatusOK, v)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Add("Vary", "Accept-Encoding")
	w.WriteHeader(http.StatusOK)
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // A level that there is.
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // The client has gone: nobody is left to be told.
	_ = z.Close()
	return nil
}
