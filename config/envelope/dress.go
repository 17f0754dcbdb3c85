package envelope

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
)

// Dress gives an event of ours, whose data is JSON, other attributes: those of an object, by name. Null leaves an attribute out that an event may lack. With a
// datacontenttype the data becomes what Value read it from: a text its characters, bytes in base64 the bytes. The names in keep stay as they are. With a
// specversion they are a whole event, and nothing else of the event's own stays. The error says
// what makes no event; then the event is not to be used.
func Dress(e *event.Event, attributes lang.Value, keep ...string) error {
	var said map[string]json.RawMessage
	if err := attributes.Decode(&said); err != nil {
		return invalid("the attributes are not names with texts")
	}
	ctx, ok := e.Context.(*event.EventContextV1)
	if !ok {
		return invalid("specversion is not 1.0")
	}
	type attribute struct {
		name, text string
		value      any // nil: it is left out
	}
	set := make(map[string]attribute)
	_, whole := said["specversion"]
	Each(e, func(name, text string) {
		if whole && !slices.Contains(keep, name) {
			return
		}
		value, own := ctx.Extensions[name]
		if !own {
			value = text
		}
		set[name] = attribute{name, text, value}
	})
	for name, raw := range said {
		if slices.Contains(keep, name) {
			continue
		}
		if lower, err := attributeName(name); err != nil || lower != name {
			return invalid("%q is not an attribute's name: it has lower-case letters and digits", brief(name))
		}
		value, text, err := attributeValue(name, raw)
		if err != nil {
			return err
		}
		set[name] = attribute{name, text, value}
	}
	var d draft
	content := ""
	for _, name := range slices.Sorted(maps.Keys(set)) {
		a := set[name]
		if a.value == nil {
			continue
		}
		if name == "datacontenttype" {
			content = a.text
		}
		_, plain := a.value.(string)
		err := d.set(name, a.text)
		if err == nil && !plain && !known(name) {
			d.ctx.Extensions[name] = a.value
		}
		if err != nil {
			return err
		}
	}
	if err := d.complete(); err != nil {
		return err
	}
	data, err := undo(e.DataEncoded, content)
	if err != nil {
		return err
	}
	ctx = new(event.EventContextV1)
	*ctx = d.ctx
	e.Context, e.DataEncoded = ctx, data
	return nil
}

// attributeValue is a JSON value as an attribute, and its canonical text.
func attributeValue(name string, raw json.RawMessage) (value any, text string, err error) {
	switch raw[0] {
	case 'n':
		return nil, "", nil
	case '"':
		err := json.Unmarshal(raw, &text)
		return text, text, err
	case 't', 'f':
		return raw[0] == 't', string(raw), nil
	case '{', '[':
		return nil, "", invalid("%s is %.80s; an attribute is a text, a whole number, true or false", name, raw)
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < math.MinInt32 || n > math.MaxInt32 {
		return string(raw), string(raw), nil // Not of the type Integer: it travels as its text.
	}
	return int32(n), string(raw), nil
}

// undo is Value backwards: JSON as the bytes of a media type.
func undo(data []byte, content string) ([]byte, error) {
	m, err := mediaOf(content)
	if err != nil || m.form == asJSON || m.name == "" {
		return data, err
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, invalid("the data is not a text, and datacontenttype %s says that it is; make it one, or leave out datacontenttype", m.name)
	}
	if m.form == asText {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("the data is not base64 (%v), and datacontenttype %s says bytes; encode it, or leave out datacontenttype", err, m.name)
	}
	return b, nil
}
