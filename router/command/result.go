package command

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
)

// hops gathers what the summary tells.
type hops struct {
	mu       sync.Mutex
	overhead []time.Duration
}

func (h *hops) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.overhead = append(h.overhead, d)
}

// result prints how a run ended: its value on standard output, the summary on standard error.
func (p *program) result(f *router.Finished, h *hops, quiet bool) error {
	if !quiet {
		fmt.Fprintf(p.errs, "%s: %s in %s, %s\n", f.Trigger, f.State, f.Ended.Sub(f.Started).Round(100*time.Microsecond), several(f.Calls, "call"))
		if n := len(h.overhead); n > 0 {
			slices.Sort(h.overhead)
			fmt.Fprintf(p.errs, "router overhead a hop (an outcome's arrival to its being folded): p50 %s, p99 %s\n", round(h.overhead[n/2]), round(h.overhead[n*99/100]))
		}
	}
	if f.Error != nil {
		return p.failure(f.State, f.Error)
	}
	p.value(f.Result)
	return nil
}

// value prints what a run yielded: a text as it is, in a pipe too, and anything else as JSON; with -o json all as JSON.
func (p *program) value(v lang.Value) {
	var text string
	if p.output == "table" && !v.IsNull() && v.Decode(&text) == nil {
		fmt.Fprintln(p.out, strings.TrimRight(text, "\n"))
		return
	}
	fmt.Fprintln(p.out, v.JSON())
}

// failure prints the error that a run ended with, and ends the command.
func (p *program) failure(state string, e *lang.Error) error {
	fmt.Fprintln(p.out, e.Value())
	return exitError{exitRun, wentWrong(state, e)}
}

// wentWrong says how a run ended that did not succeed.
func wentWrong(state string, e *lang.Error) error {
	switch {
	case e == nil:
		return fmt.Errorf("the run is %s", state)
	case state == "cancelled":
		return fmt.Errorf("the run was cancelled: %s", e.Message)
	}
	return fmt.Errorf("the run %s: %w", state, e)
}

// several is a number of things, in words: 1 call, 2 calls.
func several[N int | uint32 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// contents says how much documents have.
func contents(set *config.Set) string {
	return several(len(set.FunctionNames()), "function") + ", " + several(len(set.Sources), "source") + ", " + several(len(set.Triggers), "trigger")
}
