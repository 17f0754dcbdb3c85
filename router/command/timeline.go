package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

func (p *program) runsGet(k *client) *cobra.Command {
	var timeline, failed bool
	var after string
	var limit int
	c := &cobra.Command{
		Use: "get RUN", Short: "Print what a run is doing, or how it ended, as JSON.", Args: cobra.ExactArgs(1),
		Long: "Get prints, as JSON, what a run is doing - its open steps, what they wait for - or how it ended and what it yielded.\n\n" +
			"With --timeline it prints what became of each step and each call, and where a call's time went: the queue (until it was sent), the function (until its\n" +
			"answer came) and the router (until what led to it, and then its outcome, was durable). In a terminal a bar shows when: a dot a moment in the queue, a block\n" +
			"a moment with the function. With --failed it prints only what failed for good, with the error.\n\n" + runHelp,
		Example: "  onward runs get RUN\n  onward runs get RUN --timeline\n  onward runs get RUN --failed --limit 20",
		RunE: func(c *cobra.Command, args []string) error {
			if !timeline && !failed {
				if after != "" || c.Flags().Changed("limit") {
					return errors.New("--after and --limit are for --timeline and --failed; add one of them")
				}
				return p.shows(k, "/v1/runs/")(c, args)
			}
			q := url.Values{"failed": {strconv.FormatBool(failed)}, "after": {after}, "limit": {fmt.Sprint(limit)}, "summary": {strconv.FormatBool(after == "" && !failed)}}
			var said router.RunSteps
			if err := k.get(c.Context(), "/v1/runs/"+url.PathEscape(args[0])+"/steps?"+q.Encode(), &said); err != nil {
				return exitError{exitRun, err}
			}
			if p.output == "json" {
				return p.json(said)
			}
			return p.timeline(&said, failed)
		},
	}
	c.Flags().BoolVar(&timeline, "timeline", false, "print what became of each step and call")
	c.Flags().BoolVar(&failed, "failed", false, "print the steps and calls that failed for good")
	c.Flags().StringVar(&after, "after", "", "go on behind this cursor, which the part before ends with")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many steps")
	return c
}

// timeline prints steps in the order in which they began.
func (p *program) timeline(said *router.RunSteps, failed bool) error {
	steps := append(slices.Clone(said.Steps), said.Open...)
	slices.SortStableFunc(steps, func(a, b *router.PastStep) int {
		return cmp.Or(a.Queued.Compare(b.Queued), cmp.Compare(len(a.Path), len(b.Path)))
	})
	if len(steps) == 0 {
		fmt.Fprintln(p.out, map[bool]string{true: "nothing failed for good", false: "nothing is known of its steps"}[failed])
		return nil
	}
	s := p.sheet()
	for _, x := range said.Summary {
		if len(steps) < x.Succeeded+x.Failed+x.Skipped+x.Cancelled || said.Next != "" {
			s.line(fmt.Sprintf("%s: %d succeeded, %d failed, %d skipped, %d cancelled; %s to %s, half within %s", x.Path, x.Succeeded, x.Failed, x.Skipped, x.Cancelled,
				s.brief(x.Min.D()), s.brief(x.Max.D()), s.brief(x.P50.D())))
		}
	}
	s.gantt(steps)
	if t := said.Times; t != nil {
		s.line(fmt.Sprintf("its calls together: %s queue, %s function, %s router", s.brief(t.Queue.D()), s.brief(t.Function.D()), s.brief(t.Router.D())))
	}
	if said.Missing > 0 {
		s.line(fmt.Sprintf("the history could not take %d steps in this time, of all runs together", said.Missing))
	}
	if said.Next != "" {
		fmt.Fprintf(p.out, "it goes on with --after %s\n", said.Next)
	}
	return nil
}

func (p *program) runsExport(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "export RUN", Short: "Print all that is known of a run's steps, a JSON line each.", Args: cobra.ExactArgs(1),
		Long: "Export prints what became of each step and each call of a run as NDJSON, in the order in which that was known: a JSON object a line, with path, number,\n" +
			"times, input, output and error. With -o json it is one JSON array.\n\n" + runHelp,
		Example: "  onward runs export RUN > run.ndjson\n  onward runs export RUN | jq 'select(.outcome == \"failed\")'",
		RunE: func(c *cobra.Command, args []string) error {
			if p.output != "json" {
				return p.stepsOf(c, k, args[0], func(from io.Reader) error {
					_, err := io.Copy(p.out, from)
					return err
				})
			}
			steps, err := p.allSteps(c, k, args[0])
			if err != nil {
				return err
			}
			return p.json(steps)
		},
	}
}
