// Package control is what people hold back of a whole router: functions and triggers that are paused, functions that get less at a time.
//
// It decides nothing that is journaled: only when something goes out. So it is no record, but kept beside the journal, in the data folder or where the routers
// that share a journal all find it.
package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/folder"
)

// The kinds of what can be controlled.
const (
	Function = "function"
	Trigger  = "trigger"
)

// A Control is what somebody has said of a function or a trigger. One that says nothing is as good as none.
type Control struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`
	Paused bool      `json:"paused,omitempty"`
	Limit  int       `json:"limit,omitempty"` // of calls at a time, instead of the documents' concurrency; 0 is none
	Since  time.Time `json:"since,omitzero"`  // of the pause
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Asked  time.Time `json:"asked,omitzero"` // when somebody wanted a function to be asked again at once, whatever pause it had asked for
}

// Halt is since when, by whom and why it is paused; nil where it is not.
func (c *Control) Halt() *engine.Pause {
	if !c.Paused {
		return nil
	}
	return &engine.Pause{Since: c.Since, By: c.By, Reason: c.Reason}
}

// Key names what is controlled.
func (c *Control) Key() string { return c.Kind + "/" + c.Name }

// A Place keeps controls for all routers that share it. Keep returns when it is durable; Kept returns what all of them have kept, the last of each key.
type Place interface {
	Keep(ctx context.Context, key string, value []byte) error
	Kept(ctx context.Context) (map[string][]byte, error)
}

// Every is how often a shared place is read: so long it takes until all routers do what one was told.
const Every = 2 * time.Second

// Most bounds how many things are controlled.
const Most = 10_000

// Controls are those in force. Its methods may be called concurrently.
type Controls struct {
	place  Place // nil: file has them
	file   string
	apply  func([]Control)
	log    *slog.Logger
	mu     sync.Mutex // around changes
	byKey  map[string]Control
	behind bool
}

// Open reads what was kept, in a shared place, or else in dir; with neither, controls end with the process. apply is told of all of them now, and whenever they
// change, one call at a time.
func Open(ctx context.Context, dir string, place Place, apply func([]Control), log *slog.Logger) (*Controls, error) {
	c := &Controls{place: place, apply: apply, log: log, byKey: make(map[string]Control)}
	if place == nil && dir != "" {
		c.file = filepath.Join(dir, "controls.json")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(ctx); err != nil {
		return nil, fmt.Errorf("what is paused cannot be read: %w; a router that does not know must not send", err)
	}
	c.apply(c.list())
	return c, nil
}

func (c *Controls) read(ctx context.Context) error {
	if c.place != nil {
		kept, err := c.place.Kept(ctx)
		if err != nil {
			return err
		}
		next := make(map[string]Control, len(kept))
		for key, value := range kept {
			if !strings.HasPrefix(key, Function+"/") && !strings.HasPrefix(key, Trigger+"/") {
				continue // Others keep things there too.
			}
			var x Control
			if err := json.Unmarshal(value, &x); err != nil || x.Key() != key {
				c.log.Error("a control cannot be read, and is passed over; pause or resume it again", "key", key)
				continue
			}
			next[key] = x
		}
		c.byKey = next
		return nil
	}
	if c.file == "" {
		return nil
	}
	b, err := os.ReadFile(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []Control
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("%s: %w; remove it, and pause again what is to be", c.file, err)
	}
	for _, x := range list {
		c.byKey[x.Key()] = x
	}
	return nil
}

// Set puts a control into force, once it is durable.
func (c *Controls) Set(ctx context.Context, kind, name string, change func(*Control)) (Control, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.get(kind, name)
	was, known := c.byKey[x.Key()]
	if !known && len(c.list()) >= Most {
		return x, fmt.Errorf("%d functions and triggers are controlled, which is the limit; resume some", Most)
	}
	change(&x)
	c.byKey[x.Key()] = x
	if err := c.keep(ctx, &x); err != nil {
		if c.byKey[x.Key()] = was; !known {
			delete(c.byKey, x.Key())
		}
		return x, fmt.Errorf("it is not durable, and nothing has changed: %w", err)
	}
	c.apply(c.list())
	return x, nil
}

func (c *Controls) keep(ctx context.Context, x *Control) error {
	if c.place != nil {
		b, err := json.Marshal(x)
		if err != nil {
			return err
		}
		return c.place.Keep(ctx, x.Key(), b)
	}
	if c.file == "" {
		return nil
	}
	b, err := json.MarshalIndent(c.list(), "", "  ")
	if err != nil {
		return err
	}
	return folder.Replace(c.file, b)
}

// Backup gives what is kept here to put, as the file that Open reads; what the brokers keep is not here.
func (c *Controls) Backup(put func(name string, size int64, from io.Reader) error) error {
	if c.file == "" {
		return nil
	}
	c.mu.Lock()
	b, err := json.MarshalIndent(c.list(), "", "  ")
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return put(filepath.Base(c.file), int64(len(b)), bytes.NewReader(b))
}

// Get returns what is said of one thing.
func (c *Controls) Get(kind, name string) Control {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(kind, name)
}

func (c *Controls) get(kind, name string) Control {
	x := Control{Kind: kind, Name: name}
	if has, ok := c.byKey[x.Key()]; ok {
		return has
	}
	return x
}

func (c *Controls) list() []Control {
	list := make([]Control, 0, len(c.byKey))
	for _, x := range c.byKey {
		if x.Paused || x.Limit > 0 || !x.Asked.IsZero() {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b Control) int { return cmp.Compare(a.Key(), b.Key()) })
	return list
}

// Run follows what other routers are told, until ctx ends. While the place cannot be read, what is known stays in force.
func (c *Controls) Run(ctx context.Context) {
	if c.place == nil {
		return
	}
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.follow(ctx)
	}
}

func (c *Controls) follow(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.list()
	err := c.read(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		c.behind = true
		c.log.Warn("what other routers pause and resume is not known at present", "error", err)
	case err == nil:
		if c.behind {
			c.behind = false
			c.log.Info("what other routers pause and resume is known again")
		}
		if after := c.list(); !slices.Equal(before, after) {
			c.apply(after)
		}
	}
}
