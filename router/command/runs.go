package command

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

// runHelp is what the help of commands says of a run's id.
const runHelp = "RUN is a run's id, as send and runs list print it.\n\n" + clientHelp

func (p *program) runs() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "runs", Short: "See and steer the runs of a running router.", Long: "See and steer the runs of a running router.\n\n" + clientHelp,
		Example: "  onward runs list --state running\n  onward runs explain RUN",
	}
	clientFlags(c, k)
	c.AddCommand(p.runsList(k), p.runsGet(k), p.runsExport(k), p.runsMock(k), p.runsWatch(k), p.runsExplain(k), p.runsPause(k), p.runsResume(k), p.runsWindow(k), p.runsCancel(k), p.runsSignal(k), p.runsRerun(k), p.runsRedrive(k))
	for _, sub := range c.Commands() {
		if strings.Contains(sub.Use, "RUN") {
			sub.ValidArgsFunction = runsOf(k)
		}
	}
	p.completeFlags(c, k)
	return c
}

func (p *program) runsExplain(k *client) *cobra.Command {
	c := &cobra.Command{Use: "explain RUN", Short: "Say why a run is not further.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		var said router.Explanation
		if err := k.get(c.Context(), "/v1/runs/"+url.PathEscape(args[0])+"/explain", &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			for _, line := range said.Lines() {
				fmt.Fprintln(w, line)
			}
		})
	}}
	c.Long = "Explain says what each open step of a run waits for; of a run that failed, which steps failed, at which try, with which error and input.\n\n" + runHelp
	c.Example = "  onward runs explain RUN"
	return c
}

func (p *program) runsCancel(k *client) *cobra.Command {
	var reason string
	var s selection
	ask := func(ctx context.Context, run string) (said router.Became, err error) {
		return said, k.send(ctx, "/v1/runs/"+url.PathEscape(run)+"/cancel?reason="+url.QueryEscape(reason), nil, nil, &said)
	}
	c := &cobra.Command{Use: "cancel [RUN]", Short: "Cancel a run, or all that a query finds.", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return p.on(c, k, &s, args, func() error {
			said, err := ask(c.Context(), args[0])
			if err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) { fmt.Fprintln(w, cancelled(&said)) })
		}, &errand{verb: "cancel", what: "cancel", query: url.Values{"reason": {reason}}, dry: s.dry, line: lineOf("cancel", cancelled)})
	}}
	s.flags(c)
	s.dryRun(c)
	c.Long = "Cancel ends a run: nothing more is invoked, and its state is cancelled. Of a run that has ended it changes nothing and exits with 6; where there is no such run, with 5.\n\n" + selectionHelp + "\n\n" + runHelp
	c.Example = "  onward runs cancel --state running --trigger word-count\n  onward runs cancel RUN --reason \"wrong input\""
	c.Flags().StringVar(&reason, "reason", "", "why, kept with the run")
	return c
}

// cancelled says what became of a cancel.
func cancelled(said *router.Became) string {
	if said.Became == triggers.Accepted.String() {
		return fmt.Sprintf("the cancel of run %s is journaled; what it did is not known yet: see onward runs get %s", said.Run, said.Run)
	}
	return fmt.Sprintf("run %s is being cancelled", said.Run)
}

func (p *program) runsSignal(k *client) *cobra.Command {
	var data, key string
	var s selection
	c := &cobra.Command{Use: "signal [RUN] NAME", Short: "Send a signal to a run, or to all that a query finds.", Args: cobra.RangeArgs(1, 2), RunE: func(c *cobra.Command, args []string) error {
		name := args[len(args)-1]
		v, err := dataFlag(c.Context(), "data", data)
		if err != nil {
			return err
		}
		return p.on(c, k, &s, args[:len(args)-1], func() error {
			said, err := k.signal(c.Context(), args[0], name, v, key)
			if err != nil {
				return exitError{exitRun, err}
			}
			return p.print(said, func(w io.Writer) { fmt.Fprintln(w, signalled(said)) })
		}, &errand{
			verb: "signal", what: "send signal " + name + " to", query: url.Values{"signal": {name}}, body: []byte(v.JSON()), key: key, dry: s.dry,
			line: lineOf("signal", func(x *router.Became) string { return signalled(*x) }),
		})
	}}
	s.flags(c)
	s.dryRun(c)
	c.Long = "Signal sends a run what a step of the policy signal waits for. One that comes before the step is kept for it. Of a run that has ended or takes\n" +
		"no more it changes nothing and exits with 6; where there is no such run, with 5.\n\n" + selectionHelp + "\n\n" + runHelp
	c.Example = "  onward runs signal RUN approved --data '{\"by\": \"Ada\"}'"
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	c.Flags().StringVar(&key, "key", "", "idempotency key: a signal of that name with a key that came before counts once")
	return c
}

// signal sends a signal to a run.
func (k *client) signal(ctx context.Context, run, name string, data lang.Value, key string) (said router.Became, err error) {
	headers := map[string]string{"Content-Type": "application/json"}
	if key != "" {
		headers["Idempotency-Key"] = key
	}
	err = k.send(ctx, "/v1/runs/"+url.PathEscape(run)+"/signals/"+url.PathEscape(name), []byte(data.JSON()), headers, &said)
	return said, err
}

// signalled says what became of a signal.
func signalled(said router.Became) string {
	switch said.Became {
	case triggers.Repeated.String():
		return fmt.Sprintf("signal %s had come before to run %s, under the id %s; it counts once", said.Signal, said.Run, said.Key)
	case triggers.Accepted.String():
		return fmt.Sprintf("signal %s is journaled for run %s, under the id %s; what it did is not known yet: see onward runs explain %s", said.Signal, said.Run, said.Key, said.Run)
	}
	return fmt.Sprintf("signal %s is taken for run %s, under the id %s", said.Signal, said.Run, said.Key)
}
