package envelope

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The bounds of what an event says about itself.
const (
	MaxAttribute  = 1 << 10  // bytes of one attribute's text
	MaxAttributes = 32 << 10 // bytes of all, names included
	maxName       = 256
)

// A draft is an event that is being read.
type draft struct {
	ctx     event.EventContextV1
	version bool
	dataURI types.URI
	at      types.Timestamp
	subject string
	content string
	size    int
}

// set takes an attribute, whose name is lower-case letters and digits.
func (d *draft) set(name, text string) (err error) {
	if err := checkText(name, text); err != nil {
		return err
	}
	if err := d.count(len(name) + len(text)); err != nil {
		return err
	}
	twice := false
	switch name {
	case "specversion":
		if text != event.CloudEventsVersionV1 {
			return invalid("specversion %q is not supported; send 1.0", brief(text))
		}
		twice, d.version = d.version, true
	case "id":
		twice, d.ctx.ID = d.ctx.ID != "", text
		err = filled(name, text)
	case "type":
		twice, d.ctx.Type = d.ctx.Type != "", text
		err = filled(name, text)
	case "source":
		twice = d.ctx.Source.URL != url.URL{}
		if err = filled(name, text); err == nil {
			d.ctx.Source.URL, err = verbatim(name, text)
		}
	case "subject":
		twice, d.subject, d.ctx.Subject = d.ctx.Subject != nil, text, &d.subject
		err = filled(name, text)
	case "dataschema":
		twice, d.ctx.DataSchema = d.ctx.DataSchema != nil, &d.dataURI
		if d.dataURI.URL, err = verbatim(name, text); err == nil && d.dataURI.Scheme == "" {
			err = invalid("dataschema %q is not an absolute URI; send one that begins with https: or the like", brief(text))
		}
	case "datacontenttype":
		twice, d.content, d.ctx.DataContentType = d.ctx.DataContentType != nil, text, &d.content
		if err = filled(name, text); err == nil {
			if _, bad := mediaOf(text); bad != nil {
				err = invalid("datacontenttype %q is not a media type", brief(text))
			}
		}
	case "time":
		twice, d.ctx.Time = d.ctx.Time != nil, &d.at
		d.at.Time, err = ParseTime(text)
	default:
		return d.extend(name, text)
	}
	if twice {
		return invalid("%s comes twice", name)
	}
	return err
}

// clear makes a draft as good as new. What was read with it is gone.
func (d *draft) clear() {
	extensions := d.ctx.Extensions
	clear(extensions)
	*d = draft{}
	d.ctx.Extensions = extensions
}

func (d *draft) count(bytes int) error {
	if d.size += bytes; d.size > MaxAttributes {
		return tooMany
	}
	return nil
}

var tooMany = &Refusal{TooLarge, fmt.Sprintf("the attributes have more than %d bytes in all; send less of them, in the data", MaxAttributes)}

// extend takes an extension: a string, or what JSON has beside strings, a bool or an int32.
func (d *draft) extend(name string, value any) error {
	if _, had := d.ctx.Extensions[name]; had {
		return invalid("%s comes twice", name)
	}
	if d.ctx.Extensions == nil {
		d.ctx.Extensions = make(map[string]any, 4)
	}
	d.ctx.Extensions[name] = value
	return nil
}

// complete reports the first attribute that every event has and this one lacks.
func (d *draft) complete() error {
	for _, a := range [...]struct {
		name string
		had  bool
	}{{"specversion", d.version}, {"id", d.ctx.ID != ""}, {"source", d.ctx.Source.URL != url.URL{}}, {"type", d.ctx.Type != ""}} {
		if !a.had {
			return invalid("%s is missing", a.name)
		}
	}
	return nil
}

// attributeName makes lower case of a name: headers have no case, and all SDKs lower what comes in JSON.
func attributeName(s string) (string, error) {
	lower := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case c >= 'A' && c <= 'Z':
			lower = false
		default:
			return "", invalid("%q is not an attribute's name: it has lower-case letters and digits", strings.ToLower(brief(s)))
		}
	}
	if s == "" || len(s) > maxName {
		return "", invalid("%q is not an attribute's name: it has 1 to %d lower-case letters and digits", brief(s), maxName)
	}
	if lower {
		return s, nil
	}
	return strings.ToLower(s), nil
}

// filled refuses a text that says nothing: the specification wants these not empty, and what is empty is not silently absent.
func filled(name, text string) error {
	if strings.TrimSpace(text) != "" {
		return nil
	}
	if name == "id" || name == "source" || name == "type" {
		return invalid("%s is missing: it is empty", name)
	}
	return invalid("%s is empty; leave it out, or fill it", name)
}

// checkText reports what an attribute's text may not hold (CloudEvents 1.0, type String), and a text that is too long.
func checkText(name, text string) error {
	if len(text) > MaxAttribute {
		return invalid("%s has %d bytes, and an attribute has at most %d; send it in the data", name, len(text), MaxAttribute)
	}
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x7f {
			return checkRunes(name, text)
		}
	}
	return nil
}

func checkRunes(name, text string) error {
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			return invalid("%s is not UTF-8", name)
		case r < ' ' || r >= 0x7f && r <= 0x9f:
			return invalid("%s has a control character (%U); send such text in the data", name, r)
		case r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe:
			return invalid("%s has %U, which is no character", name, r)
		}
	}
	return nil
}

// verbatim checks a URI and keeps it as it was sent.
func verbatim(name, text string) (url.URL, error) {
	if text == "" {
		return url.URL{}, invalid("%s is empty; leave it out, or fill it", name)
	}
	if !isPath(text) {
		if _, err := url.Parse(text); err != nil {
			return url.URL{}, invalid("%s %q is not a URI", name, brief(text))
		}
	}
	return opaque(text), nil
}

// Source makes a URI whose text is exactly this: parsed and put together again, some would be others.
func Source(text string) types.URIRef { return types.URIRef{URL: opaque(text)} }

func opaque(text string) url.URL {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':' && i+1 < len(text):
			return url.URL{Scheme: text[:i], Opaque: text[i+1:]}
		default:
			return url.URL{Opaque: text}
		}
	}
	return url.URL{Opaque: text}
}

// isPath reports a plain path: most sources are one, and it is a URI.
func isPath(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~':
		default:
			return false
		}
	}
	return s[0] == '/'
}

// ParseTime reads RFC 3339, which lets T and Z be small.
func ParseTime(text string) (time.Time, error) {
	var at time.Time
	upper := text
	if strings.ContainsAny(text, "tz") {
		upper = strings.ToUpper(text)
	}
	if err := at.UnmarshalText([]byte(upper)); err != nil || !isStrict(upper) {
		return at, invalid("time %q is not a time; send RFC 3339, such as 2006-01-02T15:04:05Z", brief(text))
	}
	return at, nil
}

// isStrict refuses what package time takes beyond RFC 3339: an hour of one digit, a comma, an offset that no place has.
func isStrict(s string) bool {
	const seconds = len("2006-01-02T15:04:05")
	if len(s) <= seconds || s[13] != ':' || strings.Contains(s, ",") {
		return false
	}
	zone := s[len(s)-1:]
	if at := len(s) - len("+01:00"); zone != "Z" && at >= seconds {
		zone = s[at:]
	}
	return zone == "Z" || len(zone) == len("+01:00") && zone[1:3] < "24" && zone[4:] < "60"
}
