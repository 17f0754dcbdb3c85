package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
)

const tenantsDocument = `
version: 1
triggers:
  asks: { tenant: red, flow: { signal: go } }
  other: { tenant: blue, flow: { signal: go } }
`

// tokensOf writes a file of tokens that are their own names, each RIGHT or TENANT-RIGHT.
func tokensOf(t *testing.T, names ...string) *access.Tokens {
	t.Helper()
	dir, text := t.TempDir(), "tokens:\n"
	for _, name := range names {
		tenant, right, ok := strings.Cut(name, "-")
		if !ok {
			tenant, right = "", name
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  %s: { right: %s, tenant: %q, file: %q }\n", name, right, tenant, filepath.Join(dir, name))
	}
	path := filepath.Join(dir, "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := access.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// TestTenantsOfSeveralRouters: a tenant's token sees and steers that tenant's runs at whichever router it asks, and others' at none; a router asks another one
// with the right of who asks it.
func TestTenantsOfSeveralRouters(t *testing.T) {
	t.Parallel()
	tokens := tokensOf(t, "admin", "read", "red-operate", "red-read", "blue-admin")
	c := openCluster(t, 2, tenantsDocument, func(_ int, o *router.Options) { o.Tokens = tokens })
	ask := func(member int, token, method, path string) (int, string) {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+c.members[member].address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		q.Header.Set("Onward-Caller", access.Everything.Encode()) // Of no worth without a router's proof.
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	mine, theirs := c.asks(0), c.asks(1)
	for member := range c.members {
		for _, run := range []journal.RunID{mine, theirs} {
			path := "/v1/runs/" + run.String()
			for _, x := range []struct {
				token, method, path string
				code                int
			}{
				{"red-read", "GET", path, 200}, {"read", "GET", path + "/explain", 200}, {"blue-admin", "GET", path, 404}, {"blue-admin", "GET", path + "/explain", 404}, {"blue-admin", "GET", path + "/steps", 404},
				{"red-read", "POST", path + "/cancel", 403}, {"blue-admin", "POST", path + "/cancel", 404}, {"blue-admin", "POST", path + "/signals/go", 404}, {"nobody", "GET", path, 401},
				{"red-operate", "POST", path + "/pause", 200}, {"red-operate", "POST", path + "/resume", 200},
			} {
				eventually(t, func() error {
					if code, said := ask(member, x.token, x.method, x.path); code != x.code {
						return fmt.Errorf("router %d, %s: %s %s: %d %s; want %d", member, x.token, x.method, x.path, code, said, x.code)
					}
					return nil
				})
			}
		}
		for token, want := range map[string]int{"admin": c.started, "red-read": c.started, "blue-admin": 0} {
			for _, list := range []string{"/v1/runs", "/v1/waits", "/v1/runs?trigger=asks&limit=1"} {
				code, said := ask(member, token, "GET", list)
				var total struct{ Total int }
				if err := json.Unmarshal([]byte(said), &total); code != 200 || err != nil || total.Total != want || want == 0 && strings.Contains(said, "asks") {
					t.Errorf("router %d, %s: %s: %d %s", member, token, list, code, said)
				}
			}
		}
	}
	if code, said := ask(0, "blue-admin", "POST", "/v1/triggers/asks"); code != 404 || strings.Contains(said, `did you mean "asks"`) {
		t.Errorf("another tenant's trigger: %d %s", code, said)
	}
	if code, said := ask(0, "red-operate", "POST", "/v1/runs/"+theirs.String()+"/cancel"); code != 200 {
		t.Errorf("one's own run at another router: %d %s", code, said)
	}
}
