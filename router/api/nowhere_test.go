package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/onward-router/onward/triggers"
)

// TestNowhere: where nothing is served the answer has the form of all refusals; a browser's is left to who serves pages.
func TestNowhere(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/functions/{f}/pause", func(http.ResponseWriter, *http.Request) {})
	for _, x := range []struct {
		method, path, accept, code, allow string
		status                            int
	}{
		{"GET", "/v1/runs", "", "", "", 200},
		{"GET", "/v1/nosuch", "", "unknown", "", 404},
		{"POST", "/nosuch", "text/html", "unknown", "", 404},
		{"DELETE", "/v1/runs", "", "method", "GET", 405},
		{"GET", "/v1/functions/f/pause", "application/json", "method", "POST", 405},
		{"GET", "/nosuch", "text/html", "", "", 404},
	} {
		w, q := httptest.NewRecorder(), httptest.NewRequest(x.method, x.path, nil)
		q.Header.Set("Accept", x.accept)
		nowhere(mux).ServeHTTP(w, q)
		var said triggers.Refusal
		_ = json.Unmarshal(w.Body.Bytes(), &said) // Of a page there is none.
		if w.Code != x.status || said.Error.Code != x.code || w.Header().Get("Allow") != x.allow || x.code != "" && said.Error.Cure == "" {
			t.Errorf("%s %s: %d %s %q", x.method, x.path, w.Code, w.Body, w.Header().Get("Allow"))
		}
	}
}

func TestPathsAsPeopleCount(t *testing.T) {
	t.Parallel()
	if got := shown([]string{"count[0]", "count[100]", "count[2]", "a", "count[2]/b", "count[10]", "count", "b[18446744073709551617]", "b[18446744073709551616]"}); !slices.Equal(got, []string{"a", "b[18446744073709551616]", "b[18446744073709551617]", "count", "count[0]", "count[2]", "count[2]/b", "count[10]", "count[100]"}) {
		t.Error(got)
	}
}
