package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

// stepsOf gives the lines of all steps of a run to use.
func (p *program) stepsOf(c *cobra.Command, k *client, run string, use func(io.Reader) error) error {
	resp, err := k.do(c.Context(), "GET", "/v1/runs/"+url.PathEscape(run)+"/steps", nil, map[string]string{"Accept": "application/x-ndjson"})
	if err != nil {
		return exitError{exitRun, err}
	}
	defer resp.Body.Close()
	if err := use(resp.Body); err != nil {
		return exitError{exitRun, fmt.Errorf("the answer ended early: %w; ask again", err)}
	}
	return nil
}

func (p *program) allSteps(c *cobra.Command, k *client, run string) (steps []*router.PastStep, err error) {
	steps = []*router.PastStep{}
	err = p.stepsOf(c, k, run, func(from io.Reader) error {
		for dec := json.NewDecoder(from); ; {
			s := new(router.PastStep)
			if err := dec.Decode(s); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			steps = append(steps, s)
		}
	})
	return steps, err
}

func (p *program) runsMock(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "mock RUN", Short: "Print what a run's functions answered, as a file for onward run --mock.", Args: cobra.ExactArgs(1),
		Long: "Mock prints the answers that a run got, and the signals, as a file that onward run --mock plays: each call answers what it answered then, and when, from the\n" +
			"run's start. A call that was not answered is lost. What runs answered that it started is in theirs.\n\n" + runHelp,
		Example: "  onward runs mock RUN > answers.yaml\n  onward run flow.yaml --mock answers.yaml --data @input.json",
		RunE: func(c *cobra.Command, args []string) error {
			steps, err := p.allSteps(c, k, args[0])
			if err != nil {
				return err
			}
			text, err := mockOf(args[0], steps)
			if err != nil {
				return exitError{exitRun, err}
			}
			fmt.Fprint(p.out, text)
			return nil
		},
	}
}

// mockOf writes the answers of a run's calls, and its signals. JSON is YAML.
func mockOf(run string, steps []*router.PastStep) (string, error) {
	slices.SortStableFunc(steps, func(a, b *router.PastStep) int { return a.Ended.Compare(b.Ended) })
	var begin, last time.Time
	for _, s := range steps {
		if begin.IsZero() || s.Queued.Before(begin) {
			begin = s.Queued
		}
	}
	var order, signals []string
	by := make(map[string][]answer)
	for _, s := range steps {
		if s.Function == "" && s.Signal == "" || s.Delivery || strings.HasPrefix(s.Path, "event ") { // What its round had comes with the start.
			continue
		}
		if s.OutputSize > 0 {
			return "", fmt.Errorf("of what came at %s only the begin was kept, its %d bytes are over history.value; raise that setting, run it again, then try again", s.Path, s.OutputSize)
		}
		// What came at one time came in an order.
		if last = last.Add(1); s.Ended.After(last) {
			last = s.Ended
		}
		at := lang.Text(max(last.Sub(begin), 0).String())
		if s.Signal != "" {
			signals = append(signals, lang.Object(lang.Member{Key: "name", Value: lang.Text(s.Signal)}, lang.Member{Key: "after", Value: at}, lang.Member{Key: "data", Value: s.Output}).JSON())
			continue
		}
		if by[s.Function] == nil {
			order = append(order, s.Function)
		}
		by[s.Function] = append(by[s.Function], answer{s.N, answerOf(s, at)})
	}
	if len(order)+len(signals) == 0 {
		return "", fmt.Errorf("nothing is known of calls of run %s; it made none, or the history does not reach so far back", run)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the functions of run %[1]s answered, and when; which signals came.\nrun: %[1]s\nfunctions:\n", run)
	for _, f := range order {
		fmt.Fprintf(&b, "  %s:\n", lang.Text(f).JSON())
		// Of two calls of a path, the first in the file is for the one that was made first.
		slices.SortStableFunc(by[f], func(a, b answer) int { return cmp.Compare(a.n, b.n) })
		for _, a := range by[f] {
			fmt.Fprintf(&b, "    - %s\n", a.text)
		}
	}
	if len(signals) > 0 {
		fmt.Fprint(&b, "signals:\n")
	}
	for _, s := range signals {
		fmt.Fprintf(&b, "  - %s\n", s)
	}
	return b.String(), nil
}

// An answer is one of a call by its number.
type answer struct {
	n    uint32
	text string
}

// answerOf is one answer, for the call of a path and a try. It comes when it came then: how long the router took for it is a part of that, so that what came
// before something else comes before it again.
func answerOf(s *router.PastStep, at lang.Value) string {
	members := []lang.Member{
		{Key: "path", Value: lang.Text(s.Path)}, {Key: "attempt", Value: lang.Of(max(s.Attempt, 1))}, {Key: "times", Value: lang.Of(1)},
	}
	answered := lang.Member{Key: "at", Value: at}
	escaped := lang.Trusted(strings.ReplaceAll(s.Output.JSON(), "${", "$${"))
	switch {
	case s.Outcome == "succeeded":
		members = append(members, answered, lang.Member{Key: "result", Value: escaped})
	case s.Outcome == "continue":
		members = append(members, answered, lang.Member{Key: "continue", Value: escaped})
	case s.Outcome == "failed" && s.Error != nil && s.Error.Class != lang.ClassTimeout:
		e := []lang.Member{{Key: "type", Value: lang.Text(s.Error.Type)}, {Key: "message", Value: lang.Text(s.Error.Message)}, {Key: "class", Value: lang.Text(s.Error.Class.String())}}
		if !s.Error.Data.IsNull() {
			e = append(e, lang.Member{Key: "data", Value: s.Error.Data})
		}
		members = append(members, answered, lang.Member{Key: "error", Value: lang.Object(e...)})
	default:
		members = append(members, lang.Member{Key: "lost", Value: lang.Of(true)})
	}
	return lang.Object(members...).JSON()
}

// events shows the events that came.
func (p *program) events() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "events", Short: "See which events came to a running router, and what they started.", Long: "See which events came to a running router, and what they started.\n\n" + clientHelp,
		Example: "  onward events list --taken unmatched\n  onward events show order-17",
	}
	clientFlags(c, k)
	c.AddCommand(p.eventsList(k), p.eventsShow(k))
	return c
}

