package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers"
)

// The exit codes.
const (
	exitOK          = 0
	exitRun         = 1
	exitUsage       = 2
	exitUnmatched   = 3
	exitWaited      = 4
	exitUnknown     = 5
	exitRefused     = 6
	exitUnreachable = 7
	exitSignal      = 128 // and the signal's number
)

// exitCodes are the codes that a command ends with, the words that programs find as error.code, and what they mean. A router's refusal has a word of its own.
var exitCodes = []codeRow{
	{exitOK, "", "all is well"},
	{exitRun, "failed", "a run failed, a check found something, or not all was done that was asked for"},
	{exitUsage, "usage", "the command line, the settings or the documents are wrong; nothing was done"},
	{exitUnmatched, "unmatched", "no trigger takes the event"},
	{exitWaited, "late", "what was waited for has not come in time"},
	{exitUnknown, "unknown", "the router knows nothing of that name"},
	{exitRefused, "refused", "the router refuses it, and nothing was changed"},
	{exitUnreachable, "unreachable", "no router answers"},
	{exitSignal + int(syscall.SIGINT), "interrupted", "it was interrupted (128 and the signal's number)"},
}

type codeRow struct {
	code       int
	word, help string
}

// exitHelp is what the help of the program says of them.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, x := range exitCodes {
		fmt.Fprintf(&b, "  %-3d  %s\n", x.code, x.help)
	}
	b.WriteString("With -o json an error is {\"error\": {\"code\", \"message\", \"cure\"}}, the last line on standard error.")
	return b.String()
}

// An exitError carries an exit code. What a router has said of the matter counts before it.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// errSaid is an error of which all is said on standard output; only programs hear more.
var errSaid = errors.New("said")

// cutOff is an error after an interrupt: whoever was in the middle of something knows it by its context's end, and says it in the words of that.
type cutOff struct{ error }

func (e cutOff) Error() string {
	return strings.ReplaceAll(e.error.Error(), context.Canceled.Error(), "interrupted")
}

func (e cutOff) Unwrap() error { return e.error }

// saidSo is that, with what programs are told of it.
type saidSo struct{ error }

func (saidSo) Is(target error) bool { return target == errSaid }

// unreachable is that no router answers.
type unreachable struct{ error }

// misuse is that what was said of how a router is to be asked is wrong.
type misuse struct{ error }

// found is what documents are refused for.
type found []lang.Finding

func (f found) Error() string {
	if len(f) == 1 {
		return "1 finding; nothing was started"
	}
	return fmt.Sprintf("%d findings; nothing was started", len(f))
}

// execute runs a command line, says what went wrong, and returns the exit code; came is the signal that has ended ctx, 0 being none.
func (p *program) execute(ctx context.Context, args []string, came func() int) int {
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := codeOf(err)
	if s := came(); s != 0 {
		code, err = exitSignal+s, cutOff{err}
	}
	var findings found
	errors.As(err, &findings)
	switch {
	case errors.Is(err, errSaid) && p.output != "json":
	case p.output == "json" || saysJSON(args): // A flag that is wrong comes before those behind it.
		_ = json.NewEncoder(p.errs).Encode(struct { // Who does not listen is not told.
			triggers.Refusal
			Findings found `json:"findings,omitempty"`
		}{refusalOf(err, code), findings})
	default:
		for _, f := range findings {
			fmt.Fprintln(p.errs, f)
		}
		fmt.Fprintln(p.errs, "onward:", err)
	}
	return code
}

func codeOf(err error) int {
	var e exitError
	switch {
	case errors.As(err, new(unreachable)):
		return exitUnreachable
	case errors.As(err, new(misuse)), statusOf(err) == http.StatusBadRequest:
		return exitUsage
	case statusOf(err) == http.StatusNotFound:
		return exitUnknown
	case statusOf(err) != 0:
		return exitRefused
	case errors.As(err, &e):
		return e.code
	}
	return exitUsage
}

// saysJSON reports whether a command line asks for JSON, though it cannot be read.
func saysJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	json := false
	for i, a := range args {
		for _, name := range []string{"-o", "--output"} {
			if a == name {
				json = i+1 < len(args) && args[i+1] == "json"
			} else if value, is := strings.CutPrefix(a, name); is && (name == "-o" || strings.HasPrefix(value, "=")) {
				json = strings.TrimPrefix(value, "=") == "json"
			}
		}
	}
	return json
}

// refusalOf is an error as programs read it: what a router has said, or else what this command says.
func refusalOf(err error, code int) triggers.Refusal {
	var r refusal
	if errors.As(err, &r) && r.said.Error.Message != "" && code < exitSignal {
		return r.said
	}
	is := exitCodes[len(exitCodes)-1]
	for _, x := range exitCodes {
		if x.code == code {
			is = x
		}
	}
	message, cure, _ := strings.Cut(err.Error(), "; ")
	if errors.Is(err, errSaid) { // On standard output, where all of it is.
		message, cure = is.help, ""
		if so := (saidSo{}); errors.As(err, &so) {
			message = so.Error()
		}
	}
	return triggers.Refusal{Error: triggers.Refused{Code: is.word, Message: message, Cure: cure}}
}
