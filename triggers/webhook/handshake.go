package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

// Handshake says who is told that he may send here, by the validation request of CloudEvents web hooks 1.0 (section 4). It proves nothing: that is auth's.
type Handshake struct {
	Origins   []string `doc:"origins,list" help:"who may send, by the name in WebHook-Request-Origin: api.example.com, or *.example.com; default: everybody"`
	Callbacks []string `doc:"callbacks,list" help:"hosts that are also told by a call of the WebHook-Request-Callback that they ask for, over https; default: none"`
}

// Check reports names that are none.
func (h *Handshake) Check() []plugin.Problem {
	var out []plugin.Problem
	for key, list := range map[string][]string{"origins": h.Origins, "callbacks": h.Callbacks} {
		for i, name := range list {
			if !isOrigin(strings.TrimPrefix(name, "*.")) {
				out = append(out, plugin.Problem{Path: []string{key, fmt.Sprint(i)}, What: fmt.Sprintf("%q is not a name", name), Cure: "write api.example.com or *.example.com"})
			}
		}
	}
	return out
}

// Schema tells what Check refuses.
func (*Handshake) Schema() plugin.Schema {
	names := plugin.Schema{"anyOf": []any{
		plugin.Schema{"type": "string", "pattern": originPattern}, plugin.Schema{"type": "array", "items": plugin.Schema{"type": "string", "pattern": originPattern}},
	}}
	return plugin.Schema{"properties": plugin.Schema{"origins": names, "callbacks": names}}
}

const originPattern = `^([*][.])?[A-Za-z0-9._-]{1,253}$`

// isOrigin reports a name as DNS has them.
func isOrigin(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// isNamed reports whether a name is in a list.
func isNamed(list []string, name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.ContainsFunc(list, func(x string) bool {
		end, many := strings.CutPrefix(strings.ToLower(x), "*")
		return name == end || many && strings.HasSuffix(name, end) && len(name) > len(end)
	})
}

// welcomes reports whether an origin may send.
func (w *Webhook) welcomes(origin string) bool {
	return isOrigin(origin) && (w.s.Handshake == nil || len(w.s.Handshake.Origins) == 0 || isNamed(w.s.Handshake.Origins, origin))
}

// allowedRate is how much is taken in a minute, as the header says it.
func (w *Webhook) allowedRate() string {
	if w.place.PerMinute == 0 {
		return "*"
	}
	return strconv.Itoa(w.place.PerMinute)
}

// handshake answers the validation request: those whom the settings name may send, who prove who they are. It says nothing to browsers.
func (w *Webhook) handshake(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Allow", "POST, OPTIONS")
	origin := r.Header.Get("WebHook-Request-Origin")
	switch {
	case origin == "":
	case !w.welcomes(origin):
		refuse(rw, http.StatusForbidden, "this origin may not send here", "name it in handshake.origins of the source", 0)
		return
	default:
		rw.Header().Set("WebHook-Allowed-Origin", origin)
		rw.Header().Set("WebHook-Allowed-Rate", w.allowedRate())
		if back := r.Header.Get("WebHook-Request-Callback"); back != "" {
			w.callBack(origin, back)
		}
	}
	rw.WriteHeader(http.StatusNoContent)
}

const (
	callbackMost     = 2048 // bytes of an address
	callbacks        = 4    // at a time; more are left out, since who asks has his answer anyhow
	callbackPatience = 10 * time.Second
)

// callBack tells an origin by the address that it has given that it may send. The address is a stranger's: its host has to be named in the settings, egress has
// to let it, and what is answered there, a redirect too, is not looked at.
func (w *Webhook) callBack(origin, address string) {
	u, err := url.Parse(address)
	if err != nil || len(address) > callbackMost || u.Scheme != "https" || u.User != nil || w.s.Handshake == nil || !isNamed(w.s.Handshake.Callbacks, u.Hostname()) {
		slog.Info("source: a callback is not called: its host is not named in handshake.callbacks", "source", w.name)
		return
	}
	select {
	case w.calling <- struct{}{}:
	default:
		slog.Info("source: a callback is not called: others are being called", "source", w.name)
		return
	}
	w.aside(func() {
		defer func() { <-w.calling }()
		ctx, cancel := context.WithTimeout(w.life, callbackPatience)
		defer cancel()
		if err := w.tell(ctx, origin, u); err != nil {
			slog.Warn("source: a callback has failed", "source", w.name, "host", u.Host, "error", err)
		}
	})
}

func (w *Webhook) tell(ctx context.Context, origin string, to *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("WebHook-Allowed-Origin", origin)
	req.Header.Set("WebHook-Allowed-Rate", w.allowedRate())
	resp, err := w.caller().Do(req)
	if err != nil {
		if ue, is := err.(*url.Error); is { // The address has a key of the other side's in it.
			err = ue.Err
		}
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close() // Whatever it says.
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// newCaller makes the client of callbacks.
func (w *Webhook) newCaller() *http.Client {
	return &http.Client{
		Transport:     w.place.Egress.Guard(&http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: callbackPatience, MaxResponseHeaderBytes: 64 << 10}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
