package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

// A story is a page at work: a folder with the program and nothing else, its terminals, and what stands for what.
type story struct {
	page      string
	dir       string
	ports     map[string]string // as the page says them -> as they are
	back      *strings.Replacer // of ports, for what is seen
	ids       map[string]string // as the page says them -> as they are
	terminals map[string]*terminal
}

var (
	pagePort = regexp.MustCompile(`\b(?:80[0-9]{2}|70[0-9]{2})\b`)
	anID     = regexp.MustCompile(`\b(?:[0-9a-z]{26}|[A-Z2-7]{26})\b`)
)

// newStory makes the folder. The page's ports are mapped to free ones, so that pages run side by side.
func newStory(t *testing.T, page string, blocks []block) *story {
	t.Helper()
	s := &story{page: page, dir: t.TempDir(), ports: make(map[string]string), ids: make(map[string]string), terminals: make(map[string]*terminal)}
	bin := filepath.Join(s.dir, ".bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", childVariable, os.Args[0])
	if err := os.WriteFile(filepath.Join(bin, "onward"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	s.port("8080", &pairs)
	for _, b := range blocks {
		for _, p := range pagePort.FindAllString(b.text, -1) {
			s.port(p, &pairs)
		}
	}
	s.back = strings.NewReplacer(pairs...)
	t.Cleanup(func() {
		for _, term := range s.terminals {
			term.close()
		}
	})
	return s
}

func (s *story) port(p string, pairs *[]string) {
	if s.ports[p] != "" {
		return
	}
	s.ports[p] = strconv.Itoa(tooltest.Port())
	*pairs = append(*pairs, ":"+s.ports[p], ":"+p)
}

// real is a text of the page with the ports and ids that there are.
func (s *story) real(text string) string {
	text = pagePort.ReplaceAllStringFunc(text, func(p string) string { return s.ports[p] })
	return anID.ReplaceAllStringFunc(text, func(id string) string {
		if now, ok := s.ids[id]; ok {
			return now
		}
		return id
	})
}

func (s *story) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if !filepath.IsLocal(name) {
		t.Fatalf("%s: %q leaves the folder", s.page, name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.real(text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An act is one command of a console, Ctrl-C, or none: what is seen of a command that goes on.
type act struct {
	command string
	seen    []string
}

const ctrlC = "^C"

func acts(t *testing.T, b block) (out []act) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(b.text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		command, is := strings.CutPrefix(line, "$ ")
		switch {
		case line == ctrlC:
			out = append(out, act{command: ctrlC})
		case is:
			for strings.HasSuffix(command, "\\") && i+1 < len(lines) {
				i++
				command += "\n" + lines[i]
			}
			out = append(out, act{command: command})
		case len(out) == 0:
			out = append(out, act{seen: []string{"...", line}}) // After what was seen before.
		default:
			out[len(out)-1].seen = append(out[len(out)-1].seen, line)
		}
	}
	return out
}

// reading are commands that change nothing: what they show is looked at again until it is what the page says, as a person would.
var reading = regexp.MustCompile(`^onward (runs (list|get|explain|export)|events|dead (list|show)|waits list|functions list|triggers (list|test))\b|^curl -s [^-]*$|^cat `)

const patience = 60 * time.Second

// run does what a console says.
func (s *story) run(t *testing.T, b block) {
	t.Helper()
	name := b.keys["terminal"]
	if s.terminals[name] == nil {
		s.terminals[name] = s.open(t)
	}
	term := s.terminals[name]
	list := acts(t, b)
	for i, a := range list {
		last := i == len(list)-1
		switch {
		case a.command == ctrlC:
			term.interrupt()
		case a.command == "" && term.busy: // What has come since.
		case term.busy:
			t.Fatalf("%s: %q, and the terminal is at work: ^C stops it", b, a.command)
		case a.command == "":
			t.Fatalf("%s: it begins with what is seen, and nothing is at work there", b)
		default:
			if regexp.MustCompile(`\b(pkill|killall|pgrep|pidof)\b`).MatchString(a.command) {
				t.Fatalf("%s: %q would find programs of others", b, a.command)
			}
			term.begin(s.real(a.command))
		}
		stays := last && b.says("stays")
		seen, code, err := term.await(s, a.seen, stays)
		for deadline := time.Now().Add(patience / 3); err == nil && reading.MatchString(a.command) && time.Now().Before(deadline) && !s.matches(a.seen, seen, true); {
			time.Sleep(20 * time.Millisecond)
			term.begin(s.real(a.command))
			seen, code, err = term.await(s, a.seen, stays)
		}
		t.Logf("%s: $ %s\n%s", b, a.command, seen)
		if err != nil {
			t.Fatalf("%s: %q: %v; seen:\n%s", b, a.command, err, seen)
		}
		if !s.matches(a.seen, seen, !stays) {
			t.Errorf("%s: %q: the page shows\n%s\nand there is\n%s", b, a.command, strings.Join(a.seen, "\n"), seen)
		}
		s.learn(a.seen, seen)
		if !last && strings.Contains(list[i+1].command, "$?") {
			continue // The page shows how it ended.
		}
		if fails := last && b.says("fails"); !stays && a.command != ctrlC && fails != (code != "0") {
			t.Fatalf("%s: %q ends with %s:\n%s", b, a.command, code, seen)
		}
	}
}

// check reads what cannot be run here: the shell's syntax, and each command of ours with its flags.
func (s *story) check(t *testing.T, b block) {
	t.Helper()
	for _, a := range acts(t, b) {
		parse := exec.Command("bash", "-n")
		parse.Stdin = strings.NewReader(a.command)
		if out, err := parse.CombinedOutput(); err != nil {
			t.Errorf("%s: %q: %v\n%s", b, a.command, err, out)
		}
		for part := range strings.SplitSeq(strings.ReplaceAll(a.command, "\\\n", " "), "|") {
			part = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(part), "sudo "), "bin/")
			if target, is := strings.CutPrefix(part, "make "); is {
				makefile, err := os.ReadFile("../Makefile")
				if target, _, _ = strings.Cut(target, " "); err != nil || !bytes.Contains(makefile, []byte("\n"+target+":")) {
					t.Errorf("%s: the Makefile makes no %q (%v)", b, target, err)
				}
			}
			if ours, _, _ := strings.Cut(part, " #"); strings.HasPrefix(ours, "onward ") {
				for _, fault := range commandLine(t).faults(strings.TrimRight(ours, " &")) {
					t.Errorf("%s: %q: %s", b, part, fault)
				}
			}
		}
	}
}

// A terminal is a shell in the page's folder.
type terminal struct {
	cmd   *exec.Cmd
	input *os.File
	busy  bool // its last command goes on
	turn  int

	mu   sync.Mutex
	seen bytes.Buffer
	more chan struct{}
}

func (s *story) open(t *testing.T) *terminal {
	t.Helper()
	script, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{input: input, more: make(chan struct{}, 1)}
	c := exec.Command("bash", "/dev/fd/3")
	c.Dir = s.dir
	listen := "127.0.0.1:" + s.ports["8080"]
	c.Env = []string{
		"PATH=" + filepath.Join(s.dir, ".bin") + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir, "GORACE=atexit_sleep_ms=0", "PYTHONUNBUFFERED=1",
		"ONWARD_LISTEN=" + listen, "ONWARD_ADDR=http://" + listen, "ONWARD_DISK_LOW_WATER=1", "ONWARD_DURABILITY=os",
	}
	c.Stdout, c.Stderr = term, term
	c.ExtraFiles = []*os.File{script}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = script.Close()
	term.cmd = c
	_, _ = fmt.Fprintln(input, "trap : INT") // So that Ctrl-C ends what it runs, and not the shell.
	return term
}

// Write is what the terminal shows.
func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	select {
	case term.more <- struct{}{}:
	default:
	}
	return term.seen.Write(p)
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

func (term *terminal) mark() string { return fmt.Sprintf("\x01%d ", term.turn) }

func (term *terminal) begin(command string) {
	term.mu.Lock()
	term.seen.Reset()
	term.mu.Unlock()
	term.turn++
	_, _ = fmt.Fprintf(term.input, "%s\n_code=$?; printf '\\001%d %%s\\001' $_code; (exit $_code)\n", command, term.turn)
}

func (term *terminal) interrupt() {
	term.mu.Lock()
	term.seen.Reset()
	term.mu.Unlock()
	term.busy = false
	_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGINT)
}

// await returns what is seen once the command has ended, or, of one that stays, once it is what the page shows.
func (term *terminal) await(s *story, want []string, stays bool) (seen, code string, err error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		shown := term.shown()
		before, after, ended := strings.Cut(shown, term.mark())
		code, _, whole := strings.Cut(after, "\x01")
		seen = s.back.Replace(before)
		switch {
		case ended && whole && stays:
			return seen, code, fmt.Errorf("it has ended with %s", code)
		case ended && whole:
			return seen, code, nil
		case stays && s.matches(want, seen, false):
			term.busy = true
			return seen, "", nil
		}
		select {
		case <-term.more:
		case <-deadline.C:
			return seen, "", fmt.Errorf("it goes on after %s", patience)
		}
	}
}

