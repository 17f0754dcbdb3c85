package history

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
	"go.etcd.io/bbolt"
)

// formerFile is where the ended runs were kept before, in the order in which they ended: number -> run id, engine.Kept as JSON.
const formerFile = "history.db"

// takeFormer takes the ended runs over from the file of a former version, which goes then. One that cannot be read is left as it is, and said.
func (h *Endings) takeFormer(dir string) error {
	name := filepath.Join(dir, formerFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := openBuckets(name)
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		runs := tx.Bucket([]byte("runs"))
		if runs == nil {
			return nil
		}
		return runs.ForEach(func(_, v []byte) error {
			var id journal.RunID
			var k engine.Kept
			if len(v) < len(id) || json.Unmarshal(v[len(id):], &k) != nil || k.Ending == nil {
				return errSpoiled
			}
			copy(id[:], v)
			f := k.Whole()
			h.store.mu.Lock()
			h.scratch = appendEnding(h.scratch[:0], f)
			h.store.add(streamEnds, id, h.scratch, f.Ended.UnixNano())
			full := h.store.waiting > pageBytes*16
			h.store.mu.Unlock()
			if full {
				return h.store.flush()
			}
			return nil
		})
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := h.store.flush(); err != nil {
		return err
	}
	return os.Remove(name)
}

// openBuckets opens the file of a former version.
func openBuckets(name string) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil { // The library's, on pages that make no sense.
			err = fmt.Errorf("history: %s: %v", name, p)
		}
	}()
	db, err = bbolt.Open(name, folder.FileMode, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("history: %s: %w", name, err)
	}
	return db, nil
}

// formerLetters is where the dead letters were kept before: number -> letter, as JSON, and the ids of those that were removed -> when.
const formerLetters = "dead.db"

// takeFormer takes the dead letters over from the file of a former version, which goes then. One that cannot be read is left as it is, and said.
func (l *Letters) takeFormer(dir string) error {
	name := filepath.Join(dir, formerLetters)
	if _, err := os.Stat(name); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := openBuckets(name)
	if err != nil {
		return err
	}
	const atATime = 1000
	err = db.View(func(tx *bbolt.Tx) error {
		all, gone := tx.Bucket([]byte("letters")), tx.Bucket([]byte("gone"))
		if all == nil || gone == nil {
			return nil
		}
		var batch []*engine.Letter
		put := func() error {
			_, err := l.drawer.put(batch, time.Now())
			batch = batch[:0]
			return err
		}
		if err := all.ForEach(func(_, v []byte) error {
			x := new(engine.Letter)
			if err := json.Unmarshal(v, x); err != nil {
				return err
			}
			if batch = append(batch, x); len(batch) < atATime {
				return nil
			}
			return put()
		}); err != nil {
			return err
		}
		return errors.Join(put(), l.drawer.change(func(to *sql.Tx) error {
			return gone.ForEach(func(id, _ []byte) error {
				_, err := to.Exec("INSERT OR REPLACE INTO gone VALUES (?, ?)", string(id), time.Now().UnixNano())
				return err
			})
		}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Remove(name)
}
