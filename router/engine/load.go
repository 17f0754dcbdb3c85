package engine

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
)

var errSnapshot = errors.New("engine: snapshot does not decode")

// A loader reads what Save wrote.
type loader struct {
	r      *bufio.Reader
	err    error
	format uint64
	room   []byte // for bytes
	// Of the run that is being read.
	frames map[uint32]*frame
	texts  []lang.Value
}

func (l *loader) fail(err error) {
	if l.err == nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		l.err = err
	}
}

func (l *loader) uint() uint64 {
	if l.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(l.r)
	if err != nil {
		l.fail(err)
	}
	return v
}

// flags reads which of the known fields follow that few have.
func (l *loader) flags(known uint64) uint64 {
	if l.format < 3 {
		return 0
	}
	v := l.uint()
	if v&^known != 0 {
		l.fail(fmt.Errorf("flags %#x of which this binary knows %#x: %w", v, known, journal.ErrNewer))
		return 0
	}
	return v
}

// counts reads what each rule has counted.
func (l *loader) counts(flags uint64, rules lang.Retries) *counts {
	if flags&hasCounts == 0 {
		return nil
	}
	c := make(counts, len(rules))
	for i := range c {
		c[i] = int32(l.uint())
	}
	return &c
}

func (l *loader) int() int64 {
	if l.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(l.r)
	if err != nil {
		l.fail(err)
	}
	return v
}

// count reads a number of things; a snapshot is checked by its journal, so that this only bounds what a bug could do.
func (l *loader) count() int {
	v := l.uint()
	if v > 1<<31 {
		l.fail(errSnapshot)
		return 0
	}
	return int(v)
}

// whole reads a number that is no length: whatever was folded is read again.
func (l *loader) whole() int { return int(l.uint()) }

// bytes reads n bytes, which are the caller's until the next are read, and takes no more memory at once than what has been there before.
func (l *loader) bytes(n int) []byte {
	const part = 1 << 20
	b := l.room[:0]
	for l.err == nil && len(b) < n {
		from := len(b)
		b = append(b, make([]byte, min(n-from, max(part, from)))...)
		if _, err := io.ReadFull(l.r, b[from:]); err != nil {
			l.fail(err)
			return nil
		}
	}
	if cap(b) <= part {
		l.room = b
	}
	return b
}

func (l *loader) text() string   { return string(l.bytes(l.count())) }
func (l *loader) bool() bool     { return l.uint() == 1 }
func (l *loader) number() uint32 { return uint32(l.uint()) }

// time reads a time; 0 is none.
func (l *loader) time() time.Time {
	if n := l.int(); n != 0 {
		return time.Unix(0, n).UTC()
	}
	return time.Time{}
}

func (l *loader) plain() lang.Value {
	if text := l.text(); text != "" {
		return lang.Trusted(text)
	}
	return lang.Null
}

func (l *loader) value() lang.Value {
	v := l.uint()
	if v&1 == 1 {
		if n := v >> 1; l.err == nil && n < uint64(len(l.texts)) {
			return l.texts[n]
		}
		l.fail(errSnapshot)
		return lang.Null
	}
	if v > 1<<32 {
		l.fail(errSnapshot)
	}
	if v == 0 || l.err != nil {
		return lang.Null
	}
	text := lang.Trusted(string(l.bytes(int(v >> 1))))
	if v>>1 >= internFrom {
		l.texts = append(l.texts, text)
	}
	return text
}

func (l *loader) id() (id journal.RunID) {
	copy(id[:], l.bytes(len(id)))
	return id
}

func (l *loader) digest() (d lang.Digest) {
	copy(d[:], l.bytes(len(d)))
	return d
}

func (l *loader) error() *lang.Error {
	class := lang.Class(l.uint())
	if class == 0 {
		return nil
	}
	return &lang.Error{
		Class: class, Type: l.text(), Message: l.text(), Data: l.plain(), Path: l.text(), Attempt: int(l.number()), Invocation: l.text(),
	}
}

