package shard

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// watchers are those who follow runs as they go.
type watchers struct {
	any  atomic.Int64
	mu   sync.Mutex
	runs map[journal.RunID][]chan engine.Change
}

// observe hands a change to those who watch its run; one who does not keep up misses some, never holds the fold.
func (ws *watchers) observe(c engine.Change) {
	if ws.any.Load() == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.runs[c.Run] {
		select {
		case w <- c:
		default:
		}
	}
}

// Watch gives the changes of a run until ctx ends. A watcher that falls more than 1,024 behind misses changes.
func (set *Set) Watch(ctx context.Context, id journal.RunID) <-chan engine.Change {
	ws := &set.watch
	c := make(chan engine.Change, 1024)
	ws.mu.Lock()
	if ws.runs == nil {
		ws.runs = make(map[journal.RunID][]chan engine.Change)
	}
	ws.runs[id] = append(ws.runs[id], c)
	ws.mu.Unlock()
	ws.any.Add(1)
	context.AfterFunc(ctx, func() {
		ws.any.Add(-1)
		ws.mu.Lock()
		defer ws.mu.Unlock()
		list := ws.runs[id]
		for i := range list {
			if list[i] == c {
				ws.runs[id] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(ws.runs[id]) == 0 {
			delete(ws.runs, id)
		}
		close(c)
	})
	return c
}
