package command

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

func (p *program) sources() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "sources", Short: "See where a running router's events come in.", Long: "See where a running router's events come in.\n\n" + clientHelp, Example: "  onward sources list",
	}
	clientFlags(c, k)
	list := &cobra.Command{Use: "list", Short: "List sources: when a schedule ticks next, how far files are read, what is wrong.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var said router.SourceList
		if err := k.get(c.Context(), "/v1/sources", &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "SOURCE\tTYPE\tNEXT\tLAST\tAT\tNOTE")
			for _, l := range said.Sources {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Source, l.Type, whenever(l.Next), whenever(l.Last), cmp.Or(l.At, l.Path, "-"), cmp.Or(l.Trouble, l.Note, andThen(l.Then), "-"))
			}
		})
	}}
	list.Long = "List prints the sources of the router that is asked: the next ticks and the last one of a schedule, where a webhook is, how far files are read, and what keeps a source from taking events.\n\n" + clientHelp
	list.Example = "  onward sources list\n  onward sources list -o json"
	c.AddCommand(list)
	return c
}

// whenever is a time that there may be none of.
func whenever(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return when(t)
}

// andThen lists the times behind the next one.
func andThen(times []time.Time) string {
	if len(times) == 0 {
		return ""
	}
	said := make([]string, len(times))
	for i, t := range times {
		said[i] = when(t)
	}
	return "then " + strings.Join(said, ", ")
}
