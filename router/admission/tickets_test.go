package admission

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// TestTickets: events that say that calls are done are asked for together, each once; whose they are is in the receipts. They meet the filters as any event does, and
// those of others are neither errors nor journaled.
func TestTickets(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	run := journal.RunID{7}
	d.calls = map[string]journal.RunID{"act-1": run}
	make1 := func(id, kind, ticket string) event.Event {
		e := event.New()
		e.SetID(id)
		e.SetSource("/openwhisk")
		e.SetType(kind)
		if ticket != "" {
			e.SetExtension("onwardticket", ticket)
		}
		return e
	}
	events := []event.Event{
		make1("1", "x.activation", "act-1"), make1("2", "x.activation", "other"), make1("3", "x.activation", "act-1"), make1("4", "x.metric", ""),
		make1("5", "x.activation", strings.Repeat("x", 200)), make1("6", "order", "act-1"), make1("7", "order", "other"),
	}
	for name, c := range map[string]struct {
		accepts config.Accepts
		want    []string // kind, runs; ! is refused
		asked   []string
	}{
		"all":         {config.AcceptsAll, []string{"completion 1", "unmatched 0", "completion 1", "unmatched 0", "unmatched 0", "matched 2", "matched 1"}, []string{"act-1", "other"}},
		"completions": {config.Accepts{Completions: true}, []string{"completion 1", "unmatched 0", "completion 1", "!", "!", "completion 1", "unmatched 0"}, []string{"act-1", "other"}},
		"starts":      {config.Accepts{Starts: true}, []string{"unmatched 0", "unmatched 0", "unmatched 0", "unmatched 0", "unmatched 0", "matched 1", "matched 1"}, nil},
		"signals":     {config.Accepts{Signals: true}, []string{"!", "!", "!", "!", "!", "!", "!"}, nil},
	} {
		d.asked, d.records = nil, nil
		receipts, err := g.For(Door{Source: "s", Accepts: c.accepts})(context.Background(), events)
		if err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for i := range receipts {
			r := &receipts[i]
			if r.Err != nil {
				got = append(got, "!")
				continue
			}
			got = append(got, r.Kind.String()+" "+strconv.Itoa(len(r.Runs)))
			if i == 0 && r.Kind == triggers.Completion && (r.Runs[0].ID != run.String() || r.Note != "") {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
		if len(d.asked) != min(len(c.asked), 1) || len(c.asked) > 0 && !slices.Equal(d.asked[0], c.asked) {
			t.Errorf("%s: asked %q", name, d.asked)
		}
		for _, rec := range d.records {
			if rec.Kind != journal.Start && rec.Kind != journal.Define {
				t.Errorf("%s: journaled %s", name, rec.Kind)
			}
		}
	}
	// A start that is refused for now says so, and the call is looked after all the same.
	d.load, d.asked = Load{Runs: 1 << 30}, nil
	receipts, err := g.Admit(context.Background(), events[5:6])
	if err != nil || receipts[0].Err == nil || len(d.asked) != 1 {
		t.Errorf("%+v, %v, %q", receipts, err, d.asked)
	}
}
