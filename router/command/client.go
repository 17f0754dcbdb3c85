package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

// A client speaks to a running router.
type client struct{ addr, token, ca, cert, key string }

func clientFlags(c *cobra.Command, k *client) {
	f := c.PersistentFlags()
	def := cmp.Or(os.Getenv("ONWARD_ADDR"), "http://127.0.0.1:8080")
	f.StringVar(&k.addr, "addr", def, "the router's address, http:// or https:// (ONWARD_ADDR)")
	f.StringVar(&k.addr, "server", def, "another word for --addr")
	f.StringVar(&k.ca, "ca", os.Getenv("ONWARD_CA"), "authorities (PEM) of the router's certificate; default: the system's (ONWARD_CA)")
	f.StringVar(&k.cert, "cert", os.Getenv("ONWARD_CERT"), "certificate (PEM) to show to the router (ONWARD_CERT)")
	f.StringVar(&k.key, "key", os.Getenv("ONWARD_KEY"), "key of the certificate (PEM) (ONWARD_KEY)")
	_ = f.MarkHidden("server") // The flag is there.
	k.token = os.Getenv("ONWARD_TOKEN")
}

// http is the client for the router's address. A token goes over plain HTTP only where the address says so.
func (k *client) http() (*http.Client, error) {
	if k.ca+k.cert+k.key == "" {
		return http.DefaultClient, nil
	}
	if !strings.HasPrefix(k.addr, "https://") {
		return nil, fmt.Errorf("--ca, --cert and --key are for a router at https://, and the address is %s; write https:// in --addr", k.addr)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if k.ca != "" {
		text, err := os.ReadFile(k.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca %s holds no certificate; name a PEM file", k.ca)
		}
	}
	if k.cert+k.key != "" {
		pair, err := tls.LoadX509KeyPair(k.cert, k.key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w; name a certificate and its key, both PEM", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	return &http.Client{Transport: transport}, nil
}

func (k *client) do(ctx context.Context, method, path string, body []byte, headers map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(k.addr, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, misuse{fmt.Errorf("--addr: %w; write http://HOST:PORT", err)}
	}
	if k.token != "" {
		req.Header.Set("Authorization", "Bearer "+k.token)
	}
	for name, v := range headers {
		req.Header.Set(name, v)
	}
	c, err := k.http()
	if err != nil {
		return nil, misuse{err}
	}
	resp, err := c.Do(req)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("the router at %s had not answered yet: %w", k.addr, context.Cause(ctx))
	}
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, unreachable{fmt.Errorf("no router answers at %s: %w; start one with onward serve, or say --addr", k.addr, err)}
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, k.refused(resp)
	}
	return resp, nil
}

// A refusal is a router's answer that it does not do what it was asked for.
type refusal struct {
	error
	status int
	said   triggers.Refusal
}

// statusOf returns the status of a refusal; 0 when there is none.
func statusOf(err error) int {
	var r refusal
	errors.As(err, &r)
	return r.status
}

// refused is what a router that answered said.
func (k *client) refused(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var said triggers.Refusal
	if json.Unmarshal(b, &said) != nil || said.Error.Message == "" {
		said = triggers.Refuse(resp.StatusCode, string(bytes.TrimSpace(b)), "")
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		said.Error.Cure = "set ONWARD_TOKEN to the router's token"
	case resp.StatusCode == http.StatusNotFound && said.Error.Cure == "":
		said.Error.Cure = "see onward runs list, and that --addr and --path are the router's"
	}
	text := fmt.Sprintf("%s (%s)", said.Error.Message, resp.Status)
	if said.Error.Cure != "" {
		text += "; " + said.Error.Cure
	}
	return refusal{errors.New(text), resp.StatusCode, said}
}

// shows prints, as JSON, what the router says of the one thing that is named.
func (p *program) shows(k *client, path string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		var said json.RawMessage
		if err := k.get(c.Context(), path+url.PathEscape(args[0]), &said); err != nil {
			return exitError{exitRun, err}
		}
		return p.json(said)
	}
}

func (k *client) get(ctx context.Context, path string, into any) error {
	return k.call(ctx, "GET", path, nil, nil, into)
}

func (k *client) send(ctx context.Context, path string, body []byte, headers map[string]string, into any) error {
	return k.call(ctx, "POST", path, body, headers, into)
}

// call decodes an answer.
func (k *client) call(ctx context.Context, method, path string, body []byte, headers map[string]string, into any) error {
	resp, err := k.do(ctx, method, path, body, headers)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return k.decode(resp, into)
}

func (k *client) decode(resp *http.Response, into any) error {
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("the answer of %s cannot be read: %w; is it a router of this version?", k.addr, err)
	}
	return nil
}

const clientHelp = "The router is that of --addr, or else of ONWARD_ADDR. Its token, when it has one, is taken from ONWARD_TOKEN."

func (p *program) send() *cobra.Command {
	k := &client{}
	var kind, source, id, subject, data, path string
	var wait patience
	c := &cobra.Command{
		Use: "send", Short: "Send an event to a running router's webhook.", Args: cobra.NoArgs,
		Long: "Send posts one CloudEvent and prints what the router did with it: the runs that it started or reached, or why no trigger takes it. With --wait, it\n" +
			"waits for the run that it started, and prints the run's result as run does. It exits with 1 when the run failed, with 3 when no trigger takes the event, and\n" +
			"with 4 when the result has not come by then.\n\n" +
			"An event with the source and id of one that came before starts nothing new.\n\n" + clientHelp,
		Example: "  onward send --type com.example.corpus.uploaded --data '{\"packages\": [\"net/http\"]}'\n" +
			"  onward send --type com.example.order --data @order.json --id order-17 --wait 30s",
		RunE: func(c *cobra.Command, _ []string) error {
			if kind == "" {
				return errors.New("--type is missing; say the event's type, such as com.example.corpus.uploaded")
			}
			v, err := dataFlag(data)
			if err != nil {
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
			return p.sent(resp, time.Duration(wait))
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

// sent prints the webhook's answer: what was taken, or the event of the run's end.
func (p *program) sent(resp *http.Response, wait time.Duration) error {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return exitError{exitRun, fmt.Errorf("the answer ended early: %w; the same --id sends it again without harm", err)}
	}
	b = bytes.TrimSpace(b)
	if kind := resp.Header.Get("Ce-Type"); kind != "" {
		return p.ended(kind, b)
	}
	var said struct {
		Events []struct {
			Event, Taken, Note string
			Runs               []struct{ Run, Trigger string }
		}
	}
	err = json.Unmarshal(b, &said)
	if p.output == "json" || err != nil {
		fmt.Fprintf(p.out, "%s\n", b)
	}
	code := exitOK
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
			if wait > 0 {
				fmt.Fprintf(p.errs, "no result within %s; follow it with onward runs watch %s\n", wait, run.Run)
				code = exitWaited
			}
		}
	}
	if code != exitOK {
		return exitError{code, errSaid}
	}
	return nil
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
