package openwhisk

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
	"github.com/onward-router/onward/sinks/http/contract"
)

// A runtime is given its code once in a life, and then runs one call at a time.
//
// A life ends unseen, between two calls: what tells is the connection. Over one that the code did not go over nothing is run before the runtime was given its
// code again, which one that has it refuses. For a runtime that is asked to run before may answer nothing ever after.
type runtime struct {
	*asking
	host      string
	init, run *url.URL
	held      *client.Hold
	turn      chan struct{} // has one while the runtime is given its code
	given     atomic.Bool   // the code, over a connection that was open then
}

func newRuntime(k *asking) (sinks.Sink, error) {
	base, err := url.Parse(strings.TrimRight(k.s.Runtime, "/"))
	if err != nil {
		return nil, err
	}
	return &runtime{asking: k, host: base.Host, init: base.JoinPath("init"), run: base.JoinPath("run"), held: client.NewHold(), turn: make(chan struct{}, 1)}, nil
}

// Close breaks off what is under way, and ends the connections.
func (k *runtime) Close() error {
	k.held.Close()
	k.clients.Close()
	return nil
}

// Deliver runs each. One that is given up is not broken off: its room is free when the runtime has let go of it.
func (k *runtime) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	sinks.Each(deliveries, func(d *sinks.Delivery) sinks.Result {
		ended := func() sinks.Result { return sinks.Ended(d.Context, "no answer from the runtime at "+k.host) }
		if d.Context.Err() != nil {
			return ended()
		}
		params, wrong := k.s.params(d.Event())
		if wrong != nil {
			return sinks.Fail(wrong)
		}
		r := k.held.Whole(d, func(ctx context.Context) sinks.Result { return k.call(ctx, d, params) }, ended)
		if !d.Invoke && r.Verdict == sinks.Completed && r.Completion.Err == nil {
			return sinks.Accept()
		}
		return r
	})
}

// call runs one: a second time only where the first was not begun.
func (k *runtime) call(ctx context.Context, d *sinks.Delivery, params []byte) sinks.Result {
	for give := !k.given.Load(); ; give = true {
		if give {
			if r, ok := k.give(ctx); !ok {
				return r
			}
		}
		a, err := k.post(ctx, k.run, k.question(d, params), !give)
		switch {
		case errors.Is(err, errFresh):
			continue
		case err != nil:
			k.given.Store(false)
			return k.clients.Unanswered(k.host, err)
		}
		r, is := ran(a)
		if a.Code != http.StatusOK {
			k.given.Store(false)
		}
		switch {
		case is:
			return r
		case give: // It has its code, and does not run it.
			return sinks.Again(0, &sinks.Error{Type: "runtime_not_ready", Message: "the runtime runs nothing more: " + a.Failure().Message + "; start it again", Class: "platform"})
		}
	}
}

// question is the body of a run.
func (k *runtime) question(d *sinks.Delivery, params []byte) []byte {
	until, ok := d.Context.Deadline()
	if !ok {
		until = time.Now().Add(unbounded)
	}
	namespace := map[bool]string{true: "onward", false: k.s.Namespace}[k.s.Namespace == "_"]
	id := activation(d.ID())
	meta, _ := json.Marshal(map[string]string{ // Texts marshal.
		"namespace": namespace, "action_name": "/" + namespace + "/" + k.s.Action, "activation_id": id, "transaction_id": id,
		"deadline": strconv.FormatInt(until.UnixMilli(), 10), // A text: the runtimes make variables of all but value.
	})
	out := append(make([]byte, 0, len(params)+len(meta)+16), `{"value":`...)
	out = append(append(out, params...), ',')
	return append(out, meta[1:]...)
}

// unbounded is how long an action has that is told no time.
const unbounded = 24 * time.Hour

// errFresh is that of a request which was not sent, since a new connection would have carried it.
var errFresh = errors.New("the connection is a new one")

