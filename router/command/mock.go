package command

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// traceLines bounds what a mocked run prints on its way.
const traceLines = 1000

// mockSteps bounds a mocked run: a flow that goes on and on is a mistake in the answers.
const mockSteps = 50_000_000

// A mock runs a trigger in virtual time with answers in place of its functions.
type mock struct {
	p       *program
	set     *config.Set
	answers *config.Answers
	world   *simulate.World
	cache   *lang.Cache
	run     journal.RunID // others are those that its steps start
	books   map[string]*book
	calls   map[string]int
	lines   int
	quiet   bool
	fault   error
}

// mock runs one event through a trigger and prints the result, as run does.
func (p *program) mock(set *config.Set, trigger string, input lang.Value, file string, quiet bool) error {
	answers, findings := config.LoadAnswers(file, p.registry, set, trigger)
	if err := p.refuse(findings); err != nil {
		return err
	}
	m := &mock{p: p, set: set, answers: answers, cache: lang.NewCache(engine.DefaultCacheBytes), run: journal.RunID{1}, books: make(map[string]*book), calls: make(map[string]int), quiet: quiet}
	if answers.Run != "" {
		run, err := journal.ParseRunID(answers.Run)
		if err != nil {
			return exitError{exitUsage, fmt.Errorf("--mock: run: %w", err)}
		}
		m.run = run
	}
	m.world = simulate.New(simulate.Options{
		Registry: p.registry, Function: m.function, Observe: m.observe,
		Concurrency: func(function string) int { return set.Functions[function].Concurrency }, Starts: m.starts,
		Rate: func(function string) (time.Duration, int) {
			f := set.Functions[function]
			if f.Rate.IsZero() {
				return 0, 0
			}
			return f.Rate.Per / time.Duration(f.Rate.N), f.Burst
		},
		Key: func(def *lang.Definition, event, data lang.Value) (string, error) {
			return keyFor(set.Triggers[def.Trigger], event, data)
		},
	})
	begin := time.Now()
	if err := m.start(trigger, input); err != nil {
		return exitError{exitUsage, err}
	}
	if err := m.world.Run(mockSteps); err != nil {
		return exitError{exitRun, err}
	}
	if m.fault != nil {
		return exitError{exitUsage, m.fault}
	}
	ended := slices.IndexFunc(m.world.Ended, func(e simulate.End) bool { return e.Run == m.run })
	if ended < 0 {
		return exitError{exitRun, m.stuck()}
	}
	if !quiet {
		fmt.Fprintf(p.errs, "mocked in %s\n", time.Since(begin).Round(time.Millisecond))
	}
	return p.result(engine.EndingOf(&m.world.Ended[ended].Ended), &hops{}, quiet)
}

// keyFor is the key of a run that a step starts: that by which its trigger counts runs, or by which its events meet.
func keyFor(t *config.Trigger, event, data lang.Value) (string, error) {
	if !t.Gathers() {
		return t.KeyOf(event, data)
	}
	met, err := t.MeetOf(filter.Texts(func(string) (string, bool) { return "", false }), event, data)
	switch {
	case err != nil:
		return "", err
	case len(met) > 1:
		return "", fmt.Errorf("its correlate yields %d keys, and a step starts one run", len(met))
	}
	return met[0].Key, nil
}

// starts are the subruns: what the ends of runs lead to is not played.
func (m *mock) starts(inv *engine.Invocation) []*lang.Definition {
	if inv.Purpose != engine.Call {
		return nil
	}
	return []*lang.Definition{m.set.Triggers[inv.ToTrigger].Definition}
}

func (m *mock) start(trigger string, input lang.Value) error {
	def := m.set.Triggers[trigger].Definition
	event := lang.Of(map[string]string{"specversion": "1.0", "id": "mock", "source": "/onward/run", "type": "dev.onward.start"})
	key, err := m.set.Triggers[trigger].KeyOf(event, input)
	if err == nil && def.Await != nil && def.Await.Signals {
		key, err = keyFor(m.set.Triggers[trigger], event, input)
	}
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	fact := engine.StartFact{Trigger: trigger, Digest: def.Digest(), Event: event, Data: input, Key: key}
	if m.set.Triggers[trigger].Gathers() && !def.Await.Signals { // The round is as over: --data is what it had.
		if input.IsNull() {
			return fmt.Errorf("--data: trigger %q gathers events; write what the round had, as arrived shows it", trigger)
		}
		fact.Arrived = input
	} else if def.Await != nil {
		fact.Names = []string{""}
	}
	start := engine.Record(journal.Start, m.run, &fact)
	start.Tenant = m.set.Triggers[trigger].Tenant
	for _, name := range m.set.TriggerNames() {
		m.world.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(m.set.Triggers[name].Definition)})
	}
	m.world.Append(start)
	for i, s := range m.answers.Signals {
		f := engine.SignalFact{Source: "/mock", ID: fmt.Sprint(i), Name: s.Name, Data: s.Data}
		m.world.After(s.After.D(), func() { m.world.Append(engine.Record(journal.Signal, m.run, &f)) })
	}
	if c := m.answers.Cancel; c != nil {
		m.world.After(c.After.D(), func() { m.world.Append(engine.Record(journal.Cancel, m.run, &engine.CancelFact{Reason: c.Reason})) })
	}
	return nil
}

// A book finds the answers of a function, whatever their number: those for a path by it, the others in order.
type book struct {
	list   []config.Answer
	used   []int // how often each was given
	paths  map[string][]int
	others []int
}

func newBook(list []config.Answer) *book {
	b := &book{list: list, used: make([]int, len(list)), paths: make(map[string][]int)}
	for i := range list {
		if path := list[i].Path; path != "" {
			b.paths[path] = append(b.paths[path], i)
		} else {
			b.others = append(b.others, i)
		}
	}
	return b
}

