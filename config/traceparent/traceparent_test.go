package traceparent_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/traceparent"
)

const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestValid holds what is taken to the examples of the recommendation, and to what people send besides.
func TestValid(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		good: true, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00": true, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff": true,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes": true, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09": true,
		"": false, "garbage": false, "00-1-2-01": false, good + "-more": false, good + "x": false, good[:54]: false, "cc" + good[2:] + "x": false,
		"ff" + good[2:]: false, strings.ToUpper(good): false, strings.Replace(good, "-", "_", 1): false, strings.Replace(good, "a", "g", 1): false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		" " + good: false, strings.Repeat("0", 10_000): false, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é": false,
	} {
		if got := traceparent.Valid(text); got != want {
			t.Errorf("%.80q: %t", text, got)
		}
	}
}

// TestContext is what a text says, and a text of what it says.
func TestContext(t *testing.T) {
	t.Parallel()
	c, ok := traceparent.Of(good, "vendor=1,other=2")
	if !ok || !c.Sampled() || c.State != "vendor=1,other=2" || traceparent.New(c.Trace(), c.Span(), c.Sampled(), c.State) != c {
		t.Errorf("%+v, %t", c, ok)
	}
	for flags, want := range map[string]bool{"00": false, "01": true, "02": false, "0a": false, "0b": true, "ff": true} {
		if c, ok := traceparent.Of(good[:53]+flags, ""); !ok || c.Sampled() != want {
			t.Errorf("%s: %t, %t", flags, ok, c.Sampled())
		}
	}
	for _, state := range []string{strings.Repeat("a", traceparent.StateMost+1), "a=\x00", "a=é", "a\r\nb"} {
		if c, ok := traceparent.Of(good, state); !ok || c.State != "" {
			t.Errorf("%.20q is passed on", state)
		}
	}
	var none traceparent.Context
	if c, ok := traceparent.Of("garbage", "a=1"); ok || c != none || none.Sampled() || none.Trace() != [16]byte{} || none.Span() != [8]byte{} {
		t.Errorf("%+v", c)
	}
}

// FuzzOf: whatever comes is no panic, and what is taken names a span.
func FuzzOf(f *testing.F) {
	f.Add(good, "a=1")
	f.Add("cc"+good[2:]+"-x", "")
	f.Add("garbage", "\x00")
	f.Fuzz(func(t *testing.T, parent, state string) {
		if c, ok := traceparent.Of(parent, state); ok && (c.Trace() == [16]byte{} || c.Span() == [8]byte{}) {
			t.Errorf("%q names nothing", parent)
		}
	})
}
