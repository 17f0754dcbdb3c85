package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
)

// Answers are what functions do, and which signals come, when a flow is run without its functions (onward run --mock).
type Answers struct {
	Functions map[string][]Answer
	Signals   []SentSignal
	Cancel    *AskedCancel // nil: nobody cancels the run
	Run       string       // its id; empty is one of the mock's own
}

// An Answer is what a function does with a call: exactly one of Result, Continue, Error and Lost. The first of a function's answers that is for the call by its
// Path, its Attempt and its When, and whose Times are not used up, counts. The expressions see input, attempt (from 1), path (of the step) and call (of the
// function, from 1).
type Answer struct {
	Path     string          `doc:"path" help:"the answer is for calls of the step of this path"`
	Attempt  int             `doc:"attempt,above0" help:"the answer is for this try of a call, from 1"`
	When     lang.Expr       `doc:"when" help:"the answer is for calls for which this is true; it sees input, attempt, path and call"`
	Times    int             `doc:"times" help:"for so many calls; then those after it count. 0: for all"`
	After    plugin.Duration `doc:"after" help:"how long the function takes"`
	At       plugin.Duration `doc:"at" help:"in place of after: when the answer comes, from the run's start; at once where that has passed"`
	Beats    *Beats          `doc:"beats" help:"heartbeats meanwhile, of a call that has a heartbeat: then it is silent, and lost once it was for too long"`
	Result   lang.Expr       `doc:"result" help:"what it answers; it sees input, attempt, path and call"`
	Continue lang.Expr       `doc:"continue" help:"the state with which it asks to be invoked again"`
	Error    *AnswerError    `doc:"error" help:"how it fails"`
	Lost     bool            `doc:"lost" help:"it never answers"`
	Twice    bool            `doc:"twice" help:"it answers by an event, and that event comes twice"`

	resultSaid bool
}

// Beats are the heartbeats of a mocked function.
type Beats struct {
	Every plugin.Duration `doc:"every,value,required,above0" help:"how often one comes"`
	Until plugin.Duration `doc:"until,above0" help:"how long they come, from the call; default: until the answer"`
}

// For is how many there are of a call that takes so long.
func (b *Beats) For(took time.Duration) int {
	if b == nil {
		return 0
	}
	if b.Until > 0 {
		took = b.Until.D()
	}
	return int(took / b.Every.D())
}

// An AnswerError is how a mocked function fails.
type AnswerError struct {
	Type    string     `doc:"type,value" help:"what retry and catch match" default:"failed"`
	Message string     `doc:"message" help:"for people" default:"mocked failure"`
	Class   lang.Class `doc:"class" help:"function, throttle, platform, timeout or cancelled" default:"function"`
	Data    lang.Value `doc:"data" help:"further data"`
}

// A SentSignal is a signal that comes to the run.
type SentSignal struct {
	Name  string          `doc:"name,required" help:"the signal's name"`
	After plugin.Duration `doc:"after" help:"when, from the run's start"`
	Data  lang.Value      `doc:"data" help:"what comes with it"`
}

// An AskedCancel is somebody who cancels the run.
type AskedCancel struct {
	After  plugin.Duration `doc:"after,value" help:"when, from the run's start"`
	Reason string          `doc:"reason" help:"why, for people"`
}

// answers is one or a list.
type answers []Answer

// UnmarshalNode reads one answer or a list of them.
func (a *answers) UnmarshalNode(n *lang.Node, decode func(*lang.Node, any)) []plugin.Problem {
	items := []*lang.Node{n}
	if n.Kind == lang.ListNode {
		items = n.Items
	}
	*a = make(answers, len(items))
	for i, item := range items {
		decode(item, &(*a)[i])
		(*a)[i].resultSaid = item.Get("result") != nil
	}
	return nil
}

// Check reports an answer that says nothing, or two things at once.
func (a answers) Check() []plugin.Problem {
	var out []plugin.Problem
	for i := range a {
		said := 0
		for _, is := range []bool{a[i].resultSaid, !a[i].Continue.IsZero(), a[i].Error != nil, a[i].Lost} {
			if is {
				said++
			}
		}
		if a[i].Lost && a[i].Beats != nil && a[i].Beats.Until == 0 {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i), "beats"}, What: "an answer that never comes, and heartbeats for ever", Cure: "write { every: 10s, until: 40s }"})
		}
		if a[i].After > 0 && a[i].At > 0 {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i)}, What: "an answer says after or at, and this one both", Cure: "leave one out"})
		}
		if a[i].Attempt < 0 {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i), "attempt"}, What: fmt.Sprintf("an answer for try %d, and the first is 1", a[i].Attempt), Cure: "write 1 or more, or leave it out"})
		}
		if a[i].Lost && a[i].Twice {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i)}, What: "an answer that never comes cannot come twice", Cure: "leave lost or twice out"})
		}
		if said != 1 {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i)}, What: fmt.Sprintf("an answer says one of result, continue, error and lost, and this one %d", said), Cure: "write { result: ... }"})
		}
		if i > 0 && a[i-1].Times == 0 && a[i-1].When.IsZero() && a[i-1].Path == "" && a[i-1].Attempt == 0 {
			out = append(out, plugin.Problem{Path: []string{fmt.Sprint(i)}, What: "an answer that is never given: the one before it is for all calls", Cure: "give that one times: or when:"})
		}
	}
	return out
}

