package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

// A client speaks to a running router.
type client struct{ addr, token string }

func clientFlags(c *cobra.Command, k *client) {
	def := "http://127.0.0.1:8080"
	if v := os.Getenv("ONWARD_ADDR"); v != "" {
		def = v
	}
	c.PersistentFlags().StringVar(&k.addr, "addr", def, "the router's address (ONWARD_ADDR)")
	k.token = os.Getenv("ONWARD_TOKEN")
}

func (k *client) do(ctx context.Context, method, path string, body []byte, headers map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(k.addr, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if k.token != "" {
		req.Header.Set("Authorization", "Bearer "+k.token)
	}
	for name, v := range headers {
		req.Header.Set(name, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no router answers at %s: %w; start one with onward serve, or say --addr", k.addr, err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		var said struct{ Error, Cure string }
		if json.Unmarshal(b, &said) == nil && said.Error != "" {
			return nil, fmt.Errorf("%s (%s)", said.Error, resp.Status)
		}
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(b))
	}
	return resp, nil
}

func (k *client) get(ctx context.Context, path string, into any) error {
	resp, err := k.do(ctx, "GET", path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

func (p *program) send() *cobra.Command {
	k := &client{}
	var kind, source, id, subject, data, path string
	var wait int
	c := &cobra.Command{
		Use: "send", Short: "Send an event to a running router's webhook.", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v, err := dataFlag(data)
			if err != nil {
				return err
			}
			if id == "" {
				id = router.NewID()
			}
			h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": source, "Ce-Type": kind, "Content-Type": "application/json"}
			if subject != "" {
				h["Ce-Subject"] = subject
			}
			if wait > 0 {
				h["Prefer"] = fmt.Sprintf("wait=%d", wait)
			}
			resp, err := k.do(c.Context(), "POST", path, []byte(v.JSON()), h)
			if err != nil {
				return exitError{exitRun, err}
			}
			defer resp.Body.Close()
			_, err = io.Copy(p.out, resp.Body)
			fmt.Fprintln(p.out)
			if strings.HasSuffix(resp.Header.Get("Ce-Type"), ".failed") {
				return exitError{exitRun, errSaid}
			}
			return err
		},
	}
	clientFlags(c, k)
	c.Flags().StringVar(&kind, "type", "", "the event's type")
	c.Flags().StringVar(&source, "source", "/onward/send", "the event's source")
	c.Flags().StringVar(&id, "id", "", "the event's id; default: a random one")
	c.Flags().StringVar(&subject, "subject", "", "the event's subject")
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	c.Flags().StringVar(&path, "path", "/events", "the webhook's path")
	c.Flags().IntVar(&wait, "wait", 0, "seconds to wait for the run's result")
	_ = c.MarkFlagRequired("type") // The flag exists.
	return c
}

func (p *program) runs() *cobra.Command {
	k := &client{}
	c := &cobra.Command{Use: "runs", Short: "See and steer the runs of a running router."}
	clientFlags(c, k)
	c.AddCommand(p.runsList(k), p.runsGet(k), p.runsWatch(k), p.runsExplain(k), p.runsCancel(k), p.runsSignal(k))
	return c
}

func (p *program) runsList(k *client) *cobra.Command {
	var state, trigger string
	var limit int
	c := &cobra.Command{Use: "list", Short: "List runs, open ones first.", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var lines []router.RunLine
		q := url.Values{"state": {state}, "trigger": {trigger}, "limit": {fmt.Sprint(limit)}}
		if err := k.get(c.Context(), "/v1/runs?"+q.Encode(), &lines); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(lines, func(w io.Writer) {
			fmt.Fprintln(w, "RUN\tTRIGGER\tSTATE\tSTARTED\tCALLS\tOPEN")
			for _, l := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", l.Run, l.Trigger, l.State, l.Started.Local().Format(time.DateTime), l.Calls, l.Open)
			}
		})
	}}
	c.Flags().StringVar(&state, "state", "", "only runs in this state: running, ending, succeeded, failed, cancelled")
	c.Flags().StringVar(&trigger, "trigger", "", "only runs of this trigger")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return c
}

func (p *program) runsGet(k *client) *cobra.Command {
	return &cobra.Command{Use: "get RUN", Short: "Print what a run is doing, or how it ended.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		resp, err := k.do(c.Context(), "GET", "/v1/runs/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return exitError{exitRun, err}
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		var pretty bytes.Buffer
		if json.Indent(&pretty, b, "", "  ") == nil {
			b = pretty.Bytes()
		}
		_, err = p.out.Write(b)
		return err
	}}
}

func (p *program) runsWatch(k *client) *cobra.Command {
	return &cobra.Command{Use: "watch RUN", Short: "Follow a run until it has ended.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		resp, err := k.do(c.Context(), "GET", "/v1/runs/"+url.PathEscape(args[0])+"/watch", nil, nil)
		if err != nil {
			return exitError{exitRun, err}
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 32<<20)
		name := ""
		for lines.Scan() {
			line := lines.Text()
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			} else if v, ok := strings.CutPrefix(line, "data: "); ok {
				fmt.Fprintf(p.out, "%-14s %s\n", name, v)
			}
		}
		return lines.Err()
	}}
}

func (p *program) runsExplain(k *client) *cobra.Command {
	return &cobra.Command{Use: "explain RUN", Short: "Say why a run is not further.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		var said struct {
			Run     string   `json:"run"`
			Explain []string `json:"explain"`
		}
		if err := k.get(c.Context(), "/v1/runs/"+url.PathEscape(args[0])+"/explain", &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.print(said, func(w io.Writer) {
			for _, line := range said.Explain {
				fmt.Fprintln(w, line)
			}
		})
	}}
}

func (p *program) runsCancel(k *client) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "cancel RUN", Short: "Cancel a run.", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		resp, err := k.do(c.Context(), "POST", "/v1/runs/"+url.PathEscape(args[0])+"/cancel?reason="+url.QueryEscape(reason), nil, nil)
		if err != nil {
			return exitError{exitRun, err}
		}
		return resp.Body.Close()
	}}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}

func (p *program) runsSignal(k *client) *cobra.Command {
	var data, key string
	c := &cobra.Command{Use: "signal RUN NAME", Short: "Send a signal to a run.", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
		v, err := dataFlag(data)
		if err != nil {
			return err
		}
		headers := map[string]string{"Content-Type": "application/json"}
		if key != "" {
			headers["Idempotency-Key"] = key
		}
		resp, err := k.do(c.Context(), "POST", "/v1/runs/"+url.PathEscape(args[0])+"/signals/"+url.PathEscape(args[1]), []byte(v.JSON()), headers)
		if err != nil {
			return exitError{exitRun, err}
		}
		return resp.Body.Close()
	}}
	c.Flags().StringVar(&data, "data", "", "JSON, @FILE or - for standard input")
	c.Flags().StringVar(&key, "key", "", "idempotency key: a signal with a key that came before counts once")
	return c
}
