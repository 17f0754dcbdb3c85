package command

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
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
	"github.com/spf13/cobra"
)

// An end is how a command line ends: with which code, and the word that programs find as error.code; people find what has no word on standard output.
type end struct {
	args string
	code int
	word string
}

// said is for what is told on standard output; programs find the code's own word.
const said = ""

// ends are those of every command, in an order: some change what is there. $DIR is a folder, $DOC a document, $WAIT a run that waits, $DONE and $FAILED ones that
// have ended, $LETTER a dead letter, $NO an id of none.
var ends = []end{
	{"version", 0, ""}, {"version x", 2, "usage"},
	{"lint $DOC", 0, ""}, {"lint $DIR/wrong.yaml", 1, said}, {"lint", 2, "usage"},
	{"diff $DOC", 0, ""}, {"diff $DIR/wrong.yaml", 2, "usage"}, {"diff", 2, "usage"}, {"diff $DOC --against $DIR/none.yaml", 2, "usage"},
	{"schema", 0, ""}, {"schema --doc nope", 2, "usage"},
	{"docs", 0, ""}, {"docs policy nope", 2, "usage"},
	{"settings", 0, ""}, {"settings --settings $DIR/none.yaml", 2, "usage"},
	{"token new", 0, ""}, {"token new --right all", 2, "usage"},
	{"completion bash", 0, ""}, {"completion zsh", 0, ""}, {"completion fish", 0, ""}, {"completion powershell", 0, ""}, {"completion bash x", 2, "usage"},
	{"help", 0, ""}, {"help runs list", 0, ""}, {"help nope", 2, "usage"}, {"help runs nope", 2, "usage"},
	{"doctor $DOC --listen 127.0.0.1:0 --data $DIR/new --disk-low-water 1 --durability os", 0, ""}, {"doctor $DIR/wrong.yaml --listen 127.0.0.1:0 --data $DIR/new", 1, said},
	{"doctor --ready --listen $AWAY", 7, "unreachable"}, {"doctor --live --ready", 2, "usage"},
	{"serve $DIR/wrong.yaml", 2, "usage"}, {"serve", 2, "usage"}, {"serve $DOC --listen $ROUTER --data $DIR/other", 2, "usage"},
	{"run $DOC --trigger done --data 7", 0, ""}, {"run $DOC --trigger fail", 1, "failed"}, {"run $DOC --trigger nope", 2, "usage"}, {"run $DIR/wrong.yaml", 2, "usage"},
	{"run $DOC --trigger picky --data 4 --quiet", 0, ""}, {"run $DOC --trigger picky --data 3", 3, "unmatched"}, {"run $DOC --trigger picky", 3, "unmatched"},
	{"run $DOC --trigger picky --data 3 --mock $DIR/answers.yaml", 3, "unmatched"}, {"triggers test --type picky --data 3", 3, said},
	{"journal check --data $DIR/none", 2, "usage"}, {"journal repair --data $DIR/none", 2, "usage"},
	{"soak --minutes 0", 2, "usage"}, {"kafka init", 2, "usage"},
	{"bench forkjoin --runs 0", 2, "usage"}, {"bench chain --runs 0", 2, "usage"}, {"bench starts --runs 0", 2, "usage"}, {"bench ingest --runs 0", 2, "usage"},
	{"bench webhook --runs 0", 2, "usage"}, {"bench limit --runs 0", 2, "usage"}, {"bench snapshot --runs 0", 2, "usage"}, {"bench kafka --runs 0", 2, "usage"},

	{"send --type done --wait 20s", 0, ""}, {"send --type fail --wait 20s", 1, "failed"}, {"send", 2, "usage"}, {"send --type nope", 3, said},
	{"send --type ask --wait 1ms", 4, "late"}, {"send --type done --path /nowhere", 5, "unknown"}, {"send --type done --source=", 2, "invalid"},
	{"runs list", 0, ""}, {"runs list --sort colour", 2, "invalid"}, {"runs list --limit 0", 2, "usage"},
	{"runs get $DONE", 0, ""}, {"runs get nope", 5, "unknown"}, {"runs get $NO --timeline", 5, "unknown"},
	{"runs export $DONE", 0, ""}, {"runs export $NO", 5, "unknown"},
	{"runs mock $DONE", 0, ""}, {"runs mock $NO", 5, "unknown"}, {"runs mock $WAIT", 1, "failed"},
	{"runs watch $DONE", 0, ""}, {"runs watch $FAILED", 1, "failed"}, {"runs watch --events $FAILED", 1, said}, {"runs watch $NO", 5, "unknown"},
	{"runs explain $WAIT", 0, ""}, {"runs explain $NO", 5, "unknown"},
	{"runs pause $WAIT", 0, ""}, {"runs pause $DONE", 6, "ended"}, {"runs pause $NO", 5, "unknown"},
	{"runs resume $WAIT", 0, ""}, {"runs resume $DONE", 6, "ended"}, {"runs resume $NO", 5, "unknown"},
	{"runs window $WIDE map 1", 0, ""}, {"runs window $WIDE map many", 2, "invalid"}, {"runs window $WIDE nothing 1", 5, "unknown"}, {"runs window $NO map 1", 5, "unknown"},
	{"runs redrive $FAILED --dry-run", 0, ""}, {"runs redrive $DONE", 6, "superseded"}, {"runs redrive $NO", 5, "unknown"}, {"runs redrive", 2, "usage"},
	{"runs redrive --state failed --failed", 2, "usage"},
	{"runs rerun $DONE", 0, ""}, {"runs rerun $NO", 5, "unknown"}, {"runs rerun $WAIT", 6, "superseded"}, {"runs rerun --trigger done --since today", 2, "usage"},
	{"runs signal $WAIT early", 0, ""}, {"runs signal $DONE x", 6, "ended"}, {"runs signal $NO x", 5, "unknown"}, {"runs signal x", 2, "usage"},
	{"waits list", 0, ""}, {"waits list --limit 0", 2, "usage"}, {"waits answer $WAIT nope", 6, "refused"}, {"waits answer $NO approved", 5, "unknown"}, {"waits answer $WAIT approved", 0, ""},
	{"runs cancel $WIDE", 0, ""}, {"runs cancel $DONE", 6, "ended"}, {"runs cancel $NO", 5, "unknown"}, {"runs cancel --state waiting --dry-run", 0, ""},
	{"events list", 0, ""}, {"events list --taken perhaps", 2, "invalid"}, {"events show e-done", 0, ""}, {"events show never", 5, "unknown"},
	{"sources list", 0, ""}, {"sources list x", 2, "usage"},
	{"functions list", 0, ""}, {"functions pause cat", 0, ""}, {"functions pause nope", 5, "unknown"}, {"functions resume cat", 0, ""}, {"functions resume nope", 5, "unknown"},
	{"invoke cat --data 7 --wait 20s", 0, ""}, {"invoke cat", 0, ""}, {"invoke bad --wait 20s", 1, "failed"}, {"invoke nope", 5, "unknown"}, {"invoke", 2, "usage"}, {"invoke cat --data {", 2, "usage"},
	{"functions limit cat 2", 0, ""}, {"functions limit nope 2", 5, "unknown"}, {"functions limit cat x", 2, "usage"},
	{"triggers list", 0, ""}, {"triggers pause done", 0, ""}, {"triggers pause nope", 5, "unknown"}, {"triggers resume done", 0, ""}, {"triggers resume nope", 5, "unknown"},
	{"triggers test --type done", 0, ""}, {"triggers test --type nope", 3, said}, {"triggers test", 2, "usage"}, {"triggers test $DIR/none.json", 2, "usage"},
	{"dead list", 0, ""}, {"dead list --limit 0", 2, "usage"}, {"dead list --since soon", 2, "invalid"}, {"dead parked", 0, ""}, {"dead show $LETTER", 0, ""}, {"dead show nope", 5, "unknown"},
	{"dead redrive $LETTER", 1, said}, {"dead redrive nope", 1, said}, {"dead redrive", 2, "usage"}, {"dead redrive --all --dry-run", 0, ""},
	{"dead purge $LETTER", 0, ""}, {"dead purge nope", 1, said}, {"dead purge", 2, "usage"},
	{"backup $DIR/made.backup", 0, ""}, {"backup $DIR/made.backup", 2, "usage"}, {"backup $DIR/cold.backup --data $DIR/none", 2, "usage"},
	{"restore $DIR/made.backup --data $DIR/restored", 0, ""}, {"restore $DIR/made.backup --data $DIR/restored", 1, "failed"}, {"restore $DIR/none --data $DIR/r", 2, "usage"},
	{"journal check --data $DIR/restored", 0, ""}, {"journal repair --data $DIR/restored", 0, ""},
}

