//go:build unix

package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

// TestMain lets the test's own binary be the program that the sink runs, when FAR says how it is to behave.
func TestMain(m *testing.M) {
	if b := os.Getenv("FAR"); b != "" {
		os.Exit(far(b))
	}
	os.Exit(m.Run())
}

// far keeps what came in a file of FAR_DIR, and behaves as b says.
func far(b string) int {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 100
	}
	a := sinktest.Arrival{ID: os.Getenv("CE_ID"), Attributes: make(map[string]string), Data: string(in)}
	var raw []string
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if attr, ok := strings.CutPrefix(name, "CE_"); ok {
			a.Attributes[strings.ToLower(attr)] = value
		}
		raw = append(raw, v)
	}
	a.Raw = strings.Join(raw, "\x00") + "\x00" + string(in)
	text, err := json.Marshal(a)
	if err != nil {
		return 101
	}
	path := filepath.Join(os.Getenv("FAR_DIR"), strconv.Itoa(os.Getpid()))
	if os.WriteFile(path+".part", text, 0o600) != nil || os.Rename(path+".part", path+".json") != nil {
		return 102
	}
	if b == "fail" {
		fmt.Fprintln(os.Stderr, "it broke")
		return 3
	}
	_, _ = os.Stdout.Write(in)
	return 0
}

func TestLaws(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Behaviours: []sinktest.Behaviour{sinktest.Answer, sinktest.Fail, sinktest.Refuse, sinktest.Hang},
		Many:       60,
		New: func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End {
			dir := t.TempDir()
			s := &Settings{Command: []string{os.Args[0]}, Grace: plugin.Duration(time.Second)}
			s.Env.Set = map[string]string{"FAR": b.String(), "FAR_DIR": dir, "GORACE": "atexit_sleep_ms=0"}
			switch b {
			case sinktest.Refuse:
				s.Command = []string{filepath.Join(dir, "nothing-here")}
			case sinktest.Hang:
				s.Command = []string{"/bin/sh", "-c", `"$0" & sleep 1000`, os.Args[0]}
				s.Env.Set["FAR"] = "answer"
			}
			k, err := New("f", s, h)
			if err != nil {
				t.Fatal(err)
			}
			return sinktest.End{Sink: k, Close: func() {}, Arrived: func() (out []sinktest.Arrival) {
				files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
				for _, f := range files {
					text, err := os.ReadFile(f)
					var a sinktest.Arrival
					if err != nil || json.Unmarshal(text, &a) != nil {
						t.Error(f, err)
					}
					out = append(out, a)
				}
				return out
			}}
		},
	})
}

// run delivers one invocation with data null to a program.
func run(t *testing.T, ctx context.Context, s *Settings) sinks.Result {
	t.Helper()
	if s.Grace == 0 {
		s.Grace = plugin.Duration(2 * time.Second)
	}
	return runAs(t, ctx, s, true)
}

func runAs(t *testing.T, ctx context.Context, s *Settings, invoke bool) sinks.Result {
	t.Helper()
	k, err := New("f", s, sinks.Host{})
	if err != nil {
		t.Fatal(err)
	}
	e := sinktest.Awkward("one")
	e.DataEncoded = []byte(`{"n":1}`)
	done := make(chan sinks.Result, 1)
	k.Deliver(ctx, []*sinks.Delivery{{Context: ctx, Outgoing: envelope.Made(e), Invoke: invoke, Done: func(r sinks.Result) { done <- r }}})
	r := <-done
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	return r
}

func sh(script string) *Settings { return &Settings{Command: []string{"/bin/sh", "-c", script}} }