// post asks. reused: only over a connection that was used before; else the error is errFresh, and nothing was sent.
func (k *runtime) post(ctx context.Context, to *url.URL, body []byte, reused bool) (*contract.Answer, error) {
	if !reused {
		return k.send(ctx, http.MethodPost, to, bytes.NewReader(body), nil)
	}
	var fresh atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { fresh.Store(!i.Reused) }})
	open := func() (io.ReadCloser, error) { return &guarded{bytes.NewReader(body), &fresh}, nil }
	return k.send(ctx, http.MethodPost, to, http.NoBody, func(req *http.Request) (err error) {
		req.ContentLength, req.GetBody = int64(len(body)), open
		req.Body, err = open()
		return err
	})
}

// guarded is a body that a new connection does not get.
type guarded struct {
	*bytes.Reader
	fresh *atomic.Bool
}

// Read refuses a new connection.
func (g *guarded) Read(p []byte) (int, error) {
	if g.fresh.Load() {
		return 0, errFresh
	}
	return g.Reader.Read(p)
}

// WriteTo refuses a new connection.
func (g *guarded) WriteTo(w io.Writer) (int64, error) {
	if g.fresh.Load() {
		return 0, errFresh
	}
	return g.Reader.WriteTo(w)
}

func (*guarded) Close() error { return nil }

// give gives the runtime its code; one that has it says so. false comes with what becomes of the call.
func (k *runtime) give(ctx context.Context) (sinks.Result, bool) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return k.clients.Unanswered(k.host, ctx.Err()), false
	}
	defer func() { <-k.turn }()
	body, err := k.s.code()
	if err != nil {
		return k.clients.Unanswered(k.host, fmt.Errorf("%w: %w", client.ErrUnready, err)), false
	}
	a, err := k.post(ctx, k.init, body, false)
	if err != nil {
		return k.clients.Unanswered(k.host, err), false
	}
	if a.Code == http.StatusOK || a.Code == http.StatusForbidden {
		k.given.Store(true)
		return sinks.Result{}, true
	}
	said := a.Failure()
	switch {
	case strings.Contains(said.Message, "not ready"):
		return sinks.Again(0, &sinks.Error{Type: "runtime_not_ready", Message: "the runtime takes no code: " + said.Message + "; start it again", Class: "platform"}), false
	case a.Code == http.StatusBadGateway || a.Code == http.StatusInternalServerError || a.Code == http.StatusBadRequest:
		return sinks.CompleteError(&sinks.Error{Type: "bad_code", Message: "the runtime refuses the code: " + said.Message, Class: "function", Data: said.Data}), false
	}
	return refused(a), false
}

// maxCode is as much code as OpenWhisk takes.
const maxCode = 48 << 20

// code is the body by which a runtime is given the action.
func (s *Settings) code() ([]byte, error) {
	text := []byte(s.Code.Text)
	if s.Code.File != "" {
		f, err := os.Open(s.Code.File)
		if err != nil {
			return nil, fmt.Errorf("code: %w", err)
		}
		defer f.Close()
		if text, err = io.ReadAll(io.LimitReader(f, maxCode+1)); err != nil {
			return nil, fmt.Errorf("code: %w", err)
		}
	}
	switch {
	case len(text) == 0 || len(text) > maxCode:
		return nil, fmt.Errorf("code: %s has %d bytes or more; code has 1 to %d", s.Code.File, len(text), maxCode)
	case s.Binary:
		text = []byte(base64.StdEncoding.EncodeToString(text))
	case !utf8.Valid(text):
		return nil, fmt.Errorf("code: %s is no text; say binary: true of a zip, a jar or a program", s.Code.File)
	}
	env, err := read(s.Env)
	if err != nil {
		return nil, err
	}
	main := s.Main
	if main == "" {
		main = "main"
	}
	return json.Marshal(map[string]any{"value": map[string]any{"name": s.Action, "main": main, "code": string(text), "binary": s.Binary, "env": env}})
}
