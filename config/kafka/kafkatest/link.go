package kafkatest

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/onward-router/onward/config/tooltest"
)

// A Link is a second way to a cluster, which can be cut: what is under way is stuck then, as in a network that loses packets, and arrives once the link
// is mended. Whoever comes by it is told its addresses only, and stays on it.
type Link struct {
	ends    []net.Listener // one a node
	targets []string       // where the nodes listen for it

	mu    sync.Mutex
	open  chan struct{} // closed while the link is whole
	ended chan struct{}
	conns map[net.Conn]struct{}
	wait  sync.WaitGroup
}

// StartLinked starts a real cluster with a link to it, for one test.
func StartLinked(t testing.TB, nodes int) (*Cluster, *Link) {
	t.Helper()
	if os.Getenv("KAFKA_BROKERS") != "" {
		t.Skip("NOT RUN: the nodes of KAFKA_BROKERS have no link that can be cut; unset it")
	}
	l, err := newLink(nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	c, err := open(nodes, l)
	if err != nil {
		notRun(t, err)
	}
	t.Cleanup(c.close)
	return c, l
}

func newLink(nodes int) (*Link, error) {
	l := &Link{open: make(chan struct{}), ended: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	close(l.open)
	for range nodes {
		end, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.close()
			return nil, err
		}
		target := tooltest.Address()
		l.ends, l.targets = append(l.ends, end), append(l.targets, target)
		l.wait.Go(func() { l.accept(end, target) })
	}
	return l, nil
}

// Brokers returns the addresses by which the nodes are reached over the link.
func (l *Link) Brokers() []string {
	var out []string
	for _, end := range l.ends {
		out = append(out, end.Addr().String())
	}
	return out
}

// Cut stops everything on the link. It does nothing to one that is cut.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
		l.open = make(chan struct{})
	default:
	}
}

// Mend lets everything pass again, what was stuck first.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// pass waits until the link is whole; false when it is closed for good.
func (l *Link) pass() bool {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	select {
	case <-open:
		return true
	case <-l.ended:
		return false
	}
}

func (l *Link) accept(end net.Listener, target string) {
	for {
		near, err := end.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		l.wait.Go(func() { l.carry(near, target) })
	}
}

// carry is one connection: two streams, each in its order, both ended by the end of one.
func (l *Link) carry(near net.Conn, target string) {
	defer near.Close()
	if !l.keep(near) || !l.pass() {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return // The node is down: so it looks from here, too.
	}
	defer far.Close()
	if !l.keep(far) {
		return
	}
	var both sync.WaitGroup
	stream := func(from, to net.Conn) {
		defer near.Close()
		defer far.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if !l.pass() || err != nil {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
	both.Go(func() { stream(near, far) })
	both.Go(func() { stream(far, near) })
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, near)
	delete(l.conns, far)
}

// keep remembers a connection for close; false when that has been.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		return false
	default:
		l.conns[c] = struct{}{}
		return true
	}
}

func (l *Link) close() {
	for _, end := range l.ends {
		end.Close()
	}
	l.mu.Lock()
	close(l.ended)
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.wait.Wait()
}
