package dag_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/dag"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// A model is a dag as its documentation says it ends, worked out in one pass over the graph from how its steps end: no events, no tallies that grow.
type model struct {
	p      *schedulertest.Play
	d      *dag.DAG
	at     map[string]int
	status []string   // S, K, F, U
	parts  [][]string // of the elements
	items  [][]lang.Value
	errs   []*lang.Error // of those that failed or could not run; nil of a fault
	partly [][]*lang.Error
	runs   []int // children that ran
	faults int
}

func newModel(p *schedulertest.Play) *model {
	d := p.Settings.(*dag.DAG)
	n := len(d.Steps)
	m := &model{
		p: p, d: d, at: make(map[string]int), status: make([]string, n), parts: make([][]string, n), items: make([][]lang.Value, n), errs: make([]*lang.Error, n),
		partly: make([][]*lang.Error, n), runs: make([]int, n),
	}
	for slot := range d.Steps {
		m.at[d.Steps[slot].Name] = slot
	}
	for done := 0; done < n; {
		before := done
		for slot := range d.Steps {
			if m.status[slot] == "" && !slices.ContainsFunc(m.before(slot), func(need int) bool { return need != slot && m.status[need] == "" }) {
				m.status[slot] = m.step(slot)
				done++
			}
		}
		if done == before {
			panic("the model stands still")
		}
	}
	return m
}

// before is all that a step names.
func (m *model) before(slot int) (out []int) {
	for _, name := range m.d.Steps[slot].Teardown {
		out = append(out, m.at[name])
	}
	for _, n := range m.d.Steps[slot].Needs {
		if need := m.at[n.Step]; !slices.Contains(out, need) {
			out = append(out, need)
		}
	}
	return out
}

func count(statuses string) (t tally) {
	t.n = len(statuses)
	t.s, t.k, t.f, t.u = strings.Count(statuses, "S"), strings.Count(statuses, "K"), strings.Count(statuses, "F"), strings.Count(statuses, "U")
	return t
}

var fates = map[string]string{"runs": "runs", "skipped": "K", "upstream": "U"}

// meets is what the end of a need counts as for its word.
var meets = map[string]map[string]string{
	"succeeded": {"S": "S", "K": "K", "F": "F", "U": "U"},
	"failed":    {"S": "K", "K": "K", "F": "S", "U": "S"},
	"skipped":   {"S": "K", "K": "S", "F": "F", "U": "U"},
	"done":      {"S": "S", "K": "K", "F": "S", "U": "U"},
	"ended":     {"S": "S", "K": "S", "F": "S", "U": "S"},
}

func (m *model) step(slot int) string {
	step := &m.d.Steps[slot]
	if m.leftOut(slot) {
		return "K"
	}
	if fate := m.fate(slot); fate != "runs" {
		return fate
	}
	if !step.Over.IsZero() {
		return m.wide(slot)
	}
	m.runs[slot] = 1
	switch o := m.p.Of(slot, 0); o.Verdict {
	case lang.Failed:
		m.errs[slot] = o.Err
		return "F"
	case lang.Skipped:
		return "K"
	}
	return "S"
}

// fate is what the rule, the words, or the setups say of a step.
func (m *model) fate(slot int) string {
	step := &m.d.Steps[slot]
	rule, seen := step.Rule, ""
	blame := func(statuses string, needs []int) {
		for i, need := range needs {
			if strings.Contains("FU", statuses[i:i+1]) {
				m.errs[slot] = m.errs[need]
				return
			}
		}
	}
	if len(step.Teardown) > 0 {
		var setups []int
		for _, name := range step.Teardown {
			setups = append(setups, m.at[name])
			seen += m.status[m.at[name]]
		}
		switch t := count(seen); {
		case t.s > 0:
			return "runs"
		case t.k == t.n:
			return "K"
		}
		blame(seen, setups)
		return "U"
	}
	var needs []int
	for _, n := range step.Needs {
		if n.Offsets != nil {
			rule = "all_success" // It is for the elements.
			continue
		}
		needs = append(needs, m.at[n.Step])
		how := m.status[m.at[n.Step]]
		if n.Word != "" {
			rule, how = "all_success", meets[n.Word][how]
		}
		seen += how
	}
	if len(needs) == 0 || rule == "always" {
		return "runs"
	}
	fate := fates[table[rule].fate(count(seen))]
	if fate == "U" {
		blame(seen, needs)
	}
	return fate
}

// leftOut reports a step behind a branch that chose neither it nor a step from which there is a way to it.
func (m *model) leftOut(slot int) bool {
	for _, need := range m.before(slot) {
		branch := &m.d.Steps[need]
		if branch.Branch.IsZero() || m.status[need] != "S" {
			continue
		}
		texts := strings.Split(strings.Split(branch.Branch.Source(), "?")[1], ":")
		chosen := texts[1]
		if m.p.Of(need, 0).Value.IsNull() {
			chosen = texts[0]
		}
		on := false
		for other := range m.d.Steps {
			if strings.Contains(chosen, "'"+m.d.Steps[other].Name+"'") {
				on = on || m.leads(other, slot)
			}
		}
		if !on {
			return true
		}
	}
	return false
}

// leads reports whether there is a way from one step to another, or they are one.
func (m *model) leads(from, to int) bool {
	return from == to || slices.ContainsFunc(m.before(to), func(need int) bool { return need != to && m.leads(from, need) })
}

