package envelope

import (
	"encoding/binary"
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The media types of events themselves.
const (
	Structured = "application/cloudevents+json"
	Batched    = "application/cloudevents-batch+json"
)

// A form is what data of a media type is.
type form uint8

const (
	asBytes form = iota
	asText
	asJSON
)

// A media is a media type that was declared, taken apart.
type media struct {
	name    string // lower case, without parameters; empty when nothing was declared
	charset string // lower case
	form    form
}

// texts are types that hold characters, beside text/*, *+xml, *+yaml, and whatever names a charset.
var texts = map[string]bool{
	"application/xml": true, "application/yaml": true, "application/x-yaml": true, "application/toml": true, "application/javascript": true, "application/ecmascript": true,
	"application/x-www-form-urlencoded": true, "application/graphql": true, "application/sql": true, "application/x-ndjson": true, "application/ndjson": true, "application/jsonl": true,
	"application/xml-dtd": true, "application/x-sh": true,
}

// mediaOf parses a media type. An empty text is none, whose data are bytes.
func mediaOf(declared string) (media, error) {
	switch declared {
	case "":
		return media{}, nil
	case "application/json":
		return media{name: declared, form: asJSON}, nil
	case Structured, Batched:
		return media{name: declared, form: asJSON}, nil
	case "application/json; charset=utf-8":
		return media{name: "application/json", charset: "utf-8", form: asJSON}, nil
	case "text/plain; charset=utf-8": // What net/http says of an answer whose handler says nothing.
		return media{name: "text/plain", charset: "utf-8", form: asText}, nil
	}
	name, parameters, err := mime.ParseMediaType(declared)
	main, sub, whole := strings.Cut(name, "/")
	if err != nil || !whole || main == "" || sub == "" {
		return media{}, invalid("content type %q is not a media type", brief(declared))
	}
	m := media{name: name, charset: strings.ToLower(parameters["charset"])}
	switch {
	case sub == "json" || strings.HasSuffix(sub, "+json"):
		m.form = asJSON
	case main == "text" || texts[name] || m.charset != "" || strings.HasSuffix(sub, "+xml") || strings.HasSuffix(sub, "+yaml"):
		m.form = asText
	}
	return m, nil
}

// decode makes UTF-8 of text in a charset. It keeps b where it can.
func (m media) decode(b []byte) ([]byte, error) {
	if m.isPlain() {
		if !utf8.Valid(b) {
			return nil, invalid("data is not UTF-8, and its content type %s says text; name its charset (utf-8, iso-8859-1, utf-16), or a type of bytes such as application/octet-stream", m.name)
		}
		return b, nil
	}
	switch m.charset {
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "l1":
		return latin1(b), nil
	case "utf-16", "utf16", "utf-16le", "utf-16be":
		return fromUTF16(b, m.charset)
	}
	return nil, unsupported("charset %q is not read; send utf-8, iso-8859-1 or utf-16", brief(m.charset))
}

// isPlain reports a charset in which the bytes stand for what they are.
func (m media) isPlain() bool {
	switch m.charset {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unicode-1-1-utf-8":
		return true
	}
	return false
}

// latin1 reads each byte as the character of its number.
func latin1(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/4)
	for _, c := range b {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}

// fromUTF16 follows RFC 2781: a mark says the order of bytes, and without one it is big endian.
func fromUTF16(b []byte, charset string) ([]byte, error) {
	var order binary.ByteOrder = binary.BigEndian
	switch {
	case len(b)%2 != 0:
		return nil, invalid("data has an odd number of bytes, and its charset is %s", charset)
	case charset == "utf-16le":
		order = binary.LittleEndian
	case charset == "utf-16be":
	case len(b) > 1 && b[0] == 0xff && b[1] == 0xfe:
		order, b = binary.LittleEndian, b[2:]
	case len(b) > 1 && b[0] == 0xfe && b[1] == 0xff:
		b = b[2:]
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i += 2 {
		r := rune(order.Uint16(b[i:]))
		if utf16.IsSurrogate(r) {
			var low rune
			if i += 2; i < len(b) {
				low = rune(order.Uint16(b[i:]))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return nil, invalid("data has half a surrogate pair, which is no character, and its charset is %s", charset)
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

const byteOrderMark = "\xef\xbb\xbf"

// unmarked takes off the mark that some senders put before JSON (RFC 8259, section 8.1, lets a reader ignore it).
func unmarked(b []byte) []byte {
	if len(b) >= len(byteOrderMark) && string(b[:len(byteOrderMark)]) == byteOrderMark {
		return b[len(byteOrderMark):]
	}
	return b
}

// brief is the begin of a text from outside, for a message.
func brief(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
