package config

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

type functionDoc struct {
	Concurrency int             `doc:"concurrency" help:"how many invocations may be in flight at a time; some contracts have a default of their own. 0 stops the function: each call fails at once, as zero_concurrency, and is kept as a dead letter" default:"64"`
	Timeout     plugin.Duration `doc:"timeout" help:"bound on one try, from sending; a step may say its own. 30s unless said, and 0s is none; none for what is answered later by an event, such as functions behind a topic" default:"30s"`
	Heartbeat   plugin.Duration `doc:"heartbeat,above0" help:"how long a try may go without a heartbeat (an event dev.onward.function.heartbeat whose causationid is the call's id) or an outcome, from sending; without a timeout that is said, it is the only bound. A step may say its own"`
	Deadline    plugin.Duration `doc:"deadline,above0" help:"bound on a step that calls it, all told; a step may say its own"`
	Retry       lang.Retries    `doc:"retry,sole" help:"when and how often to try again: a rule, or a list of rules with counters apart; a step may say its own"`
	MaxAge      plugin.Duration `doc:"maxAge" help:"how long an invocation or event may go without an answer, from its first sending; then it is given up" default:"6h"`
	Resends     *int            `doc:"resends" help:"how often it may be sent again, under the same id, when there is no answer; 0 is never; default: as often as maxAge allows"`
	Rate        Rate            `doc:"rate" help:"how often each router may send to it: 10/s, 90/m or 5000/h; what is sent again counts too, what is too much waits. Default: as often as concurrency allows"`
	Burst       *int            `doc:"burst" help:"how many may be sent at once after a pause, where a rate is said; default: as many as a second of the rate, at least one"`
	Cancel      bool            `doc:"cancel" help:"tell it when a call of it that was sent and has no outcome is dropped - its run was cancelled, nobody waits for it any more, its time was over - by an event dev.onward.function.cancel whose causationid is the call's id"`
	Batch       *Batch          `doc:"batch" help:"send several invocations in one request, a batch of CloudEvents, which is answered by a batch: a number, or a mapping. concurrency counts requests then, rate counts invocations"`
	Contract    string          `doc:"contract" help:"how to ask, how the answer reads, and what proves nothing" default:"http"`
	OnSuccess   lang.Value      `doc:"onSuccess" help:"where the event of its success goes when it is invoked by itself (onward invoke), outside of any flow: a destination or a list"`
	OnFailure   lang.Value      `doc:"onFailure" help:"where the event of its failure goes when it is invoked by itself: a destination or a list"`
}

// into takes over what the document says. A function that is answered later, by an event, has no timeout unless it says one: what waits in its topic is
// no failure.
func (f *functionDoc) into(out *Function, n *lang.Node) {
	out.Concurrency, out.Contract, out.Cancel, out.Retry, out.Deadline = f.Concurrency, f.Contract, f.Cancel, f.Retry, f.Deadline.D()
	out.Batch = f.Batch
	out.Timeout, out.MaxAge, out.Resends = f.Timeout.D(), f.MaxAge.D(), f.Resends
	if out.Rate = f.Rate; f.Burst != nil {
		out.Burst = *f.Burst
	} else if !f.Rate.IsZero() {
		out.Burst = f.Rate.OneSecond()
	}
	out.Heartbeat, out.bounded = f.Heartbeat.D(), n.Get("timeout") != nil
	later, ok := out.Settings.(plugin.Later)
	answersLater := ok && later.AnswersLater()
	if by, ok := out.Settings.(plugin.Contracted); ok && slices.Contains(by.Contracts(), f.Contract) {
		terms := by.Terms(f.Contract)
		if answersLater = answersLater || terms.Later; n.Get("concurrency") == nil {
			out.Concurrency = terms.Concurrency
		}
	}
	if !out.bounded && (answersLater || out.Heartbeat > 0) {
		out.Timeout = 0
	}
}

// contract finds a way of asking that a function's sink does not know.
func (l *loader) contract(f *Function, n *lang.Node, path string) {
	known := []string{"http"}
	by, ok := f.Settings.(plugin.Contracted)
	if ok {
		known = by.Contracts()
	}
	at := n.Get("contract")
	switch {
	case at == nil || slices.Contains(known, f.Contract):
	case ok:
		l.find(at.Pos, path+".contract", lang.Nearest(f.Contract, known), "unknown contract %q", f.Contract)
	default:
		l.find(at.Pos, path+".contract", "leave it out", "contract %q says how functions answer over HTTP, and this one is behind %s", f.Contract, f.Sink.Name)
	}
}

