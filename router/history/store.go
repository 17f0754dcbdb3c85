package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/onward-router/onward/router/folder"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Limits bound a Store; the zero value of a field is its default.
type Limits struct {
	Runs  int   // ended runs. Default 100,000
	Bytes int64 // of what is kept of them. Default 1 GiB
}

// An ID is a run's.
type ID [16]byte

// An Entry is one ended run: its id, and what is known of it as JSON.
type Entry struct {
	ID   ID
	JSON []byte
}

// A Store is a file of ended runs. Its methods may be called concurrently.
type Store struct {
	db     *bbolt.DB
	limits Limits
}

// The buckets: entries in the order in which they came, by a number; numbers by id; the totals.
var (
	bucketRuns = []byte("runs") // number -> id, JSON
	bucketIDs  = []byte("ids")  // id -> number
	bucketMeta = []byte("meta")
	keyBytes   = []byte("bytes")
	keyCount   = []byte("count")
)

// FileName is the store's file in its folder.
const FileName = "history.db"

// Open opens the store in a folder, or makes one. A file that cannot be read is set aside under another name, and said in the error's place by
// damaged: history is for people, and its loss is no reason not to route.
func Open(dir string, l Limits) (s *Store, damaged error, err error) {
	if l.Runs == 0 {
		l.Runs = 100_000
	}
	if l.Bytes == 0 {
		l.Bytes = 1 << 30
	}
	if err := folder.Make(dir); err != nil {
		return nil, nil, err
	}
	db, damaged, err := openFile(filepath.Join(dir, FileName), bucketRuns, bucketIDs, bucketMeta)
	if err != nil {
		return nil, damaged, err
	}
	return &Store{db: db, limits: l}, damaged, nil
}

// openFile opens a file with buckets, or makes one. A file that cannot be read is set aside under another name, as damaged says.
func openFile(name string, buckets ...[]byte) (db *bbolt.DB, damaged error, err error) {
	if db, err = openBuckets(name, buckets); err == nil || errors.Is(err, bbolterrors.ErrTimeout) {
		return db, nil, err
	}
	aside := fmt.Sprintf("%s.damaged-%d", name, time.Now().Unix())
	if e := os.Rename(name, aside); e != nil {
		return nil, nil, errors.Join(err, e)
	}
	damaged = fmt.Errorf("history: %s cannot be read and was set aside as %s: %w", name, aside, err)
	db, err = openBuckets(name, buckets)
	return db, damaged, err
}

func openBuckets(name string, buckets [][]byte) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil { // The library's, on pages that make no sense.
			err = fmt.Errorf("history: %s: %v", name, p)
		}
	}()
	db, err = bbolt.Open(name, folder.FileMode, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("history: %s: %w", name, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close releases the file.
func (s *Store) Close() error { return s.db.Close() }

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func read(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Put adds entries, durably, and forgets the oldest beyond the limits. An entry whose id is there already replaces it, in its old place.
func (s *Store) Put(entries []Entry) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		runs, ids, meta := tx.Bucket(bucketRuns), tx.Bucket(bucketIDs), tx.Bucket(bucketMeta)
		runs.FillPercent = 0.9 // Numbers only grow.
		size, count := int64(read(meta.Get(keyBytes))), int(read(meta.Get(keyCount)))
		for _, e := range entries {
			at := ids.Get(e.ID[:])
			if at == nil {
				n, err := runs.NextSequence()
				if err != nil {
					return err
				}
				at = number(n)
				count++
				if err := ids.Put(e.ID[:], at); err != nil {
					return err
				}
			} else {
				size -= int64(len(runs.Get(at)))
			}
			value := append(append(make([]byte, 0, len(e.ID)+len(e.JSON)), e.ID[:]...), e.JSON...)
			size += int64(len(value))
			if err := runs.Put(at, value); err != nil {
				return err
			}
		}
		c := runs.Cursor()
		for k, v := c.First(); k != nil && (count > s.limits.Runs || size > s.limits.Bytes && count > 1); k, v = c.First() {
			size -= int64(len(v))
			count--
			if err := ids.Delete(v[:len(ID{})]); err != nil {
				return err
			}
			if err := c.Delete(); err != nil {
				return err
			}
		}
		if err := meta.Put(keyBytes, number(uint64(size))); err != nil {
			return err
		}
		return meta.Put(keyCount, number(uint64(count)))
	})
}

// Get decodes what is kept of a run into v, and reports whether there is something.
func (s *Store) Get(id ID, v any) (bool, error) {
	found := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		at := tx.Bucket(bucketIDs).Get(id[:])
		if at == nil {
			return nil
		}
		value := tx.Bucket(bucketRuns).Get(at)
		if len(value) < len(id) {
			return fmt.Errorf("history: run %x has no entry", id)
		}
		found = true
		return json.Unmarshal(value[len(id):], v)
	})
	return found, err
}

// Each gives the entries, the latest first, until yield returns false. The JSON is valid during yield only.
func (s *Store) Each(yield func(id ID, text []byte) bool) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRuns).Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			if len(v) < len(ID{}) {
				return fmt.Errorf("history: entry %x has no id", k)
			}
			if !yield(ID(v[:len(ID{})]), v[len(ID{}):]) {
				return nil
			}
		}
		return nil
	})
}

// Len returns the number of entries and the bytes that they take.
func (s *Store) Len() (runs int, bytes int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		runs, bytes = int(read(meta.Get(keyCount))), int64(read(meta.Get(keyBytes)))
		return nil
	})
	return runs, bytes, err
}
