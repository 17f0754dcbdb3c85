package mapping_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/triggers/mapping"
)

var names = []string{"body", "headers"}

// parse reads an as: and reports what is wrong with it.
func parse(t testing.TB, text string) (*mapping.As, string) {
	t.Helper()
	n, findings := yamldoc.Parse("x.yaml", []byte(text))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	a := new(mapping.As)
	var said []string
	for _, f := range lang.Decode(n[0], a, nil) {
		said = append(said, f.String())
	}
	for _, p := range a.Problems(names) {
		said = append(said, fmt.Sprintf("%s: %s; %s", strings.Join(p.Path, "."), p.What, p.Cure))
	}
	return a, strings.Join(said, "\n")
}

func read(t testing.TB, a *mapping.As, body string) string {
	t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	v, err := mapping.Value(b, "")
	if err != nil {
		t.Fatal(err)
	}
	events, bad, err := a.Read(&mapping.Message{Body: b, Source: "/test", ID: "def", Vars: lang.Vars{{Name: "body", Value: v}, {Name: "headers", Value: lang.Of(map[string]string{"h": "x"})}}}, envelope.Limits{Event: 1 << 10})
	var out []string
	for i := range events {
		text, err := envelope.Marshal(&events[i])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	for _, b := range bad {
		out = append(out, fmt.Sprintf("bad %d %s: %v", b.Index, b.Raw, b.Err))
	}
	if err != nil {
		out = append(out, err.Error())
	}
	return strings.Join(out, "\n")
}

// TestRead: what is made of messages, and what cannot be.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ as, body, want string }{
		{`type: t`, `{"a":1}`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","data":{"a":1}}`},
		{`type: t`, `hello`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"text/plain","data":"hello"}`},
		{`type: t`, ``, `{"specversion":"1.0","id":"def","source":"/test","type":"t"}`},
		{`type: t`, "\xff\xfe", `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/octet-stream","data_base64":"//4="}`},
		{"type: t\ndata: '${ null }'", `1`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","data":null}`},
		{"type: t\nid: '${ body.n }'\nsubject: '${ body.none }'\ntime: '${ body.none }'\ncause: '${ body.none }'\nextensions: { region: '${ body.none }', other: '${ body.n }' }", `{"n":12345678901234567890,"none":null}`, `{"specversion":"1.0","id":"12345678901234567890","source":"/test","type":"t","datacontenttype":"application/json","other":"12345678901234567890","data":{"n":12345678901234567890,"none":null}}`},
		{"type: t\ntime: '${ body }'", `"2026-01-02T03:04:05.678+01:00"`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","time":"2026-01-02T02:04:05.678Z","data":"2026-01-02T03:04:05.678+01:00"}`},
		{"cause: c\nverdict: '${ body }'", `"succeeded"`, `{"specversion":"1.0","id":"def","source":"/test","type":"dev.onward.function.succeeded","datacontenttype":"application/json","causationid":"c","data":"succeeded"}`},
		{"type: t\ncause: c\nverdict: '${ body }'", `null`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","causationid":"c","data":null}`},
		{"type: t\nticket: '${ body }'", `"act-1"`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","onwardticket":"act-1","data":"act-1"}`},
		{"type: t\nticket: '${ body }'", `null`, `{"specversion":"1.0","id":"def","source":"/test","type":"t","datacontenttype":"application/json","data":null}`},
		{"type: t\nticket: '${ body }'", `[1]`, `as.ticket yields [1] and not a text`},
		{"type: t\nwhen: '${ body.yes }'", `{"yes":false}`, ``},
		{"type: t\npark: 'look: ${ body }'", `7`, `look: 7`},
		{"type: t\neach: '${ body }'\nid: '${ item.n }-${ index }'", `[{"n":1},{"n":2}]`, `{"specversion":"1.0","id":"1-0","source":"/test","type":"t","datacontenttype":"application/json","data":{"n":1}}
{"specversion":"1.0","id":"2-1","source":"/test","type":"t","datacontenttype":"application/json","data":{"n":2}}`},
		{"type: t\neach: '${ body }'\nwhen: '${ item != 2 }'", `[1,2,null]`, `{"specversion":"1.0","id":"def-0","source":"/test","type":"t","datacontenttype":"application/json","data":1}
{"specversion":"1.0","id":"def-2","source":"/test","type":"t","datacontenttype":"application/json","data":null}`},
		{"type: '${ item }'\neach: '${ body }'", `["a",{"b":1},"",null,"c"]`, `{"specversion":"1.0","id":"def-0","source":"/test","type":"a","datacontenttype":"application/json","data":"a"}
{"specversion":"1.0","id":"def-4","source":"/test","type":"c","datacontenttype":"application/json","data":"c"}
bad 1 {"b":1}: as.type yields {"b":1} and not a text
bad 2 "": type is missing: it is empty
bad 3 null: as.type yields null and not a text`},
		{"type: t\neach: '${ body }'", `null`, ``},
		{"type: t\neach: '${ body }'", `[]`, ``},
		{"type: t\neach: '${ body }'", `{"a":1}`, `as.each yields {"a":1} and not a list`},
		{"type: t\neach: '${ lists.range(20000) }'", `1`, `as.each yields 20000 items, and the limit is 10000; send less at a time`},
		{"type: '${ body.none }'", `{"a":1}`, `no such key "none"`},
		{"type: '${ true }'", `1`, `as.type yields true and not a text`},
		{"type: t\ntime: '${ body }'", `"tomorrow"`, `as.time: time "tomorrow" is not a time`},
		{"type: t\nwhen: '${ body }'", `1`, `as.when: `},
		{"cause: c\nverdict: '${ body }'", `"done"`, `as.verdict yields "done" and not succeeded, failed or continue`},
		{"cause: '${ body }'\nverdict: succeeded", `null`, `as.cause yields null`},
		{"type: t\nid: '${ body }'", `""`, `id is missing: it is empty`},
		{"type: t\nsubject: '${ body }'", `""`, `as.subject yields an empty text`},
		{"type: \"${ 'a\\\\u0000b' }\"", `1`, `type`},
		{"type: t\nsource: '${ body }'", `"` + strings.Repeat("x", 2000) + `"`, `source`},
		{"type: t\ndata: \"${ lists.range(1000) }\"", `1`, "1024 bytes"},
	} {
		a, wrong := parse(t, c.as)
		if wrong != "" {
			t.Errorf("%s: %s", c.as, wrong)
			continue
		}
		if got := read(t, a, c.body); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s of %q:\n%s\nwant\n%s", c.as, c.body, got, c.want)
		}
	}
}

// TestBudget: what one message costs is bounded, however many items it has.
func TestBudget(t *testing.T) {
	t.Parallel()
	a, wrong := parse(t, "type: t\neach: '${ lists.range(1000) }'\ndata: '${ lists.range(100).map(x, x + 1).size() }'")
	if wrong != "" {
		t.Fatal(wrong)
	}
	events, bad, err := a.ReadFor(100_000, &mapping.Message{ID: "x", Source: "/s", Vars: lang.Vars{{Name: "body", Value: lang.Null}, {Name: "headers", Value: lang.Null}}}, envelope.Limits{Event: 1 << 10})
	if err != nil || len(events) < 10 || len(events) > 900 || len(events)+len(bad) != 1000 || !strings.Contains(bad[len(bad)-1].Err.Error(), "as.data: ") {
		t.Errorf("%d events, %d bad, %v", len(events), len(bad), err)
	}
}

// TestProblems: lint finds what cannot become an event.
func TestProblems(t *testing.T) {
	t.Parallel()
	for as, want := range map[string]string{
		`id: x`:                                                    "as: an event has a type; write type: com.example.order",
		"verdict: succeeded":                                       "as.verdict: a verdict without a cause is about nothing; write cause:",
		`type: "${ bdy.x }"`:                                       `as.type: unknown name "bdy"; did you mean "body"?`,
		`type: "${ item.x }"`:                                      `as.type: unknown name "item"; add each:, or write body`,
		"type: t\neach: abc":                                       `as.each: each is no list, whatever comes: abc`,
		"type: t\ncause: c\nverdict: done":                         `as.verdict: "done" is no verdict`,
		"type: t\neach: \"${ item }\"":                             `as.each: unknown name "item"`,
		"type: t\nextensions: { time: x }":                         "as.extensions.time: time has a key of its own; write it as time:",
		"type: t\nextensions: { specversion: x }":                  "as.extensions.specversion: specversion cannot be set",
		"type: t\nextensions: { Region: x }":                       `as.extensions.Region: "Region" is no name of an attribute`,
		"type: t\nextensions: { r: \"${ x }\" }":                   `as.extensions.r: unknown name "x"`,
		"type: t\nwhen: \"${ body }x\"":                            "as.when: a condition that is never true or false: ${ body }x; compare it",
		"type: t\nwhen: \"${ 1 + 1 }\"":                            "as.when: a condition that is never",
		"type: t\nofsubject: x":                                    "ofsubject",
		"type: t\neach: \"${ body }\"\nid: \"${ string(index) }\"": "",
	} {
		if _, got := parse(t, as); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q; want %q", as, got, want)
		}
	}
}

// TestValue: what expressions see of a body.
func TestValue(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct{ body, content, want string }{
		{`{"a":1}`, "text/plain", `{"a":1}`}, {"\ufeff[1]", "", `[1]`}, {`{"a":1}`, form, `{"a":1}`}, {"a=1&b=x+y&b=z&c", form, `{"a":"1","b":["x y","z"],"c":""}`}, {"hello", "text/plain", `"hello"`},
		{"\xff", "", `"/w=="`}, {"", "", `""`},
	} {
		if got, err := mapping.Value([]byte(c.body), c.content); err != nil || got.JSON() != c.want {
			t.Errorf("%q as %s: %s, %v; want %s", c.body, c.content, got, err, c.want)
		}
	}
	if v, err := mapping.Value(nil, "application/json"); err != nil || !v.IsNull() {
		t.Error(v, err)
	}
	for _, c := range []string{"application/json", "Application/Problem+JSON; charset=utf-8"} {
		if _, err := mapping.Value([]byte("{"), c); err == nil || !strings.Contains(err.Error(), "not JSON") {
			t.Error(c, err)
		}
	}
	if _, err := mapping.Value([]byte("a=%zz"), form); err == nil {
		t.Error("a bad form is taken")
	}
	if got := mapping.Fields(url.Values{"a\xff": {"\xfe"}}); got.JSON() != `{"a�":"�"}` {
		t.Error(got)
	}
}

// FuzzRead: whatever comes, nothing panics, and what is made is an event.
func FuzzRead(f *testing.F) {
	a, wrong := parse(f, "each: \"${ body[?'list'].orValue([body]) }\"\ntype: \"${ item.t }\"\nid: \"${ item.i }\"\nsubject: \"${ item[?'s'].orValue(null) }\"\ntime: \"${ item[?'at'].orValue(null) }\"\nextensions: { x: \"${ item[?'x'].orValue(null) }\" }")
	if wrong != "" {
		f.Fatal(wrong)
	}
	f.Add([]byte(`{"list":[{"t":"a","i":1,"s":"x","at":"2026-01-01T00:00:00Z"},{"t":1,"i":null}]}`), "application/json")
	f.Add([]byte(`{"t":"a\u0000","i":"\ud800"}`), "")
	f.Add([]byte("t=a&i=1"), "application/x-www-form-urlencoded")
	f.Fuzz(func(t *testing.T, body []byte, content string) {
		v, err := mapping.Value(body, content)
		if err != nil {
			return
		}
		events, _, err := a.Read(&mapping.Message{Body: body, ContentType: content, Source: "/f", ID: "d", Vars: lang.Vars{{Name: "body", Value: v}, {Name: "headers", Value: lang.Null}}}, envelope.Limits{Event: 1 << 16})
		var parking *mapping.Parking
		if errors.As(err, &parking) {
			t.Fatal("nothing says that it is parked")
		}
		for i := range events {
			if err := envelope.Check(&events[i]); err != nil {
				t.Fatalf("%q becomes %v: %v", body, events[i], err)
			}
		}
	})
}
