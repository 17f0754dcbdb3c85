package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"go.yaml.in/yaml/v3"
)

// The pages are a story each: every fenced block says in its info string what it is, and the test does with it what the reader would. A block that says
// nothing, or something else, fails.
//
//	console            lines after "$ " are run, the others are what is seen; ^C is Ctrl-C. Words: terminal=NAME (another terminal of the page), stays (its last command goes on
//	                   running), fails (its last command does not end with 0), needs=WHAT (see needs)
//	yaml               documents, linted. Words: file=NAME (kept for the commands of the page), settings (of the router, read), tokens, or what it is a part of: step,
//	                   trigger, function, source, destination
//	json, python, javascript, sh with file=NAME: files that a command or a document of the page uses
//	go from=PATH       lines of that file
//	text               a picture, nothing to do: no command stands in it
//
// In what is seen, "..." stands for anything in a line, and for any lines where it is all of one. An id stands for the id that there is now, and for the same one
// wherever it comes again. A time stands for a time, a duration in parts of a second for a duration; spaces between columns are as wide as they are.
type block struct {
	page  string
	line  int
	lang  string
	words []string
	keys  map[string]string
	text  string
}

func (b block) String() string        { return fmt.Sprintf("%s:%d", b.page, b.line) }
func (b block) says(word string) bool { return slices.Contains(b.words, word) }
func (b block) filename() string      { return b.keys["file"] }

// known are the words and keys that a block of a kind may say.
var known = map[string][]string{
	"console": {"terminal=", "stays", "fails", "needs="}, "yaml": {"file=", "settings", "step", "trigger", "function", "source", "destination", "tokens", "needs="},
	"json": {"file="}, "python": {"file="}, "javascript": {"file="}, "sh": {"file="}, "go": {"from="}, "text": {}, "ini": {"needs="},
}

// needs are what a block may need. What is no program is nowhere in this test: commands of such a block are held to the command line, and not run.
var needs = map[string]string{"kafka": "", "root": "", "systemd": "", "docker": "", "kubernetes": "", "checkout": "", "prometheus": "", "collector": "", "python3": "python3", "node": "node", "jq": "jq", "openssl": "openssl"}

// had reports what a block needs and the machine lacks.
func (b block) lacks() string {
	what := b.keys["needs"]
	if what == "" {
		return ""
	}
	if program := needs[what]; program != "" {
		if _, err := exec.LookPath(program); err == nil {
			return ""
		}
	}
	return what
}

var fence = regexp.MustCompile("^( *)(```+)(.*)$")

// blocksOf reads a page, and reports what its blocks say wrongly.
func blocksOf(page, text string) (out []block, faults []string) {
	var open *block
	var closing, indent string
	var inside []string
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			indent, closing = m[1], m[2]
			open, inside = &block{page: page, line: i + 1, keys: make(map[string]string)}, nil
			for j, word := range strings.Fields(m[3]) {
				if key, value, is := strings.Cut(word, "="); is {
					open.keys[key] = value
				} else if j == 0 {
					open.lang = word
				} else {
					open.words = append(open.words, word)
				}
			}
			faults = append(faults, open.faults(strings.Fields(m[3]))...)
		case open != nil && m != nil && m[2] == closing && m[3] == "":
			open.text = strings.Join(inside, "\n") + "\n"
			out, open = append(out, *open), nil
		case open != nil:
			inside = append(inside, strings.TrimPrefix(line, indent))
		}
	}
	if open != nil {
		faults = append(faults, fmt.Sprintf("%s: the block does not end", open))
	}
	return out, faults
}

func (b block) faults(words []string) (out []string) {
	may, ok := known[b.lang]
	if !ok {
		return []string{fmt.Sprintf("%s: a block of %q is held to nothing; see docs_test.go for those that are", b, b.lang)}
	}
	for _, word := range words[1:] {
		if key, _, is := strings.Cut(word, "="); is {
			word = key + "="
		}
		if !slices.Contains(may, word) {
			out = append(out, fmt.Sprintf("%s: a block of %s says none of %q; it may say %q", b, b.lang, word, may))
		}
	}
	if what := b.keys["needs"]; what != "" {
		if _, ok := needs[what]; !ok {
			out = append(out, fmt.Sprintf("%s: needs=%s is not known", b, what))
		}
	}
	return out
}

// pages are the texts that are held to the program, by their paths from this folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, file := range append(files, "../README.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.ToSlash(file)] = string(b)
	}
	return out
}