func (term *terminal) close() {
	_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL)
	_ = term.input.Close()
	_ = term.cmd.Wait()
}

var (
	special = regexp.MustCompile(`\.\.\.|\b(?:[0-9a-z]{26}|[A-Z2-7]{26})\b|~[^\s"]*?\.\d+\.[0-9a-z]{10}\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z|\b\d+(?:\.\d+)?(?:ms|µs|us)\b|\b\d+\.\d+s\b| {2,}`)
	timing  = `\d+(?:\.\d+)?(?:m\d+(?:\.\d+)?s|ms|µs|us|ns|s)`
)

// pattern is what a line of the page stands for.
func (s *story) pattern(line string) string {
	var out strings.Builder
	at := 0
	for _, m := range special.FindAllStringIndex(line, -1) {
		out.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch word := line[m[0]:m[1]]; {
		case word == "...":
			out.WriteString(`.*`)
		case anID.MatchString(word) && len(word) == 26:
			if now, ok := s.ids[word]; ok {
				out.WriteString(regexp.QuoteMeta(now))
			} else {
				out.WriteString(`(?:[0-9a-z]{26}|[A-Z2-7]{26})`)
			}
		case word[0] == '~':
			path := word[:strings.LastIndexByte(word, '.')]
			out.WriteString(regexp.QuoteMeta(path) + `\.[0-9a-z]{10}`)
		case strings.HasSuffix(word, "Z"):
			out.WriteString(`\d{4}-\d\d-\d\d` + word[10:11] + `\d\d:\d\d:\d\d(?:\.\d+)?Z`)
		case strings.TrimLeft(word, " ") == "":
			out.WriteString(` +`)
		default:
			out.WriteString(timing)
		}
		at = m[1]
	}
	return out.String() + regexp.QuoteMeta(line[at:])
}

