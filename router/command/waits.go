package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

func (p *program) waits() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "waits", Short: "See and answer what waits for a signal, such as an approval.",
		Long:    "See and answer what waits for a signal, such as an approval.\n\n" + clientHelp,
		Example: "  onward waits list\n  onward waits answer RUN approved --data '{\"by\": \"Ada\"}'",
	}
	clientFlags(c, k)
	c.AddCommand(p.waitsList(k), p.waitsAnswer(k))
	p.completeFlags(c, k)
	return c
}

func (p *program) waitsList(k *client) *cobra.Command {
	var limit int
	var after string
	c := &cobra.Command{Use: "list", Short: "List who waits for which signal, the longest first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if limit < 1 || limit > listPart {
			return fmt.Errorf("--limit %d; write 1 to %d", limit, listPart)
		}
		q := url.Values{"limit": {fmt.Sprint(limit)}, "after": {after}}
		for _, name := range []string{"tenant", "trigger", "signal", "run"} {
			q.Set(name, c.Flag(name).Value.String())
		}
		var said router.WaitList
		if err := p.list(c.Context(), k, "/v1/waits?"+q.Encode(), &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "RUN\tTRIGGER\tSIGNAL\tSTEP\tSINCE\tGIVES UP\tEVENT")
			for _, l := range said.Waits {
				end := "never"
				if !l.Expires.IsZero() {
					end = when(l.Expires)
				}
				what, where := l.Signal, l.Path
				if l.Round != "" {
					what, where = "(event) "+what, "key "+l.Round
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Run, l.Trigger, what, where, when(l.Since), end, l.Event)
			}
			foot(w, len(said.Waits), said.Total, said.Next)
		})
	}}
	c.Long = "List prints the steps that wait for a signal, of all routers' runs, the longest first: what a person is to answer; and the runs that await events, with what is\n" +
		"missing. GIVES UP is when it stops waiting, EVENT the\n" +
		"id of the event that started the run.\n\n" + clientHelp
	c.Example = "  onward waits list --signal approved\n  onward waits list --trigger expense -o json"
	c.Flags().String("tenant", "", "only runs of this tenant")
	c.Flags().String("trigger", "", "only runs of this trigger")
	c.Flags().String("signal", "", "only signals of this name")
	c.Flags().String("run", "", "only this run")
	c.Flags().StringVar(&after, "after", "", "go on behind this cursor, which the part before ends with")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return c
}

func (p *program) waitsAnswer(k *client) *cobra.Command {
	var data, key string
	c := &cobra.Command{Use: "answer RUN NAME", Short: "Send a run a signal that it waits for.", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
		v, err := dataFlag(c.Context(), "data", data)
		if err != nil {
			return err
		}
		var said router.WaitList
		if err := p.list(c.Context(), k, "/v1/waits?"+url.Values{"run": {args[0]}, "limit": {fmt.Sprint(listPart)}}.Encode(), &said); err != nil {
			return exitError{exitRun, err}
		}
		var names []string
		for _, l := range said.Waits {
			if l.Round == "" && !slices.Contains(names, l.Signal) {
				names = append(names, l.Signal)
			}
		}
		if key == "" && !slices.Contains(names, args[1]) {
			if len(names) == 0 {
				if err := k.get(c.Context(), "/v1/runs/"+url.PathEscape(args[0]), new(json.RawMessage)); err != nil {
					return exitError{exitRun, err}
				}
				names = []string{"none"}
			}
			return exitError{exitRefused, fmt.Errorf("run %s does not wait for the signal %q, and of signals for %s; onward runs signal sends one that is kept for later", args[0], args[1], strings.Join(names, ", "))}
		}
		became, err := k.signal(c.Context(), args[0], args[1], v, key)
		if err != nil {
			return exitError{exitRun, err}
		}
		return p.print(became, func(w io.Writer) { fmt.Fprintln(w, signalled(became)) })
	}}
	c.Long = "Answer sends a run a signal that a step of it waits for. Where no step waits for it, it changes nothing and exits with 6; where there is no such run, with 5. With --key,\n" +
		"an answer with a key that came before counts once, and one that no step waits for yet is kept, as with runs signal.\n\n" + runHelp
	c.Example = "  onward waits answer RUN approved --data '{\"by\": \"Ada\"}'"
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	c.Flags().StringVar(&key, "key", "", "idempotency key: a signal of that name with a key that came before counts once")
	c.ValidArgsFunction = runsOf(k)
	return c
}
