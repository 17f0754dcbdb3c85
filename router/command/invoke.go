package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/onward-router/onward/config/lang"
	"github.com/spf13/cobra"
)

func (p *program) invoke() *cobra.Command {
	k := &client{}
	var data, id string
	var wait patience
	c := &cobra.Command{
		Use: "invoke FUNCTION", Short: "Call a function of a running router, outside of any flow.", Args: cobra.ExactArgs(1),
		Long: "Invoke has the router call a function: durably, with the function's retry and limits, and once for an --id however often it is said. It prints the run that the\n" +
			"call is, of the trigger " + lang.InvokePrefix + "FUNCTION: onward runs get, list, watch, explain, rerun and redrive are for it too. The function's onSuccess and onFailure are told\n" +
			"of its end. With --wait, it waits for the result and prints it, and exits with 4 when that has not come by then.\n\n" + clientHelp,
		Example: "  onward invoke count --data '{\"path\": \"a.txt\"}'\n  onward invoke count --data @input.json --id order-17 --wait 30s",
		RunE: func(c *cobra.Command, args []string) error {
			v, err := dataFlag(c.Context(), "data", data)
			if err != nil {
				return err
			}
			if err := checkID(c); err != nil {
				return err
			}
			if strings.ContainsFunc(id, unicode.IsControl) {
				return exitError{exitUsage, fmt.Errorf("--id %q has a control character; write letters, digits and signs", id)}
			}
			headers := map[string]string{"Content-Type": "application/json"}
			if id != "" {
				headers["Idempotency-Key"] = id
			}
			var said struct{ Run, Event string }
			if err := k.send(c.Context(), "/v1/functions/"+url.PathEscape(args[0])+"/invoke", []byte(v.JSON()), headers, &said); err != nil {
				return exitError{exitRun, err}
			}
			if wait > 0 {
				return p.waitForCall(c.Context(), k, args[0], said.Run, time.Duration(wait))
			}
			return p.print(map[string]string{"run": said.Run, "event": said.Event}, func(w io.Writer) {
				fmt.Fprintf(w, "run %s of %s%s\n", said.Run, lang.InvokePrefix, args[0])
			})
		},
	}
	clientFlags(c, k)
	c.ValidArgsFunction = once(p.functionsOf(k))
	c.Flags().StringVar(&data, "data", "", "the function's input: JSON, @FILE or - for standard input")
	c.Flags().StringVar(&id, "id", "", "names the call: the same id is the same call; default: a random one")
	c.Flags().Var(&wait, "wait", "how long to wait for the result, such as 30s; a number alone is seconds")
	return c
}

// checkID refuses an --id that names nothing: a variable that is not set looks so, and a random id in its place would make each repeat another one.
func checkID(c *cobra.Command) error {
	if f := c.Flags().Lookup("id"); f.Changed && f.Value.String() == "" {
		return exitError{exitUsage, errors.New("--id is empty; write one, or leave --id out for a random one")}
	}
	return nil
}

// waitForCall follows a run for a time, and prints its result.
func (p *program) waitForCall(ctx context.Context, k *client, function, run string, wait time.Duration) error {
	waiting, stop := context.WithTimeout(ctx, wait)
	defer stop()
	f, err := p.watchThere(waiting, k, run, function, idTime, false)
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded):
		return exitError{exitWaited, p.late(ctx, k, run, wait)}
	case err != nil:
		return err
	}
	return p.result(f, &hops{}, false)
}
