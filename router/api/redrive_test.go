package api

import (
	"errors"
	"net/url"
	"testing"
)

// Who wanted to look only, and mistyped it, starts nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "true": true, "1": true, "false": false, "0": false} {
		if dry, err := dryRun(url.Values{"dryRun": {text}}); err != nil || dry != want {
			t.Errorf("%q: %t, %v", text, dry, err)
		}
	}
	for _, text := range []string{"maybe", "yes", "TRUE ", "\x00"} {
		if _, err := dryRun(url.Values{"dryRun": {text}}); !errors.Is(err, errRequest) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
