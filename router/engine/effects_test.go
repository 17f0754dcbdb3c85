package engine

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// TestIDsAreShort: wherever a step stands, its ids fit into an attribute, and two steps have two.
func TestIDsAreShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a-step-with-a-long-name/", 300)
	seen := make(map[string]bool)
	for _, path := range []string{"f", long + "f", long + "g", long, strings.Repeat("ü", 400)} {
		inv := &Invocation{Run: journal.RunID{1}, N: 4_000_000_000, Path: path, Purpose: Call, Continued: 1}
		for _, text := range []string{inv.ID(), inv.IdempotencyKey()} {
			if seen[text] || len(text) > 600 || strings.ToValidUTF8(text, "?") != text {
				t.Errorf("%d bytes, or had before: %.60s", len(text), text)
			}
			seen[text] = true
		}
		if run, _, n, ok := ParseInvocationID(inv.ID()); !ok || run != inv.Run || n != inv.N {
			t.Errorf("%.60s does not read", inv.ID())
		}
	}
}
