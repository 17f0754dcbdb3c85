package history

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/onward-router/onward/router/engine"
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
	db, err := openBuckets(name, nil)
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
			h.put(streamEnds, id, f.Ended.UnixNano())
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
