package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// A spring is a source that the test sees begin and end, and that says events until its context ends, the last ones after it.
type spring struct {
	name string
	s    *springSettings
	of   *springs
}

type springSettings struct {
	Every plugin.Duration `doc:"every" help:"nothing" default:"1ms"`
	Fails bool            `doc:"fails" help:"nothing"`
}

type springs struct {
	mu    sync.Mutex
	log   []string
	taken []string // ids that were acknowledged
}

func (s *springs) say(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

func (s *springs) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

var springIDs atomic.Int64

func (s *spring) Run(ctx context.Context, admit triggers.Admit) error {
	s.of.say("begin " + s.name)
	defer s.of.say("end " + s.name)
	if s.s.Fails {
		return errors.New("the spring is dry")
	}
	for last := false; ; {
		e := event.New()
		e.SetID(fmt.Sprint(s.name, "-", springIDs.Add(1)))
		e.SetSource("/spring")
		e.SetType("drop")
		receipts, err := admit(context.WithoutCancel(ctx), []event.Event{e})
		if err == nil && receipts[0].Err == nil && len(receipts[0].Runs) == 1 {
			s.of.mu.Lock()
			s.of.taken = append(s.of.taken, receipts[0].Runs[0].ID)
			s.of.mu.Unlock()
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			last = true
		case <-time.After(s.s.Every.D()):
		}
	}
}

const reloadHead = `
version: 1
functions: { f: { log: f } }
triggers: { t: { filters: [{ exact: { type: drop } }], onSuccess: { function: f } } }
sources:
`

// TestReloadOfSources: what does not change goes on and does not notice; what changes hands over first; what is new begins, and what has gone is gone. A
// reload that is refused changes nothing. All that was acknowledged has its run.
func TestReloadOfSources(t *testing.T) {
	t.Parallel()
	of, reg, metrics := &springs{}, registry(), prometheus.NewRegistry()
	triggers.Register(reg, "spring", 1, "Springs.", func(name string, s *springSettings) (triggers.Source, error) {
		return &spring{name + "/" + s.Every.D().String(), s, of}, nil
	})
	set := func(sources string) *config.Set { return parse(t, reg, reloadHead+sources) }
	r := runIt(t, router.Options{
		Set:      set("  kept: { spring: {} }\n  changed: { spring: {} }\n  gone: { spring: {} }\n  hook: { webhook: { path: /hook } }\n"),
		Registry: reg, Journal: memory.New(memory.Options{Partitions: 4}), Listen: "127.0.0.1:0", Drain: -1, Metrics: metrics,
	})
	code := func(path string) int {
		t.Helper()
		resp, err := http.Get("http://" + r.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	comes(t, func() bool { return len(of.said()) == 3 })
	bad := "  kept: { spring: { every: 9ms } }\n  a: { webhook: { path: /a } }\n  b: { webhook: { path: /b, auth: { bearer: { env: RELOAD_NEVER } } } }\n  c: { webhook: { path: /c, auth: { bearer: { env: RELOAD_NOPE } } } }\n"
	if err := r.Reload(set(bad)); err == nil || !regexp.MustCompile(`^source "b": .*RELOAD_NEVER.*\nsource "c": .*RELOAD_NOPE`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"version: 1\n", strings.TrimSuffix(reloadHead, "sources:\n"), "version: 1\nsources: { kept: { spring: {} } }\n"} {
		if err := r.Reload(parse(t, reg, text)); err == nil || !strings.Contains(err.Error(), "was a file cut off?") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got := of.said(); len(got) != 3 || code("/hook") != http.StatusMethodNotAllowed || code("/a") != http.StatusNotFound {
		t.Errorf("a reload that was refused left its mark: %q", got)
	}
	// The webhook is hammered while it changes: what it acknowledges counts, and nobody is told anything else than to come again.
	var hammers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 {
		hammers.Go(func() { hammer(ctx, t, r.Addr(), of) })
	}
	for i := range 20 {
		if err := r.Reload(set(fmt.Sprintf("  kept: { spring: {} }\n  changed: { spring: { every: %dms } }\n  new: { spring: {} }\n  hook: { webhook: { path: /hook, maxEvent: %dKiB } }\n  other: { webhook: { path: /other } }\n", i+2, i+10))); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	hammers.Wait()
	if code("/other") != http.StatusMethodNotAllowed {
		t.Error("the new webhook is not served:", code("/other"))
	}
	comes(t, func() bool { return slices.Contains(of.said(), "begin changed/21ms") })
	got := of.said()
	for _, x := range []struct {
		what string
		n    int
	}{{"begin kept/1ms", 1}, {"end kept/1ms", 0}, {"end gone/1ms", 1}, {"begin new/1ms", 1}, {"end changed/1ms", 1}, {"end changed/20ms", 1}, {"end changed/21ms", 0}} {
		if n := times(got, x.what); n != x.n {
			t.Errorf("%s: %d times; want %d", x.what, n, x.n)
		}
	}
	open := 0
	for _, line := range got { // One of a name at a time.
		switch {
		case strings.HasPrefix(line, "begin changed"):
			if open++; open > 1 {
				t.Errorf("two are at work under one name: %q", got)
			}
		case strings.HasPrefix(line, "end changed"):
			open--
		}
	}
	// One that a reload has begun and that fails is seen, and takes nobody with it.
	if err := r.Reload(set("  kept: { spring: {} }\n  dry: { spring: { fails: true } }\n")); err != nil {
		t.Fatal(err)
	}
	comes(t, func() bool { return slices.Contains(of.said(), "end dry/1ms") })
	comes(t, func() bool {
		_, body := say(t, r.Addr(), request("GET", "/readyz", r.Addr(), "", ""))
		return strings.Contains(body, `"status":"degraded","sources":{"dry":"the spring is dry"}`)
	})
	if code("/hook") != http.StatusNotFound {
		t.Error("a webhook that has gone is served")
	}
	of.mu.Lock()
	taken := slices.Clone(of.taken)
	of.mu.Unlock()
	if len(taken) < 50 {
		t.Errorf("only %d events were taken", len(taken))
	}
	for _, run := range taken {
		if _, body := say(t, r.Addr(), request("GET", "/v1/runs/"+run, r.Addr(), "", "")); !strings.Contains(body, run) {
			t.Fatalf("%s was acknowledged and is lost: %s", run, body)
		}
	}
}

// comes waits for what has to come.
func comes(t *testing.T, is func() bool) {
	t.Helper()
	eventually(t, func() error {
		if is() {
			return nil
		}
		return errors.New("it does not come")
	})
}

func times(all []string, what string) (n int) {
	for _, x := range all {
		if x == what {
			n++
		}
	}
	return n
}

// hammer sends events to the webhook until the context ends.
func hammer(ctx context.Context, t *testing.T, addr string, of *springs) {
	for ctx.Err() == nil {
		id := fmt.Sprint("h-", springIDs.Add(1))
		q, err := http.NewRequest("POST", "http://"+addr+"/hook", strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return
		}
		for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-source": "/h", "ce-type": "drop", "Content-Type": "application/json"} {
			q.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return
		}
		run := strings.TrimPrefix(resp.Header.Get("Location"), "/v1/runs/")
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusAccepted && run != "":
			of.mu.Lock()
			of.taken = append(of.taken, run)
			of.mu.Unlock()
		case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		default:
			t.Errorf("%s: %s", id, resp.Status)
			return
		}
	}
}
