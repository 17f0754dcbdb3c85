package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// An entrance is where connections begin. The certificates are read for each, and it is noted where brokers hang up instead of saying what is wrong.
type entrance struct {
	net     net.Dialer
	tls     *TLS // nil: nothing is encrypted
	sasl    bool
	control func(host string) func(context.Context, string, string, syscall.RawConn) error // judges where connections go; nil: nobody does
	patient time.Duration                                                                  // how long brokers may hang up before that is taken for a no

	mu    sync.Mutex
	met   bool // a broker has answered a request, so that a no is none for good
	since [beyond]time.Time
}

// A stage is how far a connection has come.
type stage int

const (
	atHandshake stage = iota // of TLS
	atVersions               // the first question, what the broker speaks
	atRequest                // the first that a stranger may not ask
	beyond
)

// dial connects, and shakes hands where that is due.
func (e *entrance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var config *tls.Config
	if e.tls != nil {
		var err error
		if config, err = e.tls.config(); err != nil {
			return nil, err
		}
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
	}
	dialer := e.net
	if e.control != nil {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		dialer.ControlContext = e.control(host)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil || config == nil {
		return conn, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		e.failed(atHandshake, err)
		_ = conn.Close()
		return nil, err
	}
	e.passed(atHandshake)
	return secure, nil
}

// visit dials for a caller who asks one thing after another, the versions first.
func (e *entrance) visit(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := e.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &visit{Conn: conn, e: e, at: atVersions}, nil
}

// A visit follows a connection up to the first answer to a request.
type visit struct {
	net.Conn
	e       *entrance
	at      stage
	waiting bool // for an answer
}

func (v *visit) Write(b []byte) (int, error) {
	n, err := v.Conn.Write(b)
	v.waiting = v.waiting || err == nil
	v.e.failed(v.at, err)
	return n, err
}

func (v *visit) Read(b []byte) (int, error) {
	n, err := v.Conn.Read(b)
	if n > 0 && v.waiting && v.at < beyond {
		v.e.passed(v.at)
		v.waiting = false
		v.at++
	} else if v.waiting {
		v.e.failed(v.at, err)
	}
	return n, err
}

func (e *entrance) passed(at stage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.met = e.met || at == atRequest
	e.since[at] = time.Time{}
}

func (e *entrance) failed(at stage, err error) {
	if at == beyond || !isHangUp(err) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.since[at].IsZero() {
		e.since[at] = time.Now()
	}
}

// judge takes hang-ups for a no when there has been nothing else for a while.
func (e *entrance) judge(err error) error {
	if !isHangUp(err) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, since := range e.since {
		if !e.met && !since.IsZero() && time.Since(since) >= e.patient {
			if no := e.no(stage(at), err); no != nil {
				return no
			}
		}
	}
	return err
}

// no guesses what the brokers did not say.
func (e *entrance) no(at stage, err error) error {
	switch {
	case at == atHandshake:
		return &unsaid{"on TLS", "the listener may not encrypt: leave tls out, or name another listener's port", err}
	case at == atVersions && e.tls != nil:
		return &unsaid{"on who shows no certificate that they trust", cureCertificate, err}
	case at == atRequest && !e.sasl:
		return &unsaid{"on who does not say who he is", "the listener may ask for it: add sasl, or name another listener's port", err}
	}
	return nil
}

// unsaid is a no by which the brokers hang up.
type unsaid struct {
	on, cure string
	err      error
}

func (u *unsaid) Error() string { return fmt.Sprintf("the brokers hang up %s: %v", u.on, u.err) }
func (u *unsaid) Unwrap() error { return u.err }

func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
