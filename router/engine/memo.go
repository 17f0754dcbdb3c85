package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Past is what became of a call of a run, or of a step that is more than one, as a history keeps it.
type Past struct {
	Path    string
	Call    bool
	Began   int64 // Unix nanoseconds
	Input   lang.Value
	Outcome lang.Outcome
	Cut     bool // not all of its input and outcome is kept
}

// recallMost is the largest outcome that a redrive brings; of a larger one what is below it is brought.
const recallMost = 512 << 10

// A Plan is what a redrive does.
type Plan struct {
	Memo  []Recall
	Kept  []string // paths of steps whose outcomes are taken as they are; below a policy that cleans up, only if that had succeeded
	Again []string // paths of steps that had ended and are done again
}

// Remember makes a plan of what became of a run's steps, in the order of their ends. A step that had succeeded is kept as a whole. With from, what is at or
// below that step, or above it, and all that began after it, is done again; it is a path, or the end of one.
func Remember(shape *Shape, past []Past, from string) (*Plan, error) {
	last := latest(past)
	again, err := since(last, from)
	if err != nil {
		return nil, err
	}
	p, whole, marked, above := new(Plan), make(map[string]bool), make(map[string]bool), shape.above(last)
	for _, path := range slices.Sorted(maps.Keys(last)) {
		x := last[path]
		switch {
		case x.Outcome.Verdict == lang.Skipped || under(path, whole):
			continue // Its condition is asked again, or nothing of it is.
		case x.Outcome.Verdict != lang.Succeeded || again(x) || shape.undone(path, marked):
			if !above[path] {
				p.Again = append(p.Again, path)
			}
			continue
		case x.Cut || x.Outcome.Value.Size() > recallMost:
			if x.Call {
				p.Again = append(p.Again, path)
			} else {
				marked[path] = true
				p.Memo = append(p.Memo, Recall{Path: path, Mark: true})
			}
			continue
		}
		whole[path] = true
		p.Memo = append(p.Memo, Recall{Path: path, Input: SumOf(x.Input), Final: !x.Call, Outcome: x.Outcome.Value})
		p.Kept = append(p.Kept, path)
	}
	return p, nil
}

// latest is what became of each path at last.
func latest(past []Past) map[string]Past {
	origin := make(map[string]lang.Value) // of calls that are continued: the first input
	last := make(map[string]Past)
	for _, x := range past {
		if x.Path == "" {
			continue // The flow itself: it did not succeed.
		}
		if was := last[x.Path]; was.Call && !x.Call && was.Outcome.Verdict == lang.Succeeded && x.Outcome.Verdict == lang.Succeeded {
			continue // The call says it.
		}
		first, continued := origin[x.Path]
		switch {
		case x.Call && x.Outcome.Verdict == lang.Continue:
			if !continued {
				origin[x.Path] = x.Input
			}
			continue
		case x.Call && continued:
			x.Input = first
			delete(origin, x.Path)
		}
		last[x.Path] = x
	}
	return last
}

// A Shape knows which steps of a definition clean up.
type Shape struct{ def *definition }

// ShapeOf returns the shape of a definition.
func ShapeOf(registry *plugin.Registry, d *lang.Definition) (*Shape, error) {
	def := &definition{Definition: d, steps: make(map[*lang.Step]*stepInfo)}
	if d.Flow == nil {
		return &Shape{def}, nil
	}
	return &Shape{def}, def.add(registry, d.Flow, stepLabel(d.Flow))
}

// undone reports whether what the step of a path did was undone when the step around it failed, or was for a failure that may not come again.
func (s *Shape) undone(path string, marked map[string]bool) bool {
	step := s.def.Flow
	if step == nil {
		return false
	}
	at, named := 0, step.Use == lang.UseFunction || step.Name != ""
	for {
		info := s.def.steps[step]
		if named {
			end := strings.IndexByte(path[at:], '/')
			if end < 0 {
				return false
			}
			at += end + 1
		}
		if named = true; info.cleans != nil && !marked[path[:max(at-1, 0)]] {
			return true
		}
		label, _, _ := strings.Cut(path[at:], "/")
		label, _, _ = strings.Cut(label, "[")
		i := slices.IndexFunc(info.children, func(c *lang.Step) bool { return c != nil && s.def.steps[c].label == label })
		if i < 0 {
			return len(step.Catch) > 0 && strings.HasPrefix(label, "catch")
		}
		step = info.children[i]
	}
}

// above are the paths that others are below of, and that of the flow itself: of them it is not said that they are done again.
func (s *Shape) above(last map[string]Past) map[string]bool {
	above := make(map[string]bool)
	if f := s.def.Flow; f != nil && f.Use != lang.UseFunction && f.Name == "" {
		above[s.def.steps[f].label] = true
	}
	for path := range last { // A set: the order does not matter.
		for i := range len(path) {
			if path[i] == '/' {
				above[path[:i]] = true
			}
		}
	}
	return above
}

// under reports whether a path is below one of others.
func under(path string, others map[string]bool) bool {
	for i := range len(path) {
		if path[i] == '/' && others[path[:i]] {
			return true
		}
	}
	return false
}

// since says what is done again from a step on.
func since(last map[string]Past, from string) (func(Past) bool, error) {
	if from == "" {
		return func(Past) bool { return false }, nil
	}
	var at []string
	var began int64
	for path, x := range last { // The earliest, in any order.
		if path == from || strings.HasSuffix(path, "/"+from) {
			if len(at) == 0 || x.Began < began {
				began = x.Began
			}
			at = append(at, path)
		}
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("no step %q has ended in this run; give the path of one, such as %q", from, example(last))
	}
	return func(x Past) bool {
		return x.Began > began || slices.ContainsFunc(at, func(path string) bool {
			return x.Path == path || strings.HasPrefix(x.Path, path+"/") || strings.HasPrefix(path, x.Path+"/")
		})
	}, nil
}

func example(last map[string]Past) string {
	if len(last) == 0 {
		return "merge"
	}
	return slices.Min(slices.Collect(maps.Keys(last)))
}
