package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/onward-router/onward/router/backup"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/triggers"
)

// A BackupHead is what a backup says of itself.
type BackupHead = backup.Head

// ErrBackingUp is that one backup is made at a time.
var ErrBackingUp = fmt.Errorf("%w: a backup is being made already; wait for its end", triggers.ErrBusy)

// Backup writes a backup of a router, which goes on: of its journal where that is a folder's, of the history, of the dead letters, of what is paused and of how far sources are. All
// that was acknowledged before is in it. With an error, what was written is no backup.
//
// The journal's snapshots come from before the history's copy, and its end from after that: so the history knows what the journal has let go of, and nothing
// that the journal does not know.
func (r *Router) Backup(ctx context.Context, to io.Writer) error {
	if !r.backing.TryLock() {
		return ErrBackingUp
	}
	defer r.backing.Unlock()
	copied, isFile := r.o.Journal.(journal.Copied)
	head := backup.Head{Made: time.Now().UTC(), Version: Build().String(), Journal: "file", Partitions: r.layout.Partitions}
	if _, shared := r.o.Journal.(journal.Shared); shared {
		head.Journal = "kafka"
	} else if !isFile {
		head.Journal = "none"
	}
	w, err := backup.NewWriter(to, head)
	if err != nil {
		return err
	}
	defer w.Abort()
	beside := func() error {
		return errors.Join(r.endings.Backup(ctx, w.Put), r.control.Backup(w.Put), r.backupMemories(w.Put))
	}
	if isFile {
		err = copied.Backup(ctx, beside, w.Put)
	} else {
		err = beside()
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// VerifyBackup reads a file of a size to its end, and says what it is a backup of; an error is that it is none as it was made.
func VerifyBackup(ctx context.Context, file io.ReaderAt, size int64) (head BackupHead, err error) {
	from := untilEnd{ctx, file}
	if err := backup.Verify(from, size); err != nil {
		return head, err
	}
	err = backup.Read(from, size, func(h backup.Head) error {
		head = h
		return nil
	}, func(string, int64, io.Reader) error { return nil })
	return head, err
}

// A Restored says what was brought back.
type Restored struct {
	Backup  BackupHead `json:"backup"`
	Dir     string     `json:"dir"`
	Files   int        `json:"files"`
	Bytes   int64      `json:"bytes"`
	Records int        `json:"records"` // of the journal
	Last    time.Time  `json:"last,omitzero"`
}

// Restore makes the folder of a router from a backup, which is read to its end before anything is made: one that is cut or changed is refused whole. The
// folder must be empty, or not there. When ctx ends first, nothing is made.
func Restore(ctx context.Context, from *os.File, dir string) (*Restored, error) {
	info, err := from.Stat()
	if err != nil {
		return nil, err
	}
	if err := backup.Verify(untilEnd{ctx, from}, info.Size()); err != nil {
		return nil, fmt.Errorf("%s: %w", from.Name(), err)
	}
	if err := folder.Make(dir); err != nil {
		return nil, err
	}
	if err := folder.Begun(dir); err != nil {
		return nil, err
	}
	if names, err := os.ReadDir(dir); err != nil {
		return nil, err
	} else {
		for _, entry := range names {
			if entry.Name() != "lost+found" { // A new disk has it.
				return nil, fmt.Errorf("%s is not empty (%s is in it); a backup is restored into an empty folder: name another one", dir, entry.Name())
			}
		}
	}
	lock, err := folder.Take(dir, file.LockName)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	x := &Restored{Dir: dir}
	gathered := filepath.Join(dir, folder.Restoring)
	if err := x.gather(ctx, untilEnd{ctx, from}, info.Size(), gathered); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", from.Name(), err), os.RemoveAll(gathered), os.Remove(filepath.Join(dir, file.LockName)))
	}
	return x, x.settle(gathered)
}

// untilEnd is a file that can be read until a context ends.
type untilEnd struct {
	ctx context.Context
	io.ReaderAt
}

func (r untilEnd) ReadAt(b []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReaderAt.ReadAt(b, at)
}

// gather brings the files of a backup into a folder, durable.
func (x *Restored) gather(ctx context.Context, from io.ReaderAt, size int64, dir string) error {
	if err := folder.Make(dir); err != nil {
		return err
	}
	var rows *history.Restored
	err := backup.Read(from, size, func(h backup.Head) error {
		x.Backup = h
		return nil
	}, func(name string, size int64, from io.Reader) (err error) {
		x.Files, x.Bytes = x.Files+1, x.Bytes+size
		if !strings.HasPrefix(name, history.BackupFolder) {
			return keepFile(dir, name, from)
		}
		if rows == nil {
			if rows, err = history.Restore(dir); err != nil {
				return err
			}
		}
		return rows.Take(from)
	})
	if rows != nil {
		err = errors.Join(err, rows.Close())
		if err == nil {
			err = syncFile(filepath.Join(dir, history.FileName))
		}
	}
	if err != nil || x.Backup.Journal != "file" {
		return err
	}
	report, err := file.Inspect(ctx, file.Options{Dir: dir})
	if err != nil {
		return err
	}
	for _, d := range report.Damage {
		return fmt.Errorf("the journal in it is damaged: %s; bring another backup", d)
	}
	x.Records, x.Last = report.Records, report.Last
	return os.Remove(filepath.Join(dir, file.LockName))
}

// settle gives the files their places: the one without which there is no journal last.
func (x *Restored) settle(gathered string) error {
	names, err := os.ReadDir(gathered)
	if err != nil {
		return err
	}
	for _, entry := range names {
		if err := os.Rename(filepath.Join(gathered, entry.Name()), filepath.Join(x.Dir, entry.Name())); err != nil {
			return err
		}
	}
	if err := folder.Sync(x.Dir); err != nil {
		return err
	}
	if err := os.Remove(gathered); err != nil {
		return err
	}
	return folder.Sync(x.Dir)
}

// keepFile makes a file of a backup durable. Its name is that of a file, and nothing else.
func keepFile(dir, name string, from io.Reader) (err error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q is no name of a file of a router", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, folder.FileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	return f.Sync()
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
