package engine

import (
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A FlowStep is a step of a definition, with all below it, for those who draw it. What a run's steps are at is told by the same paths.
type FlowStep struct {
	Path    string `json:"path"` // as timelines and counts have it, with [*] where it may run more than once
	Label   string `json:"label"`
	Use     string `json:"use"`              // function, flow, or the name of its policy
	Target  string `json:"target,omitempty"` // the function or the flow
	Starts  string `json:"starts,omitempty"` // the trigger of which it starts a run
	Role    string `json:"role,omitempty"`   // the key under which its policy has it: steps, do, undo, else
	At      string `json:"at,omitempty"`     // what decides whether its policy runs it
	When    string `json:"when,omitempty"`
	Many    bool   `json:"many,omitempty"`    // it may run more than once
	Cleanup bool   `json:"cleanup,omitempty"` // it runs although the step around it was stopped

	Timeout  string `json:"timeout,omitempty"`
	Deadline string `json:"deadline,omitempty"`
	Tries    int    `json:"tries,omitempty"` // at most, where there may be more than one

	Shape   schedulers.Shape `json:"shape,omitempty"`   // how its steps stand to one another; empty: its policy does not say
	Caption string           `json:"caption,omitempty"` // what it goes by
	Steps   []*FlowStep      `json:"steps,omitempty"`
	Edges   []FlowEdge       `json:"edges,omitempty"` // between its steps
	Catch   []*FlowStep      `json:"catch,omitempty"` // what handles its failure
	Cut     bool             `json:"cut,omitempty"`   // what is below it is left out: the flow is too large to tell
}

// A FlowEdge leads from one step to another, by their places among the steps.
type FlowEdge struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Word string `json:"word,omitempty"` // when, or what for
}

// flowMost bounds the steps of a tree: flows that name flows twice, over and over, are short to write.
const flowMost = 20_000

// Flow tells of the definition's steps; nil when it has no flow.
func (s *Shape) Flow() *FlowStep {
	if s.def.Flow == nil {
		return nil
	}
	step, path := s.def.Flow, ""
	label := s.def.steps[step].label
	if step.Use == lang.UseFunction || step.Name != "" {
		path = label
	}
	left := flowMost
	root := s.flow(step, path, &left)
	root.Path = label
	return root
}

// flow tells of the step whose children's paths begin with path.
func (s *Shape) flow(step *lang.Step, path string, left *int) *FlowStep {
	info := s.def.steps[step]
	f := &FlowStep{
		Path: path, Label: info.label, Use: step.Use, Target: step.Target, Starts: info.starts, When: step.When.Source(), Timeout: spanText(step.Timeout), Deadline: spanText(step.Deadline),
	}
	for i := range step.Retry {
		f.Tries += step.Retry[i].Attempts
	}
	if f.Tries == 1 {
		f.Tries = 0
	}
	below := func(child *lang.Step, label string) *FlowStep {
		return s.flow(child, strings.TrimPrefix(path+"/"+label, "/"), left)
	}
	if *left -= 1 + len(info.children) + len(step.Catch); *left < 0 {
		f.Cut = true
		return f
	}
	sketch := sketchOf(info, step)
	f.Shape, f.Caption = sketch.Shape, sketch.Caption
	roles, places := lang.ChildRoles(step.Policy), make([]int, len(info.children))
	for slot, child := range info.children {
		if places[slot] = -1; child == nil {
			continue
		}
		places[slot] = len(f.Steps)
		label := s.def.steps[child].label
		if info.many[slot] {
			label += "[*]"
		}
		x := below(child, label)
		x.Many, x.Cleanup = info.many[slot], info.cleans != nil && info.cleans[slot]
		if slot < len(roles) {
			x.Role = roles[slot]
		}
		if slot < len(sketch.At) {
			x.At = sketch.At[slot]
		}
		f.Steps = append(f.Steps, x)
	}
	for _, e := range sketch.Edges {
		if within(e.From, places) && within(e.To, places) {
			f.Edges = append(f.Edges, FlowEdge{places[e.From], places[e.To], e.Word})
		}
	}
	for i := range step.Catch {
		f.Catch = append(f.Catch, below(&step.Catch[i].Do, s.def.steps[&step.Catch[i].Do].label))
	}
	return f
}

func within(slot int, places []int) bool { return slot >= 0 && slot < len(places) && places[slot] >= 0 }

// sketchOf is how a step's children hang together; a policy that dies of telling does not tell.
func sketchOf(info *stepInfo, step *lang.Step) (out schedulers.Sketch) {
	defer func() {
		if recover() != nil {
			out = schedulers.Sketch{}
		}
	}()
	if step.Use == lang.UseFlow {
		return schedulers.Sketch{Shape: schedulers.InLine}
	}
	if x, ok := info.settings.(schedulers.Sketcher); ok {
		return x.Sketch()
	}
	return schedulers.Sketch{}
}

func spanText(s lang.Span) string {
	if s.IsZero() {
		return ""
	}
	return s.String()
}

// Pattern is a step's path with [*] for its indexes: what all that ran by one step of a definition have in common.
func Pattern(path string) string { return string(AppendPattern(nil, path)) }

// AppendPattern appends the pattern of a path.
func AppendPattern[T string | []byte](b []byte, path T) []byte {
	for i := 0; i < len(path); i++ {
		b = append(b, path[i])
		if path[i] != '[' {
			continue
		}
		j := i + 1
		for j < len(path) && '0' <= path[j] && path[j] <= '9' {
			j++
		}
		if j > i+1 && j < len(path) && path[j] == ']' {
			b, i = append(b, '*'), j-1
		}
	}
	return b
}

// SplitPath cuts the index off a step's path; it is -1 where there is none.
func SplitPath[T string | []byte](path T) (group T, index int) {
	n := len(path) - 1
	if n < 0 || path[n] != ']' {
		return path, -1
	}
	unit := 1
	for i := n - 1; i >= 0 && i >= n-18; i-- {
		switch c := path[i]; {
		case c == '[' && i < n-1:
			return path[:i], index
		case c < '0' || c > '9':
			return path, -1
		default:
			index += int(c-'0') * unit
			unit *= 10
		}
	}
	return path, -1
}

// appendIndex appends the index of a step that runs more than once.
func appendIndex(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, '['), int64(n), 10), ']')
}
