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
	"strings"

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
	if u, err := url.Parse(k.addr); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, misuse{fmt.Errorf("--addr %q is not an address of a router; write http://HOST:PORT", k.addr)}
	}
	for name, v := range headers {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, misuse{fmt.Errorf("%s %q cannot be sent; leave out line ends and other characters that do not show", strings.ToLower(strings.TrimPrefix(name, "Ce-")), v)}
		}
	}
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
		said.Error.Cure = "look whether --addr and --path are the router's, and of this version"
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
