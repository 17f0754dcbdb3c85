package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

func (p *program) runsWatch(k *client) *cobra.Command {
	var events bool
	c := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run until it has ended.", Args: cobra.ExactArgs(1),
		Long: "Watch shows on standard error how far a run is, until it has ended: by a bar in a terminal, else by a line now and again. Its result is printed on standard\n" +
			"output, as run prints it. With --events, all that happens is printed, a line each; with -o json, a line is {\"event\": NAME, \"data\": {...}}. A watcher that\n" +
			"falls far behind misses lines. An interrupt ends the watching, and nothing else. It exits with 1 when the run did not succeed.\n\n" + runHelp,
		Example: "  onward runs watch RUN\n  onward runs watch --events RUN\n  onward runs watch -o json RUN | jq -r .event",
		RunE: func(c *cobra.Command, args []string) error {
			if !events && p.output != "json" {
				f, err := p.watchThere(c.Context(), k, args[0], "", idTime, false)
				if err != nil {
					return err
				}
				return p.result(f, &hops{}, false)
			}
			f, err := k.watch(c.Context(), args[0], idTime, p.tellEvent)
			switch {
			case err != nil:
				return exitError{exitRun, watching(c.Context(), args[0], "", err)}
			case f.State != "succeeded" && f.State != "skipped":
				return exitError{exitRun, saidSo{wentWrong(f.State, f.Error)}}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&events, "events", false, "print all that happens, a line each")
	return c
}

// watchThere shows how far a run of a router, which is known within a time, is until it has ended. Without a title it is the trigger's name.
func (p *program) watchThere(ctx context.Context, k *client, run, title string, known time.Duration, quiet bool) (*router.Finished, error) {
	var bar *progress
	begin := func(title string) {
		if bar == nil {
			bar = p.progress(title, quiet)
		}
	}
	if title != "" {
		begin(title)
	}
	defer func() {
		if bar != nil {
			bar.end()
		}
	}()
	f, err := k.watch(ctx, run, known, func(name string, data []byte) error {
		switch name {
		case "ended":
		case "status":
			var st standing
			if err := st.read(data); err != nil {
				return err
			}
			if bar == nil {
				fmt.Fprintln(p.errs, &st)
			}
			begin(st.Trigger)
			bar.set(st.Calls+st.Queued, st.Open)
		default:
			if bar != nil {
				bar.see(name)
			}
		}
		return nil
	})
	if err != nil {
		how := ""
		if bar != nil {
			how = ", after " + bar.String()
		}
		return nil, exitError{exitRun, watching(ctx, run, how, err)}
	}
	return f, nil
}

// watching is why a run is watched no more before its end.
func watching(ctx context.Context, run, how string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("watched no more%s; run %s goes on: see onward runs watch %s", how, run, run)
	}
	return err
}

// tellEvent prints one event of a stream.
func (p *program) tellEvent(name string, data []byte) error {
	if p.output == "json" {
		fmt.Fprintf(p.out, "{\"event\":%q,\"data\":%s}\n", name, data)
		return nil
	}
	switch name {
	case "status":
		var st standing
		if err := st.read(data); err != nil {
			return err
		}
		fmt.Fprintln(p.out, &st)
	case "ended":
		var f router.Finished
		if err := json.Unmarshal(data, &f); err != nil {
			return unread(name, err)
		}
		fmt.Fprintf(p.out, "%s in %s, %s\n", f.State, f.Ended.Sub(f.Started).Round(time.Millisecond), several(f.Calls, "call"))
		if f.Error != nil {
			fmt.Fprintln(p.out, f.Error.Value())
		} else {
			p.value(f.Result)
		}
	default:
		var l router.WatchLine
		if err := json.Unmarshal(data, &l); err != nil {
			return unread(name, err)
		}
		fmt.Fprintln(p.out, eventLine(name, &l))
	}
	return nil
}

func unread(name string, err error) error {
	return fmt.Errorf("the event %q cannot be read: %w; is the router of another version?", name, err)
}

// A standing is what is said of a run that is open.
type standing struct {
	Run     string    `json:"run"`
	Trigger string    `json:"trigger"`
	State   string    `json:"state"`
	Started time.Time `json:"started"`
	Calls   int       `json:"calls"`
	Queued  int       `json:"queued"`
	Open    int       `json:"open"`
}

func (s *standing) read(data []byte) error {
	if err := json.Unmarshal(data, s); err != nil {
		return unread("status", err)
	}
	return nil
}

func (s *standing) String() string {
	return fmt.Sprintf("%s of %s: %s since %s, %s so far", s.Run, s.Trigger, s.State, when(s.Started), several(s.Calls, "call"))
}

func eventLine(name string, l *router.WatchLine) string {
	words := []string{l.Time.UTC().Format("15:04:05.000Z"), fmt.Sprintf("%-14s", name), l.Path}
	if l.Attempt > 1 {
		words = append(words, fmt.Sprintf("(try %d)", l.Attempt))
	}
	if l.Wait != "" {
		words = append(words, "in "+l.Wait)
	}
	words = append(words, l.Text, l.Outcome)
	if l.Error != nil {
		words = append(words, l.Error.Error())
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// A run that has been started may take a while to be seen: its start is durable, and not folded yet.
const (
	foldTime = 5 * time.Second        // at most
	idTime   = 500 * time.Millisecond // for an id that a person has written: there may be no such run
)

// watch follows a run, which is known within a time, until it has ended, and gives each event of the stream to see.
func (k *client) watch(ctx context.Context, run string, known time.Duration, see func(name string, data []byte) error) (*router.Finished, error) {
	resp, err := k.do(ctx, "GET", "/v1/runs/"+url.PathEscape(run)+"/watch", nil, nil)
	for begin := time.Now(); statusOf(err) == http.StatusNotFound && time.Since(begin) < known && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
		resp, err = k.do(ctx, "GET", "/v1/runs/"+url.PathEscape(run)+"/watch", nil, nil)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 32<<20)
	name := ""
	for lines.Scan() {
		if v, is := strings.CutPrefix(lines.Text(), "event: "); is {
			name = v
		} else if v, is := strings.CutPrefix(lines.Text(), "data: "); is {
			if err := see(name, []byte(v)); err != nil {
				return nil, err
			}
			if name == "ended" {
				f := new(router.Finished)
				return f, json.Unmarshal([]byte(v), f)
			}
		}
	}
	return nil, errors.Join(lines.Err(), errors.New("the router ended the stream before the run had ended; watch it again"))
}
