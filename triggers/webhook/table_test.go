package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope/envelopetest"
	"github.com/onward-router/onward/triggers"
)

// TestTable runs every case of the reader's table through the handler: the same events, or 4xx with the same reason.
func TestTable(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range envelopetest.Cases() {
		if !c.At(envelopetest.HTTP) {
			continue
		}
		n++
		var got []event.Event
		source, err := New("inbox", settings())
		if err != nil {
			t.Fatal(err)
		}
		_, h := source.(*Webhook).Handler(func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
			got = events
			return taking(ctx, events)
		})
		r := httptest.NewRequest("POST", "/events", strings.NewReader(c.Body))
		r.Header = c.Header()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		var said triggers.Refusal
		if rec.Code != 202 {
			if err = json.Unmarshal(rec.Body.Bytes(), &said); err != nil || rec.Code/100 != 4 {
				t.Errorf("%s: %d %s", c.Name, rec.Code, rec.Body)
			}
			err = errors.New(said.Error.Message)
		}
		if wrong := c.Judge(got, err); wrong != "" {
			t.Errorf("%s: %.600s", c.Name, wrong)
		}
	}
	if n < 300 {
		t.Errorf("%d cases", n)
	}
}
