// Package exec is the sink that runs a program: the input on its standard input, the result from its standard output.
package exec

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Settings are the sink's part of a document.
type Settings struct {
	Command []string                 `doc:"command,value,list,required" help:"the program and its arguments"`
	Dir     string                   `doc:"dir" help:"the folder to run it in"`
	Env     Env                      `doc:"env" help:"what of the environment it gets besides PATH, HOME, LANG and the like: a list of names that are passed on (or NAME=value), or a mapping of names to values"`
	Secrets map[string]plugin.Secret `doc:"secrets" help:"environment variables whose values are secrets"`
	Grace   plugin.Duration          `doc:"grace" help:"time between SIGTERM and SIGKILL when its time is over" default:"2s"`
}

// NotCancelled says that a program hears of it otherwise.
func (*Settings) NotCancelled() string { return "the program is ended when its call is dropped" }

// Check reports an empty command, and variables that no program can get.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	if len(s.Command) == 0 || s.Command[0] == "" {
		out = append(out, plugin.Problem{Path: []string{"command"}, What: "no program is named", Cure: "write command: [python3, count.py]"})
	}
	if words := argued(s.Command); words != nil {
		out = append(out, plugin.Problem{Path: []string{"command"}, What: fmt.Sprintf("%q names a program with its arguments", s.Command[0]), Cure: "write [" + strings.Join(words, ", ") + "]"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		if s.Env.has(name) {
			out = append(out, plugin.Problem{Path: []string{"secrets", name}, What: fmt.Sprintf("%q stands in env too", name), Cure: "keep one"})
		}
	}
	return out
}

// argued are the words of a command that was written as a shell has it. A program whose path has spaces is none: it stands in a folder.
func argued(command []string) []string {
	if len(command) != 1 {
		return nil
	}
	words := strings.Fields(command[0])
	if len(words) < 2 || strings.Contains(words[0], "/") && !strings.HasPrefix(words[1], "-") {
		return nil
	}
	return words
}

// Startable says why the program cannot be started here; nil when it can.
func (s *Settings) Startable() error {
	if _, err := os.Stat(cmp.Or(s.Dir, ".")); err != nil {
		return fmt.Errorf("its dir: %w", err)
	}
	program := s.Command[0]
	if s.Dir != "" && strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(s.Dir, program) // As the host looks for it.
	}
	_, err := exec.LookPath(program)
	return err
}

// Inherits lists the variables of the router's own that the document passes on by name. None of them may be a secret.
func (s *Settings) Inherits() []string { return s.Env.Pass }

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	word := plugin.Schema{"minLength": 1}
	return plugin.Schema{"properties": plugin.Schema{"command": plugin.Schema{"minLength": 1, "minItems": 1, "prefixItems": []any{word}}}}
}

// The limits of what a program may print.
const (
	MaxOutput  = 16 << 20
	stderrTail = 4 << 10
)

// drain is how long the output is read on after the program has exited, or was killed, while children of it hold the output open.
const drain = 500 * time.Millisecond

type sink struct {
	s      *Settings
	secret func(name string) bool
}

// New makes the sink.
func New(_ string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	secret := h.Secret
	if secret == nil {
		secret = func(string) bool { return false }
	}
	for _, name := range s.Env.Pass {
		if secret(name) {
			return nil, fmt.Errorf("env: %q is a secret of the router's; leave it out, or say secrets: { %s: { env: %s } } if the program is meant to have it", name, name, name)
		}
	}
	return &sink{s, secret}, nil
}

func (k *sink) Close() error { return nil }

func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	hide()
	sinks.Each(deliveries, k.run)
}

