package conns

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestRoom: who has nothing at work makes room, of the address that has most open the one that has waited for longest; who is at work stays, and where all are, who comes
// is turned away.
func TestRoom(t *testing.T) {
	t.Parallel()
	bare, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open, turned := 0, 0
	l := Bound(bare, Options{Most: func() int { return 4 }, Write: time.Minute, Open: func(by int) { open += by }, Full: func(idle bool) {
		if !idle {
			turned++
		}
	}})
	defer l.Close()
	came := make(map[string]*Conn)
	accept := func(name, from string) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		far, err := d.Dial("tcp", bare.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far.Close() })
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		came[name] = c.(*Conn)
	}
	is := func(name string, open bool) {
		t.Helper()
		c := came[name]
		if err := c.SetReadDeadline(time.Now()); (err == nil) != open {
			t.Errorf("%s is open: %v; want %v", name, err == nil, open)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		accept(name, "127.0.0.1")
	}
	accept("other", "127.0.0.2")
	came["a"].Begin()
	accept("d", "127.0.0.1") // For b: a is at work, and the other is no neighbour.
	is("a", true)
	is("b", false)
	is("other", true)
	came["a"].Begin()
	came["a"].End()
	accept("e", "127.0.0.2") // For c: there are three of the first address.
	is("a", true)
	is("c", false)
	came["a"].End()
	came["b"].Begin() // It has gone.
	came["b"].End()
	came["d"].Begin()
	came["d"].End()
	accept("f", "127.0.0.3") // For a, or one of the others: two each.
	if open != 4 || l.Idle() != 4 {
		t.Errorf("%d are open, %d idle", open, l.Idle())
	}
	for _, name := range []string{"a", "d", "e", "f", "other"} {
		came[name].Begin()
	}
	done := make(chan error)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	far, err := net.Dial("tcp", bare.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := io.Copy(io.Discard, far); err != nil && turned == 0 {
		t.Error(err)
	}
	_ = bare.Close()
	if err := <-done; err == nil || turned != 1 {
		t.Errorf("%v, %d turned away", err, turned)
	}
	(*Conn)(nil).Begin()
	for _, c := range came {
		_ = c.Close()
	}
	if open != 0 || len(l.callers) != 0 {
		t.Errorf("%d are open of %d", open, len(l.callers))
	}
}
