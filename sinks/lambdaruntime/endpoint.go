package lambdaruntime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/sinks"
)

// An endpoint is the Runtime API of one function. A reload makes a new sink: runtimes that poll stay, and what they have is answered.
type endpoint struct {
	hub  *hub
	path string

	mu      sync.Mutex
	sinks   []*sink   // the newest last
	pollers []*poller // those that have nothing, in the order in which they asked
	due     []*call   // that no poller has
	at      map[string]*call
}

// A poller is a runtime's question for the next call.
type poller struct {
	conn *conn
	next chan *call // takes one
}

// A hub is a listener with the endpoints that share it.
type hub struct {
	address  string
	server   *http.Server
	done     chan struct{}
	most     atomic.Int64  // connections
	large    chan struct{} // has one for each large head that is held
	unbidden chan struct{} // has one for each error that is read of a runtime without a call

	endpoints map[string]*endpoint // by path; hubs' lock guards it
}

// hubs are the listeners of this process, as its ports are: a sink takes over from one that a reload replaces before that is closed.
var hubs = struct {
	sync.Mutex
	at map[string]*hub
}{at: make(map[string]*hub)}

func attach(k *sink) (*endpoint, error) {
	hubs.Lock()
	defer hubs.Unlock()
	h := hubs.at[k.s.Listen]
	if h == nil {
		l, err := net.Listen("tcp", k.s.Listen)
		if err != nil {
			return nil, fmt.Errorf("the Runtime API cannot listen: %w; choose another address, or end what has it", err)
		}
		h = &hub{address: k.s.Listen, done: make(chan struct{}), endpoints: make(map[string]*endpoint), large: make(chan struct{}, maxLarge), unbidden: make(chan struct{}, maxUnbidden)}
		h.server = h.newServer()
		hubs.at[k.s.Listen] = h
		go func() {
			defer close(h.done)
			if err := h.server.Serve(h.bound(l)); !errors.Is(err, http.ErrServerClosed) && k.host.Log != nil {
				k.host.Log(context.Background(), "the Runtime API serves no more", "listen", h.address, "error", err)
			}
		}()
	}
	e := h.endpoints[k.s.Path]
	switch {
	case e == nil:
		e = &endpoint{hub: h, path: k.s.Path, at: make(map[string]*call)}
		h.endpoints[k.s.Path] = e
		h.resize()
	case e.sinks[0].name != k.name:
		return nil, fmt.Errorf("function %q is served at %s%s already; choose another port, or say path: /%s", e.sinks[0].name, k.s.Listen, k.s.Path, k.name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sinks = append(e.sinks, k)
	return e, nil
}

// detach takes a sink off. With the last one of an endpoint it ends, and with the last endpoint the listener.
func (e *endpoint) detach(k *sink) error {
	hubs.Lock()
	defer hubs.Unlock()
	e.mu.Lock()
	for i, x := range e.sinks {
		if x == k {
			e.sinks = append(e.sinks[:i:i], e.sinks[i+1:]...)
			break
		}
	}
	left := len(e.sinks)
	if left == 0 {
		for _, p := range e.pollers {
			close(p.next)
		}
		e.pollers = nil
	}
	e.mu.Unlock()
	if left > 0 {
		return nil
	}
	delete(e.hub.endpoints, e.path)
	e.hub.resize()
	if len(e.hub.endpoints) > 0 {
		return nil
	}
	delete(hubs.at, e.hub.address)
	err := e.hub.server.Close()
	<-e.hub.done
	return err
}

// waiting is how many calls are asked for beyond those that are due: below zero, some wait here.
func (e *endpoint) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.pollers) - len(e.due)
}

