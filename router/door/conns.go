package door

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// conns is the listener with a bound on what it has open. Who sits idle makes room for who comes.
type conns struct {
	net.Listener
	limits  Limits
	metrics *metrics

	mu   sync.Mutex
	open map[*conn]struct{}
}

// Accept returns the next connection that there is room for; the others are closed at once.
func (l *conns) Accept() (net.Conn, error) {
	for {
		bare, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: bare, l: l}
		l.mu.Lock()
		var victim *conn
		full := len(l.open) >= l.limits.Connections
		if full {
			victim = l.longestIdle()
		}
		if !full || victim != nil {
			l.open[c] = struct{}{}
			l.metrics.connections.Inc()
		}
		l.mu.Unlock()
		switch {
		case victim != nil:
			l.metrics.refused.WithLabelValues(refusedIdle).Inc()
			_ = victim.Close() // Whatever it says, it is gone.
		case full:
			l.metrics.refused.WithLabelValues(refusedConnections).Inc()
			_ = bare.Close() // Nobody has been promised anything.
			continue
		}
		return c, nil
	}
}

// longestIdle is the connection that has waited for a next request for longest, and leaves; nil when all are at work. The lock is held.
func (l *conns) longestIdle() *conn {
	var out *conn
	for c := range l.open {
		if !c.idle.IsZero() && (out == nil || c.idle.Before(out.idle)) {
			out = c
		}
	}
	if out != nil {
		l.leave(out)
	}
	return out
}

// leave books a connection as gone; the lock is held.
func (l *conns) leave(c *conn) {
	if _, is := l.open[c]; is {
		delete(l.open, c)
		l.metrics.connections.Dec()
	}
}

// state hears from the server what a connection is at.
func (l *conns) state(x net.Conn, s http.ConnState) {
	if t, ok := x.(*tls.Conn); ok {
		x = t.NetConn()
	}
	c := x.(*conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.idle = time.Time{}
	if s == http.StateIdle {
		c.idle = time.Now()
	}
}

// A conn is an open connection. Each piece that it writes has to be taken within a time.
type conn struct {
	net.Conn
	l    *conns
	idle time.Time // since when it waits for a next request; zero while one is at work. The listener's lock guards it.
}

// writePiece is what has to be taken within Limits.Write.
const writePiece = 64 << 10

func (c *conn) Write(b []byte) (n int, err error) {
	for {
		piece := b[n:min(n+writePiece, len(b))]
		if err := c.SetWriteDeadline(time.Now().Add(c.l.limits.Write)); err != nil {
			return n, err
		}
		wrote, err := c.Conn.Write(piece)
		if n += wrote; err != nil || n == len(b) {
			return n, err
		}
	}
}

// CloseWrite lets the client see that nothing more comes, while what it still sends is thrown away: hung up on amid that, it might not read the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *conn) Close() error {
	c.l.mu.Lock()
	c.l.leave(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
