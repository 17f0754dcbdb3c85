package config_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
)

// TestAnswers finds what is wrong with a file of answers, all at once.
func TestAnswers(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Load([]string{"../deploy/examples/03-approval/approval.yaml"}, reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	for name, c := range map[string]struct{ text, want string }{
		"good":             {"functions: { tell: [{ when: \"${ attempt == 1 }\", lost: true }, { times: 2, error: boom }, { continue: 1, times: 1 }, { result: null }] }\nsignals: [{ name: approved, after: 1h }]", ""},
		"no answer":        {"functions: {}", `function "tell" has no answer`},
		"unknown function": {"functions: { tell: { result: 1 }, tel: { result: 1 } }", `did you mean "tell"?`},
		"says nothing":     {"functions: { tell: { after: 1s } }", "this one 0"},
		"says two things":  {"functions: { tell: { result: 1, lost: true } }", "this one 2"},
		"never given":      {"functions: { tell: [{ result: 1 }, { result: 2 }] }", "never given"},
		"unknown name":     {"functions: { tell: { result: \"${ inptu }\" } }", `did you mean "input"?`},
		"bad class":        {"functions: { tell: { error: { type: x, class: odd } } }", "unknown error class"},
		"empty":            {"", "answers are one document"},
	} {
		_, findings := config.ParseAnswers("answers.yaml", []byte(c.text), reg, set, "expense")
		var lines []string
		for _, f := range findings {
			lines = append(lines, f.String())
		}
		if got := strings.Join(lines, "\n"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}
