package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

type awaitDoc struct {
	Events     map[string]awaitedDoc `doc:"events" help:"the events that make a round, by the names that they have in arrived"`
	Count      lang.Expr             `doc:"count" help:"in place of events: how many of those that the filters let through make a round; a number, or an expression over event and data, of which the first event that yields a number tells it. Then arrived is a list"`
	Join       lang.Enough           `doc:"join" help:"when the events are enough: all, any, { atLeast: 3 }, { percent: 65 } or { until: ... }; settled is all, since events do not fail" default:"all"`
	Deadline   plugin.Duration       `doc:"deadline,above0" help:"how long a round gathers, from the event that opened it" default:"24h"`
	OnDeadline string                `doc:"onDeadline" help:"what then becomes of it: fail (the run fails with join_deadline), or take (the flow begins with what there is)" default:"fail"`
	Late       string                `doc:"late" help:"what becomes of events of the key that come when the join is decided: newRound (they open the next round), buffer (they are kept, and open the next once the run has ended) or unmatched (one round a key: nothing takes them)" default:"newRound"`
}

type awaitedDoc struct {
	Filters   []filter.Filter `doc:"filters,required" help:"all of them, and those of the trigger, must let an event through"`
	Correlate lang.Expr       `doc:"correlate" help:"the key of these events, or a list of keys, where it is not the trigger's correlate"`
	Count     lang.Expr       `doc:"count" help:"how many of them, if not one: a number, or an expression over event and data, of which the first event of the round that yields a number tells it. Then they are a list in arrived"`
}

type signalDoc struct {
	Filters   []filter.Filter `doc:"filters,required" help:"all of them must let an event through"`
	Correlate lang.Expr       `doc:"correlate" help:"the key of these events, or a list of keys, where it is not the trigger's correlate"`
}

type batchDoc struct {
	Every plugin.Duration `doc:"every,required,above0" help:"how long a batch gathers, from its first event"`
	Count int             `doc:"count" help:"how many events make one, if they come sooner" default:"1000"`
	Bytes plugin.Size     `doc:"bytes" help:"how large their data may grow, if that comes sooner" default:"1MiB"`
	Key   lang.Expr       `doc:"key" help:"events of one key make batches of their own: a text, a number, true or false of event and data, or a list of up to 100 of those, each of whose batches has the event; default: all are together, in one partition"`
}

var (
	lateWords     = []string{lang.LateNewRound, lang.LateBuffer, lang.LateUnmatched}
	deadlineWords = []string{"fail", "take"}
)

// Check reports words that there are not, and numbers that cannot be.
func (a *awaitDoc) Check() (out []plugin.Problem) {
	for _, x := range []struct {
		key, word string
		known     []string
	}{{"onDeadline", a.OnDeadline, deadlineWords}, {"late", a.Late, lateWords}} {
		if !slices.Contains(x.known, x.word) {
			out = append(out, plugin.Problem{Path: []string{x.key}, What: fmt.Sprintf("unknown word %q", x.word), Cure: lang.Nearest(x.word, x.known)})
		}
	}
	switch {
	case len(a.Events) > 0 && !a.Count.IsZero():
		out = append(out, plugin.Problem{Path: []string{"count"}, What: "an await of events and of a count", Cure: "write the count below the event that there are several of"})
	case len(a.Events) == 0 && a.Count.IsZero() && a.Join.Word != "until" && a.Join.Word != "atLeast":
		out = append(out, plugin.Problem{What: "an await that says not what for", Cure: "add events: { NAME: { filters: [...] } }, or count: 10"})
	case len(a.Events) == 0 && a.Count.IsZero() && a.Join.Word == "atLeast":
		out = append(out, plugin.Problem{Path: []string{"join"}, What: "a join of at least so many of any number", Cure: fmt.Sprintf("write count: %d", a.Join.AtLeast)})
	}
	return out
}

// Schema tells what Check refuses.
func (*awaitDoc) Schema() plugin.Schema {
	until := plugin.Schema{"required": []any{"join"}, "properties": plugin.Schema{"join": plugin.Schema{"type": "object", "required": []any{"until"}}}}
	return plugin.Schema{
		"properties": plugin.Schema{
			"events":     plugin.Schema{"minProperties": 1, "propertyNames": plugin.Schema{"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,99}$"}},
			"onDeadline": plugin.Schema{"enum": []any{"fail", "take"}}, "late": plugin.Schema{"enum": []any{lang.LateNewRound, lang.LateBuffer, lang.LateUnmatched}},
		},
		"not":   plugin.Schema{"required": []any{"events", "count"}},
		"anyOf": []any{plugin.Schema{"required": []any{"events"}}, plugin.Schema{"required": []any{"count"}}, until},
	}
}

