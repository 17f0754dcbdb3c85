package envelope

import (
	"encoding/base64"
	"errors"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
)

// fromJSON reads an event in the JSON format into a draft, which is a part of it. Its data may lie in raw.
func fromJSON(d *draft, raw []byte, l Limits) (event.Event, error) {
	var data, coded []byte
	var twice error
	err := lang.EachMember(raw, func(key, value []byte) error {
		switch string(key) {
		case "data":
			twice = firstOf(twice, once("data", &data, value))
		case "data_base64":
			twice = firstOf(twice, once("data_base64", &coded, value))
		default:
			return d.setJSON(key, value)
		}
		return nil
	})
	if r := (*Refusal)(nil); err != nil && !errors.As(err, &r) {
		return d.spoiled(raw, invalid("the event is not a JSON object: %v", err))
	}
	if err == nil {
		err = d.complete()
	}
	if err != nil {
		return event.Event{}, err
	}
	e, err := d.filled(data, coded, l)
	if err = firstOf(twice, err); err != nil {
		return d.spoiled(raw, err)
	}
	return e, nil
}

// filled ends an event in the JSON format.
func (d *draft) filled(data, coded []byte, l Limits) (event.Event, error) {
	if isNull(coded) {
		coded = nil
	}
	if data != nil && coded != nil {
		return event.Event{}, invalid("data and data_base64 exclude each other")
	}
	e := event.Event{Context: &d.ctx}
	m, err := mediaOf(d.content)
	switch {
	case err != nil:
		return e, err
	case coded != nil:
		e.DataBase64 = true
		if e.DataEncoded, err = decodeBase64(coded); err == nil {
			err = l.take(&e, m)
		}
	case d.ctx.DataContentType == nil || m.form == asJSON:
		e.DataEncoded = data // It is JSON in UTF-8, as the event is, whatever charset its type names.
		err = l.size(&e)
	case data != nil && !isNull(data):
		text, ok := lang.TextOf(data)
		if !ok {
			return e, invalid("data is not a text, and datacontenttype is %s; send a text, data_base64, or datacontenttype application/json", m.name)
		}
		e.DataEncoded = []byte(text)
		err = l.size(&e)
	}
	return e, err
}

func isNull(value []byte) bool { return string(value) == "null" }

func once(name string, had *[]byte, value []byte) error {
	if *had != nil {
		return invalid("%s comes twice", name)
	}
	*had = value
	return nil
}

func decodeBase64(value []byte) ([]byte, error) {
	text, ok := lang.TextOf(value)
	out, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return nil, invalid("data_base64 is not base64")
	}
	return out, nil
}

// known reports the attributes of the specification, which JSON has by exactly these names.
func known(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype":
		return true
	}
	return false
}

// nameOf is a member's name. Those that nearly every event has cost nothing.
func nameOf(key []byte) (string, error) {
	for _, name := range frequent {
		if string(key) == name {
			return name, nil
		}
	}
	name, err := attributeName(string(key))
	if err == nil && name != string(key) && (known(name) || name == "data") {
		err = invalid("%q is not an attribute's name; write %s", key, name)
	}
	return name, err
}

var frequent = [...]string{"id", "source", "type", "specversion", "time", "subject", "datacontenttype", "traceparent", "causationid", "correlationid", "partitionkey"}

// setJSON takes a member. Null is an attribute that is not there.
func (d *draft) setJSON(key, value []byte) error {
	name, err := nameOf(key)
	if err != nil {
		return err
	}
	text, isText := lang.TextOf(value)
	switch {
	case isText:
		return d.set(name, text)
	case name == "specversion" || name == "id" || name == "source" || name == "type":
		return invalid("%s is not a text: %s", name, brief(string(value)))
	case isNull(value):
		return nil
	case known(name):
		return invalid("%s is not a text: %s", name, brief(string(value)))
	case string(value) == "true" || string(value) == "false":
		return firstOf(d.count(len(key)+len(value)), d.extend(name, value[0] == 't'))
	case value[0] == '{' || value[0] == '[':
		return invalid("extension %s: %s is neither text, number nor boolean; send it in the data", name, brief(string(value)))
	}
	n, err := strconv.ParseInt(string(value), 10, 32)
	if err != nil {
		return invalid("extension %s: %s is not a 32-bit integer; send it as a text", name, brief(string(value)))
	}
	return firstOf(d.count(len(key)+len(value)), d.extend(name, int32(n)))
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
