package command

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

const steered = "It outlives restarts, and holds at all routers that share the journal, within two seconds.\n\n"

func (p *program) functions() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "functions", Short: "See, pause and limit the functions of a running router.", Long: "See, pause and limit the functions of a running router.\n\n" + clientHelp,
		Example: "  onward functions list\n  onward functions pause charge --reason \"a bad deploy\"",
	}
	clientFlags(c, k)
	list := &cobra.Command{Use: "list", Short: "List functions, with their states and queues.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var said router.FunctionList
		if err := k.get(c.Context(), "/v1/functions", &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "FUNCTION\tSTATE\tWORKING\tWAITING\tHELD\tENDED\tFAILED\tAT MOST\tSINK\tWHY")
			for _, l := range said.Functions {
				state, why, most := l.State, l.Error, strconv.Itoa(l.Concurrency)
				if l.Paused != nil {
					state, why = "paused", pausedWords(l.Paused)
				}
				if l.Limit > 0 {
					most = fmt.Sprintf("%d of %d", l.Limit, l.Concurrency)
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", l.Function, state, l.InFlight, l.Queued, l.Held, l.Ended, l.Failed, most, l.Sink, why)
			}
		})
	}}
	list.Long = "List prints the functions of the router that is asked: up, throttled, down, stopped (by concurrency: 0) or paused; how many calls are at work, wait in the queue, are held back by a pause, have\nended since the router began, and have failed of those.\n\n" + clientHelp
	list.Example = "  onward functions list\n  onward functions list -o json"
	pause := p.halt(k, "function", true, "Send nothing more to a function for a while.",
		"Pause keeps calls of a function from being sent. What is at work ends, and counts; deadlines of steps count, maxAge does not. Explain says that it is paused.\n")
	resume := p.halt(k, "function", false, "Send to a function again that is paused, or has asked for a pause.",
		"Resume sends what a pause has held back, the oldest first. A function that has asked for a pause itself (Retry-After), or is down, is sent one call at once, and the others\n"+
			"once that is answered.\n")
	limit := &cobra.Command{Use: "limit FUNCTION N", Short: "Send a function at most so many calls at a time.", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
		if n, err := strconv.Atoi(args[1]); err != nil || n < 0 {
			return fmt.Errorf("a limit of %q; write a number from 1, or 0 for what the documents say", args[1])
		}
		var said router.Steered
		if err := k.send(c.Context(), "/v1/functions/"+url.PathEscape(args[0])+"/limit?limit="+args[1], nil, nil, &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			if said.Limit == 0 {
				fmt.Fprintf(w, "function %s has the concurrency of the documents\n", said.Function)
				return
			}
			fmt.Fprintf(w, "each router sends function %s at most %d at a time\n", said.Function, said.Limit)
		})
	}}
	limit.Long = "Limit bounds how many calls of a function each router has at work at once, below the concurrency of the documents; 0 takes the limit away. " + steered + clientHelp
	limit.Example = "  onward functions limit charge 4\n  onward functions limit charge 0"
	c.AddCommand(list, pause, resume, limit)
	for _, sub := range []*cobra.Command{pause, resume, limit} {
		sub.ValidArgsFunction = once(p.functionsOf(k))
	}
	return c
}

func (p *program) triggers() *cobra.Command {
	k := &client{}
	c := &cobra.Command{
		Use: "triggers", Short: "See, pause and test the triggers of a running router.", Long: "See, pause and test the triggers of a running router.\n\n" + clientHelp,
		Example: "  onward triggers list\n  onward triggers test --type com.example.order --data '{\"amount\": 7}'",
	}
	clientFlags(c, k)
	list := &cobra.Command{Use: "list", Short: "List triggers.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var said router.TriggerList
		if err := k.get(c.Context(), "/v1/triggers", &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			fmt.Fprintln(w, "TRIGGER\tTENANT\tSTATE\tFILTERS\tDEFINITION")
			for _, l := range said.Triggers {
				state := "on"
				if l.Paused != nil {
					state = "paused " + pausedWords(l.Paused)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", l.Trigger, l.Tenant, state, l.Filters, l.Digest)
			}
		})
	}}
	list.Long = "List prints the triggers in force, and which of them are paused.\n\n" + clientHelp
	list.Example = "  onward triggers list\n  onward triggers list -o json"
	pause := p.halt(k, "trigger", true, "Let nothing that a trigger's runs call be sent for a while.",
		"Pause keeps what runs of a trigger call, and their destinations, from being sent. Its events are taken as ever and wait, as runs that have begun, until limits.runs,\n"+
			"limits.steps or limits.bytes refuse more. What is at work ends, and counts; deadlines count.\n")
	resume := p.halt(k, "trigger", false, "Let a paused trigger's runs go on.", "Resume sends what a pause has held back, the oldest first.\n")
	c.AddCommand(list, pause, resume, p.triggersTest(k))
	p.completeFlags(c, k)
	for _, sub := range []*cobra.Command{pause, resume} {
		sub.ValidArgsFunction = once(p.ofTriggers(k, nameOf))
	}
	return c
}