// candidates are the answers that may be for a path, in the order of the file. What is used up at the head of an order is left out for good.
func (b *book) candidates(path string) iter.Seq[int] {
	head := func(order []int) []int {
		for len(order) > 0 && b.spent(order[0]) {
			order = order[1:]
		}
		return order
	}
	if own := b.paths[path]; own != nil {
		b.paths[path] = head(own)
	}
	b.others = head(b.others)
	return func(yield func(int) bool) {
		own, others := b.paths[path], b.others
		for len(own)+len(others) > 0 {
			from := &own
			if len(own) == 0 || len(others) > 0 && others[0] < own[0] {
				from = &others
			}
			if !yield((*from)[0]) {
				return
			}
			*from = (*from)[1:]
		}
	}
}

func (b *book) spent(i int) bool { return b.list[i].Times > 0 && b.used[i] >= b.list[i].Times }

// function gives the first answer that is for the call.
func (m *mock) function(inv *engine.Invocation, _ int) simulate.Answer {
	b := m.books[inv.Function]
	if b == nil {
		b = newBook(m.answers.Functions[inv.Function])
		m.books[inv.Function] = b
	}
	m.calls[inv.Function]++
	vars := lang.Vars{
		{Name: "input", Value: inv.Input}, {Name: "attempt", Value: lang.Of(inv.Attempt)}, {Name: "path", Value: lang.Text(inv.Path)},
		{Name: "call", Value: lang.Of(m.calls[inv.Function])},
	}
	for i := range b.candidates(inv.Path) {
		a := &b.list[i]
		if b.spent(i) || a.Attempt > 0 && a.Attempt != inv.Attempt {
			continue
		}
		if !a.When.IsZero() {
			if is, err := a.When.EvalBool(vars, m.cache); err != nil {
				return m.wrong(inv, "when", err)
			} else if !is {
				continue
			}
		}
		b.used[i]++
		return m.give(inv, a, vars)
	}
	return m.wrong(inv, "functions", fmt.Errorf("no answer is left for call %d, with input %.200s; add one", m.calls[inv.Function], inv.Input))
}

func (m *mock) give(inv *engine.Invocation, a *config.Answer, vars lang.Vars) simulate.Answer {
	out := simulate.Answer{After: max(a.After.D(), a.At.D()-m.world.Now()), Never: a.Lost, Twice: a.Twice}
	if out.Beats = a.Beats.For(out.After); out.Beats > 0 {
		out.Every = a.Beats.Every.D()
	}
	switch {
	case a.Error != nil:
		out.Outcome = lang.Failure(&lang.Error{Type: a.Error.Type, Message: a.Error.Message, Class: a.Error.Class, Data: a.Error.Data})
	case !a.Continue.IsZero():
		state, err := a.Continue.Eval(vars, m.cache)
		if err != nil {
			return m.wrong(inv, "continue", err)
		}
		out.Outcome = lang.Outcome{Verdict: lang.Continue, Value: state}
	case !a.Lost && !a.Result.IsZero():
		v, err := a.Result.Eval(vars, m.cache)
		if err != nil {
			return m.wrong(inv, "result", err)
		}
		out.Outcome = lang.Success(v)
	default:
		out.Outcome = lang.Success(lang.Null)
	}
	return out
}

// wrong notes that the answers are at fault, and fails the call so that the run ends.
func (m *mock) wrong(inv *engine.Invocation, where string, err error) simulate.Answer {
	if m.fault == nil {
		m.fault = fmt.Errorf("--mock: function %q at %s: %s: %w", inv.Function, inv.Path, where, err)
	}
	return simulate.Answer{Outcome: lang.Failure(lang.Failf(lang.ClassCancelled, "mock", "%v", err))}
}

// observe prints what happens, at virtual times.
func (m *mock) observe(at time.Duration, c engine.Change) {
	if m.quiet || c.Kind == engine.RunLeft || c.Kind == engine.Delivered || c.Kind == engine.Refused && c.Reason == engine.Applied {
		return
	}
	if m.lines++; m.lines > traceLines {
		if m.lines == traceLines+1 {
			fmt.Fprintf(m.p.errs, "%12s  and so on; more than %d lines are left out\n", "...", traceLines)
		}
		return
	}
	line := c.Kind.String()
	if c.Path != "" {
		line += " " + c.Path
	}
	if c.Text != "" && !strings.HasSuffix(c.Path, c.Text) {
		line += " " + c.Text
	}
	if c.Attempt > 1 {
		line += fmt.Sprintf(", try %d", c.Attempt)
	}
	if c.Wait > 0 {
		line += ", in " + c.Wait.Round(time.Millisecond).String()
	}
	switch {
	case c.Kind == engine.Refused:
		line += ": " + c.Reason.String()
	case c.Outcome.Err != nil:
		line += ": " + c.Outcome.Err.Error()
	case c.Outcome.Verdict == lang.Succeeded:
		line += fmt.Sprintf(": %.100s", c.Outcome.Value)
	case c.Outcome.Verdict != 0:
		line += ": " + c.Outcome.Verdict.String()
	}
	fmt.Fprintf(m.p.errs, "%12s  %s\n", at.Round(time.Millisecond), line)
}

// stuck says what a run that does not end waits for.
func (m *mock) stuck() error {
	var lines []string
	m.world.States(func(_, _ int, s *engine.State) {
		if st, ok := s.Status(m.run, 3); ok {
			lines = router.ExplainStatus(st, s.Now())
		}
	})
	return fmt.Errorf("the run waits for ever, after %s: %s; add signals: or answers that come", m.world.Now().Round(time.Millisecond), strings.Join(lines, "; "))
}
