package lang

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSynonymsAreOurs: what another tool's word is said to mean is a policy or a key that there is.
func TestSynonymsAreOurs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../reference/*.md")
	if err != nil || len(pages) < 20 {
		t.Fatal(pages, err)
	}
	all := ""
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		for _, door := range []string{"policy-", "source-", "sink-"} {
			name = strings.TrimPrefix(name, door)
		}
		all += "`" + name + "`\n" + string(text)
	}
	for word, meant := range synonyms {
		for _, ours := range strings.Fields(meant) {
			if ours == word || !strings.Contains(all, "`"+ours+"`") && !strings.Contains(all, "."+ours+"`") {
				t.Errorf("%q is said to mean %q, which is no policy or key", word, ours)
			}
		}
	}
	known := []string{"forkjoin", "items", "do", "window", "timeout", "needs", "finally", "backoff", "saga"}
	for word, want := range map[string]string{
		"parallel": "forkjoin", "Parallel": "forkjoin", "ItemsPath": "items", "ItemProcessor": "do", "MaxConcurrency": "window", "TimeoutSeconds": "timeout", "withItems": "items", "depends": "needs",
		"onExit": "finally", "dependsOn": "needs", "DependsOn": "needs", "IntervalSeconds": "backoff", "rollback": "saga", "concurrency": "window", "over": "items", "step": "do", "back": "backoff",
	} {
		if got := Nearest(word, known); got != `did you mean "`+want+`"?` {
			t.Errorf("%s: %s", word, got)
		}
	}
	if got := Nearest("rollback", []string{"undo", "saga"}); got != `did you mean "undo"?` {
		t.Errorf("of two the first that can stand there is meant: %s", got)
	}
}
