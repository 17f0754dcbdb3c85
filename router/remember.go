package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/triggers"
)

// memoryPrefix begins the names of the files in the router's folder in which sources keep how far they are; memoryKey the keys under which routers keep it for
// one another.
const (
	memoryPrefix = "source-"
	memoryKey    = "source/"
)

// remember gives a source its memory.
func (r *Router) remember(name string, source triggers.Source) {
	s, ok := source.(triggers.Remembering)
	if !ok {
		return
	}
	kept, _ := r.memories.LoadOrStore(name, new(fleeting)) // One that a reload changes remembers, too.
	own := kept.(triggers.Memory)
	if r.o.Dir != "" {
		own = memoryFile(filepath.Join(r.o.Dir, memoryPrefix+name+".json"))
	}
	shared := own
	if place, ok := r.o.Journal.(control.Place); ok {
		shared = memoryAmong{place, memoryKey + name}
	}
	s.Remember(own, shared)
}

// A fleeting is the memory of a router that has no folder.
type fleeting struct{ b []byte }

func (m *fleeting) Recall(context.Context) ([]byte, error) { return m.b, nil }

func (m *fleeting) Keep(_ context.Context, b []byte) error {
	m.b = b
	return nil
}

// A memoryFile is a memory in a file of that path.
type memoryFile string

func (m memoryFile) Recall(context.Context) ([]byte, error) {
	b, err := os.ReadFile(string(m))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (m memoryFile) Keep(_ context.Context, b []byte) error {
	return folder.Replace(string(m), b)
}

// A memoryAmong is one that all routers have.
type memoryAmong struct {
	place control.Place
	key   string
}

func (m memoryAmong) Recall(ctx context.Context) ([]byte, error) {
	all, err := m.place.Kept(ctx)
	return all[m.key], err
}

func (m memoryAmong) Keep(ctx context.Context, b []byte) error { return m.place.Keep(ctx, m.key, b) }

// backupMemories gives what sources keep in the router's folder to put.
func (r *Router) backupMemories(put func(name string, size int64, from io.Reader) error) error {
	if r.o.Dir == "" {
		return nil
	}
	for _, s := range r.inlets.sources() {
		name := memoryPrefix + s.Name + ".json"
		b, err := memoryFile(filepath.Join(r.o.Dir, name)).Recall(context.Background())
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if err := put(name, int64(len(b)), bytes.NewReader(b)); err != nil {
			return err
		}
	}
	return nil
}