func describe(r sinks.Result) string {
	switch e := r.Completion.Err; {
	case r.Verdict == sinks.Accepted:
		return "accepted"
	case r.Verdict == sinks.Completed && e != nil:
		return fmt.Sprintf("error %s %s: %s %s", e.Class, e.Type, e.Message, e.Data)
	case r.Verdict == sinks.Completed:
		return "completed " + string(r.Completion.Data)
	}
	return fmt.Sprintf("%d %s %s: %s", r.Verdict, r.Err.Class, r.Err.Type, r.Err.Message)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		event  bool
		want   string
	}{
		"its input":        {script: "cat", want: `completed {"n":1}`},
		"JSON with space":  {script: `printf '\n [1, 2]\n\n'`, want: `completed [1,2]`},
		"a text":           {script: "echo hello", want: `completed "hello\n"`},
		"two values":       {script: "echo 1; echo 2", want: `completed "1\n2\n"`},
		"bytes":            {script: `printf '\377\000'`, want: "error function bad_response: what the program printed is no answer: it is not UTF-8; print JSON, a text, or base64 "},
		"too deep":         {script: `printf '[%.0s' $(seq 600); printf ']%.0s' $(seq 600)`, want: "error function bad_response: what the program printed is no answer: it is JSON that cannot be kept: nested deeper than 512 "},
		"nothing":          {script: ":", want: `completed null`},
		"an event":         {script: "echo ignored", event: true, want: `accepted`},
		"input not read":   {script: "exec 0<&-; echo 7", want: `completed 7`},
		"stderr, but well": {script: "echo careful >&2; echo 7", want: `completed 7`},
		"exit code": {script: "echo why >&2; exit 3",
			want: `error function exit_3: /bin/sh: exit status 3: why {"exitCode":3,"stderr":"why\n"}`},
		"killed":          {script: "kill -9 $$", want: `error function killed: /bin/sh: signal: killed {"exitCode":-1,"stderr":""}`},
		"children behind": {script: "sleep 1000 >/dev/null 2>&1 & echo 7", want: `completed 7`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sh(c.script)
			s.Grace = plugin.Duration(2 * time.Second)
			if got := describe(runAs(t, t.Context(), s, !c.event)); got != c.want {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

func TestErrorHasTheEndOfStderr(t *testing.T) {
	t.Parallel()
	r := run(t, t.Context(), sh("i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"))
	var data struct{ Stderr string }
	if e := r.Completion.Err; e == nil || json.Unmarshal(e.Data, &data) != nil {
		t.Fatal(describe(r))
	}
	if len(data.Stderr) != stderrTail || !strings.HasSuffix(data.Stderr, "line 1998\nline 1999\n") {
		t.Errorf("%d bytes: %.40q...", len(data.Stderr), data.Stderr)
	}
}

// TestMoreOutputThanTheLimit also shows that a program which never stops printing is ended: there is no deadline here.
func TestMoreOutputThanTheLimit(t *testing.T) {
	t.Parallel()
	r := run(t, t.Context(), sh("exec cat /dev/zero"))
	if e := r.Completion.Err; e == nil || e.Type != "too_large" || e.Class != "function" {
		t.Error(describe(r))
	}
	r = run(t, t.Context(), sh(fmt.Sprintf(`printf '"'; head -c %d /dev/zero | tr '\0' x; printf '"'`, MaxOutput-2)))
	if len(r.Completion.Data) != MaxOutput {
		t.Errorf("of the limit exactly: %.200s", describe(r))
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*Settings{
		"no program":    {Command: []string{"onward-test-no-such-program"}},
		"no folder":     {Command: []string{"/bin/sh"}, Dir: filepath.Join(t.TempDir(), "none")},
		"a folder":      {Command: []string{t.TempDir()}},
		"secret, env":   {Command: []string{"/bin/sh"}, Secrets: map[string]plugin.Secret{"KEY": {Env: "ONWARD_TEST_UNSET"}}},
		"secret, file":  {Command: []string{"/bin/sh"}, Secrets: map[string]plugin.Secret{"KEY": {File: filepath.Join(t.TempDir(), "none")}}},
		"NUL in an env": {Command: []string{"/bin/sh"}, Env: Env{Set: map[string]string{"A": "a\x00b"}}},
	} {
		r := run(t, t.Context(), s)
		if r.Verdict != sinks.Failed || r.Err.Class != "platform" || r.Err.Message == "" {
			t.Errorf("%s: %s", name, describe(r))
		}
	}
}

// TestEnvironment is not parallel: it sets variables of the process.
func TestEnvironment(t *testing.T) {
	t.Setenv("ONWARD_TOKEN", "the router's own secret")
	t.Setenv("CE_ABSENT", "not of this event")
	t.Setenv("EXEC_TEST_KEPT", "kept")
	t.Setenv("EXEC_TEST_SECRET", "s3cr3t")
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sh(`[ -z "${ONWARD_TOKEN+x}${ONWARD_A+x}${CE_ABSENT+x}" ] || echo leaked; echo "$EXEC_TEST_KEPT|$OWN|$A|$B|$CE_ID|$CE_SPECVERSION|$CE_TIME|$CE_NUMBER|$CE_DATACONTENTTYPE|$PWD"`)
	s.Dir = t.TempDir()
	s.Env = Env{Pass: []string{"EXEC_TEST_KEPT"}, Set: map[string]string{"OWN": "value", "CE_ID": "not the event's"}}
	s.Secrets = map[string]plugin.Secret{"A": {Env: "EXEC_TEST_SECRET"}, "B": {File: file}}
	dir, err := filepath.EvalSymlinks(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(run(t, t.Context(), s).Completion.Data, &got); err != nil {
		t.Fatal(err)
	}
	if want := "kept|value|s3cr3t|from a file|one|1.0|2023-11-14T22:13:20.123456Z|-7|application/json|" + dir + "\n"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

// alive reports whether a process runs; one that nobody has reaped yet does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		state := stat[bytes.LastIndexByte(stat, ')')+2]
		return state != 'Z' && state != 'X'
	}
	return syscall.Kill(pid, 0) == nil
}

// pids reads the process ids that a script wrote, once it has written n.
func pids(t *testing.T, file string, n int) (out []int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(file) // It may not be there yet.
		if lines := strings.Fields(string(text)); len(lines) == n && strings.HasSuffix(string(text), "\n") {
			for _, l := range lines {
				pid, err := strconv.Atoi(l)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, pid)
			}
			return out
		}
	}
	t.Fatalf("%s has no %d process ids", file, n)
	return nil
}

func allDead(t *testing.T, pids []int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n := 0
		for _, pid := range pids {
			if alive(pid) {
				n++
			}
		}
		if n == 0 {
			return
		}
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still alive", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // The test has failed already.
		}
	}
}

