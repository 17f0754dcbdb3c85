package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/spf13/cobra"
)

// dataFlag reads --data: JSON, @file or - for standard input.
func dataFlag(ctx context.Context, flag, text string) (lang.Value, error) {
	b, err := []byte(text), error(nil)
	switch {
	case text == "":
		return lang.Null, nil
	case text == "-":
		b, err = readInput(ctx, os.Stdin)
	case strings.HasPrefix(text, "@"):
		b, err = os.ReadFile(text[1:])
	}
	if err != nil && ctx.Err() != nil {
		return lang.Null, fmt.Errorf("--%s: %w", flag, err)
	}
	if err != nil {
		return lang.Null, fmt.Errorf("--%s: %w; write JSON, @FILE or - for standard input", flag, err)
	}
	v, err := lang.ParseValue(b)
	if err != nil {
		return v, fmt.Errorf("--%s is not JSON: %w; write JSON, such as '{\"n\": 1}' or '\"text\"', @FILE or - for standard input", flag, err)
	}
	return v, nil
}

// readInput reads standard input to its end, or to the context's: who is at a terminal need not know how to end it.
func readInput(ctx context.Context, from io.Reader) ([]byte, error) {
	type read struct {
		b   []byte
		err error
	}
	all := make(chan read, 1)
	go func() {
		b, err := io.ReadAll(from)
		all <- read{b, err}
	}()
	select {
	case x := <-all:
		return x.b, x.err
	case <-ctx.Done():
		return nil, fmt.Errorf("standard input had not ended: %w", ctx.Err())
	}
}

// meantRuns finds what was to be a command of runs: onward run list.
func meantRuns(c *cobra.Command, args []string) error {
	if _, err := os.Stat(args[0]); err == nil {
		return nil
	}
	if runs, _, err := c.Root().Find([]string{"runs", args[0]}); err == nil && runs.Name() == args[0] {
		return fmt.Errorf("there is no file %q; did you mean onward runs %[1]s?", args[0])
	}
	return nil
}