func (l *loader) outcome() lang.Outcome {
	o := lang.Outcome{Verdict: lang.Verdict(l.uint())}
	switch o.Verdict {
	case lang.Succeeded, lang.Continue:
		o.Value = l.value()
	case lang.Failed, lang.Cancelled:
		if o.Err = l.error(); o.Err == nil {
			l.fail(errSnapshot)
		}
	case 0, lang.Skipped:
	default:
		l.fail(errSnapshot)
	}
	return o
}

// Load fills an empty State with what Save or a Snapshot wrote.
func (s *State) Load(from io.Reader) error { return s.load(from, s.add, false) }

// Verify finds out whether Load would take a snapshot, without keeping what it reads.
func Verify(registry *plugin.Registry, from io.Reader) error {
	s := New(registry, nil)
	known := make(map[journal.RunID]struct{})
	twice := false
	err := s.load(from, func(r *run) {
		if _, was := known[r.id]; was {
			twice = true
		}
		known[r.id] = struct{}{}
		s.owing = s.owing[:0]
	}, true)
	if err == nil && twice {
		err = errSnapshot
	}
	return err
}

func (s *State) load(from io.Reader, add func(*run), verify bool) error {
	l := &loader{r: bufio.NewReaderSize(from, 128<<10)}
	l.format = l.uint()
	switch {
	case l.err != nil:
	case l.format > snapshotFormat:
		return fmt.Errorf("engine: snapshot format %d: %w; run the binary that wrote it, or a newer one", l.format, journal.ErrNewer)
	case l.format < oldestFormat:
		return fmt.Errorf("engine: snapshot format %d: %w", l.format, journal.ErrOlder)
	}
	s.level = uint8(l.uint())
	if err := journal.CheckLevel(s.level); l.err == nil && err != nil {
		return fmt.Errorf("engine: snapshot: %w", err)
	}
	s.limits = s.limitsOf(s.level)
	s.epoch, s.now, s.seen, s.arrivals = l.uint(), l.int(), l.int(), l.uint()
	for range l.count() {
		def, err := s.compile([]byte(l.text()))
		if err != nil {
			return errors.Join(err, l.err)
		}
		if def.idle = l.int(); s.definitions[def.digest] != nil {
			l.fail(errSnapshot)
			break
		}
		s.definitions[def.digest] = def
		s.idle++
	}
	s.tombstones.evicted = l.bool()
	s.loadParts(l, add, verify)
	if _, err := l.r.ReadByte(); l.err == nil && err != io.EOF {
		l.fail(errSnapshot)
	}
	if l.err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, l.err)
	}
	s.timers.rebuild(s)
	return nil
}

func (s *State) loadParts(l *loader, add func(*run), verify bool) {
	waiting, ended, runs := l.count(), l.count(), l.count()
	for l.err == nil {
		switch tag := l.uint(); tag {
		case tagWaiting:
			w := loadWaiting(l)
			if waiting--; l.err != nil || s.waitingRuns[w.run] != nil {
				l.fail(errSnapshot)
				return
			}
			s.addWaiting(w)
		case tagEnded:
			ended -= s.loadTombstones(l, verify)
		case tagRedriven:
			s.tombstones.loadRedriven(l)
		case tagRun:
			r := s.loadRun(l)
			if runs--; l.err != nil || s.runs[r.id] != nil {
				l.fail(errSnapshot)
				return
			}
			add(r)
		case tagEnd:
			if waiting != 0 || ended != 0 || runs != 0 {
				l.fail(errSnapshot)
			}
			for _, d := range s.waitingDigests() {
				slices.SortFunc(s.waiting[d], func(a, b *waitingRun) int { return cmp.Compare(a.order, b.order) })
			}
			s.loadKeys()
			s.loadRounds(l)
			return
		default:
			l.fail(errSnapshot)
		}
	}
}

func (s *State) loadTombstones(l *loader, verify bool) int {
	t, n := &s.tombstones, l.count()
	if t.index == nil {
		t.index = make(map[journal.RunID]struct{})
	}
	for range n {
		x := tombstone{id: l.id(), at: l.int()}
		if l.err != nil {
			return n
		}
		if !verify {
			t.ring = append(t.ring, x)
			t.enter(x.id)
		}
	}
	return n
}