// TestDocs does what the pages say, each in a folder of its own, and compares what is seen.
func TestDocs(t *testing.T) {
	t.Parallel()
	reg := registry()
	for page, text := range pages(t) {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			t.Parallel()
			blocks, faults := blocksOf(page, text)
			for _, f := range faults {
				t.Error(f)
			}
			if t.Failed() {
				return
			}
			s := newStory(t, page, blocks)
			for i, b := range blocks {
				checkBlock(t, s, b, slices.Concat(blocks[:i], blocks[i+1:]), reg)
				if t.Failed() {
					return // What follows builds on it.
				}
			}
		})
	}
}

func checkBlock(t *testing.T, s *story, b block, others []block, reg *plugin.Registry) {
	t.Helper()
	if name := b.filename(); name != "" {
		dir := path.Dir(name)
		if !slices.ContainsFunc(others, func(c block) bool {
			return strings.Contains(c.text, name) || dir != "." && strings.Contains(c.text, dir)
		}) {
			t.Errorf("%s: nothing else on the page uses %s", b, name)
		}
		s.write(t, name, b.text)
	}
	switch b.lang {
	case "console":
		if lacking := b.lacks(); lacking != "" {
			s.check(t, b)
			note(t, fmt.Sprintf("%s, which needs %s", b, lacking))
			return
		}
		s.run(t, b)
	case "yaml":
		checkYAML(t, s, b, reg)
	case "json":
		if !json.Valid([]byte(b.text)) {
			t.Errorf("%s: it is no JSON", b)
		}
	case "go":
		checkLines(t, b)
	case "ini":
		if b.keys["needs"] == "" {
			t.Errorf("%s: nothing here reads it: say needs=systemd", b)
		}
	case "text":
		if m := regexp.MustCompile(`(?m)^\s*(\$ |(bin/)?onward |curl |make )`).FindString(b.text); m != "" {
			t.Errorf("%s: a text has a command, %q: make it a console", b, m)
		}
	default:
		if b.filename() == "" {
			t.Errorf("%s: a block of %s has no file=", b, b.lang)
		}
	}
}

// checkLines: every line of the block is one of the file, in that order.
func checkLines(t *testing.T, b block) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(filepath.Dir(b.page), b.keys["from"]))
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	rest := string(source)
	for line := range strings.SplitSeq(strings.TrimSpace(b.text), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Errorf("%s: %s has no %q, or not there", b, b.keys["from"], line)
			continue
		}
		rest = after
	}
}

func checkYAML(t *testing.T, s *story, b block, reg *plugin.Registry) {
	t.Helper()
	if b.says("settings") {
		name := b.filename()
		if name == "" {
			name = fmt.Sprintf("settings-%d.yaml", b.line)
			s.write(t, name, b.text)
		}
		if out, err := onward(t, nil, "settings", "--settings", filepath.Join(s.dir, name)); err != nil {
			t.Errorf("%s: %v\n%s", b, err, out)
		}
		return
	}
	if b.keys["needs"] != "" || b.says("tokens") { // Another program's, or what serve reads by a setting.
		var any any
		if err := yaml.Unmarshal([]byte(b.text), &any); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		return
	}
	text := b.text
	if len(b.words) > 0 {
		text = document(b.words[0], b.text)
	}
	set, findings := config.Parse(b.String(), []byte(text), reg, nil)
	for _, f := range findings {
		t.Errorf("%s: %v\n%s", b, f, text)
	}
	if set != nil && len(set.Triggers)+len(set.Sources)+len(set.Calls) == 0 {
		t.Errorf("%s: it has no trigger, no source and no function", b)
	}
}

var (
	calledFunctions = regexp.MustCompile(`function: ([a-z][\w-]*)`)
	startedTriggers = regexp.MustCompile(`(?:trigger|subrun): ([a-z][\w-]*)`)
)

// document is a whole one around a part of one, with the functions and triggers that it names.
func document(part, text string) string {
	indented := func(n int) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+pad) + "\n"
	}
	functions, triggers, sources := "functions:\n  spare: { exec: cat }\n", "triggers:\n  spare: { flow: { function: spare } }\n", ""
	named := make(map[string]bool)
	for _, m := range calledFunctions.FindAllStringSubmatch(text, -1) {
		if !named["f"+m[1]] {
			functions += "  " + m[1] + ": { exec: cat }\n"
		}
		named["f"+m[1]] = true
	}
	for _, m := range startedTriggers.FindAllStringSubmatch(text, -1) {
		if !named["t"+m[1]] {
			triggers += "  " + m[1] + ": { filters: [{ exact: { type: " + m[1] + " } }], flow: { function: spare } }\n"
		}
		named["t"+m[1]] = true
	}
	list := strings.HasPrefix(text, "- ")
	switch {
	case part == "step" && list:
		triggers += "  this:\n    flow:\n      sequence:\n" + indented(8)
	case part == "step":
		triggers += "  this:\n    flow:\n" + indented(6)
	case part == "destination":
		triggers += "  this:\n    flow: { function: spare }\n    onSuccess:\n" + indented(6)
	case part == "trigger":
		triggers += indented(2)
	case part == "function":
		functions += indented(2)
	case part == "source":
		sources = "sources:\n" + indented(2)
	}
	return "version: 1\n" + functions + sources + triggers
}