// functionKeys stand beside the sink of a function; deliveryKeys also beside that of a destination.
var (
	functionKeys = append([]string{"batch", "onSuccess", "onFailure", "heartbeat", "deadline", "contract", "cancel", "retry"}, deliveryKeys...)
	deliveryKeys = []string{"concurrency", "timeout", "maxAge", "resends", "rate", "burst"}
)

// Check reports what no function can have.
func (f *functionDoc) Check() []plugin.Problem {
	var out []plugin.Problem
	if f.Concurrency < 0 {
		out = append(out, plugin.Problem{Path: []string{"concurrency"}, What: fmt.Sprintf("a concurrency of %d", f.Concurrency), Cure: "write 1 or more, or 0 to stop the function"})
	}
	if f.Resends != nil && *f.Resends < 0 {
		out = append(out, plugin.Problem{Path: []string{"resends"}, What: fmt.Sprintf("%d is not a number of times", *f.Resends), Cure: "write 0 or more, or leave it out"})
	}
	switch {
	case f.Burst == nil:
	case *f.Burst < 1:
		out = append(out, plugin.Problem{Path: []string{"burst"}, What: fmt.Sprintf("a burst of %d lets nothing through", *f.Burst), Cure: "write 1 or more, or leave it out"})
	case f.Rate.IsZero():
		out = append(out, plugin.Problem{Path: []string{"burst"}, What: "a burst without a rate bounds nothing", Cure: "add rate: 10/s, or bound what is at work by concurrency:"})
	}
	return out
}

func (l *loader) function(name string, pos lang.Pos, n *lang.Node) {
	path := "functions." + name
	if had := l.set.Functions[name]; had != nil {
		l.find(pos, path, "rename one", "two functions are named %q; the other stands at %s:%d", name, had.Pos.File, had.Pos.Line)
		return
	}
	f := &Function{Name: name, Pos: pos}
	l.set.Functions[name] = f // Also when it is wrong: what refers to it is not to be reported on top.
	var doc functionDoc
	c, settings, rest, ok := l.component(plugin.Sink, path, n, functionKeys)
	ok = l.prefixed(path, lang.Decode(rest, &doc, l.registry)) && ok
	if c.Name == "" && ok {
		l.find(pos, path, "add http: { url: ... } or another sink", "function %q says not where it is", name)
		return
	}
	f.Sink, f.Settings = c, settings
	doc.into(f, rest)
	l.contract(f, rest, path)
	l.batch(f, rest, path)
	if no, is := settings.(plugin.Uncancelled); is && f.Cancel {
		l.find(rest.Get("cancel").Pos, path+".cancel", "leave it out", "function %q cannot be told of a cancel: %s", name, no.NotCancelled())
	}
	l.patience(&doc, rest, path, pos)
	if ok {
		l.build(c, path, name, settings, pos)
	}
	l.alone(f, rest)
}

// alone is a function that is invoked by itself: a flow of one step, with the destinations that the function says.
func (l *loader) alone(f *Function, n *lang.Node) {
	t := &triggerDoc{Tenant: DefaultTenant, name: lang.InvokePrefix + f.Name, path: "functions." + f.Name, pos: f.Pos, Flow: new(lang.Step)}
	call := &lang.Node{Kind: lang.MapNode, Pos: f.Pos, Keys: []lang.Key{{Name: "function", Pos: f.Pos}}, Items: []*lang.Node{{Kind: lang.ScalarNode, Pos: f.Pos, Value: lang.Text(f.Name)}}}
	l.prefixed(t.path, lang.Decode(call, t.Flow, l.registry))
	t.destinations[0] = l.destinations(t, "onSuccess", n.Get("onSuccess"))
	t.destinations[1] = l.destinations(t, "onFailure", n.Get("onFailure"))
	l.calls = append(l.calls, t)
}

// patience checks what a function says of its tries.
func (l *loader) patience(doc *functionDoc, n *lang.Node, path string, pos lang.Pos) {
	l.retries(doc.Retry, pos, path+".retry")
	if n.Get("timeout") != nil {
		l.beats(doc.Heartbeat, doc.Timeout, pos, path)
	}
	if both := n.Get("timeout") != nil && n.Get("deadline") != nil; both && doc.Deadline > 0 && doc.Deadline < doc.Timeout {
		l.find(pos, path+".deadline", "write a deadline for all tries, above the timeout of one", "the deadline of %s ends a step before the timeout of %s ends its first try", doc.Deadline.D(), doc.Timeout.D())
	}
}

// beats finds heartbeats that come too late to matter.
func (l *loader) beats(heartbeat, timeout plugin.Duration, pos lang.Pos, path string) {
	if timeout > 0 && heartbeat >= timeout {
		l.find(pos, path+".heartbeat", "write a timeout for the whole try, above the heartbeat", "the timeout of %s ends a try before %s have gone without a heartbeat", timeout.D(), heartbeat.D())
	}
}
