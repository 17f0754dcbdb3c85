package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

func (p *program) send() *cobra.Command {
	k := &client{}
	var kind, source, id, subject, data, path string
	var wait patience
	c := &cobra.Command{
		Use: "send", Short: "Send an event to a running router's webhook.", Args: cobra.NoArgs,
		Long: "Send posts one CloudEvent and prints what the router did with it: the runs that it started or reached, or why no trigger takes it. With --wait, it\n" +
			"waits for the run that it started, and prints the run's result as run does; of several, each one's below its name. It exits with 1 when the run failed, with 3 when no trigger takes the event, and\n" +
			"with 4 when the result has not come by then.\n\n" +
			"An event with the source and id of one that came before starts nothing new.\n\n" + clientHelp,
		Example: "  onward send --type com.example.corpus.uploaded --data '{\"packages\": [\"net/http\"]}'\n" +
			"  onward send --type com.example.order --data @order.json --id order-17 --wait 30s",
		RunE: func(c *cobra.Command, _ []string) error {
			if kind == "" {
				return errors.New("--type is missing; say the event's type, such as com.example.corpus.uploaded")
			}
			v, err := dataFlag(c.Context(), "data", data)
			if err != nil {
				return err
			}
			if err := checkID(c); err != nil {
				return err
			}
			if id == "" {
				id = router.NewID()
			}
			h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": source, "Ce-Type": kind, "Ce-Time": time.Now().UTC().Format(time.RFC3339Nano), "Content-Type": "application/json"}
			if subject != "" {
				h["Ce-Subject"] = subject
			}
			if wait > 0 {
				h["Prefer"] = fmt.Sprintf("wait=%d", wait.seconds())
			}
			begin := time.Now()
			resp, err := k.do(c.Context(), "POST", path, []byte(v.JSON()), h)
			if c.Context().Err() != nil {
				return exitError{exitRun, fmt.Errorf("stopped after %s; the event was sent, and may have been taken: see onward events show %s, or send it again with --id %s --source %s: it counts once",
					time.Since(begin).Round(100*time.Millisecond), id, id, source)}
			}
			if err != nil {
				return exitError{exitRun, err}
			}
			defer resp.Body.Close()
			return p.sent(c.Context(), k, resp, begin, time.Duration(wait))
		},
	}
	clientFlags(c, k)
	c.Flags().StringVar(&kind, "type", "", "the event's type; it must be said")
	c.Flags().StringVar(&source, "source", "/onward/send", "the event's source")
	c.Flags().StringVar(&id, "id", "", "the event's id; default: a random one")
	c.Flags().StringVar(&subject, "subject", "", "the event's subject")
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	c.Flags().StringVar(&path, "path", "/events", "the webhook's path")
	c.Flags().Var(&wait, "wait", "how long to wait for the run's result, such as 30s; a number alone is seconds")
	p.completeFlags(c, k)
	return c
}

// An answer of a webhook is what it took of the events, and which runs those started.
type taken struct {
	Events []struct {
		Event, Taken, Note string
		Runs               []struct{ Run, Trigger string }
	}
}

// late says that a result has not come in time, and before that what its run waits for.
func (p *program) late(ctx context.Context, k *client, run string, wait time.Duration) error {
	var said router.Explanation
	if err := k.get(ctx, "/v1/runs/"+url.PathEscape(run)+"/explain", &said); err == nil && len(said.Reasons) > 0 {
		fmt.Fprintf(p.errs, "it is %s: %.500s\n", said.State, said.Reasons[0].Text)
	}
	return fmt.Errorf("no result within %s; follow it with onward runs watch %s", wait, run)
}

