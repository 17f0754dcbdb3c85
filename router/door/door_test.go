package door

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open serves h at a door until the test ends.
func open(t *testing.T, o Options, h http.Handler) *Door {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	o.Metrics = prometheus.NewRegistry()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(h) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		d.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return d
}

// echo answers with what came, or with what was wrong with it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestTimeout)
		return
	}
	_, _ = w.Write(b)
})

func (d *Door) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange writes raw bytes and returns all that comes back until the other end hangs up.
func (d *Door) exchange(t *testing.T, raw string) string {
	t.Helper()
	c := d.dial(t)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		return "closed while it was written: " + err.Error()
	}
	b, _ := io.ReadAll(c) // A reset says what it says.
	return string(b)
}

// metric is the value of a metric, of that reason where one is said.
func (d *Door) metric(t *testing.T, name, reason string) float64 {
	t.Helper()
	families, err := d.o.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (reason == "" || m.GetLabel()[0].GetValue() == reason) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, reason)
	return 0
}

func (d *Door) refusedFor(t *testing.T, reason string) float64 {
	t.Helper()
	return d.metric(t, "onward_refused_requests_total", reason)
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": not within 30 s")
		}
	}
}

// TestSlowConnectionsGo has 3,000 callers who send a byte now and then, of a head or of a body. All of them are closed, and others are served meanwhile.
func TestSlowConnectionsGo(t *testing.T) {
	t.Parallel()
	const many = 3000
	limits := Limits{Head: 2 * time.Second, Body: 2 * time.Second, BodyRate: 1000} // An honest caller keeps them on a busy machine, too.
	d := open(t, Options{Limits: limits}, echo)
	const head = "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
	var all sync.WaitGroup
	ended := make(chan struct{}, many)
	for i := range many {
		c, err := net.Dial("tcp", d.Addr())
		if err != nil {
			t.Fatal(i, err)
		}
		all.Go(func() {
			defer c.Close()
			said := head
			if i%2 == 0 {
				said += "\r\n" // The body is what comes slowly.
			}
			if _, err := io.WriteString(c, said); err != nil {
				ended <- struct{}{}
				return
			}
			go func() {
				for {
					time.Sleep(100 * time.Millisecond)
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
				}
			}()
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, c); !isTimeout(err) {
				ended <- struct{}{}
			}
		})
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for len(ended) < many/2 {
		resp, err := client.Post("http://"+d.Addr()+"/events", "text/plain", strings.NewReader("well"))
		if err != nil {
			t.Fatal("an honest caller is not served beside slow ones:", err)
		}
		_ = resp.Body.Close()
	}
	all.Wait()
	if len(ended) != many {
		t.Errorf("%d of %d slow connections were closed", len(ended), many)
	}
	eventually(t, "all connections are booked as gone", func() bool { return d.metric(t, "onward_connections", "") == 0 })
	if n := d.refusedFor(t, refusedSlow); n != many/2 {
		t.Errorf("%v slow bodies are counted", n)
	}
	if n := d.held.Load(); n != 0 {
		t.Errorf("%d bytes of bodies are held by nobody", n)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// TestASteadyBodyTakesItsTime: one that comes above the minimum rate is not cut, however long it takes, and neither is a handler that works on.
func TestASteadyBodyTakesItsTime(t *testing.T) {
	t.Parallel()
	limits := Limits{Body: 100 * time.Millisecond, BodyRate: 100, Head: time.Second}
	d := open(t, Options{Limits: limits}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
			err = r.Context().Err()
		case <-time.After(300 * time.Millisecond):
		}
		fmt.Fprintf(w, "%d %v", len(b), err)
	}))
	from, to := io.Pipe()
	go func() {
		for range 20 {
			_, _ = to.Write(make([]byte, 100)) // A body that was cut shows below.
			time.Sleep(30 * time.Millisecond)
		}
		_ = to.Close()
	}()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Post("http://"+d.Addr(), "text/plain", from)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "2000 <nil>" {
		t.Errorf("%s", b)
	}
}

// TestWhoDoesNotReadIsHungUpOn asks for much and takes none of it.
func TestWhoDoesNotReadIsHungUpOn(t *testing.T) {
	t.Parallel()
	wrote := make(chan error, 1)
	d := open(t, Options{Limits: Limits{Write: 200 * time.Millisecond}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<20))
		wrote <- err
	}))
	c := d.dial(t)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-wrote:
		if err == nil {
			t.Error("64 MiB were taken by nobody")
		}
	case <-time.After(20 * time.Second):
		t.Error("the handler waits for a caller that does not read")
	}
}

// TestAnIdleConnectionMakesRoom fills the door with connections that wait; the next caller gets in. Where all are at work, he is turned away.
func TestAnIdleConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 8)
	d := open(t, Options{Limits: Limits{Connections: 4}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-hold
		}
	}))
	ask := func(path string) (net.Conn, string) {
		c := d.dial(t)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path) // The answer tells.
		if path == "/hold" {
			return c, ""
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return c, err.Error()
		}
		return c, strings.TrimSpace(line)
	}
	var first net.Conn
	for i := range 4 {
		c, said := ask("/")
		if said != "HTTP/1.1 200 OK" {
			t.Fatal(i, said)
		}
		if i == 0 {
			first = c
		}
	}
	eventually(t, "four connections are idle", func() bool { return d.conns.Idle() == 4 })
	if _, said := ask("/"); said != "HTTP/1.1 200 OK" {
		t.Errorf("the fifth caller gets %q", said)
	}
	_, _ = io.Copy(io.Discard, first) // Its other end was closed; or else the deadline ends the test.
	if n := d.refusedFor(t, refusedIdle); n != 1 {
		t.Errorf("%v made room", n)
	}
	for range 4 {
		ask("/hold")
		<-entered
	}
	if _, said := ask("/"); strings.HasPrefix(said, "HTTP") {
		t.Errorf("a fifth beside four at work gets %q", said)
	}
	if n := d.refusedFor(t, refusedConnections); n != 1 {
		t.Errorf("%v were turned away", n)
	}
	close(hold)
}

