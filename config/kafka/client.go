package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/plugin"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// A Client talks to one cluster. Its calls are tried again while that can help and their context lasts; they may be made concurrently.
type Client struct {
	// API is kafka-go's client over the same connections, for calls that have none here. It tries once, with RequestTimeout.
	API *kafka.Client
	// Brokers are the addresses that it begins with.
	Brokers []string

	id         string
	addr       net.Addr
	operators  bool // the brokers are named by the router's settings or environment
	transport  *kafka.Transport
	dialer     *kafka.Dialer
	limits     Limits
	entrance   *entrance
	mechanism  *mechanism     // nil without SASL
	refreshing chan time.Time // holds when the layout was last read anew
	troubles   troubles
}

// Limits are the times that a Client works with. The zero value has the defaults.
type Limits struct {
	Request time.Duration // one request and its answer; default 10 s
	Dial    time.Duration // a connection, with TLS and SASL; default 5 s
	// Unknown is how long a topic may be unknown before that is believed; default 2 s. A topic's creation takes so long to be heard of. Brokers that only
	// hang up are believed to mean it after as long.
	Unknown time.Duration
}

func (l Limits) orDefault() Limits {
	for _, x := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&l.Request, 10 * time.Second}, {&l.Dial, 5 * time.Second}, {&l.Unknown, 2 * time.Second}} {
		if *x.d == 0 {
			*x.d = x.def
		}
	}
	return l
}

// Open makes a client; id is the name that the brokers' logs and quotas know it by. It reads certificates and does not connect.
func Open(c *Cluster, id string, l Limits) (*Client, error) {
	brokers, err := c.addresses()
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		var e *Error
		if _, err := c.TLS.config(); errors.As(err, &e) {
			e.Final = true
			return nil, e
		}
	}
	l = l.orDefault()
	e := &entrance{net: net.Dialer{Timeout: l.Dial, KeepAlive: 30 * time.Second}, tls: c.TLS, sasl: c.SASL != nil, patient: l.Unknown}
	k := &Client{
		Brokers: brokers, operators: c.inherited || len(c.Brokers) == 0, id: id, addr: kafka.TCP(brokers...), limits: l, refreshing: make(chan time.Time, 1), entrance: e, troubles: troubles{id: id},
		transport: &kafka.Transport{ClientID: id, DialTimeout: l.Dial, Dial: e.visit},
		dialer:    &kafka.Dialer{ClientID: id, Timeout: l.Dial, DialFunc: e.dial},
	}
	k.refreshing <- time.Time{}
	if c.SASL != nil {
		m := &mechanism{user: c.SASL.Username, password: c.SASL.Password, kind: mechanisms[c.SASL.Mechanism]}
		k.transport.SASL, k.dialer.SASLMechanism, k.mechanism = m, m, m
	}
	k.API = &kafka.Client{Addr: k.addr, Timeout: l.Request, Transport: roundTripper{k}}
	return k, nil
}

// Dialer opens connections as the client does, for kafka-go's ConsumerGroup.
func (c *Client) Dialer() *kafka.Dialer { return c.dialer }

// Within has connections made only where a policy lets them, also to the brokers that brokers tell of; nil is the default policy. A cluster that the router's settings
// or its environment name is the operator's: it is not judged. It is called before anything is asked.
func (c *Client) Within(p *egress.Policy) {
	if !c.operators {
		c.entrance.control = p.Control
	}
}

// Close closes the connections; those in use close once their answer is there.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// A mechanism reads its password for every connection: a renewed one is used without a restart.
type mechanism struct {
	user     string
	password plugin.Secret
	kind     mechanismKind
	// refused counts the exchanges in a row that came to no good end: some brokers hang up instead of saying no.
	refused atomic.Int32
	welcome atomic.Bool // once one came to a good end
}

// refusals is the number of hang-ups in a row that is taken for a no.
const refusals = 3

// An exchange notes its good end.
type exchange struct {
	sasl.StateMachine
	m *mechanism
}

func (x *exchange) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	done, response, err = x.StateMachine.Next(ctx, challenge)
	if done && err == nil {
		x.m.refused.Store(0)
		x.m.welcome.Store(true)
	}
	return done, response, err
}

type mechanismKind struct {
	name  string
	start func(ctx context.Context, user, password string) (sasl.StateMachine, []byte, error)
}

func startScram(algorithm scram.Algorithm) func(context.Context, string, string) (sasl.StateMachine, []byte, error) {
	return func(ctx context.Context, user, password string) (sasl.StateMachine, []byte, error) {
		m, err := scram.Mechanism(algorithm, user, password)
		if err != nil {
			return nil, nil, err
		}
		return m.Start(ctx)
	}
}

var mechanisms = map[string]mechanismKind{
	"plain": {"PLAIN", func(ctx context.Context, user, password string) (sasl.StateMachine, []byte, error) {
		return plain.Mechanism{Username: user, Password: password}.Start(ctx)
	}},
	"scram-sha-256": {"SCRAM-SHA-256", startScram(scram.SHA256)},
	"scram-sha-512": {"SCRAM-SHA-512", startScram(scram.SHA512)},
}

func (m *mechanism) Name() string { return m.kind.name }

func (m *mechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	password, err := m.password.Read()
	if err != nil {
		return nil, nil, &Error{Doing: "read sasl.password", Err: err, Final: true}
	}
	m.refused.Add(1)
	session, first, err := m.kind.start(ctx, m.user, password)
	return &exchange{session, m}, first, err
}

// call makes one request, whose answer may take as long as wait on top of the limit. kafka-go leaves a connection to a silent broker alone unless the
// context has a deadline.
func (c *Client) call(ctx context.Context, wait time.Duration, req protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request+wait)
	defer cancel()
	return roundTripper{c}.RoundTrip(ctx, c.addr, req)
}