func (s *story) expression(want []string) string {
	var out strings.Builder
	for i, line := range want {
		if line == "..." {
			out.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		out.WriteString(` *` + s.pattern(strings.TrimSpace(line)) + ` *(?:\n|$)`)
		if i == len(want)-1 {
			break
		}
	}
	return out.String()
}

// matches compares what the page shows with what is seen; of a command that stays, only the beginning.
func (s *story) matches(want []string, seen string, whole bool) bool {
	end := ""
	if whole {
		end = `\s*$`
	}
	return regexp.MustCompile(`^` + s.expression(want) + end).MatchString(seen)
}

// learn keeps which id now stands for which of the page's.
func (s *story) learn(want []string, seen string) {
	for _, line := range want {
		for _, id := range anID.FindAllString(line, -1) {
			if s.ids[id] != "" {
				continue
			}
			at := slices.Index(anID.FindAllString(line, -1), id)
			where := regexp.MustCompile(`(?m)^ *` + s.pattern(strings.TrimSpace(line)) + ` *$`)
			if now := anID.FindAllString(where.FindString(seen), -1); at < len(now) {
				s.ids[id] = now[at]
			}
		}
	}
}

// TestDocsSeen: what is shown is compared, and only what changes from time to time is left out.
func TestDocsSeen(t *testing.T) {
	t.Parallel()
	s := &story{ids: make(map[string]string)}
	for _, c := range []struct {
		want, seen string
		same       bool
	}{
		{"run ahtgwm5rae13xhqc75tneqpvn8 of words", "run pgkfbfjp0pjt02hgcaazcartzc of words\n", true},
		{"run ahtgwm5rae13xhqc75tneqpvn8 of words", "run pgkfbfjp0pjt02hgcaazcartzc of texts\n", false},
		{"a  b", "a      b\n", true}, {"a b", "a  b\n", false}, {"a", "a\nb\n", false}, {"a\n...", "a\nb\nc\n", true}, {"...\nc", "a\nb\nc\n", true}, {"", "a\n", false},
		{"at 2026-11-27T08:36:19Z, after 300ms", "at 2027-01-02T03:04:05Z, after 1.2s\n", true}, {"gives up in 30s", "gives up in 31s\n", false}, {"a ... c", "a b c\n", true}, {"a ... c", "a b d\n", false},
	} {
		if got := s.matches(strings.Split(c.want, "\n"), c.seen, true); got != c.same {
			t.Errorf("%q is %q: %v", c.want, c.seen, got)
		}
	}
	s.learn([]string{"run ahtgwm5rae13xhqc75tneqpvn8 of words"}, "x\nrun pgkfbfjp0pjt02hgcaazcartzc of words\n")
	s.ports = map[string]string{}
	if got := s.real("onward runs get ahtgwm5rae13xhqc75tneqpvn8"); got != "onward runs get pgkfbfjp0pjt02hgcaazcartzc" {
		t.Error(got)
	}
	if s.matches([]string{"run ahtgwm5rae13xhqc75tneqpvn8"}, "run 00kfbfjp0pjt02hgcaazcartzc\n", true) {
		t.Error("an id stands for two")
	}
}
