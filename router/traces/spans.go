package traces

import (
	"cmp"
	"container/list"
	"strings"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// The bounds of what is remembered of runs that are open: how many spans each has so far, and which branches a join has.
const (
	runsMost  = 10_000
	linksMost = 128 // of a span, OpenTelemetry's own default
)

// joins are the policies that join what they open side by side.
var joins = map[string]bool{"map": true, "forkjoin": true, "dag": true}

// A maker makes spans of entries. What it remembers of a run only tells how many spans there are, and links.
type maker struct {
	most int // spans of a run
	runs map[journal.RunID]*list.Element
	used *list.List // of *tally, the latest used first
}

// A tally is what is remembered of a run.
type tally struct {
	run      journal.RunID
	kept     int
	left     int                  // spans for which there was no room
	branches map[spanID]*branches // by what they are of
}

// branches are what a step, or a try of it, has had of others, so far.
type branches struct {
	ids   []spanID
	more  int
	until int64 // the latest end
	side  bool  // two were open at a time
}

func newMaker(most int) maker {
	return maker{most: most, runs: make(map[journal.RunID]*list.Element), used: list.New()}
}

// of returns what is remembered of a run, or begins it.
func (m *maker) of(run journal.RunID) *tally {
	if at := m.runs[run]; at != nil {
		m.used.MoveToFront(at)
		return at.Value.(*tally)
	}
	if m.used.Len() >= runsMost {
		oldest := m.used.Back()
		delete(m.runs, oldest.Value.(*tally).run)
		m.used.Remove(oldest)
	}
	x := &tally{run: run, branches: make(map[spanID]*branches)}
	m.runs[run] = m.used.PushFront(x)
	return x
}

func (m *maker) forget(run journal.RunID) {
	if at := m.runs[run]; at != nil {
		m.used.Remove(at)
		delete(m.runs, run)
	}
}

// spans is how many spans an entry makes.
func (e *entry) spans() (n int) {
	if e.of != nil {
		n++
	}
	if e.try != nil {
		n++
	}
	if e.step != nil && (e.step.ends || e.step.try != 0) {
		n++
	}
	return n
}

// room reports whether there is room for the spans of an entry of a run. A quarter of it is for what failed, and for the steps that others are part of.
func (m *maker) room(x *tally, e *entry) bool {
	n, most := e.spans(), m.most
	if e.failure == (failure{}) && (e.step == nil || e.step.policy == "") {
		most -= m.most / 4
	}
	if x.kept+n > most {
		x.left += n
		return false
	}
	x.kept += n
	return true
}

// make appends the spans of an entry.
func (m *maker) make(out []*tracepb.Span, e *entry) []*tracepb.Span {
	if e.of != nil {
		x := m.of(e.run)
		m.forget(e.run)
		return append(out, e.runSpan(x.left))
	}
	if e.step == nil { // After the run's end, or nowhere in its flow.
		return append(out, e.trySpan())
	}
	x := m.of(e.run)
	kept := m.room(x, e)
	if kept && e.try != nil {
		out = append(out, e.trySpan())
	}
	if !e.step.ends && e.step.try == 0 {
		return out
	}
	id := stepSpan(e.run, e.step.key)
	if e.step.try != 0 {
		id = trySpan(e.run, e.step.try)
	}
	if kept {
		out = append(out, e.stepSpan(id, x.branches[id]))
		if e.step.try == 0 && e.step.inside {
			x.branch(e.above(), id, e.step.opened, e.ended)
		}
	}
	delete(x.branches, id)
	return out
}

// above is the span of what a step is part of.
func (e *entry) above() spanID {
	switch {
	case !e.step.inside:
		return runSpan(e.run, e.redrive)
	case e.step.in != 0:
		return trySpan(e.run, e.step.in)
	}
	return stepSpan(e.run, e.step.above)
}

// branch notes that a step is part of another.
func (x *tally) branch(of, id spanID, opened, ended int64) {
	b := x.branches[of]
	if b == nil {
		b = new(branches)
		x.branches[of] = b
	}
	b.side = b.side || len(b.ids) > 0 && opened < b.until
	if b.until = max(b.until, ended); len(b.ids) < linksMost {
		b.ids = append(b.ids, id)
	} else {
		b.more++
	}
}

// span is what all spans of an entry have alike.
func (e *entry) span(name string, id spanID, kind tracepb.Span_SpanKind, began int64) *tracepb.Span {
	trace := traceOf(e.run, e.traced)
	s := &tracepb.Span{
		TraceId: trace[:], SpanId: id[:], Name: valid(name), Kind: kind, Flags: flagsSampled | flagsKnown,
		StartTimeUnixNano: uint64(max(began, 0)), EndTimeUnixNano: uint64(max(e.ended, began, 0)),
		Attributes: []*commonpb.KeyValue{text("onward.run.id", e.run.String()), text("onward.outcome", e.outcome)},
	}
	if e.traced != nil {
		s.TraceState = e.traced.State
	}
	if e.failure != (failure{}) {
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: valid(e.failure.kind + ": " + e.failure.message)}
		s.Attributes = append(s.Attributes, text("error.type", e.failure.kind), text("onward.error.class", e.failure.class))
		s.Events = append(s.Events, &tracepb.Span_Event{
			TimeUnixNano: s.EndTimeUnixNano, Name: "exception",
			Attributes: []*commonpb.KeyValue{text("exception.type", e.failure.kind), text("exception.message", e.failure.message)},
		})
	}
	return s
}