// run routes one event in this process, shows how it goes, and prints the result.
func (p *program) run() *cobra.Command {
	var trigger, data, dir, answers string
	var quiet, resume bool
	c := &cobra.Command{
		Use: "run FILE|DIR...", Short: "Run one event through a trigger in this process, and print the result.", Args: cobra.MinimumNArgs(1),
		PreRunE: meantRuns,
		Long: "Run embeds a router, starts one run, shows its progress on standard error and prints its result on standard output. The event is made for the trigger\n" +
			"(type dev.onward.start, source /onward/run): its filters are not asked, its when is.\n" +
			"With --data-dir the run stays in a folder, for serve and runs list to show later. While serve has that folder open, its router gets the event, and its\n" +
			"functions are called (ONWARD_TOKEN is the token, where it wants one). What a run that was interrupted or killed left open in a folder goes on with --resume.\n\n" +
			"It exits with 0 when the run succeeded, 1 when it failed, 2 when the command line or the documents are wrong, and 3 when the trigger's when says no.\n\n" +
			"A result that is a text is printed as it is; with -o json, every result is printed as JSON. Of a failed run, the error is the result.\n\n" +
			"Where the environment says where traces go (OTEL_EXPORTER_OTLP_ENDPOINT, or ONWARD_TRACES_ENDPOINT and what is beside it), the run is traced as serve's are.\n\n" +
			"With --mock no function is called: a file says what each answers, and the run goes by in virtual time, days in milliseconds:\n\n" +
			"  functions:\n" +
			"    count: { result: \"${ size(input) }\", after: 20ms }\n" +
			"    pay: [{ error: { type: card_declined }, times: 2, after: 1s }, { result: { paid: true } }]\n" +
			"    scan: [{ lost: true, beats: { every: 10s, until: 40s }, times: 1 }, { result: clean, at: 2h }]\n" +
			"  signals: [{ name: approved, after: 26h, data: { by: Ada } }]\n\n" +
			"The first answer counts that is for the call and is not used up: times says for how many calls it is, path and attempt for which, when on what condition.\n" +
			"It comes after a while, or at a time from the run's start, or it is lost; beats are heartbeats on the way: a call that has a heartbeat and is silent for\n" +
			"longer is timed out. A function's concurrency and rate hold calls back as they do in a router. onward runs mock RUN writes such a file from a run that has ended.",
		Example: "  onward run deploy/examples/01-word-count --data '{\"packages\": [\"net/http\"]}'\n" +
			"  onward run documents --trigger word-count --data @event.json -o json\n  generate | onward run documents --data -\n" +
			"  onward run documents --data-dir work --data 7\n  onward run documents --data-dir work --resume",
		RunE: func(c *cobra.Command, args []string) error {
			if answers != "" {
				p.inherit(unknownCluster)
			}
			set, err := p.load(args)
			if err != nil {
				return err
			}
			if resume {
				if dir == "" || trigger+data+answers != "" {
					return errors.New("--resume goes with --data-dir, the folder of the runs that are to go on, and without --trigger, --data and --mock; say those two alone")
				}
				return p.resume(c.Context(), set, dir, quiet)
			}
			if trigger, err = triggerFlag(set, trigger); err != nil {
				return err
			}
			input, err := dataFlag(c.Context(), "data", data)
			if err != nil {
				return err
			}
			if err := wanted(set.Triggers[trigger], input); err != nil {
				return err
			}
			if answers != "" {
				return p.mock(set, trigger, input, answers, quiet)
			}
			if t := set.Triggers[trigger]; t.Gathers() && !t.Definition.Await.Signals {
				return fmt.Errorf("trigger %q gathers events, and one is not its input; run it with --mock, where --data is what has arrived, or serve it and send the events", trigger)
			}
			return p.runHere(c.Context(), set, trigger, input, dir, quiet)
		},
	}
	c.Flags().StringVar(&trigger, "trigger", "", "the trigger to start; may be left out when there is one")
	completeFlag(c, "trigger", p.triggersOf)
	c.Flags().StringVar(&data, "data", "", "data of the event: JSON, @FILE or - for standard input")
	c.Flags().StringVar(&dir, "data-dir", "", "folder of the journal; default: a temporary one")
	c.Flags().BoolVar(&resume, "resume", false, "go on with the runs that are open in --data-dir, and print how each ends")
	c.Flags().StringVar(&answers, "mock", "", "file of answers: run in virtual time, without functions")
	c.Flags().BoolVar(&quiet, "quiet", false, "no progress and no summary")
	return c
}

// triggerFlag is the trigger that is meant: where there is one alone, it need not be said.
func triggerFlag(set *config.Set, said string) (string, error) {
	switch names := set.TriggerNames(); {
	case said == "" && len(names) == 1:
		return names[0], nil
	case said == "":
		return "", fmt.Errorf("there are %d triggers; say --trigger, one of %s", len(names), strings.Join(names, ", "))
	case set.Triggers[said] == nil:
		return "", fmt.Errorf("--trigger %q: no such trigger; %s", said, lang.Nearest(said, names))
	}
	return said, nil
}

// runHere runs a trigger in a router of its own, with its journal in dir or in a temporary folder; or in the one that has dir open.
func (p *program) runHere(ctx context.Context, set *config.Set, trigger string, input lang.Value, dir string, quiet bool) error {
	named := dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "onward-run-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	h := &hops{}
	var f *router.Finished
	err := p.embedded(ctx, set, dir, named, h, func(j journal.Journal) error {
		// What is open in there would be carried out beside the new run, by these documents, and left where it is when that one ends.
		n, err := openRuns(ctx, j, p.registry)
		if err == nil && n > 0 {
			return exitError{exitUsage, fmt.Errorf("--data-dir %s: runs are open in there (%d); let them go on by --resume, with the documents they began with, or by onward serve --data %s, or choose another folder", dir, n, dir)}
		}
		return err
	}, func(ctx context.Context, r *router.Router) (err error) {
		f, err = p.follow(ctx, r, trigger, input, quiet)
		return err
	})
	switch {
	case errors.Is(err, folder.ErrTaken):
		return p.runThere(ctx, dir, set, trigger, input, quiet)
	case err != nil && ctx.Err() != nil && named != "":
		return exitError{exitRun, fmt.Errorf("%w; the same documents with --data-dir %s --resume go on with it", err, dir)}
	case errors.As(err, new(exitError)):
		return err
	case err != nil:
		return exitError{exitRun, err}
	}
	return p.result(f, h, quiet)
}

