package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A hostile sends what is no event, or not its to send. Whatever it is answered, the runs of others come to what they must.
type hostile struct {
	s    *soak
	ctx  context.Context
	door *door // with a client of its own: broken connections are not those of the honest
}

// An attack is one kind of what it sends; refused ones must be refused.
type attack struct {
	name string
	do   func(h *hostile, r *rand.Rand) (events int)
}

var attacks = []attack{
	{"malformed events", (*hostile).malformed},
	{"huge events", (*hostile).huge},
	{"deep events", (*hostile).deep},
	{"forged completions", (*hostile).forged},
	{"strange calls of the API", (*hostile).strange},
	{"calls by web pages", (*hostile).page},
	{"raw bytes", (*hostile).raw},
	{"slow requests", (*hostile).slow},
	{"odd batches", (*hostile).batches},
	{"loops", (*hostile).loop},
}

func newHostile(s *soak, ctx context.Context) *hostile {
	return &hostile{s, ctx, &door{s.n.door.addr, &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}}
}

func (h *hostile) run(busy *sync.WaitGroup) {
	for i := range 2 {
		busy.Go(func() {
			r := rand.New(rand.NewPCG(h.s.o.Seed, 1000+uint64(i)))
			for h.ctx.Err() == nil {
				a := attacks[r.IntN(len(attacks))]
				h.s.j.sent(a.name, a.do(h, r))
				h.s.n.colour(a.name)
				pause(h.ctx, time.Duration(r.IntN(150))*time.Millisecond)
			}
		})
	}
}

// send does a request and judges the answer: no error of the router's own, and with refused nothing but a refusal.
func (h *hostile) send(name string, refused bool, method, path string, header http.Header, body []byte) {
	code, answer, err := h.door.send(h.ctx, method, path, header, body)
	switch {
	case err != nil: // It was killed, or it had read enough.
	case code >= 500 && code != 501 && code != 503 && code != 507:
		h.s.j.blame(name, "%s: %s %.60s was answered with %d %.120q", name, method, path, code, answer)
	case refused && code < 300 && !(code == http.StatusAccepted && bytes.Contains(answer, undecided)):
		h.s.j.blame(name, "%s: %s %.60s with %.150s and %.60q was answered with %d %.120q", name, method, path, fmt.Sprint(header), body, code, answer)
	}
}

// undecided is how the API says that a fact is taken and that the fold has not come to it in time: it may yet be found to mean nothing.
var undecided = []byte(`"became":"accepted"`)

