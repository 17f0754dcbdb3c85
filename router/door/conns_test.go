package door

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestTenThousandConnections come and say nothing: so many stay as the limit says, those that wait for longest make room, an honest caller is served all the while, and
// one costs no more than some kilobytes.
func TestTenThousandConnections(t *testing.T) {
	t.Parallel()
	many := 10_000 / slowed
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if room := int(files.Cur) - 1000; 2*many > room { // Both ends are in this process, and other tests beside it.
		many = room / 2
		t.Logf("the machine lets %d files be open: %d connections", files.Cur, many)
	}
	limit := many * 8 / 10
	d := open(t, Options{Limits: Limits{Connections: limit, Head: time.Minute, Idle: time.Minute}}, echo)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	open := make([]net.Conn, 0, many)
	defer func() {
		var all sync.WaitGroup
		for _, c := range open {
			all.Go(func() { _ = c.Close() })
		}
		all.Wait()
	}()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range many {
		c, err := net.Dial("tcp", d.Addr())
		if err != nil {
			t.Fatal(i, err)
		}
		open = append(open, c)
		if i%3 == 0 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localh") // It is made room of as one that says nothing.
		}
		if i%1000 == 999 {
			resp, err := client.Post("http://"+d.Addr()+"/events", "text/plain", strings.NewReader("well"))
			if err != nil {
				t.Fatalf("an honest caller beside %d connections: %v", i+1, err)
			}
			b, _ := io.ReadAll(resp.Body)
			if _ = resp.Body.Close(); string(b) != "well" {
				t.Fatalf("an honest caller beside %d connections: %s", i+1, b)
			}
		}
	}
	eventually(t, "so many are open as may be", func() bool { return d.metric(t, "onward_connections", "") >= float64(limit)-20 })
	if n := d.metric(t, "onward_connections", ""); n > float64(limit) {
		t.Errorf("%v connections are open; the limit is %d", n, limit)
	}
	eventually(t, "those beyond the limit have made room", func() bool { return d.refusedFor(t, refusedIdle) >= float64(many-limit) })
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / int64(limit); each > 64<<10 {
		t.Errorf("a connection that says nothing costs %d bytes", each)
	} else {
		t.Logf("%d connections, %d bytes each", limit, each)
	}
}