// Schema tells that there is a filter.
func (*awaitedDoc) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"filters": plugin.Schema{"minItems": 1}}}
}

// Schema tells that there is a filter.
func (*signalDoc) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"filters": plugin.Schema{"minItems": 1}}}
}

// Check reports numbers that cannot be.
func (b *batchDoc) Check() (out []plugin.Problem) {
	if b.Count < 1 || b.Count > lang.MaxRound {
		out = append(out, plugin.Problem{Path: []string{"count"}, What: fmt.Sprintf("a batch of %d events", b.Count), Cure: fmt.Sprintf("write 1 to %d", lang.MaxRound)})
	}
	if b.Bytes < 1 || b.Bytes > lang.MaxRoundBytes {
		out = append(out, plugin.Problem{Path: []string{"bytes"}, What: fmt.Sprintf("a batch of %d bytes", b.Bytes), Cure: fmt.Sprintf("write 1B to %s", plugin.Size(lang.MaxRoundBytes))})
	}
	return out
}

// Schema tells what Check refuses.
func (*batchDoc) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"count": plugin.Schema{"minimum": 1, "maximum": lang.MaxRound}}}
}

// A Meet is one of the events of which a trigger's rounds are made: which events it is, and where its key is.
type Meet struct {
	Name    string
	Filters []filter.Filter // beside those of the trigger
	Key     lang.Expr       // zero: all have one key
	Called  bool            // only a step or a destination that names the trigger brings it
}

// together is the key of events that say none.
const together = "all"

// Gathers reports whether events of the trigger meet by key.
func (t *Trigger) Gathers() bool { return len(t.Meets) > 0 }

// A Met is an event under one of its keys: which of the expected events it is there. It has more than one name where the filters of several let it through.
type Met struct {
	Key   string
	Names []string
}

// MeetOf says under which keys an event meets others that the trigger's filters let through. Where several of the expected events could be it, its keys are those
// of the first. The error says why it is none of them, or has no key.
func (t *Trigger) MeetOf(a filter.Attributes, event, data lang.Value) (met []Met, err error) {
	var first error
	for i := range t.Meets {
		m := &t.Meets[i]
		if m.Called || !filter.MatchAll(m.Filters, a) {
			continue
		}
		keys := []string{together}
		if !m.Key.IsZero() {
			if keys, err = keysOf(m.Key, event, data); err != nil {
				first = cmp.Or(first, err)
				continue
			}
		}
		if len(met) == 0 {
			met = metBy(keys, m.Name)
			continue
		}
		for k := range met {
			if slices.Contains(keys, met[k].Key) {
				met[k].Names = append(met[k].Names, m.Name)
			}
		}
	}
	switch {
	case len(met) > 0:
		return met, nil
	case first != nil:
		return nil, first
	case t.Definition.Await.Signals: // It is started by its name, whatever its filters.
		keys, err := keysOf(t.Meets[0].Key, event, data)
		return metBy(keys, ""), err
	}
	return nil, errors.New("it is none of the events that the trigger awaits")
}

func metBy(keys []string, name string) []Met {
	met := make([]Met, len(keys))
	for i, key := range keys {
		met[i] = Met{key, []string{name}}
	}
	return met
}

// gathers checks how events of a trigger meet, and says so in its definition.
func (c *checker) gathers(t *triggerDoc) (meets []Meet) {
	path := t.path
	said := 0
	for _, is := range []bool{t.Await != nil, t.Batch != nil} {
		if is {
			said++
		}
	}
	switch {
	case said == 0 && t.Correlate.IsZero() && len(t.Signals) == 0:
		return nil
	case said > 0 && len(t.Signals) > 0:
		c.find(t.pos, path+".signals", "let one trigger gather and another have the signals", "signals beside await or batch")
		return nil
	case t.Batch != nil && (said > 1 || !t.Correlate.IsZero()):
		c.find(t.pos, path+".batch", "keep one; the key of a batch is its key:", "a batch beside await or correlate")
		return nil
	case t.Concurrency != nil:
		c.find(t.pos, path+".concurrency", "leave it out; late: buffer runs the rounds of one key one after the other", "a concurrency beside rounds of events: its key would be another one")
	}
	if named := len(t.Signals) > 0 || t.Await != nil && len(t.Await.Events) > 0; named && !t.When.IsZero() {
		c.l.warnings = append(c.l.warnings, lang.Finding{
			Pos: t.When.Pos(), Path: path + ".when", What: "a when is asked about each of the events that meet here, of whatever name", Cure: "let it be true for the events that it is not meant for: \"${ event.type != 'com.example.paid' || data.amount > 13 }\"", Warning: true,
		})
	}
	switch {
	case t.Batch != nil:
		return c.batch(t, path+".batch")
	case t.Await != nil:
		return c.await(t, path+".await")
	}
	return c.signalled(t, path)
}

