package command

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts plays the command line as a person types it: testdata/script, file name = category and a few words.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			address := tooltest.Address()
			examples, err := filepath.Abs("../../deploy/examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			env.Setenv("LISTEN", address)
			env.Setenv("ONWARD_ADDR", "http://"+address)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // Else every command takes a second to end under the race detector.
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"ready": ready, "until": until, "keep": keep, "exitcode": exitCode, "terminate": terminate, "hangup": hangup, "damage": damage, "asked": asked, "certificates": certificates},
	})
}

// hangup tells the router of the script to read its documents again.
func hangup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hangup")
	}
	signalServers(ts, syscall.SIGHUP)
}

// damage alters a byte of a file: damage FILE POSITION.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE POSITION")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b[at] ^= 0x40
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// asked waits until the router of the script answers a path with a code and a text: asked PATH CODE PATTERN.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: asked PATH CODE PATTERN")
	}
	pattern, said := regexp.MustCompile(args[2]), ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(ts.Getenv("ONWARD_ADDR") + args[0])
		if err != nil {
			continue
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if said = fmt.Sprint(resp.StatusCode, " ", string(b), err); strings.HasPrefix(said, args[1]+" ") && pattern.MatchString(said) {
			return
		}
	}
	ts.Fatalf("%s answers %s", args[0], said)
}

// within is how long a test waits for what has to come, also on a machine that is ten times slower for a while.
const within = 3 * time.Minute

// ready waits until the router of the script takes events.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: ready")
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		resp, err := http.Get(ts.Getenv("ONWARD_ADDR") + "/readyz")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("the router is not ready")
}

// exitCode runs a command and checks the code that it ends with: exitcode CODE COMMAND...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND...")
	}
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &exit) || fmt.Sprint(exit.ExitCode()) != args[0] {
		ts.Fatalf("%v: exit code %s is due", err, args[0])
	}
}

// terminate sends SIGTERM to the routers in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	signalServers(ts, syscall.SIGTERM)
}

func signalServers(ts *testscript.TestScript, sig syscall.Signal) {
	for _, cmd := range ts.BackgroundCmds() {
		if slices.Contains(cmd.Args, "serve") {
			ts.Check(cmd.Process.Signal(sig))
		}
	}
}

// until runs a command again and again until its output has a text: until TEXT COMMAND...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT COMMAND...")
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
	}
	ts.Fatalf("%q does not come", args[0])
}

// keep sets a variable to the word that follows another in the last output, without the quotes and the comma of JSON: keep RUN run
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep VARIABLE WORD")
	}
	words := strings.Fields(ts.ReadFile("stdout"))
	for i, w := range words[:max(len(words)-1, 0)] {
		if w == args[1] {
			ts.Setenv(args[0], strings.Trim(words[i+1], `",`))
			return
		}
	}
	ts.Fatalf("no word follows %q in\n%s", args[1], ts.ReadFile("stdout"))
}
