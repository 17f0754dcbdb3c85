package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/folder"
	"go.etcd.io/bbolt"
)

// LettersFile is the dead letters' file in its folder.
const LettersFile = "dead.db"

// The buckets of a drawer, beside those for numbers by id and for totals: letters by a number; the ids of those that were taken off, with when.
var (
	bucketLetters = []byte("letters")
	bucketGone    = []byte("gone")
)

// goneKept is how many ids of removed letters are remembered: a restart folds again what came after the last snapshot but one.
const goneKept = 100_000

// A drawer is a shelf on disk.
type drawer struct {
	db     *bbolt.DB
	limits LetterLimits
}

// openDrawer opens the file, or makes one. A file that cannot be read is set aside under another name, as damaged says.
func openDrawer(dir string, limits LetterLimits) (d *drawer, damaged error, err error) {
	if err := folder.Make(dir); err != nil {
		return nil, nil, err
	}
	db, damaged, err := openFile(filepath.Join(dir, LettersFile), bucketLetters, bucketIDs, bucketMeta, bucketGone)
	if err != nil {
		return nil, damaged, err
	}
	return &drawer{db, limits}, damaged, nil
}

func (d *drawer) put(letters []*engine.Letter, now time.Time) (dropped int, err error) {
	err = d.db.Update(func(tx *bbolt.Tx) error {
		dropped = 0
		all, ids, meta, gone := tx.Bucket(bucketLetters), tx.Bucket(bucketIDs), tx.Bucket(bucketMeta), tx.Bucket(bucketGone)
		size, count := int64(read(meta.Get(keyBytes))), int(read(meta.Get(keyCount)))
		for _, x := range letters {
			if gone.Get([]byte(x.ID)) != nil {
				continue
			}
			at := ids.Get([]byte(x.ID))
			if at == nil {
				n, err := all.NextSequence()
				if err != nil {
					return err
				}
				if at = number(n); ids.Put([]byte(x.ID), at) != nil {
					return fmt.Errorf("dead letter %s cannot be entered", x.ID)
				}
				count++
			} else {
				size -= int64(len(all.Get(at)))
			}
			text := encodeLetter(x)
			size += int64(len(text))
			if err := all.Put(at, text); err != nil {
				return err
			}
		}
		c := all.Cursor()
		for k, v := c.First(); k != nil && count > 1; k, v = c.First() {
			var head struct {
				ID   string    `json:"letter"`
				Time time.Time `json:"time"`
			}
			if err := json.Unmarshal(v, &head); err != nil {
				return fmt.Errorf("a dead letter cannot be read: %w", err)
			}
			if count <= d.limits.Letters && size <= d.limits.Bytes && now.Sub(head.Time) <= d.limits.Age {
				break
			}
			size -= int64(len(v))
			count--
			dropped++
			if err := errors.Join(ids.Delete([]byte(head.ID)), c.Delete()); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put(keyBytes, number(uint64(size))), meta.Put(keyCount, number(uint64(count))))
	})
	return dropped, err
}

func (d *drawer) get(id string) (x *engine.Letter, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		at := tx.Bucket(bucketIDs).Get([]byte(id))
		if at == nil {
			return nil
		}
		x, err = decodeLetter(tx.Bucket(bucketLetters).Get(at))
		return err
	})
	return x, err
}

func (d *drawer) each(yield func(*engine.Letter) bool) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLetters).Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			x, err := decodeLetter(v)
			if err != nil {
				return err
			}
			if !yield(x) {
				return nil
			}
		}
		return nil
	})
}

func (d *drawer) remove(id string, now time.Time) (was bool, err error) {
	err = d.db.Update(func(tx *bbolt.Tx) error {
		all, ids, meta, gone := tx.Bucket(bucketLetters), tx.Bucket(bucketIDs), tx.Bucket(bucketMeta), tx.Bucket(bucketGone)
		at := ids.Get([]byte(id))
		if was = at != nil; !was {
			return nil
		}
		size := len(all.Get(at))
		n, err := gone.NextSequence()
		if err != nil {
			return err
		}
		err = errors.Join(
			all.Delete(at), ids.Delete([]byte(id)), gone.Put([]byte(id), number(uint64(now.Unix()))),
			meta.Put(keyBytes, number(read(meta.Get(keyBytes))-uint64(size))), meta.Put(keyCount, number(read(meta.Get(keyCount))-1)),
		)
		if err != nil || n%1000 != 0 || gone.Stats().KeyN < 2*goneKept {
			return err
		}
		return forgetOldest(gone)
	})
	return was, err
}

func (d *drawer) gone(id string) (was bool, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		was = tx.Bucket(bucketGone).Get([]byte(id)) != nil
		return nil
	})
	return was, err
}

// forgetOldest forgets the ids of letters that were removed longer ago than half of all.
func forgetOldest(gone *bbolt.Bucket) error {
	var sum, n uint64
	if err := gone.ForEach(func(_, at []byte) error { sum, n = sum+read(at), n+1; return nil }); err != nil || n == 0 {
		return err
	}
	c := gone.Cursor()
	for k, at := c.First(); k != nil; k, at = c.Next() {
		if read(at) < sum/n {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *drawer) len() (n int) {
	_ = d.db.View(func(tx *bbolt.Tx) error { // A view of nothing but a number does not fail.
		n = int(read(tx.Bucket(bucketMeta).Get(keyCount)))
		return nil
	})
	return n
}

func (d *drawer) Close() error { return d.db.Close() }
