package lambdaruntime

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/sinks"
)

// raw opens a connection from an address, and says something.
func raw(t *testing.T, from, to, said string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, said) // One that was pushed out already is as good.
	return c
}

// status reads the first line of an answer; empty: the connection has ended.
func status(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(strings.TrimPrefix(line, "HTTP/1.1 "))
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

const ask = "GET " + prefix + "invocation/next HTTP/1.1\r\nHost: localhost\r\n"

// TestThousandsOfStrangers hold connections, ask for calls and send half of what they begin: as many stay as may, at the cost of some kilobytes each; a runtime that has
// a call keeps its connection, another is served all the while, and one of another address gets its turn among those that poll.
func TestThousandsOfStrangers(t *testing.T) { // Not parallel: it counts memory.
	s := &Settings{Listen: tooltest.Address()}
	k := open(t, "f", s, sinks.Host{})
	defer k.Close()
	h := k.at.hub
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	many := min(10_000/slowed, (int(min(files.Cur, 1<<20))-1000)/2)
	if many < 4*maxPollers { // Both ends are in this process.
		h.most.Store(int64(many / 4))
	}
	most := int(h.most.Load())
	busy := newRuntime(t, s.Listen)
	first, firstDone := delivery(t.Context(), "first", "1")
	k.Deliver(t.Context(), []*sinks.Delivery{first})
	had, _ := busy.next(t.Context())
	var before, after goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&before)
	half := []string{ask, "POST " + prefix + "init/error HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n{", "", "POST " + prefix + "invocation/x/response HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"}
	for i := range many {
		raw(t, "127.0.0.1", s.Listen, half[i%len(half)])
		if i%1000 == 999 {
			r := newRuntime(t, s.Listen)
			d, done := delivery(t.Context(), fmt.Sprint(i), "2")
			k.Deliver(t.Context(), []*sinks.Delivery{d})
			got, _ := r.next(t.Context())
			if code, said := r.answer(got, "3"); code != 202 || describe(<-done) != "2 3" {
				t.Fatalf("beside %d connections: %d %s", i+1, code, said)
			}
			r.die()
		}
	}
	goruntime.GC()
	goruntime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)) / int64(most); each > 64<<10 {
		t.Errorf("a connection that says nothing costs %d bytes", each)
	}
	if code, said := busy.answer(had, "4"); code != 202 || describe(<-firstDone) != "2 4" {
		t.Errorf("a runtime that was at work: %d %s", code, said)
	}
	// Those who poll.
	var last net.Conn
	for range min(maxPollers, most/2) {
		last = raw(t, "127.0.0.1", s.Listen, ask+"\r\n")
	}
	until(t, "so many poll", func() bool { return k.Waiting() == min(maxPollers, most/2) })
	if k.Waiting() == maxPollers {
		if got := status(t, raw(t, "127.0.0.1", s.Listen, ask+"\r\n")); got != "503 Service Unavailable" {
			t.Errorf("one more of the same address: %s", got)
		}
		raw(t, "127.0.0.2", s.Listen, ask+"\r\n")
		until(t, "another address polls", func() bool {
			k.at.mu.Lock()
			defer k.at.mu.Unlock()
			return k.at.pollers[maxPollers-1].conn.From().String() == "127.0.0.2"
		})
	}
	if n := k.Waiting(); n > maxPollers {
		t.Errorf("%d poll", n)
	}
	_ = last.Close()
	until(t, "one that has gone polls no more", func() bool { return k.Waiting() < min(maxPollers, most/2) })
}

// TestLargeHeads: AWS's runtimes send a failure's stack in a header besides, up to 1 MB. Few may be held at a time, and nobody else's may be as large.
func TestLargeHeads(t *testing.T) {
	t.Parallel()
	s := &Settings{Listen: tooltest.Address()}
	k := open(t, "f", s, sinks.Host{})
	defer k.Close()
	stack := strings.Repeat("x", 1_000_000)
	r := newRuntime(t, s.Listen)
	fails := func(id string) {
		t.Helper()
		d, done := delivery(t.Context(), id, "1")
		k.Deliver(t.Context(), []*sinks.Delivery{d})
		h, _ := r.next(t.Context())
		code, said := r.post("invocation/"+h.Get("Lambda-Runtime-Aws-Request-Id")+"/error", `{"errorType":"E","errorMessage":"m"}`, "Lambda-Runtime-Function-XRay-Error-Cause", stack)
		if code != 202 || !strings.HasPrefix(describe(<-done), "error function E: m") {
			t.Errorf("%d %s", code, said)
		}
	}
	for i := range maxLarge + 1 { // None is kept.
		fails(fmt.Sprint(i))
	}
	for _, x := range []string{"\r\nX: " + stack + "\r\n\r\n", "\r\nX: " + stack + stack + "\r\n\r\n"} {
		if got := status(t, raw(t, "127.0.0.1", s.Listen, strings.TrimSuffix(ask, "\r\n")+x)); !strings.HasPrefix(got, "431") && got != "" {
			t.Error(got)
		}
	}
	var held []net.Conn
	for range maxLarge + 8 {
		held = append(held, raw(t, "127.0.0.1", s.Listen, strings.TrimSuffix(ask, "\r\n")+"\r\nX: "+stack[:100_000]))
	}
	until(t, "all places are taken", func() bool { return len(k.at.hub.large) == maxLarge })
	for _, c := range held {
		_ = c.Close()
	}
	until(t, "all places are free", func() bool { return len(k.at.hub.large) == 0 })
	fails("last")
}

// TestOddRequests: what a runtime never sends.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	s := &Settings{Listen: tooltest.Address()}
	k := open(t, "f", s, sinks.Host{})
	defer k.Close()
	if got := status(t, raw(t, "127.0.0.1", s.Listen, ask+"Content-Length: 5\r\n\r\n")); got != "400 Bad Request" || k.Waiting() != 0 {
		t.Errorf("a poll with a body: %s", got)
	}
	// More of them than may be: they say at once that they could not begin, and do not get to the end of it.
	begin := "POST " + prefix + "init/error HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
	for range maxUnbidden {
		raw(t, "127.0.0.1", s.Listen, begin)
	}
	until(t, "all are read", func() bool { return len(k.at.hub.unbidden) == maxUnbidden })
	if got := status(t, raw(t, "127.0.0.1", s.Listen, begin)); got != "503 Service Unavailable" {
		t.Errorf("one more: %s", got)
	}
	// Two answers at a time to one call: the second is told so at once, and the first counts.
	r := newRuntime(t, s.Listen)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, done := delivery(ctx, "1", "1")
	k.Deliver(ctx, []*sinks.Delivery{d})
	h, _ := r.next(ctx)
	id := h.Get("Lambda-Runtime-Aws-Request-Id")
	slow := raw(t, "127.0.0.1", s.Listen, "POST "+prefix+"invocation/"+id+"/response HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n1")
	until(t, "it is being answered", func() bool {
		k.at.mu.Lock()
		defer k.at.mu.Unlock()
		return k.at.at[id].answering
	})
	if code, said := r.answer(h, "5"); code != http.StatusBadRequest || !strings.Contains(said, "being answered") {
		t.Errorf("a second answer: %d %s", code, said)
	}
	_ = slow.Close() // It was none.
	until(t, "it can be answered", func() bool { code, _ := r.answer(h, "6"); return code == http.StatusAccepted })
	if got := describe(<-done); got != "2 6" {
		t.Error(got)
	}
}
