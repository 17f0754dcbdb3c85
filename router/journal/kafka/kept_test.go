package kafka

import (
	"fmt"
	"testing"
)

// TestKept: what one router keeps another reads, the last of each key, and the layout stays what it is.
func TestKept(t *testing.T) {
	t.Parallel()
	b := newBed(t, fakeBroker(t), 1)
	one, other := b.open(t, b.options()), b.open(t, b.options())
	check := func(want string) {
		t.Helper()
		kept, err := other.Kept(t.Context())
		if got := fmt.Sprintf("%s", kept); err != nil || got != want {
			t.Errorf("%s, %v; due: %s", got, err, want)
		}
	}
	check("map[]")
	for _, x := range [][2]string{{"function/f", "1"}, {"trigger/t", "2"}, {"function/f", "3"}} {
		if err := one.Keep(t.Context(), x[0], []byte(x[1])); err != nil {
			t.Fatal(err)
		}
	}
	check("map[function/f:3 trigger/t:2]")
	if err := one.Keep(t.Context(), "trigger/t", []byte("4")); err != nil {
		t.Fatal(err)
	}
	check("map[function/f:3 trigger/t:4]")
	if again := b.open(t, b.options()); again.Layout() != one.Layout() {
		t.Error("the layout is another")
	}
}
