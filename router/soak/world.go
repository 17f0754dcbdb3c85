package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A world is the functions and the collector: what the router calls.
type world struct {
	j        *judge
	door     *door
	seed     uint64
	trash    [][]byte
	honest   func() bool // the end has come: no lie is begun any more
	listener net.Listener
	server   *http.Server
	busy     sync.WaitGroup
	ctx      context.Context

	mu     sync.Mutex
	told   map[string]int    // lies by logical call
	newest map[string]uint64 // number of the newest invocation by logical call
}

func newWorld(ctx context.Context, j *judge, seed uint64) (*world, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &world{j: j, seed: seed, trash: garbage(), honest: func() bool { return false }, listener: l, ctx: ctx, told: make(map[string]int), newest: make(map[string]uint64)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /f/{name}", w.function)
	mux.HandleFunc("POST /collect/{trigger}", w.collect)
	w.server = &http.Server{Handler: mux, ErrorLog: quiet}
	go func() { _ = w.server.Serve(l) }() // It ends by close.
	return w, nil
}

func (w *world) url() string { return "http://" + w.listener.Addr().String() }

func (w *world) close() {
	_ = w.server.Close()
	w.busy.Wait()
}

// later does something beside the answer.
func (w *world) later(do func()) {
	w.busy.Go(do)
}

// hold keeps a request open until its sender has had enough.
func (w *world) hold(r *http.Request, atMost time.Duration) {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-w.ctx.Done():
	case <-t.C:
	}
}

// function answers an invocation: its work on the input, or the lie that it is named for.
func (w *world) function(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id, runID, key := r.Header.Get("Ce-Id"), r.Header.Get("Ce-Correlationid"), r.Header.Get("Ce-Idempotencykey")
	w.j.called(id, runID, body)
	name := r.PathValue("name")
	kind, lying := strings.CutPrefix(name, liar)
	x := &exchange{world: w, id: id, rand: rand.New(rand.NewPCG(w.seed, hash(id)))}
	x.call, _, _ = strings.Cut(key, "+") // A continuation is the same call to us.
	call := x.call
	w.mu.Lock()
	w.newest[call] = max(w.newest[call], number(id))
	lied := w.told[call]
	tell := lying && !w.honest() && lied < 1+int(hash(call)%2)
	if tell {
		w.told[call]++
	}
	w.mu.Unlock()
	right, code := work(name, body)
	x.right = right
	switch {
	case name == "forever":
		w.hold(r, time.Hour)
		return
	case kind == "later" && !w.honest():
		w.asynchronous(rw, x)
		return
	case tell:
		for _, l := range lies {
			if l.name == kind {
				w.j.lied(kind, runID)
				l.tell(rw, r, x)
				return
			}
		}
	}
	answer(rw, code, "application/json", right)
}

// asynchronous takes an invocation and completes it a little later by an event.
func (w *world) asynchronous(rw http.ResponseWriter, x *exchange) {
	w.j.sent("later", 0)
	pause := time.Duration(x.rand.IntN(500)) * time.Millisecond
	rw.WriteHeader(http.StatusAccepted)
	w.later(func() {
		time.Sleep(pause)
		w.complete(x.id, x.right, x.rand)
	})
}

// number is N of an invocation's id, RUN~path.N.TAG.
func number(id string) uint64 {
	parts := strings.Split(id, ".")
	n, _ := strconv.ParseUint(parts[max(len(parts)-2, 0)], 10, 64) // 0 is older than any.
	return n
}

// superseded tells whether a later try of the same call has come.
func (w *world) superseded(x *exchange) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest[x.call] > number(x.id)
}

// work is what a function makes of its input. All take a number or a list of numbers; a continuation wraps it.
func work(name string, body []byte) (right []byte, code int) {
	var state struct {
		Input json.RawMessage `json:"input"`
	}
	if json.Unmarshal(body, &state) == nil && len(state.Input) > 0 {
		return state.Input, 200 // It had worked it out before it asked to go on.
	}
	if name == "boom" {
		return []byte(`{"type":"boom","message":"as it should"}`), 500
	}
	var x int64
	var list []int64
	switch {
	case json.Unmarshal(body, &x) == nil:
		switch name {
		case "double":
			x *= 2
		case "echo":
		default:
			x++
		}
	case json.Unmarshal(body, &list) == nil && name == "sum":
		for _, n := range list {
			x += n
		}
	default:
		return body, 200
	}
	return strconv.AppendInt(nil, x, 10), 200
}

