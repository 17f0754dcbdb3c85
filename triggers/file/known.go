package file

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A place is how far a file was read: what is kept of it.
type place struct {
	Path   string    `json:"path"`
	File   string    `json:"file,omitempty"`  // what the system calls it
	Token  string    `json:"token"`           // its own, in ids of lines
	Head   string    `json:"head,omitempty"`  // hash of its first bytes
	Heads  int       `json:"heads"`           // how many
	Offset int64     `json:"offset"`          // what is before is durable
	Line   int64     `json:"line"`            // how many lines that is
	Skips  bool      `json:"skips,omitempty"` // it is inside a line that is not wanted
	Gone   time.Time `json:"gone,omitzero"`   // since when there is no such file

	touched time.Time // when it was last written to when it was looked at; zero: it was not yet
}

const (
	headBytes = 1024
	forgotten = 7 * 24 * time.Hour // a folder may be away for a while
	mostFiles = 10_000
)

type kept struct {
	Files []*place `json:"files,omitempty"`
	Rest  []line   `json:"rest,omitempty"` // of standard input
}

func decodeKept(b []byte) (k kept, err error) {
	if len(b) > 0 {
		err = json.Unmarshal(b, &k)
	}
	k.Files = slices.DeleteFunc(k.Files, func(p *place) bool { return p == nil || p.Offset < 0 || p.Heads < 0 || p.Heads > headBytes })
	return k, err
}

// newToken is a name that no other file has, at no router.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // It does not fail.
	return hex.EncodeToString(b[:])
}

// head hashes the first n bytes of a file; false where it has less.
func head(r io.ReaderAt, n int) (string, bool) {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, 0); err != nil && !(errors.Is(err, io.EOF) && n == 0) {
		return "", false
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), true
}

// isStill reports whether a file is the one that p is about, and was only written on.
func (p *place) isStill(f *os.File, size int64) bool {
	if size < p.Offset {
		return false
	}
	if p.Heads == 0 {
		return true
	}
	h, ok := head(f, p.Heads)
	return ok && h == p.Head
}

// advance books that a file is read up to offset.
func (p *place) advance(f io.ReaderAt, offset, line int64) {
	p.Offset, p.Line = offset, line
	if n := int(min(offset, headBytes)); f != nil && n > p.Heads {
		if h, ok := head(f, n); ok {
			p.Head, p.Heads = h, n
		}
	}
}

// matches lists the files of a path, a pattern or a folder, in order of their names.
func matches(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		entries, err := os.ReadDir(path)
		var out []string
		for _, e := range entries {
			if name := filepath.Join(path, e.Name()); !strings.HasPrefix(e.Name(), ".") && (e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 && isRegular(name)) {
				out = append(out, name)
			}
		}
		return out, err
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is a %s, and no file that could be read again; read it by standard input: path: - and < %[1]s", path, kindOfFile(info.Mode()))
	case err == nil:
		return []string{path}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	out, err := filepath.Glob(path)
	slices.Sort(out)
	return slices.DeleteFunc(out, func(p string) bool { return !isRegular(p) }), err
}

func kindOfFile(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// isRegular tells a file from folders, sockets and the like.
func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
