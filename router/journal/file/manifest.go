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

const (
	manifestVersion = 1
	firstSegment    = 1 // of a new log
)

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
		_ = f.Remove(temp) // It may be what fills the disk.
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

// saveSnapshot writes a snapshot and enters it into the manifest; the one before the former goes. Without space it uses the reserve up.
func (j *Journal) saveSnapshot(partition int, offset int64, write func(io.Writer) error) error {
	j.segments.reserve.begin()
	defer func() {
		j.segments.reserve.end()
		poke(j.segments.wanted)
	}()
	s, err := j.writeSnapshot(j.snapshotName(partition, offset), write)
	if err != nil {
		return err
	}
	s.Offset = offset
	if err := j.segments.syncLog(); err != nil {
		return err
	}
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	had := j.manifest.Snapshots[partition]
	kept := []snapshotFile{s}
	if i := slices.IndexFunc(had, func(f snapshotFile) bool { return !j.unreadable[f.Name] }); i >= 0 {
		kept = append(kept, had[i])
	}
	j.manifest.Snapshots[partition] = kept
	if err := j.writeManifest(); err != nil {
		j.manifest.Snapshots[partition] = had
		if noSpace(err) {
			_ = j.fs.Remove(s.Name)
		}
		return err
	}
	for _, old := range had {
		if !slices.Contains(kept, old) {
			_ = j.fs.Remove(old.Name) // What a crash or an error leaves is swept at the next open.
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
	for slices.ContainsFunc(j.manifest.Snapshots[partition], func(f snapshotFile) bool { return f.Name == name }) {
		name += "+"
	}
	return name
}

// writeSnapshot makes a snapshot's file durable under its name.
func (j *Journal) writeSnapshot(name string, write func(io.Writer) error) (snapshotFile, error) {
	temp := name + ".tmp"
	file, err := j.fs.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err != nil {
		return snapshotFile{}, err
	}
	w := &sumWriter{f: file, room: j.segments.reserve.release}
	err = write(w)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = j.fs.Remove(temp) // It may be what fills the disk.
		return snapshotFile{}, err
	}
	if err := j.fs.Rename(temp, name); err != nil {
		return snapshotFile{}, err
	}
	return snapshotFile{Name: name, Size: w.n, CRC: w.crc}, j.fs.SyncDir()
}

// writeManifest replaces the manifest, out of the reserve if need be.
func (j *Journal) writeManifest() error {
	err := j.manifest.write(j.fs)
	if noSpace(err) && j.segments.reserve.release() {
		err = j.manifest.write(j.fs)
	}
	return err
}

// fresh says that nothing was ever written behind it.
func (m *manifest) fresh() bool {
	return m.First == firstSegment && !slices.ContainsFunc(m.Snapshots, func(s []snapshotFile) bool { return len(s) > 0 })
}

// reserveBytes is what one snapshot of each partition takes, and the manifest.
func (m *manifest) reserveBytes(o Options) int64 {
	n := min(o.SegmentBytes, 1<<20)
	for _, saved := range m.Snapshots {
		if len(saved) > 0 {
			n += saved[0].Size
		}
	}
	return n
}

// A sumWriter appends to a file and sums what it wrote.
type sumWriter struct {
	f    File
	n    int64
	crc  uint32
	room func() bool // makes room on a full disk; false: there is none to make
}

func (w *sumWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.n)
	if noSpace(err) && w.room() {
		var more int
		more, err = w.f.WriteAt(b[n:], w.n+int64(n))
		n += more
	}
	w.n += int64(n)
	w.crc = crc32.Update(w.crc, castagnoli, b[:n])
	return n, err
}

// checkSnapshot reads a snapshot's file through once.
func (j *Journal) checkSnapshot(s snapshotFile) error {
	f, err := j.fs.Open(s.Name, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	crc, n := uint32(0), int64(0)
	b := make([]byte, min(1<<20, max(1, s.Size)))
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