// halt is the command that pauses or resumes a function or a trigger.
func (p *program) halt(k *client, kind string, pause bool, short, long string) *cobra.Command {
	var by, reason string
	verb, said := "resume", "goes on"
	if pause {
		verb, said = "pause", "is paused"
	}
	c := &cobra.Command{Use: verb + " " + strings.ToUpper(kind), Short: short, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if by == "" {
			by = whoami()
		}
		q := url.Values{"by": {by}, "reason": {reason}}
		var x router.Steered
		if err := k.send(c.Context(), "/v1/"+kind+"s/"+url.PathEscape(args[0])+"/"+verb+"?"+q.Encode(), nil, nil, &x); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(x, func(w io.Writer) { fmt.Fprintf(w, "%s %s %s\n", kind, x.Function+x.Trigger, said) })
	}}
	c.Long = long + steered + clientHelp
	c.Example = "  onward " + kind + "s " + verb + " " + strings.ToUpper(kind)
	if pause {
		c.Flags().StringVar(&reason, "reason", "", "why, shown with it")
	}
	byFlag(c, &by)
	return c
}

// pausedWords say since when, by whom and why.
func pausedWords(x *router.Pause) string {
	words := "since " + when(x.Since)
	if x.By != "" {
		words += ", by " + x.By
	}
	if x.Reason != "" {
		words += ": " + x.Reason
	}
	return words
}

func (p *program) triggersTest(k *client) *cobra.Command {
	var kind, source, id, subject, data string
	c := &cobra.Command{Use: "test [FILE|-]", Short: "Ask every trigger whether it would take an event, and if not, why.", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if (len(args) == 0) == (kind == "") {
			return errors.New("say which event: a file with one as JSON, - for standard input, or --type and what send takes")
		}
		var body []byte
		var err error
		switch {
		case len(args) == 0:
			var v lang.Value
			if v, err = dataFlag(c.Context(), "data", data); err != nil {
				return err
			}
			e := map[string]any{"specversion": "1.0", "id": id, "source": source, "type": kind, "time": time.Now().UTC(), "datacontenttype": "application/json", "data": v}
			if subject != "" {
				e["subject"] = subject
			}
			body = []byte(lang.Of(e).JSON())
		case args[0] == "-":
			body, err = readInput(c.Context(), os.Stdin)
		default:
			body, err = os.ReadFile(args[0])
		}
		if err != nil {
			return err
		}
		var tried router.TestedEvent
		if err := k.send(c.Context(), "/v1/events/test", body, map[string]string{"Content-Type": "application/cloudevents+json"}, &tried); err != nil {
			return exitError{exitRun, err}
		}
		return p.tested(tried)
	}}
	c.Long = "Test asks every trigger what it would make of an event, and starts nothing: taken, with the id of the run, or the filter that says no, and why. It exits with 3\n" +
		"when none takes it.\n\n" + clientHelp
	c.Example = "  onward triggers test order.json\n  onward triggers test --type com.example.order --data '{\"amount\": 7}'"
	c.Flags().StringVar(&kind, "type", "", "the event's type")
	c.Flags().StringVar(&source, "source", "/onward/send", "the event's source")
	c.Flags().StringVar(&id, "id", "test", "the event's id")
	c.Flags().StringVar(&subject, "subject", "", "the event's subject")
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	return c
}

// as says which of the events that a trigger awaits one is.
func as(name string) string {
	if name == "" {
		return ""
	}
	return "as " + name + "; "
}

// quotedKeys are the first of some keys, and how many there are behind them.
func quotedKeys(keys []string) string {
	const most = 10
	quoted := make([]string, 0, most)
	for _, key := range keys[:min(len(keys), most)] {
		quoted = append(quoted, strconv.Quote(key))
	}
	said := strings.Join(quoted, ", ")
	if rest := len(keys) - len(quoted); rest > 0 {
		said += fmt.Sprintf(" and %d more", rest)
	}
	return said
}

func (p *program) tested(tried router.TestedEvent) error {
	taken := false
	for _, x := range tried.Triggers {
		taken = taken || x.Taken
	}
	err := p.print(tried, func(w io.Writer) {
		fmt.Fprintln(w, "TRIGGER\tTAKES IT\tWHY")
		for _, x := range tried.Triggers {
			switch {
			case !x.Taken:
				fmt.Fprintf(w, "%s\tno\t%s\n", x.Trigger, x.Why)
			case len(x.Keys) > 0:
				fmt.Fprintf(w, "%s\tyes\t%sits keys are %s: of each it joins the run that gathers, or opens one\n", x.Trigger, as(x.As), quotedKeys(x.Keys))
			case x.As != "" || x.Key != "" && x.Run == "":
				fmt.Fprintf(w, "%s\tyes\t%sits key is %s: it joins the run that gathers for that, or opens one\n", x.Trigger, as(x.As), strconv.Quote(x.Key))
			case x.Paused:
				fmt.Fprintf(w, "%s\tyes\trun %s; the trigger is paused, and it would wait\n", x.Trigger, x.Run)
			default:
				fmt.Fprintf(w, "%s\tyes\trun %s\n", x.Trigger, x.Run)
			}
		}
	})
	if err == nil && !taken {
		return exitError{exitUnmatched, errSaid}
	}
	return err
}
