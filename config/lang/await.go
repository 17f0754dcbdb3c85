package lang

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/plugin"
)

// An Await says of a trigger which events of one key make a round, and when those are enough. Which of them an event is, and its key, is in its start.
type Await struct {
	Events     []Awaited       `doc:"events"` // in order of their names; one without a name is all that the trigger's filters let through
	Join       Enough          `doc:"join"`
	Deadline   plugin.Duration `doc:"deadline"` // from the event that opens a round
	OnDeadline string          `doc:"onDeadline"`
	Late       string          `doc:"late"`
	Bytes      int             `doc:"bytes"` // so many are enough; 0 is no such bound
	// Signals: nothing is awaited but the first of Events, which begins the run; the others are signals to that by their names, and more of the first by the
	// type of the event.
	Signals bool `doc:"signals"`
}

// An Awaited is one of the events that a round is made of.
type Awaited struct {
	Name string `doc:"name"`
	// Count is how many of them, if there may be other than one: a number, or an expression over event and data of each event that comes, until one yields
	// a number.
	Count Expr `doc:"count"`
	Any   bool `doc:"any"` // however many: Join says when it is enough
}

// One reports whether it is a single event, and no list of them.
func (a *Awaited) One() bool { return a.Count.IsZero() && !a.Any }

// The words of Await.Late.
const (
	LateNewRound  = "newRound"
	LateBuffer    = "buffer"
	LateUnmatched = "unmatched"
)

// JoinBegins is the join of a trigger with signals: the event has come that begins the run. No document says it.
const JoinBegins = "begins"

// The bounds of a round that lint and the engine share.
const (
	MaxRound      = 10_000  // events of one round
	MaxRoundBytes = 8 << 20 // that may be said to be enough
)

// Of returns the place among the events of the one of that name; -1 is none.
func (a *Await) Of(name string) int {
	return slices.IndexFunc(a.Events, func(x Awaited) bool { return x.Name == name })
}

// Takes reports whether a deadline takes what there is.
func (a *Await) Takes() bool { return a.OnDeadline == "take" }

// An Enough says when the events of a round are enough: the word join: where what meets cannot fail. settled is all.
type Enough struct {
	Word    string  `doc:"-"`
	AtLeast int     `doc:"atLeast" help:"how many events have to come"`
	Percent float64 `doc:"percent" help:"which part of all that are expected has to come, above 0 up to 100; rounded up to whole events"`
	Until   Expr    `doc:"until,condition" help:"true when it is enough, asked whenever an event has come; it sees arrived, total (how many have come), and event and data of the one that has"`
}

// enoughForm is the mapping that it may be written as.
type enoughForm Enough

var (
	enoughWords = []string{"all", "any", "settled"}
	enoughKeys  = []string{"atLeast", "percent", "until"}
)

// UnmarshalNode reads a word or a mapping.
func (e *Enough) UnmarshalNode(n *Node, decode func(*Node, any)) []plugin.Problem {
	if n.Kind != MapNode {
		if e.Word = n.Text(); !slices.Contains(enoughWords, e.Word) && e.Word != JoinBegins {
			cure := Nearest(e.Word, enoughWords)
			if slices.Contains(enoughKeys, e.Word) {
				cure = fmt.Sprintf("write join: { %s: ... }", e.Word)
			}
			return []plugin.Problem{{What: "unknown join " + e.Word, Cure: cure}}
		}
		return nil
	}
	decode(n, (*enoughForm)(e))
	var said []string
	for _, key := range enoughKeys {
		if n.Get(key) != nil {
			said = append(said, key)
		}
	}
	if len(said) != 1 {
		return []plugin.Problem{{What: fmt.Sprintf("a join waits for one thing, and this one says %d", len(said)), Cure: "write one of " + strings.Join(enoughKeys, ", ") + "; until can say several"}}
	}
	e.Word = said[0]
	return nil
}

// MarshalNode writes what was read.
func (e Enough) MarshalNode() Value {
	if slices.Contains(enoughWords, e.Word) || e.Word == JoinBegins {
		return Text(e.Word)
	}
	return Document(enoughForm(e))
}

// Check reports what cannot be reached.
func (e *Enough) Check() []plugin.Problem {
	switch {
	case e.Word == "atLeast" && (e.AtLeast < 1 || e.AtLeast > MaxRound):
		return []plugin.Problem{{Path: []string{"atLeast"}, What: fmt.Sprintf("a join of at least %d events", e.AtLeast), Cure: fmt.Sprintf("write 1 to %d", MaxRound)}}
	case e.Word == "percent" && (e.Percent < 1e-6 || e.Percent > 100):
		return []plugin.Problem{{Path: []string{"percent"}, What: fmt.Sprintf("a join of %v percent", e.Percent), Cure: "write more than 0, and 100 at most"}}
	}
	return nil
}

// Schema is the form of it.
func (Enough) Schema() plugin.Schema {
	return plugin.Schema{"description": "when the events are enough", "anyOf": []any{
		plugin.Schema{"enum": []any{"all", "any", "settled"}},
		plugin.Schema{"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": plugin.Schema{
			"atLeast": plugin.Schema{"type": "integer", "minimum": 1, "maximum": MaxRound, "description": "how many events have to come"},
			"percent": plugin.Schema{"type": "number", "minimum": 1e-6, "maximum": 100, "description": "which part of all that are expected has to come; rounded up to whole events"},
			"until":   plugin.Schema{"$ref": "#/$defs/expression"},
		}},
	}}
}
