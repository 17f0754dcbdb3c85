package engine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
)

// A definition is a lang.Definition made ready to run: who runs each step, and under which label it stands in paths. It is what was journaled: its
// bytes and their digest stay, whatever this binary would write in their place.
type definition struct {
	*lang.Definition
	digest lang.Digest
	runs   int   // that began with it
	idle   int64 // since when there are none
	steps  map[*lang.Step]*stepInfo
	// conditions says that a destination tells how its runs ended: only then they keep why a step was not tried again.
	conditions bool
}

// A stepInfo is what the engine knows of a step beside the step itself.
type stepInfo struct {
	label    string // unique among its siblings
	machine  schedulers.Machine
	version  int // of the policy
	settings any
	children []*lang.Step
	below    []*stepInfo    // per child: what is known of it; nil where there is none
	named    map[string]int // children by their names
	many     []bool         // per child: it may run more than once
	cleans   []bool         // per child: it cleans up; nil when none does
	twins    []bool         // per child: it may get a second try; nil when none may
	starts   string         // the trigger of which it starts a run
	waits    bool           // for that
	// reopens says that a try, a retry, a catch or an output needs the step's names again after it was opened.
	reopens  bool
	numbered bool // its policy knows its children by other numbers than the order in which they open
	// looks says that there is an expression on the step or below it: without one nothing asks for the names that it sees.
	looks bool
}

// compile makes a definition ready. An error is lang.ErrNoDefinition for bytes that no binary reads; else it is journal.ErrNewer: a binary that this one
// is not has written them, and only such a one may go on with the partition.
func (s *State) compile(payload []byte) (*definition, error) {
	digest := lang.Digest(sha256.Sum256(payload))
	parsed, err := lang.ParseDefinition(payload, s.registry)
	if errors.Is(err, lang.ErrNoDefinition) {
		return nil, err
	}
	if err != nil {
		return nil, foreign(digest, err)
	}
	def := &definition{Definition: parsed, digest: digest, idle: s.now, steps: make(map[*lang.Step]*stepInfo)}
	def.conditions = slices.ContainsFunc(slices.Concat(parsed.OnSuccess, parsed.OnFailure), tellsEnd)
	if parsed.Flow != nil {
		if err := def.add(s.registry, parsed.Flow, stepLabel(parsed.Flow)); err != nil {
			return nil, foreign(digest, err)
		}
	}
	return def, nil
}

func tellsEnd(d lang.Destination) bool {
	names := slices.Concat(d.When.Names(), d.Data.Names(), d.Event.Names())
	return d.Format != "" || slices.Contains(names, "end")
}

// add enters a run.
func (s *State) add(r *run) {
	s.runs[r.id] = r
	r.at = int32(len(s.order))
	s.order = append(s.order, r)
	if s.saving != nil {
		r.saved = s.saving.n // It began after the snapshot did.
	}
	s.hold(r, size(r.event)+size(r.data))
	if r.def.runs == 0 {
		s.idle--
	}
	r.def.runs++
}

// remove lets a run go.
func (s *State) remove(r *run) {
	delete(s.runs, r.id)
	last := len(s.order) - 1
	s.order[r.at] = s.order[last]
	s.order[r.at].at = r.at
	s.order[last] = nil
	s.order = s.order[:last]
	s.hold(r, -r.bytes)
	if r.def.runs--; r.def.runs == 0 {
		r.def.idle = s.now
		s.rest(r.def)
	}
}

// rest books that no run needs a definition any more. The one that has been idle for longest goes when they are too many: a start that names it then
// waits until somebody appends it again.
func (s *State) rest(def *definition) {
	if s.idle++; s.idle <= s.limits.Definitions {
		return
	}
	var oldest *definition
	for d, x := range s.definitions {
		if x.runs > 0 || x == def || len(s.waiting[d]) > 0 {
			continue
		}
		if oldest == nil || x.idle < oldest.idle || x.idle == oldest.idle && bytes.Compare(d[:], oldest.digest[:]) < 0 {
			oldest = x
		}
	}
	if oldest != nil {
		delete(s.definitions, oldest.digest)
		s.idle--
	}
}

func foreign(d lang.Digest, err error) error {
	return fmt.Errorf("definition %x: %w: this binary does not know all of it (%w); run the binary that wrote it, or a newer one", d[:6], journal.ErrNewer, err)
}

