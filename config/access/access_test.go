package access

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRightsAreSteps: each is also all of those before it, and no right is none.
func TestRightsAreSteps(t *testing.T) {
	t.Parallel()
	for has, may := range map[Right][]bool{0: {false, false, false}, Read: {true, false, false}, Operate: {true, true, false}, Admin: {true, true, true}} {
		for i, want := range []Right{Read, Operate, Admin} {
			if got := (Who{Right: has}).May(want); got != may[i] {
				t.Errorf("%s may %s: %v", has, want, got)
			}
		}
		if (Who{Right: has}).May(0) {
			t.Errorf("%s may what needs no right that is", has)
		}
	}
	if w := (Who{Right: Read, Tenant: "a"}); !w.Owns("a") || w.Owns("b") || w.Owns("") || !Everything.Owns("b") {
		t.Error("a tenant's is another's")
	}
}

// TestWhoAsksIsCarriedWhole between routers, whatever a tenant is called.
func TestWhoAsksIsCarriedWhole(t *testing.T) {
	t.Parallel()
	for _, w := range []Who{Everything, {"ci", Operate, "shop"}, {"a;b", Read, "x;admin;\n ü"}} {
		got, err := Decode(w.Encode())
		if err != nil || got != w || strings.ContainsAny(w.Encode(), "\r\n ") {
			t.Errorf("%+v became %+v, %v", w, got, err)
		}
	}
	for _, bad := range []string{"", "admin", "root;;", "none;;", "read;%zz;", "read;a;b;c"} {
		if w, err := Decode(bad); err == nil || w != (Who{}) {
			t.Errorf("%q is %+v", bad, w)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTokensAreKnown by their hash, a variable or a file; what is in the file of a token counts within a second, and the file of tokens when it is read again.
func TestTokensAreKnown(t *testing.T) {
	dir := t.TempDir()
	path, secret := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "secret")
	token, hash := New()
	t.Setenv("ACCESS_TEST_TOKEN", "by-env")
	write(t, secret, "by-file\n")
	write(t, path, "tokens:\n  hashed: { right: read, sha256: "+hash+" }\n  env: { right: operate, tenant: shop, env: ACCESS_TEST_TOKEN }\n  file: { right: admin, file: "+secret+" }\n")
	tokens, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tokens.now = func() time.Time { return now }
	check := func(token string, want Who) {
		t.Helper()
		if got, known := tokens.Of(token); got != want || known != (want != Who{}) {
			t.Errorf("%q is %+v, %v", token, got, known)
		}
	}
	check(token, Who{"hashed", Read, ""})
	check("by-env", Who{"env", Operate, "shop"})
	check("by-file", Who{"file", Admin, ""})
	for _, nobody := range []string{"", "by", hash, "by-file\n"} {
		check(nobody, Who{})
	}
	if names := tokens.Secrets(); len(names) != 1 || names[0] != "ACCESS_TEST_TOKEN" {
		t.Errorf("secrets %q", names)
	}

	write(t, secret, "renewed")
	now = now.Add(2 * time.Second)
	check("by-file", Who{})
	check("renewed", Who{"file", Admin, ""})
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	check("renewed", Who{})
	check("", Who{}) // What is not there is not what nothing opens.

	write(t, path, "tokens: { other: { right: read, sha256: nonsense } }")
	if err := tokens.Reload(); err == nil {
		t.Error("nonsense is reloaded")
	}
	check(token, Who{"hashed", Read, ""})
	next, hash := New()
	write(t, path, "tokens: { next: { right: operate, sha256: "+hash+" } }")
	if err := tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	check(token, Who{})
	check(next, Who{"next", Operate, ""})
}

// TestWhatIsWrongWithTokens is refused, with what to write.
func TestWhatIsWrongWithTokens(t *testing.T) {
	t.Parallel()
	_, hash := New()
	for text, want := range map[string]string{
		"":           "one mapping",
		"tokens: 1":  "write { key: value }",
		"tokens: {}": "onward token new prints the line",
		"token: {}":  `did you mean "tokens"`,
		"tokens: { a: { right: write, sha256: " + hash + " } }":                                                            `"write" is no right`,
		"tokens: { a: { sha256: " + hash + " } }":                                                                          "right",
		"tokens: { a: { right: read } }":                                                                                   "one of sha256, env and file",
		"tokens: { a: { right: read, sha256: " + hash + ", env: X } }":                                                     "one of sha256, env and file",
		"tokens: { a: { right: read, sha256: abcd } }":                                                                     "64 digits",
		"tokens: { a: { right: read, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 } }":         "empty text",
		"tokens: { a: { right: read, env: ACCESS_TEST_UNSET } }":                                                           `token "a"`,
		"tokens: { a: { right: read, sha256: " + hash + " }, b: { right: admin, sha256: " + strings.ToUpper(hash) + " } }": `"a" and "b" are the same`,
		"tokens: { a: { right: read, tennant: x, sha256: " + hash + " } }":                                                 `did you mean "tenant"`,
	} {
		path := filepath.Join(t.TempDir(), "tokens.yaml")
		write(t, path, text)
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nis %v; want %s", text, err, want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "auth.tokens") {
		t.Error(err)
	}
}
