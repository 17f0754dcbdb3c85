package file

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	looking  = 100 * time.Millisecond // between two looks at the files
	saving   = 200 * time.Millisecond // between two keepings of how far they are read
	opened   = 64                     // files that are kept open when they are read, so that one is read to its end that gets another name
	mostOpen = 1000                   // files that are open at a time
	orphan   = time.Minute            // and so long after it has
	handing  = 30 * time.Second       // bounds one admission, and one keeping
)

// A Source reads files.
type Source struct {
	*triggers.Lot
	name  string
	s     *Settings
	keep  triggers.Memory // nil: nothing is
	stdin *input
	rest  []line // of standard input, what is kept

	places  []*place
	files   map[*place]*reading
	dirty   bool
	saved   time.Time
	said    map[string]time.Time // what was told, by its text
	first   bool                 // the first look
	waiting bool                 // files were not opened in this look, since so many are
	admit   triggers.Admit
	mu      sync.Mutex
	report  triggers.Report
	trouble error

	lines  *prometheus.CounterVec
	unread prometheus.Gauge
}

// New makes the source. Nothing is opened before Run.
func New(name string, s *Settings) (triggers.Source, error) {
	label := prometheus.Labels{"source": name}
	return &Source{
		Lot: triggers.NewLot(name), name: name, s: s, stdin: standard, files: make(map[*place]*reading), said: make(map[string]time.Time), first: true,
		lines:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_source_lines_total", Help: "Events of lines, by what became of them: taken (or passed over, as the document says) or parked.", ConstLabels: label}, []string{"fate"}),
		unread: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_source_unread_bytes", Help: "Bytes of files that were not read, or that the router does not take yet.", ConstLabels: label}),
	}, nil
}

var (
	_ triggers.Remembering = (*Source)(nil)
	_ triggers.Measured    = (*Source)(nil)
	_ triggers.Reporting   = (*Source)(nil)
	_ triggers.Keeping     = (*Source)(nil)
	_ triggers.Troubled    = (*Source)(nil)
	_ plugin.Prober        = (*Source)(nil)
)

// Remember keeps how far files are read at this router, which sees them.
func (s *Source) Remember(own, _ triggers.Memory) { s.keep = own }

// Collectors are the source's metrics.
func (s *Source) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.lines, s.unread, s.Count()}
}

// Report says how far the files are read.
func (s *Source) Report() triggers.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// Trouble says why files are not read.
func (s *Source) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// Probe looks whether there are such files.
func (s *Source) Probe(context.Context) (string, error) {
	if s.s.Path == "-" {
		return "standard input", nil
	}
	paths, err := matches(s.s.Path)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return "", err
		}
		_ = f.Close() // It was only read.
	}
	if len(paths) == 0 && !s.s.Follow {
		return "", fmt.Errorf("there is no file %s", s.s.Path)
	}
	return fmt.Sprintf("%d files", len(paths)), nil
}

// Run reads until ctx ends; then it waits for what it has handed over, and keeps how far it is.
func (s *Source) Run(ctx context.Context, admit triggers.Admit) error {
	s.admit = admit
	if s.s.Path == "-" {
		return s.runStdin(ctx)
	}
	if !s.recall(ctx) {
		return nil
	}
	defer s.close()
	for ctx.Err() == nil {
		begin := time.Now()
		more := s.look(ctx)
		s.save(ctx, !more)
		if !more && !s.s.Follow && s.isDone() {
			slog.Info("source: all is read", "source", s.name, "path", s.s.Path, "files", len(s.places))
			s.show("all is read")
			<-ctx.Done()
			break
		}
		if !more { // A look at ten thousand files costs something.
			pause(ctx, max(looking, 10*time.Since(begin)))
		}
	}
	s.save(ctx, true)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// recall reads how far the files were read, and does not give up before ctx ends: without knowing it, all would be read again.
func (s *Source) recall(ctx context.Context) bool {
	if s.keep == nil {
		return true
	}
	for ctx.Err() == nil {
		b, err := s.keep.Recall(ctx)
		if err == nil {
			k, err := decodeKept(b)
			if err != nil {
				slog.Error("source: what was kept of how far files are read cannot be read; they are read from their beginnings", "source", s.name, "error", err)
			}
			s.places, s.rest, s.first = k.Files, k.Rest, s.first && len(b) == 0
			return true
		}
		s.fail("how far files are read is not known at present", err)
		pause(ctx, time.Second)
	}
	return false
}

// fail says what goes wrong, now and again.
func (s *Source) fail(what string, err error) {
	s.mu.Lock()
	s.trouble = fmt.Errorf("%s: %w", what, err)
	s.mu.Unlock()
	if now := time.Now(); now.Sub(s.said[what]) > time.Minute {
		if len(s.said) > 1000 {
			clear(s.said)
		}
		s.said[what] = now
		slog.Warn("source: "+what, "source", s.name, "error", err)
	}
}

// clear lets what went wrong be over.
func (s *Source) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = nil
}

