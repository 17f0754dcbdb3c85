package schedulers

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Join says when children are enough: the word `join:` wherever children meet.
type Join struct {
	Word    string  // all, settled, any, atLeast, percent, until
	AtLeast int     // of atLeast: successes
	Percent float64 // of percent: share of successes
	Until   lang.Expr
}

// The words of a join.
const (
	JoinAll     = "all"
	JoinSettled = "settled"
)

var joinWords = []string{JoinAll, JoinSettled}

// Settled reports whether failures are values in place.
func (j Join) Settled() bool { return j.Word == JoinSettled }

// Value is what a join shows for one child: with all, where none has failed, its value; with settled the form that tells how each ended.
func (j Join) Value(o lang.Outcome) lang.Value {
	if j.Settled() {
		return o.Settled()
	}
	return o.Value
}

// List is what a join shows for all children of a slot, in order.
func (j Join) List(f Frame, slot int) lang.Value {
	if j.Settled() {
		return f.Settled(slot)
	}
	return f.Collect(slot)
}

// UnmarshalNode reads the forms of a join.
func (j *Join) UnmarshalNode(n *lang.Node, decode func(*lang.Node, any)) []plugin.Problem {
	later := []plugin.Problem{{What: "this join comes in a later release", Cure: "use all or settled"}}
	if n.Kind == lang.MapNode && len(n.Keys) == 1 {
		switch j.Word = n.Keys[0].Name; j.Word {
		case "atLeast":
			decode(n.Items[0], &j.AtLeast)
			return later
		case "percent":
			decode(n.Items[0], &j.Percent)
			return later
		case "until":
			decode(n.Items[0], &j.Until)
			return later
		}
	}
	j.Word = n.Text()
	switch j.Word {
	case JoinAll, JoinSettled:
		return nil
	case "any":
		return later
	}
	return []plugin.Problem{{What: "unknown join " + n.Text(), Cure: lang.Nearest(n.Text(), joinWords)}}
}

// Schema is the form of a join.
func (Join) Schema() plugin.Schema {
	return plugin.Schema{"description": "when children are enough", "enum": []any{JoinAll, JoinSettled}}
}

// MarshalNode writes the word.
func (j Join) MarshalNode() lang.Value { return lang.Text(j.Word) }

// A Progress is where a join stands.
type Progress uint8

// The states of a join.
const (
	Open Progress = iota + 1 // children that are not done may still change it
	Enough
	Unreachable
)

// Progress judges a tally. A skipped child is present, with null. With all, the first failure makes the join unreachable.
func (j Join) Progress(c Counts) Progress {
	switch {
	case !j.Settled() && c.Failed > 0:
		return Unreachable
	case c.Done() == c.Spawned:
		return Enough
	}
	return Open
}
