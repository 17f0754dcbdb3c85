package admission

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// sentAs is the id under which an invocation is sent.
func sentAs(t *testing.T, g *Gate, inv *engine.Invocation) string {
	t.Helper()
	e, err := g.Event(inv)
	if err != nil {
		t.Fatal(err)
	}
	return e.ID()
}

// TestDressedEvents: what a destination says of its event is what is sent; what bounds chains and tells tries apart stays ours.
func TestDressedEvents(t *testing.T) {
	t.Parallel()
	g, _ := open(t, document)
	end := engine.Invocation{Run: journal.RunID{1}, N: 3, Purpose: engine.Notify, Trigger: "orders", Type: engine.TypeSucceeded, Attempt: 2, Fuel: 7, Input: lang.Text("ä\n")}
	for name, c := range map[string]struct {
		attributes, want string // attributes with their texts; ! is the error
		data             string
	}{
		"none":       {`{}`, `type=dev.onward.run.succeeded source=/onward/orders onwardfuel=7`, `"ä\n"`},
		"its own":    {`{"type":"a.b","source":"/x","subject":"s","region":"eu","n":7,"b":true}`, `type=a.b source=/x subject=s region=eu n=7 b=true onwardfuel=7`, `"ä\n"`},
		"passed on":  {`{"id":"e-1","source":"urn:x","type":"t","specversion":"1.0","time":"2026-01-02T03:04:05Z","datacontenttype":"text/plain","onwardfuel":"9999","onwardattempt":"1"}`, `id=e-1 source=urn:x type=t time=2026-01-02T03:04:05Z datacontenttype=text/plain onwardfuel=7 onwardattempt=2 subject= correlationid= partitionkey=`, "ä\n"},
		"left out":   {`{"subject":null,"correlationid":null}`, `subject= correlationid=`, `"ä\n"`},
		"too large":  {`{"subject":"` + strings.Repeat("x", 2000) + `"}`, "!2000 bytes", ""},
		"no type":    {`{"type":""}`, "!type is missing", ""},
		"a name":     {`{"Type":"x"}`, "!not an attribute's name", ""},
		"a list":     {`{"x":[1]}`, "!whole number", ""},
		"no id":      {`{"id":null}`, "!id is missing", ""},
		"a time":     {`{"time":"yesterday"}`, "!RFC 3339", ""},
		"a half":     {`{"x":1.5}`, `x=1.5`, `"ä\n"`},
		"control":    {`{"x":"a\u0000b"}`, "!control character", ""},
		"no base64":  {`{"datacontenttype":"application/octet-stream"}`, "!not base64", ""},
		"not a type": {`{"datacontenttype":"text"}`, "!not a media type", ""},
	} {
		inv := end
		inv.Attributes = lang.Trusted(c.attributes)
		e, err := g.Event(&inv)
		if why, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := make(map[string]string)
		envelope.Each(e, func(name, text string) { got[name] = text })
		for pair := range strings.FieldsSeq(c.want) {
			key, text, _ := strings.Cut(pair, "=")
			if got[key] != text {
				t.Errorf("%s: %s is %q, want %q", name, key, got[key], text)
			}
		}
		if string(e.Data()) != c.data {
			t.Errorf("%s: data %q", name, e.Data())
		}
	}
	bytes := end
	bytes.Input, bytes.Attributes = lang.Text(base64.StdEncoding.EncodeToString([]byte{0, 255})), lang.Trusted(`{"datacontenttype":"image/png"}`)
	if e, err := g.Event(&bytes); err != nil || string(e.Data()) != "\x00\xff" {
		t.Errorf("bytes: %q, %v", e.Data(), err)
	}
}
