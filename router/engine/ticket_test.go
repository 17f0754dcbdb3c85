package engine_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/router/engine"
)

// TestTickets: what was accepted is read with its tickets and without, as it was written; what cannot be a ticket is in no record and in no question.
func TestTickets(t *testing.T) {
	t.Parallel()
	for _, f := range []engine.AcceptedFact{
		{Numbers: []uint32{}}, {Numbers: []uint32{1}}, {Numbers: []uint32{1, 2, 3}},
		{Numbers: []uint32{1}, Tickets: []string{"44794bd6aab74415b4e42a308d880e5b"}}, {Numbers: []uint32{7, 9}, Tickets: []string{"", strings.Repeat("é", 64)}},
	} {
		got, err := engine.DecodeAccepted(f.Append(nil))
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%+v: %+v, %v", f, got, err)
		}
		if f.Tickets == nil { // As binaries wrote it that knew none.
			if old := (&engine.NumbersFact{Numbers: f.Numbers}).Append(nil); !slices.Equal(old, f.Append(nil)) {
				t.Errorf("%+v: %x", f, old)
			}
		}
	}
	for _, bad := range []string{strings.Repeat("x", engine.MaxTicket+1), "a\nb", "\x7f", "\xff", "\u0085"} {
		if engine.IsTicket(bad) {
			t.Errorf("%q is a ticket", bad)
		}
		if got, err := engine.DecodeAccepted((&engine.AcceptedFact{Numbers: []uint32{1}, Tickets: []string{bad}}).Append(nil)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
		if got, err := engine.DecodeTickets(engine.AppendTickets(nil, []string{"a", bad})); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
	for _, f := range []engine.AcceptedFact{{Numbers: []uint32{1, 2}, Tickets: []string{"a"}}, {Numbers: []uint32{1}, Tickets: []string{"a", "b"}}, {Numbers: []uint32{1}, Tickets: []string{""}}} {
		if got, err := engine.DecodeAccepted(f.Append(nil)); err == nil {
			t.Errorf("%+v: %+v", f, got)
		}
	}
	list := []string{"a", "b c", strings.Repeat("x", engine.MaxTicket)}
	if got, err := engine.DecodeTickets(engine.AppendTickets(nil, list)); err != nil || !slices.Equal(got, list) {
		t.Errorf("%q, %v", got, err)
	}
}
