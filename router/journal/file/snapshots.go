package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/onward-router/onward/router/journal"
)

// A save is a snapshot on its way to the disk: of which partition and offset, what writes it, and what reads it back.
type save struct {
	partition int
	offset    int64
	write     func(io.Writer) error
	verify    func(io.Reader) error
}

// saveSnapshot writes a snapshot, reads it back and enters it into the manifest; the one before the former goes. Without space it uses the reserve up.
func (j *Journal) saveSnapshot(ctx context.Context, s save) error {
	j.segments.reserve.begin()
	defer func() {
		j.segments.reserve.end()
		poke(j.segments.wanted)
	}()
	saved, err := j.writeSnapshot(ctx, s)
	if err != nil {
		return err
	}
	if err := j.segments.syncLog(); err != nil {
		return err
	}
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	had := j.manifest.Snapshots[s.partition]
	kept := []snapshotFile{saved}
	if before, is := j.spare(s.partition); is {
		kept = append(kept, before)
	}
	j.manifest.Snapshots[s.partition] = kept
	if err := j.writeManifest(); err != nil {
		j.manifest.Snapshots[s.partition] = had
		if noSpace(err) {
			_ = j.fs.Remove(saved.Name)
		}
		return err
	}
	for _, old := range had {
		if !slices.Contains(kept, old) {
			j.dropSnapshot(old.Name)
		}
	}
	j.segments.reserve.want(j.manifest.reserveBytes(j.o))
	return nil
}

// snapshotName is one that no snapshot of the partition has, not even one at the same offset: the former is whole until the manifest changes.
func (j *Journal) snapshotName(partition int, offset int64) string {
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	name := fmt.Sprintf("snapshot-%04d-%016x", partition, offset)
	for slices.Contains(j.outdated, name) || slices.ContainsFunc(j.manifest.Snapshots[partition], func(f snapshotFile) bool { return f.Name == name }) {
		name += "+"
	}
	return name
}

// writeSnapshot makes a snapshot's file durable under its name, once it was read back.
func (j *Journal) writeSnapshot(ctx context.Context, s save) (saved snapshotFile, err error) {
	saved = snapshotFile{Name: j.snapshotName(s.partition, s.offset), Offset: s.offset}
	temp := saved.Name + ".tmp"
	defer func() {
		if err != nil {
			_ = j.fs.Remove(temp) // It may be what fills the disk.
		}
	}()
	var file File
	err = j.withRoom(func() (err error) {
		file, err = j.fs.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
		return err
	})
	if err != nil {
		return saved, err
	}
	w := &roomWriter{ctx: ctx, f: file, j: j}
	sealed := journal.Seal(w)
	if err = s.write(sealed); err == nil {
		err = sealed.Close()
	}
	if err == nil {
		err = j.withRoom(file.Sync)
	}
	if saved.Size = w.n; err == nil {
		if err = journal.Verify(journal.Unseal(io.NewSectionReader(file, 0, w.n)), s.verify); err != nil {
			err = fmt.Errorf("journal: the snapshot of partition %d at %d cannot be read back: %w", s.partition, s.offset, err)
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return saved, err
	}
	if err = j.withRoom(func() error { return j.fs.Rename(temp, saved.Name) }); err != nil {
		return saved, err
	}
	return saved, j.withRoom(j.fs.SyncDir)
}

// withRoom does what a snapshot needs, once more with the room of the reserve when the disk is full.
func (j *Journal) withRoom(do func() error) error {
	err := do()
	if noSpace(err) && j.segments.reserve.release() {
		err = do()
	}
	return err
}

// A roomWriter appends to a file, into the reserve's room if need be.
type roomWriter struct {
	ctx context.Context
	f   File
	j   *Journal
	n   int64
}

func (w *roomWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	done := 0
	err := w.j.withRoom(func() error {
		n, err := w.f.WriteAt(b[done:], w.n)
		done, w.n = done+n, w.n+int64(n)
		return err
	})
	return done, err
}

// loadSnapshot gives a snapshot's file to read.
func (j *Journal) loadSnapshot(s *snapshotFile, read func(int64, io.Reader) error) error {
	f, err := j.fs.Open(s.Name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	r := journal.Unseal(io.NewSectionReader(f, 0, s.Size))
	if err := read(s.Offset, r); err != nil {
		return err
	}
	return journal.Verify(r, nil)
}
