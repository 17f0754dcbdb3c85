package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
)

// resumed bounds how many open runs are looked up at a time.
const resumed = 1000

// A resumedRun is how a run ended that went on.
type resumedRun struct {
	Run     string     `json:"run"`
	Trigger string     `json:"trigger"`
	State   string     `json:"state"`
	Result  lang.Value `json:"result,omitzero"`
	Error   any        `json:"error,omitempty"`
}

// resume goes on with the runs that are open in a folder, and prints a line for each as it has ended.
func (p *program) resume(ctx context.Context, set *config.Set, dir string, quiet bool) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("--data-dir: %w; name the folder that the run was started with", err)
	}
	ended, failed := 0, 0
	err := p.embedded(ctx, set, dir, dir, new(hops), func(journal.Journal) error { return nil }, func(ctx context.Context, r *router.Router) error {
		return p.resumeAll(ctx, r, quiet, func(f *router.Finished) {
			if ended++; f.Error != nil {
				failed++
			}
			p.tellResumed(f)
		})
	})
	switch {
	case errors.Is(err, folder.ErrTaken):
		return exitError{exitRun, fmt.Errorf("%w; the runs in there are with it, and go on as long as it runs: see onward runs list", err)}
	case err != nil && ctx.Err() != nil:
		return exitError{exitRun, fmt.Errorf("%w; the same command goes on with what is open", err)}
	case errors.As(err, new(exitError)):
		return err
	case err != nil:
		return exitError{exitRun, err}
	case ended == 0 && !quiet:
		fmt.Fprintf(p.errs, "no run is open in %s\n", dir)
	case failed > 0:
		return exitError{exitRun, fmt.Errorf("%d of %d runs did not succeed", failed, ended)}
	}
	return nil
}

// resumeAll waits until nothing is open any more, and tells how each run ended.
func (p *program) resumeAll(ctx context.Context, r *router.Router, quiet bool, tell func(*router.Finished)) error {
	told := make(map[journal.RunID]bool)
	ending := time.Now() // since when all that is open has ended but for its destinations
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for said := false; ; {
		open, err := r.OpenRuns(ctx, resumed)
		if err != nil || len(open) == 0 {
			return err
		}
		for i, x := range open {
			if told[x.Run] {
				continue
			}
			f, err := p.watchHere(ctx, r, x.Run, fmt.Sprintf("%s (%d of %d)", x.Trigger, i+1, len(open)), quiet, func() error { return nil })
			if err != nil {
				return err
			}
			told[x.Run], ending, said = true, time.Now(), false
			tell(f)
		}
		if !quiet && !said && time.Since(ending) > time.Second {
			said = true
			fmt.Fprintf(p.errs, "%d runs have ended, and their destinations are being told\n", len(open))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *program) tellResumed(f *router.Finished) {
	line := resumedRun{Run: f.ID, Trigger: f.Trigger, State: f.State, Result: f.Result}
	said := f.Result.JSON()
	if f.Error != nil {
		line.Result, line.Error, said = lang.Value{}, f.Error, f.Error.Error()
	}
	if p.output == "json" {
		_ = json.NewEncoder(p.out).Encode(line) // Who does not listen is not told.
		return
	}
	fmt.Fprintf(p.out, "%s  %s  %s  %s\n", line.Run, line.Trigger, line.State, said)
}

// A place is where the router that has a folder open is asked.
type place struct {
	Address string `json:"address"`
	PID     int    `json:"pid"`
}

const placeName = "router.json"

// announce says in a folder where its router is asked, until it is taken back. It is for run only, which can do without.
func announce(dir, address string) (back func()) {
	path := filepath.Join(dir, placeName)
	b, _ := json.Marshal(place{address, os.Getpid()}) // Our own types marshal.
	if address == "" || folder.Replace(path, b) != nil {
		return func() {}
	}
	return func() { _ = os.Remove(path) }
}

// placeOf is where the router of a folder is asked.
func placeOf(dir string) (x place, err error) {
	b, err := os.ReadFile(filepath.Join(dir, placeName))
	if err != nil {
		return x, err
	}
	return x, json.Unmarshal(b, &x)
}

// reachable is an address at which a listener is reached from this machine.
func reachable(s config.Settings, addr string) string {
	if s.TLS.Cert != "" && s.Advertise != "" { // The certificate has a name.
		return scheme(s) + s.Advertise
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme(s) + net.JoinHostPort(host, port)
}

// runThere gives the event to the router that has the folder open, and shows the run as run does.
func (p *program) runThere(ctx context.Context, dir string, set *config.Set, trigger string, input lang.Value, quiet bool) error {
	at, err := placeOf(dir)
	if err != nil {
		return exitError{exitRun, fmt.Errorf("%s: another router has it open, and does not say where it is asked; stop that one, or choose another folder", dir)}
	}
	k := &client{addr: at.Address, token: os.Getenv("ONWARD_TOKEN"), ca: os.Getenv("ONWARD_CA"), cert: os.Getenv("ONWARD_CERT"), key: os.Getenv("ONWARD_KEY")}
	if err := k.routes(ctx, dir, set.Triggers[trigger]); err != nil {
		return exitError{exitRun, err}
	}
	if !quiet {
		fmt.Fprintf(p.errs, "%s is open in the router at %s (process %d), which gets the event\n", dir, k.addr, at.PID)
	}
	var said struct{ Run string }
	if err := k.send(ctx, "/v1/triggers/"+url.PathEscape(trigger), []byte(input.JSON()), map[string]string{"Content-Type": "application/json"}, &said); err != nil {
		return exitError{exitRun, err}
	}
	f, err := p.watchThere(ctx, k, said.Run, trigger, foldTime, quiet)
	if err != nil {
		return err
	}
	return p.result(f, &hops{}, quiet)
}

// routes checks that a router has a trigger as the documents here say it.
func (k *client) routes(ctx context.Context, dir string, t *config.Trigger) error {
	var said router.TriggerList
	if err := k.get(ctx, "/v1/triggers", &said); err != nil {
		return fmt.Errorf("%s: another router has it open: %w", dir, err)
	}
	for _, l := range said.Triggers {
		switch {
		case l.Trigger != t.Name:
		case l.Digest != fmt.Sprintf("%x", t.Digest[:8]):
			return fmt.Errorf("%s is open in the router at %s, whose documents say something else of trigger %q; have it read these (SIGHUP), or choose another folder", dir, k.addr, t.Name)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s is open in the router at %s, whose documents have no trigger %q; have it read these (SIGHUP), or choose another folder", dir, k.addr, t.Name)
}
