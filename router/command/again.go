package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

// A selection says which runs a command is for: one by its id, or all that a query finds.
type selection struct {
	filters     map[string]*string // of GET /v1/runs
	failed, yes bool
	dry         bool // of those that have no other way to try
	rate        config.Rate
	limit       int
}

func (s *selection) flags(c *cobra.Command) {
	f := c.Flags()
	s.filters = make(map[string]*string)
	for _, x := range [][2]string{
		{"state", "all runs in this state"}, {"trigger", "all runs of this trigger"}, {"tenant", "all runs of this tenant"}, {"error", "all runs that ended with an error of this type"},
		{"since", "all runs that were at work since then: today, 1h, or a time such as 2026-11-27T06:00:00Z"}, {"until", "all runs that were at work until then"},
	} {
		s.filters[x[0]] = f.String(x[0], "", "in place of RUN: "+x[1])
	}
	f.BoolVar(&s.failed, "failed", false, "in place of RUN: all runs that failed")
	f.IntVar(&s.limit, "limit", 1000, "of those, at most so many, the latest first")
	f.TextVar(&s.rate, "rate", config.Rate{N: 50, Per: time.Second}, "of those, at most so many, such as 10/s or 300/m")
	f.BoolVar(&s.yes, "yes", false, "do not ask before")
}

// dryRun is for what one run cannot be tried with: a query can.
func (s *selection) dryRun(c *cobra.Command) {
	c.Flags().BoolVar(&s.dry, "dry-run", false, "of a query: only say which runs it finds")
}

const selectionHelp = "In place of RUN, --failed, --state, --trigger, --tenant, --error, --since and --until say which runs, of those that onward runs list finds. It says\n" +
	"how many these are, and asks before it does anything. Without a terminal, --yes is needed. Ctrl-C stops after the run that is at work; the same command goes\n" +
	"on with the rest."

func (s *selection) queries() bool {
	for _, f := range s.filters {
		if *f != "" {
			return true
		}
	}
	return s.failed
}

// find lists the runs that a query finds.
func (p *program) find(ctx context.Context, k *client, s *selection) ([]router.RunLine, url.Values, error) {
	state := s.filters["state"]
	if s.failed && *state != "" && *state != "failed" {
		return nil, nil, fmt.Errorf("--failed and --state %s contradict each other; leave one out", *state)
	}
	if s.limit < 1 {
		return nil, nil, fmt.Errorf("--limit %d; write 1 or more", s.limit)
	}
	q := make(url.Values)
	for name, f := range s.filters {
		q.Set(name, *f)
	}
	if s.failed {
		q.Set("state", "failed")
	}
	for _, name := range []string{"since", "until"} {
		at, err := p.timeFlag(name, *s.filters[name])
		if err != nil {
			return nil, nil, err
		}
		q.Set(name, at)
	}
	said, err := p.listRuns(ctx, k, q, "", s.limit)
	if err != nil {
		return nil, nil, exitError{exitRun, err}
	}
	if left := said.Total - len(said.Runs); left > 0 {
		fmt.Fprintf(p.errs, "--limit %d leaves out %d of the %d runs that were found\n", s.limit, left, said.Total)
	}
	return said.Runs, q, nil
}

// An errand is what is done to all runs of a query: an operation of the API, and how its answer about one run is told.
type errand struct {
	verb, what string
	query      url.Values // of the operation
	body       []byte
	key        string // idempotency key
	dry        bool
	line       func(run string, answer []byte) (string, error)
}

