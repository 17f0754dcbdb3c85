package kafka

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers/mapping"
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
	return s.mapped(topic, partition, r, limits)
}

// contentOf is the type that a plain record says it has; empty where it says none.
func contentOf(r *kafka.Record) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Key, "content-type") && len(h.Value) > 0 {
			return string(h.Value)
		}
	}
	return ""
}

// headersOf are a record's headers as expressions see them: of one that comes several times, a list of all.
func headersOf(r *kafka.Record) lang.Value {
	headers := make(map[string]any, len(r.Headers))
	for _, h := range r.Headers {
		name, value := strings.ToValidUTF8(h.Key, "?"), mapping.Text(h.Value)
		switch had := headers[name].(type) {
		case nil:
			headers[name] = value
		case []lang.Value:
			headers[name] = append(had, value)
		case lang.Value:
			headers[name] = []lang.Value{had, value}
		}
	}
	return lang.Of(headers)
}

// mapped makes events of a plain record.
func (s *Source) mapped(topic string, partition int, r *kafka.Record, limits envelope.Limits) ([]event.Event, []envelope.Bad, error) {
	value, err := mapping.Value(r.Value, "") // Whatever it says that it is: who says as: has records that are not described.
	if err != nil {
		return nil, nil, err
	}
	events, bad, err := s.s.As.Read(&mapping.Message{
		Body: r.Value, ContentType: contentOf(r), Source: "/kafka/" + topic, ID: fmt.Sprintf("%s-%d-%d", topic, partition, r.Offset), Time: r.Time,
		Vars: lang.Vars{
			{Name: "key", Value: mapping.Text(r.Key)}, {Name: "value", Value: value}, {Name: "body", Value: value}, {Name: "headers", Value: headersOf(r)},
			{Name: "topic", Value: lang.Text(topic)}, {Name: "partition", Value: lang.Of(partition)}, {Name: "offset", Value: lang.Of(r.Offset)},
			{Name: "time", Value: lang.Text(types.FormatTime(r.Time))},
		},
	}, limits)
	for i := range events {
		envelope.Trace(&events[i], envelope.TracedRecord(r.Headers))
	}
	return events, bad, err
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