// elsewhere are commands whose success costs too much here, and the test that has it.
var elsewhere = map[string]string{
	"serve": "all scripts", "soak": "TestSoak", "kafka init": "cluster_rig_test.go", "bench limit": "bench-limit.txtar", "bench forkjoin": "bench-limit.txtar", "bench chain": "as forkjoin", "bench starts": "as forkjoin",
	"bench ingest": "as forkjoin", "bench webhook": "as forkjoin", "bench snapshot": "as forkjoin", "bench kafka": "as forkjoin",
}

// A shell types commands as a person does, in this process.
type shell struct {
	t     *testing.T
	of    *plugin.Registry
	names *strings.Replacer
	addr  string
}

func (s *shell) program(out, errs *bytes.Buffer) *program {
	return &program{registry: s.of, out: out, errs: errs}
}

func (s *shell) run(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = s.program(&o, &e).execute(s.t.Context(), args, func() int { return 0 })
	return code, o.String(), e.String()
}

// words are the arguments of a line, with the router's address where the command takes one.
func (s *shell) words(root *cobra.Command, line, addr string) []string {
	args := strings.Fields(s.names.Replace(line))
	if c, _, err := root.Find(args); err == nil && asksRouter(c) {
		args = append(args, "--addr", addr)
	}
	return args
}

