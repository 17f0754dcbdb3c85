package command

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
)

// TestAPersonIsAsked before all letters of a choice are sent again or removed, and only a yes is one.
func TestAPersonIsAsked(t *testing.T) {
	t.Parallel()
	total := 3
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(router.Causes{Total: total})
	}))
	defer server.Close()
	for _, c := range []struct {
		answer string
		d      deed
		total  int
		asked  bool
		done   bool
	}{
		{"y\n", deed{all: true}, 3, true, true},
		{" YES \n", deed{all: true}, 3, true, true},
		{"n\n", deed{all: true}, 3, true, false},
		{"", deed{all: true}, 3, true, false},
		{"yesterday\n", deed{all: true}, 3, true, false},
		{"n\n", deed{all: true, yes: true}, 3, false, true},
		{"n\n", deed{all: true, dryRun: true}, 3, false, true},
		{"n\n", deed{}, 3, false, true},          // They are named.
		{"n\n", deed{all: true}, 0, false, true}, // There are none.
	} {
		total = c.total
		var errs bytes.Buffer
		p := &program{errs: &errs, in: strings.NewReader(c.answer)}
		err := p.sure(t.Context(), &client{addr: server.URL}, &c.d, "send again")
		if (err == nil) != c.done || strings.Contains(errs.String(), "send again 3 dead letters? [y/N]") != c.asked {
			t.Errorf("%q, %+v: %v, %q", c.answer, c.d, err, errs.String())
		}
	}
}