// add enters step and all below it.
func (d *definition) add(reg *plugin.Registry, step *lang.Step, label string) error {
	if d.steps[step] != nil {
		return nil // A flow that is named twice is one tree.
	}
	info := &stepInfo{label: label, reopens: !step.Output.IsZero() || len(step.Catch) > 0 || lang.Looks(step.Timeout) || lang.Looks(step.Heartbeat) || lang.Looks(step.Retry)}
	d.steps[step] = info
	switch step.Use {
	case lang.UseFunction:
	case lang.UseFlow:
		if step.Body == nil {
			return fmt.Errorf("trigger %q: flow %q has no body", d.Trigger, step.Target)
		}
		info.machine, info.settings, info.children = flowMachine{}, step, []*lang.Step{step.Body}
	default:
		c, ok := reg.At(plugin.Policy, step.Use, d.Policies[step.Use])
		if !ok {
			return fmt.Errorf("trigger %q: it does not name the version of its policy %q", d.Trigger, step.Use)
		}
		info.machine, info.version, info.settings, info.children = c.Make.(schedulers.Machine), c.Version, step.Policy, lang.Children(step.Policy)
	}
	if x, ok := info.settings.(lang.Starter); ok {
		info.starts, info.waits = x.Starts()
	}
	info.many, info.below = make([]bool, len(info.children)), make([]*stepInfo, len(info.children))
	labels := make(map[string]int, len(info.children))
	declarer, _ := info.settings.(schedulers.Declarer)
	own := ownLabels(step, info.children)
	unique := make([]string, len(own))
	for slot, child := range info.children {
		if child == nil {
			continue
		}
		if child.Name != "" {
			if info.named == nil {
				info.named = make(map[string]int)
			}
			info.named[child.Name] = slot
		}
		if declarer != nil {
			info.many[slot] = declarer.Declare(slot).Many
		}
		// A name is a thing's own: it is given before what is called after what it does, wherever that stands.
		if own[slot] != "" {
			unique[slot] = uniqueLabel(labels, escape(own[slot]))
		}
	}
	info.cleans, info.numbered = cleanupOf(info), numbers(info.settings)
	info.twins = twinsOf(info)
	info.looks = looks(step, info)
	for slot, child := range info.children {
		if child == nil {
			continue
		}
		if unique[slot] == "" {
			unique[slot] = uniqueLabel(labels, escape(stepLabel(child)))
		}
		if err := d.add(reg, child, unique[slot]); err != nil {
			return err
		}
		info.below[slot] = d.steps[child]
		info.looks = info.looks || d.steps[child].looks
	}
	for i := range step.Catch {
		if err := d.add(reg, &step.Catch[i].Do, uniqueLabel(labels, "catch")); err != nil {
			return err
		}
	}
	return nil
}

// numbers reports whether settings are a schedulers.Numberer, of whatever state.
func numbers(settings any) (is bool) {
	if settings != nil {
		_, is = reflect.TypeOf(settings).MethodByName("Number")
	}
	return is
}

// cleanupOf says which children clean up; nil when none does.
func cleanupOf(info *stepInfo) []bool {
	cleaner, ok := info.settings.(schedulers.Cleaner)
	if !ok {
		return nil
	}
	cleans := make([]bool, len(info.children))
	for slot := range cleans {
		cleans[slot] = cleaner.Cleanup(slot)
	}
	if !slices.Contains(cleans, true) {
		return nil
	}
	return cleans
}

// twinsOf says which children may get a second try; nil when none may.
func twinsOf(info *stepInfo) []bool {
	x, ok := info.settings.(lang.Twinner)
	if !ok {
		return nil
	}
	twins := make([]bool, len(info.children))
	for slot := range twins {
		twins[slot] = x.Twins(slot)
	}
	if !slices.Contains(twins, true) {
		return nil
	}
	return twins
}

// ownLabels are the labels that children have by themselves: their names, else what their policy calls them, else the keys that they stand under.
func ownLabels(step *lang.Step, children []*lang.Step) []string {
	out := make([]string, len(children))
	labeler, _ := step.Policy.(schedulers.Labeler)
	for slot, key := range lang.ChildKeys(step.Policy) {
		switch child := children[slot]; {
		case child == nil:
		case child.Name != "":
			out[slot] = child.Name
		case labeler != nil && labeler.Label(slot) != "":
			out[slot] = labeler.Label(slot)
		default:
			out[slot] = key
		}
	}
	return out
}

// looks reports whether the step itself has an expression that looks at something.
func looks(step *lang.Step, info *stepInfo) bool {
	return len(step.Catch) > 0 || lang.Looks(step.When) || lang.Looks(step.Input) || lang.Looks(step.Output) || lang.Looks(step.Timeout) || lang.Looks(step.Heartbeat) || lang.Looks(step.Deadline) ||
		lang.Looks(step.Retry) || lang.Looks(info.settings)
}

// escape writes what has a meaning in paths and ids, and what no header takes, as % with two digits: names of branches are any text.
func escape(label string) string {
	plain := func(c byte) bool {
		return c > ' ' && c < 0x7f && !strings.ContainsRune("/[]%~:+", rune(c)) || c >= 0x80
	}
	if i := strings.IndexFunc(label, func(r rune) bool { return r < 0x80 && !plain(byte(r)) }); i < 0 {
		return label
	}
	b := make([]byte, 0, len(label)+8)
	for i := range len(label) {
		if c := label[i]; plain(c) {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return string(b)
}

func stepLabel(step *lang.Step) string {
	switch {
	case step.Name != "":
		return step.Name
	case step.Target != "":
		return step.Target
	}
	return step.Use
}

// uniqueLabel tells siblings of one label apart by numbers; taken has the last one that was given to each.
func uniqueLabel(taken map[string]int, label string) string {
	unique := label
	for i := taken[label]; taken[unique] > 0; {
		i++
		unique = label + "-" + strconv.Itoa(i)
		taken[label] = i
	}
	taken[unique] = 1
	return unique
}

// flowMachine runs a step that names a flow: one child, the flow's body, which sees the step's input and none of its names.
type flowMachine struct{}

func (flowMachine) State() any { return nil }

func (flowMachine) Next(f schedulers.Frame, _, _ any, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		f.Spawn(0, 1)
	case schedulers.Done:
		// All of them, skipped as well: the step is the flow.
		f.(*desk).ask(request{op: opEnd, outcome: ev.Outcome})
	}
	return nil
}

func (flowMachine) Bind(f schedulers.Scope, _, _ any, _, _ int) (schedulers.Binding, error) {
	return schedulers.Binding{Input: f.Input()}, nil
}

func (flowMachine) Yield(schedulers.Scope, any, any, int) (lang.Value, bool) { return lang.Null, false }

func (flowMachine) Number(_, _ any, _, index int) int { return index }

func (flowMachine) Encode(any) ([]byte, error) { return nil, nil }
func (flowMachine) Decode([]byte) (any, error) { return nil, nil }

func (flowMachine) Weigh(any, func(lang.Value) error) (int, error) { return 0, nil }
