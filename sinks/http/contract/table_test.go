package contract

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/envelope/envelopetest"
	"github.com/onward-router/onward/sinks/sinktest"
)

// TestTable runs every case of the reader's table through a function's answer: the value that it is, or a failure that says why it is none.
func TestTable(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range envelopetest.Cases() {
		if !c.At(envelopetest.Answer) {
			continue
		}
		n++
		got := sinktest.Describe(judge(invocation(t.Context()), 200, c.Header(), []byte(c.Body)))
		want, reason := c.Answered()
		switch {
		case reason == "" && got != "completed "+want:
			t.Errorf("%s: %.300s; want %.300s", c.Name, got, want)
		case reason != "" && !(strings.HasPrefix(got, "error function bad_response") || strings.HasPrefix(got, "error function too_large")):
			t.Errorf("%s: %.300s; want a failure with %q", c.Name, got, reason)
		}
	}
	if n < 250 {
		t.Errorf("%d cases", n)
	}
}
