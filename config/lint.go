package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// compile checks a trigger and makes its definition.
func (l *loader) compile(t *triggerDoc, takes takers) {
	def := &lang.Definition{Version: DocumentVersion, Tenant: t.Tenant, Trigger: t.name, Flow: t.Flow}
	c := &checker{l: l, trigger: t.name, path: t.path, def: def, names: make(map[string]lang.Pos), heights: make(map[*lang.Step]int), signals: make(map[*lang.Step]bool), stops: make(map[*lang.Step]bool)}
	if c.flowNames = flowNames; t.Await != nil || t.Batch != nil {
		c.flowNames = append(slices.Clip(flowNames), "arrived")
	}
	if t.Await != nil && len(t.Await.Events) > 0 {
		c.awaited = slices.Sorted(maps.Keys(t.Await.Events))
	}
	if t.Flow != nil {
		c.collect(t.Flow)
		if before := len(l.findings); c.step(t.Flow, scope{vars: c.flowNames}, t.path+".flow") && len(l.findings) == before {
			c.depth(t.Flow)
		}
	}
	l.attributes(t)
	if why := filter.Contradiction(t.said); why != "" {
		l.find(t.pos, "triggers."+t.name+".filters", "all filters must match; write alternatives under any:", "filters that no event passes: %s", why)
	}
	c.wanted(t)
	if t.Concurrency != nil {
		c.concurrency(t)
	}
	meets := c.gathers(t)
	l.chains(t, takes)
	for i, word := range []string{"onSuccess", "onFailure"} {
		for k := range t.destinations[i] {
			c.destination(&t.destinations[i][k], word, k)
		}
	}
	for _, d := range t.destinations[0] {
		def.OnSuccess = append(def.OnSuccess, d.Destination)
	}
	for _, d := range t.destinations[1] {
		def.OnFailure = append(def.OnFailure, d.Destination)
	}
	if t.Flow == nil && len(def.OnSuccess) == 0 {
		l.find(t.pos, "triggers."+t.name, "add flow: or onSuccess:", "a trigger without a flow and without a destination does nothing")
	}
	if len(l.findings) == 0 {
		trigger := &Trigger{Name: t.name, Tenant: t.Tenant, Filters: t.Filters, When: t.When, Meets: meets, Definition: def, Digest: def.Digest(), Pos: t.pos}
		if t.Concurrency != nil {
			trigger.Key = t.Concurrency.Key
		}
		if strings.HasPrefix(t.name, lang.InvokePrefix) {
			l.set.Calls[t.name] = trigger
		} else {
			l.set.Triggers[t.name] = trigger
		}
	}
}

// A checker goes through one trigger's steps.
type checker struct {
	l         *loader
	trigger   string
	path      string // of the trigger
	def       *lang.Definition
	names     map[string]lang.Pos // of all its steps
	inside    []string            // the flows that it is inside of
	signals   map[*lang.Step]bool // of those that were checked: a signal is waited for there or below
	flowNames []string            // that flows begin with
	awaited   []string            // X of arrived.X; none where that is a list
	stops     map[*lang.Step]bool // of those that were checked: they never succeed
	heights   map[*lang.Step]int  // of the bodies of flows that were checked: how many policies stand inside one another there
}

// flowNames are the names that a flow begins with.
var flowNames = []string{"event", "data", "run", "input", "steps"}

// A scope is what the expressions at a place see.
type scope struct {
	vars  []string // names that stand for values
	own   []string // those of them that the document itself declared (as:)
	steps []string // X of steps.X
	end   []string // X of end.X, where that is the end of a run
}

func (c *checker) find(pos lang.Pos, path, cure, format string, a ...any) {
	c.l.find(pos, path, cure, format, a...)
}

// collect notes the steps' names: they are unique within a trigger.
func (c *checker) collect(s *lang.Step) {
	if s.Name != "" {
		if first, double := c.names[s.Name]; double {
			c.find(s.Pos, "", "rename one", "two steps are named %q; the other stands on line %d", s.Name, first.Line)
		}
		if !isName(s.Name) {
			c.find(s.Pos, "", "names have letters, digits, - and _", "%q is not a name", s.Name)
		}
		c.names[s.Name] = s.Pos
	}
	for _, child := range lang.Children(s.Policy) {
		if child != nil {
			c.collect(child)
		}
	}
	for i := range s.Catch {
		c.collect(&s.Catch[i].Do)
	}
}

