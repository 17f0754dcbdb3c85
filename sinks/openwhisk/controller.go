package openwhisk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/contract"
)

// A controller asks an OpenWhisk to run its action, without waiting, and then for the activation's record until that is there. No connection is held meanwhile.
type controller struct {
	*asking
	action, activations *url.URL
	poll                time.Duration
	looks               chan struct{} // has one for each question for a record
}

// How a result is asked for.
const (
	firstLook = 50 * time.Millisecond // after which it is asked for first; then after twice that, and so on
	pollUsual = time.Second
	looksMost = 16 // at a time, so that a burst of calls is no burst of questions
)

func newController(k *asking, concurrency int) (sinks.Sink, error) {
	base, err := url.Parse(strings.TrimRight(k.s.Host, "/"))
	if err != nil {
		return nil, err
	}
	c := &controller{asking: k, poll: k.s.Poll.D(), looks: make(chan struct{}, min(max(concurrency, 1), looksMost))}
	if c.poll == 0 {
		c.poll = pollUsual
	}
	at := base.JoinPath("api", "v1", "namespaces", url.PathEscape(k.s.Namespace))
	c.action, c.activations = at.JoinPath("actions"), at.JoinPath("activations")
	for _, part := range strings.Split(k.s.Action, "/") {
		c.action = c.action.JoinPath(url.PathEscape(part))
	}
	return c, nil
}

// Close ends the connections.
func (c *controller) Close() error {
	c.clients.Close()
	return nil
}

// Deliver asks for each.
func (c *controller) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	sinks.Each(deliveries, c.deliver)
}

func (c *controller) deliver(d *sinks.Delivery) sinks.Result {
	params, wrong := c.s.params(d.Event())
	if wrong != nil {
		return sinks.Fail(wrong)
	}
	to := *c.action
	to.RawQuery = "blocking=false"
	a, err := c.send(d.Context, http.MethodPost, &to, bytes.NewReader(params), func(req *http.Request) error {
		req.Header.Set("X-Request-Id", activation(d.ID())) // What OpenWhisk's logs name the request by.
		return c.prove(req)
	})
	switch {
	case err != nil && d.Context.Err() != nil:
		return sinks.Ended(d.Context, "no answer from "+c.action.Host)
	case err != nil:
		return c.clients.Unanswered(c.action.Host, err)
	case a.Code != http.StatusAccepted:
		return refused(a)
	case !d.Invoke:
		return sinks.Accept()
	}
	id := activationOf(a)
	if id == "" {
		return unread("202 without an activationId; is that OpenWhisk's address?")
	}
	return c.result(d, id)
}

// prove adds the key.
func (c *controller) prove(req *http.Request) error {
	if c.s.Auth == nil {
		return nil
	}
	key, err := c.s.Auth.Read()
	if err != nil {
		return err
	}
	user, password, ok := strings.Cut(key, ":")
	if !ok {
		return errors.New("auth: the key is USER:PASSWORD, and has no colon")
	}
	req.SetBasicAuth(user, password)
	return nil
}

var isActivation = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// activationOf is the id of the activation that an answer is about; empty if it says none.
func activationOf(a *contract.Answer) string {
	var said struct {
		ID string `json:"activationId"`
	}
	if v, err := lang.ParseValue(a.Body); err == nil {
		_ = v.Decode(&said) // What is no object says nothing.
	}
	for _, id := range []string{said.ID, a.Header.Get("X-Openwhisk-Activation-Id")} {
		if isActivation.MatchString(id) {
			return id
		}
	}
	return ""
}

// result asks for an activation's record until it is there. The action is at work, or done: whatever keeps the record from coming, it is not started again.
func (c *controller) result(d *sinks.Delivery, id string) sinks.Result {
	last := "it is not there yet"
	for pause := min(firstLook, c.poll); ; pause = min(2*pause, c.poll) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-d.Context.Done():
			timer.Stop()
			return sinks.Ended(d.Context, fmt.Sprintf("no result of activation %s (%s)", id, last))
		}
		a, err := c.look(d.Context, id)
		switch {
		case err != nil && d.Context.Err() != nil: // Of which the next round tells.
		case err != nil:
			r := c.clients.Unanswered(c.activations.Host, err)
			if last = r.Err.Message; r.Verdict == sinks.Failed {
				return r
			}
		case len(a.Body) > contract.MaxResponse:
			return tooLarge()
		case a.Code == http.StatusOK:
			return recorded(a.Body)
		case a.Code == http.StatusNotFound:
			last = "it is not there yet"
		case unproven(a.Code):
			r := a.Again()
			last, pause = r.Err.Message, max(pause, min(r.After, time.Minute))
		default:
			return refused(a)
		}
	}
}

// look asks for a record once.
func (c *controller) look(ctx context.Context, id string) (*contract.Answer, error) {
	select {
	case c.looks <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.looks }()
	return c.send(ctx, http.MethodGet, c.activations.JoinPath(id), nil, c.prove)
}

// Probe asks whether the action is there, and the key good.
func (c *controller) Probe(ctx context.Context) (string, error) {
	a, err := c.send(ctx, http.MethodGet, c.action, nil, c.prove)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s does not answer: %w; is it up, and host right?", c.action.Host, err)
	case a.Code == http.StatusUnauthorized, a.Code == http.StatusForbidden:
		return "", fmt.Errorf("OpenWhisk refuses the key (status %d); look at auth", a.Code)
	case a.Code == http.StatusNotFound:
		return "", fmt.Errorf("there is no action %q in namespace %q; create it (wsk action create), or mend the name", c.s.Action, c.s.Namespace)
	case a.Code != http.StatusOK:
		return "", fmt.Errorf("%s answers with %s; is that OpenWhisk's address?", c.action.Host, a.Brief(a.Body))
	}
	return "action " + c.s.Action, nil
}
