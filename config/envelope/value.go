package envelope

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/lang"
)

// Value is an event's data as expressions see it: JSON as it is, a text as a string, bytes in base64; null where there is none. What data is its declared
// type says; without one, bytes where DataBase64 says so, else JSON. JSON and texts are in UTF-8, whatever charset the type names: readers here have
// decoded it.
func Value(e *event.Event) (lang.Value, error) {
	b := e.DataEncoded
	if b == nil {
		return lang.Null, nil
	}
	m, err := mediaOf(e.DataContentType())
	if err != nil {
		return lang.Null, err
	}
	switch {
	case m.form == asJSON || m.name == "" && !e.DataBase64:
		if len(b) == 0 {
			return lang.Null, nil
		}
		v, err := lang.ParseValue(b)
		if err != nil {
			return lang.Null, invalid("data is not JSON, and its content type says that it is: %v", err)
		}
		return v, nil
	case m.form == asText && utf8.Valid(b):
		return lang.Text(string(b)), nil
	case m.form == asText:
		return lang.Null, invalid("data is not UTF-8, and its content type %s says text; send UTF-8, or a type of bytes such as application/octet-stream", m.name)
	}
	return lang.Text(base64.StdEncoding.EncodeToString(b)), nil
}

// Each calls f for each context attribute that an event has, by name, in its canonical text: specversion, id, source and type, then the other known ones,
// then the extensions by name.
func Each(e *event.Event, f func(name, text string)) {
	if e.Context == nil {
		return
	}
	ctx, ok := e.Context.(*event.EventContextV1)
	if !ok {
		ctx = e.Context.AsV1() // A copy.
	}
	each(e.SpecVersion(), ctx, types.FormatTime, f)
}

func each(version string, ctx *event.EventContextV1, timeText func(time.Time) string, f func(name, text string)) {
	f("specversion", version)
	f("id", ctx.ID)
	f("source", uriText(&ctx.Source.URL))
	f("type", ctx.Type)
	for _, optional := range [...]struct {
		name string
		text *string
	}{{"subject", ctx.Subject}, {"datacontenttype", ctx.DataContentType}} {
		if optional.text != nil && *optional.text != "" {
			f(optional.name, *optional.text)
		}
	}
	if ctx.DataSchema != nil && ctx.DataSchema.URL != (url.URL{}) {
		f("dataschema", uriText(&ctx.DataSchema.URL))
	}
	if ctx.Time != nil && !ctx.Time.IsZero() {
		f("time", timeText(ctx.Time.Time))
	}
	var room [16]string
	names := room[:0]
	for name := range ctx.Extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if text, ok := Text(ctx.Extensions[name]); ok {
			f(name, text)
		}
	}
}

// SourceOf returns an event's source as its Source does, which puts the text of it together each time.
func SourceOf(e *event.Event) string {
	if ctx, ok := e.Context.(*event.EventContextV1); ok {
		return uriText(&ctx.Source.URL)
	}
	return e.Source()
}

// uriText is a URI's text. Most are what Source makes of a path, or the SDK does, and need not be put together.
func uriText(u *url.URL) string {
	switch {
	case *u == url.URL{Opaque: u.Opaque}:
		return u.Opaque
	case *u == url.URL{Path: u.Path} && isPath(u.Path):
		return u.Path
	}
	return u.String()
}

// extensionsOf are an event's own extensions, to be read: the SDK gives a copy of them each time.
func extensionsOf(e *event.Event) map[string]any {
	if ctx, ok := e.Context.(*event.EventContextV1); ok {
		return ctx.Extensions
	}
	return e.Extensions()
}

// Text returns the canonical text of an extension's value; false where it is of no type that an attribute has.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int32:
		return strconv.Itoa(int(v)), true
	case types.Timestamp:
		return types.FormatTime(v.Time), true
	}
	s, err := types.Format(v)
	return s, err == nil
}

// Extension returns an extension's canonical text; empty when the event has none of that name.
func Extension(e *event.Event, name string) string {
	if v, ok := extensionsOf(e)[name]; ok {
		text, _ := Text(v)
		return text
	}
	return ""
}

// Attributes writes an event's context attributes, extensions included, as one object of texts with sorted keys.
func Attributes(e *event.Event) lang.Value {
	type attribute struct{ name, text string }
	var room [16]attribute
	list, size := room[:0], 2
	Each(e, func(name, text string) {
		list = append(list, attribute{name, text})
		size += len(name) + len(text) + 6
	})
	slices.SortFunc(list, func(a, b attribute) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	var most [1 << 10]byte
	b := most[:0]
	if size > len(most) {
		b = make([]byte, 0, size)
	}
	b = append(b, '{')
	for i, a := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(lang.AppendString(b, a.name), ':')
		b = lang.AppendString(b, a.text)
	}
	return lang.Trusted(string(append(b, '}')))
}

// Check reports what is wrong with an event that was not read here, such as one that a third party's source has made: by the same rules.
func Check(e *event.Event) error {
	ctx, ok := e.Context.(*event.EventContextV1)
	if !ok || ctx == nil {
		return invalid("specversion is missing, or not 1.0")
	}
	if err := Spoiled(e); err != nil {
		return err
	}
	if len(e.FieldErrors) > 0 { // What the SDK's setters have refused.
		name := slices.Min(slices.Collect(maps.Keys(e.FieldErrors)))
		if name == "id" && ctx.ID == "" || name == "type" && ctx.Type == "" {
			return filled(name, "")
		}
		return invalid("%s: %v", name, e.FieldErrors[name])
	}
	var err error
	size := 0
	each(ctx.GetSpecVersion(), ctx, func(time.Time) string { return time.RFC3339Nano }, func(name, text string) { // Every time has a text, and none a longer one.
		if err != nil {
			return
		}
		if size += len(name) + len(text); size > MaxAttributes {
			err = tooMany
			return
		}
		own := known(name)
		if !own {
			_, err = attributeName(name)
		}
		if err == nil {
			err = checkText(name, text)
		}
		if err != nil || !own {
			return
		}
		if err = filled(name, text); err == nil && (name == "source" || name == "dataschema") {
			_, err = verbatim(name, text)
		}
	})
	if err == nil && ctx.DataContentType != nil {
		_, err = mediaOf(*ctx.DataContentType)
	}
	return err
}

// Fill gives an event that was made of something else its data, of a declared type or none, and holds it to the rules.
func Fill(e *event.Event, contentType string, body []byte, l Limits) error {
	ctx, ok := e.Context.(*event.EventContextV1)
	if !ok {
		return invalid("specversion is not 1.0")
	}
	m, err := mediaOf(contentType)
	if err != nil {
		return err
	}
	if contentType != "" {
		ctx.DataContentType = &contentType
	}
	if err := Check(e); err != nil || body == nil {
		return err
	}
	e.DataEncoded, e.DataBase64 = body, m.form == asBytes
	return l.take(e, m)
}