// bulk has the router do something to all runs of a query: asked for, at a rate, with progress, until it is stopped.
func (p *program) bulk(c *cobra.Command, k *client, s *selection, e *errand) error {
	found, q, err := p.find(c.Context(), k, s)
	if err != nil {
		return err
	}
	if len(found) > 0 && !s.yes && !e.dry {
		question := fmt.Sprintf("%s %d runs, %s to %s?", e.what, len(found), found[0].Run, found[len(found)-1].Run)
		if !p.attended() {
			return fmt.Errorf("%s nobody is there to answer; write --yes", question)
		}
		if err := p.agreed(c.Context(), question); err != nil {
			return err
		}
	}
	maps.Copy(q, e.query)
	q.Del("after")
	q.Set("limit", fmt.Sprint(s.limit))
	q.Set("rate", s.rate.String())
	q.Set("dryRun", fmt.Sprint(e.dry))
	headers := map[string]string{"Accept": "application/x-ndjson", "Content-Type": "application/json"}
	if e.key != "" {
		headers["Idempotency-Key"] = e.key
	}
	resp, err := k.do(c.Context(), "POST", "/v1/runs/"+e.verb+"?"+q.Encode(), e.body, headers)
	if err != nil {
		return exitError{exitRun, err}
	}
	defer resp.Body.Close()
	done, err := p.followAll(c.Context(), resp.Body, e)
	if err != nil {
		return exitError{exitRun, err}
	}
	if err := p.print(done, func(w io.Writer) {
		for _, x := range done.Errors {
			fmt.Fprintf(w, "%s: %s\n", x.Run, refusedAs(x.Error))
		}
		fmt.Fprintf(w, "%d of %d runs; %d refused\n", done.Done, done.Runs, done.Refused)
		if done.Left > 0 {
			fmt.Fprintf(w, "stopped; %d are left: the same command goes on with them\n", done.Left)
		}
	}); err != nil {
		return err
	}
	if done.Refused > 0 || done.Left > 0 {
		return exitError{exitRun, errSaid}
	}
	return nil
}

func refusedAs(no *router.Refused) string {
	if no.Cure != "" {
		return no.Message + "; " + no.Cure
	}
	return no.Message
}

// followAll tells what becomes of one run after the other. An interrupt ends it: how far it came is what was told by then.
func (p *program) followAll(ctx context.Context, from io.Reader, e *errand) (done router.BulkDone, _ error) {
	dec := json.NewDecoder(from)
	if err := dec.Decode(&done); err != nil {
		return done, fmt.Errorf("the answer cannot be read: %w; is it a router of this version?", err)
	}
	said := time.Now()
	for told := 0; told < done.Runs; told = done.Done + done.Refused {
		var x struct {
			router.BulkRun
			Left int `json:"left"` // of the last line
		}
		err := dec.Decode(&x)
		switch {
		case ctx.Err() != nil, err == nil && x.Left > 0:
			done.Left = done.Runs - told
			return done, nil
		case err != nil:
			return done, fmt.Errorf("after %d of %d runs: %w; the same command goes on with the rest", told, done.Runs, err)
		case x.Error != nil:
			if done.Refused++; len(done.Errors) < 20 {
				done.Errors = append(done.Errors, x.BulkRun)
			}
		default:
			line, err := e.line(x.Run, x.Answer)
			if err != nil {
				return done, err
			}
			if done.Done++; p.output != "json" {
				fmt.Fprintln(p.out, line)
			}
		}
		if time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(p.errs, "%d of %d runs, %d refused\n", done.Done+done.Refused, done.Runs, done.Refused)
		}
	}
	return done, nil
}

// lineOf tells of an answer. A dry run of what one run cannot be tried with has none.
func lineOf[T any](what string, tell func(*T) string) func(string, []byte) (string, error) {
	return func(run string, answer []byte) (string, error) {
		if len(answer) == 0 {
			return "would " + what + " run " + run, nil
		}
		x := new(T)
		err := json.Unmarshal(answer, x)
		return tell(x), err
	}
}

// on does something to the run that is named, or to all of a query.
func (p *program) on(c *cobra.Command, k *client, s *selection, args []string, one func() error, e *errand) error {
	switch {
	case len(args) == 1 && s.queries():
		return errors.New("RUN and a query together; leave one out")
	case len(args) == 1:
		return one()
	case !s.queries():
		return errors.New("which run? give its id, or say which by --failed, --state, --trigger or --since; see onward runs list")
	}
	return p.bulk(c, k, s, e)
}

