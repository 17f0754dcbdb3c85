package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/onward-router/onward/config/plugin"
)

// Handshake has the far end asked before anything is sent there, by the validation request of CloudEvents web hooks 1.0 (section 4), and heeds what it says:
// how much it takes, and that it is gone.
type Handshake struct {
	Origin string `doc:"origin,value,required" help:"the name by which the far end knows this router, such as events.example.com"`
	Rate   int    `doc:"rate" help:"how many requests a minute are asked for; default: none are named"`
}

// Check reports what cannot be asked.
func (h *Handshake) Check() []plugin.Problem {
	var out []plugin.Problem
	if !isToken(h.Origin) {
		out = append(out, plugin.Problem{Path: []string{"origin"}, What: fmt.Sprintf("%q is not a name", h.Origin), Cure: "write events.example.com"})
	}
	if h.Rate < 0 {
		out = append(out, plugin.Problem{Path: []string{"rate"}, What: fmt.Sprintf("%d is not a number of requests a minute", h.Rate), Cure: "write 1 or more, or leave it out"})
	}
	return out
}

// Schema tells what Check refuses.
func (*Handshake) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"origin": plugin.Schema{"pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"}, "rate": plugin.Schema{"minimum": 0}}}
}

var (
	// errRefused is wrapped with why a far end has not agreed to be sent anything: it may yet.
	errRefused = errors.New("it does not agree to be sent events")
	// errGone is that a far end wants nothing any more.
	errGone = errors.New("it answers 410 Gone: it wants nothing any more")
)

// An agreement is what the far end has said. One asks at a time, and once it has agreed nobody does.
type agreement struct {
	turn   chan struct{}
	agreed bool // the turn guards it
}

// agree makes sure that the far end wants to be sent something.
func (k *sink) agree(ctx context.Context, client *http.Client) error {
	select {
	case k.agreement.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.agreement.turn }()
	if k.agreement.agreed {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, k.s.URL, http.NoBody)
	if err != nil {
		return err
	}
	h := k.s.Handshake
	req.Header.Set("WebHook-Request-Origin", h.Origin)
	if h.Rate > 0 {
		req.Header.Set("WebHook-Request-Rate", strconv.Itoa(h.Rate))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // What it says besides counts for nothing.
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusGone {
		return k.gone()
	}
	if who := resp.Header.Get("WebHook-Allowed-Origin"); who != h.Origin && who != "*" {
		return fmt.Errorf("%w: OPTIONS with WebHook-Request-Origin: %s is answered with %s and no WebHook-Allowed-Origin for it; let it be allowed there, or take handshake out", errRefused, h.Origin, resp.Status)
	}
	k.pace(resp.Header.Get("WebHook-Allowed-Rate"))
	k.agreement.agreed = true
	return nil
}

// pace heeds the rate that the far end allows; where it allows none by name, the one that was asked for.
func (k *sink) pace(allowed string) {
	n, err := strconv.Atoi(allowed)
	switch {
	case allowed == "*":
		return
	case err != nil || n < 1:
		n = k.s.Handshake.Rate
	}
	if n > 0 && k.host.Pace != nil {
		k.host.Pace(n)
	}
}

// gone has the function stopped, until people let it go on: what is for it is kept meanwhile.
func (k *sink) gone() error {
	slog.Error("a function is stopped: it answers 410 Gone, and is sent nothing more; resume it once it is back", "function", k.name, "host", k.url.Host)
	if k.host.Halt != nil {
		k.host.Halt(errGone.Error())
	}
	return errGone
}

// left forgets that the far end has agreed: it is gone.
func (k *sink) left() error {
	k.agreement.turn <- struct{}{}
	was := k.agreement.agreed
	k.agreement.agreed = false
	<-k.agreement.turn
	if !was { // Another request has heard it before.
		return errGone
	}
	return k.gone()
}