func (p *program) eventsList(k *client) *cobra.Command {
	var taken, after string
	var limit int
	c := &cobra.Command{Use: "list", Short: "List the events that came, the latest first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		q := url.Values{"taken": {taken}, "after": {after}, "limit": {fmt.Sprint(limit)}}
		var said router.Events
		if err := k.get(c.Context(), "/v1/events?"+q.Encode(), &said); err != nil {
			return exitError{exitRun, err}
		}
		err := p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "CAME\tID\tTYPE\tTAKEN\tRUNS OR WHY")
			for _, e := range said.Events {
				what := e.Note
				if len(e.Runs) > 0 {
					var runs []string
					for _, r := range e.Runs {
						runs = append(runs, r.Run+" of "+r.Trigger)
					}
					what = strings.Join(runs, ", ")
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", when(e.Came), e.ID, e.Type, e.Taken, what)
			}
		})
		if err == nil && said.Next != "" && p.output != "json" {
			fmt.Fprintf(p.out, "it goes on with --after %s\n", said.Next)
		}
		return err
	}}
	c.Long = "List prints the events that came and were to start something: which runs each started, or why none.\n\n" + clientHelp
	c.Example = "  onward events list\n  onward events list --taken unmatched --limit 20"
	c.Flags().StringVar(&taken, "taken", "", "only events that were matched, unmatched or refused")
	completeFlag(c, "taken", fixed("matched", "unmatched", "refused"))
	c.Flags().StringVar(&after, "after", "", "go on behind this cursor, which the part before ends with")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return c
}

func (p *program) eventsShow(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Say what an event started, or why nothing.", Args: cobra.ExactArgs(1),
		Long:    "Show says what became of the events that had an id: which triggers took each, with their runs, or which filter of each trigger said no; of a run that waits for more\nevents of its key, what it has, what is missing, and when it gives up.\n\n" + clientHelp,
		Example: "  onward events show order-17",
		RunE: func(c *cobra.Command, args []string) error {
			var said router.Events
			if err := k.get(c.Context(), "/v1/events/"+url.PathEscape(args[0]), &said); err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) {
				had := make(map[string]bool) // runs
				stands := k.gathers(c.Context(), &said)
				for _, e := range said.Events {
					fmt.Fprintf(w, "%s: %s from %s, type %s: %s\n", when(e.Came), e.ID, e.Source, e.Type, e.Taken)
					for _, r := range e.Runs {
						again := ""
						if had[r.Run] {
							again = ", which it had started before: an event counts once"
						}
						had[r.Run] = true
						fmt.Fprintf(w, "  run %s of %s%s\n", r.Run, r.Trigger, again)
						if x := stands[r.Run]; x != "" {
							fmt.Fprintf(w, "    %s\n", x)
						}
						delete(stands, r.Run)
					}
					if e.Note != "" {
						fmt.Fprintf(w, "  %s\n", e.Note)
					}
				}
			})
		},
	}
}

// mostGathers is how many runs of one event are asked what they wait for.
const mostGathers = 10

// gathers says of those runs of some events that wait for others of their key what they have, and what is missing.
func (k *client) gathers(ctx context.Context, said *router.Events) map[string]string {
	stands := make(map[string]string)
	for _, e := range said.Events {
		for _, r := range e.Runs {
			if _, asked := stands[r.Run]; asked || len(stands) == mostGathers {
				continue
			}
			stands[r.Run] = ""
			var x router.Explanation
			if k.get(ctx, "/v1/runs/"+url.PathEscape(r.Run)+"/explain", &x) != nil {
				continue // It may be forgotten, or its router be away: what the event started is said all the same.
			}
			for _, why := range x.Reasons {
				if why.Kind == "round" {
					stands[r.Run] = why.Text
				}
			}
		}
	}
	return stands
}
