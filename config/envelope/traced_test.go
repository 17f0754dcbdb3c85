package envelope_test

import (
	"net/http"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/traceparent"
)

const (
	hop   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	cause = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00"
)

// TestTraceContextOfARequest: an event has the trace context that it carries, or else that of the request or the record that it came by; garbage is none,
// and never an error.
func TestTraceContextOfARequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parents, states []string // headers
		own, ownState   string   // attributes
		want, wantState string
	}{
		"none":                          {},
		"a header":                      {parents: []string{hop}, states: []string{"a=1", "b=2"}, want: hop, wantState: "a=1,b=2"},
		"its own":                       {own: cause, ownState: "c=3", want: cause, wantState: "c=3"},
		"both":                          {parents: []string{hop}, states: []string{"a=1"}, own: cause, want: cause},
		"garbage in a header":           {parents: []string{"garbage"}, states: []string{"a=1"}},
		"a header that comes twice":     {parents: []string{hop, cause}},
		"garbage of its own":            {own: "00-1-2-01", ownState: "c=3"},
		"garbage of its own, a header":  {parents: []string{hop}, own: "00-1-2-01", ownState: "c=3", want: hop},
		"a state that no header can be": {parents: []string{hop}, states: []string{"ä=1"}, want: hop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{"Content-Type": {"application/json"}, "Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
			fields := []envelope.Field{{Key: "content-type", Value: []byte("application/json")}, {Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("1")}, {Key: "ce_source", Value: []byte("/s")}, {Key: "ce_type", Value: []byte("t")}}
			for _, p := range c.parents {
				header.Add("traceparent", p)
				fields = append(fields, envelope.Field{Key: "traceparent", Value: []byte(p)})
			}
			for _, s := range c.states {
				header.Add("tracestate", s)
				fields = append(fields, envelope.Field{Key: "Tracestate", Value: []byte(s)})
			}
			structured := `"specversion":"1.0","id":"1","source":"/s","type":"t"`
			if c.own != "" {
				header.Set("ce-traceparent", c.own)
				fields = append(fields, envelope.Field{Key: "ce_traceparent", Value: []byte(c.own)})
				structured += `,"traceparent":"` + c.own + `"`
			}
			if c.ownState != "" {
				header.Set("ce-tracestate", c.ownState)
				fields = append(fields, envelope.Field{Key: "ce_tracestate", Value: []byte(c.ownState)})
				structured += `,"tracestate":"` + c.ownState + `"`
			}
			check := func(how string, head *envelope.Head, err error, body string, n int) {
				if err != nil {
					t.Errorf("%s: %v", how, err)
					return
				}
				events, bad, err := head.Read([]byte(body), envelope.Limits{Event: 1 << 20, Batch: 1 << 20})
				if err != nil || len(bad) > 0 || len(events) != n {
					t.Errorf("%s: %d events, %v, %v", how, len(events), bad, err)
				}
				for i := range events {
					if got, ok := envelope.Traced(&events[i]); ok != (c.want != "") || got != (traceparent.Context{Parent: c.want, State: c.wantState}) {
						t.Errorf("%s: %+v, %t", how, got, ok)
					}
				}
			}
			head, err := envelope.FromHTTP(header)
			check("HTTP", head, err, "1", 1)
			head, err = envelope.FromRecord(fields)
			check("Kafka", head, err, "1", 1)
			for key := range header {
				if key != "Traceparent" && key != "Tracestate" {
					header.Del(key)
				}
			}
			header.Set("Content-Type", envelope.Structured)
			head, err = envelope.FromHTTP(header)
			check("structured", head, err, "{"+structured+"}", 1)
			header.Set("Content-Type", envelope.Batched)
			head, err = envelope.FromHTTP(header)
			check("batch", head, err, "[{"+structured+"},{"+structured+"}]", 2)
		})
	}
}

// TestTraceLeavesOthersAlone: an event without extensions gets them, and what it had of a trace that is none goes.
func TestTraceLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	e := event.New()
	envelope.Trace(&e, traceparent.Context{})
	if _, ok := envelope.Traced(&e); ok || len(e.Extensions()) > 0 {
		t.Errorf("%v", e.Extensions())
	}
	envelope.Trace(&e, traceparent.Context{Parent: hop})
	if c, ok := envelope.Traced(&e); !ok || c.Parent != hop {
		t.Errorf("%+v, %t", c, ok)
	}
}