// A roundTripper is the transport, and tells a no by which the brokers hang up.
type roundTripper struct{ c *Client }

func (t roundTripper) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	m, err := t.c.transport.RoundTrip(ctx, addr, req)
	if errors.Is(err, io.ErrUnexpectedEOF) && t.c.mechanism != nil && t.c.mechanism.refused.Load() >= refusals && !t.c.mechanism.welcome.Load() {
		err = fmt.Errorf("%w: the brokers hang up on it: %w", kafka.SASLAuthenticationFailed, err)
	}
	return m, t.c.entrance.judge(err)
}

// A probe asks a broker for the cluster's layout, past the transport's copy of it, and makes the transport read its copy anew. The transport does that
// after it has created topics, so the probe claims to be the answer to a creation of none.
type probe struct {
	topic   string // may be empty
	client  string
	version int16
	known   bool  // the broker knows the topic
	err     error // what it says of it otherwise
}

func (*probe) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Required takes the request out of kafka-go's hands: it would answer from its copy.
func (p *probe) Required(versions map[protocol.ApiKey]int16) bool {
	p.version = versions[protocol.Metadata]
	return true
}

// RawExchange asks.
func (p *probe) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	req := &metadata.Request{TopicNames: []string{}}
	if p.topic != "" {
		req.TopicNames = append(req.TopicNames, p.topic)
	}
	m, err := protocol.RoundTrip(rw, p.version, rand.Int32(), p.client, req)
	if err != nil {
		return nil, err
	}
	for _, t := range m.(*metadata.Response).Topics {
		p.err = answer(t.ErrorCode, "")
		p.known = !isUnknown(p.err)
	}
	return new(createtopics.Response), nil
}

// probe reports whether the cluster knows a topic. The error says why it cannot be asked, or cannot know.
func (c *Client) probe(ctx context.Context, topic string) (known bool, err error) {
	p := &probe{topic: topic, client: c.id}
	if _, err := c.call(ctx, 0, p); err != nil {
		return false, err
	}
	if p.err != nil {
		if _, final := cureOf(p.err); final {
			return false, p.err
		}
	}
	return p.known, nil
}

// refresh has the layout read anew, unless that has happened since. The error says why it cannot be.
func (c *Client) refresh(ctx context.Context, since time.Time) error {
	select {
	case last := <-c.refreshing:
		var err error
		if !last.After(since) {
			begin := time.Now()
			if _, err = c.probe(ctx, ""); err == nil {
				last = begin
			}
		}
		c.refreshing <- last
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The pauses between tries.
const (
	pauseFrom = 20 * time.Millisecond
	pauseMax  = time.Second
)

// patience is what a call that is tried again has seen so far.
type patience struct {
	c       *Client
	doing   string
	topic   string // may be empty
	pause   time.Duration
	unknown time.Time // since when the topic is unknown
	why     error     // the cluster could not be asked for its layout, last time
	failed  bool      // at least once
	well    bool      // it came to a good end
}

// after decides on an error: nil says try again, which it has waited for; else it is the error of the whole call.
func (p *patience) after(ctx context.Context, err error) error {
	err = p.reason(err)
	if ctx.Err() != nil {
		return p.over(ctx, err)
	}
	if cure, final := cureOf(err); final {
		return &Error{Doing: p.doing, Err: err, Cure: cure, Final: true}
	}
	p.c.troubles.note(p.doing, err, !p.failed)
	p.failed = true
	failed := time.Now()
	p.pause = min(max(2*p.pause, pauseFrom), pauseMax)
	select {
	case <-ctx.Done():
		return p.over(ctx, err)
	case <-time.After(p.pause):
	}
	known := true
	if isUnknown(err) {
		known, p.why = p.c.probe(ctx, p.topic)
	} else {
		p.why = p.c.refresh(ctx, failed)
	}
	switch {
	case known || p.why != nil:
		p.unknown = time.Time{}
	case p.unknown.IsZero():
		p.unknown = failed
	case failed.Sub(p.unknown) >= p.c.limits.Unknown:
		return &Error{Doing: p.doing, Err: kafka.UnknownTopicOrPartition, Cure: "create the topic, or correct its name", Final: true}
	}
	if p.why != nil && (isUnsent(err) || isUnknown(err)) {
		if cure, final := cureOf(p.why); final {
			return &Error{Doing: p.doing, Err: p.why, Cure: cure, Final: true}
		}
	}
	return nil
}

// end is of the whole call.
func (p *patience) end() {
	if p.failed {
		p.c.troubles.end(p.doing, p.well)
	}
}

// reason returns what is behind an error: no way was found because there is none.
func (p *patience) reason(err error) error {
	if isUnsent(err) && p.why != nil {
		return p.why
	}
	return err
}

func (p *patience) over(ctx context.Context, last error) error {
	return &Error{Doing: p.doing, Err: causeOf(ctx, last)}
}

// causeOf returns why a context has ended, with the error of before, which may be nil.
func causeOf(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if last != nil && !errors.Is(last, cause) && !errors.Is(last, context.Canceled) && !errors.Is(last, context.DeadlineExceeded) {
		return fmt.Errorf("%w, and before: %w", cause, last)
	}
	return cause
}

// try calls f until it succeeds, fails for good, or the context ends. The topic is the one that f is about; it may be empty.
func (c *Client) try(ctx context.Context, doing, topic string, f func() error) error {
	p := patience{c: c, doing: doing, topic: topic}
	defer p.end()
	for {
		err := f()
		if err == nil {
			p.well = true
			return nil
		}
		if err := p.after(ctx, err); err != nil {
			return err
		}
	}
}
