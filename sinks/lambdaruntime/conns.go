package lambdaruntime

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/onward-router/onward/config/conns"
)

// The bounds of what is before a request. AWS's runtimes send a failure's stack a second time in a header, up to a megabyte of it.
const (
	maxHead   = 1<<20 + 64<<10
	smallHead = 64 << 10
	maxLarge  = 16 // heads of more than smallHead that are held at a time
)

// resize bounds the connections: those of all runtimes that may poll, and as many that are beside them. hubs' lock is held.
func (h *hub) resize() { h.most.Store(int64(maxPollers * (1 + len(h.endpoints)))) }

// bound bounds a listener. A runtime that polls, or has a call, is at work.
func (h *hub) bound(l net.Listener) net.Listener {
	return &listener{conns.Bound(l, conns.Options{Most: func() int { return int(h.most.Load()) }, Write: slowest}), h}
}

type listener struct {
	*conns.Listener
	h *hub
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c.(*conns.Conn), large: l.h.large, reading: true, closed: make(chan struct{})}, nil
}

// A conn is a connection with a bound on what it may send before a request is known.
type conn struct {
	*conns.Conn
	large  chan struct{}
	closed chan struct{}
	close  sync.Once

	mu      sync.Mutex
	reading bool // a head
	head    int  // bytes of it
	has     bool // one of the places in large
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection of a request.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// Read waits for a place for a head that is large, for a while.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	if c.reading {
		c.head += n
	}
	wants := c.reading && c.head > smallHead && !c.has
	c.mu.Unlock()
	if !wants {
		return n, err
	}
	wait := time.NewTimer(slowest)
	defer wait.Stop()
	select {
	case c.large <- struct{}{}:
		c.mu.Lock()
		c.has = true
		c.mu.Unlock()
		select {
		case <-c.closed:
			c.leave() // Close may have come too early for it.
		default:
		}
		return n, err
	case <-c.closed:
		return 0, net.ErrClosed
	case <-wait.C:
		return 0, errors.New("there is no room for such large headers")
	}
}

// headEnds says that what comes now is a body, and whether the head was large. c may be nil.
func (c *conn) headEnds() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading, c.head = false, 0
	return c.has
}

// headBegins says that what comes now is the next request.
func (c *conn) headBegins() {
	if c == nil {
		return
	}
	c.leave()
	c.mu.Lock()
	c.reading = true
	c.mu.Unlock()
}

// leave gives the place back.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.has {
		c.has = false
		<-c.large
	}
}

// Close ends it.
func (c *conn) Close() error {
	c.close.Do(func() { close(c.closed) })
	c.leave()
	return c.Conn.Close()
}
