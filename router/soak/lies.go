package soak

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// liar begins the names of functions, and of the triggers that call them, whose answers are a fault.
const liar = "lie-"

// A lie is what a function does instead of its work. It may use the request's body, which was read, and the connection.
type lie struct {
	name string
	// spec is what the document says of the function beside its address.
	spec string
	tell func(w http.ResponseWriter, r *http.Request, x *exchange)
}

// An exchange is one request to a function, with what it should be answered.
type exchange struct {
	world *world
	id    string // the invocation's
	call  string // the logical call that it is a try of
	right []byte // JSON
	rand  *rand.Rand
}

// short is the time-out of functions that do not answer in time.
const short = "timeout: 700ms"

const shortTime = 700 * time.Millisecond

// lies are the functions' faults. Each is told once or twice to a logical call, which then gets the truth, unless it says otherwise.
var lies = []lie{
	{"hangs", short, func(_ http.ResponseWriter, r *http.Request, x *exchange) { x.world.hold(r, time.Minute) }},
	{"drips", short, drip},
	{"garbage", "concurrency: 16", func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		answer(w, 200, "application/json", x.world.garbage(x.rand))
	}},
	{"garbage-events", "concurrency: 16", func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		answer(w, 200, pick(x.rand, "application/cloudevents+json", "application/cloudevents+json; charset=utf-8"), x.world.badEvent(x.rand))
	}},
	{"odd-types", "concurrency: 16", oddTypes},
	{"errors-as-success", "contract: lambda", errorAsSuccess},
	{"errors", "concurrency: 16", oddError},
	{"unavailable", "concurrency: 16", func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		if x.rand.IntN(2) == 0 {
			w.Header().Set("Retry-After", pick(x.rand, "0", "1", "-5", "soon", "1.5", "Thu, 01 Jan 1970 00:00:00 GMT"))
		}
		answer(w, []int{503, 503, 429, 502, 504, 408, 425}[x.rand.IntN(7)], "text/plain", []byte("later"))
	}},
	{"resets", "concurrency: 16", reset},
	{"broken-http", "concurrency: 16", brokenHTTP},
	{"huge", "concurrency: 1", huge},
	{"deep", "concurrency: 4", func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		n := 100_000
		answer(w, 200, "application/json", []byte(strings.Repeat(`[`, n)+strings.Repeat(`]`, n)))
	}},
	{"twice", "concurrency: 16", twice},
	{"early", "concurrency: 16", early},
	{"late", short, late},
	{"continues", "concurrency: 16", func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		w.Header().Set("Ce-Type", "dev.onward.function.continue")
		answer(w, 200, "application/json", []byte(fmt.Sprintf(`{"input":%s}`, x.right)))
	}},
}

func answer(w http.ResponseWriter, code int, content string, body []byte) {
	w.Header().Set("Content-Type", content)
	w.WriteHeader(code)
	_, _ = w.Write(body) // Who asked may have gone.
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// drip answers a byte at a time: half of the times too slowly, half of the times well within the time.
func drip(w http.ResponseWriter, r *http.Request, x *exchange) {
	pause := pick(x.rand, shortTime/4, 10*time.Millisecond)
	w.Header().Set("Content-Type", "application/json")
	for _, b := range append([]byte("         "), x.right...) {
		if _, err := w.Write([]byte{b}); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return
		}
	}
}

// oddTypes answers right in odd words, or in a way that cannot be read.
func oddTypes(w http.ResponseWriter, _ *http.Request, x *exchange) {
	switch x.rand.IntN(5) {
	case 0:
		answer(w, 200, "Application/JSON", x.right)
	case 1:
		answer(w, 200, `application/json;charset="UTF-8"`, append([]byte(" \r\n\t"), x.right...))
	case 2:
		answer(w, 200, "application/vnd.soak+json", x.right)
	case 3:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(x.right)
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		answer(w, 200, "application/json", b.Bytes())
	case 4:
		answer(w, 200, "Application/CloudEvents+JSON", []byte(fmt.Sprintf(`{"data":%s,"specversion":"1.0","id":"1","source":"/soak","type":"dev.onward.function.succeeded"}`, x.right)))
	}
}

