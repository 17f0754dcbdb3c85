// Package triggertest is the laws of a source, to be run on any implementation, a third party's included.
//
//	func TestLaws(t *testing.T) { triggertest.Run(t, triggertest.Harness{New: ...}) }
//
// The laws look for goroutines that were left behind: call Run from a test that is not parallel.
package triggertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/triggers"
	"go.uber.org/goleak"
)

// A Harness makes a source with who sends to it.
type Harness struct {
	New func(t *testing.T) End
}

// An End is a source and its far end: who sends.
type End struct {
	Source triggers.Source
	// Open is called once, before Run, with what the source is to hand events to; a source that is a path on a listener is served from here on.
	Open func(admit triggers.Admit)
	// Send gives the source's far end events, and returns at once. What is sent under one key keeps its order: for a source whose senders wait for the
	// answer, the next is sent once the one before is told. Events of one call may be sent as one batch.
	Send func(key string, events ...event.Event)
	// Garbage sends what is no CloudEvent, under a key.
	Garbage func(key string)
	// Told says what the sender has been told of an event, by its id: its last word.
	Told func(id string) Told
	// Close ends the far end, once Run has returned.
	Close func()
}

// Told is what a sender knows of an event.
type Told uint8

// What a sender may know.
const (
	Nothing      Told = iota // no answer yet; the offset is not committed
	Acknowledged             // it is the router's now
	Refused                  // it was refused, or set aside where somebody looks
)

var tolds = [...]string{Nothing: "nothing", Acknowledged: "acknowledged", Refused: "refused"}

// String returns the word.
func (w Told) String() string { return tolds[w] }

// Run holds a source to the laws.
func Run(t *testing.T, h Harness) {
	for name, law := range map[string]func(*testing.T, *bench){
		"nothing is acknowledged before it is durable":    notBefore,
		"an admission that fails is told, or comes again": failing,
		"events arrive exactly as sent":                   exactly,
		"the order of a key is kept":                      ordered,
		"what is no event blocks nothing":                 garbage,
		"what was refused is told":                        refused,
		"an end lets what was handed over finish":         ending,
		"an idle source ends":                             func(*testing.T, *bench) {},
	} {
		t.Run(name, func(t *testing.T) { use(t, h, law) })
	}
}

// patience bounds every wait; nothing that goes well comes near it.
const patience = 10 * time.Second

// A bench is a source at work.
type bench struct {
	End
	stop context.CancelFunc
	ran  chan error

	mu    sync.Mutex
	admit triggers.Admit // nil acknowledges everything
	seen  []event.Event
}

// use runs a law on a source at work, ends the source, and looks for what was left behind.
func use(t *testing.T, h Harness, law func(*testing.T, *bench)) {
	before := goleak.IgnoreCurrent()
	b := &bench{End: h.New(t), ran: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.Open(b.take)
	go func() { b.ran <- b.Source.Run(ctx, b.take) }()
	law(t, b)
	cancel()
	select {
	case err := <-b.ran:
		if err != nil {
			t.Errorf("Run returned %v after its context had ended", err)
		}
	case <-time.After(patience):
		t.Errorf("Run did not return within %s of its context's end", patience)
	}
	b.Close()
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Run and Close: %v", err)
	}
}

// take is the router: it keeps what was handed over, and then does as the law says.
func (b *bench) take(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
	b.mu.Lock()
	for i := range events {
		b.seen = append(b.seen, events[i].Clone())
	}
	admit := b.admit
	b.mu.Unlock()
	if admit != nil {
		return admit(ctx, events)
	}
	return receipts(events), nil
}

func receipts(events []event.Event) []triggers.Receipt {
	out := make([]triggers.Receipt, len(events))
	for i := range out {
		out[i].Kind = triggers.Matched
	}
	return out
}

func (b *bench) behave(admit triggers.Admit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.admit = admit
}

// times returns how often an event was handed over.
func (b *bench) times(id string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.seen {
		if b.seen[i].ID() == id {
			n++
		}
	}
	return n
}

