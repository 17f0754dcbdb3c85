package deploy_test

import (
	"os"
	"regexp"
	"testing"
)

// TestStamps: what the builds stamp are variables of the program; the linker passes over others without a word.
func TestStamps(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../router/build.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^var (.*) string$`).FindSubmatch(source)
	if declared == nil {
		t.Fatal("build.go declares no variables to stamp")
	}
	for _, file := range []string{"../Makefile", "Dockerfile"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		stamps := regexp.MustCompile(`-X (?:github\.com/onward-router/onward/router|\$\(ROUTER\))\.(\w+)=`).FindAllSubmatch(b, -1)
		if len(stamps) < 3 {
			t.Errorf("%s stamps %d variables", file, len(stamps))
		}
		for _, s := range stamps {
			if !regexp.MustCompile(`\b` + string(s[1]) + `\b`).Match(declared[1]) {
				t.Errorf("%s stamps %s, and the program has no such variable", file, s[1])
			}
		}
	}
}
