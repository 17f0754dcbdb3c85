package command

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

func (p *program) runsPause(k *client) *cobra.Command {
	var by, reason string
	c := &cobra.Command{Use: "pause RUN", Short: "Keep a run from calling anything more for a while.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return p.turn(c, k, args[0], "pause", by, reason, map[triggers.Fate]string{
			triggers.Applied: "run %s is paused\n", triggers.Repeated: "run %s was paused before\n",
			triggers.Accepted: "the pause of run %s is journaled; what it did is not known yet: see onward runs explain RUN\n",
		})
	}}
	c.Long = "Pause keeps what a run calls from being sent. What is at work goes on, and what comes in - outcomes, signals, timers - takes effect; deadlines count. A paused\n" +
		"run can be cancelled. The pause outlives restarts. Of a run that has ended it changes nothing and exits with 6; where there is no such run, with 5.\n\n" + runHelp
	c.Example = "  onward runs pause RUN --reason \"the warehouse is being moved\"\n  onward runs resume RUN"
	c.Flags().StringVar(&reason, "reason", "", "why, shown with the run")
	byFlag(c, &by)
	return c
}

func (p *program) runsResume(k *client) *cobra.Command {
	var by string
	c := &cobra.Command{Use: "resume RUN", Short: "Let a paused run go on.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return p.turn(c, k, args[0], "resume", by, "", map[triggers.Fate]string{
			triggers.Applied: "run %s goes on\n", triggers.Repeated: "run %s was not paused\n",
			triggers.Accepted: "the resume of run %s is journaled; what it did is not known yet: see onward runs explain RUN\n",
		})
	}}
	c.Long = "Resume sends what a paused run calls. Of a run that has ended it changes nothing and exits with 6; where there is no such run, with 5.\n\n" + runHelp
	c.Example = "  onward runs resume RUN"
	byFlag(c, &by)
	return c
}

func byFlag(c *cobra.Command, by *string) {
	c.Flags().StringVar(by, "by", "", "who does it, shown with the run; default: the user at this host")
}

// turn asks for a pause or a resume, and prints what became of it.
func (p *program) turn(c *cobra.Command, k *client, run, what, by, reason string, lines map[triggers.Fate]string) error {
	if by == "" {
		by = whoami()
	}
	q := url.Values{"by": {by}}
	if reason != "" {
		q.Set("reason", reason)
	}
	var said router.Became
	if err := k.send(c.Context(), "/v1/runs/"+url.PathEscape(run)+"/"+what+"?"+q.Encode(), nil, nil, &said); err != nil {
		return exitError{exitRun, err}
	}
	return p.print(said, func(w io.Writer) {
		fate, _ := triggers.FateOf(said.Became)
		fmt.Fprintf(w, lines[fate], said.Run)
	})
}

// whoami is the user at this host, as far as the system says.
func whoami() string {
	name, at := "somebody", ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		at = "@" + host
	}
	return name + at
}
