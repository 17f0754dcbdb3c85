package envelope_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/onward-router/onward/config/envelope/envelopetest"
)

// sdkReads is what the SDK makes of a case.
func sdkReads(c *envelopetest.Case) (e *event.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	e, err = cehttp.NewEventFromHTTPRequest(&http.Request{Header: c.Header(), Body: io.NopCloser(strings.NewReader(c.Body))})
	if err == nil {
		err = e.Validate()
	}
	return e, err
}

// wrong is where SDK 2.16.2 is not right, by the names of cases: why its decoder is not called on foreign bytes.
var wrong = []struct{ why, cases string }{
	{"it keeps the last of two, or the first", `(twice|two content types|an escaped twin|structured/both|data null and data_base64)`},
	{"it has no bound of texts", `(of 1,025 bytes|1,025 bytes|of 900 KB|long|of 33 KB|257 letters|a long name)$`},
	{"it takes control characters, halves of surrogates and what is no character", `(control character|a line's end|half a surrogate|halves in the wrong order|not UTF-8|DEL|C1|U\+FFFF|U\+FDD0|NUL|to a surrogate|C1 by ISO-8859-1|percent to no UTF-8)`},
	{"it does not look into data", `(no JSON|/two|NaN|blanks|513 deep|deep JSON|of no text|text not UTF-8|JSON not UTF-8|emitters/js/bytes, no type/binary|JSON text/binary)`},
	{"it decodes no header", `(/percent|/quoted|ISO-8859-1 with percent|/ISO-8859-1|(id|source) encoded|source, percent in percent|accents/binary)`},
	{"it decodes no charset", `(in ISO-8859-1|in Latin-1|in UTF-16|in half UTF-16|in KOI8-R|in windows-1252|with half a pair|with a mark|a mark of byte order)`},
	{"it decodes no encoding", `(gzip|/br|/deflate|/zstd|a bomb)`},
	{"it writes URIs anew", `(source /x#|source HTTP://h|source /ü|source /a b|source blank|dataschema as sent)$`},
	{"it takes what is empty, or no URI, for absent", `(subject empty|dataschema empty|dataschema, no URI|time empty|name empty)$`},
	{"it makes numbers of what is none", `extension, (1\.0|1e3|1E400|a fraction)$`},
	{"it reads base64 by the bytes around it, and wants a type", `(base64|bytes, no type/structured)`},
	{"it takes nothing declared for JSON", `(untyped|no type/binary)`},
	{"it compares media types by case, and does not know +json of all", `(JSON by suffix|JSON declared in capitals|a type of one word|type null)$`},
	{"it reads times as Go does", `time (in small letters|with a comma|with an offset of 24 hours)|time, one digit`},
	{"it takes other versions", `specversion 0\.3$`},
	{"it takes names of others for its own", `(extension data|name DATA)$`},
	{"null is a text", `structured/text null$`},
}

// TestSDK holds the table against the SDK: they agree, but for the list above, all of which is still so.
func TestSDK(t *testing.T) {
	t.Parallel()
	patterns := make([]*regexp.Regexp, len(wrong))
	for i := range wrong {
		patterns[i] = regexp.MustCompile(wrong[i].cases)
	}
	used, agreed := make([]int, len(wrong)), 0
	for _, c := range envelopetest.Cases() {
		if !c.At(envelopetest.HTTP) || c.Mode == envelopetest.Batched {
			continue
		}
		ours, err := read(&c, envelopetest.HTTP)
		theirs, errSDK := sdkReads(&c)
		if err != nil && errSDK != nil || err == nil && errSDK == nil && envelopetest.Describe(&ours[0]) == envelopetest.Describe(theirs) {
			agreed++
			continue
		}
		known := false
		for i, p := range patterns {
			if p.MatchString(c.Name) {
				used[i]++
				known = true
			}
		}
		if !known {
			t.Errorf("%s: we say %v, and the SDK %v, %v", c.Name, err, theirs, errSDK)
		}
	}
	for i := range used {
		if used[i] == 0 {
			t.Errorf("the SDK is right now: %s", wrong[i].why)
		}
	}
	if agreed < 150 {
		t.Errorf("they agree in %d cases", agreed)
	}
}

// TestGoEmitter: what the Go SDK sends is read as it was given to it, in all three modes.
func TestGoEmitter(t *testing.T) {
	t.Parallel()
	made := func(id string, set func(*event.Event)) event.Event {
		e := event.New()
		e.SetID(id)
		e.SetSource("https://shop.example/orders?a=b#c")
		e.SetType("com.example.order")
		set(&e)
		return e
	}
	events := []event.Event{
		made("none", func(*event.Event) {}), made("json", func(e *event.Event) { _ = e.SetData("application/json", map[string]any{"a": 1.5, "b": "ü"}) }), made("text", func(e *event.Event) { _ = e.SetData("text/plain", "größe") }),
		made("bytes", func(e *event.Event) { _ = e.SetData("image/png", []byte{0, 0xff}) }), made("xml", func(e *event.Event) { _ = e.SetData("application/xml", []byte("<a/>")) }),
		made("all", func(e *event.Event) {
			e.SetSubject("s")
			e.SetDataSchema("https://x.example/s")
			e.SetExtension("n", 42)
			e.SetExtension("flag", true)
			e.SetExtension("text", "abc")
			_ = e.SetData("application/json", "a text")
		}),
	}
	batch, err := cehttp.NewHTTPRequestFromEvents(t.Context(), "http://x/", events)
	if err != nil {
		t.Fatal(err)
	}
	requests := []*http.Request{batch}
	for _, e := range events {
		for _, ctx := range []context.Context{binding.WithForceStructured(t.Context()), t.Context()} {
			r, err := cehttp.NewHTTPRequestFromEvent(ctx, "http://x/", e)
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, r)
		}
	}
	n := 0
	for i, r := range requests {
		var body []byte
		if r.Body != nil { // Without data there is none.
			if body, err = io.ReadAll(r.Body); err != nil {
				t.Fatal(err)
			}
		}
		c := envelopetest.Case{Body: string(body)}
		for name, values := range r.Header {
			c.Headers = append(c.Headers, envelopetest.Header{Name: name, Value: values[0]})
		}
		got, err := read(&c, envelopetest.HTTP)
		want := events
		if i > 0 {
			want = events[(i-1)/2 : (i-1)/2+1]
		}
		if err != nil || len(got) != len(want) {
			t.Errorf("request %d: %d events, %v", i, len(got), err)
			continue
		}
		for k := range want {
			n++
			if g, w := envelopetest.Describe(&got[k]), envelopetest.Describe(&want[k]); g != w {
				t.Errorf("request %d: %s; want %s", i, g, w)
			}
		}
	}
	if n != 3*len(events) {
		t.Errorf("%d events", n)
	}
}