// note puts what was not run where make test collects it for its last line.
func note(t *testing.T, what string) {
	t.Helper()
	t.Logf("NOT RUN: %s", what)
	file := os.Getenv("TOOLTEST_NOTES")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, what); err != nil {
		t.Fatal(err)
	}
}

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	image   = regexp.MustCompile(`<(?:img|source)[^>]* src(?:set)?="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	symbols = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the places of a page that a link can name, as GitHub names them.
func anchors(text string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ReplaceAll(symbols.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), ""), " ", "-")
		for n, at := 1, name; ; n++ {
			if !out[at] {
				out[at] = true
				break
			}
			at = name + "-" + strconv.Itoa(n)
		}
	}
	return out
}

// withoutBlocks is a page's prose.
func withoutBlocks(text string) string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
		} else if !inside {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// TestDocsLinks: what a page links to is there, down to the heading; every page is reached from the list of pages.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	all["README.md"] = string(must(os.ReadFile("README.md")))
	for page, text := range all {
		prose := withoutBlocks(text)
		for _, m := range slices.Concat(link.FindAllStringSubmatch(prose, -1), image.FindAllStringSubmatch(prose, -1)) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), path))
			}
			b, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() && anchor == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			} else if anchor != "" && !anchors(withoutBlocks(string(b)))[anchor] {
				t.Errorf("%s: %s: the page has no such heading", page, m[1])
			}
		}
		if name := filepath.Base(page); strings.HasPrefix(page, "docs/") && name != "README.md" && !strings.Contains(all["docs/README.md"], "]("+name+")") {
			t.Errorf("docs/README.md does not link %s", name)
		}
	}
}

var deed = regexp.MustCompile("`(onward (?:[^`]+))`")

// TestDocsCommands: the commands that the prose names are there, with these flags.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for page, text := range pages(t) {
		for _, m := range deed.FindAllStringSubmatch(withoutBlocks(text), -1) {
			seen[m[1]] = page
		}
	}
	if len(seen) < 20 {
		t.Errorf("the pages name %d commands", len(seen))
	}
	c := commandLine(t)
	for command, page := range seen {
		for _, fault := range c.faults(command) {
			t.Errorf("%s: `%s`: %s", page, command, fault)
		}
	}
}

// A commands knows the command line by what its helps say.
type commands struct {
	helps map[string]string // by the command's words
	err   error
}

var readCommands = sync.OnceValue(func() *commands {
	c := &commands{helps: make(map[string]string)}
	listed := regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)
	var visit func(path string)
	visit = func(path string) {
		run := exec.Command(os.Args[0], append(strings.Fields(path), "--help")...)
		run.Env = []string{childVariable + "=1", "GORACE=atexit_sleep_ms=0"}
		help, err := run.CombinedOutput()
		if err != nil {
			c.err = fmt.Errorf("onward %s --help: %w\n%s", path, err, help)
			return
		}
		c.helps[path] = string(help)
		_, list, _ := strings.Cut(string(help), "\nAvailable Commands:\n")
		list, _, _ = strings.Cut(list, "\nFlags:")
		for _, m := range listed.FindAllStringSubmatch(list, -1) {
			if m[1] != "help" && m[1] != "completion" {
				visit(strings.TrimSpace(path + " " + m[1]))
			}
		}
	}
	visit("")
	return c
})

func commandLine(t *testing.T) *commands {
	t.Helper()
	c := readCommands()
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c
}

var flagged = regexp.MustCompile(`(^|\s)(--[a-z][a-z-]*|-[a-z])\b`)

// faults of a command as a text names it, such as onward runs list --failed.
func (c *commands) faults(text string) (out []string) {
	var path []string
	words := strings.Fields(text)[1:]
	for len(words) > 0 {
		next := strings.Join(append(slices.Clone(path), words[0]), " ")
		if _, ok := c.helps[next]; !ok {
			break
		}
		path, words = append(path, words[0]), words[1:]
	}
	help, ok := c.helps[strings.Join(path, " ")]
	if !ok || len(path) == 0 && (len(words) == 0 || !strings.HasPrefix(words[0], "-")) {
		return []string{"there is no such command"}
	}
	if strings.Contains(help, "\nAvailable Commands:\n") && len(path) > 0 && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return []string{fmt.Sprintf("onward %s has no %q", strings.Join(path, " "), words[0])}
	}
	for _, m := range flagged.FindAllStringSubmatch(" "+strings.Join(words, " "), -1) {
		if !regexp.MustCompile(`(?m)(^|\s)` + m[2] + `\b`).MatchString(help) {
			out = append(out, fmt.Sprintf("onward %s has no %s", strings.Join(path, " "), m[2]))
		}
	}
	return out
}

