package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// TestOnePanicIsOneEvents: what panics over one event refuses it, and those beside it are taken in.
func TestOnePanicIsOneEvents(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	d.panics = 1
	receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", "bill", "1"), eventFor(t, "2", "order", "1"), eventFor(t, "3", "order", "1")})
	if err != nil || receipts[0].Err != nil || !errors.Is(receipts[1].Err, triggers.ErrPanicked) || !triggers.IsFinal(receipts[1].Err) || receipts[2].Err != nil || len(receipts[2].Runs) != 1 {
		t.Errorf("%+v, %v", receipts, err)
	}
	starts := 0
	for _, k := range d.kinds() {
		if k == journal.Start {
			starts++
		}
	}
	if starts != 1 {
		t.Errorf("%d starts", starts)
	}
}

// TestForeignEvents: a third party's source may hand over anything.
func TestForeignEvents(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	g.metrics = newMetrics(prometheus.NewRegistry())
	of := func(change func(*event.Event)) event.Event {
		e := eventFor(t, "1", "nobody's", "1")
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		e    event.Event
		want error
	}{
		"nothing": {event.Event{}, triggers.ErrInvalid}, "0.3": {event.New("0.3"), triggers.ErrInvalid}, "no id": {of(func(e *event.Event) { e.SetID("") }), triggers.ErrInvalid},
		"a type that is not UTF-8": {of(func(e *event.Event) { e.SetType("bad\xff\xfe") }), triggers.ErrInvalid}, "a long type": {of(func(e *event.Event) { e.SetType(strings.Repeat("t", 2000)) }), triggers.ErrInvalid},
		"a control character": {of(func(e *event.Event) { e.SetSubject("a\x00") }), triggers.ErrInvalid}, "no media type": {of(func(e *event.Event) { e.SetDataContentType("?") }), triggers.ErrInvalid},
		"data that is no JSON": {of(func(e *event.Event) { e.SetType("order"); e.DataEncoded = []byte("{") }), triggers.ErrInvalid}, "data 513 deep": {of(func(e *event.Event) {
			e.SetType("order")
			e.DataEncoded = []byte(strings.Repeat("[", 513) + strings.Repeat("]", 513))
		}), triggers.ErrInvalid},
	} {
		receipts, err := g.Admit(t.Context(), []event.Event{c.e})
		if err != nil || !errors.Is(receipts[0].Err, c.want) || len(d.kinds()) != 0 {
			t.Errorf("%s: %+v, %v", name, receipts, err)
		}
	}
	g.metrics.unmatched("bad\xff\xfe") // It would panic in the label.
	g.metrics.unmatched(strings.Repeat("ü", 1000))
}

// TestWhatTheJournalDoesNotTake is refused alone: 1 MiB of control characters is 6 MiB as JSON.
func TestWhatTheJournalDoesNotTake(t *testing.T) {
	t.Parallel()
	g, d := open(t, document)
	g.MaxRecord = 2 << 20
	text := eventFor(t, "1", "order", "1")
	if err := text.SetData(event.TextPlain, strings.Repeat("\x01", 1<<20)); err != nil {
		t.Fatal(err)
	}
	receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "0", "order", "1"), text, eventFor(t, "2", "order", "1")})
	if err != nil || receipts[0].Err != nil || !errors.Is(receipts[1].Err, triggers.ErrTooLarge) || len(receipts[1].Runs) != 0 || receipts[2].Err != nil {
		t.Errorf("%+v, %v", receipts, err)
	}
	for _, r := range d.records {
		if len(r.Payload) > g.MaxRecord {
			t.Errorf("%d bytes were appended", len(r.Payload))
		}
	}
}

// TestBatchAboveTheLimit: a batch of more than may be admitted is taken while nothing else is being; beside as much as that it waits.
func TestBatchAboveTheLimit(t *testing.T) {
	t.Parallel()
	g, _ := open(t, document) // It admits 10.
	var batch []event.Event
	for i := range 40 {
		batch = append(batch, eventFor(t, fmt.Sprint(i), "order", "1"))
	}
	for range 2 {
		receipts, err := g.Admit(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i := range receipts {
			if receipts[i].Err != nil {
				t.Fatalf("event %d: %v", i, receipts[i].Err)
			}
		}
	}
	g.admitting.Add(11)
	if receipts, err := g.Admit(t.Context(), batch[:1]); err != nil || !errors.Is(receipts[0].Err, triggers.ErrBusy) {
		t.Errorf("beside as many: %+v, %v", receipts, err)
	}
}

// TestFailedCompletions: what a function says of its error arrives, in whatever form.
func TestFailedCompletions(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"type":"T","message":"m","class":"throttle","data":{"x":1}}`: `{"type":"T","message":"m","class":"throttle","data":{"x":1}}`,
		`{"type":"T","message":"m"}`:                                   `{"type":"T","message":"m","class":"function"}`, `{"detail":{"code":7}}`: `{"type":"failed","message":"the function failed","class":"function","data":{"detail":{"code":7}}}`,
		`"boom"`: `{"type":"failed","message":"boom","class":"function","data":"boom"}`, `[1]`: `{"type":"failed","message":"the function failed","class":"function","data":[1]}`,
		`{"type":"https://x/y","title":"t"}`: `{"type":"failed","message":"t","class":"function","data":{"type":"https://x/y","title":"t"}}`, `{"class":"nonsense","type":5}`: `{"type":"failed","message":"the function failed","class":"function","data":{"class":"nonsense","type":5}}`,
	} {
		e := eventFor(t, "1", "x", data)
		v, err := dataOf(&e)
		if err != nil {
			t.Fatal(err)
		}
		said := errorOf(v)
		got, err := json.Marshal(map[string]any{"type": said.Type, "message": said.Message, "class": said.Class, "data": said.Data})
		var a, b map[string]any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Fatal(err)
		}
		if a["data"] == nil {
			delete(a, "data")
		}
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: %v; want %v", data, a, b)
		}
	}
}