// step checks a step in the scope it stands in, and completes it for the definition. It reports whether it could follow all that the step names.
func (c *checker) step(s *lang.Step, sc scope, path string) (whole bool) {
	if c.l.over() {
		return false
	}
	if s.Name != "" {
		path += "(" + s.Name + ")"
	}
	if v, constant := s.When.Const(); constant && v.JSON() != "true" {
		c.find(s.When.Pos(), path+".when", conditionMeant(v)+", or leave the step out", "unreachable step: its condition is never true")
	}
	c.condition(s.When, sc, path+".when")
	c.expr(s.When, sc, path+".when")
	c.expr(s.Input, sc, path+".input")
	output := sc
	output.vars = append(slices.Clone(sc.vars), "output")
	c.expr(s.Output, output, path+".output")
	c.patience(s, sc, path)
	whole = true
	switch s.Use {
	case lang.UseFunction:
		c.function(s, path)
	case lang.UseFlow:
		whole = c.flow(s, path)
	case "":
	default:
		whole = c.policy(s, sc, path)
		if x, ok := s.Policy.(lang.Starter); ok {
			name, waits := x.Starts()
			switch t := c.l.triggers[name]; {
			case t == nil:
				c.find(s.Pos, path+"."+s.Use, lang.Nearest(name, slices.Sorted(maps.Keys(c.l.triggers))), "unknown trigger %q", name)
			case waits && (t.Await != nil || t.Batch != nil):
				c.find(s.Pos, path+"."+s.Use, "let it have signals: in place of await:, which its flow awaits, or write wait: false", "trigger %q gathers events: what it is given may join a run of others", name)
			}
		}
	}
	for i := range s.Catch {
		handler := &s.Catch[i]
		at := fmt.Sprintf("%s.catch.%d", path, i)
		if i > 0 && takesAll(&s.Catch[i-1]) {
			c.find(handler.Do.Pos, at, "put the catch without errors last", "unreachable step: the catch before it takes every error")
		}
		inner := scope{vars: append(slices.Clone(sc.vars), "error", "attempt"), own: slices.Clone(sc.own), steps: sc.steps}
		if v, constant := handler.When.Const(); constant && v.JSON() != "true" {
			c.find(handler.When.Pos(), at+".when", conditionMeant(v)+", or leave the catch out", "unreachable step: its condition is never true")
		}
		c.condition(handler.When, inner, at+".when")
		c.expr(handler.When, inner, at+".when")
		if handler.As != "" {
			c.declare(&inner, []string{handler.As}, nil, s, at+".as")
		}
		whole = c.step(&handler.Do, inner, at) && whole
		c.l.words(handler.Errors, s.Pos, at+".errors")
	}
	c.follow(s, path)
	return whole
}

// patience checks what a step says of its tries.
func (c *checker) patience(s *lang.Step, sc scope, path string) {
	c.expr(s.Timeout.Expr, sc, path+".timeout")
	c.expr(s.Deadline.Expr, sc, path+".deadline")
	c.expr(s.Heartbeat.Expr, sc, path+".heartbeat")
	c.pauses(s, sc, path+".retry")
	if s.Deadline.D() > 0 && s.Deadline.D() < s.Timeout.D() {
		c.find(s.Pos, path+".deadline", "write a deadline for all tries, above the timeout of one", "the deadline of %s ends the step before the timeout of %s ends its first try", s.Deadline.D(), s.Timeout.D())
	}
	if !s.Heartbeat.IsZero() && s.Use != lang.UseFunction {
		c.find(s.Pos, path+".heartbeat", "write it at the step that calls the function", "only a function has a heartbeat")
	}
	c.l.retries(s.Retry, s.Pos, path+".retry")
}

// pauses checks the expressions of a step's rules: its own, or those of its function.
func (c *checker) pauses(s *lang.Step, sc scope, path string) {
	rules := s.Retry
	if f := c.l.set.Functions[s.Target]; rules == nil && s.Use == lang.UseFunction && f != nil {
		rules = f.Retry
	}
	sc.vars = append(slices.Clone(sc.vars), "error", "attempt")
	for i := range rules {
		c.expr(rules[i].Backoff.Expr, sc, path)
		c.expr(rules[i].Max.Expr, sc, path)
	}
}

// attributes warns of filters by what is an attribute's name but for one letter: it is taken for an extension, which events hardly have.
func (l *loader) attributes(t *triggerDoc) {
	asked := make(map[string]bool)
	for i := range t.said {
		t.said[i].Names(asked)
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if near, is := lang.OneOff(name, []string{"type", "source", "subject", "datacontenttype", "dataschema"}); is {
			l.say(true, t.pos, "triggers."+t.name+".filters", fmt.Sprintf("did you mean %q?", near), "%q is an extension's name", name)
		}
	}
}