// wide works out the elements of a step one after the other: none needs a later one of its own.
func (m *model) wide(slot int) string {
	if !m.open(slot) {
		m.faults++
		return "F"
	}
	n := len(m.items[slot])
	m.parts[slot], m.partly[slot] = make([]string, n), make([]*lang.Error, n)
	for i, item := range m.items[slot] {
		status, err := m.element(slot, i)
		if status == "runs" {
			m.runs[slot]++
			o := answer(item)
			status = map[lang.Verdict]string{lang.Succeeded: "S", lang.Skipped: "K", lang.Failed: "F"}[o.Verdict]
			err = o.Err
		}
		m.parts[slot][i], m.partly[slot][i] = status, err
	}
	for _, status := range []string{"F", "U"} {
		if i := slices.Index(m.parts[slot], status); i >= 0 {
			m.errs[slot] = m.partly[slot][i]
			return status
		}
	}
	if slices.Contains(m.parts[slot], "S") {
		return "S"
	}
	return "K"
}

// open finds the items of a step; false when there are none to be had.
func (m *model) open(slot int) bool {
	step := &m.d.Steps[slot]
	v, constant := step.Over.Const()
	switch from := m.at[strings.TrimSuffix(strings.TrimPrefix(step.Over.Source(), "${ steps."), " }")]; {
	case constant && v.JSON()[0] == '[':
		if v.Decode(&m.items[slot]) != nil {
			panic(v)
		}
	case constant:
		for i := range 5 {
			m.items[slot] = append(m.items[slot], lang.Of(i))
		}
	case m.status[from] != "S" || m.d.Steps[from].Over.IsZero():
		return false
	default:
		for i, status := range m.parts[from] {
			item := lang.Null
			if status == "S" {
				item = m.items[from][i]
			}
			m.items[slot] = append(m.items[slot], item)
		}
	}
	for _, need := range step.Needs {
		other := len(m.items[m.at[need.Step]])
		if m.parts[m.at[need.Step]] != nil && other > 0 && slices.Contains(need.Offsets, 0) && other != len(m.items[slot]) && len(m.items[slot]) > 0 {
			return false
		}
	}
	return true
}

// element is what its needs say of an element.
func (m *model) element(slot, i int) (status string, err *lang.Error) {
	seen := ""
	see := func(status string, e *lang.Error) {
		if strings.Contains("FU", status) && !strings.ContainsAny(seen, "FU") {
			err = e
		}
		seen += status
	}
	for _, n := range m.d.Steps[slot].Needs {
		need := m.at[n.Step]
		switch {
		case n.Offsets == nil:
		case len(m.parts[need]) == 0:
			see(m.status[need], m.errs[need])
		default:
			for _, offset := range n.Offsets {
				if j := i + offset; j >= 0 && j < len(m.parts[need]) {
					see(m.parts[need][j], m.partly[need][j])
				}
			}
		}
	}
	if seen == "" {
		return "runs", nil
	}
	return fates[table[m.d.Steps[slot].Rule].fate(count(seen))], err
}

func (m *model) ignored(slot int) bool {
	return len(m.d.Steps[slot].Teardown) > 0 && !m.d.Steps[slot].Decides
}

func (m *model) leaf(slot int) bool {
	for other := range m.d.Steps {
		if other != slot && !m.ignored(other) && slices.Contains(m.before(other), slot) {
			return false
		}
	}
	return !m.ignored(slot)
}

// want is what a play must have come to.
func want(p *schedulertest.Play) (lang.Outcome, bool) {
	m := newModel(p)
	ran := make([]int, len(m.d.Steps))
	for _, c := range p.Told {
		ran[c.Slot]++
	}
	if !slices.Equal(ran, m.runs) {
		return lang.Failure(lang.Failf(lang.ClassPlatform, "ran", "children ran %v, and should %v", ran, m.runs)), true
	}
	var members []lang.Member
	for slot := range m.d.Steps {
		if m.d.End == "steps" && m.status[slot] == "F" && !m.ignored(slot) {
			return m.broken()
		}
	}
	for slot := range m.d.Steps {
		switch {
		case !m.leaf(slot):
		case m.status[slot] == "F" || m.status[slot] == "U":
			return m.failure(m.errs[slot])
		default:
			members = append(members, lang.Member{Key: m.d.Steps[slot].Name, Value: m.value(slot)})
		}
	}
	return lang.Success(lang.Object(members...)), true
}

// failure is that of an error; of a fault it is known only that there is one.
func (m *model) failure(e *lang.Error) (lang.Outcome, bool) {
	if e == nil {
		return m.p.Outcome, m.p.Outcome.Verdict == lang.Failed
	}
	return lang.Failure(e), true
}

// broken is the failure of the first step that failed. When a step with over did is told by no child: any of the failures will do then.
func (m *model) broken() (lang.Outcome, bool) {
	wide := slices.ContainsFunc(m.d.Steps, func(s dag.Step) bool { return !s.Over.IsZero() })
	for _, c := range m.p.Told {
		if c.Verdict == lang.Failed && !wide && !m.ignored(c.Slot) {
			return m.failure(c.Err)
		}
	}
	for slot, e := range m.errs {
		if m.status[slot] == "F" && !m.ignored(slot) && (e == nil || fmt.Sprint(m.p.Outcome.Err) == fmt.Sprint(e)) {
			return m.failure(e)
		}
	}
	return lang.Failure(lang.Failf(lang.ClassPlatform, "model", "not the error of any step: %v", m.errs)), true
}

func (m *model) value(slot int) lang.Value {
	if m.status[slot] == "K" || m.d.Steps[slot].Over.IsZero() {
		return m.p.Of(slot, 0).Value
	}
	values := make([]lang.Value, len(m.items[slot]))
	for i, status := range m.parts[slot] {
		if status == "S" {
			values[i] = m.items[slot][i]
		}
	}
	return lang.List(values...)
}