// save keeps how far the files are read, when that has changed and it is time, or now.
func (s *Source) save(ctx context.Context, now bool) bool {
	if !s.dirty || !now && time.Since(s.saved) < saving || s.keep == nil {
		return true
	}
	b, err := json.Marshal(kept{Files: s.places})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
		defer cancel()
		err = s.keep.Keep(ctx, b)
	}
	s.saved = time.Now()
	if err != nil {
		s.fail("how far files are read cannot be kept", err)
		return false
	}
	s.dirty = false
	return true
}

// look goes through all files once, in order of their names, and reports whether there is more to read.
func (s *Source) look(ctx context.Context) (more bool) {
	s.clear()
	paths, err := matches(s.s.Path)
	if err != nil {
		s.fail("files cannot be listed", err)
		return false
	}
	if len(paths) > mostFiles {
		s.fail("there are too many files", fmt.Errorf("%d match, and the first %d are read; move those away that are read", len(paths), mostFiles))
		paths = paths[:mostFiles]
	}
	s.waiting = false
	found := s.find(ctx, paths)
	s.first = false
	unread := int64(0)
	for _, r := range s.readings(found) {
		if ctx.Err() != nil {
			break
		}
		m, err := r.read(ctx)
		if err != nil {
			s.fail("a file cannot be read: "+r.place.Path, err)
		}
		more = more || m
		unread += max(r.size-r.place.Offset, 0)
		s.save(ctx, false)
	}
	s.unread.Set(float64(unread))
	s.forget(found)
	s.show("")
	return more || s.waiting && len(s.files) < mostOpen // Where all wait for the router, so do those.
}

// What was seen is a file that is none of those that are known, by what the system calls them.
type seen struct {
	path string
	info fs.FileInfo
}

// find has a place for each path, and a reading where there is something to read: first for those whose files the system calls what it did, then by name. A file
// that is new is kept as such before a line of it is read: its token is in the ids of its lines.
func (s *Source) find(ctx context.Context, paths []string) map[*place]bool {
	byFile, byPath := make(map[string]*place, len(s.places)), make(map[string]*place, len(s.places))
	for _, p := range s.places {
		if p.File != "" {
			byFile[p.File] = p
		}
		byPath[p.Path] = p
	}
	found := make(map[*place]bool, len(paths))
	var others []seen
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue // It has just gone.
		}
		if p := byFile[idOf(info)]; p == nil || found[p] || !s.holds(p, path, info) {
			others = append(others, seen{path, info})
		} else {
			found[p] = true
		}
	}
	var begun []*place
	for _, o := range others {
		p := byPath[o.path]
		if p == nil || found[p] || !s.holds(p, o.path, o.info) {
			if p = s.begin(o.path, o.info); p == nil {
				continue
			}
			begun = append(begun, p)
		}
		found[p] = true
	}
	if len(begun) > 0 && !s.save(ctx, true) {
		for _, p := range begun {
			s.drop(p) // It begins once its token is durable.
		}
	}
	for p := range found {
		if r := s.files[p]; r != nil {
			r.left = time.Time{}
		}
	}
	return found
}

// holds reports whether p is about the file at path, which may have had another name. Where it was touched since, it is opened and looked at.
func (s *Source) holds(p *place, path string, info fs.FileInfo) bool {
	r := s.files[p]
	if r != nil {
		if was, err := r.f.Stat(); err == nil && !os.SameFile(was, info) {
			return false // Another has taken its name.
		}
	}
	same := p.Path == path && p.File == idOf(info) && p.Gone.IsZero()
	if same && info.Size() == p.Offset && info.ModTime().Equal(p.touched) {
		return true
	}
	if r == nil && len(s.files) >= mostOpen {
		s.waiting = true
		return true
	}
	if r == nil {
		f, err := os.Open(path)
		if err != nil {
			s.fail("a file cannot be opened: "+path, err)
			return true // Nothing is known against it.
		}
		r = &reading{s: s, place: p, f: f}
	}
	if !p.isStill(r.f, info.Size()) {
		slog.Info("source: a file was cut or replaced, and is read from its beginning", "source", s.name, "file", path, "was read to", p.Offset)
		_ = r.f.Close() // It was only read.
		if delete(s.files, p); p.File == idOf(info) {
			s.drop(p)
		}
		return false
	}
	if !same {
		p.Path, p.File, p.Gone, s.dirty = path, idOf(info), time.Time{}, true
	}
	p.touched, r.size = info.ModTime(), info.Size()
	s.files[p] = r
	return true
}

