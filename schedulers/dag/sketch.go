package dag

import (
	"fmt"

	"github.com/onward-router/onward/schedulers"
)

// Sketch is the graph: an edge a need.
func (p *DAG) Sketch() schedulers.Sketch {
	slots := make(map[string]int, len(p.Steps))
	for slot := range p.Steps {
		slots[p.Steps[slot].Name] = slot
	}
	out := schedulers.Sketch{Shape: schedulers.Graph, At: make([]string, len(p.Steps))}
	for slot := range p.Steps {
		s := &p.Steps[slot]
		for _, n := range s.Needs {
			from, ok := slots[n.Step]
			if !ok {
				continue // The document was refused.
			}
			word := n.Word
			if len(n.Offsets) > 0 {
				word = fmt.Sprint(n.Offsets)
			}
			out.Edges = append(out.Edges, schedulers.Edge{From: from, To: slot, Word: word})
		}
		switch {
		case !s.Over.IsZero():
			out.At[slot] = s.Over.Source()
		case s.Rule != "all_success":
			out.At[slot] = s.Rule
		}
	}
	return out
}

var _ schedulers.Sketcher = (*DAG)(nil)