// errorAsSuccess answers with 200 what Lambda answers for a failure.
func errorAsSuccess(w http.ResponseWriter, _ *http.Request, x *exchange) {
	if x.rand.IntN(2) == 0 {
		w.Header().Set("X-Amz-Function-Error", pick(x.rand, "Unhandled", "Handled"))
	}
	answer(w, 200, "application/json", []byte(`{"errorMessage":"division by zero","errorType":"ZeroDivisionError","stackTrace":[]}`))
}

func oddError(w http.ResponseWriter, _ *http.Request, x *exchange) {
	code := pick(x.rand, 400, 404, 418, 500, 501, 599)
	switch x.rand.IntN(5) {
	case 0:
		answer(w, code, "application/problem+json", []byte(`{"type":"https://example.com/probs/out-of-credit","title":"no credit","status":403}`))
	case 1:
		answer(w, code, "application/json", []byte("{\"type\":\"a\xff\xfe\",\"message\":\"\xc3\x28\",\"data\":{\"a\":NaN}}"))
	case 2:
		answer(w, code, "application/json", []byte(`{"type":`+of(strings.Repeat("t", 100_000))+`,"message":null,"data":[1e400]}`))
	case 3:
		answer(w, code, "application/json", []byte(`{"error":{"error":{"error":7}}}`))
	case 4:
		answer(w, code, "text/html", x.world.garbage(x.rand))
	}
}

// reset cuts the connection, before the answer or within it.
func reset(w http.ResponseWriter, _ *http.Request, x *exchange) {
	c, err := hijack(w)
	if err != nil {
		return
	}
	defer c.Close()
	switch x.rand.IntN(3) {
	case 0:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n1")
	case 1:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Ty")
	}
	_ = c.SetLinger(0)
}

// brokenHTTP answers what is no HTTP, or strange HTTP.
func brokenHTTP(w http.ResponseWriter, _ *http.Request, x *exchange) {
	c, err := hijack(w)
	if err != nil {
		return
	}
	defer c.Close()
	text := [][]byte{
		x.world.garbage(x.rand),
		[]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n1\r\n0\r\n\r\n"),
		[]byte("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 600<<10) + "\r\n\r\n1"),
		[]byte("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
		[]byte("HTTP/1.1 999 What\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
		[]byte(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 200)),
	}[x.rand.IntN(6)]
	_, _ = c.Write(text)
}

// huge answers more than a value may have, or an error whose text is as large.
func huge(w http.ResponseWriter, _ *http.Request, x *exchange) {
	code, size := pick(x.rand, 200, 500), 18<<20
	head, tail := `{"type":"big","message":"`, `"}`
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	if _, err := io.WriteString(w, head); err != nil {
		return
	}
	for range size / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, tail)
}

// twice answers 202 and completes by event, twice; then it says otherwise, which comes too late.
func twice(w http.ResponseWriter, _ *http.Request, x *exchange) {
	w.WriteHeader(http.StatusAccepted)
	x.world.later(func() {
		if x.world.complete(x.id, x.right, x.rand) {
			x.world.complete(x.id, x.right, x.rand)
			x.world.complete(x.id, contradiction, x.rand)
		}
	})
}

// early completes by event before its own reply, which says otherwise.
func early(w http.ResponseWriter, _ *http.Request, x *exchange) {
	if !x.world.complete(x.id, x.right, x.rand) {
		answer(w, 200, "application/json", x.right) // The router was gone, and hears the truth.
		return
	}
	answer(w, 200, "application/json", contradiction)
}

// late answers after the time-out, when the next try is under way already: what it says then is no longer asked for.
func late(_ http.ResponseWriter, r *http.Request, x *exchange) {
	x.world.hold(r, time.Minute)
	x.world.later(func() {
		time.Sleep(50 * time.Millisecond)
		if x.world.superseded(x) {
			x.world.complete(x.id, contradiction, x.rand)
		} else {
			x.world.complete(x.id, x.right, x.rand)
		}
	})
}

// contradiction is what no run may ever come to.
var contradiction = json.RawMessage(`"a lie"`)