func (p *program) runsRedrive(k *client) *cobra.Command {
	var from, definition string
	var dry bool
	var s selection
	ask := func(ctx context.Context, run string) (said router.Redriven, err error) {
		q := url.Values{"from": {from}, "definition": {definition}, "dryRun": {fmt.Sprint(dry)}}
		err = k.send(ctx, "/v1/runs/"+url.PathEscape(run)+"/redrive?"+q.Encode(), nil, nil, &said)
		return said, err
	}
	c := &cobra.Command{Use: "redrive [RUN]", Short: "Let a run that failed go on: only what failed is done again.", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return p.on(c, k, &s, args, func() error {
			said, err := ask(c.Context(), args[0])
			if err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) { redriven(w, &said) })
		}, &errand{verb: "redrive", what: "redrive", query: url.Values{"from": {from}, "definition": {definition}}, dry: dry, line: lineOf("redrive", summary)})
	}}
	c.Long = "Redrive lets a run that failed or was cancelled go on, under its own id. Steps that had succeeded keep what they gave, if they are given the same input; all\n" +
		"else is done again: what failed, what was not reached, what was undone. Its destinations are told of the new end. With --from, that step and all that\n" +
		"began after it are done again. It goes by the definition by which the run ran; --definition latest takes the present one, and says what differs.\n\n" +
		selectionHelp + "\n\n" + runHelp
	c.Example = "  onward runs redrive RUN --dry-run\n  onward runs redrive --failed --since today --trigger word-count"
	c.Flags().StringVar(&from, "from", "", "the step, by its path or the end of it, from which on all is done again")
	c.Flags().StringVar(&definition, "definition", "", "latest: go by the documents in force")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what is kept and what is done again")
	completeFlag(c, "definition", fixed("latest"))
	s.flags(c)
	return c
}

func summary(x *router.Redriven) string {
	word := "goes on"
	if x.DryRun {
		word = "would go on"
	}
	return fmt.Sprintf("run %s %s: it keeps %s and does %d again", x.Run, word, several(x.Kept, "step"), x.Again)
}

func redriven(w io.Writer, x *router.Redriven) {
	fmt.Fprintln(w, summary(x))
	for _, list := range []struct {
		what  string
		all   int
		paths []string
	}{{"kept", x.Kept, x.KeptSteps}, {"again", x.Again, x.Steps}} {
		for _, path := range list.paths[:min(20, len(list.paths))] {
			fmt.Fprintf(w, "  %s\t%s\n", list.what, path)
		}
		if more := list.all - 20; more > 0 {
			fmt.Fprintf(w, "  %s\tand %d more\n", list.what, more)
		}
	}
	if x.Again == 0 {
		fmt.Fprintln(w, "  no call is among these: what failed by the flow itself, or its input, fails again unless that changes; mend the document and say --definition latest, or rerun it with --input")
	}
	for _, line := range x.Differs {
		fmt.Fprintf(w, "  differs\t%s\n", line)
	}
}

func (p *program) runsRerun(k *client) *cobra.Command {
	var input string
	var dry bool
	var s selection
	c := &cobra.Command{Use: "rerun [RUN]", Short: "Start another run with the event of one that has ended.", Args: cobra.MaximumNArgs(1)}
	c.RunE = func(c *cobra.Command, args []string) error {
		q, body := url.Values{"dryRun": {fmt.Sprint(dry)}}, []byte(nil)
		if c.Flags().Changed("input") {
			v, err := dataFlag(c.Context(), "input", input)
			if err != nil {
				return err
			}
			q.Set("input", "given")
			body = []byte(v.JSON())
		}
		return p.on(c, k, &s, args, func() error {
			said := new(router.Rerun)
			if err := k.send(c.Context(), "/v1/runs/"+url.PathEscape(args[0])+"/rerun?"+q.Encode(), body, map[string]string{"Content-Type": "application/json"}, said); err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) { fmt.Fprintln(w, rerun(said)) })
		}, &errand{verb: "rerun", what: "rerun", query: q, body: body, dry: dry, line: lineOf("rerun", rerun)})
	}
	c.Long = "Rerun starts another run of the trigger, by the documents in force, with the event of a run that has ended. The event has a new id, and rerunof names the\n" +
		"former run. The history keeps the input up to history.value, and of runs that failed up to more; where it is gone that is said. To change it, say --input.\n\n" + selectionHelp + "\n\n" + runHelp
	c.Example = "  onward runs rerun RUN\n  onward runs rerun RUN --input @fixed.json"
	c.Flags().StringVar(&input, "input", "", "JSON, @FILE or - for standard input, in place of the event's data")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be started")
	s.flags(c)
	return c
}

// rerun says what became of one.
func rerun(x *router.Rerun) string {
	if x.DryRun {
		return fmt.Sprintf("the event of run %s would start trigger %s again", x.RerunOf, x.Trigger)
	}
	return fmt.Sprintf("run %s of %s has the event of run %s", x.Run, x.Trigger, x.RerunOf)
}
