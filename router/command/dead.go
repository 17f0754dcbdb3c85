package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

const letterHelp = "LETTER is a dead letter's id, as dead list prints it.\n\n" + clientHelp

func (p *program) dead() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "dead", Short: "See, send again and remove what was given up.",
		Long: "A dead letter is an event, or an invocation, that was given up: its function refused it, or gave no answer for maxAge. It is kept with its reason until\n" +
			"somebody sends it again or removes it (at most dead.age and dead.bytes of the settings). Dead letters of all routers are shown.\n\n" + clientHelp,
		Example: "  onward dead list --group\n  onward dead redrive --all --function alert --since today",
	}
	clientFlags(c, k)
	c.AddCommand(p.deadList(k), p.deadShow(k), p.deadRedrive(k), p.deadPurge(k), p.deadParked(k))
	p.completeFlags(c, k)
	for _, sub := range c.Commands() {
		if strings.Contains(sub.Use, "LETTER") {
			sub.ValidArgsFunction = lettersOf(k)
		}
	}
	return c
}

// A choice of dead letters, by what the router is asked for.
type choice struct{ trigger, function, run, tenant, kind, fault, text, since, until string }

func (f *choice) flags(c *cobra.Command, k *client) {
	c.Flags().StringVar(&f.trigger, "trigger", "", "only of runs of this trigger")
	c.Flags().StringVar(&f.function, "function", "", "only those for this function, or for this trigger as a destination")
	c.Flags().StringVar(&f.run, "run", "", "only of this run")
	c.Flags().StringVar(&f.tenant, "tenant", "", "only of this tenant")
	c.Flags().StringVar(&f.kind, "kind", "", "only of this kind: "+strings.Join(router.LetterKinds(), ", "))
	c.Flags().StringVar(&f.fault, "error", "", "only with this type or class of error")
	c.Flags().StringVar(&f.text, "text", "", "only with this text in their ids, reason or data")
	c.Flags().StringVar(&f.since, "since", "", "only given up since then: 1h (ago), today (UTC) or 2026-11-27T06:00:00Z")
	c.Flags().StringVar(&f.until, "until", "", "only given up before then, written likewise")
	completeFlag(c, "kind", fixed(router.LetterKinds()...))
	completeFlag(c, "since", fixed("1h", "24h", "today"))
	completeFlag(c, "trigger", causesOf(k, func(x *router.Cause) string { return x.Trigger }))
	completeFlag(c, "function", causesOf(k, func(x *router.Cause) string { return x.Function }))
	completeFlag(c, "error", causesOf(k, func(x *router.Cause) string { return x.Error }))
}

func (f *choice) query() url.Values {
	return url.Values{
		"trigger": {f.trigger}, "function": {f.function}, "run": {f.run}, "tenant": {f.tenant}, "kind": {f.kind}, "error": {f.fault}, "text": {f.text}, "since": {f.since},
		"until": {f.until},
	}
}

// letters gives a part of the letters that are chosen.
func (k *client) letters(ctx context.Context, f *choice, limit int, after string) (said router.LetterList, _ error) {
	q := f.query()
	q.Set("limit", fmt.Sprint(limit))
	q.Set("after", after)
	return said, k.get(ctx, "/v1/dead?"+q.Encode(), &said)
}

// causes counts the letters that are chosen.
func (k *client) causes(ctx context.Context, f *choice) (said router.Causes, _ error) {
	q := f.query()
	q.Set("group", "cause")
	return said, k.get(ctx, "/v1/dead?"+q.Encode(), &said)
}

