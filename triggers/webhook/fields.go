package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The SDK reads events; what is here names the field that is wrong before it does, and undoes the encoding of header values, which it does not.

// required are the attributes that every event has.
var required = []string{"specversion", "id", "source", "type"}

// checkAttribute reports what is wrong with the text of an attribute that the specification knows.
func checkAttribute(name, text string) error {
	var err error
	switch name {
	case "specversion":
		if text != event.CloudEventsVersionV1 {
			return fmt.Errorf("specversion %q is not supported; send 1.0", text)
		}
	case "id", "type":
		if text == "" {
			return fmt.Errorf("%s is missing", name)
		}
	case "source":
		if text == "" {
			return errors.New("source is missing")
		}
		if _, err = url.Parse(text); err != nil {
			return fmt.Errorf("source %q is not a URI reference", text)
		}
	case "dataschema":
		if _, err = url.Parse(text); err != nil {
			return fmt.Errorf("dataschema %q is not a URI", text)
		}
	case "datacontenttype":
		if _, _, err = mime.ParseMediaType(text); err != nil {
			return fmt.Errorf("datacontenttype %q is not a media type", text)
		}
	case "time":
		if _, err = types.ParseTime(text); err != nil {
			return fmt.Errorf("time %q is not a time; send RFC 3339, such as 2006-01-02T15:04:05Z", text)
		}
	}
	return nil
}

// isAttributeName takes upper case too: headers have no case, and all SDKs lower it.
func isAttributeName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') })
}

// checkJSON reports the first field of an event in JSON that is wrong.
func checkJSON(raw []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("the event is not a JSON object: %w", err)
	}
	for _, name := range required {
		if _, ok := fields[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for _, name := range append(slices.Clone(required), slices.Sorted(maps.Keys(fields))...) {
		if err := checkField(name, fields[name]); err != nil {
			return err
		}
	}
	if _, both := fields["data_base64"]; both && fields["data"] != nil {
		return errors.New("data and data_base64 exclude each other")
	}
	return nil
}

func checkField(name string, raw json.RawMessage) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	text, isText := v.(string)
	switch name {
	case "data":
		return nil
	case "data_base64":
		if _, err := base64.StdEncoding.DecodeString(text); err != nil || !isText {
			return errors.New("data_base64 is not base64")
		}
		return nil
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema":
		if v == nil && !slices.Contains(required, name) {
			return nil
		}
		if !isText {
			return fmt.Errorf("%s is not a text: %s", name, brief(raw))
		}
		return checkAttribute(name, text)
	}
	if !isAttributeName(name) {
		return fmt.Errorf("%q is not an extension's name: it has lower-case letters and digits", name)
	}
	switch v.(type) {
	case nil, string, bool:
		return nil
	case float64:
		if _, err := strconv.ParseInt(string(raw), 10, 32); err != nil {
			return fmt.Errorf("extension %s: %s is not a 32-bit integer; send it as a text", name, brief(raw))
		}
		return nil
	}
	return fmt.Errorf("extension %s: %s is neither text, number nor boolean; send it in the data", name, brief(raw))
}

// brief is the begin of a text from outside, for a message.
func brief(raw []byte) string {
	if len(raw) > 40 {
		return strings.ToValidUTF8(string(raw[:40]), "") + "..."
	}
	return string(raw)
}

const headerPrefix = "Ce-"

// decodeHeaders returns the headers with the attributes' values decoded, or the first that is wrong.
func decodeHeaders(h http.Header) (http.Header, error) {
	out := http.Header{}
	if content := h.Values("Content-Type"); len(content) > 0 {
		out["Content-Type"] = content[:1]
	}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, ok := strings.CutPrefix(key, headerPrefix)
		if !ok {
			continue
		}
		switch attr := strings.ToLower(name); {
		case !isAttributeName(name):
			return nil, fmt.Errorf("header %q: %q is not an attribute's name: it has letters and digits", key, attr)
		case attr == "datacontenttype":
			return nil, errors.New("header Ce-Datacontenttype: send Content-Type instead")
		case attr == "data":
			return nil, errors.New("header Ce-Data: the data is the body")
		case len(h[key]) > 1:
			return nil, fmt.Errorf("header %s was sent %d times", key, len(h[key]))
		}
		v := decodeHeader(h[key][0])
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("header %s does not decode to UTF-8", key)
		}
		out[key] = []string{v}
	}
	for _, name := range append(slices.Clone(required), "time", "dataschema") {
		v, ok := out[headerPrefix+strings.ToUpper(name[:1])+name[1:]]
		if !ok && !slices.Contains(required, name) {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%s is missing; send it as header ce-%s", name, name)
		}
		if err := checkAttribute(name, v[0]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// decodeHeader takes off quotes and undoes one round of percent-encoding (HTTP binding 1.0, section 3.1.3.2). A percent sign that begins no code
// stands for itself: there are senders that do not encode.
func decodeHeader(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(s)-1; i++ {
			if s[i] == '\\' && i+1 < len(s)-1 {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
