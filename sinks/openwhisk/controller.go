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
	told                bool          // user events say when results are there
	looks               chan struct{} // has one for each question for a record
}

// How a result is asked for.
const (
	firstLook = 50 * time.Millisecond // after which it is asked for first; then after twice that, and so on
	pollUsual = time.Second
	pollTold  = 30 * time.Second // with user events
	newsPause = time.Second      // between two questions about one activation, of those that events lead to, but for the first
	looksMost = 16               // at a time, so that a burst of calls is no burst of questions
)

func newController(k *asking, concurrency int) (sinks.Sink, error) {
	base, err := url.Parse(strings.TrimRight(k.s.Host, "/"))
	if err != nil {
		return nil, err
	}
	c := &controller{asking: k, poll: k.s.Poll.D(), told: k.s.Events, looks: make(chan struct{}, min(max(concurrency, 1), looksMost))}
	switch {
	case c.poll > 0:
	case c.told:
		c.poll = pollTold
	default:
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

// Fetches says that results are asked for by the ids of activations.
func (c *controller) Fetches() string { return "activation" }

func (c *controller) deliver(d *sinks.Delivery) sinks.Result {
	if d.Ticket != "" {
		if !isActivation.MatchString(d.Ticket) { // Another sink has told it, before the documents were changed.
			return sinks.Fail(&sinks.Error{Type: "bad_ticket", Message: fmt.Sprintf("%q is no id of an activation: the call was made by another sink, and is not made again", d.Ticket), Class: "platform"})
		}
		return c.result(d, d.Ticket, 0)
	}
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
	if d.Took != nil {
		d.Took(id)
	}
	return c.result(d, id, firstLook)
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

// A pace is when an activation's record is asked for: after pauses that grow, and when an event says that it is there. After the first event they grow anew, for it
// may be ahead of the record; those that come behind it, which anybody may have made, shorten pauses to newsPause and no more, however many come.
type pace struct {
	most   time.Duration
	pause  time.Duration // until the next look
	grows  bool          // else pauses are as long as they get
	heard  int           // events
	asked  int           // of them, those that a look has followed
	looked time.Time
	news   <-chan struct{}
}

// wait returns when the next look is due; false when ctx has ended.
func (p *pace) wait(ctx context.Context) bool {
	at := time.Now().Add(p.pause)
	for {
		timer := time.NewTimer(time.Until(at))
		select {
		case <-timer.C:
			p.looked = time.Now()
			return true
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-p.news:
			timer.Stop()
			now := time.Now()
			if p.heard++; p.heard > 1 {
				now = p.looked.Add(newsPause)
			}
			if now.Before(at) {
				at = now
			}
		}
	}
}

// next is after a look in vain, which is not to be followed by another one within least.
func (p *pace) next(least time.Duration) {
	switch {
	case p.asked == 0 && p.heard > 0:
		p.pause, p.grows = firstLook, true
	case p.asked < p.heard:
		p.pause = min(2*p.pause, newsPause)
	case p.grows:
		p.pause *= 2
	default:
		p.pause = p.most
	}
	p.asked = p.heard
	p.pause = max(min(p.pause, p.most), least)
}

// result asks for an activation's record until it is there, first after a while. The action is at work, or done: whatever keeps the record from coming, it is not
// started again.
func (c *controller) result(d *sinks.Delivery, id string, first time.Duration) sinks.Result {
	last := "it is not there yet"
	p := pace{most: c.poll, pause: min(first, c.poll), grows: !c.told, news: d.News}
	for {
		if !p.wait(d.Context) {
			return sinks.Ended(d.Context, fmt.Sprintf("no result of activation %s (%s)", id, last))
		}
		asked := time.Duration(0)
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
			last, asked = r.Err.Message, min(r.After, time.Minute)
		default:
			return refused(a)
		}
		p.next(asked)
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
