package file

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/onward-router/onward/router/journal"
)

// segments are the files of the log. Only the writer writes; the scanner reads; trims come from the folds' side.
type segments struct {
	fs    FS
	o     Options
	first uint64

	mu      sync.Mutex
	last    uint64
	file    File // of the segment last
	spares  []string
	made    int // spare files so far, for their names
	wanted  chan struct{}
	reserve reserve
}

func segmentName(n uint64) string { return fmt.Sprintf("segment-%016x", n) }

func openSegments(f FS, o Options, m *manifest) (*segments, error) {
	s := &segments{fs: f, o: o, first: m.First, wanted: make(chan struct{}, 1), reserve: reserve{fs: f, o: o}}
	names, err := f.List()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	have := segmentsOf(names)
	kept := slices.DeleteFunc(slices.Clone(have), func(n uint64) bool { return n < m.First })
	gone := func(n uint64) error {
		return fmt.Errorf("%w: %s is missing; %s", journal.ErrDamaged, segmentName(n), o.cure())
	}
	if len(kept) == 0 && !m.fresh() {
		return nil, gone(m.First)
	}
	for i, n := range kept {
		if n != m.First+uint64(i) {
			return nil, gone(m.First + uint64(i))
		}
	}
	for _, n := range have[:len(have)-len(kept)] {
		err = errors.Join(err, f.Remove(segmentName(n)))
	}
	for _, name := range names {
		if !s.adopt(name) && s.stray(name, m) {
			err = errors.Join(err, f.Remove(name))
		}
	}
	if err != nil {
		return nil, err
	}
	have = kept
	s.last = m.First
	if len(have) > 0 {
		s.last = have[len(have)-1]
		s.file, err = f.Open(segmentName(s.last), os.O_RDWR)
	}
	return s, err
}

// segmentsOf returns the segments among the names of files, sorted.
func segmentsOf(names []string) (have []uint64) {
	for _, name := range names {
		var n uint64
		if k, _ := fmt.Sscanf(name, "segment-%016x", &n); k == 1 && segmentName(n) == name {
			have = append(have, n)
		}
	}
	slices.Sort(have)
	return have
}

// adopt takes over a spare segment or the reserve that an earlier life of the router made.
func (s *segments) adopt(name string) bool {
	if name == reserveName {
		return s.reserve.adopt()
	}
	var n int
	if k, _ := fmt.Sscanf(name, "spare-%08d", &n); k != 1 || spareName(n) != name || len(s.spares) >= sparesKept || !s.isRegular(name) {
		return false
	}
	s.spares = append(s.spares, name)
	s.made = max(s.made, n)
	return true
}

func spareName(n int) string { return fmt.Sprintf("spare-%08d", n) }

// stray tells the files that a crash left behind.
func (s *segments) stray(name string, m *manifest) bool {
	if strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, "spare-") || name == reserveName {
		return true
	}
	if !strings.HasPrefix(name, "snapshot-") {
		return false
	}
	for _, of := range m.Snapshots {
		if slices.ContainsFunc(of, func(f snapshotFile) bool { return f.Name == name }) {
			return false
		}
	}
	return true
}

// tail finds the end of the log, cuts a torn end, and makes what is there durable before anybody folds it.
func (s *segments) tail() (end int64, err error) {
	if s.file == nil {
		return offsetOf(s.last, 0), nil
	}
	b, err := readAll(s.fs, segmentName(s.last))
	if err != nil {
		return 0, err
	}
	pos, _, sealed := walk(b, s.last, 0, func(int64, []byte) {})
	if sealed {
		return offsetOf(s.last+1, 0), s.file.Sync()
	}
	if err := s.cut(b, pos); err != nil {
		return 0, err
	}
	return offsetOf(s.last, pos), s.file.Sync()
}

// lastTime is the time of the log's last record: the newest segment may have none yet.
func (s *segments) lastTime() (int64, error) {
	for n := s.last; n >= s.first && s.file != nil; n-- {
		b, err := s.read(n, wholeSegment)
		if err != nil {
			return 0, err
		}
		if _, at, _ := walk(b, n, 0, func(int64, []byte) {}); at != 0 {
			return at, nil
		}
	}
	return 0, nil
}

// walk reads frames from pos on until something is not one; it returns that position, the last record's time, and whether a seal stands there.
func walk(b []byte, segment uint64, pos int64, each func(pos int64, body []byte)) (end, lastTime int64, sealed bool) {
	for {
		body, what := readFrame(b[min(pos, int64(len(b))):], segment, pos)
		switch what {
		case nothing:
			return pos, lastTime, false
		case aSeal:
			return pos, lastTime, true
		}
		if r, err := journal.DecodeRecord(body); err == nil {
			lastTime = r.Time.UnixNano()
		}
		each(pos, body)
		pos += frameHead + int64(len(body))
	}
}

// cut looks at what stands behind the last good frame. Frames of the group that was being written are a torn end, and go; a later group is damage.
func (s *segments) cut(b []byte, pos int64) error {
	torn := tornEnd(b, s.last, pos)
	if next, ok := nextFrame(b, s.last, pos); ok && len(torn) == 0 {
		return fmt.Errorf("%w; %s", hole(s.last, pos, next).err(), s.o.cure())
	}
	bytes, was := begun(b[min(pos, int64(len(b))):], s.last, pos)
	if n := len(torn); n > 0 {
		bytes, was = torn[n-1]-pos, true
	}
	if was {
		// A group that a crash cut was never acknowledged; a disk that lost what it had cannot be told from that.
		s.o.Log.Warn("journal: the end of the log cannot be read and is cut: it may be what a crash left of an append, or damage", "segment", segmentName(s.last), "position", pos, "bytes", bytes)
	}
	if len(torn) == 0 {
		return nil
	}
	// What stands there could read as live once new frames end just before it.
	zero := make([]byte, int64(len(b))-pos)
	if _, err := s.file.WriteAt(zero, pos); err != nil {
		return err
	}
	return s.file.Sync()
}