// constants refuses expressions in the rules of a destination: what they would see has ended.
func (c *checker) constants(rules lang.Retries, pos lang.Pos, path string) {
	for i := range rules {
		if !rules[i].Backoff.Expr.IsZero() || !rules[i].Max.Expr.IsZero() {
			c.find(pos, path, "write retry: with a duration, such as 30s", "the pauses of a destination are constants")
		}
	}
}

// retries looks at the words of rules.
func (l *loader) retries(rules lang.Retries, pos lang.Pos, path string) {
	for i, rule := range rules {
		at := path
		if len(rules) > 1 {
			at += "." + fmt.Sprint(i)
		}
		l.words(rule.On, pos, at+".on")
		l.words(rule.Never, pos, at+".never")
	}
}

// words looks for error classes and types that are misspelt: nobody would ever hear of it.
func (l *loader) words(words []string, pos lang.Pos, path string) {
	for _, w := range words {
		if known, near := lang.NearErrorType(w); near {
			l.find(pos, path, fmt.Sprintf("did you mean %q?", known), "%q is no class of errors, and no type of ours", w)
		}
		if meant, sure := lang.NearStatus(w); meant != "" {
			l.say(!sure, pos, path, fmt.Sprintf("write %s, each code by itself", meant), "%q is no type of errors that HTTP gives", w)
		}
	}
}

// takesAll reports a handler that leaves nothing to the next one: a step that may skip itself does not apply then.
func takesAll(c *lang.Catch) bool {
	return len(c.Errors) == 0 && c.When.IsZero() && c.Do.When.IsZero() && c.Do.Use != lang.UseFlow
}

func (c *checker) function(s *lang.Step, path string) {
	f := c.l.set.Functions[s.Target]
	if strings.Contains(s.Target, "${") {
		return // It was found.
	}
	if f == nil {
		var known []string
		for name := range c.l.set.Functions {
			if !strings.Contains(name, ".") {
				known = append(known, name)
			}
		}
		slices.Sort(known)
		c.find(s.Pos, path, lang.Nearest(s.Target, known), "unknown function %q", s.Target)
		return
	}
	c.uses(f)
	c.untold(f)
	said := s.Heartbeat.Const
	if s.Heartbeat.IsZero() {
		s.Heartbeat.Const = plugin.Duration(f.Heartbeat)
	}
	if s.Timeout.IsZero() && (s.Heartbeat.IsZero() || f.bounded) {
		s.Timeout.Const = plugin.Duration(f.Timeout)
	}
	c.l.beats(said, s.Timeout.Const, s.Pos, path)
	if s.Deadline.IsZero() {
		s.Deadline.Const = plugin.Duration(f.Deadline)
	}
	if s.Retry == nil {
		s.Retry = f.Retry
	}
}

func (c *checker) uses(f *Function) {
	if c.def.Functions == nil {
		c.def.Functions = make(map[string]lang.Function)
	}
	c.def.Functions[f.Name] = lang.Function{Contract: f.Contract, Cancel: f.Cancel}
}

// untold warns of a function's own destinations where a trigger calls it: they are told of calls by themselves, and of no other. Nothing would err, and nobody be told.
func (c *checker) untold(f *Function) {
	i := slices.IndexFunc(c.l.calls, func(t *triggerDoc) bool { return t.name == lang.InvokePrefix+f.Name })
	if i < 0 || strings.HasPrefix(c.trigger, lang.InvokePrefix) || c.l.untold[f.Name] {
		return
	}
	t := c.l.calls[i]
	for k, word := range []string{"onSuccess", "onFailure"} {
		if len(t.destinations[k]) == 0 {
			continue
		}
		c.l.untold[f.Name] = true
		c.l.say(true, t.destinations[k][0].pos, t.path+"."+word, fmt.Sprintf("write it at trigger %s, too, or leave it where calls by themselves are meant", c.trigger),
			"it is told of calls by themselves (onward invoke %s), and trigger %q calls %s: of that it hears nothing", f.Name, c.trigger, f.Name)
		return
	}
}