// TestDocsBlocks: a page that hides something from the test is caught.
func TestDocsBlocks(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"```\nonward\n```\n", "```bash\nonward\n```\n", "```console later\n$ onward\n```\n", "```console needs=luck\n```\n", "```yaml\n", "```text file=x\n```\n"} {
		if _, faults := blocksOf("page.md", bad); len(faults) == 0 {
			t.Errorf("%q passes", bad)
		}
	}
	text, err := os.ReadFile("docs/start.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, faults := blocksOf("docs/start.md", string(text))
	if len(faults) > 0 || len(blocks) < 5 || bytes.Count(text, []byte("\n```")) != 2*len(blocks) {
		t.Errorf("%d blocks of start.md, %v", len(blocks), faults)
	}
	c := commandLine(t)
	for _, bad := range []string{"onward fly", "onward runs fly", "onward runs list --fly", "onward"} {
		if len(c.faults(bad)) == 0 {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"onward runs redrive --failed --since today", "onward serve documents --listen 127.0.0.1:0", "onward --help", "onward runs get RUN --timeline"} {
		if got := c.faults(good); len(got) > 0 {
			t.Errorf("%q: %v", good, got)
		}
	}
}

// rows are those of the table under a heading of a page, cell by cell.
func rows(t *testing.T, page, under string) (out [][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n"+under+"\n")
	if !ok {
		t.Fatalf("%s has no %q", page, under)
	}
	if next := regexp.MustCompile(fmt.Sprintf(`\n#{1,%d} `, strings.IndexByte(under, ' '))).FindStringIndex(section); next != nil {
		section = section[:next[0]]
	}
	for line := range strings.SplitSeq(section, "\n") {
		if strings.HasPrefix(line, "| `") {
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			out = append(out, cells)
		}
	}
	return out
}

var coded = regexp.MustCompile("`([^`]+)`")

// TestDocsExpressions: every function of expressions has an example, which yields what the page says.
func TestDocsExpressions(t *testing.T) {
	t.Parallel()
	data := lang.Vars{{Name: "data", Value: lang.Trusted(`{"n":7,"text":"to be","list":[3,1,2],"who":{"name":"Ada"}}`)}}
	shown := make(map[string]bool)
	for _, row := range rows(t, "docs/language.md", "### Functions of expressions") {
		for _, m := range coded.FindAllStringSubmatch(row[0], -1) {
			shown[m[1]] = true
		}
		if len(row) != 3 {
			t.Fatalf("%q", row)
		}
		example, want := strings.Trim(row[1], "`"), strings.Trim(row[2], "`")
		e, err := lang.ParseExpr(lang.Text("${ " + example + " }"))
		if err != nil {
			t.Errorf("%s: %v", example, err)
			continue
		}
		if got, err := e.Eval(data, nil); err != nil || got.JSON() != want {
			t.Errorf("%s yields %s (%v), and the page says %s", example, got.JSON(), err, want)
		}
	}
	for _, name := range lang.Functions() {
		if !shown[name] {
			t.Errorf("language.md does not have the function %s", name)
		}
		delete(shown, name)
	}
	for name := range shown {
		t.Errorf("language.md has a function %s that expressions have not", name)
	}
}

var (
	failures = regexp.MustCompile(`Failf\((?:lang\.)?Class(\w+), "([a-z_]+)"`)
	literals = regexp.MustCompile(`Error\{(?:[^{}]*?,)?\s*Type: "([a-z_]+)",[^{}]*?Class:\s*(?:(?:lang\.)?Class(\w+)|"(\w+)")`)
	swapped  = regexp.MustCompile(`Error\{\s*Class:\s*(?:lang\.)?Class(\w+),\s*Type: "([a-z_]+)"`)
)

// madeErrors are the types of errors that the code makes, with their classes.
func madeErrors(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out := make(map[string]map[string]bool)
	add := func(kind, class string) {
		if strings.HasSuffix(kind, "_") { // The begin of one, such as unknown_function.
			return
		}
		if out[kind] == nil {
			out[kind] = make(map[string]bool)
		}
		if class != "" {
			out[kind][strings.ToLower(class)] = true
		}
	}
	for _, kind := range lang.ErrorTypes {
		add(kind, "")
	}
	elsewhere := regexp.MustCompile(`_test\.go$|/(schedulertest|sinktest|simulate|bench|soak|command)/`)
	for _, top := range []string{"../config", "../schedulers", "../sinks", "../router"} {
		err := filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(file, ".go") || elsewhere.MatchString(filepath.ToSlash(file)) {
				return err
			}
			b, err := os.ReadFile(file)
			for _, m := range failures.FindAllStringSubmatch(string(b), -1) {
				add(m[2], m[1])
			}
			for _, m := range literals.FindAllStringSubmatch(string(b), -1) {
				add(m[1], m[2]+m[3])
			}
			for _, m := range swapped.FindAllStringSubmatch(string(b), -1) {
				add(m[2], m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestDocsErrors: every type of error that the code makes is explained, with its class.
func TestDocsErrors(t *testing.T) {
	t.Parallel()
	made := madeErrors(t)
	if len(made) < 45 {
		t.Fatalf("%d types of errors", len(made))
	}
	shown := make(map[string]string)
	for _, row := range rows(t, "docs/language.md", "## Errors") {
		if len(row) == 4 {
			shown[strings.Trim(row[0], "`")] = row[1]
		}
	}
	for kind, classes := range made {
		for class := range classes {
			if !strings.Contains(shown[kind], class) {
				t.Errorf("language.md says of the error %q the class %q, and it is made with %s", kind, shown[kind], class)
			}
		}
		if _, ok := shown[kind]; !ok {
			t.Errorf("language.md does not have the error %q", kind)
		}
	}
	for kind := range shown {
		if _, ok := made[kind]; !ok && kind != engine.ChainLimit && kind != engine.ZeroConcurrency && kind != "killed" && !strings.Contains(kind, " ") {
			t.Errorf("language.md has an error %q that nothing makes", kind)
		}
	}
	for _, class := range lang.ClassNames() {
		if _, ok := shown[class]; !ok && !strings.Contains(string(must(os.ReadFile("docs/language.md"))), "\n| `"+class+"` |") {
			t.Errorf("language.md does not have the class %s", class)
		}
	}
}

// TestExampleOfTopicsMakesThem: the steps that the example on Kafka shows make every topic that it speaks of.
func TestExampleOfTopicsMakesThem(t *testing.T) {
	t.Parallel()
	text := string(must(os.ReadFile("examples/05-kafka/pipeline.yaml")))
	made := regexp.MustCompile(`(?m)^# +for t in ([^;]+);`).FindStringSubmatch(text)
	topics := regexp.MustCompile(`topics?: ([a-z.]+)`).FindAllStringSubmatch(text, -1)
	if made == nil || len(topics) < 5 {
		t.Fatalf("%q, %q", made, topics)
	}
	for _, topic := range topics {
		if !slices.Contains(strings.Fields(made[1]), topic[1]) {
			t.Errorf("nothing makes the topic %s", topic[1])
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestDocsMetrics: every metric that a router registers is explained, and there is no other.
func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	_, registered := serve(t)
	known := families(t, registered)
	shown := make(map[string]bool)
	for _, row := range rows(t, "docs/metrics.md", "## All metrics") {
		name := strings.Trim(row[0], "`")
		shown[name] = true
		f, ok := known[name]
		if !ok {
			t.Errorf("metrics.md has %s, which nothing registers", name)
		}
		if row[2] != f.help {
			t.Errorf("metrics.md says of %s %q, and the router %q", name, row[2], f.help)
		}
		var labels []string
		for _, m := range coded.FindAllStringSubmatch(row[1], -1) {
			labels = append(labels, m[1])
		}
		slices.Sort(labels)
		slices.Sort(f.labels)
		if !slices.Equal(labels, f.labels) {
			t.Errorf("metrics.md says that %s has the labels %q, and it has %q", name, labels, f.labels)
		}
	}
	for name := range known {
		if !shown[name] {
			t.Errorf("metrics.md does not have %s", name)
		}
	}
	for page, text := range pages(t) {
		for _, name := range ours.FindAllString(text, -1) {
			whole := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if _, ok := known[name]; !ok && !known[whole].histogram {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
	}
}
