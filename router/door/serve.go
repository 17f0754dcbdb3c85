package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/conns"
	"github.com/onward-router/onward/triggers"
)

func (d *Door) refuse(w http.ResponseWriter, code int, reason, what, cure string) {
	d.metrics.refused.WithLabelValues(reason).Inc()
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(triggers.Refuse(code, what, cure)) // The client has gone: nobody is left to be told.
}

// serve lets a request to the handler within the limits.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 {
		d.refuse(w, http.StatusHTTPVersionNotSupported, refusedProtocol, "HTTP/2 is not spoken here", "send HTTP/1.1")
		return
	}
	t := &turn{d: d}
	t.conn = conns.Of(r.Context())
	defer t.end()
	comes := r.Body != nil && r.Body != http.NoBody
	if comes {
		b := &body{d: d, turn: t, from: r.Body, control: http.NewResponseController(w), begin: time.Now()}
		b.extend() // It counts for what the handler leaves unread, too.
		defer b.release()
		r = r.WithContext(r.Context()) // The server goes by its own body, of which it waits for none that is large, or asks to be let in first, before it answers.
		r.Body = b
	}
	// Only of what is posted is the body waited for: nobody gets round the limit by a body that nobody reads.
	if !(comes && r.Method == http.MethodPost) && !t.begin() && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		d.refuse(w, http.StatusServiceUnavailable, refusedRequests, fmt.Sprintf("%d requests are at work, and the limit is %d", d.limits.Requests, d.limits.Requests), "send it again later, or raise limits.requests")
		return
	}
	d.handler.ServeHTTP(w, r)
}

// A turn is a request's place among those at work. It begins once all of the request is there: who sends slowly takes up a connection, and no place.
type turn struct {
	d     *Door
	conn  *conns.Conn // nil where there is none to book it for
	begun bool
}

// begin takes a place; false: all are taken.
func (t *turn) begin() bool {
	if t.begun {
		return true
	}
	select {
	case t.d.requests <- struct{}{}:
	default:
		return false
	}
	t.begun = true
	t.conn.Begin()
	return true
}

func (t *turn) end() {
	if t.begun {
		<-t.d.requests
	} else {
		t.conn.Begin() // It was not idle just now.
	}
	t.conn.End()
}

// A body comes at a minimum rate, and what was read of it counts until the request ends or the body is closed.
type body struct {
	d       *Door
	turn    *turn
	from    io.ReadCloser
	control *http.ResponseController
	begin   time.Time
	size    int64 // read so far
	held    int64 // of which it holds
}

// extend gives the body the time that what has come of it allows.
func (b *body) extend() {
	allowed := b.d.limits.Body + time.Duration(float64(b.size)/float64(b.d.limits.BodyRate)*float64(time.Second))
	_ = b.control.SetReadDeadline(b.begin.Add(allowed)) // Where that cannot be said the server's own limits hold.
}

// Read reads on. A body that is too slow, or that finds no room, is an error that says so.
func (b *body) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.from.Read(p)
	b.size += int64(n)
	if !b.take(int64(n)) {
		b.d.metrics.refused.WithLabelValues(refusedBodies).Inc()
		return 0, fmt.Errorf("%w: bodies of %d bytes are being read, and the limit is %d; send it again", triggers.ErrBusy, b.d.limits.BodyBytes, b.d.limits.BodyBytes)
	}
	switch {
	case errors.Is(err, io.EOF):
		_ = b.control.SetReadDeadline(time.Time{}) // The rest of the request may take as long as it takes.
		if !b.turn.begin() {
			b.d.metrics.refused.WithLabelValues(refusedRequests).Inc()
			err = fmt.Errorf("%w: %d requests are at work, and the limit is %d; send it again later, or raise limits.requests", triggers.ErrBusy, b.d.limits.Requests, b.d.limits.Requests)
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.d.metrics.refused.WithLabelValues(refusedSlow).Inc()
		err = fmt.Errorf("%w: it has to come within %s and at %s bytes a second", triggers.ErrSlow, b.d.limits.Body, strconv.Itoa(b.d.limits.BodyRate))
	}
	return n, err
}

func (b *body) take(n int64) bool {
	if b.d.held.Add(n) > int64(b.d.limits.BodyBytes) {
		b.d.held.Add(-n)
		return false
	}
	b.held += n
	b.d.metrics.bodyBytes.Add(float64(n))
	return true
}

func (b *body) release() {
	b.d.held.Add(-b.held)
	b.d.metrics.bodyBytes.Sub(float64(b.held))
	b.held = 0
}

// Close says that what was read is not held any more.
func (b *body) Close() error {
	b.release()
	return b.from.Close()
}