// TestGroupIsDeadAfterwards runs programs that resist or leave others behind, and looks for each process by its id.
func TestGroupIsDeadAfterwards(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string // writes the ids of two processes to $PIDS
		cancel bool
		want   string
	}{
		"ends by itself, child holds the output": {`sleep 1000 & echo "$!" "$$" > "$PIDS"; echo 7`, false, "completed 7"},
		"fails, child holds the output":          {`sleep 1000 & echo "$!" "$$" > "$PIDS"; exit 4`, false, "error function exit_4"},
		"ends by itself, child is quiet":         {`sleep 1000 </dev/null >/dev/null 2>&1 & echo "$!" "$$" > "$PIDS"; echo 7`, false, "completed 7"},
		"obeys":                                  {`sleep 1000 & echo "$!" "$$" > "$PIDS"; wait`, true, "4 cancelled cancelled"},
		"ignores SIGTERM":                        {`trap '' TERM; sleep 1000 & echo "$!" "$$" > "$PIDS"; while :; do wait; done`, true, "4 cancelled cancelled"},
		"child ignores SIGTERM":                  {`sh -c 'trap "" TERM; while :; do sleep 1000; done' & echo "$!" "$$" > "$PIDS"; wait`, true, "4 cancelled cancelled"},
		"quiet child ignores SIGTERM":            {`sh -c 'trap "" TERM; while :; do sleep 1000; done' </dev/null >/dev/null 2>&1 & echo "$!" "$$" > "$PIDS"; wait`, true, "4 cancelled cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pids")
			s := sh(c.script)
			s.Env, s.Grace = Env{Set: map[string]string{"PIDS": file}}, plugin.Duration(300*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancel {
				go func() {
					pids(t, file, 2)
					cancel()
				}()
			}
			if got := describe(run(t, ctx, s)); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q; want %q", got, c.want)
			}
			allDead(t, pids(t, file, 2))
		})
	}
}