type answersDoc struct {
	Functions map[string]answers `doc:"functions" help:"what each function answers: one answer or a list"`
	Signals   []SentSignal       `doc:"signals" help:"signals that come to the run"`
	Cancel    *AskedCancel       `doc:"cancel" help:"when somebody cancels the run"`
	Run       string             `doc:"run" help:"the id of the run that is mocked: with that of a run that was, the pauses between tries are spread as they were"`
}

var answerNames = []string{"attempt", "call", "input", "path"}

// ParseAnswers reads a file of answers for the functions that a trigger of the set calls. Each of them needs one.
func ParseAnswers(file string, text []byte, r *plugin.Registry, set *Set, trigger string) (*Answers, []lang.Finding) {
	nodes, findings := yamldoc.Parse(file, text)
	top := lang.Pos{File: file, Line: 1, Col: 1}
	if len(nodes) != 1 && len(findings) == 0 {
		findings = append(findings, lang.Finding{Pos: top, What: "answers are one document", Cure: "write functions: { NAME: { result: ... } }"})
	}
	if len(findings) > 0 {
		return nil, findings
	}
	var doc answersDoc
	findings = lang.Decode(nodes[0], &doc, r)
	out := &Answers{Functions: make(map[string][]Answer), Signals: doc.Signals, Cancel: doc.Cancel, Run: doc.Run}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(set.Functions)), func(name string) bool { return strings.Contains(name, "[") })
	for _, name := range slices.Sorted(maps.Keys(doc.Functions)) {
		out.Functions[name] = doc.Functions[name]
		at := lang.Finding{Pos: top, Path: "functions." + name}
		if !slices.Contains(known, name) {
			at.What, at.Cure = fmt.Sprintf("unknown function %q", name), lang.Nearest(name, known)
			findings = append(findings, at)
		}
		for _, a := range doc.Functions[name] {
			for _, e := range []lang.Expr{a.When, a.Result, a.Continue} {
				for _, used := range e.Names() {
					if !slices.Contains(answerNames, used) {
						findings = append(findings, lang.Finding{Pos: e.Pos(), Path: at.Path, What: fmt.Sprintf("unknown name %q", used), Cure: lang.Nearest(used, answerNames)})
					}
				}
			}
		}
	}
	for _, name := range called(set, set.Triggers[trigger].Definition.Flow) {
		if out.Functions[name] == nil {
			findings = append(findings, lang.Finding{Pos: top, Path: "functions", What: fmt.Sprintf("function %q has no answer", name), Cure: "add " + name + ": { result: ... }"})
		}
	}
	return out, findings
}

// LoadAnswers reads them from a file.
func LoadAnswers(file string, r *plugin.Registry, set *Set, trigger string) (*Answers, []lang.Finding) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, []lang.Finding{{Pos: lang.Pos{File: file}, What: cleanError(err)}}
	}
	return ParseAnswers(file, text, r, set, trigger)
}

// called lists the functions that a step calls, itself or by the runs that it starts, sorted.
func called(set *Set, step *lang.Step) []string {
	names, seen := make(map[string]bool), make(map[*lang.Step]bool)
	var walk func(s *lang.Step)
	walk = func(s *lang.Step) {
		if s == nil {
			return
		}
		if s.Use == lang.UseFunction {
			names[s.Target] = true
		}
		if s.Body != nil && !seen[s.Body] {
			seen[s.Body] = true
			walk(s.Body)
		}
		if x, ok := s.Policy.(lang.Starter); ok {
			trigger, _ := x.Starts()
			if flow := set.Triggers[trigger].Definition.Flow; !seen[flow] {
				seen[flow] = true
				walk(flow)
			}
		}
		for _, child := range lang.Children(s.Policy) {
			walk(child) // nil is none.
		}
		for i := range s.Catch {
			walk(&s.Catch[i].Do)
		}
	}
	walk(step)
	return slices.Sorted(maps.Keys(names))
}
