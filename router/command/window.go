package command

import (
	"fmt"
	"io"
	"net/url"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

func (p *program) runsWindow(k *client) *cobra.Command {
	c := &cobra.Command{Use: "window RUN PATH N", Short: "Change how many items of a map may be open at a time, while it runs.", Args: cobra.ExactArgs(3), RunE: func(c *cobra.Command, args []string) error {
		var said router.Became
		q := url.Values{"path": {args[1]}, "window": {args[2]}}
		if err := k.send(c.Context(), "/v1/runs/"+url.PathEscape(args[0])+"/window?"+q.Encode(), nil, nil, &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			window := 0
			if said.Window != nil {
				window = *said.Window
			}
			switch fate, _ := triggers.FateOf(said.Became); fate {
			case triggers.Applied:
				fmt.Fprintf(w, "the window of %s is %d\n", said.Path, window)
			case triggers.Repeated:
				fmt.Fprintf(w, "the window of %s was %d before\n", said.Path, window)
			default:
				fmt.Fprintf(w, "the window of %s is journaled; what it did is not known yet: see onward runs explain RUN\n", said.Path)
			}
		})
	}}
	c.Long = "Window changes the window of a map, or of a dag's step over a list, that is at work: the path is that which onward runs explain shows, and 0 is the most. A wider one opens\n" +
		"more items at once; with a narrower one what is open goes on, and nothing opens until fewer are. A retry of the step begins with the document's window again. It changes\n" +
		"nothing, and exits with 5, when there is no such run or step.\n\n" + runHelp
	c.Example = "  onward runs window RUN map 100"
	return c
}
