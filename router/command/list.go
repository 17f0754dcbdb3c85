package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/engine"
	"github.com/spf13/cobra"
)

var runStates = engine.RunStates

// listPart is how many are asked for at a time.
const listPart = 10_000

func (p *program) runsList(k *client) *cobra.Command {
	q := make(url.Values)
	var since, until, after string
	var limit int
	var up bool
	c := &cobra.Command{Use: "list", Short: "List runs, the latest first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if limit < 1 {
			return fmt.Errorf("--limit %d; write 1 or more", limit)
		}
		for name, text := range map[string]string{"since": since, "until": until} {
			at, err := p.timeFlag(name, text)
			if err != nil {
				return err
			}
			q.Set(name, at)
		}
		for _, name := range []string{"tenant", "trigger", "state", "error", "event", "parent", "text", "sort"} {
			q.Set(name, c.Flag(name).Value.String())
		}
		if up {
			q.Set("order", "up")
		}
		said, err := p.listRuns(c.Context(), k, q, after, limit)
		if err != nil {
			return exitError{exitRun, err}
		}
		if err := p.print(said, func(w io.Writer) { writeRuns(w, said) }); err != nil || said.Total > 0 || said.Looked != nil {
			return err
		}
		return p.noSuch(c.Context(), k, "trigger", q.Get("trigger"))
	}}
	c.Long = "List prints runs, those that are open and those that have ended, as far as the history reaches: the latest first, each once, all routers' together.\n" +
		"CALLS counts invocations that were sent, OPEN those that have no outcome yet, sent or not, SIGNALS those that are waited for, ERROR is the type of the error that a run ended with.\n" +
		"Below stands how many there are in all, and with which --after the list goes on.\n\n" +
		"A time is how long ago it was (90s, 1h, 7d), today or yesterday (in UTC, as all times are), or as RFC 3339 has it. A run is of a time in which it was at work.\n\n" + clientHelp
	c.Example = "  onward runs list --state failed --trigger word-count --since today\n  onward runs list --event order-17\n  onward runs list --sort duration --since 1h -o json"
	f := c.Flags()
	f.String("tenant", "", "only runs of this tenant")
	f.String("state", "", "only runs in this state: "+strings.Join(runStates, ", "))
	f.String("trigger", "", "only runs of this trigger")
	f.String("error", "", "only runs that ended with an error of this type")
	f.String("event", "", "only runs that the event of this id started")
	f.String("parent", "", "only runs that a step of this run has started")
	f.String("text", "", "only runs with this text in what is kept of their event, data, result or error, in capitals or not; ended ones are looked through 50,000 at a time, the latest first")
	f.StringVar(&since, "since", "", "only runs that were at work since then")
	f.StringVar(&until, "until", "", "only runs that were at work until then")
	f.String("sort", "started", "by what: started, ended or duration; of the last two, open runs come first")
	completeFlag(c, "sort", fixed("started", "ended", "duration"))
	f.BoolVar(&up, "up", false, "the first, or the shortest, first")
	f.IntVar(&limit, "limit", 50, "at most so many")
	f.StringVar(&after, "after", "", "go on behind this place, as the list before it says")
	return c
}

// noSuch tells who has asked for what is of one trigger or function, and got nothing, that the router has none of that name. There may have been one.
func (p *program) noSuch(ctx context.Context, k *client, kind, name string) error {
	if name == "" {
		return nil
	}
	var said struct {
		Triggers  []struct{ Trigger string }
		Functions []struct{ Function string }
	}
	if err := k.get(ctx, "/v1/"+kind+"s", &said); err != nil {
		return nil // Whoever may see runs need not see these; the list is printed.
	}
	var known []string
	for _, x := range said.Triggers {
		known = append(known, x.Trigger)
	}
	for _, x := range said.Functions {
		known = append(known, x.Function)
	}
	if !slices.Contains(known, name) && !strings.HasPrefix(name, lang.InvokePrefix) {
		fmt.Fprintf(p.errs, "there is no %s %q now; %s\n", kind, name, lang.Nearest(name, known))
	}
	return nil
}

// timeFlag is a time as a person writes it, as the router takes it.
func (p *program) timeFlag(name, text string) (string, error) {
	now := time.Now()
	if p.now != nil {
		now = p.now()
	}
	if text == "" {
		return "", nil
	}
	at, err := plugin.ParseMoment(text, now)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", name, err)
	}
	return at.UTC().Format(time.RFC3339Nano), nil
}

// listRuns asks until it has as many as are wanted, or all.
func (p *program) listRuns(ctx context.Context, k *client, q url.Values, after string, limit int) (*router.RunList, error) {
	all, parts := &router.RunList{Runs: []router.RunLine{}, Next: after}, 0 // of a text that is looked for
	for begun := false; !begun || all.Next != "" && len(all.Runs) < limit; begun = true {
		part := new(router.RunList)
		q.Set("limit", fmt.Sprint(min(limit-len(all.Runs), listPart)))
		q.Set("after", all.Next)
		if err := p.list(ctx, k, "/v1/runs?"+q.Encode(), part); err != nil {
			return nil, err
		}
		all.Runs, all.Next, all.Total = append(all.Runs, part.Runs...), part.Next, part.Total
		if l := part.Looked; l != nil && len(all.Runs) < limit {
			fmt.Fprintf(p.errs, "looked for the text in ended runs back to %s; %d are left, and are looked at next\n", when(l.Last), l.Left)
		}
		if all.Looked = part.Looked; all.Looked != nil {
			parts++
		}
	}
	if parts > 0 && all.Next == "" {
		all.Total = len(all.Runs)
	}
	return all, nil
}

// list gets a list, and says which routers' part is not in it.
func (p *program) list(ctx context.Context, k *client, path string, into any) error {
	resp, err := k.do(ctx, "GET", path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if missing := resp.Header.Get("Onward-Unanswered"); missing != "" {
		fmt.Fprintf(p.errs, "not all is listed: no answer from %s\n", missing)
	}
	return k.decode(resp, into)
}

func writeRuns(w io.Writer, said *router.RunList) {
	fmt.Fprintln(w, "RUN\tTRIGGER\tSTATE\tSTARTED\tCALLS\tOPEN\tSIGNALS\tERROR")
	for _, l := range said.Runs {
		state := l.State
		if l.Paused != nil {
			state += " since " + when(l.Paused.Since) + ", by " + cmp.Or(l.Paused.By, "somebody")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", l.Run, l.Trigger, state, when(l.Started), l.Calls, l.Open, l.Signals, l.Error)
	}
	if l := said.Looked; l != nil {
		fmt.Fprintf(w, "%d, of ended runs back to %s; %d are left: it goes on with --after %s\n", len(said.Runs), when(l.Last), l.Left, said.Next)
		return
	}
	foot(w, len(said.Runs), said.Total, said.Next)
}

// foot is the line below a list: how many there are, and how it goes on.
func foot(w io.Writer, shown, total int, next string) {
	switch {
	case next != "":
		fmt.Fprintf(w, "%d of %d; it goes on with --after %s\n", shown, total, next)
	case shown < total:
		fmt.Fprintf(w, "the last %d of %d\n", shown, total)
	default:
		fmt.Fprintf(w, "%d in all\n", total)
	}
}
