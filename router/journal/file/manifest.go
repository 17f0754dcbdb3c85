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
	"strings"

	"github.com/onward-router/onward/router/journal"
)

const manifestName = "MANIFEST"

// A manifest is the one thing that says what counts: layout, snapshots and the trim. It is replaced atomically, and its last line is a checksum of all
// before it. It also says what the records are written in, so that a router which does not read them goes away before it has touched anything.
type manifest struct {
	Version    int              `json:"version"`
	Format     int              `json:"format"` // of records
	Level      int              `json:"level"`  // the highest fold level that was written
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
}

const (
	manifestVersion = 2
	firstSegment    = 1 // of a new log
	mostPartitions  = 1 << 16
	hashName        = "hmac-sha256"
	sumLine         = "\ncrc32c " // begins the last line, which ends with eight hexadecimal digits
)

func (m *manifest) layout() (journal.Layout, error) {
	l := journal.Layout{Version: 1, Partitions: m.Partitions, Hash: m.Hash}
	key, err := hex.DecodeString(m.Key)
	if err != nil || len(key) != len(l.Key) {
		return l, fmt.Errorf("%s: the key is not one", manifestName)
	}
	copy(l.Key[:], key)
	return l, nil
}

// readManifest returns nil when there is none.
func readManifest(f FS) (*manifest, error) {
	b, err := readAll(f, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	return m, nil
}

// parseManifest reads what write wrote. A version that it does not know is told from damage.
func parseManifest(b []byte) (*manifest, error) {
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s; bring the folder back from a copy", journal.ErrDamaged, fmt.Sprintf(format, args...))
	}
	text, sum, summed := strings.Cut(string(b), sumLine)
	if summed && sum != fmt.Sprintf("%08x\n", crc32.Checksum([]byte(text), castagnoli)) {
		return nil, damaged("its checksum differs")
	}
	var is struct{ Version int } // What else a newer one has may have other types.
	err := json.Unmarshal([]byte(text), &is)
	switch {
	case err == nil && is.Version > manifestVersion:
		return nil, newer(fmt.Errorf("version %d: %w", is.Version, journal.ErrNewer))
	case err == nil && is.Version > 0 && is.Version < manifestVersion:
		return nil, fmt.Errorf("version %d: %w", is.Version, journal.ErrOlder)
	case err == nil && !summed:
		return nil, damaged("its checksum is missing")
	}
	m := new(manifest)
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, damaged("it cannot be read (%v)", err)
	}
	switch {
	case m.Format > journal.Format || m.Level > journal.Level:
		return nil, newer(fmt.Errorf("record format %d, fold level %d: %w", m.Format, m.Level, journal.ErrNewer))
	case m.Format < journal.Format || m.Level < journal.Level-1:
		return nil, fmt.Errorf("record format %d, fold level %d: %w", m.Format, m.Level, journal.ErrOlder)
	}
	if n := m.Partitions; m.Version < 1 || n < 1 || n > mostPartitions || len(m.Snapshots) != n || len(m.Trims) != n || m.Hash != hashName || m.First < firstSegment {
		return nil, damaged("it has %d partitions, snapshots of %d and trims of %d, and begins at segment %d", n, len(m.Snapshots), len(m.Trims), m.First)
	}
	for p, saved := range m.Snapshots {
		if len(saved) > 2 || slices.ContainsFunc(saved, func(s snapshotFile) bool {
			return s.Offset < 0 || s.Size < 0 || !strings.HasPrefix(s.Name, "snapshot-")
		}) {
			return nil, damaged("the snapshots of partition %d make no sense", p)
		}
	}
	return m, nil
}

// newer adds what to do to an error that says so.
func newer(err error) error {
	if errors.Is(err, journal.ErrNewer) {
		return fmt.Errorf("%w; upgrade this router, or take the newer one back into service", err)
	}
	return err
}

// bytes is the manifest's form.
func (m *manifest) bytes() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	return withSum(b), nil
}

func withSum(b []byte) []byte {
	return fmt.Appendf(b, "%s%08x\n", sumLine, crc32.Checksum(b, castagnoli))
}

func (m *manifest) write(f FS) error {
	m.Format, m.Level = journal.Format, journal.Level
	b, err := m.bytes()
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

// writeManifest replaces the manifest, out of the reserve if need be.
func (j *Journal) writeManifest() error {
	return j.withRoom(func() error { return j.manifest.write(j.fs) })
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