// TestSlowCallersPushOneAnotherOut: as many as there may be send half a head or half a body; honest ones are served at once, whatever the slow ones do.
func TestSlowCallersPushOneAnotherOut(t *testing.T) {
	t.Parallel()
	d := open(t, Options{Limits: Limits{Connections: 20, Requests: 4, Head: time.Minute, Body: time.Minute}}, echo)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for round := range 10 {
		for i := range 10 {
			c := d.dial(t)
			said := "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
			if i%2 == 0 {
				said += "\r\nhalf"
			}
			_, _ = io.WriteString(c, said) // One that was pushed out already is as good.
		}
		resp, err := client.Post("http://"+d.Addr()+"/events", "text/plain", strings.NewReader("well"))
		if err != nil {
			t.Fatal(round, err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(b) != "well" {
			t.Fatal(round, resp.Status, string(b))
		}
	}
	if n := d.refusedFor(t, refusedConnections); n != 0 {
		t.Errorf("%v were turned away", n)
	}
	if n := d.refusedFor(t, refusedIdle); n < 50 {
		t.Errorf("%v made room", n)
	}
}

// TestALargeBodyIsNotWaitedFor: who is refused by what stands in the head is told so before a large body comes, and before one that asks to be let in first.
func TestALargeBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	d := open(t, Options{Limits: Limits{Body: time.Hour}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) }))
	for _, head := range []string{"Content-Length: 1000000", "Content-Length: 5\r\nExpect: 100-continue"} {
		c := d.dial(t)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\n"+head+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if said, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(said, "HTTP/1.1 401 ") {
			t.Errorf("%s: %q, %v", head, said, err)
		}
		_ = c.Close()
	}
}

// TestRequestsAreBounded: beyond the limit 503, and health goes on.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 2)
	d := open(t, Options{Limits: Limits{Requests: 2, Body: time.Second}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-hold
		}
		echo(w, r)
	}))
	var held sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) *http.Response {
		resp, err := client.Get("http://" + d.Addr() + path)
		if err != nil {
			t.Error(err)
			return &http.Response{}
		}
		_ = resp.Body.Close()
		return resp
	}
	for range 2 {
		held.Go(func() { get("/hold") })
		<-entered
	}
	if resp := get("/v1/runs"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Error(resp.Status)
	}
	if got := d.exchange(t, "GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nx"); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("with a body that does not come: %q", got)
	}
	resp, err := client.Post("http://"+d.Addr()+"/events", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	if _ = resp.Body.Close(); !strings.Contains(string(b), "the limit is 2") {
		t.Errorf("with a body: %s", b)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if resp := get(path); resp.StatusCode != http.StatusOK {
			t.Error(path, resp.Status)
		}
	}
	close(hold)
	held.Wait()
	if resp := get("/v1/runs"); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

// TestBodiesTogetherAreBounded: what all requests hold counts together, and is given back.
func TestBodiesTogetherAreBounded(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 1)
	d := open(t, Options{Limits: Limits{BodyBytes: 1000}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-hold
		}
		fmt.Fprint(w, len(b), " ", err)
	}))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path string, n int) string {
		resp, err := client.Post("http://"+d.Addr()+path, "text/plain", strings.NewReader(strings.Repeat("x", n)))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	var held sync.WaitGroup
	held.Go(func() { post("/hold", 600) })
	<-entered
	if got := post("/", 600); !strings.Contains(got, "the limit is 1000") {
		t.Error(got)
	}
	if got := post("/", 300); got != "300 <nil>" {
		t.Error(got)
	}
	close(hold)
	held.Wait()
	eventually(t, "what was held is given back", func() bool { return d.held.Load() == 0 })
	if got := post("/", 1000); got != "1000 <nil>" {
		t.Error(got)
	}
}

// TestRawTricks writes what no client library would.
func TestRawTricks(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 100)
	d := open(t, Options{Limits: Limits{HeadBytes: 4 << 10, Head: time.Second, Idle: time.Second}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.Proto + " " + r.Host
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	for _, c := range []struct{ name, raw, want string }{
		{"a head too large", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		{"a target too long", "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		{"h2c with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "505"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "400"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"lengths that differ", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
		{"length and chunks", "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "501"},
		{"a blank before the colon", "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", "400"},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
	} {
		status, _, _ := strings.Cut(d.exchange(t, c.raw), "\n")
		if !strings.Contains(status, c.want) {
			t.Errorf("%s: %q; want %s", c.name, status, c.want)
		}
	}
	got := d.exchange(t, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("an upgrade to h2c: %q", got)
	}
	close(seen)
	for s := range seen {
		if s != "GET HTTP/1.1 localhost" {
			t.Errorf("the handler saw %q", s)
		}
	}
}

func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{"8080": "write 127.0.0.1:8080", "127.0.0.1:99999": "invalid port"} {
		if _, err := Open(Options{Listen: listen}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// TestCloseUnserved: a router that fails between opening its door and serving leaves nothing open.
func TestCloseUnserved(t *testing.T) {
	t.Parallel()
	d, err := Open(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", d.Addr()); err == nil {
		_ = c.Close()
		t.Error("it is still open")
	}
}
