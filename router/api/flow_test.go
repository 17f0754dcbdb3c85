package api

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
)

// TestFlowOfTheHistory: the definition by which a run ran is the history's, once no document and no open run has it; what cannot be read is not known.
func TestFlowOfTheHistory(t *testing.T) {
	t.Parallel()
	def := &lang.Definition{Trigger: "mine", Tenant: "default", Flow: &lang.Step{Use: lang.UseFunction, Target: "f"}, Functions: map[string]lang.Function{"f": {}}}
	digest := def.Digest()
	h := &house{ended: &engine.Ending{ID: myRun, Trigger: "mine", State: "failed", Again: &engine.Again{Definition: hex.EncodeToString(digest[:])}}}
	ask := serve(t, h, "")
	for what, x := range map[string]struct {
		kept []byte
		code int
	}{"kept": {engine.DefinePayload(def), 200}, "another": {engine.DefinePayload(&lang.Definition{Trigger: "mine"}), 409}, "spoiled": {[]byte("{"), 409}, "none": {nil, 409}} {
		h.definitions = map[lang.Digest][]byte{digest: x.kept}
		code, said, _ := ask("GET", "/v1/runs/"+myRun+"/flow", "")
		if code != x.code || code == 200 && (!strings.Contains(said, `"target":"f"`) || !strings.Contains(said, hex.EncodeToString(digest[:]))) {
			t.Errorf("%s: %d %s", what, code, said)
		}
	}
}