func (k *sink) run(d *sinks.Delivery) sinks.Result {
	env, err := k.env(d)
	if err != nil {
		return sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"})
	}
	var stdout, stderr tail
	stdout.limit, stderr.limit, stderr.keepEnd = MaxOutput, stderrTail, true
	cmd := exec.CommandContext(d.Context, k.s.Command[0], k.s.Command[1:]...)
	cmd.Dir, cmd.Env = k.s.Dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(d.Event().Data()), &stdout, &stderr
	end := ownGroup(cmd, k.s.Grace.D())
	cmd.WaitDelay = k.s.Grace.D() + drain
	err = cmd.Run()
	end()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // It has exited well, and left children behind that held its output open.
	}
	return k.result(d, err, &stdout, &stderr)
}

func (k *sink) result(d *sinks.Delivery, err error, stdout, stderr *tail) sinks.Result {
	var exit *exec.ExitError
	switch {
	case stdout.cut:
		return sinks.CompleteError(&sinks.Error{Type: "too_large", Message: fmt.Sprintf("the program printed more than %d bytes", MaxOutput), Class: "function"})
	case err != nil && d.Context.Err() != nil:
		return sinks.Ended(d.Context, "the program was ended"+stderr.suffix())
	case errors.As(err, &exit):
		data, _ := json.Marshal(map[string]any{"exitCode": exit.ExitCode(), "stderr": stderr.String()}) // Texts and numbers marshal.
		kind := fmt.Sprintf("exit_%d", exit.ExitCode())
		if !exit.Exited() {
			kind = "killed"
		}
		return sinks.CompleteError(&sinks.Error{
			Type: kind, Message: fmt.Sprintf("%s: %s%s", k.s.Command[0], exit.ProcessState, stderr.suffix()), Class: "function", Data: data,
		})
	case err != nil:
		if no := k.s.Startable(); no != nil {
			err = no // Of a dir that is not there the host says that the program is not.
		}
		return sinks.Fail(&sinks.Error{Type: "not_started", Message: err.Error(), Class: "platform"})
	case !d.Invoke:
		return sinks.Accept()
	}
	v, err := envelope.Printed(stdout.b)
	if err != nil {
		return sinks.CompleteError(&sinks.Error{Type: "bad_response", Message: "what the program printed is no answer: " + err.Error(), Class: "function"})
	}
	return sinks.Complete([]byte(v.JSON()))
}

// env is what of the router's environment is for programs, the document's part, and the event's attributes as CE_NAME.
func (k *sink) env(d *sinks.Delivery) ([]string, error) {
	env := k.s.Env.of(os.Environ(), k.secret)
	for _, name := range slices.Sorted(maps.Keys(k.s.Secrets)) {
		v, err := k.s.Secrets[name].Read()
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		env = append(env, name+"="+v)
	}
	e := d.Event()
	if e.Subject() == "" {
		env = append(env, "CE_SUBJECT=")
	}
	envelope.Each(e, func(name, text string) { env = append(env, "CE_"+strings.ToUpper(name)+"="+text) })
	if c, ok := envelope.Traced(e); ok && !k.s.Env.has("TRACEPARENT") { // As OpenTelemetry's programs read it.
		env = append(env, "TRACEPARENT="+c.Parent)
		if c.State != "" {
			env = append(env, "TRACESTATE="+c.State)
		}
	}
	return env, nil
}

// A tail keeps the begin or the end of what is written to it.
type tail struct {
	b       []byte
	limit   int
	keepEnd bool
	cut     bool
}

// Write takes p; where the begin is kept, what goes beyond the limit is an error, so that nobody reads on and the program learns it by SIGPIPE.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	over := len(t.b) - t.limit
	if over <= 0 {
		return len(p), nil
	}
	t.cut = true
	if t.keepEnd {
		t.b = append(t.b[:0], t.b[over:]...)
		return len(p), nil
	}
	t.b = t.b[:t.limit]
	return len(p) - over, errCut
}

var errCut = errors.New("more output than the limit")

func (t *tail) String() string { return strings.ToValidUTF8(string(t.b), "?") }

func (t *tail) suffix() string {
	if text := strings.TrimSpace(t.String()); text != "" {
		return ": " + text
	}
	return ""
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "exec", 1, "Runs a program: input on standard input, result from standard output.", New)
}
