package door

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// conns is the listener with a bound on what it has open. Who has nothing at work - he sits idle, or has not sent all of a request yet - makes room for
// who comes, the one who has waited for longest first: callers who are slow on purpose push one another out, and not those who are served.
type conns struct {
	net.Listener
	limits  Limits
	metrics *metrics

	mu   sync.Mutex
	open map[*conn]struct{}
	idle list.List // of those of open that have nothing at work, the one for longest first
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
			victim = l.longestWaiting()
		}
		if !full || victim != nil {
			l.open[c] = struct{}{}
			c.at = l.idle.PushBack(c)
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

// longestWaiting is the connection that has had nothing at work for longest, and leaves; nil when all are at work. The lock is held.
func (l *conns) longestWaiting() *conn {
	first := l.idle.Front()
	if first == nil {
		return nil
	}
	c := first.Value.(*conn)
	l.leave(c)
	return c
}

// leave books a connection as gone; the lock is held.
func (l *conns) leave(c *conn) {
	if _, is := l.open[c]; is {
		delete(l.open, c)
		c.rest(false)
		l.metrics.connections.Dec()
	}
}

// connKey marks the context of a connection's requests with it.
type connKey struct{}

func withConn(ctx context.Context, x net.Conn) context.Context {
	if t, ok := x.(*tls.Conn); ok {
		x = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, x)
}

// A conn is an open connection. Each piece that it writes has to be taken within a time.
type conn struct {
	net.Conn
	l  *conns
	at *list.Element // among those that have nothing at work; nil while it has. The listener's lock guards it.
}

// atWork books that a request of it is at work, or no longer.
func (c *conn) atWork(is bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	_, open := c.l.open[c]
	c.rest(!is && open)
}

// rest puts it behind those that have nothing at work, or takes it out of them; the lock is held.
func (c *conn) rest(is bool) {
	if c.at != nil {
		c.l.idle.Remove(c.at)
		c.at = nil
	}
	if is {
		c.at = c.l.idle.PushBack(c)
	}
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