// early is how long signals are kept that come before their run, unless the trigger says.
const early = plugin.Duration(time.Hour)

// signalled checks a trigger whose later events are signals to its run.
func (c *checker) signalled(t *triggerDoc, path string) []Meet {
	if t.Correlate.IsZero() {
		c.find(t.pos, path+".signals", `add correlate: "${ data.orderId }"`, "nothing says to which run a signal goes")
		return nil
	}
	c.correlate(t.Correlate, path+".correlate")
	if t.Flow == nil || !c.signals[t.Flow] {
		c.find(t.Correlate.Pos(), path+".correlate", "add await:, or a signal: step that waits for later events of the key", "nothing uses the key: later events of it would be signals that no step waits for")
	}
	a := &lang.Await{Events: []lang.Awaited{{Any: true}}, Join: lang.Enough{Word: lang.JoinBegins}, Late: lang.LateNewRound, Signals: true}
	c.def.Await = a
	meets := []Meet{{Filters: t.said, Key: t.Correlate}}
	if len(t.Signals) == 0 {
		if t.Early != 0 {
			c.find(t.pos, path+".early", "leave it out", "no signals that could come early")
		}
		return meets
	}
	a.Deadline = cmp.Or(t.Early, early)
	if meets[0].Called = len(t.said) == 0; meets[0].Called && !c.l.called()[t.name] {
		c.find(t.pos, path+".filters", "write filters: for the event that begins a run, or start it by a step: subrun: "+t.name, "a trigger with signals that nothing begins")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Signals)) {
		m, at := t.Signals[name], path+".signals."+name
		if name == "" || len(name) > lang.MaxName {
			c.find(t.pos, at, "write a name", "the name of a signal has 1 to %d bytes", lang.MaxName)
		}
		if len(m.Filters) == 0 {
			c.find(t.pos, at+".filters", "write filters: [{ exact: { type: ... } }]", "filters that take every event")
		}
		if why := filter.Contradiction(m.Filters); why != "" {
			c.find(t.pos, at+".filters", "all of them must match", "filters that no event passes: %s", why)
		}
		if m.Correlate.IsZero() {
			m.Correlate = t.Correlate
		} else {
			c.correlate(m.Correlate, at+".correlate")
		}
		a.Events, meets = append(a.Events, lang.Awaited{Name: name, Any: true}), append(meets, Meet{Name: name, Filters: m.Filters, Key: m.Correlate})
	}
	return meets
}

// called are the triggers that a step or a destination names.
func (l *loader) called() map[string]bool {
	if l.named != nil {
		return l.named
	}
	l.named = make(map[string]bool)
	var walk func(s *lang.Step)
	walk = func(s *lang.Step) {
		if s == nil {
			return
		}
		if x, ok := s.Policy.(lang.Starter); ok {
			name, _ := x.Starts()
			l.named[name] = true
		}
		for _, child := range lang.Children(s.Policy) {
			walk(child)
		}
		for i := range s.Catch {
			walk(&s.Catch[i].Do)
		}
	}
	for _, flow := range l.set.Flows {
		walk(flow)
	}
	for _, t := range append(slices.Collect(maps.Values(l.triggers)), l.calls...) {
		walk(t.Flow)
		for _, d := range slices.Concat(t.destinations[0], t.destinations[1]) {
			l.named[d.Trigger] = true
		}
	}
	return l.named
}

// correlate checks the expression of a key.
func (c *checker) correlate(e lang.Expr, path string) {
	c.expr(e, scope{vars: []string{"event", "data"}}, path)
	if v, constant := e.Const(); constant {
		c.find(e.Pos(), path, `write an expression: "${ data.orderId }"; events that all belong together are a batch:`, "the same key for all events: %.80s", v.JSON())
	} else if kind := e.Kind(); kind == "object" || kind == "null" {
		c.find(e.Pos(), path, `write an expression that yields a text or a number: "${ data.orderId }"`, "a key is a text, a number, true or false, or there is a list of those, and %s always yields a %s", e.Source(), kind)
	}
}

func (c *checker) batch(t *triggerDoc, path string) []Meet {
	b := t.Batch
	if !b.Key.IsZero() {
		c.correlate(b.Key, path+".key")
	}
	count, _ := lang.ParseExpr(lang.Of(b.Count)) // A number always is one.
	c.def.Await = &lang.Await{
		Events: []lang.Awaited{{Count: count}}, Join: lang.Enough{Word: "all"}, Deadline: b.Every, OnDeadline: "take", Late: lang.LateNewRound, Bytes: int(b.Bytes),
	}
	return []Meet{{Key: b.Key}}
}

