package admission

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestWhatATriggerCannotTakeIsKept, whole, and under one id however often it comes; taken in again it starts what it can.
func TestWhatATriggerCannotTakeIsKept(t *testing.T) {
	t.Parallel()
	g, d := open(t, keyedDocument)
	var kept []*engine.Letter
	g.Options.Dead = func(l ...*engine.Letter) { kept = append(kept, l...) }
	for range 2 {
		if _, err := g.Admit(t.Context(), []event.Event{eventFor(t, "9", "order", `{"n":1}`), eventFor(t, "8", "other", `{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept) != 2 || kept[0].ID != kept[1].ID || kept[0].Kind() != engine.LetterEvent || kept[0].Trigger != "one" || kept[0].Event != "9" || kept[0].Error.Type != "no_key" {
		t.Fatalf("%+v", kept)
	}
	if err := g.Again(t.Context(), kept[0]); err == nil || !strings.Contains(err.Error(), "trigger one starts nothing") {
		t.Error(err)
	}
	text, err := json.Marshal(eventFor(t, "9", "order", `{"orderId":1}`))
	if err != nil {
		t.Fatal(err)
	}
	mended := *kept[0]
	if mended.Data, err = lang.ParseValue(text); err != nil {
		t.Fatal(err)
	}
	d.records = nil
	if err := g.Again(t.Context(), &mended); err != nil || len(d.records) == 0 || d.records[len(d.records)-1].Kind != journal.Start {
		t.Errorf("%v, %d records", err, len(d.records))
	}
}
