package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/triggers"
)

// TestFewBodiesAreDecompressedAtATime: a hundred callers who send a kilobyte that becomes a megabyte take turns; who sends a plain event does not wait for them.
func TestFewBodiesAreDecompressedAtATime(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write([]byte(`"` + strings.Repeat("x", 1<<20-2) + `"`)) // A buffer takes it.
	_ = z.Close()
	s, err := New("w", &Settings{Path: "/events", MaxEvent: 1 << 20, MaxBatch: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w := s.(*Webhook)
	var now, most atomic.Int64
	full, goOn := make(chan struct{}), make(chan struct{})
	admit := func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		if len(events[0].Data()) > 100 {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
				if n == inflating {
					close(full)
				}
			}
			<-goOn
			now.Add(-1)
		}
		return []triggers.Receipt{{Kind: triggers.Matched}}, nil
	}
	post := func(ctx context.Context, body []byte, encoding string) int {
		r := httptest.NewRequest("POST", "/events", bytes.NewReader(body)).WithContext(ctx)
		for _, h := range []string{"Ce-Specversion=1.0", "Ce-Id=1", "Ce-Source=/s", "Ce-Type=t", "Content-Type=application/json"} {
			name, v, _ := strings.Cut(h, "=")
			r.Header.Set(name, v)
		}
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		rec := httptest.NewRecorder()
		w.serve(rec, r, admit)
		return rec.Code
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if code := post(t.Context(), bomb.Bytes(), "gzip"); code != 202 {
				t.Errorf("%d", code)
			}
		})
	}
	<-full
	if code := post(t.Context(), []byte("1"), ""); code != 202 {
		t.Errorf("a plain event beside them: %d", code)
	}
	close(goOn)
	all.Wait()
	if n := most.Load(); n > inflating || !w.becoming.inflated.TryAcquire(inflating) {
		t.Errorf("%d were at work at a time; or places are taken yet", n)
	}
}

// TestLargeBatchesTakeTurns: an event of fifty bytes takes up a kilobyte, so what is read of batches at a time is bounded in events; who sends a plain event does not wait
// for them. More than a batch may have is refused, and of one with bad events the first is told.
func TestLargeBatchesTakeTurns(t *testing.T) {
	t.Parallel()
	s, err := New("w", &Settings{Path: "/events", MaxEvent: 1 << 20, MaxBatch: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w := s.(*Webhook)
	var now, most atomic.Int64
	full, goOn := make(chan struct{}), make(chan struct{})
	admit := func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		if len(events) > 1 {
			if n := now.Add(1); n > most.Load() {
				if most.Store(n); n == 3 {
					close(full)
				}
			}
			<-goOn
			now.Add(-1)
		}
		return make([]triggers.Receipt, len(events)), nil
	}
	post := func(ctx context.Context, body string) (int, string) {
		r := httptest.NewRequest("POST", "/events", strings.NewReader(body)).WithContext(ctx)
		r.Header.Set("Content-Type", "application/cloudevents-batch+json")
		rec := httptest.NewRecorder()
		w.serve(rec, r, admit)
		return rec.Code, rec.Body.String()
	}
	const one = `{"specversion":"1.0","id":"1","source":"/","type":"t"}`
	third := "[" + one + "," + one + strings.Repeat(" ", leastEvent*roomLarge/3-200) + "]"
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if code, said := post(t.Context(), third); code != 202 {
				t.Errorf("%d %.200s", code, said)
			}
		})
	}
	<-full
	gone, leave := context.WithCancel(t.Context())
	leave()
	post(gone, third) // It waits no longer than its sender.
	if code, said := post(t.Context(), "["+one+"]"); code != 202 {
		t.Errorf("a small batch beside them: %d %s", code, said)
	}
	close(goOn)
	all.Wait()
	if n := most.Load(); n > 3 || !w.becoming.large.TryAcquire(roomLarge) || !w.becoming.small.TryAcquire(roomSmall) {
		t.Errorf("%d were at work at a time; or places are taken yet", n)
	}
	w.becoming = newBecoming()
	for body, want := range map[string]string{
		"[" + strings.Repeat("1,", 1<<20) + "1]":                         `"event 0: the event is not a JSON object`,
		"[" + strings.Repeat(one+",", envelope.MaxBatchEvents) + "1]":    "a batch of more than 100000 events",
		"[" + one + "," + one + ",{}," + strings.Repeat("1,", 10) + "1]": `"event 2: specversion is missing`,
	} {
		if code, said := post(t.Context(), body); code/100 != 4 || !strings.Contains(said, want) {
			t.Errorf("%d %.300s; want %s", code, said, want)
		}
	}
}
