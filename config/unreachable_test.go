package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
)

// TestUnreachableSteps: what stands behind a step that never succeeds is said, and is no fault.
func TestUnreachableSteps(t *testing.T) {
	t.Parallel()
	for flow, want := range map[string]string{
		`[{ function: f }, { fail: no }, { function: f }]`:                                                               "sequence.2: it can never run",
		`[{ end: 1 }, { function: f }]`:                                                                                  "sequence.1: it can never run",
		`[{ sequence: [{ function: f }, { end: 1 }] }, { function: f }]`:                                                 "sequence.1: it can never run",
		`[{ flow: ends }, { function: f }]`:                                                                              "sequence.1: it can never run",
		`[{ function: f }, { fail: no }]`:                                                                                "",
		`[{ when: "${ data.x }", fail: no }, { function: f }]`:                                                           "",
		`[{ fail: no, catch: [{ do: { pass: 1 } }] }, { function: f }]`:                                                  "",
		`[{ choice: { cases: [{ if: "${ data.x }", end: 1 }], else: { pass: 1 } } }, { function: f }]`:                   "",
		`[{ sequence: [{ when: "${ data.x }", end: 1 }, { pass: 1 }] }, { function: f }]`:                                "",
		`[{ forkjoin: [{ fail: no }, { pass: 1 }], catch: [{ do: { pass: 2 } }] }, { function: f }]`:                     "",
		`[{ map: { items: 1, do: { sequence: [{ end: 1 }, { function: f }] } } }]`:                                       "sequence.1: it can never run",
		`[{ flow: ends, catch: [{ do: { sequence: [{ fail: x }, { function: f }] } }] }, { function: f }, { pass: 1 } ]`: "sequence.1: it can never run",
	} {
		set, findings := config.Parse("t.yaml", []byte(fmt.Sprintf(`version: 1
functions: { f: { http: { url: "http://127.0.0.1:1/f" } } }
flows: { ends: { sequence: [{ end: 1 }] } }
triggers: { t: { flow: { sequence: %s } } }
`, flow)), registry(), nil)
		if set == nil || len(findings) > 0 {
			t.Errorf("%s: %v", flow, findings)
			continue
		}
		if got := fmt.Sprint(set.Warnings); (want == "") != (len(set.Warnings) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %q", flow, got, want)
		}
	}
}

// TestTwinsOfWaits: a second try of what waits for a signal is refused, wherever the wait stands; a reducer gets none.
func TestTwinsOfWaits(t *testing.T) {
	t.Parallel()
	const refused = "a second try of a step that waits for a signal"
	for flow, want := range map[string]string{
		`{ map: { items: 3, speculate: 10s, do: { sequence: [{ function: f }, { signal: go }] } } }`:                   refused,
		`{ map: { items: 3, speculate: 10s, do: { flow: outer } } }`:                                                   refused,
		`{ forkjoin: { branches: [{ function: f }, { flow: outer }], speculate: 10s } }`:                               refused,
		`{ map: { items: 3, speculate: 10s, do: { sequence: [{ function: f, catch: [{ do: { flow: waits } }] }] } } }`: refused,
		`{ map: { items: 3, do: { flow: outer } } }`:                                                                   "",
		`{ map: { items: 3, speculate: 10s, groupBy: "${ item }", do: { function: f }, reduce: { flow: outer } } }`:    "",
		`{ sequence: [{ flow: outer }, { map: { items: 3, speculate: 10s, do: { function: f } } }] }`:                  "",
	} {
		_, findings := config.Parse("t.yaml", []byte(fmt.Sprintf(`version: 1
functions: { f: { http: { url: "http://127.0.0.1:1/f" } } }
flows: { waits: { signal: go }, outer: { sequence: [{ function: f }, { flow: waits }] } }
triggers: { t: { flow: %s } }
`, flow)), registry(), nil)
		if got := fmt.Sprint(findings); (want == "") != (len(findings) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %q", flow, got, want)
		}
	}
}
