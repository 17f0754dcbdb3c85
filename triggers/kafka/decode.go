package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
)

// maxBatch bounds the events of one record, decompressed.
const maxBatch = 64 << 20

// decode makes events of a record: one, or those of a batch, of which some may be bad. An error says why it is none.
func (s *Source) decode(topic string, partition int, r *kafka.Record) ([]event.Event, []envelope.Bad, error) {
	if r.Bad != nil {
		return nil, nil, r.Bad
	}
	head, err := envelope.FromRecord(r.Headers)
	if err != nil {
		return nil, nil, err
	}
	limits := envelope.Limits{Event: int(s.s.MaxEvent), Batch: maxBatch}
	switch {
	case head != nil:
		return head.Read(r.Value, limits)
	case s.s.As == nil:
		return nil, nil, errors.New("no CloudEvent: it has neither ce_specversion nor a content-type of CloudEvents; say as: to make events of plain records")
	}
	e, err := s.mapped(topic, partition, r)
	if err == nil {
		err = envelope.Fill(&e, contentOf(r), r.Value, limits)
		envelope.Trace(&e, envelope.TracedRecord(r.Headers))
	}
	return []event.Event{e}, nil, err
}

// contentOf is the type that a plain record says it has; where it says none, what its bytes can be taken for: JSON, a text, or bytes. Who says as: has
// records that are not described.
func contentOf(r *kafka.Record) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Key, "content-type") && len(h.Value) > 0 {
			return string(h.Value)
		}
	}
	switch {
	case r.Value == nil: // A tombstone: null.
		return ""
	case lang.CheckJSON(r.Value) == nil:
		return event.ApplicationJSON
	case utf8.Valid(r.Value):
		return event.TextPlain
	}
	return "application/octet-stream"
}

// textOf is what an expression sees of bytes: a text where they are UTF-8, else base64; null where there are none.
func textOf(b []byte) lang.Value {
	switch {
	case b == nil:
		return lang.Null
	case utf8.Valid(b):
		return lang.Text(string(b))
	}
	return lang.Text(base64.StdEncoding.EncodeToString(b))
}

// mapped makes an event of a plain record, without its data.
func (s *Source) mapped(topic string, partition int, r *kafka.Record) (event.Event, error) {
	e := event.New()
	value, err := lang.ParseValue(r.Value)
	if err != nil {
		value = textOf(r.Value)
	}
	headers := make(map[string]lang.Value, len(r.Headers))
	for _, h := range r.Headers {
		headers[strings.ToValidUTF8(h.Key, "?")] = textOf(h.Value)
	}
	vars := lang.Vars{
		{Name: "key", Value: textOf(r.Key)}, {Name: "value", Value: value}, {Name: "headers", Value: lang.Of(headers)},
		{Name: "topic", Value: lang.Text(topic)}, {Name: "partition", Value: lang.Of(partition)}, {Name: "offset", Value: lang.Of(r.Offset)},
		{Name: "time", Value: lang.Text(types.FormatTime(r.Time))},
	}
	for _, a := range []struct {
		name, def string
		expr      lang.Expr
		set       func(string)
	}{
		{"type", "", s.s.As.Type, e.SetType}, {"source", "/kafka/" + topic, s.s.As.Source, func(text string) { e.Context.(*event.EventContextV1).Source = envelope.Source(text) }},
		{"id", fmt.Sprintf("%s-%d-%d", topic, partition, r.Offset), s.s.As.ID, e.SetID},
	} {
		if a.expr.IsZero() {
			a.set(a.def)
			continue
		}
		v, err := a.expr.Eval(vars, lang.NewCache(1<<20))
		if err != nil {
			return e, fmt.Errorf("as.%s: %w", a.name, err)
		}
		var text string
		if v.IsNull() || v.Decode(&text) != nil {
			return e, fmt.Errorf("as.%s yields %.80s and not a text", a.name, v)
		}
		a.set(text)
	}
	e.SetTime(r.Time)
	return e, nil
}

// isInner reports what is always taken: signals, and functions' completions, which name an invocation (RUN~path.N) as their cause. Completions of others'
// functions are events like any.
func isInner(e *event.Event) bool {
	kind := e.Type()
	if !envelope.IsCompletion(kind) {
		return kind == "dev.onward.signal"
	}
	cause, err := e.Context.GetExtension("causationid") // Extensions would copy all of them.
	text, _ := cause.(string)
	return err == nil && strings.Contains(text, "~")
}
