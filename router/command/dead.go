package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

const letterHelp = "LETTER is a dead letter's id, as dead list prints it.\n\n" + clientHelp

func (p *program) dead() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "dead", Short: "See, send again and remove what was given up.",
		Long: "A dead letter is an event, or an invocation, that was given up: its function refused it, or gave no answer for maxAge. It is kept with its reason until\n" +
			"somebody sends it again or removes it (at most dead.age and dead.bytes of the settings). Dead letters of all routers are shown.\n\n" + clientHelp,
		Example: "  onward dead list\n  onward dead redrive --all --function alert",
	}
	clientFlags(c, k)
	c.AddCommand(p.deadList(k), p.deadShow(k), p.deadRedrive(k), p.deadPurge(k), p.deadParked(k))
	for _, sub := range c.Commands() {
		if strings.Contains(sub.Use, "LETTER") {
			sub.ValidArgsFunction = lettersOf(k)
		}
	}
	return c
}

// A choice of dead letters.
type choice struct{ trigger, function, run string }

func (f *choice) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.trigger, "trigger", "", "only of runs of this trigger")
	c.Flags().StringVar(&f.function, "function", "", "only those for this function, or for this trigger as a destination")
	c.Flags().StringVar(&f.run, "run", "", "only of this run")
}

func (k *client) letters(ctx context.Context, f *choice, limit int) (lines []*router.Letter, _ error) {
	q := url.Values{"trigger": {f.trigger}, "function": {f.function}, "run": {f.run}, "limit": {fmt.Sprint(limit)}}
	return lines, k.get(ctx, "/v1/dead?"+q.Encode(), &lines)
}

// lettersOf offers the dead letters of a router, if one answers.
func lettersOf(k *client) completion {
	return func(c *cobra.Command, _ []string, _ string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
		defer cancel()
		lines, err := k.letters(ctx, &choice{}, 50)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, l := range lines {
			found = append(found, cobra.CompletionWithDesc(l.ID, l.To+l.Starts+" "+l.Error.Type))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) deadList(k *client) *cobra.Command {
	var f choice
	var limit int
	c := &cobra.Command{Use: "list", Short: "List dead letters, the latest first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if limit < 1 {
			return fmt.Errorf("--limit %d; write 1 or more", limit)
		}
		lines, err := k.letters(c.Context(), &f, limit)
		if err != nil {
			return exitError{exitRun, err}
		}
		return p.print(lines, func(w io.Writer) {
			fmt.Fprintln(w, "LETTER\tGIVEN UP\tTRIGGER\tFOR\tREASON")
			for _, l := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.ID, l.Time.Local().Format(time.DateTime), l.Trigger, l.To+l.Starts, l.Error)
			}
		})
	}}
	c.Long = "List prints what was given up, for which function (or trigger, as a destination), and why.\n\n" + clientHelp
	c.Example = "  onward dead list --function alert\n  onward dead list -o json --limit 1000"
	f.flags(c)
	c.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return c
}

func (p *program) deadShow(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "show LETTER", Short: "Print a dead letter, its data included, as JSON.", Args: cobra.ExactArgs(1),
		Long:    "Show prints, as JSON, what was given up: the event's data, where it was to go, why it did not arrive, and how often it was sent again since.\n\n" + letterHelp,
		Example: "  onward dead show LETTER",
		RunE:    p.shows(k, "/v1/dead/"),
	}
}

// A deed is what is done with letters: with those that are named, or with all of a choice.
type deed struct {
	choice
	all bool
}

func (d *deed) flags(c *cobra.Command) {
	d.choice.flags(c)
	c.Flags().BoolVar(&d.all, "all", false, "all of them, or all that --trigger, --function and --run choose")
	c.Args = cobra.ArbitraryArgs
	c.PreRunE = func(_ *cobra.Command, args []string) error {
		if d.all == (len(args) > 0) {
			return errors.New("say which: name letters, as dead list prints them, or write --all")
		}
		if !d.all && d.choice != (choice{}) {
			return errors.New("--trigger, --function and --run choose from all: write --all with them")
		}
		return nil
	}
}

// lettersAtATime is how many are asked for at a time where all are meant.
const lettersAtATime = 1000