func eventOf(id string) event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/laws")
	e.SetType("com.example.law")
	_ = e.SetData(event.ApplicationJSON, json.RawMessage(`{"n":1}`)) // JSON as it is marshals.
	return e
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// notBefore: while admission is under way the sender hears nothing.
func notBefore(t *testing.T, b *bench) {
	durable := make(chan struct{})
	b.behave(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		<-durable
		return receipts(events), nil
	})
	b.Send("a", eventOf("slow"))
	waitFor(t, "the event to be handed over", func() bool { return b.times("slow") == 1 })
	// A source that is wrong has this long to be found out; one that is right is never the slower for it.
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if told := b.Told("slow"); told != Nothing {
			t.Errorf("the sender was told %q before the event was durable", told)
			break
		}
	}
	close(durable)
	waitFor(t, "the acknowledgement", func() bool { return b.Told("slow") == Acknowledged })
}

// failing: when admission as a whole fails, the sender is told that the event was not taken, or it is handed over again.
func failing(t *testing.T, b *bench) {
	b.behave(func(context.Context, []event.Event) ([]triggers.Receipt, error) { return nil, triggers.ErrDraining })
	b.Send("a", eventOf("unlucky"))
	waitFor(t, "the event to be handed over", func() bool { return b.times("unlucky") > 0 })
	waitFor(t, "a refusal, or the event again", func() bool {
		return b.Told("unlucky") == Refused || b.times("unlucky") > 1
	})
	if told := b.Told("unlucky"); told == Acknowledged {
		t.Errorf("acknowledged though admission failed")
	}
	b.behave(nil)
	b.Send("a", eventOf("after"))
	waitFor(t, "a later event", func() bool { return b.Told("after") == Acknowledged })
}

// Awkward are events with texts, extensions and data that a wire may garble.
func Awkward() []event.Event {
	texts := eventOf("awkward ✓ \"id\" 100%")
	texts.SetSubject("größe \"100%\" 雪 %41 a=b; c, d")
	texts.SetTime(time.Date(2023, 11, 14, 22, 13, 20, 123456000, time.UTC))
	texts.SetDataSchema("https://example.com/schema?a=b%20c#d")
	for name, v := range map[string]any{
		"plain": "text", "quoted": `"quoted"`, "spaces": "two  spaces", "percent": "%e2%82%ac 100%", "snow": "☃ 雪 🙂", "backslash": `a\b\"c`,
		"accents": "é ü \u00a0 \U0010fffd", "number": int32(-7), "flag": true, "comma": "a, b;c", "causationid": "other~x.1", "partitionkey": "k",
	} {
		texts.SetExtension(name, v)
	}
	numbers := eventOf("numbers")
	_ = numbers.SetData(event.ApplicationJSON, json.RawMessage(`{"big":12345678901234567890,"same":1.0,"b":null,"a":"größe\u0000\n"}`)) // As above.
	text := eventOf("text")
	_ = text.SetData(event.TextPlain, "größe \" \\ \n 100%")
	xml := eventOf("xml")
	xml.SetDataContentType("application/xml; charset=utf-8")
	xml.DataEncoded = []byte("<a>ü</a>")
	binary := eventOf("binary")
	binary.SetDataContentType("application/octet-stream")
	binary.DataEncoded, binary.DataBase64 = []byte{0, 1, 2, 0xff, 0xfe, '\n'}, true
	none := eventOf("none")
	none.SetDataContentType("")
	none.DataEncoded = nil
	return []event.Event{texts, numbers, text, xml, binary, none}
}

// describe is all that an event says: attributes in their canonical text, and the data byte by byte.
func describe(e *event.Event) string {
	attrs := []string{
		"specversion=" + e.SpecVersion(), "id=" + e.ID(), "source=" + e.Source(), "type=" + e.Type(), "subject=" + e.Subject(),
		"datacontenttype=" + e.DataContentType(), "dataschema=" + e.DataSchema(), "time=" + types.FormatTime(e.Time()),
	}
	for name, v := range e.Extensions() {
		text, _ := types.Format(v) // What has no text is none of the types of an attribute.
		attrs = append(attrs, name+"="+text)
	}
	slices.Sort(attrs)
	return fmt.Sprintf("%q\n%q", attrs, e.Data())
}

