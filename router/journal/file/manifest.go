package file

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/onward-router/onward/router/journal"
)

const manifestName = "MANIFEST"

// A manifest is the one thing that says what counts: layout, snapshots and the trim. It is replaced atomically.
type manifest struct {
	Version    int              `json:"version"`
	Partitions int              `json:"partitions"`
	Hash       string           `json:"hash"`
	Key        string           `json:"key"`
	First      uint64           `json:"first"` // the oldest segment that is kept
	Snapshots  [][]snapshotFile `json:"snapshots"`
	Trims      []int64          `json:"trims"`
}

// A snapshotFile is a saved snapshot: the newest first, the one before it as a fallback.
type snapshotFile struct {
	Offset int64  `json:"offset"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	CRC    uint32 `json:"crc"`
}

const manifestVersion = 1

func (m *manifest) layout() (journal.Layout, error) {
	l := journal.Layout{Version: m.Version, Partitions: m.Partitions, Hash: m.Hash}
	key, err := hex.DecodeString(m.Key)
	if err != nil || len(key) != len(l.Key) {
		return l, fmt.Errorf("%s: the key is not one", manifestName)
	}
	copy(l.Key[:], key)
	return l, nil
}

func readManifest(f FS) (*manifest, error) {
	b, err := readAll(f, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := new(manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", manifestName, journal.ErrDamaged, err)
	}
	if m.Version > manifestVersion {
		return nil, fmt.Errorf("%s: version %d: %w", manifestName, m.Version, journal.ErrNewer)
	}
	if m.Partitions < 1 || len(m.Snapshots) != m.Partitions || len(m.Trims) != m.Partitions {
		return nil, fmt.Errorf("%s: %w: it has %d partitions and snapshots of %d", manifestName, journal.ErrDamaged, m.Partitions, len(m.Snapshots))
	}
	return m, nil
}

func (m *manifest) write(f FS) error {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return replace(f, manifestName, b)
}

// replace writes a file so that a crash leaves the former content or the new one, whole.
func replace(f FS, name string, b []byte) error {
	temp := name + ".tmp"
	if err := writeNew(f, temp, b); err != nil {
		return err
	}
	if err := f.Rename(temp, name); err != nil {
		return err
	}
	return f.SyncDir()
}

func writeNew(f FS, name string, b []byte) (err error) {
	file, err := f.Open(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(b, 0); err != nil {
		return err
	}
	return file.Sync()
}

func readAll(f FS, name string) (b []byte, err error) {
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b = make([]byte, size)
	if _, err := file.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// saveSnapshot writes a snapshot and enters it into the manifest; the one before the former goes.
func (j *Journal) saveSnapshot(partition int, offset int64, write func(io.Writer) error) error {
	name := fmt.Sprintf("snapshot-%04d-%016x", partition, offset)
	s := snapshotFile{Offset: offset, Name: name}
	temp := name + ".tmp"
	file, err := j.fs.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err != nil {
		return err
	}
	w := &sumWriter{f: file}
	err = write(w)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, j.fs.Remove(temp))
	}
	s.Size, s.CRC = w.n, w.crc
	if err := j.fs.Rename(temp, name); err != nil {
		return err
	}
	if err := j.fs.SyncDir(); err != nil {
		return err
	}
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	had := j.manifest.Snapshots[partition]
	kept := []snapshotFile{s}
	for _, old := range had {
		if old.Name != name && len(kept) < 2 {
			kept = append(kept, old)
		}
	}
	j.manifest.Snapshots[partition] = kept
	if err := j.manifest.write(j.fs); err != nil {
		j.manifest.Snapshots[partition] = had
		return err
	}
	for _, old := range had {
		if !slices.ContainsFunc(kept, func(k snapshotFile) bool { return k.Name == old.Name }) {
			_ = j.fs.Remove(old.Name) // What a crash or an error leaves is swept at the next open.
		}
	}
	return nil
}

// A sumWriter appends to a file and sums what it wrote.
type sumWriter struct {
	f   File
	n   int64
	crc uint32
}

func (w *sumWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.n)
	w.n += int64(n)
	w.crc = crc32.Update(w.crc, castagnoli, b[:n])
	return n, err
}

// checkSnapshot reads a snapshot file through once.
func checkSnapshot(f File, s snapshotFile) error {
	crc, n := uint32(0), int64(0)
	b := make([]byte, 1<<20)
	for n < s.Size {
		k, err := f.ReadAt(b[:min(int64(len(b)), s.Size-n)], n)
		crc = crc32.Update(crc, castagnoli, b[:k])
		n += int64(k)
		if err != nil && !(err == io.EOF && n == s.Size) {
			return fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	if crc != s.CRC {
		return fmt.Errorf("snapshot %s: %w: its checksum differs", s.Name, journal.ErrDamaged)
	}
	return nil
}
