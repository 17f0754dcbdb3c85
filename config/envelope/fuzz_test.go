package envelope_test

import (
	"encoding/json"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/envelope/envelopetest"
	"github.com/onward-router/onward/config/lang"
)

// holds is what is so of every event that was let in, whatever it was made of.
func holds(t *testing.T, e *event.Event) {
	t.Helper()
	if envelope.Spoiled(e) != nil {
		mended := envelope.Mended(e)
		if e = &mended; !envelope.IsCompletion(e.Type()) || envelope.Extension(e, "causationid") == "" {
			t.Errorf("spoiled, and no completion: %s", e)
		}
	}
	if err := envelope.Check(e); err != nil {
		t.Errorf("let in, and then: %v", err)
	}
	v, err := envelope.Value(e)
	if err != nil {
		t.Errorf("its data: %v", err)
	}
	if _, err := lang.ParseValue([]byte(v.JSON())); err != nil {
		t.Errorf("its data: %v", err)
	}
	if _, err := lang.ParseValue([]byte(envelope.Attributes(e).JSON())); err != nil {
		t.Errorf("its attributes: %v", err)
	}
	if err := e.Validate(); err != nil {
		t.Errorf("the SDK says: %v", err)
	}
	text, err := envelope.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := read(&envelopetest.Case{Headers: []envelopetest.Header{{Name: "Content-Type", Value: envelope.Structured}}, Body: string(text)}, envelopetest.HTTP)
	if err != nil || envelopetest.Describe(&back[0]) != envelopetest.Describe(e) {
		t.Errorf("written and read again: %v\n%s\nof\n%s", err, text, envelopetest.Describe(e))
	}
	sent := envelopetest.Case{Body: string(e.Data())}
	h := make(http.Header)
	envelope.WriteHeaders(h, e)
	for name, values := range h {
		if !utf8.ValidString(values[0]) || strings.ContainsAny(values[0], "\r\n\x00") {
			t.Errorf("header %s: %q", name, values[0])
		}
		sent.Headers = append(sent.Headers, envelopetest.Header{Name: name, Value: values[0]})
	}
	if content := e.DataContentType(); content != "" && !strings.Contains(strings.ToLower(content), "charset") {
		back, err := read(&sent, envelopetest.HTTP)
		if got, want := "", envelopetest.Describe(e); err == nil {
			if got = envelopetest.Describe(&back[0]); got != want && len(e.Data()) > 0 {
				t.Errorf("sent in headers: %s\nof\n%s", got, want)
			}
		} else {
			t.Errorf("sent in headers: %v: %s", err, want)
		}
	}
}

// seed gives a target the cases of a mode.
func seed(f *testing.F, mode envelopetest.Mode, add func(c *envelopetest.Case)) {
	for _, c := range envelopetest.Cases() {
		if c.Mode == mode && len(c.Body) < 4<<10 {
			add(&c)
		}
	}
}

// FuzzStructured: whatever is let in holds, and says the same as the SDK where that takes it too.
func FuzzStructured(f *testing.F) {
	seed(f, envelopetest.Structured, func(c *envelopetest.Case) { f.Add([]byte(c.Body)) })
	for _, rest := range []string{`"data":NaN}`, `"data":{"a":`, `"data_base64":"%"}`, `"data":1,"data":2}`} {
		f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/f","type":"dev.onward.function.succeeded","causationid":"x",` + rest))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &envelopetest.Case{Headers: []envelopetest.Header{{Name: "Content-Type", Value: envelope.Structured}}, Body: string(body)}
		ours, err := read(c, envelopetest.HTTP)
		if err != nil {
			return
		}
		holds(t, &ours[0])
		theirs, err := sdkReads(c)
		if err != nil {
			return
		}
		got, want := &ours[0], theirs
		if envelope.Spoiled(got) != nil {
			return
		}
		for name, pair := range map[string][2]string{
			"id": {got.ID(), want.ID()}, "type": {got.Type(), want.Type()}, "subject": {got.Subject(), want.Subject()}, "source": {rewritten(got.Source()), want.Source()}, "dataschema": {rewritten(got.DataSchema()), want.DataSchema()},
			"time": {got.Time().UTC().String(), want.Time().UTC().String()}, "datacontenttype": {got.DataContentType(), want.DataContentType()},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %q, and the SDK %q", name, pair[0], pair[1])
			}
		}
		for name := range want.Extensions() {
			if name != "data" && envelope.Extension(got, name) != envelope.Extension(want, name) {
				t.Errorf("%s: %q, and the SDK %q", name, envelope.Extension(got, name), envelope.Extension(want, name))
			}
		}
	})
}

// rewritten is what package url makes of a URI.
func rewritten(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.String()
}