// lettersOf offers the dead letters of a router, if one answers.
func lettersOf(k *client) completion {
	return func(c *cobra.Command, _ []string, _ string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
		defer cancel()
		said, _ := k.letters(ctx, &choice{}, 50, "") // Without an answer nothing is offered.
		for _, l := range said.Letters {
			found = append(found, cobra.CompletionWithDesc(l.ID, l.To+l.Starts+" "+l.Error.Type))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// causesOf offers what the dead letters of a router have, if one answers.
func causesOf(k *client, of func(*router.Cause) string) completion {
	return func(c *cobra.Command, _ []string, _ string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
		defer cancel()
		said, _ := k.causes(ctx, &choice{}) // Without an answer nothing is offered.
		for _, x := range said.Causes {
			if word := of(x); word != "" && !slices.Contains(found, word) {
				found = append(found, word)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) deadList(k *client) *cobra.Command {
	var f choice
	var limit int
	var group bool
	var after string
	c := &cobra.Command{Use: "list", Short: "List dead letters, the latest first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		switch {
		case limit < 1 || limit > lettersAtATime:
			return fmt.Errorf("--limit %d; write 1 to %d", limit, lettersAtATime)
		case group && after != "":
			return errors.New("--after is for a list of letters; leave it or --group out")
		case group:
			return p.listCauses(c.Context(), k, &f)
		}
		said, err := k.letters(c.Context(), &f, limit, after)
		if err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "LETTER\tGIVEN UP\tTRIGGER\tFOR\tREASON")
			for _, l := range said.Letters {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.ID, when(l.Time), dash(l.Trigger), dash(l.To+l.Starts), l.Error)
			}
			foot(w, len(said.Letters), said.Total, said.Next)
		})
	}}
	c.Long = "List prints what was given up, for which function (or trigger, as a destination), and why. Where there is more than --limit, it says how to see the rest.\n" +
		"With --group it counts by cause: kind, trigger, function and type of error, the most frequent first.\n\n" + clientHelp
	c.Example = "  onward dead list --function alert --since 1h\n  onward dead list --group --trigger word-count\n  onward dead list -o json --limit 1000"
	f.flags(c, k)
	c.Flags().IntVar(&limit, "limit", 50, "at most so many")
	c.Flags().StringVar(&after, "after", "", "go on where a list before has ended, as it said")
	c.Flags().BoolVar(&group, "group", false, "count by cause")
	return c
}

// dash stands in for a word that there is not, so that columns stay columns.
func dash(word string) string { return cmp.Or(word, "-") }

func (p *program) listCauses(ctx context.Context, k *client, f *choice) error {
	said, err := k.causes(ctx, f)
	if err != nil {
		return exitError{exitRun, err}
	}
	return p.print(said, func(w io.Writer) {
		fmt.Fprintln(w, "LETTERS\tKIND\tTRIGGER\tFOR\tERROR\tFIRST\tLAST\tTHE LATEST SAYS")
		for _, x := range said.Causes {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Count, dash(x.Kind), dash(x.Trigger), dash(x.Function), dash(x.Error), when(x.First),
				when(x.Last), firstLine(x.Message))
		}
		fmt.Fprintf(w, "%d in all\n", said.Total)
	})
}

// firstLine is a text as far as a line of a table has room for it.
func firstLine(text string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(line); len(r) > 80 {
		return string(r[:80]) + "..."
	}
	if rest != "" {
		line += " ..."
	}
	return line
}

func (p *program) deadShow(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "show LETTER", Short: "Print a dead letter, its data included, as JSON.", Args: cobra.ExactArgs(1),
		Long:    "Show prints, as JSON, what was given up: the event's data, where it was to go, why it did not arrive, and how often it was sent again since.\n\n" + letterHelp,
		Example: "  onward dead show LETTER",
		RunE:    p.shows(k, "/v1/dead/"),
	}
}

func (p *program) deadParked(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "parked", Short: "List what came in and is no event, and places of the journal that hold no record.", Args: cobra.NoArgs,
		Long:    "Parked lists the latest of what sources got and could not read, and of the places in the journal that hold no record. Nothing waits for it.\n\n" + clientHelp,
		Example: "  onward dead parked",
		RunE: func(c *cobra.Command, _ []string) error {
			var said router.ParkedList
			if err := k.get(c.Context(), "/v1/parked", &said); err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) {
				fmt.Fprintln(w, "SOURCE\tPLACE\tTIME\tREASON")
				for _, l := range said.Parked {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Source, l.Place, when(l.Time), l.Reason)
				}
			})
		},
	}
}
