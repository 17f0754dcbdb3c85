// Command demo is a router to look at: it serves the functions of demo.yaml, starts the router beside it, and sends events as long as it runs.
//
//	make demo
//
// Some photos are broken, some cards are declined, the mail is down for 20 of every 90 seconds, and the pager refuses all that it gets: there is something
// to see, to understand and to mend on each page.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:8080", "address of the router")
	onward := flag.String("onward", "bin/onward", "the router's program")
	documents := flag.String("documents", "deploy/demo/demo.yaml", "its documents")
	tiles := flag.Int("tiles", 20_000, "branches of the wide run")
	flag.Parse()
	if err := run(*listen, *onward, *documents, *tiles); err != nil {
		log.Fatal(err)
	}
}

func run(listen, onward, documents string, tiles int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:7009")
	if err != nil {
		return fmt.Errorf("the functions: %w; is another demo running?", err)
	}
	server := &http.Server{Handler: functions(time.Now())}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	dir, err := os.MkdirTemp("", "onward-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	router := exec.CommandContext(ctx, onward, "serve", documents, "--data", filepath.Join(dir, "data"), "--listen", listen, "--log-level", "error")
	router.Stderr, router.Stdout = os.Stderr, os.Stdout
	router.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C comes here, and the router is asked to drain.
	router.Cancel = func() error { return router.Process.Signal(syscall.SIGTERM) }
	router.WaitDelay = 30 * time.Second
	if err := router.Start(); err != nil {
		return fmt.Errorf("%w; build it: make build", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Wait() }()
	s := sender{at: "http://" + listen}
	if err := s.ready(ctx, ended); err != nil {
		return err
	}
	fmt.Printf("\n  The page:  %s/\n  Ctrl-C ends the demo; its data are thrown away.\n\n", s.at)
	s.traffic(ctx, tiles)
	if err := <-ended; ctx.Err() == nil {
		return fmt.Errorf("the router has ended: %w", err)
	}
	return nil
}

// A sender sends events to the router.
type sender struct {
	at string
	n  int
}

// ready waits until the router takes events.
func (s *sender) ready(ctx context.Context, ended <-chan error) error {
	for {
		if resp, err := http.Get(s.at + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the router did not start: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// send sends one event. That it did not arrive is said; the next one is sent all the same.
func (s *sender) send(ctx context.Context, kind, subject string, data any) {
	s.n++
	e := map[string]any{
		"specversion": "1.0", "id": fmt.Sprintf("demo-%d-%d", os.Getpid(), s.n), "type": "com.example." + kind, "source": "/demo", "datacontenttype": "application/json", "data": data,
	}
	if subject != "" {
		e["subject"] = subject
	}
	b, err := json.Marshal(e)
	if err != nil {
		log.Print(err)
		return
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.at+"/in", bytes.NewReader(b))
	if err != nil {
		log.Print(err)
		return
	}
	q.Header.Set("Content-Type", "application/cloudevents+json")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		if ctx.Err() == nil {
			log.Print(err)
		}
		return
	}
	resp.Body.Close()
}

// traffic sends events until ctx ends.
func (s *sender) traffic(ctx context.Context, tiles int) {
	s.send(ctx, "map.asked", "the world", map[string]any{"tiles": tiles})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		switch {
		case i%5 == 0:
			s.send(ctx, "album.uploaded", fmt.Sprintf("album %d", i/5), map[string]any{"album": i / 5, "photos": 40 + i*13%160, "notify": true})
		case i%5 == 3:
			s.send(ctx, "job.started", "", map[string]any{"job": i})
		}
		s.send(ctx, "order.placed", fmt.Sprintf("order %d", i), map[string]any{"order": i, "price": 10 + i*37%400})
		if i%15 == 0 {
			s.send(ctx, "expense.filed", fmt.Sprintf("%d EUR for a dinner", 20+i%90), map[string]any{"amount": 20 + i%90})
		}
		if i%20 == 0 {
			s.send(ctx, "night", "", nil)
		}
		if i%12 == 0 {
			s.send(ctx, "nobody.wants.this", "", map[string]any{"n": i})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A function does its work by what it is given; luck is a hash of that.
type function struct {
	takes time.Duration
	do    func(in map[string]any, luck uint32) (any, *refusal)
}

// functions are those of demo.yaml. What fails does so by what it is given, so that it fails again.
func functions(begin time.Time) http.Handler {
	all := map[string]function{
		"list":   {80, listPhotos},
		"resize": {400, refuses(40, refusal{422, "corrupt_image", "the file ends in the middle of a row"})},
		"tile":   {900, refuses(541, refusal{500, "no_data", "there is no survey of this tile"})},
		"charge": {250, refuses(7, refusal{402, "card_declined", "the bank says no"})},
		"clean": {700, func(_ map[string]any, luck uint32) (any, *refusal) {
			if time.Now().UnixMilli()%4 == 0 {
				return nil, &refusal{422, "bad_row", "row 1,204 has a date in the year 20226"}
			}
			return map[string]any{"rows": luck % 100_000}, nil
		}},
		"mail": {100, func(map[string]any, uint32) (any, *refusal) {
			if time.Since(begin)%(90*time.Second) > 70*time.Second {
				return nil, &refusal{503, "down", "the mail is being upgraded"}
			}
			return map[string]any{"sent": true}, nil
		}},
		"status": {60, func(in map[string]any, _ uint32) (any, *refusal) {
			round, _ := in["round"].(float64)
			job, _ := in["job"].(float64)
			return map[string]any{"done": int(round) >= 3+int(job)%4}, nil
		}},
		"pager": {50, refuses(1, refusal{403, "no_such_service", "the key of this service was revoked"})},
	}
	for name, takes := range map[string]time.Duration{"reserve": 150, "album": 200, "ship": 300, "give-back": 120, "extract": 900, "load": 500, "report": 400} {
		all[name] = function{takes, refuses(0, refusal{})}
	}
	mux := http.NewServeMux()
	for name, f := range all {
		mux.Handle("POST /"+name, f)
	}
	return mux
}

func listPhotos(in map[string]any, _ uint32) (any, *refusal) {
	photos := []string{}
	n, _ := in["photos"].(float64)
	for i := range int(n) {
		photos = append(photos, fmt.Sprintf("IMG_%04d.jpg", i))
	}
	return map[string]any{"photos": photos}, nil
}

// refuses is a function that refuses one of so many; 0 is none.
func refuses(one uint32, with refusal) func(map[string]any, uint32) (any, *refusal) {
	return func(_ map[string]any, luck uint32) (any, *refusal) {
		if one > 0 && luck%one == 0 {
			return nil, &with
		}
		return map[string]any{"id": luck}, nil
	}
}

// ServeHTTP takes about as long as the function does, in milliseconds.
func (f function) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(q.Body).Decode(&in) // Some are given nothing.
	h := fnv.New32a()
	fmt.Fprint(h, q.URL.Path, in)
	luck := h.Sum32() >> 7
	if wait(q.Context(), f.takes*time.Duration(500+luck%1000)*time.Microsecond) != nil {
		return
	}
	out, refused := f.do(in, luck)
	w.Header().Set("Content-Type", "application/json")
	if refused != nil {
		w.WriteHeader(refused.code)
		out = refused
	}
	_ = json.NewEncoder(w).Encode(out) // The router has gone: it sends it again.
}

// A refusal is an error as a function answers it.
type refusal struct {
	code    int
	Type    string `json:"type"`
	Message string `json:"message"`
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
