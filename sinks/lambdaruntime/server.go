package lambdaruntime

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The bounds of what runtimes send, and of how long each may take to send or to take it. An answer may come for as long as its call has: handlers stream.
const (
	slowest     = 30 * time.Second
	maxAnswer   = 16 << 20
	maxError    = 256 << 10
	maxUnbidden = 32 // errors that are read at a time of runtimes without a call
)

var isPath = regexp.MustCompile(`^(/[A-Za-z0-9_-]{1,100}){1,5}$`)

// prefix is the Runtime API's version, the only one that there is.
const prefix = "/2018-06-01/runtime/"

func (h *hub) newServer() *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHead, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ConnContext: withConn,
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				for _, e := range h.all() {
					e.gone(c, time.Now())
				}
			}
		},
	}
}

func (h *hub) all() (out []*endpoint) {
	hubs.Lock()
	defer hubs.Unlock()
	for _, e := range h.endpoints {
		out = append(out, e)
	}
	return out
}

// isRuntime reports whether a request can be a runtime's, and no web page's: there is no authentication, and a browser on this machine reaches what listens here,
// also under a foreign name that was made to point here (DNS rebinding). Where the listener has left this machine, runtimes know it by names of their own.
func (h *hub) isRuntime(r *http.Request) bool {
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	return !isLoopback(hostOf(h.address)) || isLoopback(hostOf(r.Host))
}

// hostOf is the name or address in host:port, or in a host alone.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}

// ServeHTTP is the Runtime API.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := connOf(r.Context())
	large := conn.headEnds()
	defer conn.headBegins()
	if !h.isRuntime(r) {
		refuse(w, http.StatusForbidden, "NotARuntime", "only runtimes on this machine are served, and no web page; have AWS_LAMBDA_RUNTIME_API name "+h.address)
		return
	}
	path, rest, ok := strings.Cut(r.URL.Path, prefix)
	hubs.Lock()
	e := h.endpoints[path]
	hubs.Unlock()
	if !ok || e == nil {
		refuse(w, http.StatusNotFound, "NotFound", "nothing is served here; AWS_LAMBDA_RUNTIME_API is the address of lambdaRuntime, with its path")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(slowest)) // Also of a body that nobody asks for. The next request has its own.
	id, what, _ := strings.Cut(strings.TrimPrefix(rest, "invocation/"), "/")
	switch {
	case large && what != "error":
		refuse(w, http.StatusRequestHeaderFieldsTooLarge, "HeadTooLarge", "only an error of a call may have such large headers")
	case rest == "invocation/next" && r.Method == http.MethodGet:
		e.serveNext(w, r, conn)
	case rest == "init/error" && r.Method == http.MethodPost:
		e.serveInitError(w, r)
	case strings.HasPrefix(rest, "invocation/") && (what == "response" || what == "error") && r.Method == http.MethodPost:
		e.serveAnswer(w, r, id, what == "error")
	case rest == "restore/next" || rest == "restore/error":
		refuse(w, http.StatusForbidden, "NoSnapStart", "this function is not restored from a snapshot")
	default:
		refuse(w, http.StatusNotFound, "NotFound", "the Runtime API has invocation/next, invocation/ID/response, invocation/ID/error and init/error")
	}
}

func (e *endpoint) serveNext(w http.ResponseWriter, r *http.Request, conn *conn) {
	if r.ContentLength != 0 { // While a body is due nobody sees that its connection has ended.
		refuse(w, http.StatusBadRequest, "BadRequest", "who asks for a call sends no body")
		return
	}
	conn.Begin()
	defer conn.End()
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // It is in no hurry.
	for {
		c := e.poll(r.Context(), conn)
		switch {
		case c == nil && r.Context().Err() != nil:
			return
		case c == nil:
			refuse(w, http.StatusServiceUnavailable, "NotServed", "the function is served no more, or too many runtimes poll it")
			return
		case c.d.Context.Err() != nil:
			continue // Its time is over before anybody began with it.
		}
		c.headers(w.Header(), time.Now())
		data := c.d.Event().Data()
		if len(data) == 0 {
			data = []byte("null")
		}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(data))}
		_ = control.SetReadDeadline(time.Now().Add(slowest))
		_ = control.SetWriteDeadline(time.Now().Add(slowest))
		_, _ = w.Write(data) // Of a connection that does not take it, the end tells.
		_ = control.Flush()
		_ = control.SetWriteDeadline(time.Time{})
		return
	}
}

func (e *endpoint) serveAnswer(w http.ResponseWriter, r *http.Request, id string, isError bool) {
	c := e.claim(id)
	defer e.release(c)
	body, err := readAnswer(w, r, c)
	switch large := (*http.MaxBytesError)(nil); {
	case c == nil || c.d.Context.Err() != nil:
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "no runtime has that call: its time is over, it was answered, it is being answered, or it is not wanted any more")
		return
	case errors.As(err, &large):
		c.end(failed("Function.ResponseSizeTooLarge", []byte(`{"errorMessage":"the response has more than 16 MiB; pass a dataref instead"}`)))
		refuse(w, http.StatusRequestEntityTooLarge, "Function.ResponseSizeTooLarge", "the response has more than 16 MiB")
		return
	case err != nil:
		return // The connection has ended, and with it the call is lost.
	}
	kind := r.Header.Get("Lambda-Runtime-Function-Error-Type")
	if late := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); late != "" { // A response that was being streamed.
		kind, isError = late, true
		if b, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body")); err == nil {
			body = b
		}
	}
	switch {
	case isError && len(body) > maxError:
		c.end(failed(kind, nil))
	case isError:
		c.end(failed(kind, body))
	default:
		c.end(answered(r.Header, body, c.d.Invoke))
	}
	accepted(w)
}

// readAnswer reads what a runtime answers, for as long as its call is at work.
func readAnswer(w http.ResponseWriter, r *http.Request, c *call) ([]byte, error) {
	if c == nil {
		return nil, nil // Nobody asks for it.
	}
	control, over := http.NewResponseController(w), make(chan struct{})
	_ = control.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(c.d.Context, func() {
		defer close(over)
		_ = control.SetReadDeadline(time.Now())
	})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAnswer))
	if !stop() {
		<-over // The next request of the connection has a time of its own.
	}
	return body, err
}

// serveInitError takes note of a runtime that could not begin. It has no call: what waits goes to others.
func (e *endpoint) serveInitError(w http.ResponseWriter, r *http.Request) {
	select {
	case e.hub.unbidden <- struct{}{}:
		defer func() { <-e.hub.unbidden }()
	default:
		refuse(w, http.StatusServiceUnavailable, "TooMany", "too many runtimes say at a time that they could not begin")
		return
	}
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, maxError)) // What came of it is told.
	said := failed(r.Header.Get("Lambda-Runtime-Function-Error-Type"), body).Completion.Err
	e.mu.Lock()
	k := e.sinks[max(len(e.sinks)-1, 0):]
	e.mu.Unlock()
	if len(k) > 0 && k[0].host.Log != nil {
		k[0].host.Log(r.Context(), "a runtime of a function could not begin", "function", k[0].name, "error", said.Error())
	}
	accepted(w)
}

func accepted(w http.ResponseWriter) {
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`+"\n") // Who does not read it has said what counts.
}

func refuse(w http.ResponseWriter, code int, kind, message string) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second)) // The server waits for the rest of a body before it answers.
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"errorType": kind, "errorMessage": message}) // As above.
}
