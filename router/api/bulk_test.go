package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestBulk: what is meant must be said, and rightly; a dry run names the runs and does nothing.
func TestBulk(t *testing.T) {
	t.Parallel()
	h, ask := newTown(t)
	token := []string{"Authorization", "Bearer admin"}
	for path, cure := range map[string]string{
		"/v1/runs/cancel":                            "which runs? say state",
		"/v1/runs/cancel?limit=3":                    "which runs? say state",
		"/v1/runs/cancel?state=failed&limt=3":        "did you mean",
		"/v1/runs/cancel?state=failed&rate=fast":     "rate: ",
		"/v1/runs/cancel?state=failed&from=a":        "unknown parameter",
		"/v1/runs/signal?state=running":              "which signal? say signal",
		"/v1/runs/redrive?state=failed&dryRun=maybe": "write true or false",
	} {
		if code, said, _ := ask("POST", path, "", token...); code != 400 || !strings.Contains(said, cure) {
			t.Errorf("%s: %d %s", path, code, said)
		}
	}
	code, said, _ := ask("POST", "/v1/runs/cancel?trigger=mine&dryRun=true", "", token...)
	var done BulkDone
	if err := json.Unmarshal([]byte(said), &done); code != 200 || err != nil || done.Runs != 1 || done.Done != 1 || !done.DryRun || len(h.asked) > 0 {
		t.Errorf("%d %s, %v", code, said, h.asked)
	}
	code, said, head := ask("POST", "/v1/runs/redrive?trigger=mine", "", append(token, "Accept", Lines)...)
	lines := strings.Split(strings.TrimSpace(said), "\n")
	var one BulkRun
	if code != 200 || head.Get("Content-Type") != Lines || len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &one) != nil || one.Run != myRun || one.Error == nil || one.Error.Cure == "" {
		t.Errorf("%d %s", code, said)
	}
	if err := json.Unmarshal([]byte(lines[2]), &done); err != nil || done.Refused != 1 || len(done.Errors) != 1 {
		t.Errorf("%s", lines[2])
	}
}
