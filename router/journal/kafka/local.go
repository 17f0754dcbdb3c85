package kafka

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/onward-router/onward/router/journal"
)

// localSnapshots are copies of snapshots on this machine: a partition that comes back is resumed from them. They lie in a folder named by the journal's
// layout, so that those of another cluster are never taken for its.
type localSnapshots struct {
	dir string // empty: none are kept

	mu   sync.Mutex
	have map[int][]localSnapshot // by partition, oldest first
}

type localSnapshot struct {
	partition int
	offset    int64
	name      string
}

// localKept is how many of a partition are kept.
const localKept = 2

func openLocal(dir string, l journal.Layout) (*localSnapshots, error) {
	s := &localSnapshots{have: make(map[int][]localSnapshot)}
	if dir == "" {
		return s, nil
	}
	s.dir = filepath.Join(dir, "snapshots-"+nameOf(l).String())
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	for _, e := range entries {
		var p int
		var offset int64
		if n, _ := fmt.Sscanf(e.Name(), "%d-%d", &p, &offset); n == 2 && e.Name() == localName(p, offset) {
			s.have[p] = append(s.have[p], localSnapshot{p, offset, filepath.Join(s.dir, e.Name())})
		} else if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil { // What a crash left.
			return nil, fmt.Errorf("journal: %w", err)
		}
	}
	for p := range s.have {
		slices.SortFunc(s.have[p], func(a, b localSnapshot) int { return cmp.Compare(a.offset, b.offset) })
	}
	return s, nil
}

func localName(partition int, offset int64) string {
	return fmt.Sprintf("%05d-%020d", partition, offset)
}

// partitions lists those of which there is a snapshot, sorted.
func (s *localSnapshots) partitions() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	for p, list := range s.have {
		if len(list) > 0 {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// newest returns the newest whole snapshot of a partition whose offset fits; those that are not whole are removed.
func (s *localSnapshots) newest(partition int, fits func(offset int64) bool) (localSnapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for list := s.have[partition]; len(list) > 0; list = list[:len(list)-1] {
		l := list[len(list)-1]
		if !fits(l.offset) {
			continue
		}
		if _, err := readLocal(l.name); err == nil {
			return l, true
		}
		_ = os.Remove(l.name) // It is of no use; a later start tries again.
		s.have[partition] = slices.DeleteFunc(slices.Clone(s.have[partition]), func(x localSnapshot) bool { return x == l })
	}
	return localSnapshot{}, false
}

func readLocal(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(b) < sha256.Size {
		return nil, journal.ErrDamaged
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%s: %w", name, journal.ErrDamaged)
	}
	return body, nil
}

func (s *localSnapshots) read(l localSnapshot, read func(int64, io.Reader) error) error {
	b, err := readLocal(l.name)
	if err != nil {
		return err
	}
	return read(l.offset, bytes.NewReader(b))
}

// save calls write once, and keeps what it wrote; it is not worth a sync: one that a power cut spoils is found out.
func (s *localSnapshots) save(partition int, offset int64, write func(io.Writer) error) error {
	if s.dir == "" {
		return write(io.Discard)
	}
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	sum := sha256.New()
	err = write(io.MultiWriter(f, sum))
	if err == nil {
		_, err = f.Write(sum.Sum(nil))
	}
	l := localSnapshot{partition, offset, filepath.Join(s.dir, localName(partition, offset))}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), l.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.have[partition]), func(x localSnapshot) bool { return x.offset == offset })
	list = append(list, l)
	slices.SortFunc(list, func(a, b localSnapshot) int { return cmp.Compare(a.offset, b.offset) })
	for len(list) > localKept {
		if err := os.Remove(list[0].name); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		list = list[1:]
	}
	s.have[partition] = list
	return nil
}