// tornEnd returns where the frames end that stand behind a position without a valid one, when they are all of the group that was being written there;
// with one of a later group, or with none at all, nothing.
func tornEnd(b []byte, segment uint64, pos int64) (ends []int64) {
	for at := pos; ; {
		next, ok := nextFrame(b, segment, at)
		if !ok {
			return ends
		}
		if groupOf(b[next:]) > pos {
			return nil
		}
		body, _ := readFrame(b[next:], segment, next)
		at = next + frameHead + int64(len(body))
		ends = append(ends, at)
	}
}

// ready makes the segment that is written next exist, and returns its size. Without space for it the first append will see.
func (s *segments) ready(segment uint64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil && s.last == segment {
		return s.file.Size()
	}
	err := s.advance(segment, s.o.SegmentBytes)
	if errors.Is(err, errNoSpace) {
		s.o.Log.Warn("journal: there is no space for the next segment", "error", err)
		err = nil
	}
	return s.o.SegmentBytes, err
}

// advance makes a segment the last one: a spare file, or a new one. After errNoSpace it may be called again.
func (s *segments) advance(segment uint64, size int64) error {
	if s.file != nil {
		var err error
		if s.o.NoSync { // What a snapshot covers may be here.
			err = s.file.Sync()
		}
		if err = errors.Join(err, s.file.Close()); err != nil {
			return err
		}
		s.file = nil
	}
	if len(s.spares) == 0 || size > s.o.SegmentBytes {
		spare, err := s.make(s.nextSpare(), size)
		if err != nil {
			return err
		}
		s.spares = append(s.spares, spare)
	}
	name, n := segmentName(segment), len(s.spares)-1
	if err := s.fs.Rename(s.spares[n], name); err != nil {
		return err
	}
	s.spares = s.spares[:n]
	poke(s.wanted)
	file, err := s.fs.Open(name, os.O_RDWR)
	if err != nil {
		return err
	}
	s.file, s.last = file, segment
	return s.fs.SyncDir()
}

// bare says that the last spare segment is in use.
func (s *segments) bare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spares) == 0
}

func (s *segments) nextSpare() string {
	s.made++
	return spareName(s.made)
}

// make writes a file of zeros, so that writing into it later changes no sizes and allocates nothing. Under its name it is whole. The error is
// errNoSpace when that is what is missing.
func (s *segments) make(name string, size int64) (string, error) {
	temp := name + ".tmp"
	file, err := s.fs.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err == nil {
		err = errors.Join(extend(file, 0, size), file.Close())
	}
	if err == nil {
		err = s.fs.Rename(temp, name)
	}
	if err == nil {
		return name, nil
	}
	_ = s.fs.Remove(temp)
	if noSpace(err) {
		err = fmt.Errorf("%w: %w", errNoSpace, err)
	}
	return "", err
}

// extend writes zeros.
func extend(f File, from, to int64) error {
	zero := make([]byte, min(1<<20, max(to-from, 0)))
	for from < to {
		n, err := f.WriteAt(zero[:min(int64(len(zero)), to-from)], from)
		from += int64(n)
		if err != nil {
			return err
		}
	}
	return f.Sync()
}

// write writes a part and syncs it. After errNoSpace it may be called again.
func (s *segments) write(p *part) error {
	s.mu.Lock()
	if s.last != p.segment || s.file == nil {
		if err := s.advance(p.segment, p.size); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	file := s.file
	s.mu.Unlock()
	if _, err := file.WriteAt(p.buf, p.pos); err != nil {
		if noSpace(err) { // A segment has its space, but not on every file system.
			err = fmt.Errorf("%w: %w", errNoSpace, err)
		}
		return err
	}
	if s.o.NoSync {
		return nil
	}
	return file.Sync()
}

// syncLog makes durable what was acknowledged without a sync: a snapshot must not be ahead of its log.
func (s *segments) syncLog() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.NoSync || s.file == nil {
		return nil
	}
	return s.file.Sync()
}

// trim lets the files of the segments below first go; a few are kept to be written again. The manifest that says so is already durable.
func (s *segments) trim(first uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for ; s.first < first && s.first < s.last; s.first++ {
		name := segmentName(s.first)
		if len(s.spares) < sparesKept && s.isRegular(name) {
			spare := s.nextSpare()
			if e := s.fs.Rename(name, spare); e != nil {
				err = errors.Join(err, e)
				continue
			}
			s.spares = append(s.spares, spare)
			continue
		}
		err = errors.Join(err, s.fs.Remove(name))
	}
	if s.o.Observer.Spare != nil {
		s.o.Observer.Spare(len(s.spares))
	}
	return err
}

const (
	sparesAhead = 1 // are made ahead of need
	sparesKept  = 2 // of those that a trim lets go are kept
)

func (s *segments) isRegular(name string) bool {
	f, err := s.fs.Open(name, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	return err == nil && size == s.o.SegmentBytes
}

// read returns a segment's bytes, at most up to limit.
func (s *segments) read(segment uint64, limit int64) ([]byte, error) {
	f, err := s.fs.Open(segmentName(segment), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, limit))
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

const wholeSegment = math.MaxInt64