// sent prints the webhook's answer: what was taken, or the event of the run's end. Of several runs the webhook waits for none: each is asked for.
func (p *program) sent(ctx context.Context, k *client, resp *http.Response, begin time.Time, wait time.Duration) error {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return exitError{exitRun, fmt.Errorf("the answer ended early: %w; the same --id sends it again without harm", err)}
	}
	b = bytes.TrimSpace(b)
	if kind := resp.Header.Get("Ce-Type"); kind != "" {
		return p.ended(kind, b)
	}
	var said taken
	if json.Unmarshal(b, &said) != nil { // It is no webhook of ours.
		fmt.Fprintf(p.out, "%s\n", b)
		return nil
	}
	code := exitOK
	var failed, late error
	ended := []*router.Finished{}
	for _, t := range said.Events {
		if t.Taken == triggers.Unmatched.String() {
			code = exitUnmatched
		}
		if p.output != "json" {
			fmt.Fprintf(p.out, "event %s: %s\n", t.Event, strings.TrimSuffix(t.Taken+"; "+t.Note, "; "))
		}
		for _, run := range t.Runs {
			if p.output != "json" {
				fmt.Fprintf(p.out, "run %s of %s\n", run.Run, run.Trigger)
			}
			if wait <= 0 {
				continue
			}
			f, err := k.end(ctx, run.Run, begin.Add(wait))
			switch {
			case err != nil:
				return exitError{exitRun, fmt.Errorf("the event was taken, and the result of run %s cannot be asked for: %w", run.Run, err)}
			case f == nil && late == nil:
				late = p.late(ctx, k, run.Run, wait)
			case f == nil:
			default:
				ended = append(ended, f)
				if err := p.endOf(f); err != nil && failed == nil {
					failed = err
				}
			}
		}
	}
	if p.output == "json" {
		if err := p.sentJSON(b, wait, ended); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		return failed
	case late != nil:
		return exitError{exitWaited, late}
	case code != exitOK:
		return exitError{code, errSaid}
	}
	return nil
}

// sentJSON prints an answer, with how its runs ended where that was waited for.
func (p *program) sentJSON(answer []byte, wait time.Duration, ended []*router.Finished) error {
	if wait <= 0 {
		_, err := fmt.Fprintf(p.out, "%s\n", answer)
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(answer, &all); err != nil {
		return err
	}
	all["ended"] = ended
	return p.json(all)
}

// endOf prints how one of several runs ended; the error is of one that did not succeed.
func (p *program) endOf(f *router.Finished) error {
	switch {
	case f.Error == nil && p.output != "json":
		p.value(f.Result)
	case f.Error != nil:
		if p.output != "json" {
			fmt.Fprintln(p.out, f.Error.Value())
		}
		return exitError{exitRun, fmt.Errorf("run %s of %s %s: %w", f.ID, f.Trigger, f.State, f.Error)}
	}
	return nil
}

// end waits for a run's end until a time; nil is that it has not ended by then.
func (k *client) end(ctx context.Context, run string, until time.Time) (*router.Finished, error) {
	for {
		left := min(time.Until(until), 4*time.Minute) // Routers wait for five at most.
		if left <= 0 {
			return nil, nil
		}
		f := new(router.Finished)
		err := k.get(ctx, "/v1/runs/"+url.PathEscape(run)+"?wait="+url.QueryEscape(left.Round(time.Millisecond).String()), f)
		switch {
		case statusOf(err) == http.StatusNotFound && time.Until(until) > 0 && ctx.Err() == nil: // Its start is durable, and not folded yet.
			time.Sleep(20 * time.Millisecond)
		case err != nil:
			return nil, err
		case !f.Ended.IsZero():
			return f, nil
		}
	}
}

// ended prints the event of a run's end as run prints a result.
func (p *program) ended(kind string, data []byte) error {
	state := kind[strings.LastIndex(kind, ".")+1:]
	if state == "succeeded" || state == "skipped" {
		if v, err := lang.ParseValue(data); err == nil {
			p.value(v)
		} else { // It is no JSON, and goes as it came.
			fmt.Fprintf(p.out, "%s\n", data)
		}
		return nil
	}
	var said struct {
		Error *lang.Error `json:"error"`
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Error == nil {
		return exitError{exitRun, fmt.Errorf("the run %s, and the answer does not say why: %.200q; is it a router of this version?", state, data)}
	}
	return p.failure(state, said.Error)
}

// A patience is a flag that says how long somebody waits.
type patience time.Duration

func (p *patience) Set(text string) error {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		*p = patience(time.Duration(n) * time.Second)
		return nil
	}
	d, err := plugin.ParseDuration(text)
	if err != nil {
		return err
	}
	*p = patience(d)
	return nil
}

func (p *patience) String() string { return time.Duration(*p).String() }

func (p *patience) Type() string { return "duration" }

// seconds are whole ones, as the header has them: no less than was said.
func (p *patience) seconds() int64 { return int64((time.Duration(*p) + time.Second - 1) / time.Second) }
