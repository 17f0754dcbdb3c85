package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
)

// A disk is a model of a folder: what the process sees, and what a power cut is sure to leave. Data is sure once its file was synced, names once the
// folder was.
type disk struct {
	names   map[string]*inode
	sure    map[string]*inode
	pending []func(map[string]*inode) // changes of names since the folder was synced, in order
}

type inode struct {
	data    []byte
	sure    []byte
	pending []patch // since the file was synced, in order
}

// A patch is a write, or with nil bytes a change of the size.
type patch struct {
	at    int64
	bytes []byte
}

func newDisk() *disk { return &disk{names: make(map[string]*inode), sure: make(map[string]*inode)} }

func (p patch) apply(data []byte) []byte {
	if p.bytes == nil {
		return append(data[:min(int64(len(data)), p.at)], make([]byte, max(0, p.at-int64(len(data))))...)
	}
	if need := p.at + int64(len(p.bytes)); int64(len(data)) < need {
		data = append(data, make([]byte, need-int64(len(data)))...)
	}
	copy(data[p.at:], p.bytes)
	return data
}

// A change is one operation that alters a disk.
type change struct {
	what  string
	apply func(d *disk)
}

func (d *disk) rename(f func(map[string]*inode)) {
	f(d.names)
	d.pending = append(d.pending, f)
}

// A cut says how a crash leaves what was not synced.
type cut struct {
	name  string
	names func() bool                  // whether a change of names is left
	data  func(p patch) (left []patch) // what is left of a write
}

var cuts = []cut{
	{"kill -9", always, whole},
	{"power, nothing unsynced is left", never, nothingOf},
	{"power, data but no names", never, whole},
	{"power, names but no data", always, nothingOf},
	{"power, some of it, torn and out of order", toss, torn},
}

func always() bool            { return true }
func never() bool             { return false }
func toss() bool              { return rand.IntN(2) == 0 }
func whole(p patch) []patch   { return []patch{p} }
func nothingOf(patch) []patch { return nil }

// cuts are those that leave something of its own: the first is always the killed process.
func (d *disk) cuts() []cut {
	data := false
	for _, n := range d.names {
		data = data || len(n.pending) > 0
	}
	switch names := len(d.pending) > 0; {
	case names && data:
		return cuts
	case names || data:
		return []cut{cuts[0], cuts[1], cuts[4]}
	default:
		return cuts[:1]
	}
}

// torn leaves some of a write's sectors.
func torn(p patch) (left []patch) {
	const sector = 512
	if p.bytes == nil {
		if toss() {
			left = append(left, p)
		}
		return left
	}
	for at := p.at; at < p.at+int64(len(p.bytes)); {
		next := min((at/sector+1)*sector, p.at+int64(len(p.bytes)))
		if toss() {
			left = append(left, patch{at, p.bytes[at-p.at : next-p.at]})
		}
		at = next
	}
	return left
}

// after is the disk that a crash leaves.
func (d *disk) after(c cut) *disk {
	names := maps.Clone(d.sure)
	for _, f := range d.pending {
		if c.names() {
			f(names)
		}
	}
	out := newDisk()
	for name, n := range names {
		data := slices.Clone(n.sure)
		for _, p := range n.pending {
			for _, q := range c.data(p) {
				data = q.apply(data)
			}
		}
		copied := &inode{data: data, sure: slices.Clone(data)}
		out.names[name], out.sure[name] = copied, copied
	}
	return out
}

func (d *disk) used() (n int64) {
	for _, f := range d.names {
		n += int64(len(f.data))
	}
	return n
}

var errStopped = errors.New("the world has stopped")

// A world is an FS on a disk. It keeps all changes, may stop after some, and has a budget of bytes.
type world struct {
	mu      sync.Mutex
	disk    *disk
	log     []change // when keep is set
	keep    bool
	changes int
	limit   int   // changes until the world stops; negative is never
	budget  int64 // bytes; 0 is no end
}

func newWorld(d *disk) *world { return &world{disk: d, limit: -1} }

// do makes a change, unless the world has stopped.
func (w *world) do(c change) error {
	if w.limit >= 0 && w.changes >= w.limit {
		return errStopped
	}
	w.changes++
	if w.keep {
		w.log = append(w.log, c)
	}
	c.apply(w.disk)
	return nil
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes
}

func (w *world) setBudget(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = n
}

func (w *world) used() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disk.used()
}

func (w *world) Free() (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget == 0 {
		return 1 << 40, nil
	}
	return max(0, w.budget-w.disk.used()), nil
}

func (w *world) Open(name string, flag int) (File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.disk.names[name]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok:
		err := w.do(change{"create " + name, func(d *disk) {
			n := &inode{} // Made here, so that the change can be made on another disk.
			d.rename(func(names map[string]*inode) { names[name] = n })
		}})
		if err != nil {
			return nil, err
		}
	case flag&os.O_TRUNC != 0:
		if err := w.do(onFile("truncate", name, patch{at: 0})); err != nil {
			return nil, err
		}
	}
	return &worldFile{w: w, name: name, inode: w.disk.names[name]}, nil
}

// onFile changes a file that has that name now. A file that is open keeps the name that it has: the journal renames none that it writes to.
func onFile(what, name string, p patch) change {
	return change{fmt.Sprintf("%s %s at %d, %d bytes", what, name, p.at, len(p.bytes)), func(d *disk) {
		n := d.names[name]
		n.data = p.apply(n.data)
		n.pending = append(n.pending, p)
	}}
}

func (w *world) Rename(from, to string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.disk.names[from]; !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	return w.do(change{"rename " + from + " to " + to, func(d *disk) {
		n := d.names[from]
		d.rename(func(names map[string]*inode) {
			delete(names, from)
			names[to] = n
		})
	}})
}

func (w *world) Remove(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.disk.names[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return w.do(change{"remove " + name, func(d *disk) { d.rename(func(names map[string]*inode) { delete(names, name) }) }})
}

func (w *world) List() ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.disk.names)), nil
}

func (w *world) SyncDir() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.do(change{"sync the folder", func(d *disk) {
		d.sure, d.pending = maps.Clone(d.names), nil
	}})
}

// A worldFile is an open file.
type worldFile struct {
	w     *world
	name  string
	inode *inode
}

func (f *worldFile) ReadAt(b []byte, at int64) (int, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if at >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *worldFile) WriteAt(b []byte, at int64) (int, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.w.disk.names[f.name] != f.inode {
		return 0, fmt.Errorf("a write to %s, which has another name now", f.name)
	}
	var full error
	if grow := at + int64(len(b)) - int64(len(f.inode.data)); f.w.budget > 0 && grow > 0 {
		if over := f.w.disk.used() + grow - f.w.budget; over > 0 {
			b, full = b[:max(0, int64(len(b))-over)], &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
	}
	if len(b) == 0 {
		return 0, full
	}
	if err := f.w.do(onFile("write", f.name, patch{at, slices.Clone(b)})); err != nil {
		return 0, err
	}
	return len(b), full
}

func (f *worldFile) Sync() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.w.disk.names[f.name] != f.inode {
		return fmt.Errorf("a sync of %s, which has another name now", f.name)
	}
	name := f.name
	return f.w.do(change{"sync " + name, func(d *disk) {
		n := d.names[name]
		n.sure, n.pending = slices.Clone(n.data), nil
	}})
}

func (f *worldFile) Size() (int64, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return int64(len(f.inode.data)), nil
}

func (f *worldFile) Truncate(size int64) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.do(onFile("truncate", f.name, patch{at: size}))
}

func (f *worldFile) Close() error { return nil }