// TestGraceIsBetweenTheSignals lets a program say when SIGTERM came, and sees that it lived for the grace after it - not less, and not for ever.
func TestGraceIsBetweenTheSignals(t *testing.T) {
	t.Parallel()
	const grace = 600 * time.Millisecond
	file := filepath.Join(t.TempDir(), "ticks")
	s := sh(`trap 'echo term >> "$TICKS"' TERM; echo begun >> "$TICKS"; while :; do sleep 0.02; echo tick >> "$TICKS"; done`)
	s.Env, s.Grace = Env{Set: map[string]string{"TICKS": file}}, plugin.Duration(grace)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cancelled time.Time
	go func() {
		begun(t, file)
		cancelled = time.Now()
		cancel()
	}()
	r := run(t, ctx, s)
	took := time.Since(cancelled)
	text, err := os.ReadFile(file)
	if err != nil || r.Verdict != sinks.Failed || took < grace {
		t.Errorf("%s after %s, %v", describe(r), took, err)
	}
	if _, after, ok := strings.Cut(string(text), "term\n"); !ok || !strings.Contains(after, "tick") {
		t.Errorf("it did not see SIGTERM and live on: %q", text)
	}
}

// TestGroupIsKilledAfterTheGrace has no WaitDelay, which would end the program too, later: only the group's own timer is left to.
func TestGroupIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "begun")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `trap '' TERM; echo begun > "$1"; while :; do sleep 1000; done`, "sh", file)
	end := ownGroup(cmd, 100*time.Millisecond)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun(t, file)
	cancel()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
	end()
}

func begun(t *testing.T, file string) {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), "begun") {
			return
		}
	}
	t.Errorf("the program did not begin")
}

// TestChildrenHaveTheGraceToo: a shell dies of SIGTERM at once, and what it ran still has the time to end well.
func TestChildrenHaveTheGraceToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := sh(`sh -c 'trap "sleep 0.1; echo saved > saved; exit" TERM; echo begun > begun; while :; do sleep 0.02; done'; echo unreachable`)
	s.Dir, s.Grace = dir, plugin.Duration(20*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		begun(t, filepath.Join(dir, "begun"))
		cancel()
	}()
	if r := run(t, ctx, s); r.Verdict != sinks.Failed {
		t.Error(describe(r))
	}
	if _, err := os.Stat(filepath.Join(dir, "saved")); err != nil {
		t.Error(err)
	}
}

func TestNoGraceKillsAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r := runAs(t, ctx, sh(`trap '' TERM; while :; do sleep 1000; done`), true)
	if r.Verdict != sinks.Failed || r.Err.Class != "timeout" {
		t.Error(describe(r))
	}
	// Without a grace the output is still read to its end.
	if got := describe(runAs(t, t.Context(), sh(`sleep 0.05; head -c 100000 /dev/zero | tr '\0' 1`), true)); len(got) != len("completed ")+100000 {
		t.Errorf("%d bytes: %.100s", len(got), got)
	}
}

// TestDoneInTime: a program that ends well just as its time is over has ended well.
func TestDoneInTime(t *testing.T) {
	t.Parallel()
	k := &sink{s: sh(":")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err tail
	out.b = []byte("7")
	if got := describe(k.result(&sinks.Delivery{Context: ctx, Invoke: true}, nil, &out, &err)); got != "completed 7" {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{nil, {}, {""}} {
		if len((&Settings{Command: command}).Check()) == 0 {
			t.Errorf("%q: no problem found", command)
		}
	}
	if p := (&Settings{Command: []string{"true"}}).Check(); len(p) > 0 {
		t.Error(p)
	}
}
