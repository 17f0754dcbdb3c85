package api

import (
	"strings"
	"testing"
)

// TestWhatIsNoFlagDoesNothing: somebody who wanted to look, and mistyped it, is to start nothing. So is a word that is none, and a parameter that there is not.
func TestWhatIsNoFlagDoesNothing(t *testing.T) {
	t.Parallel()
	h := new(house)
	ask := serve(t, h, "")
	for query, want := range map[string]string{
		"rerun?dryRun=maybe": `dryRun is \"maybe\"; write true or false`, "redrive?definition=newest": "write latest", "redrive?dry-run=true": `unknown parameter \"dry-run\"; did you mean \"dryRun\"`,
		"rerun?input=here": "write given",
	} {
		if code, body, _ := ask("POST", "/v1/runs/"+myRun+"/"+query, "1"); code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
	if len(h.asked) > 0 {
		t.Errorf("%q was done", h.asked)
	}
}
