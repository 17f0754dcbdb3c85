package schedulertest

import (
	"errors"
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Subject is a policy with settings, as the engine has it: read from the canonical bytes of a definition.
type Subject struct {
	// Settings is a pointer to the policy's struct. It is read-only, as it is for the policy.
	Settings any
	// Children are the steps inside; their positions are the slots. nil is a step that was left out.
	Children []*lang.Step

	fields    map[lang.Expr]string // where its own expressions stand
	policy    string
	version   int
	machine   schedulers.Machine
	canonical string
}

// Load makes settings of a document: YAML or JSON, the part that stands under the policy's name. It reports all that is wrong with it.
func Load(r *plugin.Registry, policy, document string) (*Subject, error) {
	nodes, findings := yamldoc.Parse("", []byte(document))
	node := &lang.Node{Kind: lang.ScalarNode} // What nothing says.
	switch {
	case len(findings) > 0:
		return nil, errors.New(findings[0].String())
	case len(nodes) > 1:
		return nil, fmt.Errorf("%d documents where one is due", len(nodes))
	case len(nodes) == 1:
		node = nodes[0]
	}
	step := new(lang.Step)
	var errs []error
	whole := &lang.Node{Kind: lang.MapNode, Keys: []lang.Key{{Name: policy}}, Items: []*lang.Node{node}}
	for _, f := range lang.Decode(whole, step, r) {
		errs = append(errs, errors.New(f.String()))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return pinned(r, step)
}

// errPinned is no fault of the document.
var errPinned = errors.New("the document is right, and its canonical form is not")

// pinned writes the step as a definition and reads it again: what the engine runs was never the document itself.
func pinned(r *plugin.Registry, step *lang.Step) (*Subject, error) {
	c, ok := r.Get(plugin.Policy, step.Use)
	if !ok {
		return nil, fmt.Errorf("policy %q is not registered", step.Use)
	}
	machine, ok := c.Make.(schedulers.Machine)
	if !ok {
		return nil, fmt.Errorf("policy %q was not entered by schedulers.Register", step.Use)
	}
	canonical := canonicalOf(step)
	def, err := lang.ParseDefinition([]byte(canonical), r)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not decode: %w\n%s", errPinned, err, canonical)
	}
	s := &Subject{Settings: def.Flow.Policy, fields: make(map[lang.Expr]string), policy: step.Use, version: c.Version, machine: machine, canonical: canonical}
	s.Children = lang.Children(s.Settings)
	lang.Expressions(s.Settings, func(e lang.Expr, at lang.Place) { s.fields[e] = at.Field })
	if again := s.now(); again != canonical {
		return nil, fmt.Errorf("%w: it comes back as another:\n%s\n%s", errPinned, canonical, again)
	}
	return s, nil
}

func canonicalOf(step *lang.Step) string {
	def := &lang.Definition{Version: 1, Trigger: "t", Flow: step}
	return string(def.Canonical())
}

// now is the canonical form of the settings as they are at present.
func (s *Subject) now() string { return canonicalOf(&lang.Step{Use: s.policy, Policy: s.Settings}) }

// Declare says what the policy promises to lint about a slot; nothing when it is no schedulers.Declarer.
func (s *Subject) Declare(slot int) schedulers.Declaration {
	if d, ok := s.Settings.(schedulers.Declarer); ok {
		return d.Declare(slot)
	}
	return schedulers.Declaration{}
}

func (s *Subject) cleansUp(slot int) bool {
	c, ok := s.Settings.(schedulers.Cleaner)
	return ok && c.Cleanup(slot)
}

func (s *Subject) cleans() bool {
	for slot := range s.Children {
		if s.cleansUp(slot) {
			return true
		}
	}
	return false
}