// FuzzBatch: an event of a batch is let in as it would be alone.
func FuzzBatch(f *testing.F) {
	seed(f, envelopetest.Batched, func(c *envelopetest.Case) { f.Add([]byte(c.Body)) })
	f.Fuzz(func(t *testing.T, body []byte) {
		head, err := envelope.FromHTTP(http.Header{"Content-Type": {envelope.Batched}})
		if err != nil {
			t.Fatal(err)
		}
		events, bad, err := head.Read(body, limits)
		if err != nil {
			return
		}
		for i := range events {
			holds(t, &events[i])
		}
		for _, b := range bad {
			if _, err := read(&envelopetest.Case{Headers: []envelopetest.Header{{Name: "Content-Type", Value: envelope.Structured}}, Body: string(b.Raw)}, envelopetest.HTTP); err == nil && !strings.HasPrefix(string(b.Raw), "\ufeff") {
				t.Errorf("bad in a batch (%v), and good alone: %q", b.Err, b.Raw)
			}
		}
		if json.Valid(body) && len(events)+len(bad) != count(body) {
			t.Errorf("%d and %d events of %d", len(events), len(bad), count(body))
		}
	})
}

func count(body []byte) int {
	var all []json.RawMessage
	_ = json.Unmarshal(body, &all) // It is valid, and a list.
	return len(all)
}

// headersOf makes headers of lines, as a server would have them.
func headersOf(lines string) http.Header {
	h := make(http.Header)
	for _, line := range strings.Split(lines, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value))
		}
	}
	return h
}

func lines(c *envelopetest.Case) string {
	var b strings.Builder
	for _, h := range c.Headers {
		b.WriteString(h.Name + ": " + h.Value + "\n")
	}
	return b.String()
}

// FuzzBinary: headers and a body, by HTTP and in a Kafka record.
func FuzzBinary(f *testing.F) {
	seed(f, envelopetest.Binary, func(c *envelopetest.Case) { f.Add(lines(c), []byte(c.Body)) })
	for _, content := range []string{"application/json", "text/plain", ";;", "application/json\nContent-Encoding: gzip", "application/json\nContent-Encoding: br"} {
		f.Add("Ce-Specversion: 1.0\nCe-Id: 1\nCe-Source: /f\nCe-Type: dev.onward.function.failed\nCe-Causationid: x\nContent-Type: "+content+"\n", []byte("{\xff"))
	}
	f.Fuzz(func(t *testing.T, headers string, body []byte) {
		h := headersOf(headers)
		if head, err := envelope.FromHTTP(h); err == nil {
			if events, _, err := head.Read(body, limits); err == nil {
				for i := range events {
					holds(t, &events[i])
				}
			}
		}
		var fields []envelope.Field
		for name, values := range h {
			name = strings.Replace(strings.ToLower(name), "ce-", "ce_", 1)
			for _, v := range values {
				fields = append(fields, envelope.Field{Key: name, Value: []byte(v)})
			}
		}
		if head, err := envelope.FromRecord(fields); err == nil && head != nil {
			if events, _, err := head.Read(body, limits); err == nil {
				for i := range events {
					holds(t, &events[i])
				}
			}
		}
	})
}

// FuzzAnswer: a function's answer is a value or is refused, and what it says of a failure is bounded.
func FuzzAnswer(f *testing.F) {
	seed(f, envelopetest.Binary, func(c *envelopetest.Case) { f.Add(lines(c), []byte(c.Body)) })
	seed(f, envelopetest.Structured, func(c *envelopetest.Case) { f.Add(lines(c), []byte(c.Body)) })
	for _, body := range []string{`{"error":{"type":"T","message":"m","data":1}}`, `{"type":"https://x/y","title":"t","detail":"d"}`, `{"detail":{"code":1}}`, `{"errorType":"E","errorMessage":"m"}`} {
		f.Add("Content-Type: application/problem+json\n", []byte(body))
		f.Add("Content-Type: application/json\n", []byte(body))
	}
	f.Fuzz(func(t *testing.T, headers string, body []byte) {
		a, err := envelope.FromAnswer(headersOf(headers), body, 1<<20)
		if err != nil {
			return
		}
		if _, err := lang.ParseValue([]byte(a.Value.JSON())); err != nil {
			t.Errorf("%s: %v", a.Value, err)
		}
		said := envelope.FailureOf(a.Value, a.Problem)
		if len(said.Type) > 256 || len(said.Message) > 4<<10+3 || !utf8.ValidString(said.Message) || !utf8.ValidString(said.Type) {
			t.Errorf("%+v", said)
		}
		if _, err := lang.ParseValue([]byte(said.Data.JSON())); err != nil {
			t.Errorf("%s: %v", said.Data, err)
		}
		if v, err := envelope.Printed(body); err == nil {
			if _, err := lang.ParseValue([]byte(v.JSON())); err != nil {
				t.Errorf("%s: %v", v, err)
			}
		}
	})
}