// chosen gives the ids of the letters that are meant, until yield returns an error.
func (d *deed) chosen(ctx context.Context, k *client, args []string, yield func(id string) error) error {
	done := make(map[string]bool)
	for {
		if d.all {
			lines, err := k.letters(ctx, &d.choice, len(done)+lettersAtATime)
			if err != nil {
				return exitError{exitRun, err}
			}
			args = args[:0]
			for _, l := range lines {
				args = append(args, l.ID)
			}
		}
		news := false
		for _, id := range args {
			if done[id] {
				continue
			}
			done[id], news = true, true
			if err := yield(id); err != nil {
				return err
			}
		}
		if !d.all || !news {
			return nil
		}
	}
}

// refusedMost is how many letters, one after the other, may be refused before the rest is left for later.
const refusedMost = 3

func (p *program) deadRedrive(k *client) *cobra.Command {
	var d deed
	c := &cobra.Command{Use: "redrive LETTER...", Short: "Send dead letters again; what arrives is removed.", RunE: func(c *cobra.Command, args []string) error {
		delivered, kept, row := 0, 0, 0
		err := d.chosen(c.Context(), k, args, func(id string) error {
			var said json.RawMessage
			if err := k.send(c.Context(), "/v1/dead/"+url.PathEscape(id)+"/redrive", nil, nil, &said); err != nil {
				kept++
				row++
				fmt.Fprintf(p.errs, "%s: %v\n", id, err)
				if row == refusedMost && d.all {
					return fmt.Errorf("%d letters in a row did not arrive: the rest is left as it is; %d were delivered", row, delivered)
				}
				return nil
			}
			delivered++
			row = 0
			return nil
		})
		if err != nil {
			return exitError{exitRun, err}
		}
		if err := p.print(map[string]int{"delivered": delivered, "kept": kept}, func(w io.Writer) { fmt.Fprintf(w, "delivered %d, kept %d\n", delivered, kept) }); err != nil {
			return err
		}
		if kept > 0 {
			return exitError{exitRun, errSaid}
		}
		return nil
	}}
	c.Long = "Redrive sends dead letters again, under their own ids and one after the other, and removes those that arrive. A run that is over is not told: it stays as it\n" +
		"is. With --all it stops after three in a row that do not arrive. It exits with 1 when one was kept.\n\n" + letterHelp
	c.Example = "  onward dead redrive LETTER\n  onward dead redrive --all --function alert"
	d.flags(c)
	return c
}

func (p *program) deadPurge(k *client) *cobra.Command {
	var d deed
	c := &cobra.Command{Use: "purge LETTER...", Short: "Remove dead letters for ever.", RunE: func(c *cobra.Command, args []string) error {
		removed := 0
		err := d.chosen(c.Context(), k, args, func(id string) error {
			var said json.RawMessage
			if err := k.call(c.Context(), "DELETE", "/v1/dead/"+url.PathEscape(id), nil, nil, &said); err != nil {
				return err
			}
			removed++
			return nil
		})
		if err != nil {
			return exitError{exitRun, err}
		}
		return p.print(map[string]int{"removed": removed}, func(w io.Writer) { fmt.Fprintf(w, "removed %d\n", removed) })
	}}
	c.Long = "Purge removes dead letters for ever.\n\n" + letterHelp
	c.Example = "  onward dead purge LETTER\n  onward dead purge --all --trigger word-count"
	d.flags(c)
	return c
}

func (p *program) deadParked(k *client) *cobra.Command {
	return &cobra.Command{
		Use: "parked", Short: "List what came in and is no event, and places of the journal that hold no record.", Args: cobra.NoArgs,
		Long:    "Parked lists the latest of what sources got and could not read, and of the places in the journal that hold no record. Nothing waits for it.\n\n" + clientHelp,
		Example: "  onward dead parked",
		RunE: func(c *cobra.Command, _ []string) error {
			var lines []triggers.Parked
			if err := k.get(c.Context(), "/v1/parked", &lines); err != nil {
				return exitError{exitRun, err}
			}
			return p.print(lines, func(w io.Writer) {
				fmt.Fprintln(w, "SOURCE\tPLACE\tTIME\tREASON")
				for _, l := range lines {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Source, l.Place, l.Time.Local().Format(time.DateTime), l.Reason)
				}
			})
		},
	}
}
