package schedulers

import (
	"fmt"
	"math"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Join says when children are enough: the word `join:` wherever children meet. It is written as a word (all, settled, any) or as a mapping.
//
//	word       enough when                                 fails                                     yields
//	all        all are done                                with the first failure, which is its own  the values, in place
//	settled    all are done                                never                                     how each ended, in place
//	any        one has succeeded                           when none can any more                    its value, and no other
//	atLeast    so many have succeeded                      when so many cannot any more              how each ended, in place
//	percent    that part of all children has succeeded,    when so many cannot any more              how each ended, in place
//	           rounded up to whole ones
//	until      the expression is true after one is done    when all are done and it is not           how each ended, in place
//
// A skipped child is one of all, and no failure: all and settled take it, in its place stands null, or that it was skipped. It is no success: any, atLeast and
// percent do not count it, and it makes them unreachable the earlier.
//
// How each ended is the form of lang.Outcome.Settled for what is done. What was not done when the join was decided is {"outcome": "cancelled"}, or
// {"outcome": "running"} where losers are left to run. With onDeadline: take a join yields that form whether its deadline came or not, but for any, which yields
// null then.
type Join struct {
	Word       string          `doc:"for" help:"all (the first failure fails the step), settled (failures are values in place) or any (the first success is the result)"`
	AtLeast    int             `doc:"atLeast" help:"how many have to succeed"`
	Percent    float64         `doc:"percent" help:"which part of all children has to succeed, above 0 up to 100; rounded up to whole children"`
	Until      lang.Expr       `doc:"until,condition" help:"true when it is enough, asked whenever a child is done; it sees succeeded, failed, skipped, total and output (of the child that is done; null unless it succeeded)"`
	Deadline   plugin.Duration `doc:"deadline,above0" help:"bound on the join, from the opening of the step"`
	OnDeadline string          `doc:"onDeadline" help:"fail (the default), or take: go on with what there is"`
	Losers     string          `doc:"losers" help:"what becomes of children that are not done when the join is decided: cancel (the default), or run: their results are counted as late"`
}

// The words of a join.
const (
	JoinAll     = "all"
	JoinSettled = "settled"
	JoinAny     = "any"
	JoinAtLeast = "atLeast"
	JoinPercent = "percent"
	JoinUntil   = "until"
)

// JoinTimer is the name of the frame's timer that a join with a deadline sets.
const JoinTimer = "join"

// Settled reports whether failures are values in place.
func (j Join) Settled() bool { return j.Word == JoinSettled }

// One reports whether a join yields the value of the one child that decided it.
func (j Join) One() bool { return j.Word == JoinAny }

// Tells reports whether a join tells how each of its children ended.
func (j Join) Tells() bool {
	return j.Word != JoinAll && j.Word != JoinAny || j.Word == JoinAll && j.OnDeadline == "take"
}

// Early reports whether a join may be enough while children are not done.
func (j Join) Early() bool {
	return j.Word != JoinAll && j.Word != JoinSettled || j.OnDeadline == "take"
}

// Begin sets the timer of the deadline, if there is one: when the frame starts.
func (j Join) Begin(f Frame) {
	if j.Deadline > 0 {
		f.After(JoinTimer, j.Deadline.D())
	}
}

// A Progress is where a join stands.
type Progress uint8

// The states of a join.
const (
	Open Progress = iota + 1 // children that are not done may still change it
	Enough
	Unreachable
)

// Judge says where a join stands now that a child has ended with that outcome; the zero Outcome is of a join without children. The error is what the frame
// fails with when it is unreachable. It costs the same at any width.
func (j Join) Judge(f Scope, c Counts, o lang.Outcome) (Progress, *lang.Error) {
	over := c.Done() >= c.Spawned
	switch j.Word {
	case JoinAll:
		if o.Verdict == lang.Failed {
			return Unreachable, o.Err
		}
	case JoinSettled:
	case JoinUntil:
		enough, err := j.asked(f, c, o)
		switch {
		case err != nil:
			return Unreachable, err
		case enough:
			return Enough, nil
		case over:
			return Unreachable, j.unreachable(c, o)
		}
	default:
		need := j.needed(c.Spawned)
		switch {
		case c.Succeeded >= need:
			return Enough, nil
		case c.Spawned-c.Failed-c.Skipped < need:
			return Unreachable, j.unreachable(c, o)
		}
	}
	if over {
		return Enough, nil
	}
	return Open, nil
}

// Late is Judge for the time when the deadline has come.
func (j Join) Late(c Counts) (Progress, *lang.Error) {
	if j.OnDeadline == "take" {
		return Enough, nil
	}
	e := lang.Failf(lang.ClassTimeout, "join_deadline", "%s was not reached within %s: %s", j.said(c.Spawned), j.Deadline.D(), tally(c))
	e.Data = counted(c)
	return Unreachable, e
}

// How is how the frame ends: what is not done is cancelled, or left alone.
func (j Join) How() []End {
	if j.Losers == "run" {
		return []End{LetRun}
	}
	return nil
}

// needed is how many have to succeed of n.
func (j Join) needed(n int) int {
	switch j.Word {
	case JoinAtLeast:
		return j.AtLeast
	case JoinPercent:
		return Percent(j.Percent).Of(n)
	}
	return 1
}

// A Percent is a part of a hundred, exact to a millionth.
type Percent float64

func (p Percent) millionths() int64 { return int64(math.Round(float64(p) * 1e6)) }

// Of is that part of n children, rounded up to whole ones.
func (p Percent) Of(n int) int { return int((p.millionths()*int64(n) + 1e8 - 1) / 1e8) }

// Below reports whether so many of n children are more than that part.
func (p Percent) Below(some, n int) bool { return int64(some)*1e8 > p.millionths()*int64(n) }

// asked evaluates until.
func (j Join) asked(f Scope, c Counts, o lang.Outcome) (bool, *lang.Error) {
	v, err := f.Eval(j.Until, lang.Vars{
		{Name: "succeeded", Value: lang.Of(c.Succeeded)}, {Name: "failed", Value: lang.Of(c.Failed)}, {Name: "skipped", Value: lang.Of(c.Skipped)},
		{Name: "total", Value: lang.Of(c.Spawned)}, {Name: "output", Value: o.Value},
	})
	switch {
	case err != nil:
		if e, ok := err.(*lang.Error); ok {
			return false, e
		}
		return false, lang.Failf(lang.ClassFunction, "expression_error", "until: %v", err)
	case v.JSON() == "true":
		return true, nil
	case v.JSON() == "false":
		return false, nil
	}
	return false, lang.Failf(lang.ClassFunction, "expression_error", "until: %s yields %.80s and not true or false", j.Until.Source(), v.JSON())
}

// DeclareJoin are the names that the expressions of a join see, by the key of a field below `join`.
func DeclareJoin(field string) []string {
	if field == "join.until" {
		return []string{"succeeded", "failed", "skipped", "total", "output"}
	}
	return nil
}

func (j Join) unreachable(c Counts, o lang.Outcome) *lang.Error {
	return withLast(lang.Failf(lang.ClassFunction, "join_unreachable", "%s cannot be reached: %s", j.said(c.Spawned), tally(c)), c, o)
}

// TooManyFailed is the error of a step that tolerates some failures, and not so many.
func TooManyFailed(c Counts, o lang.Outcome) *lang.Error {
	return withLast(lang.Failf(lang.ClassFunction, "too_many_failed", "more have failed than are tolerated: %s", tally(c)), c, o)
}

// withLast adds the tally and the last error.
func withLast(e *lang.Error, c Counts, o lang.Outcome) *lang.Error {
	if o.Err != nil {
		e.Message += "; the last error: " + o.Err.Error()
		if o.Err.Path != "" {
			e.Message += " (" + o.Err.Path + ")"
		}
	}
	e.Data = counted(c)
	return e
}

func tally(c Counts) string {
	return fmt.Sprintf("of %d, %d succeeded, %d failed, %d skipped, and %d could still", c.Spawned, c.Succeeded, c.Failed, c.Skipped, c.Spawned-c.Done())
}

func counted(c Counts) lang.Value {
	return lang.Of(map[string]int{"succeeded": c.Succeeded, "failed": c.Failed, "skipped": c.Skipped, "total": c.Spawned})
}

// said is what a join asks for, for people.
func (j Join) said(n int) string {
	switch j.Word {
	case JoinAtLeast:
		return fmt.Sprintf("join atLeast %d", j.AtLeast)
	case JoinPercent:
		return fmt.Sprintf("join percent %v, which is %d,", j.Percent, j.needed(n))
	case JoinUntil:
		return "join until " + j.Until.Source()
	}
	return "join " + j.Word
}

var running, gone = lang.Trusted(`{"outcome":"running"}`), lang.Outcome{Verdict: lang.Cancelled}.Settled()

// Show is what stands in a result for one child.
func (j Join) Show(f Scope, slot, index int) lang.Value {
	o := f.Outcome(slot, index)
	switch {
	case !j.Tells():
		return o.Value
	case o.Verdict != 0:
		return o.Settled()
	}
	_, open := f.Opened(slot, index)
	return j.Undone(open)
}

// Value is what stands in a result for a child that is done.
func (j Join) Value(o lang.Outcome) lang.Value {
	if j.Tells() {
		return o.Settled()
	}
	return o.Value
}

// Undone is what stands in a result for a child that was not done, and was open or not, when the join was decided.
func (j Join) Undone(open bool) lang.Value {
	switch {
	case !j.Tells():
		return lang.Null
	case open && j.Losers == "run":
		return running
	}
	return gone
}

// List is what stands in a result for all children of a slot, in order.
func (j Join) List(f Frame, slot int) lang.Value {
	switch {
	case !j.Tells():
		return f.Collect(slot)
	case !j.Early():
		return f.Settled(slot)
	}
	values := make([]lang.Value, f.Counts(slot).Spawned)
	for i := range values {
		values[i] = j.Show(f, slot, i)
	}
	return lang.List(values...)
}

// Fits says why a list of how n children ended cannot be: it would be too large a value, however few of them are done.
func (j Join) Fits(n int) *lang.Error {
	if size := n * (gone.Size() - 2); j.Tells() && j.Early() && size > lang.MaxValueBytes {
		return lang.Failf(lang.ClassFunction, "too_large", "a list of how %d children ended has %d bytes or more, and a value has at most %d; say results: count, or none", n, size, lang.MaxValueBytes)
	}
	return nil
}
