package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
)

// decode makes events of a record: one, or those of a batch. An error says why it is none.
func (s *Source) decode(topic string, partition int, r *kafka.Record) ([]event.Event, error) {
	content, isEvent := "", false
	for _, h := range r.Headers {
		switch strings.ToLower(h.Key) {
		case "content-type":
			content = string(h.Value)
		case "ce_specversion":
			isEvent = true
		}
	}
	var events []event.Event
	var err error
	switch {
	case strings.HasPrefix(content, event.ApplicationCloudEventsBatchJSON):
		events, err = batch(r.Value)
	case strings.HasPrefix(content, event.ApplicationCloudEventsJSON):
		events = make([]event.Event, 1)
		err = events[0].UnmarshalJSON(r.Value)
	case isEvent:
		events = make([]event.Event, 1)
		events[0], err = binary(content, r)
	case s.s.As != nil:
		events = make([]event.Event, 1)
		events[0], err = s.mapped(topic, partition, r)
	default:
		return nil, errors.New("no CloudEvent: it has neither ce_specversion nor a content-type of CloudEvents; say as: to make events of plain records")
	}
	if err != nil {
		return nil, err
	}
	for i := range events {
		if err := validate(&events[i], s.s.MaxEvent); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func batch(value []byte) ([]event.Event, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(value, &raw); err != nil {
		return nil, fmt.Errorf("the batch is not a JSON list: %w", err)
	}
	events := make([]event.Event, len(raw))
	for i := range raw {
		if err := events[i].UnmarshalJSON(raw[i]); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
	}
	return events, nil
}

// binary reads an event whose attributes are headers (Kafka binding 1.0, section 3.2).
func binary(content string, r *kafka.Record) (event.Event, error) {
	e := event.New()
	for _, h := range r.Headers {
		name, ok := strings.CutPrefix(strings.ToLower(h.Key), "ce_")
		if !ok || name == "" {
			continue
		}
		v := string(h.Value)
		if !utf8.ValidString(v) {
			return e, fmt.Errorf("header %q is not UTF-8", h.Key)
		}
		switch name {
		case "specversion":
			if v != event.CloudEventsVersionV1 {
				return e, fmt.Errorf("specversion %q is not supported; send 1.0", v)
			}
		case "id":
			e.SetID(v)
		case "source":
			e.SetSource(v)
		case "type":
			e.SetType(v)
		case "subject":
			e.SetSubject(v)
		case "dataschema":
			e.SetDataSchema(v)
		case "time":
			at, err := types.ParseTime(v)
			if err != nil {
				return e, fmt.Errorf("time %q is none by RFC 3339", v)
			}
			e.SetTime(at)
		default:
			e.SetExtension(name, v)
		}
	}
	if content != "" {
		e.SetDataContentType(content)
	}
	if len(r.Value) > 0 {
		e.DataEncoded = r.Value
	}
	return e, nil
}

// mapped makes an event of a plain record.
func (s *Source) mapped(topic string, partition int, r *kafka.Record) (event.Event, error) {
	e := event.New()
	value, err := lang.ParseValue(r.Value)
	isJSON := err == nil
	if !isJSON && utf8.Valid(r.Value) {
		value = lang.Text(string(r.Value))
	}
	headers := make(map[string]string, len(r.Headers))
	for _, h := range r.Headers {
		headers[h.Key] = strings.ToValidUTF8(string(h.Value), "?")
	}
	vars := lang.Vars{
		{Name: "key", Value: lang.Text(strings.ToValidUTF8(string(r.Key), "?"))}, {Name: "value", Value: value}, {Name: "headers", Value: lang.Of(headers)},
		{Name: "topic", Value: lang.Text(topic)}, {Name: "partition", Value: lang.Of(partition)}, {Name: "offset", Value: lang.Of(r.Offset)},
		{Name: "time", Value: lang.Text(types.FormatTime(r.Time))},
	}
	for _, a := range []struct {
		name, def string
		expr      lang.Expr
		set       func(string)
	}{
		{"type", "", s.s.As.Type, e.SetType}, {"source", "/kafka/" + topic, s.s.As.Source, e.SetSource},
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
	e.SetDataContentType("application/octet-stream")
	if isJSON {
		e.SetDataContentType(event.ApplicationJSON)
	} else if utf8.Valid(r.Value) {
		e.SetDataContentType(event.TextPlain)
	}
	e.DataEncoded = r.Value
	return e, nil
}

// maxCompletion is what a function's completion may have (DESIGN 9).
const maxCompletion = 17 << 20

func validate(e *event.Event, limit int) error {
	if e.SpecVersion() != event.CloudEventsVersionV1 {
		return fmt.Errorf("specversion %q is not supported; send 1.0", e.SpecVersion())
	}
	if err := e.Validate(); err != nil {
		return errors.New(strings.TrimSpace(err.Error()))
	}
	if isInner(e) {
		limit = max(limit, maxCompletion)
	}
	if len(e.Data()) > limit {
		return fmt.Errorf("%d bytes of data, and the limit is %d; pass large data by reference (dataref)", len(e.Data()), limit)
	}
	if content := e.DataMediaType(); len(e.Data()) > 0 && (content == "" || strings.HasSuffix(content, "json")) && !json.Valid(e.Data()) {
		return errors.New("data is not JSON, and datacontenttype says that it is")
	}
	return nil
}

// isInner reports what is always taken: signals, and functions' completions, which name an invocation (RUN~path.N) as their cause. Completions of others'
// functions are events like any.
func isInner(e *event.Event) bool {
	kind := e.Type()
	if !strings.HasPrefix(kind, "dev.onward.function.") {
		return kind == "dev.onward.signal"
	}
	cause, err := e.Context.GetExtension("causationid") // Extensions would copy all of them.
	text, _ := cause.(string)
	return err == nil && strings.Contains(text, "~")
}
