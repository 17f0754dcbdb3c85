package admission

import (
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestACallIsWrittenAsItsEventIs: what goes into a batch without being made an event is, byte by byte, what the event is written as.
func TestACallIsWrittenAsItsEventIs(t *testing.T) {
	t.Parallel()
	g, _ := open(t, `{ version: 1, functions: { f: { log: f } }, triggers: { all: { flow: { function: f } } } }`)
	full := engine.Invocation{
		Run: journal.RunID{1, 2, 3}, N: 7, Purpose: engine.Call, Trigger: "größe", Path: `steps/"a" <b>/é`, Function: `f"&`, Attempt: 3, Input: lang.Of(map[string]any{"a": "<é>"}),
		Expires: time.Unix(1_700_000_000, 120_000_000), Created: time.Unix(1_600_000_000, 1).In(time.FixedZone("x", 3600)), Cause: "cause \\ \u2028 é", Fuel: 1 << 30, Continued: 2, Type: engine.TypeInvoke,
	}
	long, bare := full, engine.Invocation{Run: journal.RunID{9}, N: 1, Purpose: engine.Call, Path: "p", Function: "f", Type: engine.TypeInvoke, Created: full.Created}
	long.Path = strings.Repeat("long/", 300)
	notify, cancel := full, full
	notify.Purpose, notify.Attributes = engine.Notify, lang.Of(map[string]any{"type": "com.example.t", "mine": 5, "datacontenttype": nil})
	cancel.Purpose, cancel.Cause = engine.Cancel, bare.ID()
	for name, traced := range map[string]*traceparent.Context{
		"untraced": nil, "traced": {Parent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}, "with a state": {Parent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", State: "a=b"},
	} {
		for _, inv := range []engine.Invocation{full, long, bare, notify, cancel} {
			inv.Traced = traced
			out, err := g.Outgoing(&inv)
			if err != nil {
				t.Fatal(err)
			}
			got, err := out.AppendJSON([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			e, err := g.Event(&inv)
			if err != nil {
				t.Fatal(err)
			}
			want, err := envelope.Append([]byte("before"), e)
			if err != nil || string(got) != string(want) {
				t.Errorf("%s, %s: %v\n%s\n%s", name, inv.Purpose, err, got, want)
			}
			if whole := out.Event(); out.ID() != e.ID() || whole.String() != e.String() || out.Event() != whole {
				t.Errorf("%s: id %s\n%s\n%s", name, out.ID(), whole, e)
			}
		}
	}
}
