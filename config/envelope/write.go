package envelope

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// WriteHeaders writes an event's attributes as headers (HTTP binding 1.0, section 3.1.3).
func WriteHeaders(h http.Header, e *event.Event) {
	Each(e, func(name, text string) {
		if name == "datacontenttype" {
			h["Content-Type"] = []string{text}
			return
		}
		h["Ce-"+strings.ToUpper(name[:1])+name[1:]] = []string{EncodeHeader(text)}
	})
}

// EncodeHeader percent-encodes what may not stand in a header: all but printable ASCII, and space, quote and percent (section 3.1.3.2).
func EncodeHeader(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
