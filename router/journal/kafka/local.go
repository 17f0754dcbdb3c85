package kafka

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/onward-router/onward/router/folder"
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
	s := &localSnapshots{have: make(map[int][]localSnapshot), dir: filepath.Join(dir, "snapshots-"+nameOf(l).String())}
	if err := folder.Make(s.dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		var p int
		var offset int64
		if n, _ := fmt.Sscanf(e.Name(), "%d-%d", &p, &offset); n == 2 && e.Name() == localName(p, offset) {
			s.have[p] = append(s.have[p], localSnapshot{p, offset, filepath.Join(s.dir, e.Name())})
		} else if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil { // What a crash left.
			return nil, err
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
	list := slices.Clone(s.have[partition])
	s.mu.Unlock()
	for _, l := range slices.Backward(list) {
		if !fits(l.offset) {
			continue
		}
		if s.read(l, func(int64, io.Reader) error { return nil }) == nil {
			return l, true
		}
		s.drop(l)
	}
	return localSnapshot{}, false
}

// drop removes one that is of no use.
func (s *localSnapshots) drop(l localSnapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = os.Remove(l.name) // A later start tries again.
	s.have[l.partition] = slices.DeleteFunc(slices.Clone(s.have[l.partition]), func(x localSnapshot) bool { return x == l })
}

// read gives one to read, and looks whether it is whole.
func (s *localSnapshots) read(l localSnapshot, read func(int64, io.Reader) error) error {
	f, err := os.Open(l.name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := journal.Unseal(bufio.NewReaderSize(f, 64<<10))
	if err := read(l.offset, r); err != nil {
		return err
	}
	return journal.Verify(r, nil)
}

// save calls write once, and keeps what it wrote once verify has read it; it is not worth a sync: one that a power cut spoils is found out.
func (s *localSnapshots) save(partition int, offset int64, write func(io.Writer) error, verify func(io.Reader) error) error {
	if s.dir == "" {
		return write(io.Discard)
	}
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	sealed := journal.Seal(f)
	if err = write(sealed); err == nil {
		err = sealed.Close()
	}
	if err = errors.Join(err, f.Close()); err == nil && verify != nil {
		err = s.read(localSnapshot{partition, offset, f.Name()}, func(_ int64, r io.Reader) error { return verify(r) })
	}
	l := localSnapshot{partition, offset, filepath.Join(s.dir, localName(partition, offset))}
	if err == nil {
		err = os.Rename(f.Name(), l.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return s.keep(l)
}

// keep enters one, and lets the oldest go.
func (s *localSnapshots) keep(l localSnapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.have[l.partition]), func(x localSnapshot) bool { return x.offset == l.offset })
	list = append(list, l)
	slices.SortFunc(list, func(a, b localSnapshot) int { return cmp.Compare(a.offset, b.offset) })
	for len(list) > localKept {
		if err := os.Remove(list[0].name); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		list = list[1:]
	}
	s.have[l.partition] = list
	return nil
}