func ce(kind string, more ...string) http.Header {
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {fmt.Sprint("hostile-", rand.Uint64())}, "Ce-Source": {"/hostile"}, "Ce-Type": {kind}, "Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

func (h *hostile) malformed(r *rand.Rand) int {
	const name = "malformed events"
	bad := h.s.w.garbage(r)
	switch r.IntN(8) {
	case 0:
		h.send(name, true, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents+json"}}, h.s.w.badEvent(r))
	case 1:
		h.send(name, true, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, bad)
	case 2:
		h.send(name, true, "POST", "/events", ce("soak.sequence"), bad)
	case 3: // Whatever these bytes are, nobody takes them.
		h.send(name, false, "POST", "/events", ce("soak.nobody", "Content-Type", pick(r, "text/plain", "image/png", "application/octet-stream", "text/html; charset=iso-8859-1", "%%%")), bad)
	case 4:
		h.send(name, true, "POST", "/events", ce("soak.sequence", "Ce-Time", "yesterday"), []byte("1"))
	case 5:
		h.send(name, true, "POST", "/events", ce("soak.sequence", "Ce-Specversion", pick(r, "0.3", "2.0", "", "1.0.0")), []byte("1"))
	case 6:
		h.send(name, true, "POST", "/events", ce("soak.sequence", "Content-Encoding", "gzip"), []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	case 7:
		h.send(name, true, "POST", "/events", ce("bad%FF%FE"), []byte("1"))
	}
	return 1
}

func (h *hostile) huge(r *rand.Rand) int {
	const name = "huge events"
	switch r.IntN(5) {
	case 0:
		h.send(name, true, "POST", "/events", ce("soak.sequence"), []byte(of(strings.Repeat("x", 2<<20))))
	case 1:
		h.send(name, true, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, append([]byte("["), bytes.Repeat([]byte(" "), 20<<20)...))
	case 2:
		h.send(name, true, "POST", "/events", ce("soak.sequence", "Ce-Subject", strings.Repeat("s", 80<<10)), []byte("1"))
	case 3:
		h.send(name, true, "POST", "/events", ce("soak.sequence", "Ce-Id", strings.Repeat("i", 40<<10)), []byte("1"))
	case 4: // It says that it is larger than anything, and then it is not.
		h.stream("POST /events HTTP/1.1\r\nHost: "+h.door.addr+"\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 9000000000000\r\n\r\n", bytes.Repeat([]byte("["), 1<<20))
	}
	return 1
}

func (h *hostile) deep(r *rand.Rand) int {
	const name = "deep events"
	n := pick(r, 600, 9000, 200_000)
	data := strings.Repeat("[", n) + strings.Repeat("]", n)
	if r.IntN(2) == 0 {
		data = strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n)
	}
	e := fmt.Sprintf(`{"specversion":"1.0","id":"deep","source":"/hostile","type":"soak.sequence","data":%s}`, data)
	switch r.IntN(4) {
	case 0:
		h.send(name, true, "POST", "/events", ce("soak.sequence"), []byte(data))
	case 1:
		h.send(name, true, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents+json"}}, []byte(e))
	case 2:
		h.send(name, true, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, []byte("["+e+"]"))
	case 3:
		h.send(name, true, "POST", "/v1/triggers/sequence", http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"deep"}}, []byte(data))
	}
	return 1
}

// forged completes invocations of others' runs, whose numbers it guesses; signals and cancels go to runs that there are not.
func (h *hostile) forged(r *rand.Rand) int {
	const name = "forged completions"
	id := h.s.j.someRun(r)
	cause := fmt.Sprintf("%s~%s.%d", id, pick(r, "inc", "function", "double", "sequence", "map/do", "", "echo", "signal"), 1+r.IntN(8))
	if r.IntN(2) == 0 {
		cause += pick(r, ".", "-", "~", ":") + fmt.Sprintf("%x", r.Uint64())
	}
	kind := "dev.onward.function." + pick(r, "succeeded", "failed", "continue")
	switch r.IntN(4) {
	case 0, 1:
		h.send(name, false, "POST", "/events", ce(kind, "Ce-Causationid", cause, "Ce-Correlationid", id), contradiction)
	case 2:
		e := event{ID: cause, Source: "/hostile", Type: kind, Cause: cause, Run: id, Data: contradiction}
		h.send(name, false, "POST", "/events", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, append(append([]byte("["), e.structured()...), ']'))
	case 3:
		h.send(name, false, "POST", "/events", ce("dev.onward.signal", "Ce-Subject", "nobody", "Ce-Correlationid", pick(r, "00000000000000000000000000", "x", "", id)), []byte("1"))
	}
	return 1
}

// strange asks the API for what there is not, in ways that nobody should.
func (h *hostile) strange(r *rand.Rand) int {
	const name = "strange calls of the API"
	asJSON := http.Header{"Content-Type": {"application/json"}}
	switch r.IntN(9) {
	case 0:
		h.send(name, true, "POST", "/v1/runs/00000000000000000000000000/cancel", nil, nil)
	case 1:
		h.send(name, true, "POST", "/v1/runs/"+pick(r, "..", "%00", "%2e%2e%2f", strings.Repeat("z", 26), "é")+"/signals/go", asJSON, []byte("1"))
	case 2:
		h.send(name, true, "POST", "/v1/triggers/"+pick(r, "nobody", "%00", "%ff", strings.Repeat("t", 5000)), asJSON, []byte("1"))
	case 3:
		h.send(name, true, "POST", "/v1/triggers/sequence", asJSON, h.s.w.garbage(r))
	case 4:
		h.send(name, true, "GET", "/v1/runs?limit="+pick(r, "-1", "0", "x", "99999999999999999999"), nil, nil)
	case 5:
		h.send(name, false, "GET", "/v1/runs?limit=10000&state="+pick(r, "", "running", "%00", "succeeded"), nil, nil)
	case 6:
		h.send(name, false, pick(r, "PUT", "DELETE", "PATCH", "TRACE", "X"), pick(r, "/v1/runs", "/events", "/metrics", "/"), nil, h.s.w.garbage(r))
	case 7:
		h.send(name, false, "GET", "/v1/runs/"+h.s.j.someRun(r)+pick(r, "", "/explain", "?wait=1ms", "?wait=x"), nil, nil)
	case 8: // It watches, and leaves without a word.
		ctx, cancel := context.WithTimeout(h.ctx, 200*time.Millisecond)
		_, _, _ = h.door.send(ctx, "GET", "/v1/runs/"+h.s.j.someRun(r)+"/watch", nil, nil)
		cancel()
	}
	return 0
}

// page does what a web page on the same machine could: the router listens on loopback without a token.
func (h *hostile) page(r *rand.Rand) int {
	const name = "calls by web pages"
	header := http.Header{"Content-Type": {"text/plain"}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}, "Idempotency-Key": {"page"}}
	if r.IntN(2) == 0 {
		h.send(name, true, "POST", "/v1/triggers/sequence", header, []byte("1"))
		return 1
	}
	h.stream("POST /v1/triggers/sequence HTTP/1.1\r\nHost: rebound.example\r\nIdempotency-Key: page\r\nContent-Type: application/json\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1", nil)
	return 1
}