// complete sends a completion until it is acknowledged; false when that was in vain, or all is over.
func (w *world) complete(id string, value []byte, r *rand.Rand) bool {
	e := event{ID: "done-" + id + "-" + strconv.FormatUint(r.Uint64(), 36), Source: "/soak/functions", Type: "dev.onward.function.succeeded", Cause: id, Data: value}
	mode := r.IntN(3)
	for {
		code, _, err := w.door.post(w.ctx, mode, e)
		switch {
		case err != nil || code == 503 || code == 429:
			select {
			case <-w.ctx.Done():
				return false
			case <-time.After(50 * time.Millisecond):
			}
		case code == 507:
			w.j.blame("", "a completion was refused with 507: it must always be taken")
			return false
		case code == 404, code == 409, code == 410:
			return true // It is known already, or its run has ended: the router says so.
		case code >= 300:
			w.j.blame("", "the completion of %s was refused with %d", id, code)
			return false
		default:
			return true
		}
	}
}

// collect takes the event of a run's end; now and then it is not to be had.
func (w *world) collect(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := collected{id: r.Header.Get("Ce-Id"), want: want{State: strings.TrimPrefix(r.Header.Get("Ce-Type"), "dev.onward.run.")}}
	if rand.IntN(20) == 0 && !w.honest() { // After this it knows, and the router does not know that it knows.
		defer func() { rw.WriteHeader(http.StatusServiceUnavailable) }()
	}
	if c.want.State == "failed" {
		var said struct{ Error struct{ Type string } }
		_ = json.Unmarshal(body, &said) // What has no type is wrong, and is seen to be.
		c.want.Error = said.Error.Type
	} else {
		c.want.Data = canonical(body)
	}
	id := r.Header.Get("Ce-Correlationid")
	if r.PathValue("trigger") == follower {
		id = follower + c.want.Data // Nobody was told the id of its run.
	}
	w.j.collect(id, c)
}

func hijack(w http.ResponseWriter) (*net.TCPConn, error) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("not a TCP connection"), c.Close())
	}
	return t, nil
}

// badEvent is a body that is no event, and no JSON that could be one.
func (w *world) badEvent(r *rand.Rand) []byte {
	bad := []string{
		`{"datacontentencoding":"","specversion":"0.3","id":"1","source":"/a","type":"t"}`,
		`{"specversion":"0.3","id":"1","source":"/a","type":"t","data":1}`,
		`{"specversion":"1.0","id":"1","source":"/a"}`,
		`{"specversion":"1.0","id":1,"source":"/a","type":"t"}`,
		`{"specversion":"1.0","id":"1","source":"/a","type":"t","data":1,"data_base64":"MQ=="}`,
		`{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"%%%"}`,
		`[]`, `null`, `7`, `"text"`, ``, `{`, `{"specversion":"1.0"`,
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\xff\xfe\",\"data\":1}",
		`{"specversion":"1.0","id":"","source":"","type":"","data":1}`,
		`{"specversion":"1.0","id":"1","source":"/a","type":"dev.onward.function.succeeded","data":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	}
	if n := r.IntN(len(bad) + 8); n < len(bad) {
		return []byte(bad[n])
	}
	return w.garbage(r)
}

// garbage is a body that is no JSON.
func (w *world) garbage(r *rand.Rand) []byte { return w.trash[r.IntN(len(w.trash))] }

// describe says what functions there are, in a document's words.
func describe(url string, generation int) string {
	var b strings.Builder
	for _, name := range []string{"inc", "double", "sum", "echo", "boom"} {
		fmt.Fprintf(&b, "  %s: { http: { url: %q }, concurrency: %d }\n", name, url+"/f/"+name, 32+generation%3)
	}
	fmt.Fprintf(&b, "  forever: { http: { url: %q }, concurrency: 10000, timeout: 100h }\n", url+"/f/forever")
	fmt.Fprintf(&b, "  lie-later: { http: { url: %q }, timeout: 20s }\n", url+"/f/lie-later")
	for _, l := range lies {
		fmt.Fprintf(&b, "  %s%s: { http: { url: %q }, %s }\n", liar, l.name, url+"/f/"+liar+l.name, l.spec)
	}
	return b.String()
}