// begin is the place of a file that is new; nil when it cannot be opened.
func (s *Source) begin(path string, info fs.FileInfo) *place {
	passed := s.first && s.s.Start == latest
	if !passed && len(s.files) >= mostOpen {
		s.waiting = true
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		s.fail("a file cannot be opened: "+path, err)
		return nil
	}
	p := &place{Path: path, File: idOf(info), Token: newToken()}
	if s.places, s.dirty = append(s.places, p), true; passed {
		defer f.Close()
		if err := s.toEnd(p, f, info.Size()); err != nil {
			s.fail("a file cannot be read: "+path, err)
			s.drop(p)
			return nil
		}
		return p
	}
	s.files[p] = &reading{s: s, place: p, f: f, size: info.Size()}
	return p
}

// toEnd passes over what a file has: up to the end of its last whole line.
func (s *Source) toEnd(p *place, f *os.File, size int64) error {
	r := newLineReader(io.NewSectionReader(f, 0, size), 0)
	for {
		n, ended, err := r.skip()
		switch {
		case err != nil:
			return err
		case !ended:
			p.advance(f, p.Offset, p.Line)
			return nil
		}
		p.Offset, p.Line = p.Offset+n, p.Line+1
	}
}

// readings are those of the files that were found, by name, and of those that have lost their names and are open still.
func (s *Source) readings(found map[*place]bool) []*reading {
	var out []*reading
	for p, r := range s.files {
		if !found[p] && r.left.IsZero() {
			r.left = time.Now()
		}
		if info, err := r.f.Stat(); err == nil {
			r.size = info.Size()
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *reading) int { // Of two that had one name, the older one first.
		return cmp.Or(cmp.Compare(a.place.Path, b.place.Path), b.left.Compare(a.left))
	})
	return out
}

// forget closes what need not be open, and lets go of files that have been gone for long.
func (s *Source) forget(found map[*place]bool) {
	now := time.Now()
	idle := 0
	for p, r := range s.files {
		if len(r.batch) > 0 || r.size > p.Offset {
			continue
		}
		if idle++; idle > opened || !r.left.IsZero() && now.Sub(r.left) > orphan {
			_ = r.f.Close() // It was only read.
			delete(s.files, p)
		}
	}
	for _, p := range s.places {
		if found[p] || s.files[p] != nil {
			continue
		}
		if p.Gone.IsZero() {
			p.Gone, s.dirty = now, true
		}
	}
	n := len(s.places)
	s.places = slices.DeleteFunc(s.places, func(p *place) bool { return !p.Gone.IsZero() && now.Sub(p.Gone) > forgotten })
	for i := 0; len(s.places) > 2*mostFiles && i < len(s.places); {
		if s.places[i].Gone.IsZero() {
			i++
			continue
		}
		s.places = slices.Delete(s.places, i, i+1)
	}
	s.dirty = s.dirty || len(s.places) != n
}

// drop lets go of a file: another one is where it was.
func (s *Source) drop(p *place) {
	if r := s.files[p]; r != nil {
		_ = r.f.Close() // It was only read.
		delete(s.files, p)
	}
	s.places = slices.DeleteFunc(s.places, func(x *place) bool { return x == p })
	s.dirty = true
}

// isDone reports whether everything is read, and taken.
func (s *Source) isDone() bool {
	for _, r := range s.files {
		if len(r.batch) > 0 || r.place.Offset < r.size {
			return false
		}
	}
	return s.Trouble() == nil
}

func (s *Source) show(note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Note = note
	for _, r := range s.files {
		if len(r.batch) > 0 || r.place.Offset < r.size {
			s.report.At = fmt.Sprintf("%s:%d", r.place.Path, r.place.Line+1)
			return
		}
	}
	s.report.At = "the end of 1 file"
	if n := len(s.places); n != 1 {
		s.report.At = fmt.Sprintf("the end of %d files", n)
	}
}

func (s *Source) close() {
	for _, r := range s.files {
		_ = r.f.Close() // It was only read.
	}
}

// Register enters the source.
func Register(r *plugin.Registry) {
	triggers.Register(r, "file", 1, "Takes events from the lines of files, of a folder or of standard input.", New)
}

var errNoEvent = errors.New("no CloudEvent: the line has no specversion; say as: to make events of plain lines")
