package envelope

import "testing"

func TestDecodeHeader(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "Euro%20%E2%82%AC%20%f0%9f%98%80": "Euro € 😀", `"quoted text"`: "quoted text", `"a \"b\" \\ c"`: `a "b" \ c`, `"%20"`: " ",
		"100%": "100%", "%zz": "%zz", "%2": "%2", "%2525": "%25", `"`: `"`, `"a\"`: `a\`, "": "",
	} {
		if got := decodeHeader(in); got != want {
			t.Errorf("%q: %q; want %q", in, got, want)
		}
	}
}
