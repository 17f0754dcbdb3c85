// Package deploy_test holds the files of this folder to what they speak of: the settings, the commands, the API and the metrics of the router, the
// schemas of Kubernetes and of Compose.
package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/command"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

// childVariable makes the test binary be the router's program.
const childVariable = "TEST_RUN_AS_ROUTER"

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	triggers.Register(r)
	return r
}

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(command.Main(registry(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// onward runs the program with these variables, and no other that is a setting.
func onward(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Dir = t.TempDir()
	c.Env = []string{childVariable + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir}
	for k, v := range env {
		c.Env = append(c.Env, k+"="+v)
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

// checkSettings has the program read the variables as it does at start: an unknown name or a bad value is refused.
func checkSettings(t *testing.T, where string, env map[string]string) {
	t.Helper()
	set := 0
	for name := range env {
		if strings.HasPrefix(name, "ONWARD_") {
			set++
		}
	}
	if out, err := onward(t, env, "settings"); err != nil || set == 0 {
		t.Errorf("%s: %d settings, %v\n%s", where, set, err, out)
	}
}

// checkCommand has the program read a command line, without carrying it out.
func checkCommand(t *testing.T, where string, args []string) {
	t.Helper()
	names := 0
	for names < len(args) && !strings.ContainsAny(args[names], "-/.") {
		names++
	}
	if names == 0 {
		t.Errorf("%s: %q names no command", where, args)
		return
	}
	if help, err := onward(t, nil, "--help"); err != nil || !strings.Contains(help, "\n  "+args[0]+" ") {
		t.Errorf("%s: %q: no such command (%v)", where, args, err)
		return
	}
	out, err := onward(t, nil, append(slices.Clone(args), "--help")...)
	if err != nil || !strings.Contains(out, "\n  onward "+strings.Join(args[:names], " ")+" ") {
		t.Errorf("%s: %q: %v\n%s", where, args, err, out)
	}
}

// checkDocuments lints documents by their text.
func checkDocuments(t *testing.T, documents map[string]string) {
	t.Helper()
	for name, text := range documents {
		set, findings := config.Parse(name, []byte(text), registry(), nil)
		for _, f := range findings {
			t.Error(f)
		}
		if set != nil && len(set.Triggers) == 0 {
			t.Errorf("%s has no triggers", name)
		}
	}
}

// A stage is one of the Dockerfile's.
type stage struct {
	name, from string
	lines      [][2]string // instruction, rest
}

func (s stage) all(instruction string) (rest []string) {
	for _, l := range s.lines {
		if l[0] == instruction {
			rest = append(rest, l[1])
		}
	}
	return rest
}

var instructions = []string{"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "LABEL", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}

// dockerfile reads the stages.
func dockerfile(t *testing.T) []stage {
	t.Helper()
	b, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var stages []stage
	text := strings.ReplaceAll(string(b), "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		instruction, rest, _ := strings.Cut(line, " ")
		if !slices.Contains(instructions, instruction) {
			t.Fatalf("Dockerfile: unknown instruction %q", line)
		}
		if instruction == "FROM" {
			words := slices.DeleteFunc(strings.Fields(rest), func(w string) bool { return strings.HasPrefix(w, "--") })
			if len(words) != 3 || words[1] != "AS" {
				t.Fatalf("Dockerfile: %q has no name", line)
			}
			stages = append(stages, stage{name: words[2], from: words[0]})
			continue
		}
		if len(stages) == 0 {
			t.Fatalf("Dockerfile: %q before the first stage", line)
		}
		stages[len(stages)-1].lines = append(stages[len(stages)-1].lines, [2]string{instruction, strings.Join(strings.Fields(rest), " ")})
	}
	return stages
}

func stageOf(t *testing.T, name string) stage {
	t.Helper()
	for _, s := range dockerfile(t) {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("Dockerfile: no stage %q", name)
	return stage{}
}

// imageEnv is what the router's image sets.
func imageEnv(t *testing.T) map[string]string {
	t.Helper()
	env := make(map[string]string)
	for _, rest := range stageOf(t, "onward").all("ENV") {
		for _, pair := range strings.Fields(rest) {
			k, v, _ := strings.Cut(pair, "=")
			env[k] = v
		}
	}
	return env
}

// words reads the JSON form of a command.
func words(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	if err := strictJSON([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	stages := dockerfile(t)
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(mod, []byte("\ngo "))
	version, _, _ := strings.Cut(string(after), "\n")
	if !strings.HasPrefix(stages[0].from, "golang:"+version+"-") {
		t.Errorf("it builds with %s, and go.mod says %s", stages[0].from, version)
	}
	known := []string{"scratch"}
	for i, s := range stages {
		if i > 0 && !slices.Contains(known, s.from) {
			t.Errorf("stage %s begins with %q, which is no stage before it", s.name, s.from)
		}
		for _, rest := range s.all("COPY") {
			if from, _, ok := strings.Cut(strings.TrimPrefix(rest, "--from="), " "); ok && strings.HasPrefix(rest, "--from=") && !slices.Contains(known, from) {
				t.Errorf("stage %s copies from %q, which is no stage before it", s.name, from)
			}
		}
		known = append(known, s.name)
	}
	for _, rest := range stages[0].all("RUN") {
		for _, w := range strings.Fields(rest) {
			if strings.HasPrefix(w, "./") {
				if files, _ := filepath.Glob("../" + w + "/*.go"); len(files) == 0 {
					t.Errorf("%s has no program", w)
				}
			}
		}
	}
	if users := stageOf(t, "base").all("USER"); len(users) != 1 || users[0] != "65532:65532" {
		t.Errorf("the user is %q", users)
	}
	last := stages[len(stages)-1]
	if last.name != "onward" || last.from != "base" {
		t.Errorf("the last stage, the one that is built, is %s from %s", last.name, last.from)
	}
	env := imageEnv(t)
	checkSettings(t, "Dockerfile", env)
	if v := last.all("VOLUME"); len(v) != 1 || v[0] != env["ONWARD_DATA"] {
		t.Errorf("the volume is %q, and the data are in %q", v, env["ONWARD_DATA"])
	}
	if p := last.all("EXPOSE"); len(p) != 1 || !strings.HasSuffix(env["ONWARD_LISTEN"], ":"+p[0]) {
		t.Errorf("the port is %q, and it listens at %q", p, env["ONWARD_LISTEN"])
	}
	_, health, _ := strings.Cut(last.all("HEALTHCHECK")[0], " CMD ")
	check := words(t, health)
	if entry := words(t, last.all("ENTRYPOINT")[0]); len(entry) != 1 || entry[0] != check[0] {
		t.Errorf("%q begins, and %q looks after it", entry, check)
	}
	checkCommand(t, "HEALTHCHECK", check[1:])
	checkCommand(t, "CMD", words(t, last.all("CMD")[0]))
}

// TestDockerignore: all Go code of the programs gets into the image's build, and nothing is let in that is not there.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var in []string
	for _, l := range lines {
		if path, ok := strings.CutPrefix(l, "!"); ok {
			if _, err := os.Stat("../" + path); err != nil {
				t.Error(err)
			}
			in = append(in, path)
		}
	}
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", "../router/cmd/onward", "./examples/01-word-count/functions")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for dir := range strings.FieldsSeq(string(out)) {
		rel, err := filepath.Rel(top, dir)
		if err != nil {
			t.Fatal(err)
		}
		if n++; !slices.ContainsFunc(in, func(p string) bool { return rel == p || strings.HasPrefix(rel, p+"/") }) {
			t.Errorf("%s is needed, and ignored", rel)
		}
	}
	if n < 10 || lines[0] != "*" {
		t.Errorf("%d packages are needed; the first line is %q", n, lines[0])
	}
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func merged(maps ...map[string]string) map[string]string {
	out := make(map[string]string)
	for _, m := range maps {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, and not %v", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

var (
	linked  = regexp.MustCompile(`\]\(([^)#]+)\)`)
	alerted = regexp.MustCompile("`(Onward[A-Za-z]+)`")
)

// TestReadme: what the page links to is there, and the alerts and metrics that it names are.
func TestReadme(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, metrics := serve(t)
	known := families(t, metrics)
	links, names := linked.FindAllStringSubmatch(string(page), -1), alerted.FindAllStringSubmatch(string(page), -1)
	if len(links) < 8 || len(names) < 3 {
		t.Fatalf("%d links, %d alerts", len(links), len(names))
	}
	for _, l := range links {
		if _, err := os.Stat(l[1]); err != nil {
			t.Error(err)
		}
	}
	for _, a := range names {
		if !bytes.Contains(alerts, []byte("alert: "+a[1]+"\n")) {
			t.Errorf("there is no alert %s", a[1])
		}
	}
	for _, name := range ours.FindAllString(string(page), -1) {
		if _, ok := known[name]; !ok {
			t.Errorf("there is no metric %s", name)
		}
	}
}