func asksRouter(c *cobra.Command) bool {
	return c.Flags().Lookup("addr") != nil || c.InheritedFlags().Lookup("addr") != nil
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) (out []*cobra.Command) {
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			out = append(out, leaves(sub)...)
		}
	}
	if !c.HasSubCommands() {
		out = append(out, c)
	}
	return out
}

const endsDocument = `version: 1
functions:
  cat: { exec: cat }
  bad: { exec: [sh, -c, "exit 3"] }
sources: { inbox: { webhook: {} } }
triggers:
  done: { filters: [{ exact: { type: done } }], flow: { function: cat } }
  fail: { filters: [{ exact: { type: fail } }], flow: { function: bad } }
  picky: { filters: [{ exact: { type: picky } }], when: "${ data > 3 }", flow: { pass: {} } }
  ask: { filters: [{ exact: { type: ask } }], flow: { signal: approved } }
  wide: { filters: [{ exact: { type: wide } }], flow: { map: { items: 3, window: 2, do: { signal: go } } } }
  told: { filters: [{ exact: { type: told } }], flow: { function: cat }, onSuccess: { function: bad } }
`

// newShell starts a router with a document in dir.
func newShell(t *testing.T, dir, document string) *shell {
	t.Helper()
	doc := filepath.Join(dir, "doc.yaml")
	if err := os.WriteFile(doc, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinks.Register(reg)
	triggers.Register(reg)
	listen := tooltest.Address()
	child := exec.Command(os.Args[0], "serve", doc, "--listen", listen, "--data", filepath.Join(dir, "data"), "--durability", "os", "--disk-low-water", "1", "--log-level", "error")
	child.Env, child.Stderr = append(os.Environ(), childVariable+"=1"), os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Signal(os.Interrupt) // It may have ended.
		if err := child.Wait(); err != nil {
			t.Errorf("serve: %v; an interrupt ends it with 0", err)
		}
	})
	waitReady(t, listen)
	return &shell{t: t, of: reg, addr: "http://" + listen, names: strings.NewReplacer("$DIR", dir, "$DOC", doc, "$ROUTER", listen)}
}

var aRun = regexp.MustCompile(`(?m)^run ([0-9a-z]{26}) of `)

