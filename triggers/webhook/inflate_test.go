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
	if n := most.Load(); n > inflating || len(w.inflated) != 0 {
		t.Errorf("%d were at work at a time; %d places are taken yet", n, len(w.inflated))
	}
}
