package config

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
)

// follow finds what cannot come to pass in a step all below of which has been checked: a second try that waits for a signal of its own, and steps that stand
// behind one which never succeeds. Each step is looked at once, flows that are named included.
func (c *checker) follow(s *lang.Step, path string) {
	children := c.below(s)
	for i := range s.Catch {
		c.signals[s] = c.signals[s] || c.signals[&s.Catch[i].Do]
	}
	for _, child := range children {
		c.signals[s] = c.signals[s] || child != nil && c.signals[child]
	}
	c.signals[s] = c.signals[s] || s.Use == "signal"
	if x, ok := s.Policy.(lang.Twinner); ok {
		for slot, child := range lang.Children(s.Policy) {
			if child != nil && x.Twins(slot) && c.signals[child] {
				c.find(s.Pos, path+"."+s.Use, "put the second try where functions are called, and the signal beside it", "a second try of a step that waits for a signal would wait for a signal of its own")
				break
			}
		}
	}
	_, stops := s.Policy.(lang.Stopper)
	_, inOrder := s.Policy.(lang.Orderer)
	if s.Use == lang.UseFlow {
		stops = c.stops[s.Body]
	}
	if inOrder {
		for i, child := range children {
			if !c.stops[child] {
				continue
			}
			if stops = true; i+1 < len(children) {
				behind := children[i+1]
				c.l.warnings = append(c.l.warnings, lang.Finding{
					Pos: behind.Pos, Path: fmt.Sprintf("%s.%s.%d", path, s.Use, i+1), What: fmt.Sprintf("it can never run: the step before it, on line %d, always ends the run or fails", child.Pos.Line),
					Cure: "give the step before it a condition (when:), or leave out what stands behind it", Warning: true,
				})
			}
			break
		}
	}
	c.stops[s] = stops && s.When.IsZero() && len(s.Catch) == 0
}
