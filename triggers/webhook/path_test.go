package webhook

import (
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// TestPaths: a path has one spelling, and is not the router's own.
func TestPaths(t *testing.T) {
	t.Parallel()
	for path, good := range map[string]bool{
		"/events": true, "/": true, "/a/b/": true, "/.well-known/events": true, "/v1x": true, "/v2/runs": true, "/a.b": true, "/hooks/git@hub:1": true, "/..a": true,
		"": false, "events": false, "/v1": false, "/v1/": false, "/v1/runs": false, "//v1/runs": false, "/a//b": false, "/./v1": false, "/../v1": false, "/a/../v1": false, "/a/.": false,
		"/a/..": false, "/metrics": false, "/healthz": false, "/readyz/": false, "/a b": false, "/{x}": false, "/a?b": false, "/a#b": false, "/%76%31/runs": false, "/a\x00": false, "/ü": false, "/a\\b": false,
	} {
		if problems := (&Settings{Path: path, MaxEvent: 1, MaxBatch: 1}).Check(); (len(problems) == 0) != good {
			t.Errorf("%q: %v", path, problems)
		}
	}
}

// TestALengthIsNotBelieved: who tells a long body and sends none of it takes up no room for it.
func TestALengthIsNotBelieved(t *testing.T) {
	began := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := began()
	const callers = 200
	for range callers {
		r := httptest.NewRequest("POST", "/events", io.LimitReader(strings.NewReader("{}"), 2))
		r.ContentLength = 1 << 20
		if _, err := readBody(httptest.NewRecorder(), r, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if each := (began() - before) / callers; each > 64<<10 {
		t.Errorf("%d bytes were allocated for each of them", each)
	}
}
