package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/spf13/pflag"
)

// TestSettingsNameEveryFault loads a file in which nothing is right.
func TestSettingsNameEveryFault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "onward.yaml")
	text := "listn: x\nlog: { level: loud }\ninsecure: perhaps\nlimits: { runs: many }\nhistory: { runs: -1 }\nsnapshot: { records: 1.5 }\nauth: { env: A, file: B }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.BindFlags(flags)
	_, _, err := config.LoadSettings(flags, file)
	if err == nil {
		t.Fatal("no fault is found")
	}
	for _, want := range []string{
		`unknown setting "listn"; did you mean "listen"?`, `log.level "loud"`, `insecure: "perhaps" is neither true nor false; write one of them (from file `,
		`limits.runs: "many" is not a whole number`, `history.runs: "-1"`, `snapshot.records: "1.5"`, "auth.env and auth.file are both set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in\n%v", want, err)
		}
	}
}
