// Package backup is the form of a backup: files in a tar, packed by zstd, and a line behind it that is a checksum of all before.
//
// A stream that was cut has no such line, and one in which anything was changed another checksum: neither is read at all. What the files are it does not
// know.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Format is the version of the form.
const Format = 1

// A Head is what a backup says of itself.
type Head struct {
	Format  int       `json:"format"`
	Made    time.Time `json:"made"`
	Version string    `json:"version"` // of the router that made it
	// Journal is file where the journal is in it, kafka where the brokers have that, and none where there is none that lasts.
	Journal    string `json:"journal"`
	Partitions int    `json:"partitions"`
}

// headName is the first file of a backup.
const headName = "backup.json"

const (
	endMark = "\nonward-backup-1 sha256 "
	endSize = len(endMark) + 2*sha256.Size + 1
)

// A Writer writes a backup.
type Writer struct {
	to    io.Writer
	sum   hash.Hash
	pack  *zstd.Encoder
	tar   *tar.Writer
	ended bool
}

// NewWriter begins a backup.
func NewWriter(to io.Writer, head Head) (*Writer, error) {
	w := &Writer{to: to, sum: sha256.New()}
	var err error
	if w.pack, err = zstd.NewWriter(io.MultiWriter(to, w.sum), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
		return nil, err
	}
	w.tar = tar.NewWriter(w.pack)
	head.Format = Format
	b, err := json.Marshal(head)
	if err == nil {
		err = w.Put(headName, int64(len(b)), bytes.NewReader(b))
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Put adds a file.
func (w *Writer) Put(name string, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}); err != nil {
		return err
	}
	_, err := io.CopyN(w.tar, from, size)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s is shorter than it was said to be", name)
	}
	return err
}

// Close ends a backup that is whole.
func (w *Writer) Close() error {
	w.ended = true
	if err := errors.Join(w.tar.Close(), w.pack.Close()); err != nil {
		return err
	}
	_, err := io.WriteString(w.to, endMark+hex.EncodeToString(w.sum.Sum(nil))+"\n")
	return err
}

// Abort gives a backup up: what was written of it is none. After Close it does nothing.
func (w *Writer) Abort() {
	if !w.ended {
		w.ended = true
		w.pack.Reset(io.Discard)
		_ = w.pack.Close()
	}
}

// What is wrong with a file that is to be a backup.
var (
	ErrCut     = errors.New("this is no whole backup: its end is missing; it was cut on its way, or is none; bring another copy of it, or another backup")
	ErrChanged = errors.New("this backup is not as it was made: its checksum differs; bring another copy of it, or another backup")
	ErrNewer   = errors.New("a newer version has made this backup; restore it by that, or upgrade this one")
)

// Verify reads a file of a size to its end, and says whether it is a backup as it was made.
func Verify(from io.ReaderAt, size int64) error {
	if size <= int64(endSize) {
		return ErrCut
	}
	end := make([]byte, endSize)
	if _, err := from.ReadAt(end, size-int64(endSize)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	want, is := bytes.CutPrefix(end, []byte(endMark))
	if !is {
		return ErrCut
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(from, 0, size-int64(endSize))); err != nil {
		return err
	}
	if string(want) != hex.EncodeToString(sum.Sum(nil))+"\n" {
		return ErrChanged
	}
	return nil
}

// Read gives the files of a backup that was verified, in their order.
func Read(from io.ReaderAt, size int64, begin func(Head) error, each func(name string, size int64, from io.Reader) error) error {
	unpack, err := zstd.NewReader(io.NewSectionReader(from, 0, size-int64(endSize)), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer unpack.Close()
	files := tar.NewReader(unpack)
	for first := true; ; first = false {
		h, err := files.Next()
		if errors.Is(err, io.EOF) && !first {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrChanged, err)
		}
		if !first {
			if err := each(h.Name, h.Size, files); err != nil {
				return err
			}
			continue
		}
		var head Head
		if err := json.NewDecoder(io.LimitReader(files, 64<<10)).Decode(&head); err != nil || h.Name != headName {
			return ErrChanged
		}
		if head.Format > Format {
			return ErrNewer
		}
		if err := begin(head); err != nil {
			return err
		}
	}
}
