package config

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Accepts are the kinds of events that a source lets in.
type Accepts struct {
	Starts      bool // what triggers' filters let through
	Completions bool // outcomes of functions
	Signals     bool // to runs
}

// AcceptsAll is what a source accepts that does not say.
var AcceptsAll = Accepts{Starts: true, Completions: true, Signals: true}

var acceptable = []string{"starts", "completions", "signals"}

type sourceDoc struct {
	Accepts []string `doc:"accepts,list" help:"what may come in here: starts (events that triggers' filters let through), completions (outcomes and heartbeats of functions), signals (to runs); default: all three. The rest is refused: 403 by a webhook, parked by a topic"`
}

// Check reports words that are none, and a source that lets nothing in.
func (s *sourceDoc) Check() []plugin.Problem {
	var out []plugin.Problem
	for i, word := range s.Accepts {
		p := plugin.Problem{Path: []string{"accepts", fmt.Sprint(i)}}
		switch {
		case !slices.Contains(acceptable, word):
			p.What, p.Cure = fmt.Sprintf("a source cannot accept %q", word), lang.Nearest(word, acceptable)
		case slices.Contains(s.Accepts[:i], word):
			p.What, p.Cure = fmt.Sprintf("%q comes twice", word), "keep one"
		default:
			continue
		}
		out = append(out, p)
	}
	if s.Accepts != nil && len(s.Accepts) == 0 {
		out = append(out, plugin.Problem{Path: []string{"accepts"}, What: "the source accepts nothing", Cure: "write accepts: [starts], or leave it out to accept all"})
	}
	return out
}

// Schema tells what Check refuses.
func (*sourceDoc) Schema() plugin.Schema {
	words := plugin.Schema{"enum": []any{"starts", "completions", "signals"}}
	list := plugin.Schema{"type": "array", "items": words, "minItems": 1, "uniqueItems": true}
	return plugin.Schema{"properties": plugin.Schema{"accepts": plugin.Schema{"anyOf": []any{list, words}}}}
}

func (s *sourceDoc) accepts() Accepts {
	if s.Accepts == nil {
		return AcceptsAll
	}
	return Accepts{
		Starts: slices.Contains(s.Accepts, "starts"), Completions: slices.Contains(s.Accepts, "completions"), Signals: slices.Contains(s.Accepts, "signals"),
	}
}