func (h *hostile) raw(r *rand.Rand) int {
	h.stream(string(h.s.w.garbage(r))+pick(r, "", "\r\n\r\n", "\n\n"), h.s.w.garbage(r))
	return 0
}

// stream writes bytes to a connection and cuts it.
func (h *hostile) stream(head string, body []byte) {
	c, err := net.DialTimeout("tcp", h.door.addr, time.Second)
	if err != nil {
		return // It is being started.
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, head); err != nil {
		return
	}
	if _, err := c.Write(body); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c) // Until it has said what it has to, or the time is over.
}

// slow opens connections that say a byte now and then.
func (h *hostile) slow(r *rand.Rand) int {
	var open []net.Conn
	for range 30 {
		if c, err := net.DialTimeout("tcp", h.door.addr, time.Second); err == nil {
			open = append(open, c)
		}
	}
	text := []byte("POST /events HTTP/1.1\r\nHost: " + h.door.addr + "\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat(" ", 1000))
	for i := 0; i < 20+r.IntN(80) && h.ctx.Err() == nil; i++ {
		for _, c := range open {
			_, _ = c.Write(text[i : i+1]) // It may have been cut off: that is right.
		}
		pause(h.ctx, 20*time.Millisecond)
	}
	for _, c := range open {
		_ = c.Close()
	}
	return 0
}

// batches are large, empty, and good ones with one that is none.
func (h *hostile) batches(r *rand.Rand) int {
	const name = "odd batches"
	header := http.Header{"Content-Type": {"application/cloudevents-batch+json"}}
	n := 1 + r.IntN(2000)
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/hostile","type":"soak.nobody"}`, i)
	}
	refused := r.IntN(2) == 0
	if refused {
		events[r.IntN(n)] = pick(r, `{}`, `null`, `[]`, `{"specversion":"1.0","id":"x","source":"/hostile","type":""}`)
	}
	h.send(name, refused, "POST", "/events", header, []byte("["+strings.Join(events, ",")+"]"))
	return n
}

// loop starts a trigger that starts itself with its own end: it must come to an end. It is done now and then, since each makes hundreds of runs.
func (h *hostile) loop(r *rand.Rand) int {
	if r.IntN(10) > 0 {
		return 0
	}
	h.send("loops", false, "POST", "/events", ce("soak.loop"), []byte("1"))
	return 1
}
