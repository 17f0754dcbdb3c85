// Package conns is a listener with a bound on what it has open, for whatever the router serves to callers whom it does not know.
//
// Who has nothing at work - he sits idle, or has not sent all of a request yet - makes room for who comes: of the address that has most open, the one that has waited
// for longest. So callers who are slow on purpose push one another out, and neither those who are served nor those who come from elsewhere.
package conns

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Options are the bounds of a listener.
type Options struct {
	Most  func() int      // connections open at a time
	Write time.Duration   // within which each piece that is written has to be taken
	Open  func(by int)    // is told how many more are open; may be nil
	Full  func(idle bool) // is told that one was closed for want of room: one that had nothing at work, or the one that came; may be nil
}

// A Listener is bounded. Its connections are *Conn.
type Listener struct {
	net.Listener
	o Options

	mu      sync.Mutex
	open    map[*Conn]struct{}
	callers map[netip.Addr]*caller
}

// A caller is an address that has connections open.
type caller struct {
	open int
	idle list.List // of those that have nothing at work, the one for longest first
}

// Bound bounds a listener.
func Bound(l net.Listener, o Options) *Listener {
	if o.Open == nil {
		o.Open = func(int) {}
	}
	if o.Full == nil {
		o.Full = func(bool) {}
	}
	return &Listener{Listener: l, o: o, open: make(map[*Conn]struct{}), callers: make(map[netip.Addr]*caller)}
}

// Accept returns the next connection that there is room for; the others are closed at once.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		bare, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: bare, l: l, from: addressOf(bare)}
		l.mu.Lock()
		var victim *Conn
		full := len(l.open) >= l.o.Most()
		if full {
			victim = l.longestWaiting()
		}
		if !full || victim != nil {
			l.enter(c)
		}
		l.mu.Unlock()
		switch {
		case victim != nil:
			l.o.Full(true)
			_ = victim.Close() // Whatever it says, it is gone.
		case full:
			l.o.Full(false)
			_ = bare.Close() // Nobody has been promised anything.
			continue
		}
		return c, nil
	}
}

// Idle is how many connections have nothing at work.
func (l *Listener) Idle() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.callers {
		n += x.idle.Len()
	}
	return n
}

// addressOf is whom a connection counts for: an address, of IPv6 the net that one caller is given; of one without an address, nobody.
func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ip := a.AddrPort().Addr().Unmap().WithZone("")
		if net64, err := ip.Prefix(64); err == nil && ip.Is6() {
			return net64.Addr()
		}
		return ip
	}
	return netip.Addr{}
}

// longestWaiting is the connection that makes room, and leaves; nil when all are at work. The lock is held.
func (l *Listener) longestWaiting() *Conn {
	var most *caller
	for _, x := range l.callers {
		if x.idle.Len() > 0 && (most == nil || x.open > most.open) {
			most = x
		}
	}
	if most == nil {
		return nil
	}
	c := most.idle.Front().Value.(*Conn)
	l.leave(c)
	return c
}

// enter books a connection as open, with nothing at work; the lock is held.
func (l *Listener) enter(c *Conn) {
	x := l.callers[c.from]
	if x == nil {
		x = new(caller)
		l.callers[c.from] = x
	}
	x.open++
	l.open[c] = struct{}{}
	c.at = x.idle.PushBack(c)
	l.o.Open(1)
}

// leave books a connection as gone; the lock is held.
func (l *Listener) leave(c *Conn) {
	if _, is := l.open[c]; !is {
		return
	}
	delete(l.open, c)
	c.rest(false)
	if x := l.callers[c.from]; x.open > 1 {
		x.open--
	} else {
		delete(l.callers, c.from)
	}
	l.o.Open(-1)
}

type key struct{}

// With marks the context of a connection's requests with it, as http.Server.ConnContext.
func With(ctx context.Context, x net.Conn) context.Context {
	if t, ok := x.(*tls.Conn); ok {
		x = t.NetConn()
	}
	return context.WithValue(ctx, key{}, x)
}

// Of is the connection of a request; nil where it came by another listener.
func Of(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}

// A Conn is an open connection. Each piece that it writes has to be taken within a time.
type Conn struct {
	net.Conn
	l    *Listener
	from netip.Addr
	// The listener's lock guards these.
	work int           // that it has
	at   *list.Element // among those that have none; nil while it has
}

// From is the address that it counts for.
func (c *Conn) From() netip.Addr { return c.from }

// Begin books that something of it is at work, until End. Both may be called on nil.
func (c *Conn) Begin() { c.add(1) }

// End books that something of it is at work no longer.
func (c *Conn) End() { c.add(-1) }

func (c *Conn) add(n int) {
	if c == nil {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.work += n
	if _, open := c.l.open[c]; open {
		c.rest(c.work == 0)
	}
}

// rest puts it behind those that have nothing at work, or takes it out of them; the lock is held.
func (c *Conn) rest(is bool) {
	idle := &c.l.callers[c.from].idle
	if c.at != nil {
		idle.Remove(c.at)
		c.at = nil
	}
	if is {
		c.at = idle.PushBack(c)
	}
}

// writePiece is what has to be taken within Options.Write.
const writePiece = 64 << 10

func (c *Conn) Write(b []byte) (n int, err error) {
	for {
		piece := b[n:min(n+writePiece, len(b))]
		if err := c.SetWriteDeadline(time.Now().Add(c.l.o.Write)); err != nil {
			return n, err
		}
		wrote, err := c.Conn.Write(piece)
		if n += wrote; err != nil || n == len(b) {
			return n, err
		}
	}
}

// CloseWrite lets the client see that nothing more comes, while what it still sends is thrown away: hung up on amid that, it might not read the answer.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close ends it.
func (c *Conn) Close() error {
	c.l.mu.Lock()
	c.l.leave(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
