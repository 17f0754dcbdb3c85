package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) runsGet(k *client) *cobra.Command {
	var timeline, failed bool
	var after string
	var limit int
	c := &cobra.Command{
		Use: "get RUN", Short: "Print what a run is doing, or how it ended, as JSON.", Args: cobra.ExactArgs(1),
		Long: "Get prints, as JSON, what a run is doing - its open steps, what they wait for - or how it ended and what it yielded.\n\n" +
			"With --timeline it prints what became of each step and each call: how long it was queued, and how long the function had it. In a terminal a bar\n" +
			"shows when: a dot a moment in the queue, a block a moment with the function. With --failed it prints only what failed for good, with the error.\n\n" + runHelp,
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

// width returns how wide the terminal is; 0 when there is none.
func (p *program) width() int {
	f, ok := p.out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 80
	}
	return max(w, 40)
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
	for _, s := range said.Summary {
		if len(steps) < s.Succeeded+s.Failed+s.Skipped+s.Cancelled || said.Next != "" {
			fmt.Fprintf(p.out, "%s: %d succeeded, %d failed, %d skipped, %d cancelled; %s to %s, half within %s\n", s.Path, s.Succeeded, s.Failed, s.Skipped, s.Cancelled,
				brief(s.Min), brief(s.Max), brief(s.P50))
		}
	}
	p.gantt(steps, p.width())
	if said.Missing > 0 {
		fmt.Fprintf(p.out, "the history could not take %d steps in this time, of all runs together\n", said.Missing)
	}
	if said.Next != "" {
		fmt.Fprintf(p.out, "there is more: --after %s\n", said.Next)
	}
	return nil
}

// gantt prints a line a step, with a bar where there is a terminal that is wide enough, and below a failure why.
func (p *program) gantt(steps []*router.PastStep, width int) {
	begin, end := steps[0].Queued, steps[0].Queued
	names := 4
	for _, s := range steps {
		if end = latest(end, s.Queued, s.Sent, s.Ended); utf8.RuneCountInString(s.Path) > names {
			names = utf8.RuneCountInString(s.Path)
		}
	}
	names = min(names, max(16, width/3), 60)
	const columns = 3 + 10 + 9 + 9 + 9 + 6 // around the bar
	bar := width - names - columns
	if bar < 10 {
		bar = 0
	}
	if width == 0 {
		names = 0
		for _, s := range steps {
			names = max(names, utf8.RuneCountInString(s.Path), 4)
		}
	}
	line := func(path, try, outcome, from, queue, function, chart string) {
		fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf("%-*s %3s %-9s %8s %8s %8s  %s", names, path, try, outcome, from, queue, function, chart), " "))
	}
	line("STEP", "TRY", "OUTCOME", "FROM", "QUEUE", "FUNCTION", "")
	for _, s := range steps {
		queue, function, try := "", "", ""
		if s.Function != "" || s.Trigger != "" {
			sent, ended := s.Sent, s.Ended
			if !sent.IsZero() {
				queue = brief(sent.Sub(s.Queued))
			}
			if !ended.IsZero() {
				function = brief(ended.Sub(latest(s.Queued, sent)))
			}
		}
		if s.Attempt > 1 || s.Again {
			try = fmt.Sprint(s.Attempt)
		}
		line(shorten(s.Path, names), try, s.Outcome, brief(s.Queued.Sub(begin)), queue, function, chart(s, begin, end, bar))
		if s.Error != nil && s.Outcome != "cancelled" {
			fmt.Fprintf(p.out, "    %s: %s\n", s.Error.Type, s.Error.Message)
		}
	}
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}

// chart is a step's bar.
func chart(s *router.PastStep, begin, end time.Time, width int) string {
	if width == 0 || !end.After(begin) {
		return ""
	}
	at := func(t time.Time) int { return int(int64(width-1) * int64(t.Sub(begin)) / int64(end.Sub(begin))) }
	ended := s.Ended
	if ended.IsZero() {
		ended = end
	}
	from, to, sent := at(s.Queued), at(ended), at(s.Queued)
	if !s.Sent.IsZero() {
		sent = min(max(at(s.Sent), from), to)
	}
	mark := map[string]string{"failed": "x", "cancelled": "-", "skipped": "-", "open": ">"}[s.Outcome]
	return strings.Repeat(" ", from) + strings.Repeat(".", sent-from) + strings.Repeat("#", to-sent) + cmp.Or(mark, "#")
}

// shorten keeps the end of a path, which tells it apart.
func shorten(path string, most int) string {
	r := []rune(path)
	if len(r) <= most {
		return path
	}
	return "~" + string(r[len(r)-most+1:])
}

// brief is a duration in four or five characters.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
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
