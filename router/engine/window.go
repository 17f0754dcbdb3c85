package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/onward-router/onward/router/journal"
)

// WindowFact changes how many children of a step may be open at a time, of a step that is open now. ID tells repeats.
type WindowFact struct {
	ID, Path string
	Window   int // 0 is the most
}

// Append appends the fact's payload to b.
func (f *WindowFact) Append(b []byte) []byte {
	return binary.AppendUvarint(appendText(appendText(b, f.ID), f.Path), uint64(f.Window))
}

// DecodeWindow reads WindowFact.Append's form.
func DecodeWindow(p []byte) (f WindowFact, err error) {
	r := reader{b: p}
	f = WindowFact{ID: r.text(), Path: r.text(), Window: int(r.number())}
	return f, r.end("window")
}

func (s *State) foldWindow(r *run, payload []byte) Reason {
	f, err := DecodeWindow(payload)
	switch {
	case err != nil:
		return Malformed
	case f.Window > s.limits.Window:
		return Limited
	case r.outcome != nil:
		return Finished
	case r.root == nil:
		return Unknown
	}
	var key signalKey
	sum := sha256.Sum256([]byte(journal.Resize.String() + "\x00" + f.ID))
	copy(key[:], sum[:])
	if _, repeated := r.rare().seen[key]; repeated {
		return Duplicate
	}
	var frames []*frame
	r.root.at(f.Path, func(x *frame) { frames = append(frames, x) })
	if len(frames) == 0 && f.Path == r.root.place() && r.root.body != nil {
		frames = append(frames, r.root.body)
	}
	s.cause = cause{event: r.event}
	found, changed := false, false
	for _, x := range frames {
		for slot := range x.slots {
			if x.info.many[slot] {
				found = true
				changed = s.resize(x, slot, f.Window) || changed
			}
		}
	}
	if !found {
		return Unknown
	}
	x := r.own()
	if changed && frames[0].owner.triedAgain() {
		x.keepWindow(frames[0].owner.path(), f.Window)
	}
	x.see(key)
	s.remember(x, key)
	if !changed {
		return Duplicate
	}
	s.note(r, Change{Kind: Resized, Path: f.Path, N: uint32(f.Window)})
	return Applied
}

// A changedWindow is one that somebody has given to the step at a path. It stays when the step, or one around it, is tried again.
type changedWindow struct {
	path   string
	window int
}

// windowsKept is how many steps of a run keep such a window; of more, the oldest goes by its document when it is tried again.
const windowsKept = 64

// triedAgain reports whether t, or a step around it, may be tried again.
func (t *task) triedAgain() bool {
	for x := t; x != nil; x = x.parent() {
		if len(x.step.Retry) > 0 {
			return true
		}
	}
	return false
}

func (x *seldom) keepWindow(path string, window int) {
	x.windows = slices.DeleteFunc(x.windows, func(c changedWindow) bool { return c.path == path })
	x.windows = append(x.windows, changedWindow{path, window})
	x.windows = x.windows[max(0, len(x.windows)-windowsKept):]
}

// changedWindow is the window that somebody has given to the step of a frame; false when nobody has.
func (f *frame) changedWindow(slot int) (int, bool) {
	windows := f.owner.run.rare().windows
	if len(windows) == 0 || !f.info.many[slot] {
		return 0, false
	}
	path := f.owner.path()
	for _, c := range windows {
		if c.path == path {
			return c.window, true
		}
	}
	return 0, false
}

// takeWindows gives a frame that starts the window that somebody has given to its step.
func (f *frame) takeWindows() {
	for slot := range f.slots {
		if n, changed := f.changedWindow(slot); changed {
			f.slots[slot].window = n
		}
	}
}

func (w *writer) windows(list []changedWindow) {
	w.uint(uint64(len(list)))
	for _, c := range list {
		w.text(c.path)
		w.uint(uint64(c.window))
	}
}

func (l *loader) windows(most int) (list []changedWindow) {
	for range l.count() {
		c := changedWindow{l.text(), int(l.uint())}
		if c.window < 0 || c.window > most {
			l.fail(errSnapshot)
		}
		if list = append(list, c); l.err != nil {
			return nil
		}
	}
	return list
}

// resize gives a slot another window, and reports whether it is another. What is open goes on; a wider one opens more at once.
func (s *State) resize(f *frame, slot, window int) bool {
	if f.slots[slot].window == window {
		return false
	}
	f.slots[slot].window = window
	s.fill(f, slot)
	return true
}

// at gives the policies at work at a path, at t or below it: a step's, its twin's, and those of the handlers of either.
func (t *task) at(path string, each func(*frame)) {
	mine := t.path()
	switch {
	case mine == path:
		if t.body != nil {
			each(t.body)
		}
	case mine != "" && !strings.HasPrefix(path, mine+"/"):
		return
	case t.body != nil:
		for i := range t.body.slots {
			for _, child := range t.body.slots[i].sorted() {
				child.at(path, each)
			}
		}
	}
	if t.handler != nil {
		t.handler.at(path, each)
	}
	if twin := t.few().twin; twin != nil {
		twin.at(path, each)
	}
}