// send sends an event, and waits until a list has what it led to.
func (s *shell) send(kind string, until ...string) string {
	s.t.Helper()
	code, out, errs := s.run("send", "--type", kind, "--id", "e-"+kind, "--addr", s.addr)
	m := aRun.FindStringSubmatch(out)
	if code != 0 || m == nil {
		s.t.Fatalf("send %s: %d\n%s%s", kind, code, out, errs)
	}
	for deadline := time.Now().Add(within); !strings.Contains(out, until[0]); time.Sleep(5 * time.Millisecond) {
		if _, out, errs = s.run(append(until[1:], "--addr", s.addr)...); time.Now().After(deadline) {
			s.t.Fatalf("%s: %q does not come\n%s%s", kind, until[0], out, errs)
		}
	}
	return m[1]
}

// refusalIn is the error in the last line of standard error.
func refusalIn(errs string) (code, message string, err error) {
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	var said struct {
		Error struct{ Code, Message, Cure string }
	}
	err = json.Unmarshal([]byte(lines[len(lines)-1]), &said)
	return said.Error.Code, said.Error.Message, err
}

// TestExitCodes: how each command ends, in words for people and in JSON; a command without a row fails.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newShell(t, dir, endsDocument)
	if err := os.WriteFile(filepath.Join(dir, "wrong.yaml"), []byte("version: 1\nfunctions: { x: { nope: 1 } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := tooltest.Address()
	names := []string{"$DIR", dir, "$DOC", filepath.Join(dir, "doc.yaml"), "$ROUTER", strings.TrimPrefix(s.addr, "http://"), "$AWAY", away, "$NO", "00000000000000000000000000"}
	for name, of := range map[string][]string{
		"$DONE": {"done", "done", "runs", "list", "--trigger", "done", "--state", "succeeded"}, "$FAILED": {"fail", "fail", "runs", "list", "--state", "failed"},
		"$WAIT": {"ask", "ask", "waits", "list"}, "$WIDE": {"wide", "wide", "waits", "list"},
	} {
		names = append(names, name, s.send(of[0], of[1:]...))
	}
	s.send("told", "bad", "dead", "list")
	_, list, _ := s.run("dead", "list", "-o", "json", "--addr", s.addr)
	letter := regexp.MustCompile(`"letter": "([^"]+)"`).FindStringSubmatch(list)
	if letter == nil {
		t.Fatalf("no letter in %s", list)
	}
	s.names = strings.NewReplacer(append(names, "$LETTER", letter[1])...)
	root := s.program(nil, nil).root()
	tried := make(map[string][]end)
	for _, e := range ends {
		args := s.words(root, e.args, s.addr)
		c, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		tried[words(c)] = append(tried[words(c)], e)
		s.ends(e, args)
	}
	for _, c := range leaves(root) {
		s.complete(root, c, tried[words(c)], "http://"+away)
	}
}

// ends runs a command as people and as programs do.
func (s *shell) ends(e end, args []string) {
	if code, out, errs := s.run(args...); code != e.code || e.word != said && !strings.Contains(errs, "\nonward: ") && !strings.HasPrefix(errs, "onward: ") {
		s.t.Errorf("onward %s: code %d, not %d, or no error; said:\n%s%s", e.args, code, e.code, out, errs)
	}
	if e.code == exitOK || strings.Contains(e.args, "made.backup") { // Once is enough.
		return
	}
	code, out, errs := s.run(append(args, "-o", "json")...)
	word, message, err := refusalIn(errs)
	if e.word == said {
		e.word = exitCodes[slices.IndexFunc(exitCodes, func(x codeRow) bool { return x.code == e.code })].word
	}
	if code != e.code || err != nil || word != e.word || message == "" {
		s.t.Errorf("onward %s -o json: code %d and error %q, %q, %v; %d and %q are due; said:\n%s%s", e.args, code, word, message, err, e.code, e.word, out, errs)
	}
}

// complete tries what is the same for all commands, and holds the rows of one to what it must have.
func (s *shell) complete(root, c *cobra.Command, rows []end, away string) {
	name := words(c)
	has := func(code int) bool { return slices.ContainsFunc(rows, func(e end) bool { return e.code == code }) }
	good := slices.IndexFunc(rows, func(e end) bool { return e.code == exitOK })
	if good < 0 && elsewhere[name] == "" {
		s.t.Errorf("onward %s: no row of ends says how it succeeds", name)
		return
	}
	if regexp.MustCompile(`\b(RUN|FUNCTION|TRIGGER|ID)\b`).MatchString(c.Use) && !has(exitUnknown) {
		s.t.Errorf("onward %s: no row of ends has a name that there is not", name)
	}
	if name != "help" {
		s.ends(end{name + " --nope", exitUsage, "usage"}, append(strings.Fields(name), "--nope"))
	}
	if code, _, errs := s.run(append(strings.Fields(name), "--help")...); code != exitOK {
		s.t.Errorf("onward %s --help: %d, %s", name, code, errs)
	}
	if asksRouter(c) && good >= 0 {
		line := strings.ReplaceAll(rows[good].args, "made.backup", "never.backup")
		s.ends(end{line, exitUnreachable, "unreachable"}, s.words(root, line, away))
	}
}

// TestExitCodesAreDocumented: help and the page say the codes that there are.
func TestExitCodesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exitCodes {
		if row := fmt.Sprintf("| %d | `%s` | %s |", x.code, x.word, x.help); !strings.Contains(strings.ReplaceAll(string(page), "| | ", "| `` | "), row) {
			t.Errorf("deploy/docs/running.md has no row %s", row)
		}
		if !strings.Contains(exitHelp(), x.help) {
			t.Errorf("the help does not say %q", x.help)
		}
	}
}

