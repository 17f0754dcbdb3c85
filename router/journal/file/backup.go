package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/onward-router/onward/router/journal"
)

var _ journal.Copied = (*Journal)(nil)

// errPressed gives a backup up: what it holds is wanted back.
var errPressed = errors.New("journal: the disk has become nearly full, and a backup keeps the journal from letting go of anything; make room, and begin it again")

// Backup gives the files of a copy of the folder to put: of the snapshots that there are when it is called, and of all that is durable once beside has
// returned. Until it returns nothing of the journal goes, however far the folds are; a disk that becomes nearly full meanwhile ends it.
func (j *Journal) Backup(ctx context.Context, beside func() error, put func(name string, size int64, from io.Reader) error) error {
	m, err := j.pin()
	if err != nil {
		return err
	}
	defer j.unpin()
	if err := beside(); err != nil {
		return err
	}
	full := j.isFull()
	check := func() error {
		if !full && j.isFull() {
			return errPressed
		}
		return ctx.Err()
	}
	j.mu.Lock()
	end := j.durable
	j.mu.Unlock()
	last, pos := placeOf(end)
	for n := m.First; n <= last; n++ {
		used := int64(-1) // all of it
		if n == last {
			if used = pos; pos == 0 {
				break // Nothing is in it.
			}
		}
		if err := j.copyFile(segmentName(n), used, check, put); err != nil {
			return err
		}
	}
	for _, saved := range m.Snapshots {
		for _, s := range saved {
			if err := j.copyFile(s.Name, s.Size, check, put); err != nil {
				return err
			}
		}
	}
	b, err := m.bytes()
	if err != nil {
		return err
	}
	return put(manifestName, int64(len(b)), bytes.NewReader(b))
}

// copyFile gives a file with the bytes that are in use, and zeros behind them.
func (j *Journal) copyFile(name string, used int64, check func() error, put func(string, int64, io.Reader) error) error {
	f, err := j.fs.Open(name, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if used < 0 || used > size {
		used = size
	}
	return put(name, size, checked{io.MultiReader(io.NewSectionReader(f, 0, used), io.LimitReader(zeros{}, size-used)), check})
}

// zeros are what is behind the end of the log.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// checked is a reader that asks before it reads.
type checked struct {
	io.Reader
	check func() error
}

func (c checked) Read(b []byte) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.Reader.Read(b)
}

// pin keeps every file that the manifest names, which it returns as it is now, until unpin.
func (j *Journal) pin() (*manifest, error) {
	j.mu.Lock()
	fault, closed := j.fault, j.closed
	j.mu.Unlock()
	if fault != nil {
		return nil, fault
	}
	if closed {
		return nil, journal.ErrClosed
	}
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	j.pins++
	m := *j.manifest
	m.Format, m.Level = journal.Format, journal.Level
	m.Trims, m.Snapshots = slices.Clone(m.Trims), slices.Clone(m.Snapshots)
	return &m, nil
}

// unpin lets go of what was kept for a backup. What cannot be removed is swept at the next open.
func (j *Journal) unpin() {
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	if j.pins--; j.pins > 0 {
		return
	}
	for _, name := range j.outdated {
		j.dropSnapshot(name)
	}
	j.outdated = nil
	_ = j.segments.trim(j.manifest.First)
	poke(j.segments.wanted)
}

// dropSnapshot removes a snapshot that the manifest names no more, once no backup needs it. The manifest's lock is held.
func (j *Journal) dropSnapshot(name string) {
	if j.pins > 0 {
		j.outdated = append(j.outdated, name)
		return
	}
	_ = j.fs.Remove(name)      // What a crash or an error leaves is swept at the next open.
	delete(j.unreadable, name) // The name may come again.
}

// trimFiles lets the files of the segments below the manifest's first go, once no backup needs them. The manifest's lock is held.
func (j *Journal) trimFiles() error {
	if j.pins > 0 {
		return nil
	}
	return j.segments.trim(j.manifest.First)
}
