package lang

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/plugin"
)

// Steps are the branches of a policy: a list of steps, or a mapping of names to steps.
type Steps struct {
	Names []string // of the mapping, in the document's order; nil for a list
	List  []Step
}

// stepFields are the common keys.
var stepFields = fieldsOf(typeStep)

// CommonKeys lists the keys that every step has.
func CommonKeys() []string { return names(stepFields) }

func (d *decoder) steps(n *Node, s *Steps, path []string) {
	if n.Kind == ScalarNode {
		d.find(n, path, "write a list of steps, or names with steps", "%s where steps are due", n.describe())
		return
	}
	s.List = make([]Step, len(n.Items))
	if n.Kind == MapNode {
		s.Names = []string{}
	}
	for i, item := range n.Items {
		label := strconv.Itoa(i)
		if n.Kind == MapNode {
			label = n.Keys[i].Name
			s.Names = append(s.Names, label)
		}
		d.step(item, &s.List[i], below(path, label), nil)
	}
}

// step decodes the common keys and the one key that says what the step does; extra are the keys that the parent adds to its children.
func (d *decoder) step(n *Node, s *Step, path []string, extra []field) {
	s.Pos = n.Pos
	if n.Kind != MapNode {
		cure := "write { function: NAME }, or a policy"
		if n.Kind == ListNode {
			cure = "put it below sequence:, or forkjoin: for steps side by side"
		}
		d.find(n, path, cure, "%s where a step is due", n.describe())
		return
	}
	n = d.spelledOut(n, path)
	common := append(names(stepFields), names(extra)...)
	var uses []int
	for i, k := range n.Keys {
		switch {
		case slices.Contains(common, k.Name):
		case d.isUse(k.Name):
			uses = append(uses, i)
		default:
			d.find(&Node{Kind: ScalarNode, Pos: k.Pos}, below(path, k.Name), d.meant(n, k.Name, extra, common), "unknown key or policy %q", k.Name)
		}
	}
	v := reflect.ValueOf(s).Elem()
	for _, f := range stepFields {
		if item := n.Get(f.Name); item != nil {
			d.field(item, v.FieldByIndex(f.Index), f, below(path, f.Name))
		}
	}
	switch len(uses) {
	case 1:
		d.use(n, uses[0], s, path)
	case 0:
		if len(n.Keys) == 0 || d.known(n, common) {
			d.find(n, path, "add one of "+strings.Join(d.uses(), ", "), "a step that does nothing")
		}
	default:
		d.find(n, path, "keep one; put several into a sequence or a forkjoin", "a step does one thing, and this one says %q and %q", n.Keys[uses[0]].Name, n.Keys[uses[1]].Name)
	}
}

// meant says what to write in place of a word that a step does not know: a key that it has where it says already what it does, else a policy too.
func (d *decoder) meant(n *Node, word string, extra []field, common []string) string {
	switch small := strings.ToLower(word); {
	case len(extra) > 0 && slices.Contains([]string{"do", "then", "run", "step"}, small):
		return fmt.Sprintf("what is done stands beside %s:, as in { %[1]s: ..., function: NAME }", extra[0].Name)
	case len(extra) > 0 && extra[0].Name == "if" && slices.Contains([]string{"else", "default", "otherwise"}, small):
		return "it stands beside the cases: choice: { cases: [ ... ], else: { ... } }"
	case slices.Contains([]string{"exec", "http", "kafka", "log", "command", "url", "image", "container"}, small):
		return "name it below functions:, and write function: NAME here"
	}
	if slices.ContainsFunc(n.Keys, func(k Key) bool { return d.isUse(k.Name) }) {
		return Nearest(word, common)
	}
	return Nearest(word, append(slices.Clone(common), d.uses()...))
}

// known reports whether all keys of n are among the given: else the unknown one, reported already, was to say what the step does.
func (d *decoder) known(n *Node, keys []string) bool {
	for _, k := range n.Keys {
		if !slices.Contains(keys, k.Name) {
			return false
		}
	}
	return true
}

func (d *decoder) uses() []string {
	words := []string{UseFunction, UseFlow}
	for _, c := range d.registry.List(plugin.Policy) {
		words = append(words, c.Name)
	}
	return words
}

func (d *decoder) isUse(word string) bool {
	if word == UseFunction || word == UseFlow {
		return true
	}
	_, ok := d.policy(word)
	return ok
}

func (d *decoder) use(n *Node, i int, s *Step, path []string) {
	s.Use = n.Keys[i].Name
	item := n.Items[i]
	if s.Use == UseFunction || s.Use == UseFlow {
		if d.decode(item, reflect.ValueOf(&s.Target).Elem(), below(path, s.Use)); strings.Contains(s.Target, "${") {
			d.find(item, below(path, s.Use), "add the names that it may yield: "+useAmong+": [a, b]", "an expression for a %s, which could be any", s.Use)
		}
		return
	}
	c, _ := d.policy(s.Use)
	settings := reflect.New(c.Settings)
	d.decode(item, settings.Elem(), below(path, s.Use))
	s.Policy = settings.Interface()
}

// Check reports a retry that cannot work.
func (r *Retry) Check() []plugin.Problem {
	var p []plugin.Problem
	if r.Attempts < 1 {
		p = append(p, plugin.Problem{Path: []string{"attempts"}, What: "retry attempts count the first try and are at least 1", Cure: "write attempts: 3 for two more tries"})
	}
	if r.Factor < 1 {
		p = append(p, plugin.Problem{Path: []string{"factor"}, What: "a factor below 1 makes the pauses shorter", Cure: "write 1 or more"})
	}
	if r.Jitter != nil && (*r.Jitter < 0 || *r.Jitter > 1) {
		p = append(p, plugin.Problem{Path: []string{"jitter"}, What: "jitter is a share from 0 to 1"})
	}
	return p
}

// Check reports rules that are never asked.
func (r *Retries) Check() []plugin.Problem {
	if len(*r) > MaxRules {
		return []plugin.Problem{{What: fmt.Sprintf("%d rules, and %d are the most", len(*r), MaxRules), Cure: "put errors that are tried alike into one on:"}}
	}
	for i := range len(*r) - 1 {
		if rule := &(*r)[i]; len(rule.On) == 0 && len(rule.Never) == 0 {
			return []plugin.Problem{{Path: []string{strconv.Itoa(i + 1)}, What: "a rule that is never asked: the one before it is for every error", Cure: "put the rule without on last"}}
		}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Retry) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"attempts": plugin.Schema{"minimum": 1},
		"factor":   plugin.Schema{"minimum": 1},
		"jitter":   plugin.Schema{"minimum": 0, "maximum": 1},
	}}
}
