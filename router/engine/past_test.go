package engine

import (
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
)

// TestPastEventIsWrittenAsTagged: what is written by hand is what encoding/json would have made of the tags, to the byte.
func TestPastEventIsWrittenAsTagged(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 27, 14, 0, 0, 120, time.UTC)
	for _, e := range []PastEvent{
		{},
		{ID: "e-1", Source: "/s", Type: "t", Came: at, By: "inbox", Taken: "matched", Note: "why", Runs: []PastRun{{"r1", "a"}}, Again: true},
		{ID: "ü\"\\\n\u2028\xff<&>", Source: "s\x00", Type: "t\x7f", Came: at.In(time.FixedZone("", 3600)), Taken: "refused", Runs: []PastRun{{"r1", "a\t"}, {"r2", "b"}}},
	} {
		if got, want := string(e.Append(nil)), lang.Of(&e).JSON(); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
}
