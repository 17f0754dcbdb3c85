package http

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
)

// TestTemplates: addresses and headers say what data says, each value escaped for its place; what would lead elsewhere is not sent.
func TestTemplates(t *testing.T) {
	t.Parallel()
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + r.Header.Get("X-Order")
		_, _ = io.WriteString(w, "1")
	}))
	defer srv.Close()
	for _, c := range []struct{ url, header, data, want string }{
		{"/orders/${ data.id }", "${ event.type }", `{"id":7}`, "/orders/7? t"},
		{"/orders/${ data.id }/x?q=${ data.id }&r=1", "", `{"id":"a/../b?c=d e&f#g"}`, "/orders/a%2F..%2Fb%3Fc=d%20e&f%23g/x?q=a%2F..%2Fb%3Fc%3Dd+e%26f%23g&r=1 "},
		{"/orders/${ data.id }", "", `{"id":".."}`, `!url: ".." is no part of a path`},
		{"/orders/${ data.id }", "", `{"id":""}`, `!is no part of a path`},
		{"/orders/${ data.id }", "", `{}`, "!no such key"},
		{"/orders/${ data.id }", "", `{"id":null}`, "!url: null is no text; write data.?id"},
		{"/orders/${ data.?id }/x", "", `{}`, "!url: null is no text"},
		{"/orders?id=${ data.?id }", "", `{}`, "!url: null is no text"},
		{"/orders/${ data.?id.orValue('none') }", "", `{}`, "/orders/none? "},
		{"/orders/${ data.id }", "", `{"id":"null"}`, "/orders/null? "},
		{"/", "${ data.id }", `{"id":null}`, "!header X-Order: null is no text"},
		{"/orders/${ data.id }", "", `{"id":"%2e%2e"}`, "/orders/%252e%252e? "},
		{"/", "a ${ data.id } b", `{"id":"x"}`, "/? a x b"},
		{"/", "${ data.id }", `{"id":"x\r\nEvil: 1"}`, "!header X-Order: its value has a control character, such as a line's end; write .replace("},
		{"/?${ data.id }", "", `{"id":"ä&x"}`, "/?%C3%A4%26x "},
	} {
		s := &Settings{URL: srv.URL + c.url, Method: "POST", Body: "data", Mode: "binary"}
		if c.header != "" {
			s.Headers = map[string]client.Value{"X-Order": {Text: c.header}}
		}
		if problems := s.Check(); len(problems) > 0 {
			t.Errorf("%s: %+v", c.url, problems)
			continue
		}
		k, err := New("f", s, sinks.Host{Concurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		e := event.New()
		e.SetID("1")
		e.SetSource("/s")
		e.SetType("t")
		_ = e.SetData(event.ApplicationJSON, []byte(c.data))
		got = ""
		done := make(chan sinks.Result, 1)
		k.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(&e), Contract: "http", Invoke: true, Attempt: 1, Done: func(r sinks.Result) { done <- r }}})
		result := <-done
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if why, bad := strings.CutPrefix(c.want, "!"); bad {
			if result.Err == nil || !strings.Contains(result.Err.Message, why) || got != "" {
				t.Errorf("%s with %s: %+v, sent %q", c.url, c.data, result.Err, got)
			}
		} else if got != c.want {
			t.Errorf("%s with %s: %q, want %q; %+v", c.url, c.data, got, c.want, result.Err)
		}
	}
}

// TestTemplatesAreChecked: what no data makes right is a finding; the host is never for data to say.
func TestTemplatesAreChecked(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://${ data.host }/x":       "is not an http or https address",
		"http://a.${ data.host }/x":     "says which host",
		"http://a:80${ data.host }":     "says which host",
		"http://a/${ nobody }":          `unknown name "nobody"`,
		"http://a/${ data. }":           "data.",
		"http://a/#${ data.x }":         "behind #",
		"http://a/${ data.x":            "${",
		"http://a/${ nope(data.x) }":    "nope",
		"ftp://a/${ data.x }":           "is not an http or https address",
		"http://a/${ data.x }/${ item}": `unknown name "item"`,
	} {
		s := &Settings{URL: url, Method: "POST", Body: "data", Mode: "binary"}
		if problems := s.Check(); len(problems) == 0 || !strings.Contains(problems[0].What, want) {
			t.Errorf("%s: %+v", url, problems)
		}
	}
	s := &Settings{URL: "http://a/${ data.x }", Method: "POST", Body: "data", Mode: "binary", Handshake: &Handshake{}}
	if problems := s.Check(); len(problems) == 0 {
		t.Error("a handshake with an address that changes")
	}
	if _, problems := template([]string{"x"}, "${ string(data) + event.type }"); len(problems) > 0 {
		t.Errorf("%+v", problems)
	}
	if e, _ := template(nil, "plain"); !e.IsZero() {
		t.Error("a template without expressions")
	}
	if v, err := lang.MustExpr("a ${ x }").EvalText(lang.Vars{{Name: "x", Value: lang.Of(3)}}, nil, func(before, s string) (string, error) { return before + "|" + s, nil }); err != nil || v != "a a |3" {
		t.Errorf("%q, %v", v, err)
	}
}