// flow resolves a step that names a flow. The flow's body has a scope of its own: the event, its data, the run and the step's input; so it is checked once a
// trigger, however often it is named.
func (c *checker) flow(s *lang.Step, path string) bool {
	body := c.l.set.Flows[s.Target]
	if strings.Contains(s.Target, "${") {
		return false // It was found.
	}
	if body == nil {
		c.find(s.Pos, path, lang.Nearest(s.Target, slices.Sorted(maps.Keys(c.l.set.Flows))), "unknown flow %q", s.Target)
		return false
	}
	if slices.Contains(c.inside, s.Target) {
		c.find(s.Pos, path, "a flow cannot contain itself; use a destination with trigger: instead", "the flows contain one another in a circle: %s", strings.Join(append(c.inside, s.Target), " > "))
		return false
	}
	s.Body = body
	if c.def.Flows[s.Target] != nil {
		return true
	}
	if c.def.Flows == nil {
		c.def.Flows = make(map[string]*lang.Step)
	}
	c.def.Flows[s.Target] = body
	inner := *c
	inner.inside = append(slices.Clone(c.inside), s.Target)
	inner.names = make(map[string]lang.Pos)
	inner.collect(body)
	return inner.step(body, scope{vars: c.flowNames}, "flows."+s.Target)
}

// depth finds steps that stand in more policies than the engine opens inside one another.
func (c *checker) depth(s *lang.Step) {
	if c.height(s) <= lang.MaxDepth {
		return
	}
	for deep := 0; ; deep++ {
		next := s
		for _, child := range c.below(s) {
			if next == s || c.height(child) > c.height(next) {
				next = child
			}
		}
		if s.Use != lang.UseFunction && deep >= lang.MaxDepth || next == s {
			c.find(s.Pos, "", "put steps side by side, or start another trigger", "more than %d policies and flows inside one another", lang.MaxDepth)
			return
		}
		s = next
	}
}

// below are the steps that stand in a step's own frame.
func (c *checker) below(s *lang.Step) []*lang.Step {
	if s.Use == lang.UseFlow {
		return []*lang.Step{s.Body}
	}
	return slices.DeleteFunc(lang.Children(s.Policy), func(child *lang.Step) bool { return child == nil })
}

// height is how many frames stand inside one another, from this step's on. A handler stands where the step does.
func (c *checker) height(s *lang.Step) int {
	if h, known := c.heights[s]; known {
		return h
	}
	h := 0
	if s.Use != lang.UseFunction {
		for _, child := range c.below(s) {
			h = max(h, c.height(child))
		}
		h++
	}
	for i := range s.Catch {
		h = max(h, c.height(&s.Catch[i].Do))
	}
	c.heights[s] = h
	return h
}

func (c *checker) policy(s *lang.Step, sc scope, path string) (whole bool) {
	comp, ok := c.l.registry.Get(plugin.Policy, s.Use)
	if !ok || s.Policy == nil {
		return false
	}
	if c.def.Policies == nil {
		c.def.Policies = make(map[string]int)
	}
	c.def.Policies[s.Use] = comp.Version
	path += "." + s.Use
	children, places := lang.Children(s.Policy), placesOf(s.Policy)
	beside, _ := s.Policy.(lang.BesideDeclarer)
	lang.Expressions(s.Policy, func(e lang.Expr, at lang.Place) {
		inner := sc
		if own := lang.OwnNames(s.Policy, at.Field); len(own) > 0 {
			inner = scope{vars: slices.Clone(sc.vars), own: slices.Clone(sc.own), steps: sc.steps}
			c.declare(&inner, own, ownWords, s, path+"."+at.Field)
		}
		if beside != nil && !e.IsZero() {
			inner.steps = withNames(inner.steps, children, beside.DeclareBeside(e))
		}
		if at.Condition {
			c.condition(e, inner, path)
		}
		c.expr(e, inner, path)
	})
	whole = true
	declarer, _ := s.Policy.(lang.Declarer)
	for slot, child := range children {
		if child == nil {
			continue
		}
		inner := scope{vars: slices.Clone(sc.vars), own: slices.Clone(sc.own), steps: slices.Clone(sc.steps)}
		if declarer != nil {
			d := declarer.Declare(slot)
			c.declare(&inner, d.Names, childWords, s, path)
			inner.steps = withNames(inner.steps, children, d.Siblings)
		}
		whole = c.step(child, inner, path+"."+places[slot]) && whole
	}
	return whole
}