// The flags of a span: sampled; and that it is known whether its parent is of another process, and that it is.
const (
	flagsSampled = 1
	flagsKnown   = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	flagsRemote  = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

func (e *entry) runSpan(left int) *tracepb.Span {
	id := runSpan(e.run, e.redrive)
	s := e.span(e.of.trigger, id, tracepb.Span_SPAN_KIND_CONSUMER, e.began)
	if e.traced != nil {
		parent := e.traced.Span()
		s.ParentSpanId = parent[:]
		s.Flags |= flagsRemote
	}
	s.Attributes = append(s.Attributes, text("onward.trigger", e.of.trigger), text("onward.tenant", e.of.tenant), number("onward.run.calls", int64(e.of.calls)))
	s.Attributes = append(s.Attributes, message("run", "process", e.of.trigger, "")...)
	var event map[string]any
	if e.of.event.Decode(&event) == nil {
		for _, name := range []string{"id", "source", "type", "subject", "specversion"} {
			key := "cloudevents.event_" + name
			if name == "specversion" {
				key = "cloudevents.event_spec_version"
			}
			if v, ok := event[name].(string); ok && v != "" {
				s.Attributes = append(s.Attributes, text(key, v))
			}
		}
	}
	if left > 0 {
		s.Attributes = append(s.Attributes, number("onward.spans.left_out", int64(left)))
	}
	if e.redrive > 0 {
		before := runSpan(e.run, e.redrive-1)
		s.Attributes = append(s.Attributes, number("onward.run.redrive", int64(e.redrive)))
		s.Links = []*tracepb.Span_Link{{TraceId: s.TraceId, SpanId: before[:], Flags: flagsSampled | flagsKnown}}
	}
	return s
}

// stepSpan is the span of a step, or of a try of a policy.
func (e *entry) stepSpan(id spanID, b *branches) *tracepb.Span {
	name, began, parent, attempts := pattern(e.step.path), e.step.opened, e.above(), "onward.step.attempts"
	if e.step.try != 0 {
		name, began, parent, attempts = "try "+name, e.began, stepSpan(e.run, e.step.key), "onward.attempt"
	}
	s := e.span(name, id, tracepb.Span_SPAN_KIND_INTERNAL, began)
	s.ParentSpanId = parent[:]
	if e.try != nil {
		s.Events = nil // Its try has said it.
	}
	s.Attributes = append(s.Attributes, text("onward.step.path", e.step.path), number(attempts, int64(e.step.attempts)))
	if e.step.policy != "" {
		s.Attributes = append(s.Attributes, text("onward.step.policy", e.step.policy))
	}
	if b != nil && (joins[e.step.policy] || b.side) {
		s.Attributes = append(s.Attributes, number("onward.step.branches", int64(len(b.ids)+b.more)))
		s.DroppedLinksCount = uint32(b.more)
		for _, id := range b.ids {
			s.Links = append(s.Links, &tracepb.Span_Link{TraceId: s.TraceId, SpanId: id[:], Flags: flagsSampled | flagsKnown})
		}
	}
	return s
}

func (e *entry) trySpan() *tracepb.Span {
	t := e.try
	name, kind := "call "+t.function, tracepb.Span_SPAN_KIND_CLIENT
	switch {
	case t.purpose == engine.Notify && t.function != "":
		name, kind = "deliver "+t.function, tracepb.Span_SPAN_KIND_PRODUCER
	case t.function == "":
		name, kind = "start "+t.trigger, tracepb.Span_SPAN_KIND_PRODUCER
	}
	s := e.span(name, trySpan(e.run, t.n), kind, e.began)
	parent := runSpan(e.run, e.redrive)
	if e.step != nil {
		parent = stepSpan(e.run, e.step.key)
	}
	s.ParentSpanId = parent[:]
	s.Attributes = append(s.Attributes, text("onward.step.path", t.path), text("onward.invocation", t.id), number("onward.attempt", int64(t.attempt)))
	if t.function != "" {
		s.Attributes = append(s.Attributes, text("faas.invoked_name", t.function))
	}
	if kind == tracepb.Span_SPAN_KIND_PRODUCER {
		does, _, _ := strings.Cut(name, " ")
		s.Attributes = append(s.Attributes, message(does, "send", cmp.Or(t.function, t.trigger), t.id)...)
	}
	if t.timed {
		s.Attributes = append(s.Attributes, seconds("onward.queue", t.times.Queue.D().Seconds()), seconds("onward.function", t.times.Function.D().Seconds()), seconds("onward.router", t.times.Router.D().Seconds()))
	}
	if t.sent > 0 {
		s.Events = append([]*tracepb.Span_Event{{TimeUnixNano: uint64(t.sent), Name: "sent"}}, s.Events...)
	}
	return s
}

// message are the attributes of what passes an event on, or works on one, by OpenTelemetry's conventions for messages.
func message(does, kind, where, id string) []*commonpb.KeyValue {
	all := []*commonpb.KeyValue{
		text("messaging.system", "onward"), text("messaging.operation.name", does), text("messaging.operation.type", kind), text("messaging.destination.name", where),
	}
	if id != "" {
		all = append(all, text("messaging.message.id", id))
	}
	return all
}

// pattern is a path with * in place of its indexes: names of spans are to be few.
func pattern(path string) string {
	if !strings.Contains(path, "[") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		b.WriteByte(path[i])
		if path[i] != '[' {
			continue
		}
		j := i + 1
		for j < len(path) && '0' <= path[j] && path[j] <= '9' {
			j++
		}
		if j > i+1 && j < len(path) && path[j] == ']' {
			b.WriteByte('*')
			i = j - 1
		}
	}
	return b.String()
}

// valid is a text that protocol buffers take: they refuse a whole request for one that is not UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "?") }

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: valid(key), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(value)}}}
}

func number(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

func seconds(key string, value float64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: value}}}
}