// embedded has a router of its own work on a folder until do returns, with a history in kept, which may be empty. before looks at the journal first.
func (p *program) embedded(ctx context.Context, set *config.Set, dir, kept string, h *hops, before func(journal.Journal) error, do func(context.Context, *router.Router) error) error {
	log := slog.New(slog.NewTextHandler(p.errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 8 << 20, Log: log})
	switch {
	case errors.Is(err, folder.ErrTaken):
		return err
	case err != nil: // Nothing was run: the folder has to be another, or mended.
		return exitError{exitUsage, err}
	}
	defer j.Close()
	if err := before(j); err != nil {
		return err
	}
	set.Sources = nil
	traced, err := tracesHere()
	if err != nil {
		return err
	}
	r, err := router.Open(router.Options{Set: set, Registry: p.registry, Journal: j, Log: log, Hop: h.add, Dir: kept, Traces: traced})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	select {
	case <-r.Ready():
		err = do(ctx, r)
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-ran:
		return err
	}
	stop()
	if e := <-ran; err == nil {
		err = e
	}
	return err
}

// eventOf is the event that run makes.
func eventOf(input lang.Value) (event.Event, error) {
	e := event.New()
	e.SetID(router.NewID())
	e.SetSource("/onward/run")
	e.SetType("dev.onward.start")
	e.SetTime(time.Now().UTC())
	return e, e.SetData(event.ApplicationJSON, json.RawMessage(input.JSON()))
}

// wanted says that a trigger does not take the event by its content, as an event that comes by a source would be told.
func wanted(t *config.Trigger, input lang.Value) error {
	if t.Gathers() && !t.Definition.Await.Signals {
		return nil // Its input is what has arrived, and no event's data.
	}
	e, err := eventOf(input)
	if err != nil {
		return err
	}
	wants, err := t.Wants(envelope.Attributes(&e), input, lang.NewCache(1<<20))
	if err == nil && !wants {
		err = fmt.Errorf("it is not so that %s", t.When.Source())
	}
	if err != nil {
		return exitError{exitUnmatched, fmt.Errorf("trigger %s does not take it: %w; nothing was run: write other --data, or see by onward triggers test what it makes of other events", t.Name, err)}
	}
	return nil
}

// follow starts the run and shows how it goes until it has ended.
func (p *program) follow(ctx context.Context, r *router.Router, trigger string, input lang.Value, quiet bool) (*router.Finished, error) {
	e, err := eventOf(input)
	if err != nil {
		return nil, err
	}
	id := r.RunIDOf(trigger, &e)
	return p.watchHere(ctx, r, id, trigger, quiet, func() error {
		_, err := r.Start(ctx, trigger, &e)
		return err
	})
}

// watchHere shows how a run goes until it has ended; begin is called once all is seen.
func (p *program) watchHere(ctx context.Context, r *router.Router, id journal.RunID, title string, quiet bool, begin func() error) (*router.Finished, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes := r.Watch(watching, id)
	shown := make(chan struct{})
	bar := p.progress(title, quiet)
	defer bar.end()
	go func() {
		defer close(shown)
		again := time.NewTicker(lookEvery)
		defer again.Stop()
		for {
			select {
			case c := <-changes:
				bar.see(c.Kind.String())
				if c.Kind == engine.RunEnded {
					return
				}
			case <-again.C: // Who falls behind misses changes.
				if st, _, err := r.Status(watching, id, 0); err == nil && st != nil {
					bar.set(st.Calls+st.Queued, st.Open)
				}
			case <-watching.Done():
				return
			}
		}
	}()
	if err := begin(); err != nil {
		return nil, err
	}
	f, err := r.Wait(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("stopped before the run ended, after %s", bar)
	}
	select {
	case <-shown:
	case <-time.After(time.Second):
	}
	return f, nil
}
