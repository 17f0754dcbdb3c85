package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

func (p *program) diff() *cobra.Command {
	k := &client{}
	var against []string
	c := &cobra.Command{
		Use: "diff FILE|DIR...", Short: "Say what a reload of documents would change, and which open runs it touches.", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p.inherit(unknownCluster)
			texts, unread := config.Texts(args) // Once: a pipe has it once.
			set, findings := config.Read(texts, p.registry, check)
			set, err := p.checked(set, append(unread, findings...))
			if err != nil {
				return err
			}
			var said router.Difference
			if len(against) > 0 {
				was, err := p.load(against)
				if err != nil {
					return err
				}
				said.Changes = []router.Touched{}
				if err := config.Emptied(was, set); err != nil {
					said.Refused = err.Error()
				}
				for _, x := range config.Diff(was, set) {
					said.Changes = append(said.Changes, router.Touched{Change: x, Endures: true})
				}
			} else {
				body, err := json.Marshal(map[string]any{"documents": texts})
				if err != nil {
					return err
				}
				if err := k.send(c.Context(), "/v1/diff", body, map[string]string{"Content-Type": "application/json"}, &said); err != nil {
					return exitError{exitUsage, err}
				}
			}
			if err := p.print(said, func(w io.Writer) { writeDiff(w, &said, len(against) == 0) }); err != nil {
				return err
			}
			if len(said.Changes) > 0 {
				return exitError{exitRun, errSaid}
			}
			return nil
		},
	}
	c.Long = "Diff compares documents with those that a running router has in force, and says what a reload would change: sources, triggers, flows, functions and destinations\n" +
		"that are added (+), removed (-) or changed (~, with the keys that say something else). What is only moved or written otherwise is the same. Nothing is changed.\n\n" +
		"Of what is removed or changed it counts the open runs of all routers that it touches. Runs go on by the definition that they began with; functions are looked up\n" +
		"by name when a call is sent. So a function that goes while runs may still call it is the one change that hurts them: it is marked with !, and their calls wait\n" +
		"until it is back, or fail when their time is over.\n\n" +
		"With --against it compares with other files, and asks no router. It needs the right admin, since a router reads the documents.\n\n" +
		"As diff does, it exits with 0 when all is the same, with 1 when something differs, and with 2 and more when it cannot tell.\n\n" + clientHelp
	c.Example = "  onward diff documents\n  onward diff --against old.yaml new.yaml\n  onward diff documents -o json | jq '.changes[] | select(.endures | not)'"
	c.Flags().StringArrayVar(&against, "against", nil, "compare with this file or folder in place of a router's documents; once for each")
	clientFlags(c, k)
	return c
}

func writeDiff(w io.Writer, said *router.Difference, running bool) {
	for i := range said.Changes {
		x := &said.Changes[i]
		fmt.Fprintln(w, x.Change)
		if x.Runs == 0 {
			continue
		}
		some := strings.Join(x.Some, ", ")
		if x.Runs > len(x.Some) {
			some += ", ..."
		}
		switch function := x.Kind == config.KindFunction || x.Kind == config.KindDestination; {
		case !x.Endures && function:
			fmt.Fprintf(w, "  ! open runs that may still call it: %d (%s); their calls wait until it is back, or fail when their time is over\n", x.Runs, some)
		case !x.Endures:
			fmt.Fprintf(w, "  ! open runs that may still start it: %d (%s); that fails\n", x.Runs, some)
		case function:
			fmt.Fprintf(w, "  open runs that may call it, as it is then: %d (%s)\n", x.Runs, some)
		default:
			fmt.Fprintf(w, "  open runs that go on as they began: %d (%s)\n", x.Runs, some)
		}
	}
	if said.Refused != "" {
		fmt.Fprintf(w, "! a reload refuses them: %s\n", said.Refused)
	}
	if len(said.Unanswered) > 0 {
		fmt.Fprintf(w, "runs of routers that do not answer are not counted: %s\n", strings.Join(said.Unanswered, ", "))
	}
	if len(said.Changes) == 0 && running {
		fmt.Fprintln(w, "nothing differs from what is in force")
	} else if len(said.Changes) == 0 {
		fmt.Fprintln(w, "nothing differs")
	}
}