func (c *checker) await(t *triggerDoc, path string) (meets []Meet) {
	a := t.Await
	out := &lang.Await{Join: a.Join, Deadline: a.Deadline, OnDeadline: a.OnDeadline, Late: a.Late}
	c.def.Await = out
	if !t.Correlate.IsZero() {
		c.correlate(t.Correlate, t.path+".correlate")
	}
	c.condition(a.Join.Until, scope{}, path+".join.until")
	c.expr(a.Join.Until, scope{vars: []string{"arrived", "total", "event", "data"}}, path+".join.until")
	add := func(name string, m awaitedDoc, path string) {
		if m.Correlate.IsZero() {
			m.Correlate = t.Correlate
		} else {
			c.correlate(m.Correlate, path+".correlate")
		}
		if m.Correlate.IsZero() {
			c.find(t.pos, path, `add correlate: "${ data.orderId }" to the trigger`, "nothing says which events belong together")
		}
		c.count(m.Count, path+".count")
		out.Events, meets = append(out.Events, lang.Awaited{Name: name, Count: m.Count, Any: name == "" && m.Count.IsZero()}), append(meets, Meet{Name: name, Filters: m.Filters, Key: m.Correlate})
	}
	if len(a.Events) == 0 {
		add("", awaitedDoc{Count: a.Count}, path)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Events)) {
		at := path + ".events." + name
		if !isIdent(name) || !lang.IsName(name) {
			c.find(t.pos, at, "names in expressions have letters, digits and _", "%q cannot be named as arrived.%s", name, name)
		}
		if len(a.Events[name].Filters) == 0 {
			c.find(t.pos, at+".filters", "write filters: [{ exact: { type: ... } }]", "filters that take every event")
		}
		if why := filter.Contradiction(slices.Concat(t.said, a.Events[name].Filters)); why != "" {
			c.find(t.pos, at+".filters", "all of them must match, and those of the trigger as well", "filters that no event passes: %s", why)
		}
		add(name, a.Events[name], at)
	}
	c.reachable(t, out, path)
	return meets
}

// count checks how many there are to be of one kind.
func (c *checker) count(e lang.Expr, path string) {
	if e.IsZero() {
		return
	}
	c.expr(e, scope{vars: []string{"event", "data"}}, path)
	if v, constant := e.Const(); constant {
		var n int
		if v.Decode(&n) != nil || n < 1 || n > lang.MaxRound {
			c.find(e.Pos(), path, fmt.Sprintf("write 1 to %d, or an expression", lang.MaxRound), "%.80s is no count of events", v.JSON())
		}
	} else if kind := e.Kind(); kind != lang.KindAny && kind != "number" {
		c.find(e.Pos(), path, `write an expression that yields a number: "${ data.total }"`, "a count is a number, and %s yields a %s", e.Source(), kind)
	}
}

// reachable finds a join of more events than there are to be.
func (c *checker) reachable(t *triggerDoc, a *lang.Await, path string) {
	total := 0
	for _, x := range a.Events {
		n := 1
		if v, constant := x.Count.Const(); !x.One() && (!constant || v.Decode(&n) != nil) {
			return
		}
		total += n
	}
	if a.Join.Word == "atLeast" && a.Join.AtLeast > total {
		c.find(t.pos, path+".join", fmt.Sprintf("write %d at most", total), "a join of at least %d, and the events are %d", a.Join.AtLeast, total)
	}
	if total > lang.MaxRound {
		c.find(t.pos, path, fmt.Sprintf("let them be %d at most", lang.MaxRound), "a round of %d events", total)
	}
}

// taking are the filters of a trigger with those of the events that it awaits, or has as signals: an event that is none of them passes it by.
func (t *triggerDoc) taking() []filter.Filter {
	var some []filter.Filter
	add := func(filters []filter.Filter) {
		if len(filters) == 1 {
			some = append(some, filters[0])
		} else if len(filters) > 0 {
			some = append(some, filter.Filter{All: filters})
		}
	}
	switch {
	case t.Await != nil && len(t.Await.Events) > 0:
		for _, name := range slices.Sorted(maps.Keys(t.Await.Events)) {
			add(t.Await.Events[name].Filters)
		}
		if len(some) == 1 {
			return append(slices.Clip(t.Filters), some[0])
		}
		return append(slices.Clip(t.Filters), filter.Filter{Any: some})
	case len(t.Signals) > 0:
		add(t.Filters) // Without any a step begins the run, and no event.
		for _, name := range slices.Sorted(maps.Keys(t.Signals)) {
			add(t.Signals[name].Filters)
		}
		return []filter.Filter{{Any: some}}
	}
	return t.Filters
}
