package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
)

// shared is a place that two routers share.
type shared struct {
	mu  sync.Mutex
	has map[string][]byte
	err error
}

func (s *shared) Keep(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.has[key] = value
	}
	return s.err
}

func (s *shared) Kept(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.has), s.err
}

func open(t *testing.T, dir string, place Place) (*Controls, func() string) {
	t.Helper()
	var mu sync.Mutex
	var last []Control
	c, err := Open(t.Context(), dir, place, func(list []Control) {
		mu.Lock()
		defer mu.Unlock()
		last = list
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, func() string {
		mu.Lock()
		defer mu.Unlock()
		b, _ := json.Marshal(last)
		return string(b)
	}
}

func pause(c *Control) { c.Paused = true }

func TestControlsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir, nil)
	if _, err := c.Set(t.Context(), Function, "f", pause); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Set(t.Context(), Trigger, "f", func(c *Control) {}); err != nil {
		t.Fatal(err)
	}
	_, said := open(t, dir, nil)
	if got := said(); got != `[{"kind":"function","name":"f","paused":true}]` {
		t.Error(got)
	}
	if err := os.WriteFile(filepath.Join(dir, "controls.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, nil, func([]Control) {}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a router sends though it does not know what is paused")
	}
}

func TestRoutersShareControls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &shared{has: map[string][]byte{"function/broken": []byte("{")}}
		a, _ := open(t, "", place)
		b, said := open(t, "", place)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { b.Run(ctx) })
		if _, err := a.Set(t.Context(), Trigger, "t", pause); err != nil {
			t.Fatal(err)
		}
		timer, end := context.WithTimeout(ctx, Every+1)
		<-timer.Done()
		end()
		synctest.Wait()
		if got := said(); got != `[{"kind":"trigger","name":"t","paused":true}]` {
			t.Error(got)
		}
		place.mu.Lock()
		place.err = errors.New("away")
		place.mu.Unlock()
		if _, err := a.Set(t.Context(), Trigger, "t", func(c *Control) { c.Paused = false }); err == nil || !a.Get(Trigger, "t").Paused {
			t.Error("what is not durable is in force")
		}
		stop()
		running.Wait()
	})
}