// begin gives a call to a runtime that has asked, or to the next one that does.
func (e *endpoint) begin(c *call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := 2; e.at[c.id] != nil; n++ { // It is at work already, perhaps given up and not gone yet.
		c.id = requestID(fmt.Sprintf("%s#%d", c.d.ID(), n))
	}
	e.at[c.id] = c
	if len(e.pollers) > 0 {
		p := e.pollers[0]
		e.pollers = e.pollers[1:]
		c.hand(p.conn)
		p.next <- c
	} else {
		e.due = append(e.due, c)
	}
}

// end waits for a call, and returns how it ended.
func (e *endpoint) end(c *call) (r sinks.Result) {
	select {
	case r = <-c.ended:
	case <-c.d.Context.Done():
		r = sinks.Ended(c.d.Context, "no answer from the runtime")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at[c.id] == c {
		delete(e.at, c.id)
		if c.conn != nil {
			c.conn.End()
		}
	}
	for i, x := range e.due {
		if x == c {
			e.due = append(e.due[:i:i], e.due[i+1:]...)
			break
		}
	}
	return r
}

// maxPollers bounds the runtimes that poll one function.
const maxPollers = 1024

// makeRoom lets an address that has more than its share of those that poll lose the one that has asked for longest, for one of another address; false: there is no room.
// The lock is held.
func (e *endpoint) makeRoom(from netip.Addr) bool {
	if len(e.pollers) < maxPollers {
		return true
	}
	had := make(map[netip.Addr]int)
	most := from
	for _, p := range e.pollers {
		at := p.conn.From()
		if had[at]++; had[at] > had[most] {
			most = at
		}
	}
	if had[most] <= had[from]+1 {
		return false
	}
	at := slices.IndexFunc(e.pollers, func(p *poller) bool { return p.conn.From() == most })
	close(e.pollers[at].next)
	e.pollers = slices.Delete(e.pollers, at, at+1)
	return true
}

// poll waits for the next call; nil when the function is served no more, the runtime has gone, or there are too many that ask.
func (e *endpoint) poll(ctx context.Context, conn *conn) *call {
	p := &poller{conn: conn, next: make(chan *call, 1)}
	e.mu.Lock()
	switch {
	case len(e.sinks) == 0 || len(e.due) == 0 && !e.makeRoom(conn.From()):
		e.mu.Unlock()
		return nil
	case len(e.due) > 0:
		c := e.due[0]
		e.due = e.due[1:]
		c.hand(conn)
		e.mu.Unlock()
		return c
	}
	e.pollers = append(e.pollers, p)
	wake := e.sinks[len(e.sinks)-1].host.Wake
	e.mu.Unlock()
	if wake != nil {
		wake()
	}
	select {
	case c := <-p.next:
		return c
	case <-ctx.Done():
	}
	e.mu.Lock()
	for i, x := range e.pollers {
		if x == p {
			e.pollers = append(e.pollers[:i:i], e.pollers[i+1:]...)
			e.mu.Unlock()
			return nil
		}
	}
	e.mu.Unlock()
	return <-p.next // It was given one meanwhile, of which conn's end tells.
}

// claim returns the call of a request that is at work, for one answer at a time; nil where there is none that can be answered.
func (e *endpoint) claim(id string) *call {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.at[id]
	if c == nil || c.conn == nil || c.answering || c.d.Context.Err() != nil {
		return nil
	}
	c.answering = true
	return c
}

// release ends a claim, after which another answer may come, if that one did not.
func (e *endpoint) release(c *call) {
	if c != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		c.answering = false
	}
}

// idleAtLeast is for how long HTTP clients keep a connection that has nothing to do, at least: one that ends before has lost its process.
const idleAtLeast = 60 * time.Second

// gone books that a connection has ended: the calls of its runtime are lost, unless they are at work for so long that a client may have put the connection away.
func (e *endpoint) gone(conn net.Conn, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.at {
		if c.conn != nil && net.Conn(c.conn) == conn && now.Sub(c.handed) < idleAtLeast {
			c.end(sinks.Again(0, &sinks.Error{Type: "runtime_died", Message: "the runtime that had it has gone without an answer", Class: "platform"}))
		}
	}
}
