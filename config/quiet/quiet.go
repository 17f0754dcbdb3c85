// Package quiet is a log that says nothing twice: of what is the same, one line goes out within half a minute, and what it held back is counted and said.
//
// What is the same is the message with the things that it names (trigger, state, function ...), not its details: a thousand runs of one trigger that end alike
// are one line, with the first one's id, and then one that tells of the rest.
package quiet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pause is how long what was said is not said again.
const Pause = 30 * time.Second

// Held is the attribute that says how many lines a line stands for besides itself.
const Held = "heldBack"

// most is how many different things are told apart at a time; beyond it, only messages are.
const most = 1000

// names are the attributes that make two lines of one message different things. All others are details: who adds one by which something is to be told apart
// adds it here.
var names = []string{
	"alert", "client", "digest", "documents", "doing", "errorType", "finding", "function", "kind", "partition", "reason", "reload", "sink", "source", "state", "status", "topic", "trigger", "type", "where",
}

// Of returns a log that says nothing twice; one that does not already is returned as it is.
func Of(log *slog.Logger) *slog.Logger {
	if _, is := log.Handler().(*handler); is {
		return log
	}
	return slog.New(New(log.Handler()))
}

// New puts a handler behind one that holds back.
func New(to slog.Handler) slog.Handler {
	return &handler{to: to, said: &said{things: make(map[string]*thing)}}
}

// Flush says now what is held back: the process ends.
func Flush(log *slog.Logger) {
	if h, is := log.Handler().(*handler); is {
		h.said.flush()
	}
}

type handler struct {
	to    slog.Handler
	key   string // of the attributes that the log has by itself
	group bool   // what is in a group is a detail
	said  *said
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, l) }

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.to.WithGroup(name), h.key, true, h.said}
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var key []byte
	for _, a := range attrs {
		key = h.add(key, a)
	}
	return &handler{h.to.WithAttrs(attrs), h.key + string(key), h.group, h.said}
}

// add adds an attribute to the key of its line.
func (h *handler) add(key []byte, a slog.Attr) []byte {
	if _, named := slices.BinarySearch(names, a.Key); !named || h.group {
		return key
	}
	key = append(append(key, a.Key...), '=')
	return append(append(key, a.Value.Resolve().String()...), 0)
}

// Handle says a line, or holds it back. The last line that was held back stands for the others.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	var room [256]byte
	key := append(append(room[:0], byte(r.Level), byte(r.Level>>8)), r.Message...)
	short := len(key)
	key = append(append(key, 0), h.key...)
	r.Attrs(func(a slog.Attr) bool {
		key = h.add(key, a)
		return true
	})
	if !h.said.first(key, short, h, &r) {
		return nil
	}
	return h.to.Handle(ctx, r)
}

// said is what was said of late.
type said struct {
	mu     sync.Mutex
	things map[string]*thing
}

// A thing was said, and is not again until its time is over.
type thing struct {
	held int
	last slog.Record // of those held back
	by   *handler
	over *time.Timer
}

// first reports whether a line is to be said now.
func (s *said) first(key []byte, short int, h *handler, r *slog.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.things[string(key)]
	if t == nil && len(s.things) >= most {
		key = key[:short]
		t = s.things[string(key)]
	}
	if t != nil {
		t.held++
		t.last, t.by = *r, h // The handler gets its own copy, and nobody adds to ours.
		return false
	}
	name := strings.Clone(string(key))
	s.things[name] = &thing{over: time.AfterFunc(Pause, func() { s.end(name) })}
	return true
}

// end lets a thing be said again, or tells of what was held back, which is saying it.
func (s *said) end(name string) {
	s.mu.Lock()
	t := s.things[name]
	if t == nil {
		s.mu.Unlock()
		return
	}
	held, last, by := t.held, t.last, t.by
	if held == 0 {
		delete(s.things, name)
	} else {
		t.held, t.last, t.by = 0, slog.Record{}, nil
		t.over.Reset(Pause)
	}
	s.mu.Unlock()
	if held > 0 {
		by.tell(last, held)
	}
}

// tell says the last of the lines that were held back, for all of them. Its time is when it was to be said.
func (h *handler) tell(last slog.Record, held int) {
	line := last.Clone()
	if held > 1 {
		line.AddAttrs(slog.Int(Held, held-1))
	}
	_ = h.to.Handle(context.Background(), line) // As every log's.
}

func (s *said) flush() {
	s.mu.Lock()
	things := s.things
	s.things = make(map[string]*thing)
	s.mu.Unlock()
	var told []*thing
	for _, t := range things {
		t.over.Stop()
		if t.held > 0 {
			told = append(told, t)
		}
	}
	slices.SortFunc(told, func(a, b *thing) int { return a.last.Time.Compare(b.last.Time) })
	for _, t := range told {
		t.by.tell(t.last, t.held)
	}
}
