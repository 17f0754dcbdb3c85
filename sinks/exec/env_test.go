//go:build unix

package exec

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

// environment runs a program that prints its environment, and returns the names in it.
func environment(t *testing.T, s *Settings, h sinks.Host) map[string]string {
	t.Helper()
	s.Command = []string{"env", "-0"}
	k, err := New("f", s, h)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan sinks.Result, 1)
	k.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(sinktest.Awkward("one")), Invoke: true, Done: func(r sinks.Result) { done <- r }}})
	r := <-done
	var text string
	if err := json.Unmarshal(r.Completion.Data, &text); err != nil {
		t.Fatal(err, describe(r))
	}
	out := make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		name, value, _ := strings.Cut(line, "=")
		out[name] = value
	}
	return out
}

// TestOnlyWhatIsAllowedIsPassedOn is not parallel: it sets variables of the process.
func TestOnlyWhatIsAllowedIsPassedOn(t *testing.T) {
	secrets := []string{"AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "KAFKA_PASSWORD", "HTTPS_PROXY", "ONWARD_TOKEN", "ONWARD_KAFKA_SASL_PASSWORD_ENV", "LC_HOOK", "LD_PRELOAD_TEST"}
	for _, name := range secrets {
		t.Setenv(name, "s3cr3t")
	}
	t.Setenv("LC_ALL", "C")
	t.Setenv("JAVA_HOME", "/opt/java")
	t.Setenv("LANG", "C.UTF-8")
	named := func(name string) bool { return name == "LC_HOOK" || name == "DB_PASSWORD" }
	got := environment(t, &Settings{Env: Env{Pass: []string{"JAVA_HOME"}, Set: map[string]string{"MODE": "fast"}}}, sinks.Host{Secret: named})
	for name, value := range got {
		if value == "s3cr3t" {
			t.Errorf("%s reached a program", name)
		}
		if !strings.HasPrefix(name, "CE_") && !strings.HasPrefix(name, "LC_") && name != "JAVA_HOME" && name != "MODE" && !slices.Contains(passed, name) {
			t.Errorf("%s is in the environment, and nobody allowed it", name)
		}
	}
	for name, want := range map[string]string{"PATH": os.Getenv("PATH"), "LC_ALL": "C", "LANG": "C.UTF-8", "JAVA_HOME": "/opt/java", "MODE": "fast", "CE_ID": "one"} {
		if got[name] != want {
			t.Errorf("%s is %q; want %q", name, got[name], want)
		}
	}
}

// TestASecretIsGivenByThatNameOnly: listing a secret among what is passed on is refused, saying secrets: is the way.
func TestASecretIsGivenByThatNameOnly(t *testing.T) {
	t.Setenv("DB_PASSWORD", "s3cr3t")
	h := sinks.Host{Secret: func(name string) bool { return name == "DB_PASSWORD" }}
	if _, err := New("f", &Settings{Command: []string{"env"}, Env: Env{Pass: []string{"DB_PASSWORD"}}}, h); err == nil || !strings.Contains(err.Error(), "secrets: { DB_PASSWORD") {
		t.Error(err)
	}
	got := environment(t, &Settings{Secrets: map[string]plugin.Secret{"PW": {Env: "DB_PASSWORD"}}}, h)
	if got["PW"] != "s3cr3t" || got["DB_PASSWORD"] != "" {
		t.Error(got)
	}
}

func TestFormsOfEnv(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"command": ["x"], "env": ["A", "B=b=c", "C="]}`:                  "",
		`{"command": ["x"], "env": {"A": "1"}}`:                            "",
		`{"command": ["x"], "env": []}`:                                    "",
		`{"command": ["x"], "env": ["A", "A=1"]}`:                          `env.1: "A" comes twice; keep one`,
		`{"command": ["x"], "env": ["ONWARD_TOKEN"]}`:                      `env.0: "ONWARD_TOKEN" is the router's own (ONWARD_*) or the event's (CE_*); take another name; a secret goes under secrets: { NAME: { env: ... } }`,
		`{"command": ["x"], "env": {"CE_ID": "1"}}`:                        `env.CE_ID: "CE_ID" is the router's own (ONWARD_*) or the event's (CE_*); take another name; a secret goes under secrets: { NAME: { env: ... } }`,
		`{"command": ["x"], "env": ["=1"]}`:                                `env.0: "" is not the name of a variable; write NAME or NAME=value`,
		`{"command": ["x"], "env": ["A B"]}`:                               `env.0: "A B" is not the name of a variable; write NAME or NAME=value`,
		`{"command": ["x"], "env": {"A": 1}}`:                              `env.A: the number 1 where a text is due; quote it: "1"`,
		`{"command": ["x"], "env": "A"}`:                                   `env: the text "A" where a mapping is due; write { key: value }`,
		`{"command": ["x"], "env": ["A"], "secrets": {"A": {"env": "B"}}}`: `secrets.A: "A" stands in env too; keep one`,
		`{"command": "wc -w"}`:                                             `command: "wc -w" names a program with its arguments; write [wc, -w]`,
		`{"command": ["./count.sh --all"]}`:                                `command: "./count.sh --all" names a program with its arguments; write [./count.sh, --all]`,
		`{"command": ["/opt/my tools/count"]}`:                             "",
	} {
		n, err := lang.ParseJSONNode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var s Settings
		var got []string
		for _, f := range lang.Decode(n, &s, new(plugin.Registry)) {
			got = append(got, f.String())
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
	var e Env
	n, _ := lang.ParseJSONNode([]byte(`["A", "B=b=c", "C="]`))
	lang.Decode(n, &e, new(plugin.Registry))
	if !slices.Equal(e.Pass, []string{"A"}) || e.Set["B"] != "b=c" || len(e.Set) != 2 {
		t.Errorf("%+v", e)
	}
}

// TestAFolderThatIsNotThere: the host says of such a program that it is not there itself.
func TestAFolderThatIsNotThere(t *testing.T) {
	t.Parallel()
	k, err := New("f", &Settings{Command: []string{"env"}, Dir: "/no/such/folder"}, sinks.Host{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan sinks.Result, 1)
	k.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(sinktest.Awkward("one")), Invoke: true, Done: func(r sinks.Result) { done <- r }}})
	if said := describe(<-done); !strings.Contains(said, "not_started") || !strings.Contains(said, "its dir: stat /no/such/folder") {
		t.Error(said)
	}
}
