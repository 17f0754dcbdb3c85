package kafka

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// TestNumbersAreKeys: ids are often numbers; what is no key is a failure that says why.
func TestNumbersAreKeys(t *testing.T) {
	t.Parallel()
	n, err := lang.ParseJSONNode([]byte(`{"topic": "t", "key": "${ data.id }", "brokers": ["127.0.0.1:1"]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := new(Settings)
	if findings := lang.Decode(n, s, new(plugin.Registry)); len(findings) > 0 {
		t.Fatal(findings)
	}
	k := &sink{s: s}
	for data, c := range map[string]struct{ key, fault string }{
		`{"id":5}`:                    {key: "5"},
		`{"id":-7.5}`:                 {key: "-7.5"},
		`{"id":"a b"}`:                {key: "a b"},
		`{"id":true}`:                 {key: "true"},
		`{"id":18446744073709551616}`: {key: "18446744073709551616"},
		`{}`:                          {fault: `no such key "id"`},
		`{"id":null}`:                 {fault: "is null and not a text"},
		`{"id":[1]}`:                  {fault: "is [1] and not a text"},
		`{"id":""}`:                   {fault: "not a text"},
	} {
		e := event.New()
		e.SetID("1")
		e.SetSource("/s")
		e.SetType("t")
		if err := e.SetData(event.ApplicationJSON, json.RawMessage(data)); err != nil {
			t.Fatal(err)
		}
		_, r, err := k.record(&e)
		switch {
		case c.fault == "" && (err != nil || string(r.Key) != c.key):
			t.Errorf("%s: %q, %v; want %q", data, r.Key, err, c.key)
		case c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), "key: ") || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: %v; want %s", data, err, c.fault)
		}
	}
}

// TestTraceContextIsAHeader, in both modes, unless the document sets that header itself.
func TestTraceContextIsAHeader(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ settings, parent, state, want string }{
		{`"mode": "binary"`, parent, "a=1", "traceparent=" + parent + " tracestate=a=1 "},
		{`"mode": "structured"`, parent, "", "traceparent=" + parent + " "},
		{`"headers": {"traceparent": "mine"}`, parent, "a=1", "tracestate=a=1 traceparent=mine "},
		{`"mode": "binary"`, "garbage", "a=1", ""},
		{`"mode": "binary"`, "", "", ""},
	} {
		n, err := lang.ParseJSONNode([]byte(`{"topic": "t", "brokers": ["127.0.0.1:1"], ` + c.settings + `}`))
		if err != nil {
			t.Fatal(err)
		}
		s := new(Settings)
		if findings := lang.Decode(n, s, new(plugin.Registry)); len(findings) > 0 {
			t.Fatal(findings)
		}
		e := event.New()
		e.SetID("1")
		e.SetSource("/s")
		e.SetType("t")
		if c.parent != "" {
			e.SetExtension("traceparent", c.parent)
			e.SetExtension("tracestate", c.state)
		}
		_, r, err := (&sink{s: s}).record(&e)
		got := ""
		for _, h := range r.Headers {
			if strings.HasPrefix(h.Key, "trace") {
				got += h.Key + "=" + string(h.Value) + " "
			}
		}
		if err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