// TestSaysJSON: also of a command line that cannot be read.
func TestSaysJSON(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"runs list --nope -o json": true, "-o json x": true, "x -ojson": true, "x -o=json": true, "x --output json": true, "x --output=json": true, "x -o json -o table": false,
		"x -o": false, "x -- -o json": false, "x json": false, "x --outputs=json": false, "": false,
	} {
		if got := saysJSON(strings.Fields(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestInterrupts: who stops a command hears how far it came, and its code says that it was stopped.
func TestInterrupts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newShell(t, dir, `version: 1
functions: { slow: { exec: [sh, -c, "sleep 60"] } }
sources: { inbox: { webhook: {} } }
triggers:
  ask: { filters: [{ exact: { type: ask } }], flow: { signal: approved } }
  slow: { filters: [{ exact: { type: slow } }], flow: { function: slow } }
`)
	var waiting []string
	for i := range 3 {
		_, out, _ := s.run("send", "--type", "ask", "--id", fmt.Sprint("e-", i), "--addr", s.addr)
		waiting = append(waiting, aRun.FindStringSubmatch(out)[1])
	}
	s.names = strings.NewReplacer("$WAIT", waiting[0], "$DIR", dir, "$DOC", filepath.Join(dir, "doc.yaml"))
	for _, c := range []struct{ line, when, says string }{
		{"runs watch $WAIT", "calls so far", `watched no more, after .* and 0 of 0 calls; run $WAIT goes on: see onward runs watch $WAIT`},
		{"runs watch --events $WAIT", "calls so far", `watched no more; run $WAIT goes on`},
		{"send --type ask --id w-1 --wait 60s", "", `stopped after .*; the event was sent, and may have been taken: see onward events show w-1, or send it again with --id w-1 --source /onward/send: it counts once`},
		{"runs cancel --state waiting --yes --rate 1/m", "is being cancelled", `1 of [34] runs; 0 refused\nstopped; [23] are left: the same command goes on with them`},
		{"run $DOC --trigger slow", "slow: 0 of 1 calls", `stopped before the run ended, after .* and 0 of 1 calls`},
		{"run $DOC --trigger slow --data-dir $DIR/kept", "slow: 0 of 1 calls", `stopped before the run ended, after .* and 0 of 1 calls; the same documents with --data-dir $DIR/kept --resume go on with it`},
	} {
		t.Run(strings.Fields(c.line)[0]+" "+strings.Fields(c.line)[1], func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			out := &watchedFor{when: c.when, do: stop}
			if c.when == "" { // It says nothing; the router has its event.
				go func() {
					for ctx.Err() == nil {
						if _, list, _ := s.run("events", "show", "w-1", "--addr", s.addr); strings.Contains(list, "matched") {
							stop()
						}
					}
				}()
			}
			p := &program{registry: s.of, out: out, errs: out} // A bench starts itself: it is interrupted in bench-limit.txtar.
			code := p.execute(ctx, s.words(p.root(), c.line, s.addr), func() int {
				if ctx.Err() != nil {
					return int(syscall.SIGINT)
				}
				return 0
			})
			if code != 130 || !regexp.MustCompile(s.names.Replace(c.says)).Match(out.b.Bytes()) {
				t.Errorf("onward %s: %d\n%s", c.line, code, out.b.Bytes())
			}
		})
	}
}

// TestInterruptsOfWhatReadsFiles: what looks through files, or waits for brokers or a person, ends with the first interrupt, and says what was done.
func TestInterruptsOfWhatReadsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newShell(t, dir, "version: 1\ntriggers: { t: { flow: { pass: {} } } }\n")
	if code, _, errs := s.run("backup", filepath.Join(dir, "made.backup"), "--addr", s.addr); code != 0 {
		t.Fatal(errs)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct{ line, says string }{
		{"restore $DIR/made.backup --data $DIR/restored", "nothing was restored: stopped before the backup was read to its end; nothing of it is in $DIR/restored"},
		{"journal check --data $DIR/data", "stopped after 0 segments, with 0 records and 0 damaged places; the rest was not looked at, and nothing was changed"},
		{"journal repair --yes --data $DIR/data", "nothing was changed"},
		{"kafka init --kafka-brokers 127.0.0.1:1 --replication 1", "stopped before all was there; done so far: nothing; the same command goes on from there"},
		{"backup $DIR/other.backup --addr " + s.addr, "no backup was made: stopped after 0.0 KiB, of which nothing is kept; the router goes on"},
		{"backup $DIR/other.backup --data $DIR/restored2", "no journal is in there"},
		{"runs list --addr " + s.addr, "had not answered yet: interrupted"},
		{"dead list --addr " + s.addr, "had not answered yet: interrupted"},
	} {
		var out bytes.Buffer
		p := s.program(&out, &out)
		code := p.execute(ctx, strings.Fields(s.names.Replace(c.line)), func() int { return int(syscall.SIGINT) })
		if code != 130 || !strings.Contains(out.String(), s.names.Replace(c.says)) || strings.Contains(out.String(), "context canceled") {
			t.Errorf("onward %s: %d\n%s", c.line, code, out.String())
		}
	}
	for _, name := range []string{"restored", "other.backup", "other.backup.part"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	never, writes := io.Pipe()
	defer writes.Close()
	if b, err := readInput(ctx, never); err == nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestTheProcessIsInUTC: wherever the machine is, a router's log says its times in UTC.
func TestTheProcessIsInUTC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.yaml")
	if err := os.WriteFile(doc, []byte("version: 1\ntriggers: { t: { flow: { pass: {} } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "serve", doc, "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--durability", "os", "--disk-low-water", "1")
	child.Env = append(os.Environ(), childVariable+"=1", "TZ=Asia/Tokyo")
	said := &watchedFor{when: "msg=ready", do: sync.OnceFunc(func() { _ = child.Process.Signal(os.Interrupt) })}
	child.Stderr = said
	if err := child.Run(); err != nil || !regexp.MustCompile(`^time=\S+Z level=INFO`).Match(said.b.Bytes()) || bytes.Contains(said.b.Bytes(), []byte("+09:00")) {
		t.Errorf("%v\n%s", err, said.b.Bytes())
	}
}

// A watchedFor writer keeps what is written, and does something once it holds a text.
type watchedFor struct {
	mu   sync.Mutex
	b    bytes.Buffer
	when string
	do   func()
}

func (w *watchedFor) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(b)
	if w.when != "" && bytes.Contains(w.b.Bytes(), []byte(w.when)) {
		w.do()
	}
	return n, err
}