// placesOf are the children of a policy for people: by label, where no other has it, by key, or by where they stand.
func placesOf(policy any) []string {
	keys, places := lang.ChildKeys(policy), lang.ChildPlaces(policy)
	labels, of := make([]string, len(keys)), make(map[string]int)
	if l, ok := policy.(interface{ Label(slot int) string }); ok {
		for slot := range labels {
			labels[slot] = l.Label(slot)
			of[labels[slot]]++
		}
	}
	for slot := range places {
		if of[labels[slot]] > 1 {
			labels[slot] = ""
		}
		places[slot] = cmp.Or(labels[slot], keys[slot], places[slot], fmt.Sprint(slot))
	}
	return places
}

// withNames are the steps that are seen, and siblings among them.
func withNames(steps []string, children []*lang.Step, siblings []int) []string {
	steps = slices.Clip(steps)
	for _, sibling := range siblings {
		if x := children[sibling]; x != nil && x.Name != "" {
			steps = append(steps, x.Name)
		}
	}
	return steps
}

// The words of the language that a policy may give a meaning: to its children, and to its own expressions. They stand for the innermost.
var (
	childWords = []string{"item", "index", "previous", "needed", "outcomes", "outcome", "round", "output", "error"}
	ownWords   = append([]string{"attempt", "arrived", "signal"}, childWords...)
)

// declare adds the names that a policy gives its children, or its own expressions. A name that a document chose may stand for one thing only.
func (c *checker) declare(sc *scope, names, words []string, s *lang.Step, path string) {
	for _, name := range names {
		if slices.Contains(words, name) {
			sc.vars = append(sc.vars, name)
			continue
		}
		switch {
		case !isIdent(name):
			c.find(s.Pos, path, "names in expressions have letters, digits and _", "%q cannot be named in an expression", name)
		case !lang.IsName(name):
			c.find(s.Pos, path, "choose another name", "%q is a word of the expressions' own and cannot be named in one", name)
		case slices.Contains(lang.Reserved, name):
			c.find(s.Pos, path, "choose another name", "the name %q shadows one of the language", name)
		case slices.Contains(sc.own, name):
			c.find(s.Pos, path, "choose another name", "the name %q shadows that of an enclosing step", name)
		}
		sc.vars, sc.own = append(sc.vars, name), append(sc.own, name)
	}
}

func isIdent(s string) bool {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}

// destination checks one destination, and that it can fire at all: silence is what people complain about most.
func (c *checker) destination(d *destination, word string, i int) {
	path := fmt.Sprintf("%s.%s[%d]", c.path, word, i)
	sc := scope{vars: []string{"event", "data", "run", "end", "input", "output", "error"}, end: endMembers}
	if word == "onSuccess" {
		sc.vars = sc.vars[:6]
	}
	if slices.Contains(c.flowNames, "arrived") {
		sc.vars = append(sc.vars, "arrived")
	}
	c.condition(d.When, sc, path+".when")
	c.expr(d.When, sc, path+".when")
	c.expr(d.Data, sc, path+".data")
	c.expr(d.Event, sc, path+".event")
	c.form(d, word, path)
	c.l.retries(d.Retry, d.pos, path+".retry")
	if v, constant := d.When.Const(); constant && v.JSON() != "true" {
		c.find(d.pos, path, "write a condition in ${ }, or leave the destination out", "a destination that can never fire: its condition is never true")
	}
	if word == "onFailure" && c.def.Flow == nil {
		c.find(d.pos, path, "use onSuccess, or add a flow", "a destination that can never fire: a trigger without a flow cannot fail")
	}
	if d.Function != "" {
		f := c.l.set.Functions[d.Function]
		if f == nil {
			c.function(&lang.Step{Target: d.Function, Pos: d.pos}, path)
			return
		}
		c.uses(f)
		c.untold(f)
		if d.Retry == nil {
			d.Retry = f.Retry
		}
	}
	c.constants(d.Retry, d.pos, path+".retry")
	if inline := strings.Contains(d.Function, "."); d.Retry == nil && (inline || d.Trigger != "") {
		d.Retry = destinationRetry()
	}
	if d.Trigger != "" && c.l.triggers[d.Trigger] == nil {
		c.find(d.pos, path, lang.Nearest(d.Trigger, slices.Sorted(maps.Keys(c.l.triggers))), "unknown trigger %q", d.Trigger)
	}
}

func decodeSettings(n *lang.Node, c plugin.Component, l *loader, path string) (any, bool) {
	settings := reflect.New(c.Settings)
	ok := l.prefixed(path, lang.Decode(n, settings.Interface(), l.registry))
	l.idle(n, c.Settings, path)
	if ok && l.registry.Prepare != nil {
		l.registry.Prepare(settings.Interface())
	}
	return settings.Interface(), ok
}