// exactly: attributes, extensions nobody knows, and data arrive as they were sent.
func exactly(t *testing.T, b *bench) {
	want := Awkward()
	for i := range want {
		b.Send("a", want[i])
	}
	for i := range want {
		waitFor(t, "the acknowledgement of "+want[i].ID(), func() bool { return b.Told(want[i].ID()) == Acknowledged })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) != len(want) {
		t.Fatalf("%d events of %d", len(b.seen), len(want))
	}
	for i := range want {
		if got, sent := describe(&b.seen[i]), describe(&want[i]); got != sent {
			t.Errorf("sent\n%s\nand handed over\n%s", sent, got)
		}
	}
}

// ordered: three senders at a time, and each one's events come in its order.
func ordered(t *testing.T, b *bench) {
	const n = 60
	keys := []string{"a", "b", "c"}
	for i := range n {
		for _, key := range keys {
			if i%10 == 0 { // Now and then two at a time.
				b.Send(key, eventOf(fmt.Sprintf("%s/%d.0", key, i)), eventOf(fmt.Sprintf("%s/%d.1", key, i)))
			} else {
				b.Send(key, eventOf(fmt.Sprintf("%s/%d.0", key, i)))
			}
		}
	}
	for _, key := range keys {
		waitFor(t, "the last of "+key, func() bool { return b.Told(fmt.Sprintf("%s/%d.0", key, n-1)) == Acknowledged })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range keys {
		var got, want []string
		for i := range b.seen {
			if id := b.seen[i].ID(); strings.HasPrefix(id, key+"/") {
				got = append(got, id)
			}
		}
		for i := range n {
			want = append(want, fmt.Sprintf("%s/%d.0", key, i))
			if i%10 == 0 {
				want = append(want, fmt.Sprintf("%s/%d.1", key, i))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("key %s: %q; want %q", key, got, want)
		}
	}
}

// garbage: what is no event is never handed over, and what follows it is.
func garbage(t *testing.T, b *bench) {
	b.Garbage("a")
	b.Send("a", eventOf("good"))
	b.Garbage("a")
	b.Garbage("b")
	b.Send("a", eventOf("better"))
	b.Send("b", eventOf("best"))
	for _, id := range []string{"good", "better", "best"} {
		waitFor(t, id, func() bool { return b.Told(id) == Acknowledged })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.seen {
		if err := b.seen[i].Validate(); err != nil {
			t.Errorf("handed over: %v", err)
		}
	}
	if len(b.seen) != 3 {
		t.Errorf("%d events were handed over of 3", len(b.seen))
	}
}

// refused: an event that the router does not take is told as such, with the cause it has; those beside it are acknowledged.
func refused(t *testing.T, b *bench) {
	b.behave(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		out := receipts(events)
		for i := range events {
			switch events[i].ID() {
			case "invalid":
				out[i].Err = fmt.Errorf("%w: the law says so", triggers.ErrInvalid)
			case "large":
				out[i].Err = triggers.ErrTooLarge
			case "unwanted":
				out[i].Err = fmt.Errorf("%w: this source does not take it", triggers.ErrRefused)
			case "busy":
				out[i].Err = triggers.ErrBusy
			}
		}
		return out, nil
	})
	b.Send("a", eventOf("first"), eventOf("invalid"), eventOf("third"))
	b.Send("b", eventOf("large"))
	b.Send("d", eventOf("unwanted"))
	b.Send("c", eventOf("busy"))
	for _, id := range []string{"first", "third"} {
		waitFor(t, "the acknowledgement of "+id, func() bool { return b.Told(id) == Acknowledged })
	}
	for _, id := range []string{"invalid", "large", "unwanted"} {
		waitFor(t, "the refusal of "+id, func() bool { return b.Told(id) == Refused })
	}
	waitFor(t, "the refusal of busy, or busy again", func() bool { return b.Told("busy") == Refused || b.times("busy") > 1 })
	b.behave(nil)
}

// ending: Run does not return before what it handed over is durable, and that is acknowledged.
func ending(t *testing.T, b *bench) {
	durable := make(chan struct{})
	b.behave(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		<-durable
		return receipts(events), nil
	})
	b.Send("a", eventOf("last"))
	waitFor(t, "the event to be handed over", func() bool { return b.times("last") == 1 })
	b.stop()
	select {
	case err := <-b.ran:
		t.Errorf("Run returned %v while an event was being admitted", err)
		b.ran <- err
	case <-time.After(30 * time.Millisecond): // As in notBefore.
	}
	close(durable)
	waitFor(t, "the acknowledgement", func() bool { return b.Told("last") == Acknowledged })
}
