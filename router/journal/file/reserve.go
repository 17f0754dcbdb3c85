package file

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// errNoSpace is a full disk where nothing was written that cannot be written again.
var errNoSpace = errors.New("no space for the log")

// noSpace tells the errors of a full disk.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

const reserveName = "RESERVE"

// A reserve is a file that does nothing but take space: room for one snapshot of each partition on a disk that others have filled. Who needs the room
// removes it; it is made again once there is space for it above the low-water mark.
type reserve struct {
	fs FS
	o  Options

	mu     sync.Mutex
	size   int64
	wanted int64
	users  int // snapshots that are being written: what they need is not taken from them
}

// adopt takes over the file of an earlier life.
func (r *reserve) adopt() bool {
	f, err := r.fs.Open(reserveName, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	r.size, err = f.Size()
	return err == nil
}

// want says how large it should be.
func (r *reserve) want(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = bytes
}

// begin and end are around the writing of a snapshot.
func (r *reserve) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
}

func (r *reserve) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users--
}

// release makes its room available. False: it has none.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size == 0 {
		return false
	}
	r.size = 0
	if err := r.fs.Remove(reserveName); err != nil {
		r.o.Log.Warn("journal: the disk is full, and the reserve cannot be given to a snapshot", "error", err)
		return false
	}
	r.o.Log.Warn("journal: the disk is full; a snapshot goes into the reserve")
	return true
}

// owed is the room that it should have and does not.
func (r *reserve) owed() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.wanted-r.size)
}

// fill makes it as large as it should be, with a quarter more so that it need not grow with each snapshot.
func (r *reserve) fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size >= r.wanted || r.users > 0 {
		return nil
	}
	free, err := r.fs.Free()
	size, room := r.wanted+r.wanted/4, free-max(0, r.o.LowWater)+r.size
	if room < size {
		size = r.wanted
	}
	if err != nil || room < size {
		return err
	}
	f, err := r.fs.Open(reserveName, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if err := errors.Join(extend(f, r.size, size), f.Close()); err != nil {
		// The last bytes of the disk are better left to others.
		r.size = 0
		return errors.Join(err, r.fs.Remove(reserveName))
	}
	r.size = size
	return nil
}

// keep makes spare segments and the reserve ahead of need, beside the writer.
func (j *Journal) keep() {
	defer close(j.kept)
	for {
		err := j.segments.stock()
		if err == nil {
			err = j.segments.reserve.fill()
		}
		if err != nil && !errors.Is(err, errNoSpace) && !noSpace(err) {
			j.o.Log.Warn("journal: no spare segment or no reserve; they are tried again", "error", err)
		}
		select {
		case <-j.segments.wanted:
		case <-j.closing:
			return
		}
	}
}

// stock makes spare segments. What the reserve is short of is left for it: a snapshot that lets segments go is better than a segment.
func (s *segments) stock() error {
	for {
		s.mu.Lock()
		if len(s.spares) >= sparesAhead {
			s.mu.Unlock()
			return nil
		}
		name := s.nextSpare()
		s.mu.Unlock()
		if free, err := s.fs.Free(); err != nil || free < s.o.SegmentBytes+s.reserve.owed() {
			return err
		}
		if _, err := s.make(name, s.o.SegmentBytes); err != nil {
			return err
		}
		s.mu.Lock()
		s.spares = append(s.spares, name)
		n := len(s.spares)
		s.mu.Unlock()
		if s.o.Observer.Spare != nil {
			s.o.Observer.Spare(n)
		}
	}
}
