package schedulers_test

import (
	"os"
	"strings"
	"testing"
)

// TestREADME: the policy that the README shows is the one that runs as an example, to the letter.
func TestREADME(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "```go\n// A Quorum")
	shown, _, _ = strings.Cut(shown, "```")
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	if len(lines) < 20 {
		t.Fatalf("the README shows %d lines of a policy", len(lines))
	}
	for _, line := range lines {
		if line = strings.TrimSpace(line); !strings.Contains(string(source), line) {
			t.Errorf("the README says %q, and the example does not", line)
		}
	}
}
